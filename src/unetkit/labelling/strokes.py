"""What is painted, as a journal of strokes and the labels that they add up to.

The journal is the only truth: a line of JSON a stroke, appended and flushed to the disk before anybody is answered. A
line that was cut off by a kill or a full disk was never answered, and is dropped. Labels follow from the lines in their
order alone, so that everybody who reads the journal, at whatever time, has the same ones.

A stroke is a box of labels of a page: 0 not painted, 1 .. K the classes, 255 where the box leaves a page as it is. A
page is divided into windows of `WINDOW` pixels a side. Of the windows that a class is the first to be painted in, every
fifth is held out, beginning with the third: what is painted there is never trained on. Which windows these are never
changes afterwards. Assumes one process that appends; any number may read at the same time.

Legend of shapes: H height, W width of a page, h, w of a box, R rows and Q columns of windows.
"""

import base64
import binascii
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unetkit.errors import DataError, UsageError
from unetkit.storage.atomic import not_written

WINDOW = 32
"""Rows and columns of the windows that are held out or not."""

UNCHANGED = 255
"""The value of a stroke's pixel that leaves the page as it is."""

_EVERY, _FIRST = 5, 2
_LARGEST = 2**26
"""Pixels of a stroke's box."""

Place = tuple[int, int]
"""An image, by its number in the project, and a page of it."""

Labels = NDArray[np.uint8]


def from_png(content: bytes) -> Labels:
    """Return the grey values [h, w] of a PNG image of 8 bits.

    Raises:
        UsageError: it is another thing, or larger than a page may be.
    """
    try:
        with Pillow.open(BytesIO(content), formats=["PNG"]) as image:
            if image.mode != "L" or image.width * image.height > _LARGEST:
                raise UsageError(f"a stroke of {image.width} x {image.height} px, mode {image.mode}; grey was expected")
            return np.array(image)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise UsageError(f"a stroke that is not a PNG image ({error}); send the box as a grey PNG of 8 bits") from error


@dataclass(frozen=True, eq=False)
class Stroke:
    """A box of labels that was painted.

    Attributes:
        place: the image and the page.
        top: the box's first row.
        left: its first column.
        png: its labels [h, w], as a grey PNG.
        session: of the page that sent it.
        number: counted by that page.
    """

    place: Place
    top: int
    left: int
    png: bytes
    session: str
    number: int

    @cached_property
    def labels(self) -> Labels:
        """The labels [h, w] of the box.

        Raises:
            UsageError: the PNG is none.
        """
        return from_png(self.png)

    def line(self) -> bytes:
        """Return the line of the journal."""
        image, page = self.place
        record: dict[str, Any] = {"image": image, "page": page, "top": self.top, "left": self.left}
        record |= {"session": self.session, "number": self.number, "png": base64.b64encode(self.png).decode()}
        return json.dumps(record).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes, source: str) -> Self:
        """Read a line of the journal.

        Raises:
            DataError: it is damaged.
        """
        try:
            record: dict[str, Any] = json.loads(line)
            place = int(record["image"]), int(record["page"])
            png = base64.b64decode(record["png"], validate=True)
            top, left, number = (int(record[key]) for key in ("top", "left", "number"))
            return cls(place, top, left, png, str(record["session"]), number)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
            raise DataError(f"{source}: damaged ({error}); bring it back from a copy, or delete that line") from error


@dataclass
class Painting:
    """The labels of all pages after some strokes.

    Attributes:
        sizes: rows and columns of each image's pages.
        strokes: how many strokes were applied.
        pages: the labels [H, W] of pages that were ever painted.
        windows: of each of these pages [R, Q]: 0 never painted, 1 trained on, 2 held out.
        numbers: the highest number of each session.
        counts: the windows that each class was the first in.
    """

    sizes: tuple[tuple[int, int], ...]
    strokes: int = 0
    pages: dict[Place, Labels] = field(default_factory=dict[Place, Labels])
    windows: dict[Place, NDArray[np.uint8]] = field(default_factory=dict[Place, NDArray[np.uint8]])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    counts: Counter[int] = field(default_factory=Counter[int])

    def apply(self, stroke: Stroke) -> None:
        """Add a stroke.

        Raises:
            UsageError: it lies outside its page.
        """
        labels = stroke.labels
        page, box = self.at(stroke.place), self.box(stroke, labels)
        np.copyto(page[box], labels, where=labels != UNCHANGED)
        self.pages[stroke.place] = page
        # Windows that are painted for the first time are held out or not from now on, in order of rows.
        rows, columns = np.nonzero((labels != UNCHANGED) & (labels > 0))
        height, width = self.sizes[stroke.place[0]]
        grid = (-(-height // WINDOW), -(-width // WINDOW))
        windows = self.windows.setdefault(stroke.place, np.zeros(grid, np.uint8))
        codes = (rows + stroke.top) // WINDOW * grid[1] + (columns + stroke.left) // WINDOW
        for code in np.unique(codes).tolist():
            if windows.flat[code]:
                continue
            value = int(np.bincount(labels[rows[codes == code], columns[codes == code]]).argmax())
            windows.flat[code] = 2 if self.counts[value] % _EVERY == _FIRST else 1
            self.counts[value] += 1
        self.strokes += 1
        self.numbers[stroke.session] = max(stroke.number, self.numbers.get(stroke.session, 0))

    def at(self, place: Place) -> Labels:
        """Return the labels [H, W] of a page; zeros where nothing was ever painted."""
        page = self.pages.get(place)
        return np.zeros(self.sizes[place[0]], np.uint8) if page is None else page

    def box(self, stroke: Stroke, labels: Labels) -> tuple[slice, slice]:
        """Return the rows and columns of a stroke.

        Raises:
            UsageError: they lie outside its page.
        """
        (height, width), (rows, columns) = self.sizes[stroke.place[0]], labels.shape
        if not (0 <= stroke.top <= height - rows and 0 <= stroke.left <= width - columns):
            raise UsageError(
                f"a stroke of {rows} x {columns} px at row {stroke.top}, column {stroke.left} of a page of {height} x "
                f"{width} px; send a box that lies inside the page"
            )
        return slice(stroke.top, stroke.top + rows), slice(stroke.left, stroke.left + columns)

    def held_out(self, place: Place) -> NDArray[np.bool_]:
        """Return which pixels [H, W] of a page lie in windows that are held out."""
        height, width = self.sizes[place[0]]
        if place not in self.windows:
            return np.zeros((height, width), bool)
        held = self.windows[place] == 2
        return held.repeat(WINDOW, 0).repeat(WINDOW, 1)[:height, :width]

    def part(self, place: Place, *, held_out: bool) -> NDArray[np.bool_]:
        """Return the painted pixels [H, W] of a page that are trained on, or those that are held out."""
        return (self.at(place) > 0) & (self.held_out(place) == held_out)

    @property
    def is_trainable(self) -> bool:
        """Whether two classes are painted where they are trained on."""
        return len(frozenset[int]().union(*map(self.classes_in, self.pages))) > 1

    def classes_in(self, place: Place) -> frozenset[int]:
        """Return the classes, from 0, that are trained on in a page."""
        found = np.flatnonzero(np.bincount(self.at(place)[self.part(place, held_out=False)], minlength=1))
        return frozenset(int(value) - 1 for value in found)


class Journal:
    """The file of strokes, open to be appended to."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; a last line that was cut off is dropped.

        Raises:
            StorageError: it cannot be written to.
        """
        self.path = path
        try:
            self._file: BinaryIO = path.open("ab")
            with path.open("rb") as file:
                content = file.read()
            self._whole = content.rfind(b"\n") + 1
            if self._whole < len(content):
                self._file.truncate(self._whole)
        except OSError as error:
            raise not_written(path, error) from error

    def append(self, stroke: Stroke) -> None:
        """Append a stroke; it is on the disk when this returns.

        Raises:
            StorageError: the disk did not take it; nothing of it stays.
        """
        line = stroke.line()
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._drop()
            raise not_written(self.path, error) from error
        self._whole += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _drop(self) -> None:
        """Open the file anew without what was not written whole, which Python would else try to write later."""
        descriptor = os.dup(self._file.fileno())
        try:
            self._file.close()
        except OSError:
            pass  # it tried to write the rest
        finally:
            os.ftruncate(descriptor, self._whole)
            os.close(descriptor)
            self._file = self.path.open("ab")


@dataclass
class Follower:
    """Reads the strokes of a journal as they come.

    Attributes:
        path: of the journal.
        offset: how far it was read, in bytes.
        line: how many lines were read.
    """

    path: Path
    offset: int = 0
    line: int = 0

    def new(self, *, at_most: int | None = None) -> Iterator[Stroke]:
        """Yield the strokes since the last time, or at most so many; what is not a whole line yet is left for the next.

        Raises:
            DataError: a damaged line.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while at_most is None or at_most > 0:
                line = file.readline()
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                self.line += 1
                at_most = None if at_most is None else at_most - 1
                yield Stroke.from_line(line, f"{self.path}, line {self.line}")
