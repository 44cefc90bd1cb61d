"""TensorFlow's checkpoint bundles: a table of what there is, and shards with the bytes of the tensors.

A bundle is named by the folder that holds it, by its `checkpoint` file, by its prefix (`model.ckpt-6400`, which is not
a file) or by one of its files. The table, `<prefix>.index`, is LevelDB's as far as TensorFlow writes it: sorted keys
and values in blocks, nothing compressed. A footer of 48 bytes names the index block, whose values name the data blocks.
In a block a key is stored as how much it shares with the one before and what is its own. Every block is followed by its
type and its checksum. Every block and every tensor has a CRC-32C, and all of them are checked. Single-file checkpoints
of before 2016, saved models and partitioned variables are not read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import cast

import google_crc32c
import torch
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.archive import LONGEST_NAME, MOST_TENSORS, Archive, one_line, to_tensor, whole_number
from unetkit.storage.protobuf import WireError, as_bytes, as_message, fields, grouped, number_of, read_varint

SYSTEM = "TensorFlow"

TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
"""The numbers of `DataType` in types.proto that have a torch type; texts, variants and quantised types have none."""


class BundleHeader(IntEnum):
    """Fields of the message under the empty key (tensor_bundle.proto)."""

    NUM_SHARDS = 1
    ENDIANNESS = 2


class BundleEntry(IntEnum):
    """Fields of the message under a tensor's name (tensor_bundle.proto)."""

    DTYPE = 1
    SHAPE = 2
    SHARD_ID = 3
    OFFSET = 4
    SIZE = 5
    CRC32C = 6
    SLICES = 7


class TensorShape(IntEnum):
    """Fields of a shape (tensor_shape.proto)."""

    DIM = 2


class Dim(IntEnum):
    """Fields of a side of a shape."""

    SIZE = 1


_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5
_MASK_DELTA = 0xA282EAD8
_LARGEST_INDEX = 1 << 28
_LARGEST_POINTER = 1 << 20
_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_SLOTS = ("/Adam", "/Adam_1")  # first and second moments
_OPTIMIZER = ("global_step", "beta1_power", "beta2_power")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies: `size` bytes from `start` in a shard; `checksum` in the masked form."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    start: int
    size: int
    checksum: int


class ChecksumError(Exception):
    """A block was whole once: its checksum no longer matches."""


def read(path: Path) -> Archive | None:
    """Read a bundle; None for what is not one.

    Raises:
        ModelFileError: a shard is missing, or the table contradicts itself or its shards.
        DamagedFileError: a block or a tensor does not match its checksum.
    """
    prefix = find_prefix(path)
    if prefix is None:
        return None
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file() or index.stat().st_size > _LARGEST_INDEX:
        return None
    table = index.read_bytes()
    if len(table) < _FOOTER or not table.endswith(_MAGIC):
        return None
    try:
        shards, found = read_index(table)
        values = {name: read_tensor(prefix, shards, name, item) for name, item in found.items() if item.dtype in TYPES}
    except WireError as error:
        raise ModelFileError(
            f"{index}: the index of a TensorFlow checkpoint, cut short or damaged ({one_line(error)}); "
            "copy the checkpoint again"
        ) from None
    except ChecksumError:
        raise DamagedFileError(f"{index}: damaged: a block does not match its checksum; copy it again") from None
    first, second = (
        {name.removesuffix(slot): values.pop(name) for name in list(values) if name.endswith(slot)} for slot in _SLOTS
    )
    step = next((value for name, value in values.items() if name.endswith("global_step")), None)
    return Archive(
        system=SYSTEM,
        tensors={name: tensor for name, tensor in values.items() if not name.endswith(_OPTIMIZER)},
        first=first,
        second=second,
        step=whole_number(step),
        left_out=tuple(name for name in found if found[name].dtype not in TYPES),
    )


def find_prefix(path: Path) -> Path | None:
    """Return what the names of a bundle's files begin with, or None where nothing names them."""
    pointer = path
    if path.is_dir():
        places = (path / "checkpoint", path / "model_checkpoint" / "checkpoint")
        pointers = [place for place in places if place.is_file()]
        if not pointers:  # a folder that has lost its `checkpoint` file
            found = sorted(path.glob("*.index"))
            return found[0].with_suffix("") if len(found) == 1 else None
        pointer = pointers[0]
    elif not path.is_file() or _SUFFIX.search(path.name):
        return path.with_name(_SUFFIX.sub("", path.name)) if path.name else None
    if pointer.stat().st_size > _LARGEST_POINTER:
        return None
    match = re.search(rb'^model_checkpoint_path: "([^"\n]+)"', pointer.read_bytes(), re.MULTILINE)
    if match is None:
        return None
    # Only the last part counts, because bundles are moved about.
    name = match[1].decode(errors="replace").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return pointer.with_name(name) if name not in ("", ".", "..") and "\0" not in name else None


def read_index(table: bytes) -> tuple[int, dict[str, Entry]]:
    """Return the number of shards and the entries of a bundle.

    Raises:
        WireError: the table contradicts itself, is cut short or is compressed, or a tensor is partitioned.
        ChecksumError: a block does not match its checksum.
    """
    shards, found = 1, dict[str, Entry]()
    for name, value in table_entries(table):
        message = grouped(value)
        if name == "":
            shards = number_of(message, BundleHeader.NUM_SHARDS)
            if number_of(message, BundleHeader.ENDIANNESS) != 0:
                raise WireError("it is big-endian")
            continue
        if BundleEntry.SLICES in message:
            raise WireError(f"{name} is partitioned; save it whole")
        found[name] = Entry(
            dtype=number_of(message, BundleEntry.DTYPE),
            shape=tuple(
                number_of(as_message(dim), Dim.SIZE)
                for shape in message.get(BundleEntry.SHAPE, [])
                for number, dim in fields(as_bytes(shape))
                if number == TensorShape.DIM
            ),
            shard=number_of(message, BundleEntry.SHARD_ID),
            start=number_of(message, BundleEntry.OFFSET),
            size=number_of(message, BundleEntry.SIZE),
            checksum=number_of(message, BundleEntry.CRC32C),
        )
        if len(found) > MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS:,} tensors")
    for one, other in pairwise(sorted((entry.shard, entry.start, entry.size) for entry in found.values())):
        if one[0] == other[0] and one[1] + one[2] > other[1]:
            raise WireError("its tensors overlap")  # a small file could fill the memory
    return shards, found


def table_entries(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Yield the keys and values of a LevelDB table in order.

    Raises:
        WireError, ChecksumError: as `read_index`.
    """
    table = memoryview(content)
    footer = table[-_FOOTER:]
    _, _, at = _handle(footer, 0)
    start, size, _ = _handle(footer, at)
    left = len(table)  # blocks do not overlap: a table cannot hold more than its own length
    for _, value in _block(table, start, size):
        start, size, _ = _handle(value, 0)
        left -= size
        if left < 0:
            raise WireError("its blocks overlap")
        for key, entry in _block(table, start, size):
            yield key.decode(errors="replace"), entry


def _handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Return where a block starts, its size, and the position after both."""
    start, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return start, size, at


def _block(table: memoryview, start: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    if start + size + _TRAILER > len(table) or size < 4:
        raise WireError(f"a block of {size:,} bytes at byte {start:,} of {len(table):,}")
    block, trailer = table[start : start + size], table[start + size : start + size + _TRAILER]
    if masked_crc32c(table[start : start + size + 1]) != int.from_bytes(trailer[1:], "little"):
        raise ChecksumError
    if trailer[0] != 0:
        raise WireError("a compressed block, which TensorFlow does not write")
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    if end < 0:
        raise WireError(f"a block of {size:,} bytes with {restarts:,} restarts")
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or own + length > end - at or shared + own > LONGEST_NAME:
            raise WireError("an entry that does not fit its block")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, block[at + own : at + own + length]
        at += own + length


def read_tensor(prefix: Path, shards: int, name: str, entry: Entry) -> Tensor:
    """Read a tensor from its shard.

    Raises:
        ModelFileError: the shard is missing or cut short.
        DamagedFileError: the tensor does not match its checksum.
        WireError: its size contradicts its shape.
    """
    shard = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{shards:05d}")
    try:
        available = shard.stat().st_size
        if entry.start + entry.size > available or not shard.is_file():
            end = entry.start + entry.size
            raise ModelFileError(
                f"{shard}: cut short: {one_line(name)} ends at byte {end:,} of {available:,}; copy it again"
            )
        with shard.open("rb") as file:
            file.seek(entry.start)
            content = file.read(entry.size)
    except OSError as error:
        raise ModelFileError(
            f"{shard}: cannot be read ({error.strerror or error}); copy all {shards} data files of the checkpoint"
        ) from None
    if masked_crc32c(content) != entry.checksum:
        raise DamagedFileError(
            f"{shard}: damaged: {one_line(name)} does not match its checksum; copy the checkpoint again"
        )
    tensor = to_tensor(content, TYPES[entry.dtype], entry.shape)
    if tensor is None:
        raise WireError(f"{name} has {entry.size:,} bytes, which do not fill its shape {entry.shape}")
    return tensor


def masked_crc32c(content: bytes | memoryview) -> int:
    """Return the CRC-32C (RFC 3720) of the bytes in the form in which TensorFlow and LevelDB store it."""
    checksum = cast("int", google_crc32c.value(bytes(content)))
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF
