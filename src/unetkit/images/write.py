"""Files that predictions go to: TIFF stacks filled part by part, and PNG images. They are there whole or not at all.

A TIFF stack lies uncompressed in one block, so that parts go straight to their places and no page is ever held in
memory. It has ImageJ's metadata and opens as a (hyper)stack in Fiji; above 4 GB and for whole numbers of 32 bits, where
ImageJ's form ends, it is a BigTIFF, which Fiji opens through Bio-Formats.

Legend of shapes: K channels of a page, H height, W width.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from unetkit.images.image import Colour, Image, PixelSize
from unetkit.storage.atomic import atomic_path

_LARGEST_IMAGEJ = 2**32 - 2**20
_NATIVE = "<" if sys.byteorder == "little" else ">"


class Output(Protocol):
    """A file that is being filled."""

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        """Put a part of a page to its place."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """What a file will hold.

    Attributes:
        dtype: of the values.
        height: rows of a page.
        width: columns of a page.
        pages: how many images.
        channels: names of a page's channels, written one after the other; empty for a single unnamed one.
        white: the value that viewers show white; None: they choose.
        page_axes: names and lengths of the axes that count pages, of t and z; () is z where there are several pages.
        pixel_size: of the axes whose step is known.
        labels: the names of classes, where the values are their indices.
        card: what is kept of the network that made it.
        version: of OME-Zarr.
        colours: that the channels are shown in, one each; empty: in grey.
    """

    dtype: DTypeLike
    height: int
    width: int
    pages: int
    channels: tuple[str, ...]
    white: float | None
    page_axes: tuple[tuple[str, int], ...] = ()
    pixel_size: dict[str, PixelSize] = field(default_factory=dict[str, PixelSize])
    labels: tuple[str, ...] = ()
    card: dict[str, Any] | None = None
    version: Literal["0.4", "0.5"] = "0.5"
    colours: tuple[Colour, ...] = ()

    @classmethod
    def like(cls, image: Image, dtype: DTypeLike, channels: tuple[str, ...], white: float | None) -> "Form":
        """Return the form of as many pages of the same size as an image has, with its axes and pixel size."""
        page_axes = tuple(zip(image.axes[:-3], image.shape[:-3], strict=True))
        if image.axes[:-3] not in ("", "t", "z", "tz"):  # other names, or another order than that of files
            page_axes = (("z", image.count),)
        colours = image.colours if len(image.colours) == len(channels) else ()
        return cls(
            dtype,
            image.height,
            image.width,
            image.count,
            channels,
            white,
            page_axes,
            image.pixel_size,
            colours=colours,
        )

    def __post_init__(self) -> None:
        """Name the axis of unnamed pages."""
        if not self.page_axes and self.pages > 1:
            object.__setattr__(self, "page_axes", (("z", self.pages),))

    @property
    def array_axes(self) -> str:
        """The axes of an array that holds everything, in OME's order: time, channels, depth, rows, columns."""
        pages = {axis for axis, _ in self.page_axes}
        return "".join(axis for axis in "tczyx" if axis in "yx" or axis in pages or (axis == "c" and self.planes > 1))

    @property
    def planes(self) -> int:
        """How many channels a page has, named or not."""
        return max(1, len(self.channels))

    @property
    def longest(self) -> int:
        """The longer side of a page in pixels."""
        return max(self.height, self.width)

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return self.pages * self.planes * self.height * self.width * np.dtype(self.dtype).itemsize


@contextmanager
def tiff_stack(path: Path, form: Form) -> Generator[Output]:
    """Give a TIFF stack to be filled; it is at `path` when the block ends, and nothing is when it fails.

    Raises:
        StorageError: the disk did not take it.
    """
    with atomic_path(path) as temporary:
        offset = create_tiff(temporary, form)
        with temporary.open("r+b") as handle:
            yield TiffStack(handle, form, offset)


def create_tiff(path: Path, form: Form) -> int:
    """Write the headers of a stack, and return where its pixels begin; they are 0 until they are filled in.

    Raises:
        OSError: the disk did not take it.
    """
    imagej = form.size <= _LARGEST_IMAGEJ and np.dtype(form.dtype).str[1:] in ("u1", "u2", "f4")
    size = dict(form.page_axes)
    shape = (size.get("t", 1), size.get("z", 1), form.planes, form.height, form.width)
    axes = "".join(axis for axis, length in zip("TZCYX", shape, strict=True) if axis in "YX" or length > 1)
    metadata: dict[str, Any] = {"axes": axes}
    if imagej:
        shape = (*shape, 1)  # ImageJ's axes are TZCYXS, and none is left out
        metadata = {"mode": "grayscale", **_imagej_steps(form)}
        if form.white is not None:
            metadata |= {"min": 0.0, "max": form.white}
        if form.colours:
            ramp = np.arange(256, dtype=np.uint16)
            tables = [np.array([ramp * part // 255 for part in colour], np.uint8) for colour in form.colours]
            metadata |= {"mode": "composite", "LUTs": tables}
            metadata |= {} if form.white is None else {"Ranges": (0.0, form.white) * form.planes}
        if form.channels:
            metadata["Labels"] = list(form.channels) * form.pages
    else:
        shape = tuple(length for axis, length in zip("TZCYX", shape, strict=True) if axis in axes)
    per_pixel = [1 / form.pixel_size[axis].size if axis in form.pixel_size else 0 for axis in "xy"]
    with tifffile.TiffWriter(path, imagej=imagej, bigtiff=not imagej, byteorder=_NATIVE) as writer:
        place = writer.write(
            None,  # the headers alone: the pixels' place stays empty
            shape=shape,
            dtype=np.dtype(form.dtype),
            photometric="minisblack",
            metadata=metadata,
            software="unetkit",
            resolution=(per_pixel[0], per_pixel[1]) if imagej and all(per_pixel) else None,
            returnoffset=True,
        )
    assert place is not None
    return place[0]


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels [H, W], [H, W, 3] or [H, W, 4] as a PNG image of 8 bits, soon rather than small."""
    from PIL import Image as Pillow  # needed for PNG alone

    file = BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@contextmanager
def png_image(path: Path, form: Form) -> Generator[Output]:
    """Give a PNG image of 8 or 16 bits to be filled; it is at `path` when the block ends, and nothing is when it fails.

    Raises:
        StorageError: the disk did not take it.
    """
    from PIL import Image as Pillow  # needed for PNG alone

    assert form.pages == 1
    assert not form.channels
    with atomic_path(path) as temporary:
        image = _Whole(np.empty((form.height, form.width), form.dtype))
        yield image
        Pillow.fromarray(image.pixels_HW).save(temporary, format="PNG")


_IMAGEJ_UNITS = {"micrometer": "micron", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm"}


def _imagej_steps(form: Form) -> dict[str, Any]:
    """Return the pixel size as ImageJ's metadata have it; it knows one unit for all axes."""
    unit = form.pixel_size["x"].unit if "x" in form.pixel_size else ""
    if unit not in _IMAGEJ_UNITS:
        return {}
    found: dict[str, Any] = {"unit": _IMAGEJ_UNITS[unit]}
    if "z" in form.pixel_size and form.pixel_size["z"].unit == unit:
        found["spacing"] = form.pixel_size["z"].size
    return found


@dataclass(frozen=True, slots=True)
class TiffStack:
    """A stack that is being filled.

    Attributes:
        handle: the file, open to be written to.
        form: what it holds.
        offset: the byte at which its pixels begin.
    """

    handle: BinaryIO
    form: Form
    offset: int

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        """Put a part of a page to its place."""
        for channel, values_HW in enumerate(np.ascontiguousarray(values_KHW, self.form.dtype)):
            plane = page * self.form.planes + channel
            # Rows that span the page lie one after the other: they go out in one piece.
            pieces = values_HW[None] if values_HW.shape[1] == self.form.width else values_HW[:, None]
            for row, piece in enumerate(pieces):
                pixel = (plane * self.form.height + top + row) * self.form.width + left
                self.handle.seek(self.offset + pixel * piece.itemsize)
                self.handle.write(piece.data)


@dataclass(frozen=True, slots=True)
class _Whole:
    pixels_HW: NDArray[Any]

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        _, height, width = values_KHW.shape
        self.pixels_HW[top : top + height, left : left + width] = values_KHW[0]
