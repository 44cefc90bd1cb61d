"""Networks as graphs of operations: MindSpore's MindIR and Ascend's AIR, read, written and computed by PyTorch."""

from unetkit.interop.graphs.air_writing import encode as encode_air
from unetkit.interop.graphs.files import kind_of_graph, notes_of, read_graph
from unetkit.interop.graphs.graph import Constant, Graph, Node, Value
from unetkit.interop.graphs.mindir import encode as encode_mindir
from unetkit.interop.graphs.operations import GraphError, execute, results

CARD = "unetkit"
"""The note under which a graph carries unetkit's card."""

__all__ = [
    "CARD",
    "Constant",
    "Graph",
    "GraphError",
    "Node",
    "Value",
    "encode_air",
    "encode_mindir",
    "execute",
    "kind_of_graph",
    "notes_of",
    "read_graph",
    "results",
]
