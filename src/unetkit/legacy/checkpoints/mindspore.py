"""MindSpore's checkpoints, both ways, and the weights in what MindSpore exports.

A `.ckpt` is a row of `Checkpoint` messages of Protocol Buffers, without any header, with one value each: a tag, and a
tensor as dims, type and content. Tensors above 512 MiB lie in several consecutive values under one tag. A checksum may
follow the last value. The tags of a training are those of the network, of Adam's moments and of a few scalars. The
format is that of releases 1.0 to 2.10. MindSpore's safetensors say so in their metadata.

Exports are MindIR, AIR and MindSpore's own ONNX. Weights keep the names of MindSpore's parameters there, so that the
network is recognised as in a checkpoint, and runs at any size. MindSpore's ONNX is read by its initialisers alone: its
transposed convolutions have an `output_shape` of four lengths, where ONNX has two, and no ONNX runtime takes them.
Files with unetkit's own card are left to others.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.archive import LONGEST_NAME, MOST_TENSORS, Archive, one_line, to_bytes, to_tensor, whole_number
from unetkit.legacy.graphs import CARD, read_graph
from unetkit.storage import protobuf
from unetkit.storage.protobuf import (
    WireError,
    as_bytes,
    as_message,
    as_number,
    as_text,
    field,
    grouped,
    integers,
    only,
    read_varint,
    repeated,
    stream,
)

SYSTEM = "MindSpore"
Value: TypeAlias = Tensor | str


class Checkpoint(IntEnum):
    """Fields of a `.ckpt` (checkpoint.proto)."""

    VALUE = 1


class CheckpointValue(IntEnum):
    """Fields of Checkpoint.Value; it has a tensor or a table."""

    TAG = 1
    TENSOR = 2


class TensorProto(IntEnum):
    """Fields of the TensorProto of a `.ckpt`."""

    DIMS = 1
    TENSOR_TYPE = 2
    TENSOR_CONTENT = 3


class OnnxModel(IntEnum):
    """Fields of onnx.ModelProto."""

    GRAPH = 7


class OnnxGraph(IntEnum):
    """Fields of onnx.GraphProto."""

    INITIALIZER = 5


class OnnxTensor(IntEnum):
    """Fields of onnx.TensorProto."""

    DIMS = 1
    DATA_TYPE = 2
    NAME = 8
    RAW_DATA = 9


TYPES: dict[str, torch.dtype] = {
    "Int8": torch.int8,
    "UInt8": torch.uint8,
    "Int16": torch.int16,
    "UInt16": torch.uint16,
    "Int32": torch.int32,
    "UInt32": torch.uint32,
    "Int64": torch.int64,
    "UInt64": torch.uint64,
    "Float16": torch.float16,
    "Float32": torch.float32,
    "Float64": torch.float64,
    "Bool": torch.bool,
    "BFloat16": torch.bfloat16,
}
_NAMES = {dtype: name for name, dtype in TYPES.items()}
_PACKED = "Int4"  # two numbers in a byte
_TEXT = "str"
_ONNX_TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}

_OPTIMIZER = ("global_step", "learning_rate", "beta1_power", "beta2_power")
_MOMENTS = ("moment1.", "moment2.")

_ENCRYPTED = b"\xd8\x5e\x3a\x7f"
_CHECKSUM_MARK = b"crc_num"
_TAIL = len(_CHECKSUM_MARK) + 10
_SLICE = 512 * 1024 * 1024
_ONNX_START, _ONNX_PRODUCER = b"\x08", b"\x12\x09MindSpore"  # the version comes first, then who wrote it


def read(path: Path) -> Archive | None:
    """Read a checkpoint; None for a file that is not MindSpore's.

    Raises:
        ModelFileError: encrypted, cut short, or with values that contradict themselves.
        DamagedFileError: the checksum at its end does not match.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(LONGEST_NAME)
    if head.startswith(_ENCRYPTED):
        raise ModelFileError(
            f"{path}: an encrypted MindSpore checkpoint; load it with its key in MindSpore and save it without enc_key"
        )
    values: Mapping[str, Value]
    if is_checkpoint(head):
        values = read_checkpoint(path)
    elif head[8:9] == b"{":
        try:
            with safe_open(path, framework="pt", device="cpu") as file:  # pyright: ignore[reportUnknownVariableType] untyped
                metadata = cast("dict[str, str]", file.metadata() or {})
                if metadata.get("format") != "ms" and "crc_num" not in metadata:
                    return None
                values = {name: cast("Tensor", file.get_tensor(name)) for name in cast("list[str]", file.keys())}
        except (SafetensorError, OSError, ValueError):
            return None  # the reader of all safetensors reports what is wrong with it
    else:
        return None
    tensors = {tag: value for tag, value in values.items() if isinstance(value, Tensor)}
    first, second = (
        {tag.removeprefix(prefix): tensor for tag, tensor in tensors.items() if tag.startswith(prefix)}
        for prefix in _MOMENTS
    )
    return Archive(
        system=SYSTEM,
        tensors={
            tag: tensor for tag, tensor in tensors.items() if tag not in _OPTIMIZER and not tag.startswith(_MOMENTS)
        },
        first=first,
        second=second,
        step=whole_number(tensors.get("global_step")),
        left_out=tuple(tag for tag in values if tag not in tensors),
    )


def is_checkpoint(head: bytes) -> bool:
    """Return whether a file starts as a message that holds a message that holds a name."""
    try:
        if head[:1] != b"\x0a":
            return False
        _, at = read_varint(memoryview(head), 1)
        if head[at : at + 1] != b"\x0a":
            return False
        size, at = read_varint(memoryview(head), at + 1)
        return 0 < size <= LONGEST_NAME and head[at : at + size].decode().isprintable() and at + size <= len(head)
    except (WireError, UnicodeDecodeError):
        return False


def read_checkpoint(path: Path) -> dict[str, Value]:
    """Return the values of a `.ckpt` in the order of the file; texts as str, scalars as tensors without dimensions.

    Raises:
        ModelFileError, DamagedFileError: as `read`.
    """
    result: dict[str, Value] = {}
    try:
        with path.open("rb") as file:
            end = values_end(path, file)
            file.seek(0)
            for tag, parts in groupby(checkpoint_values(file, end), key=itemgetter(0)):
                if tag in result:
                    raise WireError(f"{tag} is there twice")
                if len(result) == MOST_TENSORS:
                    raise WireError(f"more than {MOST_TENSORS:,} values")
                result[tag] = joined(tag, [tensor for _, tensor in parts])
    except WireError as error:
        raise ModelFileError(
            f"{path}: a MindSpore checkpoint that is cut short or damaged ({one_line(error)}); copy it again"
        ) from None
    return result


def values_end(path: Path, file: BinaryIO) -> int:
    """Return where the values of a `.ckpt` end: before the checksum, if there is one.

    Raises:
        DamagedFileError: the checksum does not match.
    """
    end = file.seek(0, os.SEEK_END)
    if end < _TAIL:
        return end
    file.seek(end - _TAIL)
    tail = file.read(_TAIL)
    if not tail.startswith(_CHECKSUM_MARK):
        return end
    file.seek(0)
    checksum, left = 0, end - _TAIL
    while left:
        piece = file.read(min(left, 1 << 20))
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    if checksum != int.from_bytes(tail[len(_CHECKSUM_MARK) :], "big"):
        raise DamagedFileError(f"{path}: damaged: its content does not match the checksum at its end; copy it again")
    return end - _TAIL


def checkpoint_values(file: BinaryIO, end: int) -> Iterator[tuple[str, memoryview | None]]:
    """Yield tag and tensor of the values of a `.ckpt`; None for a table, which no U-Net has.

    Raises:
        WireError: cut short, or a value without one tag and one tensor.
    """
    for number, content in stream(file, end):
        message = grouped(content)
        tags, tensors = message.get(CheckpointValue.TAG, []), message.get(CheckpointValue.TENSOR, [])
        if number != Checkpoint.VALUE or len(tags) != 1 or len(tensors) > 1:
            raise WireError("a value without one tag and one tensor")
        yield _name(tags[0]), as_bytes(tensors[0]) if tensors else None


def joined(tag: str, parts: list[memoryview | None]) -> Value:
    """Return one value of the tensors under one tag, each with the whole's dims and type and a part of its content.

    Raises:
        WireError: the parts contradict each other or themselves.
    """
    heads, contents = list[tuple[list[int], str]](), list[memoryview]()
    for part in parts:
        if part is None:
            return "a table of MindSpore's"
        message = grouped(part)
        dims = [dim for dim in message.get(TensorProto.DIMS, []) if isinstance(dim, int)]
        heads.append((dims, _name(message.get(TensorProto.TENSOR_TYPE, [0])[0])))
        if heads[-1] != heads[0]:
            raise WireError(f"{tag} changes its shape or type between its parts")
        contents += [piece for piece in message.get(TensorProto.TENSOR_CONTENT, []) if isinstance(piece, memoryview)]
    dims, kind = heads[0]
    content = contents[0] if len(contents) == 1 else b"".join(contents)
    if kind == _TEXT:
        return bytes(content).decode("utf-32-le", errors="replace").rstrip("\0")
    if kind == _PACKED:
        return torch.frombuffer(bytearray(content), dtype=torch.int8) if content else torch.empty(0, dtype=torch.int8)
    if kind not in TYPES:
        return f"a value of type {kind}"
    shape = () if dims == [0] else tuple(dims)  # what releases before 2.10 write for a scalar
    tensor = to_tensor(content, TYPES[kind], shape)
    if tensor is None:
        raise WireError(f"{tag} has {len(content):,} bytes, which do not fill {kind} of shape {shape}")
    return tensor


def _name(content: protobuf.Value) -> str:
    if len(as_bytes(content)) > LONGEST_NAME:
        raise WireError(f"a name of more than {LONGEST_NAME:,} bytes")
    return as_text(content)


def write_checkpoint(path: Path, values: Mapping[str, Value]) -> None:
    """Write a `.ckpt` that MindSpore loads, byte for byte as MindSpore 2.10 writes the same values in the same order.

    Like MindSpore's own it can be read by its owner and changed by nobody.

    Raises:
        OSError: the disk did not take it.
    """
    with path.open("wb") as file:
        for tag, value in values.items():
            if isinstance(value, str):
                dims, kind, content = [0], _TEXT, value.encode("utf-32-le")
            else:
                dims, kind, content = list(value.shape), _NAMES[value.dtype], to_bytes(value)
            head = repeated(TensorProto.DIMS, dims) + field(TensorProto.TENSOR_TYPE, kind)
            for start in range(0, len(content), _SLICE):
                tensor = head + field(TensorProto.TENSOR_CONTENT, content[start : start + _SLICE])
                message = field(CheckpointValue.TAG, tag) + field(CheckpointValue.TENSOR, tensor)
                file.write(field(Checkpoint.VALUE, message))
    path.chmod(0o400)


def read_exported(path: Path) -> Archive | None:
    """Read the weights of an exported file; None for one that MindSpore did not write.

    Raises:
        ModelFileError: cut short, or contradicting itself.
    """
    if not path.is_file():
        return None
    graph = read_graph(path)
    if graph is not None:
        weights = {name: tensor for name, tensor in graph.weights.items() if tensor.is_floating_point()}
        return None if CARD in graph.notes else Archive(SYSTEM, weights)
    with path.open("rb") as file:
        head = file.read(LONGEST_NAME)
    if not head.startswith(_ONNX_START) or head[2 : 2 + len(_ONNX_PRODUCER)] != _ONNX_PRODUCER:
        return None
    weights = dict[str, Tensor]()
    try:
        graph = as_message(only(grouped(path.read_bytes()), OnnxModel.GRAPH))
        initialisers = graph.get(OnnxGraph.INITIALIZER, [])
        if len(initialisers) > MOST_TENSORS:
            raise WireError(f"{len(initialisers):,} tensors")
        for part in initialisers:
            message = as_message(part)
            name, number = as_text(only(message, OnnxTensor.NAME)), as_number(only(message, OnnxTensor.DATA_TYPE))
            if number not in _ONNX_TYPES or OnnxTensor.RAW_DATA not in message:
                continue  # a shape or another constant
            content, shape = as_bytes(only(message, OnnxTensor.RAW_DATA)), integers(message.get(OnnxTensor.DIMS, []))
            tensor = to_tensor(content, _ONNX_TYPES[number], tuple(shape))
            if tensor is None:
                raise WireError(f"{name} has another size than its shape")
            weights[name] = tensor
    except WireError as error:
        raise ModelFileError(
            f"{path}: MindSpore's ONNX, cut short or damaged ({one_line(error)}); copy it again"
        ) from None
    return Archive(SYSTEM, weights)
