"""MindIR, MindSpore's file of a network: messages of Protocol Buffers after its mind_ir.proto.

Read are versions 1 to 3, as releases 2.0 to 2.10 write them; written is version 1, which all of them and MindSpore Lite
take. Operations are listed once as primitives, and nodes refer to them; constants are nodes of their own. What a file
says beside the graph lies in its `user_info`. Weights in files of their own (above 1 GB), encrypted files and graphs
that call others are refused. Does not know what an operation computes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unetkit.legacy.archive import MOST_TENSORS, to_tensor
from unetkit.legacy.graphs.graph import Constant, Graph, Node, Value, results
from unetkit.storage.protobuf import WireError, as_bytes, as_number, as_signed, as_text, field, fixed32, grouped, only

Message = dict[int, list[int | memoryview]]
Part = int | memoryview

_REFERENCE, _CONSTANT = "REF::", "Constant"
_DEEPEST = 8

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

# AttributeProto.AttributeType, and the fields of an AttributeProto
_FLOAT, _INT64, _STRING, _BOOL, _TENSORS, _TUPLE, _LIST = 1, 7, 8, 9, 19, 20, 21
_NOTHING = (23, 24, 25)  # the order of effects, and None
_NAME, _F, _I, _S, _FLOATS, _INTS, _TEXTS, _TENSOR, _TYPE, _VALUES = 1, 2, 3, 5, 8, 10, 11, 12, 16, 17

# How a scalar is read, and in which field it lies: alone, and as an element of a tuple.
_SCALARS: dict[int, tuple[int, int, Callable[[Part], Value]]] = {
    _FLOAT: (_F, _FLOATS, lambda part: struct.unpack("<f", struct.pack("<I", as_number(part) & 0xFFFFFFFF))[0]),
    6: (_I, _INTS, lambda part: as_signed(part)),
    _INT64: (_I, _INTS, lambda part: as_signed(part)),
    _BOOL: (_I, _INTS, lambda part: bool(as_number(part))),
    _STRING: (_S, _TEXTS, lambda part: as_text(part)),
}

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


def begins_a_mindir(head: bytes) -> bool:
    """Tell whether a file starts as MindIR does: with a version in digits, and then the name of what wrote it."""
    if len(head) < 2 or head[:1] != b"\x0a" or not head[2 : 2 + head[1]].replace(b".", b"").isdigit():
        return False
    return head[2 + head[1] :].startswith((b"\x12\x09MindSpore", b"\x12\x07unetkit"))


def decode(content: bytes | memoryview) -> Graph:
    """Return the graph of a file; the names of its weights are those of MindSpore's parameters.

    Raises:
        WireError: cut short, contradicting itself, or of a form that is not read.
    """
    model = grouped(content)
    if 8 in model:
        raise WireError("it calls graphs within its graph")
    primitives = dict(_primitive(part) for part in model.get(12, []))
    graph = grouped(as_bytes(only(model, 7)))
    weights = [_weight(part) for part in graph.get(3, [])]
    aliases = {reference: name for reference, name, _ in weights}
    name, shape, dtype = _port(graph, 5)
    output, _, _ = _port(graph, 6)
    return Graph(
        input=name,
        shape=shape,
        dtype=dtype,
        nodes=tuple(_nodes(graph.get(1, []), primitives, aliases)),
        weights={name: tensor for _, name, tensor in weights},
        output=output,
        notes=_notes(model),
    )


def notes_of(content: bytes | memoryview) -> dict[str, str]:
    """Return the texts beside the graph of a file.

    Raises:
        WireError: cut short or contradicting itself.
    """
    return _notes(grouped(content))


def _notes(model: Message) -> dict[str, str]:
    pairs = (grouped(as_bytes(pair)) for pair in model.get(14, []))
    return {as_text(only(pair, 1)): as_text(only(pair, 2)) for pair in pairs}


def _primitive(part: Part) -> tuple[str, tuple[str, dict[str, Value]]]:
    parts = grouped(as_bytes(part))
    return as_text(only(parts, 1)), (as_text(only(parts, 2)), _attributes(parts.get(3, [])))


def _nodes(
    parts: Iterable[Part], primitives: Mapping[str, tuple[str, dict[str, Value]]], aliases: Mapping[str, str]
) -> Iterator[Node]:
    constants: dict[str, Constant] = {}
    for count, part in enumerate(parts):
        if count == MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS:,} operations")
        node = grouped(as_bytes(part))
        name, op = as_text(only(node, 2)), as_text(only(node, 4))
        if op == _CONSTANT:
            constants[name] = Constant(_attributes(node.get(5, [])).get("value"))
            continue
        if op.removeprefix(_REFERENCE) not in primitives:
            raise WireError(f"{op} is none of its primitives")
        references = [as_text(item) for item in node.get(1, [])]
        inputs = tuple(constants.get(reference, aliases.get(reference, reference)) for reference in references)
        op, attributes = primitives[op.removeprefix(_REFERENCE)]
        yield Node(name, op, inputs, attributes)


def _weight(part: Part) -> tuple[str, str, Tensor]:
    """Return how nodes refer to a weight, its name, and its values."""
    parts = grouped(as_bytes(part))
    reference = as_text(only(parts, 7))
    if 12 in parts:
        raise WireError("its weights lie in a file of their own, as those above 1 GB do")
    tensor = _tensor(parts)
    if not isinstance(tensor, Tensor):
        raise WireError(f"{reference} has no values")
    return reference, as_text(parts[13][-1]) if 13 in parts else reference.rpartition(":")[2], tensor


def _port(graph: Message, number: int) -> tuple[str, tuple[int, ...], torch.dtype]:
    """Return name, shape and type of the only input or output."""
    parts = grouped(as_bytes(only(graph, number)))
    tensor = grouped(as_bytes(parts[2][0])) if 2 in parts else {}
    return as_text(only(parts, 1)), tuple(as_signed(dim) for dim in tensor.get(1, [])), _dtype(tensor)


def _tensor(parts: Message) -> Tensor | torch.dtype:
    """Return a tensor, or the type that a tensor without values stands for."""
    dtype = _dtype(parts)
    if 9 not in parts:
        return dtype
    if as_number(parts.get(16, [0])[-1]):
        raise WireError("its weights are compressed")
    shape, content = tuple(as_signed(dim) for dim in parts.get(1, [])), as_bytes(only(parts, 9))
    tensor = to_tensor(content, dtype, shape)
    if tensor is None:
        raise WireError(f"a tensor of shape {shape} has {len(content):,} bytes")
    return tensor


def _dtype(tensor: Message) -> torch.dtype:
    number = as_number(tensor.get(2, [0])[-1])
    if number not in TYPES:
        raise WireError(f"a tensor of type {number}")
    return TYPES[number]


def _attributes(parts: Iterable[Part]) -> dict[str, Value]:
    found = (grouped(as_bytes(part)) for part in parts)
    return {as_text(only(attribute, _NAME)): _value(attribute) for attribute in found}


def _value(attribute: Message, depth: int = 0) -> Value:
    kind = as_number(attribute.get(_TYPE, [0])[-1])
    if kind in _SCALARS:
        alone, element, read = _SCALARS[kind]
        return read(only(attribute, element if element in attribute else alone))
    if kind == _TENSORS:
        return _tensor(grouped(as_bytes(only(attribute, _TENSOR))))
    if kind in _NOTHING:
        return None
    if kind not in (_TUPLE, _LIST) or depth == _DEEPEST:
        raise WireError(f"an attribute of type {kind}")
    return tuple(_value(grouped(as_bytes(part)), depth + 1) for part in attribute.get(_VALUES, []))


def encode(graph: Graph, *, version: str) -> bytes:
    """Return the file of a graph.

    Args:
        graph: of this package's operations, as MindSpore 2.0 has them.
        version: of what writes it.

    Raises:
        GraphError: the graph cannot be computed.
    """
    body, primitives = _encoded_nodes(graph)
    port = [(5, graph.input, graph.shape, graph.dtype), (6, graph.output, *_form(results(graph)[graph.output]))]
    body += [field(3, _encoded_weight(name, tensor)) for name, tensor in graph.weights.items()]
    body += [
        field(number, field(1, _reference(name)) + field(2, _encoded_form(shape, dtype)))
        for number, name, shape, dtype in port
    ]
    model = field(1, b"0.1.1") + field(2, b"unetkit") + field(5, version.encode())
    model += field(7, field(2, _GRAPH) + b"".join(body)) + field(10, 1)
    model += b"".join(field(12, primitive) for primitive in primitives) + field(13, 1)
    return model + b"".join(
        field(14, field(1, key.encode()) + field(2, text.encode())) for key, text in graph.notes.items()
    )


_GRAPH = b"unet"


def _encoded_nodes(graph: Graph) -> tuple[list[bytes], list[bytes]]:
    """Return the graph's nodes, constants among them, and the primitives that they refer to."""
    values, nodes = results(graph), list[bytes]()
    constants, primitives = dict[bytes, str](), dict[bytes, str]()
    for place, node in enumerate(graph.nodes):
        inputs = b""
        for item in node.inputs:
            if isinstance(item, Constant):
                content = _encoded_value(item.value)
                if content not in constants:
                    constants[content] = f"constant{len(constants)}"
                    name = constants[content].encode()
                    value = field(_NAME, b"value") + content
                    nodes.append(field(2, name) + field(3, name) + field(4, _CONSTANT.encode()) + field(5, value))
                inputs += field(1, constants[content].encode())
            else:
                inputs += field(1, _reference(item))
        primitive = _encoded_primitive(node)
        name = primitives.setdefault(primitive, f"{node.op}:{len(primitives)}")
        shape = field(5, field(_NAME, b"shape") + _encoded_result(values[node.name]))
        domain = f"Default/{node.op}-op{place}".encode()
        reference = _reference(node.name)
        kind = field(4, f"{_REFERENCE}{name}".encode())
        nodes.append(inputs + field(2, reference) + field(3, reference) + kind + shape + field(7, domain))
    named = [field(1, name.encode()) + content for content, name in primitives.items()]
    return [field(1, node) for node in nodes], named


def _reference(name: str) -> bytes:
    return _GRAPH + b":" + name.encode()


def _encoded_primitive(node: Node) -> bytes:
    names: dict[str, Value] = {
        "input_names": _INPUT_NAMES.get(node.op, ("x", "y")[: len(node.inputs)]),
        "output_names": ("output",),
    }
    attributes = {**names, **node.attributes} if node.op not in ("MakeTuple", "TupleGetItem") else {}
    listed = ("input_names", "output_names")
    return field(2, node.op.encode()) + b"".join(
        field(3, field(_NAME, name.encode()) + _encoded_value(value, as_list=name in listed))
        for name, value in attributes.items()
    )


def _encoded_weight(name: str, tensor: Tensor) -> bytes:
    reference, content = field(7, _reference(name)), _encoded_tensor(tensor)
    return content + reference + field(13, name.encode())


def _encoded_value(value: Value, *, element: bool = False, as_list: bool = False) -> bytes:
    """Return the fields of an attribute; an element of a tuple has its scalar in another field."""
    match value:
        case bool():
            return field(_INTS if element else _I, int(value)) + field(_TYPE, _BOOL)
        case int():
            return field(_INTS if element else _I, value & (1 << 64) - 1) + field(_TYPE, _INT64)
        case float():
            return fixed32(_FLOATS if element else _F, struct.pack("<f", value)) + field(_TYPE, _FLOAT)
        case str():
            return field(_TEXTS if element else _S, value.encode()) + field(_TYPE, _STRING)
        case Tensor():
            return field(_TENSOR, _encoded_tensor(value)) + field(_TYPE, _TENSORS)
        case torch.dtype():
            return field(_TENSOR, field(2, _NUMBERS[value])) + field(_TYPE, _TENSORS)
        case tuple():
            items = b"".join(field(_VALUES, _encoded_value(item, element=True)) for item in value)
            return field(_TYPE, _LIST if as_list else _TUPLE) + items
        case None:
            return field(_TYPE, _NOTHING[-1])


def _encoded_tensor(tensor: Tensor) -> bytes:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return _encoded_form(tensor.shape, tensor.dtype) + field(9, content)


def _encoded_form(shape: Iterable[int], dtype: torch.dtype) -> bytes:
    return b"".join(field(1, side) for side in shape) + field(2, _NUMBERS[dtype])


def _form(value: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(value.shape), value.dtype


def _encoded_result(value: Any) -> bytes:
    """Return the type of a node's result: a tensor's, or those of several."""
    if isinstance(value, Tensor):
        return field(_TENSOR, _encoded_form(*_form(value))) + field(_TYPE, _TENSORS)
    return field(_TYPE, _TUPLE) + b"".join(field(_VALUES, _encoded_result(item)) for item in value)
