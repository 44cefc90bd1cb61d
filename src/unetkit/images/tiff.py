"""TIFF files, through tifffile: stacks of any compression, ImageJ's and OME's included.

Assumes that all pages have one size. Uncompressed stacks are mapped into memory and read page by page; others are
decoded once, at the first read. Every axis that is not rows, columns or colour counts pages. `WhiteIsZero` files are
inverted, as viewers do. A colour table is a display choice of the microscope's: images keep the stored values.

Legend of shapes: N pages, C channels, H height, W width.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images import image
from unetkit.images.image import Pages, Role, decoding, require_bounded
from unetkit.images.raster import from_palette

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MINISWHITE, _SEPARATED = 0, 5


def open_tiff(opener: Callable[[], BinaryIO], source: str, role: Role, path: Path | None = None) -> Pages:
    """Read the headers of a TIFF file; `path` lets an uncompressed stack be mapped into memory.

    Raises:
        DataError: damaged, truncated, pages of several sizes, an odd number of channels, or larger than is decoded.
    """
    mapped: NDArray[Any] | None = None
    with decoding(source), opener() as handle:
        size = _require_whole_chain(handle, source)
        # Not `_multifile`: the XML of an OME-TIFF may name any file of this machine; only the named one is opened.
        with tifffile.TiffFile(handle, _multifile=False) as tiff:
            _require_complete(tiff, source)
            found = list(tiff.series)
            if len(found) != 1:
                sizes = sorted({f"{one.shape[-2]} x {one.shape[-1]} ({one.dtype})" for one in found if one.ndim >= 2})
                raise DataError(
                    f"{source}: its pages differ ({', '.join(sizes) or 'none'}); one size and type was expected"
                )
            series = found[0]
            if tiff.is_ome and any(page is None for page in series.pages):
                raise DataError(f"{source}: has {len(tiff.pages)} pages, but its OME-XML promises more; copy it again")
            layout = _Layout.of(series, source)
            photometric, colours = int(series.keyframe.photometric), series.keyframe.colormap
            if series.dataoffset is not None and path is not None:  # one uncompressed block
                missing = series.dataoffset + series.nbytes - size
                if missing > 0:
                    raise DataError(
                        f"{source}: truncated: {missing:,} of {series.nbytes:,} bytes of pixels are missing"
                    )
                dtype = series.dtype.newbyteorder(tiff.byteorder)
                mapped = np.memmap(path, dtype, "r", series.dataoffset, series.shape)
            elif min(_stored_bytes(tiff, source, size), size) < series.nbytes:
                require_bounded(source, page_pixels=layout.height * layout.width, count=layout.count)
    palette = None if colours is None else (np.asarray(colours).reshape(3, -1).T >> 8).astype(np.uint8)

    @cache
    def whole() -> NDArray[Any]:
        if mapped is not None:
            return layout.apply(mapped)
        with decoding(source), opener() as handle, tifffile.TiffFile(handle, _multifile=False) as tiff:
            values = layout.apply(tiff.series[0].asarray())
        values.flags.writeable = False  # every reader of a page sees this one array, as in a mapped file
        return values

    def read(page: int) -> NDArray[Any]:
        values = whole()[page]
        if photometric == _MINISWHITE and values.dtype.kind in "bu":
            values = ~values
        if role != "image" and palette is not None and layout.channels == 1:
            with decoding(source):
                return from_palette(values[0], palette, role)
        return values

    return Pages(source, layout.count, layout.channels, layout.height, layout.width, read)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the axes of a file become [N, C, H, W]."""

    order: tuple[int, ...]
    count: int
    stored_channels: int
    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, series: tifffile.TiffPageSeries, source: str) -> "_Layout":
        axes, shape = series.axes, series.shape
        size = dict(zip(axes, shape, strict=True))
        colour = next((axis for axis in "SC" if axis in axes), "")
        if colour == "C" and len(axes) == 3 and size["C"] > 4:
            colour = ""  # writers that do not know the axes of a stack call its slices channels
        pages = [axis for axis in axes if axis not in f"YX{colour}"]
        stored = size.get(colour, 1)
        channels = {1: 1, 2: 1, 3: 3, 4: 3}.get(stored, 0) if colour == "S" else stored
        if channels not in (1, 3) or (stored == 4 and int(series.keyframe.photometric) == _SEPARATED):
            raise DataError(
                f"{source}: has {stored} channels; grey (1) or RGB (3) was expected: save the channels apart"
            )
        if 0 in shape or "Y" not in axes or "X" not in axes:
            raise DataError(f"{source}: has no pixels (axes {axes}, sizes {shape})")
        order = tuple(axes.index(axis) for axis in [*pages, *colour, "Y", "X"])
        return cls(order, math.prod(size[axis] for axis in pages), stored, channels, size["Y"], size["X"])

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        shape = (self.count, self.stored_channels, self.height, self.width)
        return values.transpose(self.order).reshape(shape)[:, : self.channels]


def _require_complete(tiff: tifffile.TiffFile, source: str) -> None:
    """Refuse an OME-TIFF whose XML takes pages from other files: this one is a part of a set.

    A file that names one file alone is whole, whatever that one was called when it was written.
    """
    text = tiff.pages.first.description if tiff.is_ome else ""
    if not text:
        return
    blocks = [element for element in ElementTree.fromstring(text).iter() if element.tag.endswith("TiffData")]
    named = [next((part.get("FileName", part.text) for part in block), None) for block in blocks]
    if len(set(named)) > 1:
        others = ", ".join(sorted({str(name) for name in named if name is not None})[:3])
        raise DataError(
            f"{source}: is a part of an OME-TIFF set ({others}, ...), and only the named file is opened: save the "
            "whole stack as one file"
        )


def _stored_bytes(tiff: tifffile.TiffFile, source: str, size: int) -> int:
    """Return how many bytes the pages take in the file.

    Raises:
        DataError: a page's pixels lie beyond the end of the file.
    """
    total = 0
    for number, page in enumerate(tiff.pages):
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise DataError(f"{source}: truncated: the pixels of page {number} lie beyond its end; copy it again")
        total += sum(page.databytecounts)
    return total


def _require_whole_chain(handle: BinaryIO, source: str) -> int:
    """Follow the chain of page headers to its end, because tifffile ends it silently where a file was cut.

    Returns:
        The size of the file in bytes.

    Raises:
        DataError: the file ends before the chain does, or has more pages than are followed.
    """
    size = handle.seek(0, 2)
    handle.seek(0)
    head = handle.read(16)
    order = "<" if head[:1] == b"I" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    number, entry, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    (offset,) = struct.unpack_from(order + pointer, head, 8 if big else 4)
    seen: set[int] = set()
    while offset:
        if len(seen) >= image.MOST_PAGES:
            raise DataError(
                f"{source}: has more than {image.MOST_PAGES:,} pages; cut it into parts, or save it as an uncompressed "
                "ImageJ stack"
            )
        if offset in seen or offset >= size:
            raise DataError(f"{source}: truncated or damaged: page header {len(seen)} is missing; copy the file again")
        seen.add(offset)
        handle.seek(offset)
        (entries,) = struct.unpack(order + number, handle.read(struct.calcsize(number)))
        handle.seek(entries * entry, 1)
        (offset,) = struct.unpack(order + pointer, handle.read(struct.calcsize(pointer)))
    handle.seek(0)
    return size
