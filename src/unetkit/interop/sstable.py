"""LevelDB's table file, as far as TensorFlow writes it: sorted keys and values in blocks, nothing compressed.

A footer of 48 bytes names the index block, whose values name the data blocks. In a block a key is stored as how much it
shares with the one before and what is its own. Every block is followed by its type and its checksum.
"""

from collections.abc import Iterator

from unetkit.interop.archive import LONGEST_NAME
from unetkit.interop.crc32c import crc32c, unmask
from unetkit.interop.protobuf import WireError, read_varint

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
