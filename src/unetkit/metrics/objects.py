"""Scores of objects: which predicted object is which true one, how many were found, how well each is outlined.

Objects of one image do not overlap each other, so at an IoU above one half each has at most one partner and nothing is
left to choose. All comparisons are of integers. A pair of different classes is no pair.

An image without true objects scores 0 where any were predicted, and has no score where none were: it is left out of
means over images. A score that has no value at all (SQ without a pair) is left out likewise. Does not know how objects
were made of probabilities.

Legend of shapes: T thresholds, P overlapping pairs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics.definitions import Definition
from unetkit.metrics.prediction import Metrics, Pooled, Prediction
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
        # AJI's two sums: over every true object and its best predicted one, and of what is left alone.
        order = np.lexsort((self.found, -self.shared / joined, self.true))
        partnered, place = np.unique(self.true[order], return_index=True)
        best = order[place]
        alone, unused = np.ones(len(self.true_sizes), bool), np.ones(len(self.found_sizes), bool)
        alone[partnered] = False
        unused[self.found[best]] = False
        rest = self.true_sizes[alone].sum() + self.found_sizes[unused].sum()
        return ObjectCounts(
            true=len(self.true_sizes),
            predicted=self.predicted,
            matched=self.matched(),
            iou_sum=float((self.shared[above_half] / joined[above_half]).sum()),
            shared=int(self.shared[best].sum()),
            joined=int(joined[best].sum() + rest),
            split=_holders(self.true, 2 * self.shared > self.found_sizes[self.found]),
            merged=_holders(self.found, 2 * self.shared > self.true_sizes[self.true]),
        )


def added(counts: Iterable[ObjectCounts]) -> ObjectCounts:
    """Add up the counts of at least one image."""
    every = list(counts)
    names = ObjectCounts.__dataclass_fields__
    sums: dict[str, Any] = {name: sum(getattr(one, name) for one in every) for name in names}
    return ObjectCounts(**sums)


def _holders(holder: NDArray[np.int64], held: NDArray[np.bool_]) -> int:
    """Return how many objects hold two or more others."""
    return int((np.bincount(holder[held]) >= 2).sum())


AVERAGED = ("mean_precision", "aji")
"""Scores of the set that are means over images, as their authors publish them; the others follow from added counts."""


def object_scores(counts: ObjectCounts) -> dict[str, float]:
    """Return every score that has a value by its name; of one image, or of a set's added counts."""
    together = counts.true + counts.predicted
    if together == 0:
        return {}
    precisions = _precisions(counts.matched, together)
    pairs = int(counts.matched[0])
    return {
        "mean_precision": float(precisions.mean()),
        "ap_50": float(precisions[0]),
        "ap_75": float(precisions[TWENTIETHS == 15][0]),
        "f1_50": 2 * pairs / together,
        "pq": 2 * counts.iou_sum / together,
        **({"sq": counts.iou_sum / pairs} if pairs else {}),
        "rq": 2 * pairs / together,
        "aji": counts.shared / counts.joined,
    }


def mean_precision(overlaps: Overlaps) -> float:
    """Return an image's `mean_precision` alone, without counting the rest; NaN where there are no objects."""
    together = len(overlaps.true_sizes) + overlaps.predicted
    return float(_precisions(overlaps.matched(), together).mean()) if together else math.nan


def pool_objects(images: Sequence[ObjectCounts]) -> dict[str, float]:
    """Return the scores of a set: from added counts, `_per_image` next to them, means where that is the definition.

    Args:
        images: the counts of each; none give no scores.
    """
    if not images:
        return {}
    each = [object_scores(image) for image in images]
    scores: dict[str, float] = {}
    for name, value in object_scores(added(images)).items():
        having = [image[name] for image in each if name in image]
        mean = sum(having) / len(having)
        scores |= {name: mean} if name in AVERAGED else {name: value, f"{name}_per_image": mean}
    return scores


def of_image(one: Prediction, metrics: Metrics) -> ObjectCounts:
    """Make the objects of one image, and count them against the true ones."""
    return Overlaps.of(one.true_objects(), one.found_objects()).count()


def of_set(images: Sequence[ObjectCounts], classes: Sequence[str]) -> Pooled:
    """Pool images."""
    return Pooled(pool_objects(images), [object_scores(image) for image in images])


def _precisions(matched: NDArray[np.int64], together: int) -> NDArray[np.float64]:
    """Return TP / (TP + FP + FN) at every threshold; `together` is 2 TP + FP + FN."""
    return matched / (together - matched)


_CLASSES = "objects of all classes together, not background and 'border'; objects of different classes are no pair"
_EMPTY = "no true object: 0 where any was predicted, left out where none was"
_MADE = (
    "probabilities become objects as the section `objects` of the configuration says; how its numbers were chosen is "
    "said in the notes"
)
_SUMMED = "TP, FP and FN summed over all images of the set"
_MEAN = "each image by itself, then the mean over images"
_TP = "TP pairs with IoU > t, FP predicted and FN true objects without a pair"
_DSB = "Kaggle 2018 Data Science Bowl, evaluation page; Caicedo et al. 2019, Nature Methods 16"
_PQ = "Kirillov et al. 2019, CVPR, Panoptic segmentation"


def _card(name: str, meaning: str, formula: str, source: str, *, averaging: str = _SUMMED) -> Definition:
    return Definition(
        name=name,
        meaning=meaning,
        formula=formula,
        better="higher",
        classes=_CLASSES,
        averaging=averaging,
        absent=_EMPTY,
        threshold=_MADE,
        source=source,
    )


_CARDS = (
    _card(
        "mean_precision",
        "objects found, pairs / (pairs + missed + false), IoU .5 to .95",
        f"mean over t of TP / (TP + FP + FN), t from .5 to .95 by steps of .05, {_TP}",
        _DSB,
        averaging=_MEAN,
    ),
    _card(
        "ap_50",
        "pairs / (pairs + missed + false) at IoU .5",
        f"TP / (TP + FP + FN) at t = .5, {_TP}",
        f"{_DSB}; not COCO's AP, which ranks by confidence",
    ),
    _card(
        "ap_75",
        "pairs / (pairs + missed + false) at IoU .75",
        f"TP / (TP + FP + FN) at t = .75, {_TP}",
        f"{_DSB}; not COCO's AP, which ranks by confidence",
    ),
    _card(
        "f1_50",
        "objects found at IoU .5, missed and false alike",
        f"2 TP / (2 TP + FP + FN) at t = .5, {_TP}",
        "Caicedo et al. 2019, Cytometry A 95",
    ),
    _card(
        "pq",
        "objects found at IoU .5, times how well outlined",
        f"sum of the pairs' IoU / (TP + FP/2 + FN/2) at t = .5, {_TP}",
        _PQ,
    ),
    _card("sq", "how well the found objects are outlined", f"mean IoU of the pairs at t = .5, {_TP}", _PQ),
    _card("rq", "objects found at IoU .5, as f1_50", f"TP / (TP + FP/2 + FN/2) at t = .5 (which is f1_50), {_TP}", _PQ),
    _card(
        "aji",
        "overlap of objects and their partners, common / union",
        "sum |G and S| / (sum |G or S| + unused |S|), sums over true objects G, S the predicted object with the "
        "highest IoU with G (the first of equals, whether used or not), none where nothing overlaps G",
        "Kumar et al. 2017, IEEE Trans. Med. Imaging 36, algorithm 1",
        averaging=_MEAN,
    ),
)

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for base in _CARDS
    for card in (
        (base,)
        if base.name in AVERAGED
        else (
            base,
            replace(base, name=f"{base.name}_per_image", meaning=f"{base.meaning}; mean of images", averaging=_MEAN),
        )
    )
}
