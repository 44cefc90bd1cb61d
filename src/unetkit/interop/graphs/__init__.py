"""Networks as graphs of operations: MindSpore's MindIR and Ascend's AIR, read, written and computed by PyTorch."""

from unetkit.interop.graphs.files import kind_of_graph, read_graph
from unetkit.interop.graphs.graph import Constant, Graph, Node, Value
from unetkit.interop.graphs.operations import GraphError, execute

CARD = "unetkit"
"""The note under which a graph carries unetkit's card."""

__all__ = ["CARD", "Constant", "Graph", "GraphError", "Node", "Value", "execute", "kind_of_graph", "read_graph"]
