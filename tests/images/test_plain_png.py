"""Plain grey PNGs are decoded without Pillow: the same pixels, whatever their filters; all else is left to it."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from unetkit.errors import DataError
from unetkit.images import decode_single
from unetkit.images.raster import decode_plain_png, decode_raster

PIXELS = np.add.outer(np.arange(9), np.arange(11)).astype(np.uint8) * 3


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(lines: bytes, height: int, width: int, *more: bytes, pieces: int = 1) -> bytes:
    """A file of the bytes of filtered lines."""
    packed = zlib.compress(lines)
    cut = -(-len(packed) // pieces)
    data = [chunk(b"IDAT", packed[start : start + cut]) for start in range(0, len(packed), cut)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *more, *data, chunk(b"IEND", b"")])


def saved(pixels: NDArray[np.uint8], mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


sides = st.integers(1, 12)


@given(st.data(), sides, sides, st.integers(1, 3))
@settings(deadline=None)  # the first call loads the codec
def test_every_filter_gives_what_pillow_gives(data: st.DataObject, height: int, width: int, pieces: int) -> None:
    """The bytes of the lines are any: filters and differences, many of them 0 as in masks."""
    values = st.one_of(st.just(0), st.integers(0, 255))
    lines = data.draw(arrays.arrays(np.uint8, (height, width + 1), elements=values))
    lines[:, 0] = data.draw(arrays.arrays(np.uint8, height, elements=st.sampled_from([0, 1, 2, 4])))
    content = png(lines.tobytes(), height, width, pieces=pieces)
    found = decode_plain_png(content)
    truth = decode_raster(io.BytesIO(content), "x", "mask")
    np.testing.assert_array_equal(decode_single(content, "x", "mask"), truth)
    assert (found is None) == (int((lines[:, 0] == 4).sum()) > 8)


def test_what_pillow_writes_is_decoded_here() -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[10:30, 20:50] = 255
    np.testing.assert_array_equal(decode_plain_png(saved(mask)), mask[None])


@pytest.mark.parametrize(
    "content",
    [
        saved(PIXELS, "P"),
        saved(PIXELS, "LA"),
        saved(PIXELS, "RGB"),
        saved(PIXELS, "1"),
        png(b"\3" * 110, 9, 11 - 1),
        png(bytes(108), 9, 11, chunk(b"tRNS", b"\0\0")),
        b"",
        b"\x89PNG",
    ],
)
def test_other_files_are_left_to_the_reader_of_all(content: bytes) -> None:
    assert decode_plain_png(content) is None


@given(st.data())
@settings(deadline=None)
def test_damaged_files_are_refused_or_read_as_by_pillow(data: st.DataObject) -> None:
    content = bytearray(saved(PIXELS))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    damaged = bytes(content[: data.draw(st.integers(place + 1, len(content)))])
    found = decode_plain_png(damaged)
    assert found is None or np.array_equal(found[0], PIXELS)


@pytest.mark.parametrize("lines", [bytes(107), bytes(109), bytes(10**6)])
def test_lines_that_do_not_fit_the_size_are_not_decoded(lines: bytes) -> None:
    assert decode_plain_png(png(lines, 9, 11)) is None


def test_a_file_without_its_end_says_so() -> None:
    with pytest.raises(DataError, match="truncated"):
        decode_single(saved(PIXELS)[:50], "a.png", "mask")
