"""Outputs that several processes fill together, block by block: an OME-Zarr image or a TIFF stack.

A block is a square of `SHARD` pixels of a page, with all channels: a whole shard of an OME-Zarr 0.5, whole chunks of a
0.4, bytes of its own in a TIFF. So no two blocks ever touch the same chunk, and blocks may be filled in any order, by
any process that sees the disk. What was put is on the disk when `put` returns. Does not know what the values mean.

Legend of shapes: K channels of a page, H height, W width.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.images.omewrite import SHARD, ZarrFilling, create_zarr, image_of, open_created
from unetkit.images.write import Form, TiffStack, create_tiff
from unetkit.storage.atomic import flush, written_to


@dataclass(frozen=True, slots=True)
class Block:
    """A square of a page, smaller at its lower and right borders.

    Attributes:
        page: its number.
        rows: of the page, with a start and a stop.
        columns: of the page.
    """

    page: int
    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True)
class Blocks:
    """All blocks of a form, page by page and row by row; none is kept.

    Attributes:
        form: of the output.
        side: of a block in pixels.
    """

    form: Form
    side: int = SHARD

    @property
    def down(self) -> int:
        """The number of rows of blocks in a page."""
        return -(-self.form.height // self.side)

    @property
    def across(self) -> int:
        """The number of blocks in a row."""
        return -(-self.form.width // self.side)

    def __len__(self) -> int:
        """The number of blocks."""
        return self.form.pages * self.down * self.across

    def of_page(self, page: int) -> range:
        """Return the numbers of the blocks of a page."""
        count = self.down * self.across
        return range(page * count, (page + 1) * count)

    def __getitem__(self, number: int) -> Block:
        """Return a block by its number; iteration ends with the last one."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        page, place = divmod(number, self.down * self.across)
        top, left = (self.side * index for index in divmod(place, self.across))
        return Block(
            page,
            slice(top, min(top + self.side, self.form.height)),
            slice(left, min(left + self.side, self.form.width)),
        )


class Target(Protocol):
    """An output that is being filled."""

    def put(self, block: Block, values_KHW: NDArray[Any]) -> None:
        """Put the values of a block to their place; they are on the disk when this returns.

        Raises:
            StorageError: the disk did not take them.
        """
        ...

    def get(self, page: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a window [K, rows, columns] of what was put; 0 where nothing was."""
        ...


def create_target(path: Path, form: Form, *, tiff: bool) -> None:
    """Make the headers of an output, to be filled by `open_target`.

    Raises:
        StorageError: the disk did not take it.
    """
    with written_to(path):
        if tiff:
            create_tiff(path, form)
        else:
            create_zarr(path, form)


def open_target(path: Path, form: Form, *, tiff: bool) -> Target:
    """Open an output that `create_target` made."""
    return _Tiff(path, form) if tiff else _Zarr(open_created(path, form))


def finish_target(path: Path, form: Form, out: Path, *, tiff: bool) -> None:
    """Write what an output has besides its blocks: the smaller levels and the metadata of an OME-Zarr.

    Args:
        path: what was filled.
        form: what it holds.
        out: what it will be called.
        tiff: whether it is a TIFF.

    Raises:
        StorageError: the disk did not take it.
    """
    if not tiff:
        with written_to(path):
            open_created(path, form).finish(out.name, in_image=image_of(out) is not None)


def checksum(values: NDArray[Any]) -> str:
    """Return the CRC-32C of values, 8 hexadecimal digits."""
    content: bytes = np.ascontiguousarray(values).tobytes()
    return f"{google_crc32c.value(content):08x}"


@dataclass(frozen=True, slots=True)
class _Tiff:
    path: Path
    form: Form

    def put(self, block: Block, values_KHW: NDArray[Any]) -> None:
        with written_to(self.path), self.path.open("r+b") as handle:
            TiffStack(handle, self.form, self._offset()).put(
                block.page, block.rows.start, block.columns.start, values_KHW
            )
            handle.flush()
            os.fsync(handle.fileno())

    def get(self, page: int, rows: slice, columns: slice) -> NDArray[Any]:
        shape = (self.form.pages, self.form.planes, self.form.height, self.form.width)
        return np.memmap(self.path, self.form.dtype, "r", self._offset(), shape)[page, :, rows, columns]

    def _offset(self) -> int:
        with tifffile.TiffFile(self.path) as tiff:
            return int(tiff.pages.first.dataoffsets[0])


@dataclass(frozen=True, slots=True)
class _Zarr:
    filling: ZarrFilling

    def put(self, block: Block, values_KHW: NDArray[Any]) -> None:
        place = block.page, block.rows.start, block.columns.start
        with written_to(self.filling.root):
            self.filling.put(*place, values_KHW)
            for file in self.filling.files(*place):
                flush(file)
                flush(file.parent)

    def get(self, page: int, rows: slice, columns: slice) -> NDArray[Any]:
        return self.filling.get(page, rows, columns)
