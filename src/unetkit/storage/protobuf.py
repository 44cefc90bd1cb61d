"""The wire format of Protocol Buffers, as far as checkpoints use it: fields out of bytes, and bytes out of fields.

Knows nothing of schemas: a field is its number and its value, an int for varints and fixed widths, bytes for everything
that carries a length. Sizes are compared with what is there before anything is read, so that a damaged length can
neither allocate memory nor run past the end.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class WireError(Exception):
    """Bytes that are no message: a reader turns it into a line that names its file."""


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the unsigned integer that starts at `at`, and the place after it.

    Raises:
        WireError: the integer has no end within ten bytes, or the data ends first.
    """
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise WireError("an integer has no end")


def fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message in order; values that carry a length are views of it.

    Raises:
        WireError: a field is cut short, or is of a kind that no checkpoint has.
    """
    data, at = memoryview(message), 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        size, at = read_varint(data, at) if kind == _BYTES else (_fixed_size(kind), at)
        if size > len(data) - at:
            raise WireError(f"a field announces {size:,} bytes where {len(data) - at:,} are left")
        content = data[at : at + size]
        yield number, content if kind == _BYTES else int.from_bytes(content, "little")
        at += size


def grouped(message: bytes | memoryview) -> dict[int, list[int | memoryview]]:
    """Return the values of a message by the number of their field, in order.

    Raises:
        WireError: as `fields`.
    """
    result: dict[int, list[int | memoryview]] = {}
    for number, value in fields(message):
        result.setdefault(number, []).append(value)
    return result


def only(message: dict[int, list[int | memoryview]], number: int) -> int | memoryview:
    """Return the value of a field that is there once.

    Raises:
        WireError: it is not there, or several times.
    """
    values = message.get(number, [])
    if len(values) != 1:
        raise WireError(f"field {number} is there {len(values)} times and not once")
    return values[0]


def as_bytes(value: int | memoryview) -> memoryview:
    """Return a value that carries a length.

    Raises:
        WireError: it is an integer.
    """
    if isinstance(value, int):
        raise WireError("an integer where a message should be")
    return value


def as_text(value: int | memoryview) -> str:
    """Return a value that is text.

    Raises:
        WireError: it is an integer, or no UTF-8.
    """
    try:
        return bytes(as_bytes(value)).decode()
    except UnicodeDecodeError:
        raise WireError("a text that is none") from None


def as_number(value: int | memoryview) -> int:
    """Return a value that is an unsigned integer.

    Raises:
        WireError: it carries a length.
    """
    if not isinstance(value, int):
        raise WireError("a message where an integer should be")
    return value


def as_signed(value: int | memoryview) -> int:
    """Return a value that is a signed integer of 64 bits.

    Raises:
        WireError: as `as_number`.
    """
    number = as_number(value)
    return number - (1 << 64) if number >> 63 else number


def integers(values: list[int | memoryview]) -> Iterator[int]:
    """Yield the signed integers of a repeated field, packed or one by one.

    Raises:
        WireError: packed ones are cut short.
    """
    for value in values:
        if isinstance(value, int):
            yield as_signed(value)
            continue
        at = 0
        while at < len(value):
            number, at = read_varint(value, at)
            yield as_signed(number)


def stream(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a message too large to hold, one at a time; all of them must carry a length.

    Args:
        file: open for reading at the message's start; its place moves on with every field.
        end: place of the message's end in the file, in bytes.

    Raises:
        WireError: a field is cut short or is of another kind.
    """
    while (start := file.tell()) < end:
        head = memoryview(file.read(min(2 * _LONGEST_VARINT, end - start)))
        key, at = read_varint(head, 0)
        if key & 7 != _BYTES:
            raise WireError(f"a field of kind {key & 7} at byte {start:,}")
        size, at = read_varint(head, at)
        if size > end - start - at:
            raise WireError(f"at byte {start:,}, {size:,} bytes are announced and {end - start - at:,} are left")
        file.seek(start + at, os.SEEK_SET)
        content = file.read(size)
        if len(content) != size:
            raise WireError(f"the file ends within a field at byte {start:,}")
        yield key >> 3, content


def varint(value: int) -> bytes:
    """Return the bytes of an unsigned integer."""
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def field(number: int, value: int | bytes) -> bytes:
    """Return the bytes of one field: a varint for an unsigned int, a length and the content for bytes."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def fixed32(number: int, content: bytes) -> bytes:
    """Return the bytes of one field of four bytes, such as a float."""
    return varint(number << 3 | _FIXED32) + content


def _fixed_size(kind: int) -> int:
    if kind not in (_FIXED64, _FIXED32):
        raise WireError(f"a field of kind {kind}")
    return 8 if kind == _FIXED64 else 4
