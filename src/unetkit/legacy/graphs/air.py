"""AIR, Ascend's file of a network, both ways: a `ge.proto.ModelDef` after ge_ir.proto of Ascend's metadef.

Weights are operations `Const`, the input is one, `Data`; the rest are MindSpore's operations by the rules: one rule an
operation, read both ways. Ascend takes as attributes what MindSpore takes as constant inputs. Does not know what an
operation computes. What is written follows the published definitions; no Ascend compiler or device has read such a
file. In it whole numbers that are inputs become operations `Const`; tuples are names only.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from unetkit.legacy.archive import MOST_TENSORS, to_bytes, to_tensor
from unetkit.legacy.graphs.graph import Constant, Graph, GraphError, Node, Value, results
from unetkit.storage import protobuf
from unetkit.storage.protobuf import (
    Message,
    WireError,
    as_bytes,
    as_float,
    as_message,
    as_number,
    as_signed,
    as_text,
    field,
    grouped,
    integers,
    number_of,
    only,
    repeated,
    varint,
)


class ModelDef(IntEnum):
    """Fields of a model."""

    NAME = 1
    VERSION = 2
    CUSTOM_VERSION = 3
    GRAPH = 7
    ATTR = 11


class GraphDef(IntEnum):
    """Fields of a graph."""

    NAME = 1
    INPUT = 4
    OUTPUT = 5
    OP = 6


class OpDef(IntEnum):
    """Fields of an operation."""

    NAME = 1
    TYPE = 2
    INPUT = 5
    ATTR = 10
    ID = 21
    INPUT_DESC = 33
    OUTPUT_DESC = 34


class Entry(IntEnum):
    """Fields of an entry of a map of attributes."""

    KEY = 1
    VALUE = 2


class AttrDef(IntEnum):
    """Fields of an attribute, of which it has one."""

    LIST = 1
    S = 2
    I = 3  # noqa: E741 - its name in ge_ir.proto
    F = 4
    B = 5
    T = 12


class ListValue(IntEnum):
    """Fields of a list, and of its type."""

    S = 2
    I = 3  # noqa: E741 - its name in ge_ir.proto
    VAL_TYPE = 20


class ListType(IntEnum):
    """The types of lists that are written."""

    STRING = 1
    INT = 2


class TensorDef(IntEnum):
    """Fields of a tensor."""

    DESC = 1
    DATA = 2


class TensorDescriptor(IntEnum):
    """Fields of what is known of a tensor."""

    NAME = 1
    DTYPE = 2
    SHAPE = 3
    LAYOUT = 4
    HAS_OUT_ATTR = 9


class ShapeDef(IntEnum):
    """Fields of a shape."""

    DIM = 1


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

_NUMBERS = {dtype: number for number, dtype in TYPES.items()}
_CAST_NUMBERS = {torch.float32: 0, torch.float16: 1, torch.int8: 2, torch.int32: 3, torch.uint8: 4, torch.int64: 9}
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
        added: further attributes of Ascend's.
        read: further attributes of MindSpore's.
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
_BY_OP = {rule.op: rule for rule in RULES}
_BY_KIND = {rule.kind: rule for rule in RULES}


def decode(content: bytes | memoryview) -> Graph:
    """Return the graph of a file, in MindSpore's operations; the names of its weights are those of the `Const`s.

    Raises:
        WireError: cut short, contradicting itself, or with an operation that no U-Net of MindSpore's has.
    """
    model = grouped(content)
    graph = as_message(only(model, ModelDef.GRAPH))
    operations = [_Operation.of(as_message(part)) for part in graph.get(GraphDef.OP, [])]
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
        output=as_text(only(graph, GraphDef.OUTPUT)),
        notes=notes_of(model),
    )


def notes_of(model: Message) -> dict[str, str]:
    """Return the texts next to the graph of a model.

    Raises:
        WireError: cut short or contradicting itself.
    """
    return {key: value for key, value in _entries(model.get(ModelDef.ATTR, [])) if isinstance(value, str)}


@dataclass(frozen=True, slots=True)
class _Operation:
    """An OpDef: what it refers to, and shape and type of its first result."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    attributes: dict[str, Value]
    result: tuple[tuple[int, ...], torch.dtype]

    @classmethod
    def of(cls, message: Message) -> "_Operation":
        outputs = message.get(OpDef.OUTPUT_DESC, [])
        return cls(
            name=as_text(only(message, OpDef.NAME)),
            kind=as_text(only(message, OpDef.TYPE)),
            inputs=tuple(as_text(part) for part in message.get(OpDef.INPUT, [])),
            attributes=dict(_entries(message.get(OpDef.ATTR, []))),
            result=_described(as_message(outputs[0])) if outputs else ((), torch.float32),
        )


def _nodes(operation: _Operation, weights: Mapping[str, Tensor]) -> Iterator[Node]:
    """Yield the nodes of an operation; its results have the names by which others refer to them, `name:number`."""
    if operation.kind in ("Data", "Const", "NetOutput"):
        return
    rule = _BY_KIND.get(operation.kind)
    if rule is None:
        raise WireError(f"the operation {operation.kind} is not known here")
    name, inputs = operation.name, list[str | Constant]()
    for reference in operation.inputs:
        weight = weights.get(reference.removesuffix(":0"))
        if weight is None:
            inputs.append(reference)
        elif weight.is_floating_point():
            inputs.append(reference.removesuffix(":0"))
        else:
            inputs.append(Constant(tuple(int(value) for value in weight.flatten())))
    if rule.op == "Concat":
        yield Node(f"{name}:parts", "MakeTuple", tuple(inputs))
        inputs = [f"{name}:parts"]
    if rule.order and len(inputs) == len(rule.order):
        inputs = [inputs[place] for place in rule.order]
    inputs += [Constant(operation.attributes.get(key)) for key in rule.constants]
    attributes = {
        ours: operation.attributes[ascend] for ascend, ours in rule.attributes.items() if ascend in operation.attributes
    }
    if rule.op == "Cast":
        number = attributes.get("dst_type")
        dtypes = [dtype for dtype, known in _CAST_NUMBERS.items() if known == number]
        if not dtypes:
            raise WireError(f"a cast to the type {number}")
        attributes = {"dst_type": dtypes[0]}
    several = len(rule.outputs) > 1
    yield Node(f"{name}:all" if several else f"{name}:0", rule.op, tuple(inputs), {**attributes, **rule.read})
    if several:
        for place in range(len(rule.outputs)):
            yield Node(f"{name}:{place}", "TupleGetItem", (f"{name}:all", Constant(place)))


_SCALARS: dict[AttrDef, Callable[[protobuf.Value], Value]] = {
    AttrDef.S: as_text,
    AttrDef.I: as_signed,
    AttrDef.F: as_float,
    AttrDef.B: lambda value: bool(as_number(value)),
}


def _entries(parts: Iterable[protobuf.Value]) -> Iterator[tuple[str, Value]]:
    """Yield the attributes of a map; None for kinds that no operation of a U-Net has."""
    for part in parts:
        entry = as_message(part)
        attribute, value = as_message(only(entry, Entry.VALUE)), None
        if AttrDef.T in attribute:
            tensor = as_message(only(attribute, AttrDef.T))
            shape, dtype = _described(as_message(only(tensor, TensorDef.DESC)))
            value = to_tensor(as_bytes(only(tensor, TensorDef.DATA)), dtype, shape)
        elif AttrDef.LIST in attribute:
            items = as_message(only(attribute, AttrDef.LIST))
            value = tuple(integers(items.get(ListValue.I, [])))
            value = value or tuple(as_text(item) for item in items.get(ListValue.S, []))
        elif (scalar := next((place for place in _SCALARS if place in attribute), None)) is not None:
            value = _SCALARS[scalar](only(attribute, scalar))
        yield as_text(only(entry, Entry.KEY)), value


def _described(message: Message) -> tuple[tuple[int, ...], torch.dtype]:
    """Return the shape and the type of a TensorDescriptor."""
    number, shapes = number_of(message, TensorDescriptor.DTYPE), message.get(TensorDescriptor.SHAPE, [])
    if number not in TYPES:
        raise WireError(f"a tensor of type {number}")
    dims = as_message(shapes[-1]).get(ShapeDef.DIM, []) if shapes else []
    return tuple(integers(dims)), TYPES[number]


def encode(graph: Graph) -> bytes:
    """Return the file of a graph.

    Raises:
        GraphError: the graph cannot be computed, or has an operation without a rule.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.put(node)
    body = (
        field(GraphDef.NAME, "unet")
        + field(GraphDef.INPUT, f"{graph.input}:0")
        + field(GraphDef.OUTPUT, writer.references[graph.output])
        + repeated(GraphDef.OP, writer.operations)
    )
    return (
        field(ModelDef.NAME, "unet")
        + field(ModelDef.VERSION, 1)
        + field(ModelDef.GRAPH, body)
        + repeated(ModelDef.ATTR, [_entry(key, text) for key, text in graph.notes.items()])
    )


class _Writer:
    """Writes operations one after another, and keeps the references by which others find their results."""

    def __init__(self, graph: Graph) -> None:
        self.operations: list[bytes] = []
        self.references: dict[str, str] = {}
        self._values: dict[str, Any] = {**graph.weights, **results(graph)}
        self._values[graph.input] = torch.empty(graph.shape, dtype=graph.dtype, device="meta")
        self._parts: dict[str, tuple[str, ...]] = {}
        self._write(graph.input, "Data", {}, {"index": 0})
        for name, tensor in graph.weights.items():
            self._write(name, "Const", {}, {"value": tensor})

    def put(self, node: Node) -> None:
        """Write a node, unless it only joins results to a tuple or takes one from it."""
        if node.op == "MakeTuple":
            self._parts[node.name] = tuple(item for item in node.inputs if isinstance(item, str))
            return
        if node.op == "TupleGetItem":
            source, place = node.inputs
            assert isinstance(source, str)
            assert isinstance(place, Constant)
            self.references[node.name] = f"{source}:{place.value}"
            return
        rule = _BY_OP.get(node.op)
        if rule is None:
            raise GraphError(f"the operation {node.op} has no counterpart in AIR")
        count, names = len(node.inputs) - len(rule.constants), list[str]()
        for place, item in enumerate(node.inputs[given] for given in rule.order or range(count)):
            if isinstance(item, str):
                names += self._parts.get(item, (item,))
                continue
            names.append(f"{node.name}.{place}")
            self._values[names[-1]] = torch.tensor(item.value, dtype=torch.int32)
            self._write(names[-1], "Const", {}, {"value": self._values[names[-1]]})
        labels = [f"x{place}" for place in range(len(names))] if node.op == "Concat" else rule.inputs
        attributes = {ascend: node.attributes[ours] for ascend, ours in rule.attributes.items()}
        for key, item in zip(rule.constants, node.inputs[count:], strict=True):
            assert isinstance(item, Constant)
            attributes[key] = item.value
        if node.op == "Cast":
            attributes = {"dst_type": _CAST_NUMBERS[self._values[node.name].dtype]}
        inputs = dict(zip(labels, names, strict=True))
        self._write(node.name, rule.kind, inputs, {**attributes, **rule.added}, rule.outputs)

    def _write(
        self,
        name: str,
        kind: str,
        inputs: Mapping[str, str],
        attributes: Mapping[str, Value],
        outputs: Sequence[str] = ("y",),
    ) -> None:
        """Write an OpDef; `inputs` are names of values by their label there."""
        self.references[name] = f"{name}:0"
        value = self._values[name]
        forms: tuple[Tensor, ...] = (value,) if isinstance(value, Tensor) else value
        keys: dict[str, Value] = {
            "_input_name_key": tuple(inputs),
            "_input_name_value": tuple(range(len(inputs))),
            "_output_name_key": tuple(outputs),
            "_output_name_value": tuple(range(len(outputs))),
        }
        entries = [_entry(key, content) for key, content in {**attributes, **keys}.items() if content != ()]
        given = [_descriptor(self._values[item], label) for label, item in inputs.items()]
        made = [_descriptor(form, label) for label, form in zip(outputs, forms, strict=True)]
        self.operations.append(
            field(OpDef.NAME, name)
            + field(OpDef.TYPE, kind)
            + repeated(OpDef.INPUT, [self.references[item] for item in inputs.values()])
            + repeated(OpDef.ATTR, entries)
            + field(OpDef.ID, len(self.operations))
            + repeated(OpDef.INPUT_DESC, given)
            + repeated(OpDef.OUTPUT_DESC, made)
        )


def _entry(key: str, value: Value) -> bytes:
    """Return an entry of a map of attributes."""
    match value:
        case bool():
            attribute = field(AttrDef.B, value)
        case int():
            attribute = field(AttrDef.I, value)
        case float():
            attribute = field(AttrDef.F, value)
        case str():
            attribute = field(AttrDef.S, value)
        case Tensor():
            tensor = field(TensorDef.DESC, _descriptor(value)) + field(TensorDef.DATA, to_bytes(value))
            attribute = field(AttrDef.T, tensor)
        case tuple() if all(isinstance(item, str) for item in value):
            items = repeated(ListValue.S, [str(item) for item in value])
            attribute = field(AttrDef.LIST, items + field(ListValue.VAL_TYPE, ListType.STRING))
        case tuple():
            items = field(ListValue.I, b"".join(varint(item) for item in value if isinstance(item, int)))
            attribute = field(AttrDef.LIST, items + field(ListValue.VAL_TYPE, ListType.INT))
        case _:
            raise GraphError(f"an attribute {value}")
    return field(Entry.KEY, key) + field(Entry.VALUE, attribute)


def _descriptor(tensor: Tensor, label: str = "") -> bytes:
    """Return a TensorDescriptor, with its name where it has a label."""
    return (
        (field(TensorDescriptor.NAME, label) if label else b"")
        + field(TensorDescriptor.DTYPE, _NUMBERS[tensor.dtype])
        + field(TensorDescriptor.SHAPE, field(ShapeDef.DIM, b"".join(varint(side) for side in tensor.shape)))
        + field(TensorDescriptor.LAYOUT, "NCHW" if tensor.ndim == 4 else "ND")
        + field(TensorDescriptor.HAS_OUT_ATTR, 1)
    )
