"""Border thinning: the challenge evaluator's flooding of a two-valued image, pixel for pixel.

The interior's 4-connected components are basins; the border between them is given to the basins by a flood that takes
pixels first in, first out, and what remains is the line where two basins meet. Vincent and Soille's algorithm (1991)
reduces to this on two values. The order in which pixels are taken decides where the lines run, so it is kept exactly;
watersheds of image libraries keep another one and give other lines.

The order does not depend on the labels. So a breadth-first search finds it first, then every border pixel gets its
root's basin, and only where two basins touch is the rule applied, again and again, until nothing changes: a pixel's
label follows from pixels taken earlier, so there is one fixed point and it is the flood's result.

Assumes one image at a time. Does not know probabilities or thresholds. scipy is imported where it is called: training
imports the metrics and never thins.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Flat = NDArray[np.int32]


def label_components(interior: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Return the 4-connected components of a [H, W] mask as int32 ids from 1 (0: not in the mask), and their number."""
    from scipy import ndimage

    labels = np.empty(interior.shape, np.int32)
    count: Any = ndimage.label(interior, output=labels)  # scipy gives only the number when it is handed the array
    return labels, int(count)


def thin_borders(basins: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the basins grown over the border until only lines are left between them.

    Rule: a queue holds first the border pixels with a 4-neighbour in a basin, column by column. A pixel that is taken
    appends its 4-neighbours that were never in the queue (left, up, right, down). It gets the one basin found among its
    neighbours that are basin or were taken before; with none or with two or more of them it becomes line.

    Args:
        basins: [H, W] int32: ids from 1 of 4-connected components, 0 where there is border.

    Returns:
        [H, W] int32 ids, 0 on lines. Without any basin the whole image is one, with id 1.

    Source: the ISBI 2012 challenge's evaluator (Arganda-Carreras et al. 2015), classic watershed with 4 neighbours.
    """
    if not basins.any():
        return np.ones_like(basins)
    height, width = basins.shape
    labels = np.zeros((height + 2, width + 2), np.int32)  # a wall of zeros saves every test for the image's edge
    labels[1:-1, 1:-1] = basins
    border = np.zeros(labels.shape, np.bool_)
    border[1:-1, 1:-1] = basins == 0
    flat, stride = labels.ravel(), width + 2
    neighbours = np.array([-1, -stride, 1, stride], np.int32)
    first = _first_ring(labels, border)
    order, parents = _queue_order(border.ravel(), first, neighbours)
    rank = np.zeros(flat.size, np.int32)  # when a pixel is taken; 0: basins and wall, there from the start
    rank[order] = np.arange(1, order.size + 1, dtype=np.int32)
    flat[first] = flat[first + neighbours[:, None]].max(0)
    _flood_from_first_ring(flat, order, parents, rank[parents[first.size :]])
    _settle(flat, rank, _later_side_of_contacts(flat, rank, stride), neighbours)
    return labels[1:-1, 1:-1]


def _first_ring(labels: NDArray[np.int32], border: NDArray[np.bool_]) -> _Flat:
    """Return the flat places of border pixels beside a basin, column by column."""
    basin = labels > 0
    beside = np.zeros_like(basin)
    beside[1:-1, 1:-1] = basin[1:-1, :-2] | basin[1:-1, 2:] | basin[:-2, 1:-1] | basin[2:, 1:-1]
    columns, rows = np.divmod(np.flatnonzero((beside & border).T), labels.shape[0])
    return (rows * labels.shape[1] + columns).astype(np.int32)


def _queue_order(border: NDArray[np.bool_], first: _Flat, neighbours: _Flat) -> tuple[_Flat, _Flat]:
    """Return the border pixels in the order in which the queue gives them, and the pixel that appended each.

    A breadth-first search is such a queue: its graph has the four edges of every border pixel, in the rule's order, and
    one node more from which the first ring is reached. Basin pixels have no edges, so nothing spreads through them.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    start, places = border.size, np.flatnonzero(border).astype(np.int32)
    targets = np.empty(4 * places.size + first.size, np.int32)
    edges = targets[: 4 * places.size].reshape(-1, 4)
    for column, step in enumerate(neighbours):
        np.add(places, step, out=edges[:, column])
    targets[edges.size :] = first
    row_ends = np.empty(start + 2, np.int32)
    row_ends[0] = 0
    row_ends[1:-1] = 4 * np.cumsum(border, dtype=np.int32)
    row_ends[-1] = targets.size
    graph = csr_array((np.ones(targets.size), targets, row_ends), shape=(start + 1, start + 1))
    order, parents = breadth_first_order(graph, start)
    order = order[1:]  # without the node that was added
    order = order[border[order]]
    return order, parents[order]


def _flood_from_first_ring(flat: _Flat, order: _Flat, parents: _Flat, parent_ranks: _Flat) -> None:
    """Give every border pixel behind the first ring the basin of the pixel that appended it, ring by ring."""
    first = begin = order.size - parent_ranks.size
    while begin < order.size:
        # Parents come in the queue's order, so the next ring is those whose parents lie before its beginning.
        # As the array's own type, since for any other number it would be copied each time.
        end = first + int(np.searchsorted(parent_ranks, np.int32(begin), side="right"))
        flat[order[begin:end]] = flat[parents[begin:end]]
        begin = end


def _later_side_of_contacts(flat: _Flat, rank: _Flat, stride: int) -> _Flat:
    """Return, for every two neighbours of different basins, the one that is taken later."""
    sides: list[_Flat] = []
    for step in (1, stride):
        one = np.flatnonzero(flat[step:] != flat[:-step]).astype(np.int32)
        other = one + np.int32(step)
        sides.append(np.where(rank[one] > rank[other], one, other)[(flat[one] != 0) & (flat[other] != 0)])
    return np.concatenate(sides)


def _settle(flat: _Flat, rank: _Flat, places: _Flat, neighbours: _Flat) -> None:
    """Apply the rule at `places`, then wherever an earlier neighbour has changed, until nothing changes."""
    seat = np.empty(flat.size, np.int32)
    while places.size:
        # Each place once: of the indices written to its seat the last one stays.
        index = np.arange(places.size, dtype=np.int32)
        seat[places] = index
        places = places[seat[places] == index]
        around = places + neighbours[:, None]
        earlier = np.where(rank[around] < rank[places], flat[around], 0)
        highest = earlier.max(0)
        several = ((earlier != highest) & (earlier != 0)).any(0)
        ruled = np.where(several, 0, highest)
        changed = ruled != flat[places]
        moved = places[changed]
        flat[moved] = ruled[changed]
        around = moved + neighbours[:, None]
        places = around[rank[around] > rank[moved]]
