"""Which predicted object is which true one: the overlaps of two images of objects, and all that is counted of them.

Objects of one image do not overlap each other, so at an IoU above one half each has at most one partner and nothing is
left to choose. All comparisons are of integers. A pair of different classes is no pair.

Legend of shapes: T thresholds, P overlapping pairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.objects import ObjectMap

TWENTIETHS = np.arange(10, 20)
"""The thresholds of IoU, .5 to .95, in twentieths."""


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """What is counted of the objects of an image; of several images it adds up.

    Attributes:
        true: true objects.
        predicted: predicted objects.
        matched: [T] pairs whose IoU is above each of `TWENTIETHS`.
        iou_sum: the IoUs of the pairs above one half, added up.
        shared: AJI's pixels in common.
        joined: AJI's pixels of either.
        split: true objects that hold more than half of each of two or more predicted ones.
        merged: predicted objects that hold more than half of each of two or more true ones.
    """

    true: int
    predicted: int
    matched: NDArray[np.int64]
    iou_sum: float
    shared: int
    joined: int
    split: int
    merged: int

    def as_json(self) -> dict[str, int]:
        """Return the numbers of objects by plain names."""
        return {
            "true": self.true,
            "predicted": self.predicted,
            "matched_50": int(self.matched[0]),
            "split": self.split,
            "merged": self.merged,
        }


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The overlapping pairs, by true and then by predicted object.

    Attributes:
        true: [P] place of the true object, from 0.
        found: [P] place of the predicted object, from 0.
        shared: [P] pixels in common.
        true_sizes: pixels of every true object.
        found_sizes: pixels of every predicted object.
    """

    true: NDArray[np.int64]
    found: NDArray[np.int64]
    shared: NDArray[np.int64]
    true_sizes: NDArray[np.int64]
    found_sizes: NDArray[np.int64]

    @property
    def joined(self) -> NDArray[np.int64]:
        """[P] pixels of either."""
        return self.true_sizes[self.true] + self.found_sizes[self.found] - self.shared


def count_objects(true: ObjectMap, found: ObjectMap) -> ObjectCounts:
    """Count what becomes of the objects of one image.

    Raises:
        DataError: the images are not of one size.
    """
    if true.ids.shape != found.ids.shape:
        raise DataError(
            f"objects of {found.ids.shape} pixels against true ones of {true.ids.shape}; give both at one size"
        )
    pairs = _pairs(true, found)
    joined = pairs.joined
    matched = (20 * pairs.shared > TWENTIETHS[:, None] * joined).sum(axis=1)
    above_half = 2 * pairs.shared > joined
    shared, union = _aggregated(pairs)
    return ObjectCounts(
        true=len(true),
        predicted=len(found),
        matched=matched.astype(np.int64),
        iou_sum=float((pairs.shared[above_half] / joined[above_half]).sum()),
        shared=shared,
        joined=union,
        split=_holders(pairs.true, 2 * pairs.shared > pairs.found_sizes[pairs.found]),
        merged=_holders(pairs.found, 2 * pairs.shared > pairs.true_sizes[pairs.true]),
    )


def added(counts: Iterable[ObjectCounts]) -> ObjectCounts:
    """Add up the counts of at least one image."""
    every = list(counts)
    total: dict[str, Any] = {
        name: sum(getattr(one, name) for one in every) for name in ObjectCounts.__dataclass_fields__
    }
    return ObjectCounts(**total)


def _pairs(true: ObjectMap, found: ObjectMap) -> _Pairs:
    both = (true.ids > 0) & (found.ids > 0)
    codes = (true.ids[both].astype(np.int64) - 1) * max(1, len(found)) + found.ids[both] - 1
    codes, shared = np.unique(codes, return_counts=True)
    rows, columns = np.divmod(codes, max(1, len(found)))
    alike = true.classes[rows] == found.classes[columns]
    return _Pairs(rows[alike], columns[alike], shared[alike], _sizes(true), _sizes(found))


def _sizes(objects: ObjectMap) -> NDArray[np.int64]:
    return np.bincount(objects.ids.ravel(), minlength=len(objects) + 1)[1:]


def _aggregated(pairs: _Pairs) -> tuple[int, int]:
    """Return the two sums of the aggregated Jaccard index: every true object with its best, and what is left alone."""
    joined = pairs.joined
    order = np.lexsort((pairs.found, -pairs.shared / joined, pairs.true))
    partnered, place = np.unique(pairs.true[order], return_index=True)
    best = order[place]
    alone = np.setdiff1d(np.arange(len(pairs.true_sizes)), partnered)
    unused = np.setdiff1d(np.arange(len(pairs.found_sizes)), pairs.found[best])
    rest = pairs.true_sizes[alone].sum() + pairs.found_sizes[unused].sum()
    return int(pairs.shared[best].sum()), int(joined[best].sum() + rest)


def _holders(holder: NDArray[np.int64], held: NDArray[np.bool_]) -> int:
    """Return how many objects hold two or more others."""
    return int((np.bincount(holder[held]) >= 2).sum())
