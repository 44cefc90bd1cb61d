"""AIR, Ascend's file of a network, read: a `ge.proto.ModelDef` after ge_ir.proto of Ascend's metadef.

Weights are operations `Const`, the input is one, `Data`; the rest become MindSpore's operations by the rules. Does not
know what an operation computes.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unetkit.interop.archive import MOST_TENSORS, to_tensor
from unetkit.interop.graphs.air_rules import BY_KIND, CAST_NUMBERS, TYPES
from unetkit.interop.graphs.graph import Constant, Graph, Node, Value
from unetkit.interop.protobuf import WireError, as_bytes, as_number, as_signed, as_text, grouped, integers, only

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
