"""MindIR, MindSpore's file of a network: messages of Protocol Buffers after its mind_ir.proto.

Read are versions 1 to 3, as releases 2.0 to 2.10 write them; written is version 1, which all of them and MindSpore Lite
take. Operations are listed once as primitives, and nodes refer to them; constants are nodes of their own. Notes
next to the graph lie in its `user_info`. Weights in files of their own (above 1 GB), encrypted files and graphs
that call others are refused. Does not know what an operation computes.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from unetkit.legacy.archive import MOST_TENSORS, to_bytes, to_tensor
from unetkit.legacy.graphs.graph import Constant, Graph, Node, Value, results
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
    number_of,
    only,
    repeated,
)


class ModelProto(IntEnum):
    """Fields of a model."""

    IR_VERSION = 1
    PRODUCER_NAME = 2
    MODEL_VERSION = 5
    GRAPH = 7
    FUNCTIONS = 8
    LITTLE_ENDIAN = 10
    PRIMITIVES = 12
    MIND_IR_VERSION = 13
    USER_INFO = 14


class UserInfo(IntEnum):
    """Fields of an entry of ModelProto's `user_info`."""

    KEY = 1
    VALUE = 2


class PrimitiveProto(IntEnum):
    """Fields of a primitive: an operation with its attributes."""

    NAME = 1
    OP_TYPE = 2
    ATTRIBUTE = 3


class GraphProto(IntEnum):
    """Fields of a graph."""

    NODE = 1
    NAME = 2
    PARAMETER = 3
    INPUT = 5
    OUTPUT = 6


class NodeProto(IntEnum):
    """Fields of a node."""

    INPUT = 1
    OUTPUT = 2
    NAME = 3
    OP_TYPE = 4
    ATTRIBUTE = 5
    DOMAIN = 7


class ValueInfoProto(IntEnum):
    """Fields of a graph's input or output."""

    NAME = 1
    TENSOR = 2


class TensorProto(IntEnum):
    """Fields of a tensor; REF_KEY is the name of MindSpore's parameter."""

    DIMS = 1
    DATA_TYPE = 2
    NAME = 7
    RAW_DATA = 9
    EXTERNAL_DATA = 12
    REF_KEY = 13
    COMPRESSION_TYPE = 16


class AttributeProto(IntEnum):
    """Fields of an attribute; a scalar has one field alone and another as an element of a tuple."""

    NAME = 1
    F = 2
    I = 3  # noqa: E741 - its name in mind_ir.proto
    S = 5
    FLOATS = 8
    INTS = 10
    STRINGS = 11
    TENSORS = 12
    TYPE = 16
    VALUES = 17


class AttributeType(IntEnum):
    """The types of attributes that are read or written."""

    FLOAT = 1
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    TENSORS = 19
    TUPLE = 20
    LIST = 21
    UMONAD = 23
    IOMONAD = 24
    NONE = 25


TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""The numbers of TensorProto.DataType that have a torch type."""
_NUMBERS = {dtype: number for number, dtype in TYPES.items()}

_REFERENCE, _CONSTANT, _GRAPH = "REF::", "Constant", "unet"
_DEEPEST = 8

_SCALARS = {
    AttributeType.FLOAT: (AttributeProto.F, AttributeProto.FLOATS),
    AttributeType.INT32: (AttributeProto.I, AttributeProto.INTS),
    AttributeType.INT64: (AttributeProto.I, AttributeProto.INTS),
    AttributeType.BOOL: (AttributeProto.I, AttributeProto.INTS),
    AttributeType.STRING: (AttributeProto.S, AttributeProto.STRINGS),
}
"""In which field a scalar lies: alone, and as an element of a tuple."""

_INPUT_NAMES: dict[str, tuple[str, ...]] = {
    "BatchNorm": ("x", "scale", "offset", "mean", "variance"),
    "BiasAdd": ("x", "b"),
    "Conv2D": ("x", "w"),
    "Conv2DTranspose": ("out_backprop", "filter", "input_sizes"),
    "ReduceMean": ("input_x", "axis"),
    "Reshape": ("tensor", "shape"),
    "Slice": ("x", "begin", "size"),
    "Transpose": ("x", "perm"),
}
"""What MindSpore calls the inputs of an operation, where it is not x, or x and y."""


def is_mindir(head: bytes) -> bool:
    """Return whether a file starts as MindIR does: with a version in digits, and then the name of what wrote it."""
    if len(head) < 2 or head[:1] != b"\x0a" or not head[2 : 2 + head[1]].replace(b".", b"").isdigit():
        return False
    return head[2 + head[1] :].startswith((b"\x12\x09MindSpore", b"\x12\x07unetkit"))


def decode(content: bytes | memoryview) -> Graph:
    """Return the graph of a file; the names of its weights are those of MindSpore's parameters.

    Raises:
        WireError: cut short, contradicting itself, or of a form that is not read.
    """
    model = grouped(content)
    if ModelProto.FUNCTIONS in model:
        raise WireError("it calls graphs within its graph")
    primitives: dict[str, tuple[str, dict[str, Value]]] = {}
    for part in model.get(ModelProto.PRIMITIVES, []):
        message = as_message(part)
        op, attributes = as_text(only(message, PrimitiveProto.OP_TYPE)), message.get(PrimitiveProto.ATTRIBUTE, [])
        primitives[as_text(only(message, PrimitiveProto.NAME))] = op, _attributes(attributes)

    graph = as_message(only(model, ModelProto.GRAPH))
    weights, aliases = dict[str, Tensor](), dict[str, str]()
    for part in graph.get(GraphProto.PARAMETER, []):
        message = as_message(part)
        reference = as_text(only(message, TensorProto.NAME))
        if TensorProto.EXTERNAL_DATA in message:
            raise WireError("its weights lie in a file of their own, as those above 1 GB do")
        tensor, keys = _tensor(message), message.get(TensorProto.REF_KEY, [])
        if not isinstance(tensor, Tensor):
            raise WireError(f"{reference} has no values")
        aliases[reference] = as_text(keys[-1]) if keys else reference.rpartition(":")[2]
        weights[aliases[reference]] = tensor

    nodes, constants = list[Node](), dict[str, Constant]()
    for count, part in enumerate(graph.get(GraphProto.NODE, [])):
        if count == MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS:,} operations")
        message = as_message(part)
        name, op = as_text(only(message, NodeProto.OUTPUT)), as_text(only(message, NodeProto.OP_TYPE))
        if op == _CONSTANT:
            constants[name] = Constant(_attributes(message.get(NodeProto.ATTRIBUTE, [])).get("value"))
            continue
        primitive = primitives.get(op.removeprefix(_REFERENCE))
        if primitive is None:
            raise WireError(f"{op} is not one of its primitives")
        references = [as_text(item) for item in message.get(NodeProto.INPUT, [])]
        inputs = tuple(constants.get(reference, aliases.get(reference, reference)) for reference in references)
        nodes.append(Node(name, primitive[0], inputs, primitive[1]))

    name, shape, dtype = _port(graph, GraphProto.INPUT)
    output, _, _ = _port(graph, GraphProto.OUTPUT)
    return Graph(name, shape, dtype, tuple(nodes), weights, output, notes_of(model))


def notes_of(model: Message) -> dict[str, str]:
    """Return the texts next to the graph of a model.

    Raises:
        WireError: contradicting itself.
    """
    pairs = [as_message(pair) for pair in model.get(ModelProto.USER_INFO, [])]
    return {as_text(only(pair, UserInfo.KEY)): as_text(only(pair, UserInfo.VALUE)) for pair in pairs}


def _port(graph: Message, number: int) -> tuple[str, tuple[int, ...], torch.dtype]:
    """Return name, shape and type of the only input or output."""
    message = as_message(only(graph, number))
    tensors = message.get(ValueInfoProto.TENSOR, [])
    tensor = as_message(tensors[0]) if tensors else {}
    return as_text(only(message, ValueInfoProto.NAME)), *_described(tensor)


def _described(tensor: Message) -> tuple[tuple[int, ...], torch.dtype]:
    number = number_of(tensor, TensorProto.DATA_TYPE)
    if number not in TYPES:
        raise WireError(f"a tensor of type {number}")
    return tuple(as_signed(dim) for dim in tensor.get(TensorProto.DIMS, [])), TYPES[number]


def _tensor(message: Message) -> Tensor | torch.dtype:
    """Return a tensor, or the type that a tensor without values stands for."""
    shape, dtype = _described(message)
    if TensorProto.RAW_DATA not in message:
        return dtype
    if number_of(message, TensorProto.COMPRESSION_TYPE):
        raise WireError("its weights are compressed")
    content = as_bytes(only(message, TensorProto.RAW_DATA))
    tensor = to_tensor(content, dtype, shape)
    if tensor is None:
        raise WireError(f"a tensor of shape {shape} has {len(content):,} bytes")
    return tensor


def _attributes(parts: Iterable[protobuf.Value]) -> dict[str, Value]:
    found = (as_message(part) for part in parts)
    return {as_text(only(attribute, AttributeProto.NAME)): _value(attribute) for attribute in found}


def _value(attribute: Message, depth: int = 0) -> Value:
    kind = number_of(attribute, AttributeProto.TYPE)
    if kind in _SCALARS:
        alone, element = _SCALARS[AttributeType(kind)]
        value = only(attribute, element if element in attribute else alone)
        match kind:
            case AttributeType.FLOAT:
                return as_float(value)
            case AttributeType.STRING:
                return as_text(value)
            case AttributeType.BOOL:
                return bool(as_number(value))
            case _:
                return as_signed(value)
    if kind == AttributeType.TENSORS:
        return _tensor(as_message(only(attribute, AttributeProto.TENSORS)))
    if kind in (AttributeType.UMONAD, AttributeType.IOMONAD, AttributeType.NONE):  # the first two order effects
        return None
    if kind not in (AttributeType.TUPLE, AttributeType.LIST) or depth == _DEEPEST:
        raise WireError(f"an attribute of type {kind}")
    return tuple(_value(as_message(part), depth + 1) for part in attribute.get(AttributeProto.VALUES, []))


def encode(graph: Graph, *, version: str) -> bytes:
    """Return the file of a graph of MindSpore 2.0's operations; `version` is that of what writes it.

    Raises:
        GraphError: the graph cannot be computed.
    """
    values, nodes = results(graph), list[bytes]()
    constants, primitives = dict[bytes, str](), dict[bytes, str]()
    for place, node in enumerate(graph.nodes):
        inputs = list[str]()
        for item in node.inputs:
            if isinstance(item, str):
                inputs.append(_reference(item))
                continue
            content = _encoded_value(item.value)
            if content not in constants:
                constants[content] = name = f"constant{len(constants)}"
                value = field(AttributeProto.NAME, "value") + content
                nodes.append(_encoded_names(name, _CONSTANT) + field(NodeProto.ATTRIBUTE, value))
            inputs.append(constants[content])
        names: dict[str, Value] = {
            "input_names": _INPUT_NAMES.get(node.op, ("x", "y")[: len(node.inputs)]),
            "output_names": ("output",),
        }
        attributes = {**names, **node.attributes} if node.op not in ("MakeTuple", "TupleGetItem") else {}
        primitive = field(PrimitiveProto.OP_TYPE, node.op) + b"".join(
            field(
                PrimitiveProto.ATTRIBUTE, field(AttributeProto.NAME, key) + _encoded_value(value, as_list=key in names)
            )
            for key, value in attributes.items()
        )
        name = primitives.setdefault(primitive, f"{node.op}:{len(primitives)}")
        shape = field(AttributeProto.NAME, "shape") + _encoded_result(values[node.name])
        nodes.append(
            repeated(NodeProto.INPUT, inputs)
            + _encoded_names(_reference(node.name), _REFERENCE + name)
            + field(NodeProto.ATTRIBUTE, shape)
            + field(NodeProto.DOMAIN, f"Default/{node.op}-op{place}")
        )
    weights = [
        _encoded_tensor(tensor) + field(TensorProto.NAME, _reference(name)) + field(TensorProto.REF_KEY, name)
        for name, tensor in graph.weights.items()
    ]
    output = values[graph.output]
    body = (
        field(GraphProto.NAME, _GRAPH)
        + repeated(GraphProto.NODE, nodes)
        + repeated(GraphProto.PARAMETER, weights)
        + field(GraphProto.INPUT, _encoded_port(graph.input, graph.shape, graph.dtype))
        + field(GraphProto.OUTPUT, _encoded_port(graph.output, output.shape, output.dtype))
    )
    return (
        field(ModelProto.IR_VERSION, "0.1.1")
        + field(ModelProto.PRODUCER_NAME, "unetkit")
        + field(ModelProto.MODEL_VERSION, version)
        + field(ModelProto.GRAPH, body)
        + field(ModelProto.LITTLE_ENDIAN, 1)
        + repeated(
            ModelProto.PRIMITIVES, [field(PrimitiveProto.NAME, name) + text for text, name in primitives.items()]
        )
        + field(ModelProto.MIND_IR_VERSION, 1)
        + repeated(
            ModelProto.USER_INFO,
            [field(UserInfo.KEY, key) + field(UserInfo.VALUE, text) for key, text in graph.notes.items()],
        )
    )


def _reference(name: str) -> str:
    return f"{_GRAPH}:{name}"


def _encoded_names(name: str, op: str) -> bytes:
    return field(NodeProto.OUTPUT, name) + field(NodeProto.NAME, name) + field(NodeProto.OP_TYPE, op)


def _encoded_port(name: str, shape: Iterable[int], dtype: torch.dtype) -> bytes:
    return field(ValueInfoProto.NAME, _reference(name)) + field(ValueInfoProto.TENSOR, _encoded_form(shape, dtype))


def _encoded_form(shape: Iterable[int], dtype: torch.dtype) -> bytes:
    return repeated(TensorProto.DIMS, list(shape)) + field(TensorProto.DATA_TYPE, _NUMBERS[dtype])


def _encoded_tensor(tensor: Tensor) -> bytes:
    return _encoded_form(tensor.shape, tensor.dtype) + field(TensorProto.RAW_DATA, to_bytes(tensor))


def _encoded_value(value: Value, *, element: bool = False, as_list: bool = False) -> bytes:
    """Return the fields of an attribute; an element of a tuple has its scalar in another field."""
    match value:
        case bool():
            content, kind = value, AttributeType.BOOL
        case int():
            content, kind = value, AttributeType.INT64
        case float():
            content, kind = value, AttributeType.FLOAT
        case str():
            content, kind = value, AttributeType.STRING
        case Tensor():
            return _encoded_type(_encoded_tensor(value))
        case torch.dtype():
            return _encoded_type(field(TensorProto.DATA_TYPE, _NUMBERS[value]))
        case tuple():
            kind = AttributeType.LIST if as_list else AttributeType.TUPLE
            items = [_encoded_value(item, element=True) for item in value]
            return field(AttributeProto.TYPE, kind) + repeated(AttributeProto.VALUES, items)
        case None:
            return field(AttributeProto.TYPE, AttributeType.NONE)
    return field(_SCALARS[kind][element], content) + field(AttributeProto.TYPE, kind)


def _encoded_type(tensor: bytes) -> bytes:
    return field(AttributeProto.TENSORS, tensor) + field(AttributeProto.TYPE, AttributeType.TENSORS)


def _encoded_result(value: Any) -> bytes:
    """Return the type of a node's result: a tensor's, or those of several."""
    if isinstance(value, Tensor):
        return _encoded_type(_encoded_form(value.shape, value.dtype))
    items = [_encoded_result(item) for item in value]
    return field(AttributeProto.TYPE, AttributeType.TUPLE) + repeated(AttributeProto.VALUES, items)
