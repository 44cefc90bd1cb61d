"""Gaps in contours, closed: a membrane that is faint at one spot still separates two cells.

A threshold joins two regions where their contour is weakest, so that one faint pixel outweighs the whole membrane
next to it. Here a contour is as strong as its mean. The image is cut into basins of the background's probability; the
two neighbours with the weakest contour become one region, whose contours are the means over all that it now has, and
so on (average linkage). Every contour is then raised to the strength at which the regions on both sides of it became
one, so that a threshold leaves closed lines (an ultrametric contour map).

The same probabilities give the same map. `close_gaps` holds the whole image at once; by blocks, all contours are one
graph, on which regions are joined in the same order. Does not know classes.

Sources: Arbelaez, Maire, Fowlkes, Malik 2011, Contour detection and hierarchical image segmentation; Bailoni et al.
2022, GASP, a generalized framework for agglomerative clustering of signed graphs.

Legend of shapes: K classes, H height, W width, P pairs of pixels on both sides of a contour, E contours.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from unetkit.machine import available_cores
from unetkit.objects.find import NEIGHBOURS, renumbered
from unetkit.objects.parts import View

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

_CORNERS = np.ones((3, 3), bool)
_SMOOTHING = 2.0  # pixels, about half a membrane: without it every speck of noise is a basin of its own


_REACH = 8
"""Rows and columns around a pixel that smoothing looks at."""

_STRIP = 128
"""Rows that are worked on at once."""

_DIRECTIONS = [side for pair in NEIGHBOURS for side in (pair, pair[::-1])]
"""Pixels that have a neighbour to the left, to the right, above or below, and those neighbours."""


@dataclass(frozen=True, slots=True)
class Contours:
    """Contours between basins.

    Attributes:
        sides: [2, E] the two basins that each one separates, the lower number first; each pair of basins once.
        heights: [E] float64, sum of the heights along it.
        lengths: [E] int64, in pairs of pixels.
    """

    sides: NDArray[np.int64]
    heights: NDArray[np.float64]
    lengths: NDArray[np.int64]


def with_closed_gaps(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities [K, H, W] whose background, class 0, has closed contours.

    The background is raised where there are gaps and lowered nowhere; the other classes share what is left as before.
    """
    return with_background(probabilities, close_gaps(probabilities[0]))


def with_background(probabilities: NDArray[np.float32], closed_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities [K, H, W] whose background is raised to `closed_HW`; the others share what is left."""
    left_HW = np.divide(1 - closed_HW, 1 - probabilities[0], out=np.ones_like(closed_HW), where=probabilities[0] < 1)
    result = np.where(closed_HW > probabilities[0], probabilities * left_HW, probabilities)
    result[0] = closed_HW
    return result


def close_gaps(walls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return walls [H, W], from 0 to 1, with every contour raised to the strength that it has as a whole."""
    basins_HW = basins_of(_smoothed(walls))
    pairs_2P = _borders(basins_HW)
    found, of_pair = _summed([_along(basins_HW, walls, pairs_2P)])
    return _raised(walls, pairs_2P, joining_strengths(found.sides, found.heights, found.lengths)[of_pair])


def own_basins(walls: NDArray[np.float32], view: View) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the basins of a block, numbered from 1, and their lowest places [N] on all pages, by its window [H, W]."""
    smooth = _smoothed(walls)
    basins_HW = basins_of(smooth)
    heights, basins = smooth.ravel(), basins_HW.ravel()
    lowest = np.full(int(basins.max()) + 1, np.inf, np.float32)
    np.minimum.at(lowest, basins, heights)
    ends = np.flatnonzero(heights == lowest[basins])[::-1]
    firsts = np.zeros(len(lowest), np.int64)
    firsts[basins[ends]] = ends  # of several, the last one that is written stays: the first pixel
    ids, places = renumbered(basins_HW[view.own])
    return ids, view.on_page(firsts[basins_HW[view.own].ravel()[places]])


def contours_of(basins: NDArray[np.int64], walls: NDArray[np.float32], own: tuple[slice, slice]) -> Contours:
    """Return the contours between pixels of a block and those to their left and above them.

    Args:
        basins: [H, W] of the block, and of the row above it and the column to the left where they are there.
        walls: [H, W] the heights.
        own: rows and columns of the block.
    """
    pairs_2P = _borders(basins)
    rows, columns = np.divmod(pairs_2P[0], basins.shape[1])
    inside = (rows >= own[0].start) & (columns >= own[1].start)
    return _summed([_along(basins, walls, (pairs_2P[0][inside], pairs_2P[1][inside]))])[0]


def strengths_of(contours: Sequence[Contours]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the sides [2, E] of the contours of all blocks, in rising order, and their `joining_strengths` [E]."""
    found, _ = _summed(contours)
    return found.sides, joining_strengths(found.sides, found.heights, found.lengths)


def raised(
    basins: NDArray[np.int64], walls: NDArray[np.float32], sides: NDArray[np.int64], strengths: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return walls [H, W] with every contour between basins [H, W] raised to its strength, by `strengths_of`."""
    pairs_2P, size = _borders(basins), int(sides.max(initial=0)) + 1
    of_pair = np.searchsorted(sides[0] * size + sides[1], [size, 1] @ _along(basins, walls, pairs_2P).sides)
    return _raised(walls, pairs_2P, strengths[of_pair])


def _smoothed(walls: NDArray[np.float32]) -> NDArray[np.float32]:
    return _in_strips(lambda rows: [ndimage.gaussian_filter(walls[rows], _SMOOTHING)], walls, _REACH)[0]


def _along(basins: NDArray[np.integer], walls: NDArray[np.float32], pairs_2P: Pairs) -> Contours:
    """Return a contour of length 1 for every two pixels; the higher one of them keeps basins apart."""
    (here_P, there_P), flat = pairs_2P, basins.ravel()
    heights_P = np.maximum(walls.ravel()[here_P], walls.ravel()[there_P])
    sides_2P = np.sort(np.stack([flat[here_P], flat[there_P]]).astype(np.int64), axis=0)
    return Contours(sides_2P, heights_P.astype(np.float64), np.ones(len(heights_P), np.int64))


def _summed(contours: Sequence[Contours]) -> tuple[Contours, NDArray[np.int64]]:
    """Return each contour once, and which of them each one that was given is part of."""
    sides = np.concatenate([one.sides for one in contours], axis=1)
    heights, lengths = (
        np.concatenate([one.heights for one in contours]),
        np.concatenate([one.lengths for one in contours]),
    )
    count = int(sides.max(initial=0)) + 1
    keys, of_given = np.unique(sides[0] * count + sides[1], return_inverse=True)
    total: Any = np.bincount(of_given, heights, len(keys))
    length: Any = np.bincount(of_given, lengths, len(keys))
    return Contours(np.stack(np.divmod(keys, count)), total, length.astype(np.int64)), of_given


def _raised(walls: NDArray[np.float32], pairs_2P: Pairs, strengths_P: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return walls [H, W], of every two pixels of which the higher one is raised."""
    (here_P, there_P), closed = pairs_2P, walls.ravel().copy()
    places_P = np.where(closed[here_P] >= closed[there_P], here_P, there_P)
    np.maximum.at(closed, places_P, strengths_P.astype(np.float32))
    return closed.reshape(walls.shape)


def basins_of(height: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the basin [H, W] of every pixel, numbered from 1: the lowest place that water reaches from it.

    A basin is a pixel, or several of one height along edges, that no pixel around them, corners included, is below.
    Water takes the lowest neighbour along edges; from a pit that is lower at a corner alone it flows over at the pit's
    lowest pass. That is `skimage.segmentation.watershed` of these places, but for single pixels on the edge of pits,
    in a fraction of its time.
    """
    places, directions = np.arange(height.size, dtype=np.int32).reshape(height.shape), _DIRECTIONS

    def lowest_around(rows: slice) -> list[NDArray[Any]]:
        level, target, own = height[rows].copy(), places[rows].copy(), height[rows]
        for here, there in directions:
            below = own[there] < level[here]
            np.copyto(level[here], own[there], where=below)
            np.copyto(target[here], places[rows][there], where=below)
        return [own == ndimage.minimum_filter(own, footprint=_CORNERS), target]

    lowest, target = _in_strips(lowest_around, height, 1)
    flat = (target == places) & ~lowest
    moved = True
    while moved:  # level ground leads to its edge, if water leaves it there
        moved = False
        for here, there in directions:
            follow = flat[here] & ~flat[there] & ~lowest[there] & (height[here] == height[there])
            if follow.any():
                target[here][follow], flat[here][follow] = places[there][follow], False
                moved = True
    seeds, count = _regions(lowest)
    pits, more = _regions(flat)
    seeds[flat] = pits[flat] + count
    ends = np.flatnonzero(seeds)[::-1]
    firsts = np.zeros(count + more + 1, np.int32)
    firsts[seeds.ravel()[ends]] = ends  # of several, the last one that is written stays: the first pixel
    target.ravel()[ends] = firsts[seeds.ravel()[ends]]
    flow = target.ravel()
    while not np.array_equal(flow, further := flow[flow]):
        flow = further
    return _overflowed(seeds.ravel()[flow].reshape(height.shape), height, count, more)


def _in_strips(work: Callable[[slice], list[NDArray[Any]]], like: NDArray[Any], reach: int) -> list[NDArray[Any]]:
    """Put together what is made of strips of an image's rows, which are small enough for a core's cache.

    Args:
        work: what is made of some rows, each as many rows.
        like: the image.
        reach: rows beyond its own that every strip is given, where the image has them.
    """

    def strip(top: int) -> list[NDArray[Any]]:
        start, bottom = max(0, top - reach), min(top + _STRIP, len(like))
        return [made[top - start : bottom - start] for made in work(slice(start, min(bottom + reach, len(like))))]

    with ThreadPoolExecutor(available_cores()) as several:
        made = list(several.map(strip, range(0, len(like), _STRIP)))
    return [np.concatenate(parts) for parts in zip(*made, strict=True)]


def _regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    found: Any = ndimage.label(mask)
    return found


def _overflowed(basins: NDArray[np.int32], height: NDArray[np.float32], count: int, pits: int) -> NDArray[np.int32]:
    """Give the basins above `count`, which are pits, to those that they flow over into."""
    if not pits:
        return basins
    here_P, there_P = _borders(basins)
    sides_2P = np.stack([basins.ravel()[here_P], basins.ravel()[there_P]])
    passes_P = np.maximum(height.ravel()[here_P], height.ravel()[there_P]).astype(np.float64)
    needed = sides_2P.max(0) > count
    order = np.flatnonzero(needed)[np.argsort(passes_P[needed], kind="stable")]
    low_P, high_P = np.sort(sides_2P[:, order].astype(np.int64), axis=0)
    _, first = np.unique(low_P * (count + pits + 1) + high_P, return_index=True)  # the lowest pass of two basins
    # A spanning tree from 0, which all but pits hang on first: what is left without 0 has one basin that is no pit.
    roots = np.arange(1, count + 1)
    ones, others = np.append(np.zeros(count, int), low_P[first]), np.append(roots, high_P[first])
    ranks = np.append(np.ones(count), first + 2.0)  # of passes; scipy takes 0 for no edge
    size = count + pits + 1
    tree: Any = minimum_spanning_tree(coo_array((ranks, (ones, others)), (size, size)).tocsr()).tocoo()
    kept: NDArray[np.bool_] = (tree.row > 0) & (tree.col > 0)
    joined: Any = coo_array((np.ones(int(kept.sum())), (tree.row[kept], tree.col[kept])), (size, size))
    _, groups = connected_components(joined, directed=False)
    basin_of_group = np.zeros(groups.max() + 1, np.int32)
    basin_of_group[groups[roots]] = roots
    return basin_of_group[groups][basins]


def _borders(basins: NDArray[np.integer]) -> Pairs:
    """Return the places [P] of pixels, row by row, and of neighbours of theirs that are in other basins."""
    places = np.arange(basins.size).reshape(basins.shape)
    cuts = [(here, there, basins[here] != basins[there]) for here, there in NEIGHBOURS]
    here_P, there_P = (np.concatenate([places[sides[index]][sides[2]] for sides in cuts]) for index in (0, 1))
    return here_P, there_P


def joining_strengths(
    contours: NDArray[np.integer], heights: NDArray[np.float64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return for each contour the strength [E] at which the regions on both sides of it become one.

    Args:
        contours: [2, E] the two basins that each one separates; each pair of basins once.
        heights: [E] sum of the heights along it.
        lengths: [E] in pairs of pixels.
    """
    ones, others = contours.tolist()
    total, length, into = heights.tolist(), lengths.tolist(), list(range(len(ones)))
    around: dict[int, dict[int, int]] = {basin: {} for basin in (*ones, *others)}
    for contour, (one, other) in enumerate(zip(ones, others, strict=True)):
        around[one][other] = around[other][one] = contour
    strengths = np.full(len(ones), np.nan)
    weakest = sorted(zip((heights / lengths).tolist(), into, strict=True))
    while weakest:
        strength, contour = heappop(weakest)
        if into[contour] != contour or strength != total[contour] / length[contour]:
            continue
        into[contour] = -1
        strengths[contour] = strength
        kept, lost = ones[contour], others[contour]
        if len(around[kept]) < len(around[lost]):
            kept, lost = lost, kept
        near, moving = around[kept], around.pop(lost)
        del near[lost], moving[kept]
        for neighbour, moved in moving.items():
            beyond = around[neighbour]
            del beyond[lost]
            present = near.get(neighbour)
            if present is None:
                ones[moved], others[moved] = kept, neighbour
                near[neighbour] = beyond[kept] = moved
            else:  # both separate the same two regions now
                total[present] += total[moved]
                length[present] += length[moved]
                into[moved] = present
                heappush(weakest, (total[present] / length[present], present))
    ends = np.where(np.isnan(strengths), np.array(into, np.int64), np.arange(len(ones)))
    while not np.array_equal(ends, further := ends[ends]):
        ends = further
    return strengths[ends]
