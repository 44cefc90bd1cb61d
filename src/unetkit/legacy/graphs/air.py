"""AIR, Ascend's file of a network, read: a `ge.proto.ModelDef` after ge_ir.proto of Ascend's metadef.

Weights are operations `Const`, the input is one, `Data`; the rest become MindSpore's operations by the rules. Does not
know what an operation computes.

What MindSpore's operations are called by Ascend: one rule an operation, read both ways.

Ascend takes as attributes what MindSpore takes as constant inputs. Does not know files.

AIR, Ascend's file of a network, written: a `ge.proto.ModelDef` after ge_ir.proto of Ascend's metadef.

The form follows the published definitions; no Ascend compiler or device has read such a file. Weights and whole numbers
that are inputs become operations `Const`; tuples are names only.
"""

import dataclasses
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unetkit.legacy.archive import MOST_TENSORS, to_tensor
from unetkit.legacy.graphs.graph import Constant, Graph, GraphError, Node, Value, results
from unetkit.storage.protobuf import (
    WireError,
    as_bytes,
    as_number,
    as_signed,
    as_text,
    field,
    fixed32,
    grouped,
    integers,
    only,
    varint,
)

TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.float16,
    3: torch.int8,
    4: torch.uint8,
    5: torch.int16,
    6: torch.uint16,
    7: torch.int32,
    8: torch.int64,
    11: torch.bool,
    12: torch.float64,
}
"""The numbers of ge.proto.DataType that have a torch type."""

NUMBERS = {dtype: number for number, dtype in TYPES.items()}
CAST_NUMBERS = {torch.float32: 0, torch.float16: 1, torch.int8: 2, torch.int32: 3, torch.uint8: 4, torch.int64: 9}
"""The numbers of ge::DataType, which are others; the attribute of a Cast has them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one of MindSpore's operations is called by Ascend.

    Attributes:
        op: MindSpore's name.
        kind: Ascend's name.
        inputs: Ascend's names of the inputs, in its order.
        order: the places of those among MindSpore's inputs; empty: the same.
        constants: Ascend's names of the attributes that are constant inputs of MindSpore's, after its other inputs.
        attributes: Ascend's names of attributes, and MindSpore's.
        added: attributes that Ascend has beside.
        read: attributes that MindSpore's has beside.
        outputs: Ascend's names of the results.
    """

    op: str
    kind: str
    inputs: tuple[str, ...] = ("x",)
    order: tuple[int, ...] = ()
    constants: tuple[str, ...] = ()
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    added: Mapping[str, Value] = dataclasses.field(default_factory=dict[str, Value])
    read: Mapping[str, Value] = dataclasses.field(default_factory=dict[str, Value])
    outputs: tuple[str, ...] = ("y",)


_FIRST = {"data_format": "NCHW"}
_CONV = {"data_format": "NCHW", "offset_x": 0}
_WINDOW = {"strides": "stride", "pads": "pad_list", "dilations": "dilation", "groups": "group"}
_PAIR = ("x1", "x2")
_SAMPLING = {"align_corners": "align_corners", "half_pixel_centers": "half_pixel_centers"}

RULES = (
    Rule("Add", "Add", _PAIR),
    Rule("Sub", "Sub", _PAIR),
    Rule("Mul", "Mul", _PAIR),
    Rule("RealDiv", "RealDiv", _PAIR),
    Rule("Greater", "Greater", _PAIR),
    Rule("ReLU", "Relu"),
    Rule("Sigmoid", "Sigmoid"),
    Rule("Rsqrt", "Rsqrt"),
    Rule("BiasAdd", "BiasAdd", ("x", "bias"), added=_FIRST),
    Rule("Cast", "Cast", attributes={"dst_type": "dst_type"}),
    Rule("Softmax", "SoftmaxV2", attributes={"axes": "axis"}),
    Rule("Concat", "ConcatD", ("x",), attributes={"concat_dim": "axis", "N": "N"}),
    Rule("Transpose", "TransposeD", constants=("perm",)),
    Rule("Slice", "SliceD", constants=("offsets", "size")),
    Rule("ReduceMean", "ReduceMeanD", constants=("axes",), attributes={"keep_dims": "keep_dims"}),
    Rule("Reshape", "Reshape", ("x", "shape"), added={"axis": 0, "num_axes": -1}),
    Rule("ResizeBilinear", "ResizeBilinearV2D", attributes={"size": "size", **_SAMPLING}),
    Rule("ResizeBilinearV2", "ResizeBilinearV2", ("x", "size"), attributes=_SAMPLING),
    Rule("Conv2D", "Conv2D", ("x", "filter"), attributes=_WINDOW, added=_CONV, read={"pad_mode": "pad"}),
    Rule(
        "Conv2DTranspose",
        "Conv2DBackpropInput",
        ("input_size", "filter", "out_backprop"),
        order=(2, 1, 0),
        attributes=_WINDOW,
        added=_FIRST,
        read={"pad_mode": "pad"},
    ),
    Rule(
        "MaxPool",
        "MaxPool",
        attributes={"ksize": "kernel_size", "strides": "strides", "padding": "pad_mode"},
        added=_FIRST,
    ),
    Rule(
        "BatchNorm",
        "BatchNorm",
        ("x", "scale", "offset", "mean", "variance"),
        attributes={"epsilon": "epsilon", "is_training": "is_training"},
        added=_FIRST,
        outputs=("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    ),
    Rule(
        "ArgMaxWithValue",
        "ArgMaxWithValue",
        attributes={"dimension": "axis", "keep_dims": "keep_dims"},
        outputs=("indice", "values"),
    ),
)
BY_OP = {rule.op: rule for rule in RULES}
BY_KIND = {rule.kind: rule for rule in RULES}

Message = dict[int, list[int | memoryview]]


def decode(content: bytes | memoryview) -> Graph:
    """Return the graph of a file, in MindSpore's operations; the names of its weights are those of the `Const`s.

    Raises:
        WireError: cut short, contradicting itself, or with an operation that no U-Net of MindSpore's has.
    """
    model = grouped(content)
    graph = grouped(as_bytes(only(model, 7)))
    operations = [_operation(as_bytes(part)) for part in graph.get(6, [])]
    data = [operation for operation in operations if operation.kind == "Data"]
    if len(operations) > MOST_TENSORS or len(data) != 1:
        raise WireError(f"{len(operations):,} operations, {len(data)} of them inputs")
    fixed = {item.name: item.attributes.get("value") for item in operations if item.kind == "Const"}
    weights = {name: value for name, value in fixed.items() if isinstance(value, Tensor)}
    shape, dtype = data[0].result
    return Graph(
        input=f"{data[0].name}:0",
        shape=shape,
        dtype=dtype,
        nodes=tuple(node for operation in operations for node in _nodes(operation, weights)),
        weights={name: weight for name, weight in weights.items() if weight.is_floating_point()},
        output=as_text(only(graph, 5)),
        notes=_notes(model),
    )


def notes_of(content: bytes | memoryview) -> dict[str, str]:
    """Return the texts beside the graph of a file.

    Raises:
        WireError: cut short or contradicting itself.
    """
    return _notes(grouped(content))


def _notes(model: Message) -> dict[str, str]:
    return {key: value for key, value in _entries(model.get(11, [])) if isinstance(value, str)}


@dataclass(frozen=True, slots=True)
class _Operation:
    """An OpDef: what it refers to, and shape and type of its first result."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    attributes: dict[str, Value]
    result: tuple[tuple[int, ...], torch.dtype]


def _operation(content: memoryview) -> _Operation:
    parts = grouped(content)
    results = parts.get(34, [])
    return _Operation(
        name=as_text(only(parts, 1)),
        kind=as_text(only(parts, 2)),
        inputs=tuple(as_text(part) for part in parts.get(5, [])),
        attributes=dict(_entries(parts.get(10, []))),
        result=_described(as_bytes(results[0])) if results else ((), torch.float32),
    )


def _nodes(operation: _Operation, weights: Mapping[str, Tensor]) -> Iterator[Node]:
    """Yield the nodes of an operation; what it gives is called as others refer to it, `name:number`."""
    if operation.kind in ("Data", "Const", "NetOutput"):
        return
    rule = BY_KIND.get(operation.kind)
    if rule is None:
        raise WireError(f"the operation {operation.kind} is not known here")
    name, inputs = operation.name, [_input(reference, weights) for reference in operation.inputs]
    if rule.op == "Concat":
        yield Node(f"{name}:parts", "MakeTuple", tuple(inputs))
        inputs = [f"{name}:parts"]
    if rule.order and len(inputs) == len(rule.order):
        inputs = [inputs[place] for place in rule.order]
    inputs += [Constant(operation.attributes.get(key)) for key in rule.constants]
    attributes = {
        ours: operation.attributes[theirs] for theirs, ours in rule.attributes.items() if theirs in operation.attributes
    }
    if rule.op == "Cast":
        attributes = {"dst_type": _of_number(attributes.get("dst_type"))}
    several = len(rule.outputs) > 1
    yield Node(f"{name}:all" if several else f"{name}:0", rule.op, tuple(inputs), {**attributes, **rule.read})
    if several:
        for place in range(len(rule.outputs)):
            yield Node(f"{name}:{place}", "TupleGetItem", (f"{name}:all", Constant(place)))


def _input(reference: str, weights: Mapping[str, Tensor]) -> str | Constant:
    """Return a weight by its name, whole numbers as a constant, and anything else as it is referred to."""
    name = reference.removesuffix(":0")
    weight = weights.get(name)
    if weight is None:
        return reference
    return name if weight.is_floating_point() else Constant(tuple(int(value) for value in weight.flatten()))


def _of_number(number: Value) -> torch.dtype:
    found = [dtype for dtype, known in CAST_NUMBERS.items() if known == number]
    if not found:
        raise WireError(f"a cast to the type {number}")
    return found[0]


def _entries(parts: Iterable[int | memoryview]) -> Iterator[tuple[str, Value]]:
    """Yield the attributes of a map."""
    for part in parts:
        entry = grouped(as_bytes(part))
        yield as_text(only(entry, 1)), _value(grouped(as_bytes(only(entry, 2))))


def _value(attribute: Message) -> Value:
    """Return the value of an AttrDef; None for kinds that no operation of a U-Net has."""
    if 12 in attribute:
        tensor = grouped(as_bytes(only(attribute, 12)))
        shape, dtype = _described(as_bytes(only(tensor, 1)))
        return to_tensor(as_bytes(only(tensor, 2)), dtype, shape)
    if 1 in attribute:
        items = grouped(as_bytes(only(attribute, 1)))
        return tuple(integers(items.get(3, []))) or tuple(as_text(item) for item in items.get(2, []))
    if 2 in attribute:
        return as_text(only(attribute, 2))
    if 3 in attribute:
        return as_signed(only(attribute, 3))
    if 4 in attribute:
        return struct.unpack("<f", struct.pack("<I", as_number(only(attribute, 4)) & 0xFFFFFFFF))[0]
    return bool(as_number(only(attribute, 5))) if 5 in attribute else None


def _described(content: memoryview) -> tuple[tuple[int, ...], torch.dtype]:
    """Return the shape and the type of a TensorDescriptor."""
    parts = grouped(content)
    number = as_number(parts.get(2, [0])[-1])
    if number not in TYPES:
        raise WireError(f"a tensor of type {number}")
    shape = grouped(as_bytes(parts[3][-1])).get(1, []) if 3 in parts else []
    return tuple(integers(shape)), TYPES[number]


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
        return field(1, self.label.encode()) + _described_air_writing(self.form)


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
            return field(12, field(1, _described_air_writing(value)) + field(2, content))
        case tuple():
            return field(1, _list(value))
        case _:
            raise GraphError(f"an attribute {value}")


def _list(values: tuple[Value, ...]) -> bytes:
    if all(isinstance(value, str) for value in values):
        return b"".join(field(2, str(value).encode()) for value in values) + field(20, _STRINGS)
    integers = [value for value in values if isinstance(value, int)]
    return field(3, b"".join(varint(_unsigned(value)) for value in integers)) + field(20, _INTEGERS)


def _described_air_writing(tensor: Tensor) -> bytes:
    """Return a TensorDescriptor without its name."""
    shape = field(1, b"".join(varint(side) for side in tensor.shape))
    layout = b"NCHW" if tensor.ndim == 4 else b"ND"
    return field(2, NUMBERS[tensor.dtype]) + field(3, shape) + field(4, layout) + field(9, 1)


def _unsigned(value: int) -> int:
    return value & (1 << 64) - 1
