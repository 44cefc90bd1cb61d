"""Outlines of objects: polygons, runs of pixels and small masks, as files describe them, and how they are drawn.

An outline is drawn in the box of its image that it fills, so that many small objects of a large image take little time.
Polygons are drawn by pycocotools, whose rule decides the pixels on the border, after their coordinates have been
bounded. Run lengths, packed or not, are decoded here and not there: the counts come from a file that may be damaged,
and it writes where they lead. Where two objects overlap, the pixel belongs to the one that comes first.

Coordinates are (x, y) in pixels, (0, 0) is the upper left corner of the image. Legend of shapes: H height, W width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError, UsageError

Ring = Sequence[float]
"""The corners of a polygon as a flat list x, y, x, y, ..."""

_ROUND = 64  # corners of a drawn ellipse


class Drawn(NamedTuple):
    """An object in a box of its image: the first row and column of the box, and the object's pixels [h, w] in it."""

    top: int
    left: int
    inside: NDArray[np.bool_]


class Outline(Protocol):
    """The shape of an object."""

    def draw(self, size: tuple[int, int], source: str) -> Drawn:
        """Draw it in an image of [H, W]; `source` names it in messages.

        Raises:
            DataError: an impossible shape.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """An object of an image.

    Attributes:
        name: of its class; empty where the file does not say.
        outline: its pixels.
        place: in its file, for messages, such as "shapes.3".
        single: it is one object and has an id, unlike a crowd.
        page: of a stack, from 0, that it lies on; None: on every page.
    """

    name: str
    outline: Outline
    place: str
    single: bool = True
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one image: class indices [H, W] uint8 or uint16, and ids [H, W] int32 from 1, 0 for none."""

    labels: NDArray[Any]
    instances: NDArray[np.int32]


def draw_shapes(shapes: Sequence[Shape], index_of: Mapping[str, int], size: tuple[int, int], source: str) -> Objects:
    """Draw the shapes of an image whose class has an index, the first on top; ids are their places from 1.

    Args:
        shapes: in the order of their file.
        index_of: class name -> index; shapes of other classes are left out.
        size: H and W.
        source: the file, for messages.

    Raises:
        DataError: a shape that cannot be drawn.
    """
    labels = np.zeros(size, np.uint16 if max(index_of.values(), default=0) > 255 else np.uint8)
    instances = np.zeros(size, np.int32)
    drawn = (shape for shape in shapes if shape.name in index_of)
    for number, shape in enumerate(drawn, 1):
        top, left, inside = shape.outline.draw(size, f"{source}: {shape.place}")
        box = slice(top, top + inside.shape[0]), slice(left, left + inside.shape[1])
        free = inside & (labels[box] == 0)
        labels[box][free] = index_of[shape.name]
        if shape.single:
            instances[box][free] = number
    return Objects(labels, instances)


@dataclass(frozen=True, slots=True)
class Polygons:
    """Polygons of any number of parts.

    Attributes:
        parts: each a ring, and rings that are cut out of it; of overlapping rings of a part an odd number is inside.
        relative: coordinates are shares of the image's width and height.
    """

    parts: Sequence[Sequence[Ring]]
    relative: bool = False

    @property
    def is_box(self) -> bool:
        """Whether it is an upright rectangle."""
        rings = [ring for part in self.parts for ring in part]
        return len(rings) == 1 and (len(rings[0]), len({*rings[0][::2]}), len({*rings[0][1::2]})) == (8, 2, 2)

    def draw(self, size: tuple[int, int], source: str) -> Drawn:
        """Draw the parts, by COCO's rule for pixels on a border.

        Raises:
            DataError: too few or odd numbers, or a corner further from the image than the image is large.
            UsageError: pycocotools is not installed.
        """
        height, width = size
        parts: list[list[NDArray[np.float64]]] = []
        for part in self.parts:
            parts.append([])
            for ring in part:
                if len(ring) < 6 or len(ring) % 2:
                    raise DataError(
                        f"{source}: a polygon of {len(ring)} numbers; at least three pairs x, y were expected"
                    )
                corners = np.array(ring, np.float64).reshape(-1, 2) * ((width, height) if self.relative else 1.0)
                sides = np.array([width, height])
                if not np.isfinite(corners).all() or (corners < -sides).any() or (corners > 2 * sides).any():
                    raise DataError(
                        f"{source}: a polygon far outside its image of {height} x {width} pixels (rows x columns)"
                    )
                parts[-1].append(corners)
        if not any(parts):
            raise DataError(f"{source}: has no outline; polygons or run lengths were expected, a box is not enough")
        # Each ring is drawn in the whole image, because a move would round it differently, but only where it lies.
        drawn = [[_ring_drawn(corners, size) for corners in part] for part in parts]
        left = min(one.left for part in drawn for one in part)
        right = max(one.left + one.inside.shape[1] for part in drawn for one in part)
        inside = np.zeros((height, right - left), bool)
        for part in drawn:
            whole = np.zeros_like(inside)
            for one in part:
                whole[:, one.left - left : one.left - left + one.inside.shape[1]] ^= one.inside
            inside |= whole
        return Drawn(0, left, inside)


def _ring_drawn(corners: NDArray[np.float64], size: tuple[int, int]) -> Drawn:
    """Draw a polygon; the box has the height of the image."""
    (runs,) = coco_masks().frPyObjects([corners.ravel().tolist()], *size)
    edges = np.cumsum(_unpacked(runs["counts"].decode(), ""))
    starts, ends = edges[: len(edges) // 2 * 2].reshape(-1, 2).T if len(edges) > 1 else (edges[:0], edges[:0])
    if not len(starts):
        return Drawn(0, 0, np.zeros((size[0], 0), bool))
    return Spans(np.stack([starts, ends - starts], 1)).draw(size, "")


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygons:
    """Return a rectangle."""
    return Polygons([[[left, top, right, top, right, bottom, left, bottom]]])


def ellipse(x: float, y: float, across: float, down: float, turned: float = 0.0) -> Polygons:
    """Return an ellipse about a point by its two radii in pixels, turned clockwise by an angle in radians."""
    angles = np.arange(_ROUND) * (2 * np.pi / _ROUND)
    right, low = across * np.cos(angles), down * np.sin(angles)
    columns = x + right * np.cos(turned) - low * np.sin(turned)
    rows = y + right * np.sin(turned) + low * np.cos(turned)
    return Polygons([[np.stack([columns, rows], 1).ravel().tolist()]])


@dataclass(frozen=True, slots=True)
class Runs:
    """COCO's run lengths: `counts` in numbers or packed, column after column, of an image of `size` [H, W]."""

    counts: Sequence[int] | str
    size: tuple[int, int]

    def draw(self, size: tuple[int, int], source: str) -> Drawn:
        """Draw the runs.

        Raises:
            DataError: runs of an image of another size, or that do not fill it.
        """
        if self.size != size:
            raise DataError(f"{source}: run lengths of {self.size[0]} x {self.size[1]}, but its image has {size}")
        return Drawn(0, 0, draw_runs(self.counts, size, source))


@dataclass(frozen=True, slots=True)
class Spans:
    """Pixels as pairs of start and length in an image of any size.

    Attributes:
        pairs: [N, 2] int64, starts from 0.
        by_rows: pixels are numbered row after row; else column after column, as Kaggle does.
    """

    pairs: NDArray[np.int64]
    by_rows: bool = False

    def draw(self, size: tuple[int, int], source: str) -> Drawn:
        """Draw the spans.

        Raises:
            DataError: a length below 1, or a span beyond the image.
        """
        starts, lengths = self.pairs.T
        pixels = size[0] * size[1]
        if not len(starts):
            return Drawn(0, 0, np.zeros((0, 0), bool))
        if (
            starts.min() < 0
            or lengths.min() < 1
            or int(starts.max()) > pixels
            or int(lengths.max()) > pixels
            or int((starts + lengths).max()) > pixels
        ):
            raise DataError(
                f"{source}: runs that begin at {int(starts.min()) + 1} and end at {int((starts + lengths).max())}; an "
                f"image of {size[0]} x {size[1]} has the pixels 1 to {pixels}"
            )
        step = size[1] if self.by_rows else size[0]
        first, last = int(starts.min()) // step, int((starts + lengths - 1).max()) // step
        order = np.argsort(starts, kind="stable")
        ends = np.maximum.accumulate((starts + lengths)[order]) - first * step
        before = np.concatenate([[0], ends[:-1]])
        begins = np.maximum(starts[order] - first * step, before)  # spans may overlap
        counts = np.stack([begins - before, ends - begins], 1).ravel()
        rest = (last - first + 1) * step - int(ends[-1])
        inside = np.repeat(np.arange(len(counts) + 1) % 2 == 1, [*counts.tolist(), rest])
        lines = inside.reshape(-1, step)
        return Drawn(first, 0, lines) if self.by_rows else Drawn(0, first, lines.T)


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A small mask [h, w] whose upper left pixel lies at a row and a column of the image."""

    top: int
    left: int
    inside: NDArray[np.bool_]

    def draw(self, size: tuple[int, int], source: str) -> Drawn:
        """Return what lies in the image.

        Raises:
            DataError: it lies outside.
        """
        rows, columns = self.inside.shape
        if self.top >= size[0] or self.left >= size[1] or self.top + rows <= 0 or self.left + columns <= 0:
            raise DataError(f"{source}: a mask at row {self.top}, column {self.left}, outside its image of {size}")
        top, left = max(self.top, 0), max(self.left, 0)
        cut = self.inside[top - self.top : size[0] - self.top, left - self.left : size[1] - self.left]
        return Drawn(top, left, cut)


def draw_runs(counts: Sequence[int] | str, size: Sequence[int], source: str) -> NDArray[np.bool_]:
    """Return the pixels [H, W] of run lengths, column after column, beginning with a run outside the object.

    Args:
        counts: the lengths, or COCO's packed text of them.
        size: height and width.
        source: names the annotation in messages.

    Raises:
        DataError: counts that are negative, unreadable or do not fill the image.
    """
    height, width = size
    lengths = _unpacked(counts, source) if isinstance(counts, str) else counts
    # Summed as Python's integers: numbers of 64 bits may wrap to the right sum, and numpy would write where they lead.
    total, expected = sum(lengths), height * width
    if min(lengths, default=0) < 0 or total != expected:
        raise DataError(
            f"{source}: run lengths that make {total} pixels; {height} x {width} = {expected} were expected"
        )
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside.reshape(width, height).T


def pack_runs(inside: NDArray[np.bool_], top: int, left: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return an object as COCO's packed run lengths, {"size": [H, W], "counts": text}.

    Args:
        inside: the object in a box of its image, [h, w].
        top: the first row of the box.
        left: its first column.
        size: height and width of the image.

    Raises:
        UsageError: pycocotools is not installed.
    """
    columns, rows = np.nonzero(inside.T)
    places = (columns + left) * size[0] + rows + top
    first = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    last = np.append(first[1:], len(places)) - 1
    edges = np.stack([places[first], places[last] + 1], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=size[0] * size[1])
    packed = coco_masks().frPyObjects({"size": list(size), "counts": counts.tolist()}, *size)
    return {"size": list(size), "counts": packed["counts"].decode()}


def _unpacked(text: str, source: str) -> list[int]:
    """Decode COCO's packed counts.

    Each number is written in letters of six bits from '0' on, the lowest five bits first: bit 6 says that more follow,
    and the sign is that of the last letter's fifth bit. From the third on, what is written is the difference to the
    number two places before.
    """
    numbers: list[int] = []
    place, value = 0, 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or place > 6:
            raise DataError(f"{source}: packed run lengths that cannot be read")
        value |= (code & 31) << (5 * place)
        place += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << (5 * place)
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        place, value = 0, 0
    if place:
        raise DataError(f"{source}: packed run lengths that end in the middle of a number")
    return numbers


def coco_masks() -> Any:
    """Return the codec of COCO's own tools.

    Raises:
        UsageError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask  # an extra: masks do not need it
    except ImportError as error:
        raise UsageError("outlines need pycocotools; install it with: pip install 'unetkit[coco]'") from error
    return mask
