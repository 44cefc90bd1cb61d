"""Images of everyday programs, through Pillow: PNG, JPEG, BMP, GIF, WebP, PPM and PGM, JPEG 2000.

Assumes a seekable file whose first bytes name its format. A file is decoded whole, and bounded by `unetkit.limits`; the
frames of a GIF are pages. Sixteen-bit colour PNGs, which Pillow cuts down to eight bits, and JPEG 2000 go through
imagecodecs. The orientation that a camera notes in a file is not applied: masks are drawn on stored pixels.

Legend of shapes: C channels, H height, W width.
"""

import math
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unetkit.errors import DataError
from unetkit.images.image import File, Image, Piece, Role, decoding, require_bounded
from unetkit.limits import MOST_PAGES, MOST_PIXELS

_NAMES = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000")
_PNG_DEPTH, _PNG_COLOUR, _HEAD = 24, 25, 33
"""Offsets of the bits per sample and of the colour type in a PNG file: both follow the size in its first chunk, which
ends at the last one."""

_PLAIN_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND", b"gAMA", b"pHYs", b"tEXt", b"tIME"})
"""Chunks that leave the stored values as they are."""

_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
"""Filters of the lines of a PNG: a value is added to the one before, above, to their mean, or to Paeth's choice."""

_MOST_PAETH = 8  # lines that are not left to Pillow

_GREY = frozenset({"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_PALETTE = frozenset({"P", "PA"})
_DIRECT = frozenset({"RGB", "RGBA", "RGBX"})


def open_raster(file: File, role: Role) -> Image:
    """Read the header of a file.

    Raises:
        DataError: not such a file, damaged, or larger than is decoded.
    """
    with file.open() as handle:
        head = handle.read(_HEAD)
        handle.seek(0)
        image = _opened(handle, file.source)
        width, height = image.size
        # Of other formats with frames, such as WebP, the first is the image.
        count = getattr(image, "n_frames", 1) if image.format == "GIF" else 1
        if image.format == "GIF" and not _ends_as_gif(handle):
            raise DataError(f"{file.source}: truncated: the mark at the end of a GIF file is missing; copy it again")
        indices = role == "mask" and image.mode in _PALETTE and count == 1  # later frames are given in colours alone
        channels = 1 if image.mode in _GREY or indices or (role == "image" and _is_grey(_palette(image))) else 3
        if count > MOST_PAGES.value:
            raise DataError(
                f"{file.source}: has {count:,} frames; at most {MOST_PAGES.value:,} are read: cut it into parts, "
                f"or {MOST_PAGES.more}"
            )
        deep = image.mode.startswith("I") or (image.format == "PNG" and head[_PNG_DEPTH] == 16)
        dtype = np.float32 if image.mode == "F" else np.bool_ if image.mode == "1" else np.uint16 if deep else np.uint8

    def decode(page: int, rows: slice, columns: slice) -> NDArray[Any]:
        with file.open() as handle:
            return decode_raster(handle, file.source, role, page)[:channels, rows, columns]

    lengths = (*((count,) if count > 1 else ()), channels, height, width)
    piece = Piece(channels * height * width * np.dtype(dtype).itemsize, 1)
    return Image(file.source, "tcyx" if count > 1 else "cyx", lengths, np.dtype(dtype), decode, {}, piece=piece)


def _ends_as_gif(handle: BinaryIO) -> bool:
    """Tell whether the end is there: without it, frames that were cut off are not missed."""
    handle.seek(max(0, handle.seek(0, 2) - 16))
    return b";" in handle.read()


def _palette(image: Pillow.Image) -> NDArray[np.uint8]:
    """Return the colours [N, 3]; none where there is no palette."""
    return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def _is_grey(palette: NDArray[np.uint8]) -> bool:
    return bool(len(palette)) and bool((palette == palette[:, :1]).all())


def decode_raster(handle: BinaryIO, source: str, role: Role, page: int = 0) -> NDArray[Any]:
    """Return the pixels of a frame as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_raster`.
    """
    with decoding(source):
        head = handle.read(_HEAD)
        handle.seek(0)
        image = _opened(handle, source)
        is_png = head.startswith(b"\x89PNG")
        depth, colour = (head[_PNG_DEPTH], head[_PNG_COLOUR]) if is_png else (0, 0)
        if (depth == 16 and colour & 2) or image.format == "JPEG2000":
            from imagecodecs import jpeg2k_decode, png_decode  # slow to import, and rarely needed

            handle.seek(0)
            return _planes(np.asarray((png_decode if is_png else jpeg2k_decode)(handle.read())))
        if page:
            image.seek(page)
        if image.mode in _PALETTE:
            indices = np.asarray(image.getchannel("P") if image.mode == "PA" else image)
            return from_palette(indices, _palette(image), role)
        if image.mode not in _GREY | _DIRECT:
            image = image.convert("RGB")
        values = np.asarray(image)
        if image.mode == "I" and image.format in ("PNG", "PPM"):
            values = values.astype(np.uint16)  # some versions of Pillow widen sixteen bits, which cannot hold more
        planes = _planes(values)
        if role != "image" and colour == 0 and depth in (2, 4):
            # Pillow stretches two- and four-bit greys to 0..255, but class indices are stored in such files.
            top = 2**depth - 1
            stored = planes // np.uint8(255 // top)
            is_black_and_white = bool(((stored == 0) | (stored == top)).all())
            return planes if is_black_and_white else stored
        return planes


def decode_plain_png(content: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels [1, H, W] of a plain grey PNG of 8 bits, as masks of objects are, in less time than Pillow.

    It is inflated by libdeflate. None: not such a file, not whole, or with many lines of costly filters; then
    `decode_raster` reads it, or says what is wrong.
    """
    from imagecodecs import DeflateError, deflate_decode  # slow to import

    if not content.startswith(_PLAIN_PNG) or content[_PNG_DEPTH : _PNG_DEPTH + 5] != b"\x08\0\0\0\0":
        return None
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    packed, place, kind = list[bytes](), 8, b""
    while place + 12 <= len(content) and kind != b"IEND":
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        kind, sealed = content[place + 4 : place + 8], int.from_bytes(content[end : end + 4], "big")
        if zlib.crc32(memoryview(content)[place + 4 : end]) != sealed or kind not in _PLAIN_CHUNKS:
            return None
        packed += [content[place + 8 : end]] if kind == b"IDAT" else []
        place = end + 4
    if kind != b"IEND" or not packed or not 0 < height * width <= MOST_PIXELS.value:
        return None
    try:
        lines = deflate_decode(b"".join(packed), out=height * (width + 1))
    except DeflateError:
        return None
    if len(lines) != height * (width + 1):
        return None
    table = np.frombuffer(lines, np.uint8).reshape(height, width + 1)
    filters, pixels = table[:, 0], table[:, 1:].copy()
    counts: list[int] = np.bincount(filters, minlength=_PAETH + 1).tolist()
    if len(counts) > _PAETH + 1 or counts[_AVERAGE] or counts[_PAETH] > _MOST_PAETH:
        return None
    above = np.zeros(width, np.uint8)
    filtered: list[int] = np.flatnonzero(filters).tolist()
    for row in filtered:
        line, above = pixels[row], pixels[row - 1] if row else above
        if filters[row] == _SUB:
            np.cumsum(line, dtype=np.uint8, out=line)
        elif filters[row] == _UP:
            line += above
        elif len(places := np.flatnonzero(line | above)):  # before them all is 0, behind them the last one goes on
            first, end = int(places[0]), int(places[-1]) + 2
            line[first:end] = _without_paeth(line[first:end].tolist(), above[first:end].tolist())
            line[end:] = line[min(end, width) - 1]
    return pixels[None]


def _without_paeth(line: list[int], above: list[int]) -> list[int]:
    """Return a line of bytes, given the line above and the differences to what Paeth's rule expects."""
    found = list[int]()
    left = corner = 0
    for difference, upper in zip(line, above, strict=True):
        to_left, to_upper, to_corner = abs(upper - corner), abs(left - corner), abs(left + upper - 2 * corner)
        near = left if to_left <= to_upper and to_left <= to_corner else upper if to_upper <= to_corner else corner
        left, corner = (difference + near) & 255, upper
        found.append(left)
    return found


def _opened(handle: BinaryIO, source: str) -> Pillow.Image:
    """Read a header and refuse what is not an image or too large to decode."""
    try:
        image = Pillow.open(handle, formats=_NAMES)
    except Pillow.UnidentifiedImageError:
        raise DataError(f"{source}: truncated, damaged or not an image; write it again") from None
    except Pillow.DecompressionBombError as error:
        raise DataError(f"{source}: {error}; cut it into parts, or store it as a tiled TIFF") from None
    require_bounded(source, math.prod(image.size), math.prod(image.size) * len(image.getbands()))
    return image


def _planes(values: NDArray[Any]) -> NDArray[Any]:
    """Return [C, H, W] without alpha from [H, W] or [H, W, 1..4]."""
    if values.ndim == 2:
        return values[None]
    channels = 3 if values.shape[2] >= 3 else 1
    return np.moveaxis(values[:, :, :channels], 2, 0)


def from_palette(indices: NDArray[Any], palette: NDArray[np.uint8], role: Role) -> NDArray[Any]:
    """Return [C, H, W] of palette indices [H, W]: colours, or greys where all of them are, or for a mask the indices.

    Raises:
        IndexError: an index beyond the palette [N, 3], which is then a damaged file's.
    """
    if role != "colour-mask" and _is_grey(palette):
        return palette[:, 0][indices][None]
    return indices[None] if role == "mask" else np.moveaxis(palette[indices], 2, 0)
