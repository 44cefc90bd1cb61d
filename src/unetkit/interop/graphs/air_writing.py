"""AIR, Ascend's file of a network, written: a `ge.proto.ModelDef` after ge_ir.proto of Ascend's metadef.

The form follows the published definitions; no Ascend compiler or device has read such a file. Weights and whole numbers
that are inputs become operations `Const`; tuples are names only.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unetkit.interop.graphs.air_rules import BY_OP, CAST_NUMBERS, NUMBERS, Rule
from unetkit.interop.graphs.graph import Constant, Graph, Node, Value
from unetkit.interop.graphs.operations import GraphError, results
from unetkit.interop.protobuf import field, fixed32, varint

_STRINGS, _INTEGERS = 1, 2  # AttrDef.ListValue.ListValueType


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or a result of an operation: its label there, what is referred to, and of what form that is."""

    label: str
    reference: str
    form: Tensor

    @property
    def descriptor(self) -> bytes:
        """The TensorDescriptor."""
        return field(1, self.label.encode()) + _described(self.form)


def encode(graph: Graph) -> bytes:
    """Return the file of a graph.

    Raises:
        GraphError: the graph cannot be computed, or has an operation without a rule.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.put(node)
    ends = field(4, f"{graph.input}:0".encode()) + field(5, writer.places[graph.output].encode())
    body = field(1, b"unet") + ends + b"".join(field(6, operation) for operation in writer.operations)
    notes = b"".join(field(11, _entry(key, text)) for key, text in graph.notes.items())
    return field(1, b"unet") + field(2, 1) + field(7, body) + notes


class _Writer:
    """Writes operations one after another, and keeps where the results are that others refer to."""

    def __init__(self, graph: Graph) -> None:
        self.operations: list[bytes] = []
        self.places: dict[str, str] = {}
        self._values: dict[str, Any] = {**graph.weights, **results(graph)}
        self._values[graph.input] = torch.empty(graph.shape, dtype=graph.dtype, device="meta")
        self._parts: dict[str, tuple[str, ...]] = {}
        self._write(graph.input, "Data", (), {"index": 0})
        for name, tensor in graph.weights.items():
            self._write(name, "Const", (), {"value": tensor})

    def put(self, node: Node) -> None:
        """Write a node, unless it only joins results to a tuple or takes one from it."""
        if node.op == "MakeTuple":
            self._parts[node.name] = tuple(item for item in node.inputs if isinstance(item, str))
        elif node.op == "TupleGetItem":
            source, place = node.inputs
            assert isinstance(source, str)
            assert isinstance(place, Constant)
            self.places[node.name] = f"{source}:{place.value}"
        elif node.op not in BY_OP:
            raise GraphError(f"the operation {node.op} has no like in AIR")
        else:
            self._put(node, BY_OP[node.op])

    def _put(self, node: Node, rule: Rule) -> None:
        count = len(node.inputs) - len(rule.constants)
        given = [node.inputs[place] for place in rule.order or range(count)]
        names = [name for place, item in enumerate(given) for name in self._names(node, place, item)]
        labels = [f"x{place}" for place in range(len(names))] if node.op == "Concat" else rule.inputs
        attributes = {theirs: node.attributes[ours] for theirs, ours in rule.attributes.items()}
        for key, item in zip(rule.constants, node.inputs[count:], strict=True):
            assert isinstance(item, Constant)
            attributes[key] = item.value
        if node.op == "Cast":
            attributes = {"dst_type": CAST_NUMBERS[self._values[node.name].dtype]}
        ports = [_Port(label, self.places[name], self._values[name]) for label, name in zip(labels, names, strict=True)]
        self._write(node.name, rule.kind, ports, {**attributes, **rule.added}, outputs=rule.outputs)

    def _names(self, node: Node, place: int, item: str | Constant) -> Iterator[str]:
        """Yield the names behind an input: those of a tuple's parts, or of a `Const` that is written for numbers."""
        if isinstance(item, str):
            yield from self._parts.get(item, (item,))
            return
        name = f"{node.name}.{place}"
        self._values[name] = torch.tensor(item.value, dtype=torch.int32)
        self._write(name, "Const", (), {"value": self._values[name]})
        yield name

    def _write(
        self,
        name: str,
        kind: str,
        inputs: Sequence[_Port],
        attributes: dict[str, Value],
        *,
        outputs: Sequence[str] = ("y",),
    ) -> None:
        """Write an OpDef."""
        self.places[name] = f"{name}:0"
        value = self._values[name]
        forms: tuple[Tensor, ...] = (value,) if isinstance(value, Tensor) else value
        given = [_Port(label, "", form) for label, form in zip(outputs, forms, strict=True)]
        keys: dict[str, Value] = {
            "_input_name_key": tuple(port.label for port in inputs),
            "_input_name_value": tuple(range(len(inputs))),
            "_output_name_key": tuple(port.label for port in given),
            "_output_name_value": tuple(range(len(given))),
        }
        entries = [_entry(key, content) for key, content in {**attributes, **keys}.items() if content != ()]
        self.operations.append(
            field(1, name.encode())
            + field(2, kind.encode())
            + b"".join(field(5, port.reference.encode()) for port in inputs)
            + b"".join(field(10, entry) for entry in entries)
            + field(21, len(self.operations))
            + b"".join(field(33, port.descriptor) for port in inputs)
            + b"".join(field(34, port.descriptor) for port in given)
        )


def _entry(key: str, value: Value) -> bytes:
    """Return an entry of a map of attributes."""
    return field(1, key.encode()) + field(2, _attribute(value))


def _attribute(value: Value) -> bytes:
    """Return an AttrDef."""
    match value:
        case bool():
            return field(5, int(value))
        case int():
            return field(3, _unsigned(value))
        case float():
            return fixed32(4, struct.pack("<f", value))
        case str():
            return field(2, value.encode())
        case Tensor():
            content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            return field(12, field(1, _described(value)) + field(2, content))
        case tuple():
            return field(1, _list(value))
        case _:
            raise GraphError(f"an attribute {value}")


def _list(values: tuple[Value, ...]) -> bytes:
    if all(isinstance(value, str) for value in values):
        return b"".join(field(2, str(value).encode()) for value in values) + field(20, _STRINGS)
    integers = [value for value in values if isinstance(value, int)]
    return field(3, b"".join(varint(_unsigned(value)) for value in integers)) + field(20, _INTEGERS)


def _described(tensor: Tensor) -> bytes:
    """Return a TensorDescriptor without its name."""
    shape = field(1, b"".join(varint(side) for side in tensor.shape))
    layout = b"NCHW" if tensor.ndim == 4 else b"ND"
    return field(2, NUMBERS[tensor.dtype]) + field(3, shape) + field(4, layout) + field(9, 1)


def _unsigned(value: int) -> int:
    return value & (1 << 64) - 1
