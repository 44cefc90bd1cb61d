"""One image file of any format that unetkit reads: TIFF, PNG, JPEG or BMP, recognised by content.

Assumes nothing about the name. Does not know which images belong together.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.image import Pages, Role, decoding
from unetkit.images.raster import decode_raster, open_raster
from unetkit.images.tiff import MAGIC, open_tiff

SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif"})
"""The endings, in lower case, by which images are found in a folder."""


def open_pages(path: Path, role: Role = "image") -> Pages:
    """Open an image file: its header is read and checked, its pixels are not.

    Raises:
        DataError: missing, empty, unreadable, damaged, of another form, or larger than is decoded.
    """
    return _open(lambda: path.open("rb"), str(path), role, path)


def open_bytes(content: bytes, source: str, role: Role = "image") -> Pages:
    """Open an image file that is in memory; `source` names it in messages.

    Raises:
        DataError: as `open_pages`.
    """
    return _open(lambda: BytesIO(content), source, role, None)


def decode_single(content: bytes, source: str, role: Role = "image") -> NDArray[Any]:
    """Decode a file of one page that is in memory as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_pages`, or more than one page.
    """
    if content and content[:4] not in MAGIC:
        return decode_raster(BytesIO(content), source, role)
    return _only_page(open_bytes(content, source, role))


def read_single(path: Path, role: Role = "image") -> NDArray[Any]:
    """Read a file of one page as [C, H, W] in the type that is stored.

    Raises:
        DataError: as `open_pages`, or more than one page.
    """
    return _only_page(open_pages(path, role))


def _only_page(pages: Pages) -> NDArray[Any]:
    if pages.count != 1:
        raise DataError(f"{pages.source}: has {pages.count} pages; one was expected")
    return pages.read(0)


def is_tiff(path: Path) -> bool:
    """Tell whether a file begins as a TIFF file does.

    Raises:
        DataError: missing or unreadable.
    """
    with decoding(str(path)), path.open("rb") as handle:
        return handle.read(4) in MAGIC


def _open(opener: Callable[[], BinaryIO], source: str, role: Role, path: Path | None) -> Pages:
    with decoding(source), opener() as handle:
        magic = handle.read(4)
    if not magic:
        raise DataError(f"{source}: the file is empty (0 bytes); an image was expected")
    if magic in MAGIC:
        return open_tiff(opener, source, role, path)
    return open_raster(opener, source, role)
