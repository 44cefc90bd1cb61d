import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.legacy.checkpoints.tensorflow import masked_crc32c


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum behind the masked form."""
    turned = (masked_crc32c(data) - 0xA282EAD8) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


def bit_by_bit(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # this one and those below: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@given(st.binary(max_size=64), st.integers(0, 3000))
def test_any_length(pattern: bytes, size: int) -> None:
    data = (pattern * (size // max(len(pattern), 1) + 1))[:size]
    assert crc32c(data) == bit_by_bit(data)


def test_views_of_a_long_message() -> None:
    data = bytes(index * index % 251 for index in range(4 * 8192 * 2 + 77))
    assert crc32c(data) == bit_by_bit(data)
    assert crc32c(memoryview(data)[1:]) == bit_by_bit(data[1:])


@given(st.binary(max_size=8))
def test_what_is_stored_is_not_the_checksum_itself(data: bytes) -> None:
    assert 0 <= masked_crc32c(data) < 1 << 32
    assert masked_crc32c(data) != bit_by_bit(data)
