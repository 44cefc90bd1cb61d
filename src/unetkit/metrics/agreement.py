"""How far two divisions of the same pixels into objects agree: the Rand and the information score of the challenge.

Only the truth's objects count: pixels of its background are dropped. A pixel of an object that the prediction gives to
no object (0) counts as an object of its own.

Assumes ids without gaps. Does not know where ids come from, thresholds or the pooling over slices.

Legend of shapes: P pixels of true objects, I true objects, J predicted objects, ... any shape.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """Compare a prediction with the truth.

    With c[i,j] the pixels of true object i and predicted object j, j = 0 for none, n0 = sum_i c[i,0]:
    together in both = sum_{i, j>=1} c[i,j]^2 + n0, together in the prediction = sum_{j>=1} (sum_i c[i,j])^2 + n0,
    together in the truth = sum_i (sum_j c[i,j])^2. The information score is 2 I / (H(truth) + H(prediction)).

    Args:
        truth: the true objects.
        predicted: [H, W] object ids from 1, 0 for none.

    Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics.
    """
    total = truth.ids.size
    if total == 0:
        return Agreement(np.full(3, np.nan), 0.0)
    joint, columns, alone = _count_overlaps(truth, predicted.ravel()[truth.places])
    both = _squares(joint) + alone
    pairs = np.array([both, _squares(columns) + alone - both, _squares(truth.sizes) - both], np.float64)
    singles = alone / total * np.log(total)
    return Agreement(
        pairs,
        _information(
            _entropy(truth.sizes, total), _entropy(columns, total) + singles, _entropy(joint, total) + singles
        ),
    )


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


def _information(true: float, predicted: float, joint: float) -> float:
    if true <= _NO_ENTROPY or predicted <= _NO_ENTROPY:
        return 0.0
    return 2 * (true + predicted - joint) / (true + predicted)
