"""What the ISBI challenge's evaluator does to the pixels of one slice: thin borders, compare objects, warp the truth.

Thinning floods a two-valued image, pixel for pixel as the evaluator does. The interior's 4-connected components are
basins; the border between them is given to the basins by a flood that takes pixels first in, first out, and what is
left is the line where two basins meet. Vincent and Soille's algorithm (1991) reduces to this on two values. The order
in which pixels are taken decides where the lines run, so it is kept exactly; watersheds of image libraries keep
another one and give other lines. The order does not depend on the labels. So a breadth-first search finds it first,
then every border pixel gets its root's basin, and only where two basins touch is the rule applied, again and again,
until nothing changes: a pixel's label follows from pixels taken earlier, so there is one fixed point and it is the
flood's result.

The warping error is what no bending of the truth's borders can explain. The truth is bent towards the prediction by
flipping pixels whose flip changes no topology (simple points). What still differs at the end is a topological error;
splits and mergers of objects count, holes and lone objects do not. Flipping is sequential by definition: in order of
falling distance to the threshold, over and over until a round flips nothing. Every pixel carries its eight neighbours
as one byte, so that a look at a pixel is one look at a table.

The comparison (Rand and information scores) counts only the truth's objects: pixels of its background are dropped. A
pixel of an object that the prediction gives to no object (0) counts as an object of its own.

Assumes one slice at a time, binary truth and ids without gaps. Does not know where ids come from, thresholds other than
one that it is given, or the pooling over slices. scipy is imported where it is called: training imports the metrics and
never thins.

Legend of shapes: M mismatches, P pixels of true objects, I true objects, J predicted objects, ... any shape.
"""

from dataclasses import dataclass
from functools import cache
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
    # The first ring: border pixels next to a basin, column by column.
    basin, ring = labels > 0, np.zeros_like(border)
    ring[1:-1, 1:-1] = basin[1:-1, :-2] | basin[1:-1, 2:] | basin[:-2, 1:-1] | basin[2:, 1:-1]
    columns, rows = np.divmod(np.flatnonzero((ring & border).T), labels.shape[0])
    first = (rows * labels.shape[1] + columns).astype(np.int32)
    order, parents = _queue_order(border.ravel(), first, neighbours)
    rank = np.zeros(flat.size, np.int32)  # when a pixel is taken; 0: basins and wall, there from the start
    rank[order] = np.arange(1, order.size + 1, dtype=np.int32)
    flat[first] = flat[first + neighbours[:, None]].max(0)
    _flood_from_first_ring(flat, order, parents, rank[parents[first.size :]])
    later: list[_Flat] = []  # of every two neighbours of different basins the one that is taken later
    for step in (1, stride):
        one = np.flatnonzero(flat[step:] != flat[:-step]).astype(np.int32)
        other = one + np.int32(step)
        later.append(np.where(rank[one] > rank[other], one, other)[(flat[one] != 0) & (flat[other] != 0)])
    _settle(flat, rank, np.concatenate(later), neighbours)
    return labels[1:-1, 1:-1]


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


_RADIUS = 20  # the evaluator's: half the side of the window in which a split is confirmed
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # (row, column), clockwise


def count_warping_errors(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], threshold: float
) -> tuple[int, int]:
    """Return how many pixels are splits and how many are mergers.

    Args:
        truth: [H, W], true where there is interior.
        probability: [H, W] of interior, float32 values held in float64.
        threshold: the prediction is interior where the probability is above it.

    Source: Jain et al. 2010, Boundary learning by optimization with topological constraints; the order of the flips
    and the kinds of mismatch are those of the ISBI 2012 challenge's evaluator.
    """
    if truth.all() or not truth.any():
        return 0, 0  # the evaluator cannot rescale a constant slice and then finds no object in it
    # The places [M] of mismatches in the slice with a rim of one pixel, the surest first, equals column by column.
    columns, rows = np.nonzero((truth != (probability > threshold)).T)
    distance = np.abs(probability[rows, columns] - threshold).astype(np.float32)
    order = np.argsort(-distance, kind="stable")
    rimmed = np.pad(truth, 1)
    places = (rows[order] + 1) * rimmed.shape[1] + columns[order] + 1
    left = np.array(_flip_simple_points(places, _neighbour_codes(rimmed), rimmed.shape[1]), np.intp)
    warped = rimmed.ravel()
    warped[places] ^= True
    warped[left] ^= True
    return _classify(warped.reshape(rimmed.shape), left)


def _neighbour_codes(rimmed: NDArray[np.bool_]) -> bytearray:
    """Return for every pixel one byte: bit k tells whether neighbour k of `_AROUND` is interior; the rim's are 0."""
    codes = np.zeros(rimmed.shape, np.uint8)
    height, width = rimmed.shape
    for bit, (down, right) in enumerate(_AROUND):
        shifted = rimmed[1 + down : height - 1 + down, 1 + right : width - 1 + right]
        codes[1:-1, 1:-1] |= shifted.astype(np.uint8) << bit
    return bytearray(codes.tobytes())


def _flip_simple_points(places: NDArray[np.intp], codes: bytearray, stride: int) -> list[int]:
    """Flip simple points in rounds over the places [M] until a round flips nothing; return the places that are left."""
    simple = simple_codes()
    # Neighbour k sees the flipped pixel on its opposite side.
    steps = [(down * stride + right, 1 << (bit + 4) % 8) for bit, (down, right) in enumerate(_AROUND)]
    waiting: list[int] = []
    left: list[int] = places.tolist()
    while len(left) != len(waiting):
        waiting, left = left, []
        for place in waiting:
            if simple[codes[place]]:
                for step, bit in steps:
                    codes[place + step] ^= bit
            else:
                left.append(place)
    return left


@cache
def simple_codes() -> bytes:
    """Return for each of the 256 neighbourhoods whether flipping its centre leaves the topology as it is.

    With 4-connected interior and 8-connected border that is so when Yokoi's connectivity number is 1: the sum over the
    four direct neighbours of x_k - x_k x_{k+1} x_{k+2} (Yokoi et al. 1975).
    """
    x = np.arange(256)[:, None] >> np.arange(8) & 1
    direct = np.arange(1, 8, 2)
    number = (x[:, direct] * (1 - x[:, (direct + 1) % 8] * x[:, (direct + 2) % 8])).sum(1)
    return (number == 1).astype(np.uint8).tobytes()


def _classify(warped: NDArray[np.bool_], left: NDArray[np.intp]) -> tuple[int, int]:
    """Return splits and mergers among the places `left` of the rimmed, warped truth."""
    components, _ = label_components(warped)
    components[[0, -1], :] = components[:, [0, -1]] = -1  # outside the slice there is no neighbour
    flat, interior = components.ravel(), warped.ravel()[left]
    steps = np.array([down * warped.shape[1] + right for down, right in _AROUND])
    around = np.sort(flat[left + steps[:, None]], axis=0)
    kinds = (around[0] >= 0) + ((np.diff(around, axis=0) != 0) & (around[1:] >= 0)).sum(0)
    splits = int(((kinds >= 3) & interior).sum())
    splits += sum(_splits_its_window(warped, place) for place in left[(kinds == 2) & interior])
    return splits, int(((kinds >= 3) & ~interior).sum())


def _splits_its_window(warped: NDArray[np.bool_], place: Any) -> bool:
    """Tell whether taking the pixel away leaves its neighbours in several pieces within the window round it."""
    row, column = divmod(int(place), warped.shape[1])
    height, width = warped.shape[0] - 2, warped.shape[1] - 2
    reach = max(height, width) if height < _RADIUS or width < _RADIUS else _RADIUS
    top, left = max(row - reach, 0), max(column - reach, 0)
    window = warped[top : row + reach + 1, left : column + reach + 1].copy()
    row, column = row - top, column - left
    window[row, column] = False
    components, _ = label_components(window)
    return len({int(components[row + down, column + right]) for down, right in _AROUND}) > 2


_Counts = NDArray[np.float64]
_DENSE = 1 << 22  # the largest table of pairs that is counted directly; above it the pairs are sorted
_NO_ENTROPY = 1e-12


@dataclass(frozen=True, slots=True)
class Objects:
    """The pixels of the true objects of one slice.

    Attributes:
        places: [P] flat places of the pixels in their slice.
        ids: [P] int64 object of each pixel, from 0.
        sizes: [I] pixels of each object.
    """

    places: NDArray[np.intp]
    ids: NDArray[np.int64]
    sizes: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one slice contributes.

    Attributes:
        pairs: [3] float64: pairs of pixels that are together in both (true positives), only in the prediction (false
            positives) and only in the truth (false negatives); NaN where the truth has no object.
        information: the information F-score; 0 where one of the two has fewer than two objects.
    """

    pairs: _Counts
    information: float


def find_objects(labels: NDArray[np.int32]) -> Objects:
    """Gather the pixels of a [H, W] image of object ids from 1 without gaps, 0 being background."""
    places = np.flatnonzero(labels)
    ids = labels.ravel()[places].astype(np.int64) - 1
    return Objects(places, ids, np.bincount(ids))


def compare(truth: Objects, predicted: NDArray[np.int32]) -> Agreement:
    """Compare a prediction [H, W], object ids from 1, 0 for none, with the truth.

    With c[i,j] the pixels of true object i and predicted object j, j = 0 for none, n0 = sum_i c[i,0]:
    together in both = sum_{i, j>=1} c[i,j]^2 + n0, together in the prediction = sum_{j>=1} (sum_i c[i,j])^2 + n0,
    together in the truth = sum_i (sum_j c[i,j])^2. The information score is 2 I / (H(truth) + H(prediction)).

    Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics.
    """
    total = truth.ids.size
    if total == 0:
        return Agreement(np.full(3, np.nan), 0.0)
    joint, columns, alone = _count_overlaps(truth, predicted.ravel()[truth.places])
    both = _squares(joint) + alone
    pairs = np.array([both, _squares(columns) + alone - both, _squares(truth.sizes) - both], np.float64)
    singles = alone / total * np.log(total)
    true, found = _entropy(truth.sizes, total), _entropy(columns, total) + singles
    if true <= _NO_ENTROPY or found <= _NO_ENTROPY:
        return Agreement(pairs, 0.0)
    return Agreement(pairs, 2 * (true + found - (_entropy(joint, total) + singles)) / (true + found))


def f_scores(counts: _Counts) -> tuple[_Counts, _Counts, _Counts]:
    """Return precision, recall and F from [..., 3] counts of true positives, false positives and false negatives.

    Without false positives precision is 1, without false negatives recall is 1; F = 2 P R / (P + R), 0 where that is
    no number.
    """
    hits, false, missed = np.moveaxis(counts, -1, 0)
    precision = np.divide(hits, hits + false, out=np.ones_like(hits), where=false != 0)
    recall = np.divide(hits, hits + missed, out=np.ones_like(hits), where=missed != 0)
    total = precision + recall
    return precision, recall, np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def _count_overlaps(truth: Objects, found: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Return the non-zero c[i,j] with j >= 1 in any order, their sums over i, and n0."""
    width = int(found.max()) + 1
    cells = truth.ids * width + found
    if truth.sizes.size * width <= _DENSE:
        table = np.bincount(cells, minlength=truth.sizes.size * width).reshape(-1, width)
        columns, joint = table.sum(0), table[:, 1:]
        return joint[joint > 0], columns[1:], int(columns[0])
    kinds, counts = np.unique(cells, return_counts=True)
    columns = np.bincount(found)
    return counts[kinds % width > 0], columns[1:], int(columns[0])


def _squares(counts: NDArray[Any]) -> int:
    return int(np.square(counts, dtype=np.int64).sum())


def _entropy(counts: NDArray[np.intp], total: int) -> float:
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum())
