"""TIFF files, through tifffile: stacks of any compression, tiled or in strips, BigTIFF, ImageJ's and OME's included.

Assumes that all pages have one size. An uncompressed stack in one block is mapped into memory; of others a window
decodes the strips or tiles that it touches. `WhiteIsZero` files are inverted, as viewers do. A colour table is a choice
of the microscope's display: images keep the stored values.

Which axis is channels, by what a file says of itself, first that applies:

* samples of a pixel (RGB, or several per pixel) are channels; alpha is dropped;
* an axis C of OME-XML, of ImageJ's hyperstacks and of tifffile's own metadata is channels; but writers that do not know
  the axes of a stack call its slices channels: C alone, without Z and T, is slices in an ImageJ file whose mode is not
  composite or color and whose planes have no names, and in an OME file of more than 4 whose channels have no names;
* pages without names are slices, except where they are at most 8 columns wide and four times as many and as tall: then
  it is an array [H, W, C] that was written page by page.

Every other axis counts pages. Legend of shapes: C channels, H height, W width.
"""

import math
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.images.array import CachedArray, MappedArray, axes_by_size, image_of_array
from unetkit.images.image import Colour, File, Image, PixelSize, Role, decoding
from unetkit.images.raster import from_palette
from unetkit.limits import MOST_PAGES

_MINISWHITE, _SEPARATED, _COLOURS = 0, 5, (2, 6, 8)
"""Kinds of pixels: white is zero, CMYK, and RGB, YCbCr or Lab."""

_SEPARATE = 2
"""The planar configuration whose samples lie apart."""

_JPEG = (6, 7, 34892, 33007)
"""Compressions that need the tables of their page."""

_ALPHA = (1, 2)
"""Kinds of extra samples that are alpha, associated or not; others are channels."""

_MOST_NAMELESS = 4
"""Channels without names that an OME file is believed to have."""


class _Part(NamedTuple):
    """A file of an image, most often the only one, and its size in bytes."""

    file: File
    size: int


def open_tiff(file: File, role: Role) -> Image:
    """Read the headers of a TIFF file; an uncompressed stack in a file of the disk is mapped into memory.

    Raises:
        DataError: damaged, truncated, pages of several sizes, no grey, RGB or channels, or strips larger than are
            decoded.
    """
    source = file.source
    with ExitStack() as opened:
        handle = opened.enter_context(file.open())
        size = _require_whole_chain(handle, source)
        # Not `_multifile`: the XML of an OME-TIFF may name any file of this machine; only the named one is opened.
        tiff = opened.enter_context(tifffile.TiffFile(handle, _multifile=False))
        files = {tiff.filename: _Part(file, size)} | _companions(tiff, file)
        if len(files) > 1:
            handle.seek(0)
            tiff = opened.enter_context(tifffile.TiffFile(handle))
        series = _only_series(tiff, source)
        key = series.keyframe
        stored, size = _stored_bytes(tiff.pages if len(files) == 1 else series.pages, files)
        axes, named = _axes(tiff, series)
        if series.dataoffset is not None and file.path is not None and len(files) == 1:
            array = _mapped(tiff, series, file, size)
        else:
            values = None if min(stored, size) >= series.nbytes else key.samplesperpixel
            array = _decoded(files, series, values)
        samples, pixel_size = _samples(key, source), _pixel_size(tiff)
        found = image_of_array(source, array, axes, samples=samples, pixel_size=pixel_size, named=named)
        with suppress(ValueError, TypeError, IndexError):  # how it is shown is no reason to refuse it
            found = replace(found, colours=_colours(tiff, found.channels))
        photometric, colours = int(key.photometric), key.colormap
    if colours is not None and role != "image" and found.channels == 1:
        palette = (np.asarray(colours).reshape(3, -1).T >> 8).astype(np.uint8)

        def coloured(page: int, rows: slice, columns: slice) -> NDArray[Any]:
            return from_palette(found.decode(page, rows, columns)[0], palette, role)

        shape = (*found.shape[:-3], 1 if role == "mask" else 3, *found.shape[-2:])
        return replace(found, shape=shape, decode=coloured)
    if photometric == _MINISWHITE and found.dtype.kind in "bu":

        def inverted(page: int, rows: slice, columns: slice) -> NDArray[Any]:
            return ~found.decode(page, rows, columns)

        return replace(found, decode=inverted)
    return found


def _only_series(tiff: tifffile.TiffFile, source: str) -> tifffile.TiffPageSeries:
    for one in _ome(tiff).iter() if tiff.is_ome else ():  # tifffile makes a list of as many
        planes = math.prod(int(one.get(f"Size{axis}", 1)) for axis in "ZCT")
        planes = max(planes, *(int(one.get(name, 0)) for name in ("PlaneCount", "NumPlanes")))
        if planes > MOST_PAGES.value:
            raise DataError(f"{source}: its OME-XML promises {planes:,} pages; it has {len(tiff.pages)}: copy it again")
    found = list(tiff.series)
    if len(found) != 1:
        sizes = sorted({f"{one.shape[-2]} x {one.shape[-1]} ({one.dtype})" for one in found if one.ndim >= 2})
        if len(sizes) == 1:
            each = f"{len(found)} images (series) of {sizes[0]}"
            raise DataError(f"{source}: holds {each}; save each as a file of its own")
        raise DataError(f"{source}: its pages differ ({', '.join(sizes) or 'none'}); one size and type was expected")
    if tiff.is_ome and any(page is None for page in found[0].pages):
        raise DataError(f"{source}: has {len(tiff.pages)} pages, but its OME-XML promises more; copy it again")
    return found[0]


def _mapped(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, file: File, size: int) -> MappedArray:
    """Map a stack that lies uncompressed in one block."""
    assert series.dataoffset is not None
    assert file.path is not None
    missing = series.dataoffset + series.nbytes - size
    if missing > 0:
        raise DataError(f"{file.source}: truncated: {missing:,} of {series.nbytes:,} bytes of pixels are missing")
    dtype = series.dtype.newbyteorder(tiff.byteorder)
    return MappedArray(file.path, dtype, series.dataoffset, series.shape)


def _decoded(files: dict[str, _Part], series: tifffile.TiffPageSeries, values: int | None) -> CachedArray:
    """Return an array that decodes strips or tiles when they are touched."""
    key, pages, file = series.keyframe, list(series.pages), next(iter(files.values())).file
    lead = series.shape[: len(series.shape) - len(key.shape)]
    if key.imagedepth > 1 or len(pages) != math.prod(lead) or series.shape != (*lead, *key.shape) or None in pages:
        if len(files) > 1:
            raise DataError(f"{file.source}: the files of its set are no planes of one stack; save it as one file")
        return CachedArray(file.source, _Whole(file, series.shape, series.dtype), series.shape, values=values)
    if len({page.hash for page in pages if page}) > 1:
        raise DataError(f"{file.source}: the files of its set differ in size or type; save the stack as one file")
    parts = [
        _Segmented(
            files[page.parent.filename].file, tuple(page.dataoffsets), tuple(page.databytecounts), page.jpegtables
        )
        for page in pages
        if page
    ]
    tall, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
    chunk = {"Y": tall, "X": wide, "S": 1 if key.planarconfig == _SEPARATE else key.samplesperpixel}
    # Both are made from bytes of the file, which will be closed.
    header, decode = key.jpegheader if key.compression in _JPEG else None, key.decode
    array = _Segments(series.shape, series.dtype, key, parts, header, decode)
    return CachedArray(file.source, array, [1] * len(lead) + [chunk[axis] for axis in key.axes], values=values)


class _Segmented(NamedTuple):
    """Where the strips or tiles of a page lie: the file, offsets, numbers of bytes, and the page's JPEG tables."""

    file: File
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: bytes | None


@dataclass(frozen=True, slots=True)
class _Segments:
    """The strips or tiles of a series; the slices that it is asked for are those of one of them.

    Attributes:
        shape: of the series: the axes that count pages, then those of a page.
        dtype: of the pixels.
        key: the page whose header says how all are decoded.
        pages: every page's segments.
        header: what their JPEG streams begin with; None where they have their own, or are compressed otherwise.
        decode: from the bytes of a segment and its number to its pixels.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    key: tifffile.TiffPage
    pages: list[_Segmented]
    header: bytes | None
    decode: Callable[..., Any]

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        """Decode one segment."""
        key = self.key
        lead = len(self.shape) - len(key.shape)
        page = int(np.ravel_multi_index([part.start for part in where[:lead]], self.shape[:lead])) if lead else 0
        own = dict(zip(key.axes, where[lead:], strict=True))
        tall, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
        down, across = -(-key.imagelength // tall), -(-key.imagewidth // wide)
        plane = own["S"].start if key.planarconfig == _SEPARATE and "S" in own else 0
        number: int = (plane * down + own["Y"].start // tall) * across + own["X"].start // wide
        file, offsets, counts, tables = self.pages[page]
        lengths = [part.stop - part.start for part in where]
        if counts[number] == 0:  # a tile that was never written
            return np.zeros(lengths, self.dtype)
        with file.open() as handle:
            handle.seek(offsets[number])
            content = handle.read(counts[number])
        options = {"jpegtables": tables, "jpegheader": self.header} if key.compression in _JPEG else {}
        values, _, _ = self.decode(content, number, **options)
        assert values is not None
        values_HWS = values[0, : own["Y"].stop - own["Y"].start, : own["X"].stop - own["X"].start]
        return (np.moveaxis(values_HWS, 2, 0) if key.axes == "SYX" else values_HWS).reshape(lengths)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The pixels of a file of an odd form, which are decoded all at once."""

    file: File
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[Any]:
        """Decode everything."""
        with self.file.open() as handle, tifffile.TiffFile(handle, _multifile=False) as tiff:
            return tiff.series[0].asarray()[where]


def _axes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, bool]:
    """Return a letter for each axis by the rule above, and whether the file names those that count pages."""
    axes, shape = series.axes, series.shape
    lead = axes.translate({ord(axis): None for axis in "YXS"})
    if lead and set(lead) <= {"Q", "I"}:
        if "S" not in axes and axes.endswith("YX") and len(axes) <= 5:
            return axes_by_size(shape), False
        free = iter("ztabdefg")
        back = [next(free) if axis in "QI" else axis.lower() for axis in reversed(axes)]
        return "".join(reversed(back)), False
    if lead == "C":
        metadata = tiff.imagej_metadata or {} if tiff.is_imagej else {}
        labelled = metadata.get("mode") in ("composite", "color") or "Labels" in metadata
        slices = tiff.is_imagej and not labelled
        if tiff.is_ome and shape[axes.index("C")] > _MOST_NAMELESS:
            channels = [one for one in _ome(tiff).iter() if one.tag.endswith("}Channel")]
            slices = not any(one.get("Name") for one in channels)
        if slices:
            return axes.replace("C", "Z").lower(), False
    return axes.lower(), True


def _samples(key: tifffile.TiffPage, source: str) -> int:
    """Return how many of a pixel's samples are no alpha."""
    count = key.samplesperpixel
    if int(key.photometric) == _SEPARATED:
        raise DataError(f"{source}: has {count} channels of ink (CMYK); grey or RGB was expected: save it as RGB")
    if int(key.photometric) in _COLOURS and count <= 4:
        return 3
    return max(1, count - sum(int(kind) in _ALPHA for kind in key.extrasamples))


_UNITS = {
    **dict.fromkeys(("µm", "\u03bcm", "um", "micron", "microns", "\\u00B5m", "micrometer"), "micrometer"),
    **{"nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "\u00c5": "angstrom"},
    **{"s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "h": "hour"},
}
"""The names of units that are written in OME-XML and by ImageJ."""


def _pixel_size(tiff: tifffile.TiffFile) -> dict[str, PixelSize]:
    """Return the steps that OME-XML or ImageJ's metadata give; a resolution for printers says nothing of the sample."""
    found: dict[str, tuple[float, str]] = {}
    if tiff.is_ome:
        pixels = next((one for one in _ome(tiff).iter() if one.tag.endswith("}Pixels")), ElementTree.Element("none"))
        for axis in "xyz":
            name = f"PhysicalSize{axis.upper()}"
            found[axis] = float(pixels.get(name, 0)), pixels.get(f"{name}Unit", "µm")
        found["t"] = float(pixels.get("TimeIncrement", 0)), pixels.get("TimeIncrementUnit", "s")
    elif tiff.is_imagej:
        metadata, tags = tiff.imagej_metadata or {}, tiff.pages.first.tags
        unit = str(metadata.get("unit", ""))
        for axis, name in (("x", "XResolution"), ("y", "YResolution")):
            per, of = tags[name].value if name in tags else (0, 1)
            found[axis] = (of / per if per else 0.0), unit
        found["z"] = float(metadata.get("spacing", 0)), unit
        found["t"] = float(metadata.get("finterval", 0)), "s"
    return {axis: PixelSize(size, _UNITS[unit]) for axis, (size, unit) in found.items() if size > 0 and unit in _UNITS}


def _colours(tiff: tifffile.TiffFile, channels: int) -> tuple[Colour, ...]:
    """Return the colour of every channel, by ImageJ's colour tables or OME-XML; empty where one has none."""
    found = list[Colour]()
    if tiff.is_imagej:
        tables: list[Any] = (tiff.imagej_metadata or {}).get("LUTs", [])
        found = [_colour(*np.asarray(table).reshape(3, -1)[:, -1].tolist()) for table in tables]
    elif tiff.is_ome:
        codes = [one.get("Color") for one in _ome(tiff).iter() if one.tag.endswith("}Channel")]
        numbers = [int(code) for code in codes if code is not None]  # red, green, blue, alpha of 8 bits, perhaps signed
        found = [_colour(number >> 24, number >> 16, number >> 8) for number in numbers]
    return tuple(found) if len(found) == channels > 1 else ()


def _colour(red: int, green: int, blue: int) -> Colour:
    return red & 255, green & 255, blue & 255


def _ome(tiff: tifffile.TiffFile) -> ElementTree.Element:
    return ElementTree.fromstring(tiff.pages.first.description)


def _companions(tiff: tifffile.TiffFile, file: File) -> dict[str, _Part]:
    """Return the other files that the XML of an OME-TIFF takes pages from, where these may be opened, by their names.

    A file that names one file alone is whole, whatever that one was called when it was written.
    """
    if not tiff.is_ome:
        return {}
    blocks = [element for element in _ome(tiff).iter() if element.tag.endswith("TiffData")]
    named = [next((part.get("FileName", part.text) for part in block), None) for block in blocks]
    if len(set(named)) <= 1:
        return {}
    names = sorted({str(name) for name in named if name is not None})
    if not file.companions or file.path is None:
        raise DataError(
            f"{file.source}: is a part of an OME-TIFF set ({', '.join(names[:3])}, ...), and only the named file is "
            f"opened: join the set first, with unetkit data convert {file.source} WHOLE.ome.zarr --companions"
        )
    folder, found = file.path.parent, dict[str, _Part]()
    for name in names:
        place = folder / name
        if name in (".", "..") or place.name != name or place.resolve().parent != folder.resolve():
            raise DataError(
                f"{file.source}: its set has the file {name[:80]!r}, which lies in another folder; put a copy of every "
                "file into one folder, under the names that they had"
            )
        if not place.is_file():
            raise DataError(f"{file.source}: its set has the file {name}, which is missing; copy the whole set")
        if place.name != file.path.name:
            one = File(str(place), partial(place.open, "rb"), place)
            with decoding(one.source), one.open() as handle:
                found[name] = _Part(one, _require_whole_chain(handle, one.source))
    return found


def _stored_bytes(pages: Iterable[Any], files: dict[str, _Part]) -> tuple[int, int]:
    """Return how many bytes the pages take, and how many their files have; refuse pages beyond the end of theirs."""
    total = 0
    for number, page in enumerate(pages):
        file, size = files[page.parent.filename]
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > size:
            raise DataError(f"{file.source}: truncated: the pixels of page {number} lie beyond its end; copy it again")
        total += sum(page.databytecounts)
    return total, sum(part.size for part in files.values())


def _require_whole_chain(handle: BinaryIO, source: str) -> int:
    """Follow the chain of page headers to its end, because tifffile ends it silently where a file was cut.

    Returns:
        The size of the file in bytes.
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
        if len(seen) >= MOST_PAGES.value:
            raise DataError(
                f"{source}: has more than {MOST_PAGES.value:,} pages; cut it into parts, save it as an uncompressed "
                f"ImageJ stack, or {MOST_PAGES.more}"
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
