import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.storage.protobuf import WireError, field, fields, grouped, read_varint, stream, varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_integers_come_back(value: int, rest: bytes) -> None:
    assert read_varint(memoryview(varint(value) + rest), 0) == (value, len(varint(value)))


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 2**63) | st.binary(max_size=300))))
def test_fields_come_back(values: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(field(number, value) for number, value in values)
    assert list(fields(message)) == values


def test_fixed_widths_and_repeated_fields() -> None:
    message = b"\x0d\x01\x00\x00\x00" + b"\x11\x02\x00\x00\x00\x00\x00\x00\x00" + field(1, 7)
    assert grouped(message) == {1: [1, 7], 2: [2]}


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x80" * 11,
        b"\x0d\x01\x00",
        b"\x0b",
        b"\x0f",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(message))


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 30))
def test_a_stream_is_read_as_a_whole_is(contents: list[bytes], cut: int) -> None:
    message = b"".join(field(1, content) for content in contents)
    assert [content for _, content in stream(io.BytesIO(message), len(message))] == contents
    short = message[: max(0, len(message) - cut)]
    if short != message and short not in {b"".join(field(1, c) for c in contents[:n]) for n in range(len(contents))}:
        with pytest.raises(WireError):
            list(stream(io.BytesIO(short), len(short)))


@pytest.mark.parametrize("message", [field(1, 5), b"\x0d\x01\x00\x00\x00"])
def test_a_stream_holds_messages_only(message: bytes) -> None:
    with pytest.raises(WireError, match="wire type"):
        list(stream(io.BytesIO(message), len(message)))
