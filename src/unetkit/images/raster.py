"""PNG, JPEG and BMP files, through Pillow: one page each.

Assumes a seekable file whose first bytes name its format. Sixteen-bit colour PNGs, which Pillow cuts down to eight
bits, go through imagecodecs. The orientation that a camera notes in a file is not applied: masks are drawn on stored
pixels.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unetkit.errors import DataError
from unetkit.images.image import Pages, Role, decoding, require_bounded

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
_PNG_DEPTH, _PNG_COLOUR = 24, 25
"""Offsets of the bits per sample and of the colour type in a PNG file: both follow the size in its first chunk."""

_GREY = frozenset({"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_PALETTE = frozenset({"P", "PA"})
_DIRECT = frozenset({"RGB", "RGBA", "RGBX"})


def open_raster(opener: Callable[[], BinaryIO], source: str, role: Role) -> Pages:
    """Read the header of a PNG, JPEG or BMP file.

    Raises:
        DataError: not such a file, damaged, or larger than is decoded.
    """
    with decoding(source), opener() as handle:
        image = _opened(handle, source)
        width, height = image.size
        coloured = image.mode not in _GREY and not (role == "mask" and image.mode in _PALETTE)

    def read(page: int) -> NDArray[Any]:
        assert page == 0
        with opener() as handle:
            return decode_raster(handle, source, role)

    return Pages(source, 1, 3 if coloured else 1, height, width, read)


def decode_raster(handle: BinaryIO, source: str, role: Role) -> NDArray[Any]:
    """Return the pixels of a PNG, JPEG or BMP file as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_raster`.
    """
    with decoding(source):
        head = handle.read(33)
        handle.seek(0)
        image = _opened(handle, source)
        is_png = head.startswith(b"\x89PNG")
        depth, colour = (head[_PNG_DEPTH], head[_PNG_COLOUR]) if is_png else (0, 0)
        if depth == 16 and colour & 2:
            from imagecodecs import png_decode  # slow to import, and rarely needed

            handle.seek(0)
            return _planes(np.asarray(png_decode(handle.read())))
        if image.mode in _PALETTE:
            indices = np.asarray(image.getchannel("P") if image.mode == "PA" else image)
            palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
            return from_palette(indices, palette, role)
        if image.mode not in _GREY | _DIRECT:
            image = image.convert("RGB")
        values = np.asarray(image)
        if image.mode == "I" and is_png:
            values = values.astype(np.uint16)  # older Pillow widens the sixteen bits of a PNG, which cannot hold more
        planes = _planes(values)
        if role != "image" and colour == 0 and depth in (2, 4):
            # Pillow stretches two- and four-bit greys to 0..255, but class indices are stored in such files.
            top = 2**depth - 1
            stored = planes // np.uint8(255 // top)
            is_black_and_white = bool(((stored == 0) | (stored == top)).all())
            return planes if is_black_and_white else stored
        return planes


def _opened(handle: BinaryIO, source: str) -> Image.Image:
    """Read a header and refuse what is not an image or too large to decode."""
    try:
        image = Image.open(handle, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise DataError(f"{source}: not a PNG, JPEG, BMP or TIFF image; save it as one of these") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{source}: {error}; cut it into parts, or store it as an uncompressed TIFF") from None
    require_bounded(source, page_pixels=image.size[0] * image.size[1])
    return image


def _planes(values: NDArray[Any]) -> NDArray[Any]:
    """Return [C, H, W] without alpha from [H, W] or [H, W, 1..4]."""
    if values.ndim == 2:
        return values[None]
    channels = 3 if values.shape[2] >= 3 else 1
    return np.moveaxis(values[:, :, :channels], 2, 0)


def from_palette(indices: NDArray[Any], palette: NDArray[np.uint8], role: Role) -> NDArray[Any]:
    """Return [C, H, W] of palette indices [H, W]: colours, or for a mask the greys of a grey palette or the indices.

    Raises:
        IndexError: an index beyond the palette [N, 3], which is then a damaged file's.
    """
    if role != "mask":
        return np.moveaxis(palette[indices], 2, 0)
    is_grey = bool(len(palette)) and bool((palette == palette[:, :1]).all())
    return (palette[:, 0][indices] if is_grey else indices)[None]
