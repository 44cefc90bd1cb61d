"""An opened image file: what its header says, and a way to its pixels; the decoders fill it in.

Assumes that a file holds pages of one size. Nothing is decoded before `read`, and nothing that a header promises is
believed without bounds: a compressed page may have `LARGEST_PAGE` pixels, a compressed stack `LARGEST_STACK`, and a
file `MOST_PAGES` page headers, so that a small file cannot fill the memory or take minutes. Uncompressed pages are
bounded by the file itself.

Legend of shapes: C channels, H height, W width.
"""

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError

LARGEST_PAGE = 2**27
"""Pixels of the largest compressed image that is decoded: 11,585 x 11,585."""

LARGEST_STACK = 2**32
"""Pixels of the largest compressed stack that is decoded: 4,096 pages of 1,024 x 1,024."""

MOST_PAGES = 2**16
"""Page headers of a TIFF file that are followed. An ImageJ stack above 4 GB has one header for all of its pages."""

Role = Literal["image", "mask", "colour-mask"]
"""What a file is read as: the colours of a palette belong to an image and to a mask that is described by colours; in
other masks a palette's numbers are the values, unless the palette is a ramp of greys."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one file, all of one size.

    Attributes:
        source: the file, for messages.
        count: the number of pages.
        channels: 1 or 3; alpha is dropped.
        height: rows in pixels.
        width: columns in pixels.
        read: page number -> [C, H, W] in the type that is stored.
    """

    source: str
    count: int
    channels: int
    height: int
    width: int
    read: Callable[[int], NDArray[Any]]


def as_pixels(stored: NDArray[Any], source: str) -> NDArray[Any]:
    """Return pixels as a `Sample` keeps them: uint8, uint16 or float32, contiguous and in this machine's byte order.

    Two-valued pixels become 0 and 255; other integers and floats become float32.

    Raises:
        DataError: NaN or infinite pixels, or a type that is not an image's.
    """
    if stored.dtype == np.bool_:
        return stored.astype(np.uint8) * np.uint8(255)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
    if stored.dtype.kind not in "iuf":
        raise DataError(f"{source}: pixels of type {stored.dtype}; 8 or 16 bits or float were expected")
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.ascontiguousarray(stored, dtype=np.float32)
    broken = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
    if broken:
        raise DataError(f"{source}: {broken} pixels are NaN or infinite; every pixel must be a finite number")
    return pixels


def require_bounded(source: str, *, page_pixels: int, count: int = 1) -> None:
    """Refuse a compressed file whose header promises more pixels than are decoded.

    Raises:
        DataError: a page above `LARGEST_PAGE` or a stack above `LARGEST_STACK`.
    """
    if page_pixels > LARGEST_PAGE:
        raise DataError(
            f"{source}: its header promises {page_pixels:,} pixels; a compressed image may have at most "
            f"{LARGEST_PAGE:,}: cut it into parts, or store it as an uncompressed TIFF"
        )
    if page_pixels * count > LARGEST_STACK:
        raise DataError(
            f"{source}: its header promises {count:,} pages of {page_pixels:,} pixels; a compressed stack may have at "
            f"most {LARGEST_STACK:,} pixels: store it as an uncompressed TIFF, which is read page by page"
        )


@contextmanager
def decoding(source: str) -> Generator[None]:
    """Turn whatever a decoder raises into one `DataError`, and keep its warnings from the terminal."""
    logger, silence = logging.getLogger("tifffile"), _Silence()
    logger.addFilter(silence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{source}: there is no such file") from error
    except PermissionError as error:
        raise DataError(f"{source}: cannot be read: permission denied") from error
    except IsADirectoryError as error:
        raise DataError(f"{source}: is a folder; an image file was expected") from error
    except MemoryError as error:
        raise DataError(f"{source}: does not fit into the memory of this machine; cut it into parts") from error
    except Exception as error:  # decoders fail on broken files in ways that they do not document
        text = f": {' '.join(str(error).split())[:120]}" if str(error).strip() else ""
        kind = type(error).__name__
        raise DataError(f"{source}: truncated, damaged or not an image ({kind}{text}); write it again") from error
    finally:
        logger.removeFilter(silence)


class _Silence(logging.Filter):
    """Drop every record: what a reader logs about a file becomes a message of ours or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False
