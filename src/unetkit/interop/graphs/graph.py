"""A network as a graph of operations, in MindSpore's names for them: what its files and Ascend's hold.

A node's name is also the name of what it gives. Nodes are in an order in which they can be computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

Value: TypeAlias = "bool | int | float | str | None | torch.dtype | Tensor | tuple[Value, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An input that stands in the graph itself: a number, numbers, a type; None for what only orders effects."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: of the node and its result.
        op: MindSpore's name of the operation.
        inputs: names of the graph's input, of weights or of nodes before it, and constants.
        attributes: what else decides the result.
    """

    name: str
    op: str
    inputs: tuple[str | Constant, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network with one input and one output.

    Attributes:
        input: the name of the input.
        shape: of the input.
        dtype: of the input.
        nodes: in an order in which they can be computed.
        weights: by name.
        output: the name of the node or input that is given back.
        notes: texts that the file carries beside the graph, such as unetkit's card.
    """

    input: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]
    output: str
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
