"""What the network is given for each tile, in each of its flips and turns, and where in its output the answer lies.

Also `prefetch` and `in_lanes`: what is made in other threads while something else is done with what came before. Does
not know the network, nor what becomes of the answers.

Legend of shapes: ... any leading axes, C channels, H height, W width.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from unetkit.images.image import Pixels, mirrored
from unetkit.prediction.tiling import Plan, Span, Window, window


@dataclass(frozen=True, slots=True)
class Symmetry:
    """The image's axes are swapped, then mirrored."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return a view of [..., H, W] as it is shown."""
        shown = image.swapaxes(-1, -2) if self.swap else image
        return shown[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def undo(self, shown: Tensor) -> Tensor:
        """Return [..., H, W] from what was computed on the shown image."""
        axes = [axis for axis, flip in ((-2, self.flip_rows), (-1, self.flip_columns)) if flip]
        image = shown.flip(axes) if axes else shown
        return image.transpose(-1, -2) if self.swap else image

    def window(self, rows: slice, columns: slice, size: tuple[int, ...]) -> tuple[slice, slice]:
        """Return where rows and columns of what is shown, whose height and width are `size`, are in the image."""
        down = _reversed(rows, size[0]) if self.flip_rows else rows
        across = _reversed(columns, size[1]) if self.flip_columns else columns
        return (across, down) if self.swap else (down, across)

    def place(self, rows: slice, columns: slice, size: tuple[int, ...]) -> tuple[slice, slice]:
        """Return where rows and columns of the image are in what is shown, whose height and width are `size`."""
        down, across = (columns, rows) if self.swap else (rows, columns)
        return (
            _reversed(down, size[0]) if self.flip_rows else down,
            _reversed(across, size[1]) if self.flip_columns else across,
        )


IDENTITY = Symmetry()
"""The image as it is."""

EIGHT = tuple(Symmetry(*choice) for choice in product((False, True), repeat=3))
"""All flips and turns, the image as it is first."""


def _reversed(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)


@dataclass(frozen=True, slots=True)
class Crop:
    """One tile, shown in one way.

    Attributes:
        row: the tile's span of rows of the image.
        column: its span of columns.
        symmetry: the way it is shown.
        pixels_CHW: what the network is given, in stored units.
        rows: of the network's answer, as far as the tile has a share in them.
        columns: of the network's answer.
        inside: rows and columns of `pixels_CHW` that lie in the image; around them it is mirrored.
    """

    row: Span
    column: Span
    symmetry: Symmetry
    pixels_CHW: NDArray[Any]
    rows: slice
    columns: slice
    inside: tuple[slice, slice]


def crops_of(pixels_CHW: Pixels, plan: Plan, symmetries: Iterable[Symmetry]) -> Iterator[Crop]:
    """Yield every tile in every symmetry: row by row, and all symmetries of a tile one after the other.

    Of pixels that are read by windows, only those of the tile are read.
    """
    height, width = pixels_CHW.shape[1:]
    shown = [(symmetry, (width, height) if symmetry.swap else (height, width)) for symmetry in symmetries]
    for row in plan.rows:
        for column in plan.columns:
            for symmetry, size in shown:
                own = symmetry.place(slice(row.low, row.high), slice(column.low, column.high), size)
                shared = symmetry.place(slice(row.begin, row.end), slice(column.begin, column.end), size)
                rows, columns = (
                    window(part.start, part.stop, length=length, grid=plan.grid)
                    for part, length in zip(own, size, strict=True)
                )
                answer = _within(shared[0], rows), _within(shared[1], columns)
                inside = _inside(rows, size[0]), _inside(columns, size[1])
                yield Crop(row, column, symmetry, _shown(pixels_CHW, symmetry, rows, columns, size), *answer, inside)


def _shown(
    pixels_CHW: Pixels, symmetry: Symmetry, rows: Window, columns: Window, size: tuple[int, int]
) -> NDArray[Any]:
    """Return the pixels [C, H, W] of a window of what is shown, mirrored outside the image."""
    down, across = (mirrored(part.start, part.stop, length) for part, length in zip((rows, columns), size, strict=True))
    tall, wide = (slice(int(indices.min()), int(indices.max()) + 1) for indices in (down, across))
    shown_CHW = symmetry.apply(pixels_CHW[:, *symmetry.window(tall, wide, size)])
    if (tall, wide) == (slice(rows.start, rows.stop), slice(columns.start, columns.stop)):
        return shown_CHW
    return shown_CHW[:, (down - tall.start)[:, None], across - wide.start]


def in_batches(crops: Iterable[Crop], size: int) -> Iterator[list[Crop]]:
    """Put up to `size` crops that follow each other and have one shape together."""
    batch: list[Crop] = []
    for crop in crops:
        if batch and (len(batch) == size or crop.pixels_CHW.shape != batch[0].pixels_CHW.shape):
            yield batch
            batch = []
        batch.append(crop)
    if batch:
        yield batch


def _inside(given: Window, length: int) -> slice:
    return slice(max(0, -given.start), min(given.stop, length) - given.start)


def _within(part: slice, given: Window) -> slice:
    return slice(part.start - given.first, part.stop - given.first)


Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(items: Iterator[Item]) -> Generator[Item]:
    """Yield the items in their order, each while the next one is being made; two are alive at a time.

    What is raised while an item is made is raised here, in the item's place.
    """
    end = object()
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = maker.submit(next, items, end)
            yield item  # pyright: ignore[reportReturnType] - it is not the end, which alone is no Item


def in_lanes(make: Callable[[Item], Made], items: Iterable[Item], lanes: int) -> Generator[Made]:
    """Yield what is made of the items, in their order, by so many threads side by side; each has one item ahead.

    What is raised while an item is made is raised here, in the item's place.
    """
    pool, coming = ThreadPoolExecutor(lanes), deque[Future[Made]]()
    try:
        for item in items:
            coming.append(pool.submit(make, item))
            if len(coming) > lanes:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
