"""Outlines of objects as COCO stores them, drawn: polygons, and run lengths in columns, packed or not; and packed.

Polygons are drawn by pycocotools, whose rule decides the pixels on the border, after their coordinates have been
bounded. Run lengths are decoded here and not there: the counts come from a file that may be damaged, and it writes
where they lead.

Legend of shapes: H height, W width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError, UsageError


def draw_polygons(polygons: Sequence[Sequence[float]], height: int, width: int, source: str) -> NDArray[np.bool_]:
    """Return the pixels [H, W] inside any of the polygons, each a flat list x, y, x, y, ... of at least three corners.

    Raises:
        DataError: too few or odd numbers, or a corner further from the image than the image is large.
        UsageError: pycocotools is not installed.
    """
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"{source}: a polygon of {len(polygon)} numbers; at least three pairs x, y were expected")
        corners = np.array(polygon).reshape(-1, 2)
        size = np.array([width, height])
        if not np.isfinite(corners).all() or (corners < -size).any() or (corners > 2 * size).any():
            raise DataError(f"{source}: a polygon far outside its image of {height} x {width} pixels (rows x columns)")
    drawn = np.zeros((height, width), bool)
    for runs in coco_masks().frPyObjects([list(polygon) for polygon in polygons], height, width):
        drawn |= draw_runs(runs["counts"].decode(), (height, width), source)
    return drawn


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
    lengths = np.array(_unpacked(counts, source) if isinstance(counts, str) else counts, np.int64)
    if (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise DataError(
            f"{source}: run lengths that make {int(lengths.sum())} pixels; {height} x {width} = {height * width} were "
            "expected"
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
        from pycocotools import mask  # an extra: only this form needs it
    except ImportError as error:
        raise UsageError("COCO outlines need pycocotools; install it with: pip install 'unetkit[coco]'") from error
    return mask
