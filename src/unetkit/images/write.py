"""Files that predictions go to: TIFF stacks filled part by part, and PNG images. They are there whole or not at all.

A TIFF stack lies uncompressed in one block, so that parts go straight to their places and no page is ever held in
memory. It has ImageJ's metadata and opens as a (hyper)stack in Fiji; above 4 GB and for whole numbers of 32 bits, where
ImageJ's form ends, it is a BigTIFF, which Fiji opens through Bio-Formats.

Legend of shapes: K channels of a page, H height, W width.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

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
        white: the value that viewers show white.
    """

    dtype: DTypeLike
    height: int
    width: int
    pages: int
    channels: tuple[str, ...]
    white: float

    @property
    def planes(self) -> int:
        """How many channels a page has, named or not."""
        return max(1, len(self.channels))

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
        imagej = form.size <= _LARGEST_IMAGEJ and np.dtype(form.dtype) != np.uint32
        shape = (form.pages, form.planes, form.height, form.width)
        axes = "".join(axis for axis, length in zip("ZCYX", shape, strict=True) if axis in "YX" or length > 1)
        metadata: dict[str, Any] = {"axes": axes}
        if imagej:
            shape = (1, *shape, 1)  # ImageJ's axes are TZCYXS, and none is left out
            metadata = {"min": 0.0, "max": form.white, "mode": "grayscale"}
            if form.channels:
                metadata["Labels"] = list(form.channels) * form.pages
        else:
            shape = tuple(length for axis, length in zip("ZCYX", shape, strict=True) if axis in axes)
        with tifffile.TiffWriter(temporary, imagej=imagej, bigtiff=not imagej, byteorder=_NATIVE) as writer:
            place = writer.write(
                None,  # the headers alone: the pixels' place stays empty
                shape=shape,
                dtype=np.dtype(form.dtype),
                photometric="minisblack",
                metadata=metadata,
                software="unetkit",
                returnoffset=True,
            )
        assert place is not None
        with temporary.open("r+b") as handle:
            yield _TiffStack(handle, form, place[0])


@contextmanager
def png_image(path: Path, form: Form) -> Generator[Output]:
    """Give a PNG image of 8 or 16 bits to be filled; it is at `path` when the block ends, and nothing is when it fails.

    Raises:
        StorageError: the disk did not take it.
    """
    from PIL import Image  # needed for PNG alone

    assert form.pages == 1
    assert not form.channels
    with atomic_path(path) as temporary:
        image = _Image(np.empty((form.height, form.width), form.dtype))
        yield image
        Image.fromarray(image.pixels_HW).save(temporary, format="PNG")


@dataclass(frozen=True, slots=True)
class _TiffStack:
    handle: BinaryIO
    form: Form
    offset: int

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        for channel, values_HW in enumerate(np.ascontiguousarray(values_KHW, self.form.dtype)):
            plane = page * self.form.planes + channel
            # Rows that span the page lie one after the other: they go out in one piece.
            pieces = values_HW[None] if values_HW.shape[1] == self.form.width else values_HW[:, None]
            for row, piece in enumerate(pieces):
                pixel = (plane * self.form.height + top + row) * self.form.width + left
                self.handle.seek(self.offset + pixel * piece.itemsize)
                self.handle.write(piece.data)


@dataclass(frozen=True, slots=True)
class _Image:
    pixels_HW: NDArray[Any]

    def put(self, page: int, top: int, left: int, values_KHW: NDArray[Any]) -> None:
        _, height, width = values_KHW.shape
        self.pixels_HW[top : top + height, left : left + width] = values_KHW[0]
