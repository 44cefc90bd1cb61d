"""What every reader of a founding system's file gives: its tensors, still under that system's own names.

Tensors lie in the memory of the CPU, in the type and the layout of the file.
"""

from dataclasses import dataclass, field
from math import isfinite, prod

import torch
from torch import Tensor

MOST_TENSORS = 100_000
"""No network comes near; a damaged or hostile file may."""

LONGEST_NAME = 4096
"""In bytes; the same."""

_MOST_AXES = 16
_LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Archive:
    """The content of a checkpoint.

    Attributes:
        system: who wrote it, as it is called in messages, such as "MindSpore".
        tensors: everything that may belong to the network, by the system's name.
        first: Adam's first moments, by the name of the parameter.
        second: Adam's second moments, by the name of the parameter.
        step: updates of the weights so far, where the file says it.
        left_out: names of the values that have no place in a network.
    """

    system: str
    tensors: dict[str, Tensor]
    first: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    second: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    step: int | None = None
    left_out: tuple[str, ...] = ()


def to_tensor(content: bytes | memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor | None:
    """Return a tensor of little-endian bytes in C order, in new memory; None where sizes disagree or are 0."""
    if len(shape) > _MOST_AXES or not all(0 < side < 1 << 40 for side in shape):
        return None
    if prod(shape) * dtype.itemsize != len(content):
        return None
    return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


def one_line(text: object) -> str:
    """Return what a damaged file says of itself in a form for a message: printable, on one line, not long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:_LONGEST_QUOTE])
    return line if len(line) < _LONGEST_QUOTE else f"{line}..."


def whole_number(tensor: Tensor | None) -> int | None:
    """Return the value of a tensor with one element, rounded; None for any other and for what is no number."""
    if tensor is None or tensor.numel() != 1 or tensor.is_complex():
        return None
    number = float(tensor)
    return round(number) if isfinite(number) else None
