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
class Overlaps:
    """The overlapping pairs of one image, by true and then by predicted object.

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

    @classmethod
    def of(cls, true: ObjectMap, found: ObjectMap) -> "Overlaps":
        """Find the pairs; those of different classes are left out.

        Raises:
            DataError: the images are not of one size.
        """
        if true.ids.shape != found.ids.shape:
            raise DataError(f"objects in {found.ids.shape} pixels and true ones in {true.ids.shape}; give one size")
        both = (true.ids > 0) & (found.ids > 0)
        width = max(1, len(found))
        codes = (true.ids[both].astype(np.int64) - 1) * width + found.ids[both] - 1
        codes, shared = np.unique(codes, return_counts=True)
        rows, columns = np.divmod(codes, width)
        alike = true.classes[rows] == found.classes[columns]
        return cls(rows[alike], columns[alike], shared[alike], true.sizes(), found.sizes())

    def without(self, dropped: NDArray[np.bool_]) -> "Overlaps":
        """Return what is left without some predicted objects; their places stay, with no pixels."""
        left = ~dropped[self.found]
        sizes = np.where(dropped, 0, self.found_sizes)
        return Overlaps(self.true[left], self.found[left], self.shared[left], self.true_sizes, sizes)

    @property
    def joined(self) -> NDArray[np.int64]:
        """[P] pixels of either."""
        return self.true_sizes[self.true] + self.found_sizes[self.found] - self.shared

    @property
    def predicted(self) -> int:
        """How many predicted objects there are."""
        return int((self.found_sizes > 0).sum())

    def matched(self) -> NDArray[np.int64]:
        """Return [T] the pairs whose IoU is above each of `TWENTIETHS`."""
        return (20 * self.shared > TWENTIETHS[:, None] * self.joined).sum(axis=1).astype(np.int64)

    def count(self) -> ObjectCounts:
        """Count what becomes of the objects."""
        joined = self.joined
        above_half = 2 * self.shared > joined
        shared, union = self._aggregated(joined)
        return ObjectCounts(
            true=len(self.true_sizes),
            predicted=self.predicted,
            matched=self.matched(),
            iou_sum=float((self.shared[above_half] / joined[above_half]).sum()),
            shared=shared,
            joined=union,
            split=_holders(self.true, 2 * self.shared > self.found_sizes[self.found]),
            merged=_holders(self.found, 2 * self.shared > self.true_sizes[self.true]),
        )

    def _aggregated(self, joined: NDArray[np.int64]) -> tuple[int, int]:
        """Return AJI's two sums: over every true object and its best predicted one, and of what is left alone."""
        order = np.lexsort((self.found, -self.shared / joined, self.true))
        partnered, place = np.unique(self.true[order], return_index=True)
        best = order[place]
        alone, unused = np.ones(len(self.true_sizes), bool), np.ones(len(self.found_sizes), bool)
        alone[partnered] = False
        unused[self.found[best]] = False
        rest = self.true_sizes[alone].sum() + self.found_sizes[unused].sum()
        return int(self.shared[best].sum()), int(joined[best].sum() + rest)


def added(counts: Iterable[ObjectCounts]) -> ObjectCounts:
    """Add up the counts of at least one image."""
    every = list(counts)
    names = ObjectCounts.__dataclass_fields__
    sums: dict[str, Any] = {name: sum(getattr(one, name) for one in every) for name in names}
    return ObjectCounts(**sums)


def _holders(holder: NDArray[np.int64], held: NDArray[np.bool_]) -> int:
    """Return how many objects hold two or more others."""
    return int((np.bincount(holder[held]) >= 2).sum())
