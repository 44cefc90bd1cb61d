"""Outlines of objects as polygons along the corners of pixels: what they enclose is the object, pixel by pixel.

Points are (x, y) in pixels, (0, 0) is the upper left corner of the image. A polygon is closed by itself, its last point
is not the first again. Rings touch themselves nowhere and each other in single points at most, which GeoJSON allows.

Legend of shapes: H height, W width, P points.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.objects.find import regions

Points = NDArray[np.int64]
Polygon = tuple[Points, ...]
"""The outer ring [P, 2], and one for each hole."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # east, south, west, north: each is a right turn after the one before


def polygons(ids: NDArray[np.int32]) -> Iterator[tuple[Polygon, ...]]:
    """Yield the polygons of each object of an image [H, W], 1 first: one a part that is connected along edges."""
    for number, place in enumerate(ndimage.find_objects(ids), 1):
        rows, columns = place
        parts = regions(ids[rows, columns] == number)
        origin = np.array([columns.start, rows.start])
        yield tuple(_polygon(parts == part, origin) for part in range(1, int(parts.max()) + 1))


def _polygon(mask: NDArray[np.bool_], origin: NDArray[np.int64]) -> Polygon:
    """Return the outer ring and the holes of pixels that are connected along edges."""
    rings = [np.array(ring) + origin for ring in _rings(mask)]
    return tuple(sorted(rings, key=lambda ring: -_area(ring)))  # holes run the other way round: their area is negative


def _area(ring: Points) -> int:
    x, y = ring.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _rings(mask: NDArray[np.bool_]) -> Iterator[list[tuple[int, int]]]:
    """Yield the corners of every ring, the object to the right of each edge."""
    padded = np.pad(mask, 1).astype(np.int8)
    down, across = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    # Where an edge of one pixel begins, by its direction.
    starts = ((down > 0, 0, 0), (across < 0, 0, 0), (down < 0, 0, 1), (across > 0, 1, 0))
    left = [{(x + right, y + low) for y, x in np.argwhere(there).tolist()} for there, low, right in starts]
    while any(left):
        direction = next(number for number, edges in enumerate(left) if edges)
        place = start = next(iter(left[direction]))
        path = dict[tuple[int, int], None]()  # the corners, in order
        while True:
            left[direction].remove(place)
            place = place[0] + _STEPS[direction][0], place[1] + _STEPS[direction][1]
            right = (direction + 1) % 4  # first: pixels that share but a corner do not belong together
            turned = right if place in left[right] else direction if place in left[direction] else (direction + 3) % 4
            if turned != direction:
                if place in path:  # the ring touches itself: what lies between is a ring of its own
                    corners = list(path)
                    first = corners.index(place)
                    yield corners[first:]
                    path = dict.fromkeys(corners[:first])
                path[place] = None
            direction = turned
            if place == start and place not in left[direction]:
                break
        if path:
            yield list(path)
