"""TensorFlow's checkpoint bundles: a table of what there is, and shards with the bytes of the tensors.

A bundle is named by the folder that holds it, by its `checkpoint` file, by its prefix (`model.ckpt-6400`, which is no
file) or by one of its files. Every block of the table and every tensor has a CRC-32C, and all of them are checked.
Single-file checkpoints of before 2016, saved models and partitioned variables are not read.

LevelDB's table file, as far as TensorFlow writes it: sorted keys and values in blocks, nothing compressed.

A footer of 48 bytes names the index block, whose values name the data blocks. In a block a key is stored as how much it
shares with the one before and what is its own. Every block is followed by its type and its checksum.

CRC-32C (Castagnoli), the checksum of TensorFlow's files, at the speed of NumPy.

A checksum is the remainder of a polynomial over GF(2), so that a long message may be replaced by a short one with the
same remainder. The message is laid out in rows of `_LANES` words. Going down the rows, the row above is multiplied by
what a row's length stands for and added to the next one; at the end one row is left. The same is done to that row with
shorter rows, and what remains is taken byte by byte. Multiplication is linear, so it is a lookup for each half of a
word. Bits are reflected, as in all uses of this checksum: a word's lowest bit is its highest power.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.archive import LONGEST_NAME, MOST_TENSORS, Archive, one_line, to_tensor, whole_number
from unetkit.storage.protobuf import WireError, fields, grouped, read_varint

Words = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78
_LANES = (8192, 64)
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of the bytes.

    Source: RFC 3720, section 12.1 and appendix B.4.
    """
    message = np.frombuffer(data, np.uint8)
    remainder = 0xFFFFFFFF
    for lanes in _LANES:
        rows = message.size // (4 * lanes)
        if rows > 1:
            body, message = message[: 4 * lanes * rows], message[4 * lanes * rows :]
            folded = _fold(body.view("<u4").reshape(rows, lanes), remainder).view(np.uint8)
            message, remainder = np.concatenate([folded, message]), 0
    return _by_bytes(remainder, message.tobytes()) ^ 0xFFFFFFFF


def unmask(stored: int) -> int:
    """Return the checksum behind the masked form in which TensorFlow and LevelDB store it."""
    turned = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


def mask(checksum: int) -> int:
    """Return the form in which TensorFlow and LevelDB store a checksum."""
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _fold(rows: Words, remainder: int) -> Words:
    """Return one row that has the same remainder as all of them, after a message whose remainder is given."""
    low, high = _multiplication(4 * rows.shape[1])
    state = rows[0].copy()
    state[0] ^= np.uint32(remainder)
    product, half = np.empty_like(state), np.empty_like(state)
    for row in rows[1:]:
        halves = state.view("<u2")
        np.take(low, halves[0::2], out=product, mode="clip")
        np.take(high, halves[1::2], out=half, mode="clip")
        np.bitwise_xor(product, half, out=product)
        np.bitwise_xor(product, row, out=state)
    return state


def _by_bytes(remainder: int, data: bytes) -> int:
    table = _table()
    for byte in data:
        remainder = table[(remainder ^ byte) & 0xFF] ^ (remainder >> 8)
    return remainder


@cache
def _table() -> tuple[int, ...]:
    values: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


@cache
def _multiplication(size: int) -> tuple[Words, Words]:
    """Return what every low half and every high half of a word becomes when `size` zero bytes follow it."""
    images = [_by_bytes(1 << bit, bytes(4)) for bit in range(32)]
    words = size // 4
    assert words & (words - 1) == 0, "rows are squared up to their length"
    while words > 1:
        images = [_apply(images, image) for image in images]
        words //= 2
    return _all_sums(images[:16]), _all_sums(images[16:])


def _apply(images: list[int], word: int) -> int:
    result = 0
    for bit, image in enumerate(images):
        if word >> bit & 1:
            result ^= image
    return result


def _all_sums(images: list[int]) -> Words:
    sums = np.zeros(1, np.uint32)
    for image in images:
        sums = np.concatenate([sums, sums ^ np.uint32(image)])
    return sums


_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5


class ChecksumError(Exception):
    """A block was whole once: its checksum no longer matches."""


def is_table(content: bytes) -> bool:
    """Tell whether the bytes end as a table does."""
    return len(content) >= _FOOTER and content.endswith(_MAGIC)


def entries(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Yield the keys and values of a table in order.

    Raises:
        WireError: the table contradicts itself, is cut short or is compressed.
        ChecksumError: a block does not match its checksum.
    """
    table = memoryview(content)
    footer = table[-_FOOTER:]
    _, at = _handle(footer, 0)
    (start, size), _ = _handle(footer, at)
    left = len(table)  # blocks do not overlap: a table cannot hold more than its own length
    for _, value in _block(table, start, size):
        (start, size), _ = _handle(value, 0)
        left -= size
        if left < 0:
            raise WireError("its blocks overlap")
        for key, entry in _block(table, start, size):
            yield key.decode(errors="replace"), entry


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    start, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (start, size), at


def _block(table: memoryview, start: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    if start + size + _TRAILER > len(table) or size < 4:
        raise WireError(f"a block of {size:,} bytes at byte {start:,} of {len(table):,}")
    block, trailer = table[start : start + size], table[start + size : start + size + _TRAILER]
    if crc32c(table[start : start + size + 1]) != unmask(int.from_bytes(trailer[1:], "little")):
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

_LARGEST_INDEX = 1 << 28
_LARGEST_POINTER = 1 << 20
_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_SLOTS = ("/Adam", "/Adam_1")  # first and second moments
_OPTIMIZER = ("global_step", "beta1_power", "beta2_power")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    start: int
    size: int
    checksum: int


def read(path: Path) -> Archive | None:
    """Read a bundle; None for what is not one.

    Raises:
        ModelFileError: a shard is missing, or the table contradicts itself or its shards.
        DamagedFileError: a block or a tensor does not match its checksum.
    """
    prefix = _find_prefix(path)
    if prefix is None:
        return None
    index = prefix.with_name(prefix.name + ".index")
    try:
        shards, found = _read_index(index)
        return _sort(prefix, shards, found)
    except WireError as error:
        raise ModelFileError(
            f"{index}: the index of a TensorFlow checkpoint, cut short or damaged ({one_line(error)}); "
            "copy the checkpoint again"
        ) from None
    except ChecksumError:
        raise DamagedFileError(f"{index}: damaged: a block does not match its checksum; copy it again") from None


def _find_prefix(path: Path) -> Path | None:
    """Return what the names of a bundle's files begin with, or None where there is no index."""
    if path.is_dir():
        places = (path / "checkpoint", path / "model_checkpoint" / "checkpoint")
        pointers = [place for place in places if place.is_file()]
        prefix = _pointed_to(pointers[0]) if pointers else _only_index(path)
    elif path.is_file() and not _SUFFIX.search(path.name):
        prefix = _pointed_to(path)
    else:
        prefix = path.with_name(_SUFFIX.sub("", path.name)) if path.name else None
    if prefix is None:
        return None
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file() or index.stat().st_size > _LARGEST_INDEX:
        return None
    return prefix if is_table(index.read_bytes()) else None


def _pointed_to(pointer: Path) -> Path | None:
    """Return the prefix that a `checkpoint` file names; only its last part counts, because bundles are moved about."""
    if pointer.stat().st_size > _LARGEST_POINTER:
        return None
    match = re.search(rb'^model_checkpoint_path: "([^"\n]+)"', pointer.read_bytes(), re.MULTILINE)
    if match is None:
        return None
    name = match[1].decode(errors="replace").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return pointer.with_name(name) if name not in ("", ".", "..") and "\0" not in name else None


def _only_index(folder: Path) -> Path | None:
    """Return the prefix of the only bundle in a folder that has lost its `checkpoint` file."""
    found = sorted(folder.glob("*.index"))
    return found[0].with_suffix("") if len(found) == 1 else None


def _read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """Return the number of shards and the entries of a bundle; texts and other types without numbers have size -1."""
    shards, found = 1, dict[str, Entry]()
    for name, value in entries(path.read_bytes()):
        if name == "":
            header = grouped(value)
            shards = _number(header, 1)
            if _number(header, 2) != 0:
                raise WireError("it is big-endian")
        else:
            found[name] = _entry(name, value)
        if len(found) > MOST_TENSORS:
            raise WireError(f"more than {MOST_TENSORS:,} tensors")
    for one, other in pairwise(sorted((entry.shard, entry.start, entry.size) for entry in found.values())):
        if one[0] == other[0] and one[1] + one[2] > other[1]:
            raise WireError("its tensors overlap")  # a small file could fill the memory
    return shards, found


def _entry(name: str, value: memoryview) -> Entry:
    parts = grouped(value)
    if 7 in parts:
        raise WireError(f"{name} is partitioned; save it whole")
    return Entry(
        dtype=_number(parts, 1),
        shape=tuple(_shape(parts.get(2, []))),
        shard=_number(parts, 3),
        start=_number(parts, 4),
        size=_number(parts, 5),
        checksum=unmask(_number(parts, 6)),
    )


def _shape(shapes: list[int | memoryview]) -> Iterator[int]:
    for shape in shapes:
        for number, dim in fields(_bytes(shape)):
            if number == 2:
                yield _number(grouped(_bytes(dim)), 1)


def _number(parts: dict[int, list[int | memoryview]], number: int) -> int:
    value = parts.get(number, [0])[-1]
    if not isinstance(value, int):
        raise WireError(f"field {number} should be an integer")
    return value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise WireError("an integer where a message should be")
    return value


def _sort(prefix: Path, shards: int, found: dict[str, Entry]) -> Archive:
    """Read all tensors, and tell the network's from the optimizer's."""
    values = {name: _tensor(prefix, shards, name, entry) for name, entry in found.items() if entry.dtype in TYPES}
    first, second = (_take(slot, values) for slot in _SLOTS)
    step = next((value for name, value in values.items() if name.endswith("global_step")), None)
    return Archive(
        system=SYSTEM,
        tensors={name: tensor for name, tensor in values.items() if not name.endswith(_OPTIMIZER)},
        first=first,
        second=second,
        step=whole_number(step),
        left_out=tuple(name for name in found if found[name].dtype not in TYPES),
    )


def _take(slot: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removesuffix(slot): values.pop(name) for name in list(values) if name.endswith(slot)}


def _tensor(prefix: Path, shards: int, name: str, entry: Entry) -> Tensor:
    shard = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{shards:05d}")
    try:
        with shard.open("rb") as file:
            available = shard.stat().st_size
            if entry.start + entry.size > available:
                end = entry.start + entry.size
                raise ModelFileError(
                    f"{shard}: cut short: {one_line(name)} ends at byte {end:,} of {available:,}; copy it again"
                )
            file.seek(entry.start)
            content = file.read(entry.size)
    except OSError as error:
        raise ModelFileError(
            f"{shard}: cannot be read ({error.strerror or error}); copy all {shards} data files of the checkpoint"
        ) from None
    if crc32c(content) != entry.checksum:
        raise DamagedFileError(
            f"{shard}: damaged: {one_line(name)} does not match its checksum; copy the checkpoint again"
        )
    tensor = to_tensor(content, TYPES[entry.dtype], entry.shape)
    if tensor is None:
        raise WireError(f"{name} has {entry.size:,} bytes, which do not fill its shape {entry.shape}")
    return tensor
