"""Gaps in contours, closed: a membrane that is faint at one spot still separates two cells.

A threshold joins two regions where their contour is weakest, so that one faint pixel outweighs the whole membrane
next to it. Here a contour is as strong as its mean. The image is cut into basins of the background's probability; the
two neighbours with the weakest contour become one region, whose contours are the means over all that it now has, and
so on (average linkage). Every contour is then raised to the strength at which the regions on both sides of it became
one, so that a threshold leaves closed lines (an ultrametric contour map).

The same probabilities give the same map. The whole image is held at once; does not know classes or tiles.

Sources: Arbelaez, Maire, Fowlkes, Malik 2011, Contour detection and hierarchical image segmentation; Bailoni et al.
2022, GASP, a generalized framework for agglomerative clustering of signed graphs.

Legend of shapes: K classes, H height, W width, P pairs of pixels on both sides of a contour, E contours.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed  # pyright: ignore[reportUnknownVariableType] untyped

from unetkit.objects.find import NEIGHBOURS

_CORNERS = np.ones((3, 3), bool)
_SMOOTHING = 2.0  # pixels, about half a membrane: without it every speck of noise is a basin of its own


def with_closed_gaps(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities [K, H, W] whose background, class 0, has closed contours.

    The background is raised where there are gaps and lowered nowhere; the other classes share what is left as before.
    """
    closed_HW = close_gaps(probabilities[0])
    left_HW = np.divide(1 - closed_HW, 1 - probabilities[0], out=np.ones_like(closed_HW), where=probabilities[0] < 1)
    result = np.where(closed_HW > probabilities[0], probabilities * left_HW, probabilities)
    result[0] = closed_HW
    return result


def close_gaps(walls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return walls [H, W], from 0 to 1, with every contour raised to the strength that it has as a whole."""
    smooth = ndimage.gaussian_filter(walls, _SMOOTHING)
    lowest: Any = ndimage.label(smooth == ndimage.minimum_filter(smooth, footprint=_CORNERS))
    basins = cast(NDArray[np.int32], watershed(smooth, lowest[0], connectivity=1))
    pairs = _Pairs.of(basins, walls)
    contours, of_pair = np.unique(pairs.basins_2P, axis=1, return_inverse=True)
    heights: Any = np.bincount(of_pair, weights=pairs.heights_P)
    strengths = joining_strengths(contours, heights, np.bincount(of_pair))
    closed = walls.ravel().copy()
    np.maximum.at(closed, pairs.places_P, strengths[of_pair].astype(np.float32))
    return closed.reshape(walls.shape)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Neighbouring pixels of different basins.

    Attributes:
        basins_2P: of both, the lower one first.
        heights_P: of the higher pixel, which is what keeps them apart.
        places_P: of the higher pixel in the image, row by row.
    """

    basins_2P: NDArray[np.int32]
    heights_P: NDArray[np.float32]
    places_P: NDArray[np.int64]

    @staticmethod
    def of(basins: NDArray[np.int32], walls: NDArray[np.float32]) -> "_Pairs":
        places = np.arange(walls.size).reshape(walls.shape)
        found: list[tuple[NDArray[Any], ...]] = []
        for here, there in NEIGHBOURS:
            cut = basins[here] != basins[there]
            sides = np.sort(np.stack([basins[here][cut], basins[there][cut]]), axis=0)
            one, other = walls[here][cut], walls[there][cut]
            place = np.where(one >= other, places[here][cut], places[there][cut])
            found.append((sides, np.maximum(one, other), place))
        return _Pairs(*(np.concatenate(part, axis=-1) for part in zip(*found, strict=True)))


@dataclass(slots=True)
class _Contour:
    """What separates two regions.

    Attributes:
        number: its own.
        sides: the two regions.
        total: the sum of its heights.
        length: how many there are.
        parts: the contours between basins that it consists of, by their numbers.
        gone: it is a part of another one, or separates nothing any more.
    """

    number: int
    sides: set[int]
    total: float
    length: int
    parts: list[int]
    gone: bool = False

    @property
    def strength(self) -> float:
        return self.total / self.length

    def take(self, other: "_Contour") -> None:
        self.total += other.total
        self.length += other.length
        if len(other.parts) > len(self.parts):
            self.parts, other.parts = other.parts, self.parts
        self.parts.extend(other.parts)
        other.gone = True


def joining_strengths(
    contours: NDArray[np.int32], heights: NDArray[np.float64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return for each contour the strength [E] at which the regions on both sides of it become one.

    Args:
        contours: [2, E] the two basins that each one separates; each pair of basins once.
        heights: [E] sum of the heights along it.
        lengths: [E] in pairs of pixels.
    """
    every = [
        _Contour(number, {a, b}, height, length, [number])
        for number, (a, b, height, length) in enumerate(
            zip(*contours.tolist(), heights.tolist(), lengths.tolist(), strict=True)
        )
    ]
    around: dict[int, dict[int, _Contour]] = {}
    for contour in every:
        a, b = contour.sides
        around.setdefault(a, {})[b] = around.setdefault(b, {})[a] = contour
    strengths = np.empty(len(every))
    weakest = [(contour.strength, contour.number) for contour in every]
    heapify(weakest)
    while weakest:
        strength, number = heappop(weakest)
        contour = every[number]
        if contour.gone or strength != contour.strength:
            continue
        contour.gone = True
        strengths[contour.parts] = strength
        one, other = contour.sides
        kept, lost = (one, other) if len(around[one]) >= len(around[other]) else (other, one)
        del around[kept][lost], around[lost][kept]
        for neighbour, moved in around.pop(lost).items():
            del around[neighbour][lost]
            if (present := around[kept].get(neighbour)) is not None:
                present.take(moved)
                heappush(weakest, (present.strength, present.number))
            else:
                moved.sides = {kept, neighbour}
                around[kept][neighbour] = around[neighbour][kept] = moved
    return strengths
