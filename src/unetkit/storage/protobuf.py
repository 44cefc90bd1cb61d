"""The wire format of Protocol Buffers, as far as checkpoints use it: fields out of bytes, and bytes out of fields.

Knows nothing of schemas: a message is read as the values of its fields, an int for varints and fixed widths, bytes for
everything that carries a length. The reader of a format names the fields of its messages in an `IntEnum`, whose members
stand in place of numbers here. Sizes are compared with what is there before anything is read, so that a damaged length
can neither allocate memory nor run past the end, and nothing is nested: a message within a message is read when its
reader asks for it. The package `protobuf` is not used, because it holds whole messages only (checkpoints are streamed,
ONNX files are mapped), copies what it reads, and takes the last of several values where a damaged file has too many.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import BinaryIO, TypeAlias

Value: TypeAlias = int | memoryview
Message: TypeAlias = dict[int, list[Value]]
"""The values of a message by the number of their field, in order."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class WireError(Exception):
    """Bytes that are not a message: a reader turns it into a line that names its file."""


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the unsigned integer that starts at `at`, and the position after it.

    Raises:
        WireError: the integer has no end within ten bytes, or the data ends first.
    """
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise WireError("an integer has no end")


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message in order; values that carry a length are views of it.

    Raises:
        WireError: a field is cut short, or has a wire type that no checkpoint has.
    """
    data, at = memoryview(message), 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise WireError(f"a field of wire type {kind}")
        if size > len(data) - at:
            raise WireError(f"a field announces {size:,} bytes where {len(data) - at:,} are left")
        content = data[at : at + size]
        yield number, content if kind == _BYTES else int.from_bytes(content, "little")
        at += size


def grouped(message: bytes | memoryview) -> Message:
    """Return the values of a message by the number of their field, in order.

    Raises:
        WireError: as `fields`.
    """
    result: Message = {}
    for number, value in fields(message):
        result.setdefault(number, []).append(value)
    return result


def only(message: Message, number: int) -> Value:
    """Return the value of a field that is there once.

    Raises:
        WireError: it is missing, or there several times.
    """
    values = message.get(number, [])
    if len(values) != 1:
        name = f"{type(number).__name__}.{number.name.lower()}" if isinstance(number, IntEnum) else f"field {number}"
        raise WireError(f"{name} is there {len(values)} times and not once")
    return values[0]


def as_bytes(value: Value) -> memoryview:
    """Return a value that carries a length.

    Raises:
        WireError: it is an integer.
    """
    if isinstance(value, int):
        raise WireError("an integer where a message should be")
    return value


def as_message(value: Value) -> Message:
    """Return the message within a field.

    Raises:
        WireError: it is an integer, or not a message.
    """
    return grouped(as_bytes(value))


def as_text(value: Value) -> str:
    """Return a value that is text.

    Raises:
        WireError: it is an integer, or not UTF-8.
    """
    try:
        return bytes(as_bytes(value)).decode()
    except UnicodeDecodeError:
        raise WireError("a text that is not UTF-8") from None


def as_number(value: Value) -> int:
    """Return a value that is an unsigned integer.

    Raises:
        WireError: it carries a length.
    """
    if not isinstance(value, int):
        raise WireError("a message where an integer should be")
    return value


def as_signed(value: Value) -> int:
    """Return a value that is a signed integer of 64 bits.

    Raises:
        WireError: as `as_number`.
    """
    number = as_number(value)
    return number - (1 << 64) if number >> 63 else number


def as_float(value: Value) -> float:
    """Return a value that is a float of 32 bits.

    Raises:
        WireError: as `as_number`.
    """
    return struct.unpack("<f", struct.pack("<I", as_number(value) & 0xFFFFFFFF))[0]


def number_of(message: Message, number: int) -> int:
    """Return the unsigned integer of a field, the last one where there are several, and 0 where there is none.

    Raises:
        WireError: as `as_number`.
    """
    return as_number(message.get(number, [0])[-1])


def integers(values: Sequence[Value]) -> Iterator[int]:
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
        file: open for reading at the message's start; its position moves on with every field.
        end: position of the message's end in the file, in bytes.

    Raises:
        WireError: a field is cut short or has another wire type.
    """
    while (start := file.tell()) < end:
        head = memoryview(file.read(min(2 * _LONGEST_VARINT, end - start)))
        key, at = read_varint(head, 0)
        if key & 7 != _BYTES:
            raise WireError(f"a field of wire type {key & 7} at byte {start:,}")
        size, at = read_varint(head, at)
        if size > end - start - at:
            raise WireError(f"at byte {start:,}, {size:,} bytes are announced and {end - start - at:,} are left")
        file.seek(start + at, os.SEEK_SET)
        content = file.read(size)
        if len(content) != size:
            raise WireError(f"the file ends within a field at byte {start:,}")
        yield key >> 3, content


def varint(value: int) -> bytes:
    """Return the bytes of an integer; a negative one as 64 bits in two's complement."""
    result, left = bytearray(), value if value >= 0 else value & (1 << 64) - 1
    while left >= 0x80:
        result.append(left & 0x7F | 0x80)
        left >>= 7
    result.append(left)
    return bytes(result)


def field(number: int, value: float | str | bytes) -> bytes:
    """Return the bytes of one field: an int as a varint, a float in 32 bits, text and bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | _FIXED32) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def repeated(number: int, values: Sequence[int | str | bytes]) -> bytes:
    """Return the bytes of a repeated field, its values one by one."""
    return b"".join(field(number, value) for value in values)
