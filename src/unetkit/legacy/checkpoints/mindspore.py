"""MindSpore's checkpoints: `.ckpt`, which is Protocol Buffers without any header, and its safetensors.

A `.ckpt` is a row of `Checkpoint` messages with one value each: a tag, and a tensor as dims, type and content. Tensors
above 512 MiB lie in several consecutive values under one tag. A checksum may follow the last value. The tags of a
training are those of the network, of Adam's moments and of a few scalars. The format is that of releases 1.0 to 2.10.

The weights in what MindSpore exports: MindIR, AIR and its own ONNX.

Weights keep the names of MindSpore's parameters there, so that the network is recognised as in a checkpoint, and runs
at any size. MindSpore's ONNX is read by its initialisers alone: its transposed convolutions have an `output_shape` of
four lengths, where ONNX has two, and no ONNX runtime takes them. Files with unetkit's own card are left to others.
"""

import os
import zlib
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.archive import LONGEST_NAME, MOST_TENSORS, Archive, one_line, to_tensor, whole_number
from unetkit.legacy.graphs import CARD, read_graph
from unetkit.storage.atomic import atomic_path
from unetkit.storage.protobuf import (
    WireError,
    as_bytes,
    as_number,
    as_text,
    field,
    grouped,
    integers,
    only,
    read_varint,
    stream,
)

SYSTEM = "MindSpore"
Value = Tensor | str

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

_OPTIMIZER = ("global_step", "learning_rate", "beta1_power", "beta2_power")

_ENCRYPTED = b"\xd8\x5e\x3a\x7f"
_CHECKSUM_MARK = b"crc_num"
_TAIL = len(_CHECKSUM_MARK) + 10
_SLICE = 512 * 1024 * 1024


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
    if _begins_a_checkpoint(head):
        return _sort(read_checkpoint(path))
    return _read_safetensors(path, head)


def read_checkpoint(path: Path) -> dict[str, Value]:
    """Return the values of a `.ckpt` in the order of the file; texts as str, scalars as tensors without dimensions.

    Raises:
        ModelFileError, DamagedFileError: as `read`.
    """
    try:
        with path.open("rb") as file:
            end = _check_tail(path, file)
            file.seek(0)
            return _collect(_value(number, message) for number, message in stream(file, end))
    except WireError as error:
        raise ModelFileError(
            f"{path}: a MindSpore checkpoint that is cut short or damaged ({one_line(error)}); copy it again"
        ) from None


def write_checkpoint(path: Path, values: Mapping[str, Value]) -> None:
    """Write a `.ckpt` that MindSpore loads, byte for byte as MindSpore 2.10 writes the same values in the same order.

    Like MindSpore's own it can be read by its owner and changed by nobody.

    Raises:
        StorageError: the disk did not take it; an older file at `path` is untouched.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for tag, value in values.items():
            for message in _messages(tag, value):
                file.write(message)
    path.chmod(0o400)


def _begins_a_checkpoint(head: bytes) -> bool:
    """Tell whether a file starts as a message that holds a message that holds a name."""
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


def _check_tail(path: Path, file: BinaryIO) -> int:
    """Return where the values end: before the checksum, if there is one and it is right."""
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


def _value(number: int, message: bytes) -> tuple[str, memoryview | None]:
    """Return the tag and the tensor of a value; None for a table, which no U-Net has."""
    parts = grouped(message)
    tags, tensors = parts.get(1, []), parts.get(2, [None])
    if number != 1 or len(tags) != 1 or len(tensors) != 1:
        raise WireError("a value without one tag and one tensor")
    tensor = tensors[0]
    if isinstance(tensor, int):
        raise WireError("a tensor that is an integer")
    return _text(tags[0]), tensor


def _collect(values: Iterable[tuple[str, memoryview | None]]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for tag, slices in groupby(values, key=itemgetter(0)):
        if tag in result:
            raise WireError(f"{tag} is there twice")
        if len(result) == MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS:,} values")
        result[tag] = _join(tag, [tensor for _, tensor in slices])
    return result


def _join(tag: str, slices: list[memoryview | None]) -> Value:
    """Return one value of the tensors under one tag, each with the whole's dims and type and a part of its content."""
    first: tuple[list[int], str] | None = None
    contents: list[memoryview] = []
    for piece in slices:
        if piece is None:
            return "a table of MindSpore's"
        parts = grouped(piece)
        dims = [dim for dim in parts.get(1, []) if isinstance(dim, int)]
        head = dims, _text(parts.get(2, [0])[0])
        if first is not None and head != first:
            raise WireError(f"{tag} changes its shape or type between its parts")
        first = head
        contents += [content for content in parts.get(3, []) if isinstance(content, memoryview)]
    assert first is not None
    return _decode(tag, *first, contents[0] if len(contents) == 1 else b"".join(contents))


def _decode(tag: str, dims: list[int], kind: str, content: bytes | memoryview) -> Value:
    if kind == _TEXT:
        return bytes(content).decode("utf-32-le", errors="replace").rstrip("\0")
    if kind == _PACKED:
        return torch.frombuffer(bytearray(content), dtype=torch.int8) if content else torch.empty(0, dtype=torch.int8)
    if kind not in TYPES:
        return f"a value of type {kind}"
    shape = () if dims == [0] else tuple(dims)  # what releases before 2.10 write for a scalar
    tensor = to_tensor(content, TYPES[kind], shape)
    if tensor is None:
        raise WireError(f"{tag} has {len(content):,} bytes, which are no {kind} of shape {shape}")
    return tensor


def _text(content: int | memoryview) -> str:
    if isinstance(content, int) or len(content) > LONGEST_NAME:
        raise WireError("a name that is none")
    try:
        return bytes(content).decode()
    except UnicodeDecodeError:
        raise WireError("a name that is no text") from None


def _read_safetensors(path: Path, head: bytes) -> Archive | None:
    """Read the safetensors that MindSpore writes, which say so in their metadata."""
    if head[8:9] != b"{":
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:  # pyright: ignore[reportUnknownVariableType] untyped
            metadata = cast("dict[str, str]", file.metadata() or {})
            if metadata.get("format") != "ms" and "crc_num" not in metadata:
                return None
            names = cast("list[str]", file.keys())
            return _sort({name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError, ValueError):
        return None  # who reads all safetensors says what is wrong with it


def _sort(values: dict[str, Value]) -> Archive:
    """Tell the network's tensors from the optimizer's and from what was saved beside them."""
    moments = {prefix: _after(prefix, values) for prefix in ("moment1.", "moment2.")}
    step = values.get("global_step")
    return Archive(
        system=SYSTEM,
        tensors={
            tag: value
            for tag, value in values.items()
            if isinstance(value, Tensor) and tag not in _OPTIMIZER and not tag.startswith(tuple(moments))
        },
        first=moments["moment1."],
        second=moments["moment2."],
        step=whole_number(step) if isinstance(step, Tensor) else None,
        left_out=tuple(tag for tag, value in values.items() if isinstance(value, str)),
    )


def _after(prefix: str, values: Mapping[str, Value]) -> dict[str, Tensor]:
    return {
        tag.removeprefix(prefix): value
        for tag, value in values.items()
        if tag.startswith(prefix) and isinstance(value, Tensor)
    }


def _messages(tag: str, value: Value) -> Iterable[bytes]:
    if isinstance(value, str):
        dims, kind, content = [0], _TEXT, value.encode("utf-32-le")
    else:
        dims, kind = list(value.shape), _NAMES[value.dtype]
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    head = b"".join(field(1, dim) for dim in dims) + field(2, kind.encode())
    for start in range(0, len(content), _SLICE):
        tensor = head + field(3, content[start : start + _SLICE])
        yield field(1, field(1, tag.encode()) + field(2, tensor))


_BEGIN = b"\x08"  # onnx.ModelProto.ir_version
_PRODUCER = b"\x12\x09MindSpore"
_TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}


def read_mindspore_graphs(path: Path) -> Archive | None:
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
    if not head.startswith(_BEGIN) or head[2 : 2 + len(_PRODUCER)] != _PRODUCER:
        return None
    try:
        model = grouped(path.read_bytes())
        initialisers = grouped(as_bytes(only(model, 7))).get(5, [])
        if len(initialisers) > MOST_TENSORS:
            raise WireError(f"{len(initialisers):,} tensors")
        found = dict(_initialiser(part) for part in initialisers)
    except WireError as error:
        raise ModelFileError(
            f"{path}: MindSpore's ONNX, cut short or damaged ({one_line(error)}); copy it again"
        ) from None
    return Archive(SYSTEM, {name: tensor for name, tensor in found.items() if tensor is not None})


def _initialiser(part: int | memoryview) -> tuple[str, Tensor | None]:
    """Return the name and the values of an onnx.TensorProto; None for what no weights are."""
    tensor = grouped(as_bytes(part))
    name, number = as_text(only(tensor, 8)), as_number(only(tensor, 2))
    if number not in _TYPES or 9 not in tensor:
        return name, None
    values = to_tensor(as_bytes(only(tensor, 9)), _TYPES[number], tuple(integers(tensor.get(1, []))))
    if values is None:
        raise WireError(f"{name} has another size than its shape says")
    return name, values
