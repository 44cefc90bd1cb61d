"""Image files that unetkit-predict is given: rare forms are read, and damage and false promises end in one line."""

import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 40, 53), np.uint8)


def predict(program: Path, exported: Callable, image: Path) -> subprocess.CompletedProcess[str]:
    words = [program, exported().path, image, "--out", image.with_name("out.tif"), "--probabilities"]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=240, check=False)


def same(program: Path, exported: Callable, image: Path, pages: NDArray[Any]) -> None:
    """Expect that a file gives what the same pages in a plain TIFF give."""
    found = []
    plain = image.with_name("plain.tif")
    tifffile.imwrite(plain, pages, photometric="minisblack")
    for path in (plain, image):
        done = predict(program, exported, path)
        assert done.returncode == 0, done.stderr
        found.append(tifffile.imread(path.with_name("out.tif")))
    np.testing.assert_array_equal(*found)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(page: NDArray[np.uint8], *, more: bytes = b"", interlaced: bool = False) -> bytes:
    """Return a PNG file with further chunks before its pixels."""
    parts = [page]
    if interlaced:  # Adam7
        corners = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        parts = [page[top::down, left::across] for left, top, across, down in corners]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", page.shape[1], page.shape[0], 8, 0, 0, 0, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_imagej_describes_a_stack_in_one_directory(
    program: Path, exported: Callable, tmp_path: Path, order: Any, dtype: Any
) -> None:
    path, pages = tmp_path / "stack.tif", PIXELS.astype(dtype)
    tifffile.imwrite(path, pages, imagej=True, truncate=True, byteorder=order)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    same(program, exported, path, pages)


def test_interlaced_png(program: Path, exported: Callable, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(PIXELS[0], interlaced=True))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), PIXELS[0])
    same(program, exported, path, PIXELS[0])


def test_a_bomb_beside_the_pixels_is_not_unpacked(program: Path, exported: Callable, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(PIXELS[0], more=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 28)))))
    same(program, exported, path, PIXELS[0])


def damaged_png() -> Iterator[tuple[str, bytes]]:
    """Yield what is complained of, and the file."""
    good = png(PIXELS[0], more=chunk(b"tEXt", b"Comment\0text"))
    yield "libpng: IDAT: CRC error", good[:-16] + bytes(4) + good[-12:]
    yield "libpng: tEXt: CRC error", good.replace(b"text", b"test")
    yield "libpng: Read Error", good[:-500]
    yield "libpng: Read Error", good[:-12]
    for size, complaint in ((1 << 14, "its header promises 268435456 pixels"), ((1 << 31) - 1, "libpng: Invalid IHDR")):
        yield complaint, good[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)) + good[33:]


def damaged_tiff(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what is complained of, and the file."""
    path = folder / "good.tif"

    def changed(tags: dict[str, Any], pixels: NDArray[Any] = PIXELS[0], **form: Any) -> bytes:
        tifffile.imwrite(path, pixels, **form)
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            for name, value in tags.items():
                tiff.pages[0].tags[name].overwrite(value)
        return path.read_bytes()

    huge: dict[str, Any] = {"ImageWidth": 60_000, "ImageLength": 60_000}
    tiles: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
    yield "libtiff: ", changed({})[:-100]
    yield "libtiff: ", changed({}, compression="zlib")[:-100]
    yield "libtiff: ", changed({"ImageLength": 41}, compression="zlib")
    yield "its header promises 3600000000 pixels", changed(huge, compression="zlib")
    yield "too short for its pixels", changed(huge)
    yield "4294967295 columns", changed({"ImageWidth": 2**32 - 1})
    yield "pixels a tile", changed({"TileWidth": 1 << 20, "TileLength": 1 << 20}, **tiles)
    yield "libtiff: ", changed({"TileWidth": 1 << 13, "TileLength": 1 << 13}, **tiles)
    yield "samples of 12 bits", changed({"BitsPerSample": 12})
    yield "compression 7", changed({}, compression="jpeg")
    yield "NaN", changed({}, np.full((40, 53), np.nan, np.float32))
    promise = b"ImageJ=1.11a\nimages=2000000000\n"
    yield "too short for its 2000000000 pages", changed({}, description=promise, metadata=None)
    circle = bytearray(changed({}))
    (place,) = struct.unpack_from("<I", circle, 4)
    (entries,) = struct.unpack_from("<H", circle, place)
    struct.pack_into("<I", circle, place + 2 + 12 * entries, place)
    yield "libtiff: ", bytes(circle)


def test_damage_is_told_in_a_line(program: Path, exported: Callable, tmp_path: Path) -> None:
    for ending, cases in (("png", damaged_png()), ("tif", damaged_tiff(tmp_path))):
        path = tmp_path / f"bad.{ending}"
        for complaint, content in cases:
            path.write_bytes(content)
            done = predict(program, exported, path)
            assert done.returncode == 2, (complaint, done)
            assert re.fullmatch(rf"unetkit-predict: {path}[^\n]+\n", done.stderr), done.stderr
            assert complaint in done.stderr
