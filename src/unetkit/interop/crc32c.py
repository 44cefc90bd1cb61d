"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, at the speed of NumPy.

A checksum is the remainder of a polynomial over GF(2), so that a long message may be replaced by a short one with the
same remainder. The message is laid out in rows of `_LANES` words. Going down the rows, the row above is multiplied by
what a row's length stands for and added to the next one; at the end one row is left. The same is done to that row with
shorter rows, and what remains is taken byte by byte. Multiplication is linear, so it is a lookup for each half of a
word. Bits are reflected, as in all uses of this checksum: a word's lowest bit is its highest power.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

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
