"""Scores of objects: which predicted object is which true one, how many were found, how well each is outlined.

Objects of one image do not overlap each other, so at an IoU above one half each has at most one partner and nothing is
left to choose. All comparisons are of integers. A pair of different classes is no pair.

An image without true objects scores 0 where any were predicted, and has no score where none were: it is left out of
means over images. A score that has no value at all (SQ without a pair) is left out likewise. Does not know how objects
were made of probabilities.

Where some pixels do not count, objects are cut to those that do, and objects of which less than half would be left are
no objects; nor are those of the other side that lie mostly in one of these: a truth that ends at the edge of a region
and a prediction that goes on beyond it are not held against each other.

Legend of shapes: T thresholds, P overlapping pairs, N objects.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics.definitions import Definition, Metrics, Pooled, Prediction, per_image
from unetkit.metrics.surface import diagonal
from unetkit.objects import ObjectMap
from unetkit.objects.find import outermost

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
        area: pixels of all true and of all predicted objects.
        dice: of every true, and of every predicted object, its Dice with its partner times its pixels, added up.
        hausdorff: likewise its Hausdorff distance to its partner; NaN where that was not measured.
    """

    true: int
    predicted: int
    matched: NDArray[np.int64]
    iou_sum: float
    shared: int
    joined: int
    split: int
    merged: int
    area: NDArray[np.int64]
    dice: NDArray[np.float64]
    hausdorff: NDArray[np.float64]

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

    def partners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pair with most pixels in common of every true object that has one, and of every predicted one."""
        first = np.lexsort((self.found, -self.shared, self.true))
        second = np.lexsort((self.true, -self.shared, self.found))
        each = ((order, holder[order]) for order, holder in ((first, self.true), (second, self.found)))
        of_true, of_found = (order[np.unique(holder, return_index=True)[1]] for order, holder in each)
        return of_true, of_found

    def count(self, hausdorff: tuple[float, float] = (math.nan, math.nan)) -> ObjectCounts:
        """Count what becomes of the objects; `hausdorff` is added as `hausdorff_sums` gives it."""
        joined = self.joined
        dice = 2 * self.shared / np.maximum(self.true_sizes[self.true] + self.found_sizes[self.found], 1)
        weighted = [
            float((dice[best] * sizes[holder[best]]).sum())
            for best, holder, sizes in zip(
                self.partners(), (self.true, self.found), (self.true_sizes, self.found_sizes), strict=True
            )
        ]
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
            true=int((self.true_sizes > 0).sum()),
            predicted=self.predicted,
            matched=self.matched(),
            iou_sum=float((self.shared[above_half] / joined[above_half]).sum()),
            shared=int(self.shared[best].sum()),
            joined=int(joined[best].sum() + rest),
            split=_holders(self.true, 2 * self.shared > self.found_sizes[self.found]),
            merged=_holders(self.found, 2 * self.shared > self.true_sizes[self.true]),
            area=np.array([self.true_sizes.sum(), self.found_sizes.sum()]),
            dice=np.array(weighted),
            hausdorff=np.array(hausdorff),
        )


def counting(true: ObjectMap, found: ObjectMap, valid: NDArray[np.bool_]) -> tuple[ObjectMap, ObjectMap]:
    """Cut objects to the pixels [H, W] that count; those that are left out keep their places, with no pixels."""
    maps, sides = (true, found), list[NDArray[np.int32]]()
    edge = [2 * one.sizes(valid) < one.sizes() for one in maps]
    for side, (one, other) in enumerate((maps, maps[::-1])):
        inside = np.where(valid, one.ids, 0)
        there = np.append(False, edge[1 - side])[other.ids]
        within = np.bincount(inside[there], minlength=len(one) + 1)[1:]
        out = edge[side] | (2 * within > one.sizes(valid))
        sides.append(np.where(np.append(False, out)[inside], 0, inside))
    return replace(true, ids=sides[0]), replace(found, ids=sides[1])


def hausdorff_sums(true: ObjectMap, found: ObjectMap, overlaps: Overlaps) -> tuple[float, float]:
    """Return the Hausdorff distance in pixels of every object to its partner times its pixels, added up on each side.

    The partner is the object of the class with most pixels in common (the first of equals), or, without any, the one
    with the smallest distance. Objects are sets of pixels. Without any object of the class on the other side the
    distance is that of the image's farthest two pixels.

    Returns:
        The sums over true and over predicted objects.
    """
    shapes = _Shapes.of(true), _Shapes.of(found)
    held, sums = (overlaps.true, overlaps.found), [0.0, 0.0]

    @cache
    def distance(one: int, other: int) -> float:
        return max(shapes[0].reach(one, shapes[1], other), shapes[1].reach(other, shapes[0], one))

    for side, best in enumerate(overlaps.partners()):
        mine, others = shapes[side], shapes[1 - side]
        partner = dict(zip(held[side][best].tolist(), held[1 - side][best].tolist(), strict=True))
        for one in np.flatnonzero(mine.sizes).tolist():
            if one in partner:
                candidates, nearest = [partner[one]], math.inf
            else:
                alike = (others.classes == mine.classes[one]) & (others.sizes > 0)
                candidates = np.flatnonzero(alike)
                nearest = math.inf if len(candidates) else diagonal(true.ids.shape)
            # No two sets are nearer than the sides of their boxes: the nearest first, until none can be nearer.
            least = np.abs(others.boxes[candidates] - mine.boxes[one]).max(1)
            for place in np.argsort(least, kind="stable"):
                if least[place] < nearest:
                    pair = (one, int(candidates[place])) if side == 0 else (int(candidates[place]), one)
                    nearest = min(nearest, distance(*pair))
            sums[side] += float(mine.sizes[one] * nearest)
    return sums[0], sums[1]


@dataclass(frozen=True, slots=True)
class _Shapes:
    """The objects of an image as sets of pixels.

    Attributes:
        ids: [H, W] of the objects.
        classes: [N] of each.
        sizes: [N] pixels of each.
        boxes: [N, 4] first and last row, first and last column.
        pixels: of each the places [., 2] of its pixels.
        edges: of each the places of its outermost pixels, among which the nearest to any point outside is.
    """

    ids: NDArray[np.int32]
    classes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.int64]
    pixels: list[NDArray[np.int64]]
    edges: list[NDArray[np.int64]]

    @classmethod
    def of(cls, objects: ObjectMap) -> "_Shapes":
        border = np.where(outermost(objects.ids), objects.ids, 0)
        pixels, edges = (_places(ids, len(objects)) for ids in (objects.ids, border))
        boxes = [[*one.min(0), *one.max(0)] if len(one) else [0] * 4 for one in pixels]
        sizes = objects.sizes()
        return cls(objects.ids, objects.classes, sizes, np.array(boxes).reshape(-1, 4), pixels, edges)

    def reach(self, number: int, others: "_Shapes", other: int) -> float:
        """Return how far the farthest pixel of an object is from another image's object."""
        places = self.pixels[number]
        outside = places[others.ids[places[:, 0], places[:, 1]] != other + 1]
        if not len(outside):
            return 0.0
        from scipy.spatial import KDTree  # slow to import, and training imports the metrics

        nearest: Any = KDTree(others.edges[other])  # its query is untyped
        return float(nearest.query(outside)[0].max())


def _places(ids: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    """Return the places [., 2] of the pixels of each object."""
    flat = np.flatnonzero(ids)
    order = flat[np.argsort(ids.ravel()[flat], kind="stable")]
    ends = np.bincount(ids.ravel(), minlength=count + 1)[1:].cumsum()[:-1]
    return np.split(np.stack(np.divmod(order, ids.shape[1]), 1), ends) if count else []


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
    pairs, sides = int(counts.matched[0]), counts.area > 0
    return {
        "mean_precision": float(precisions.mean()),
        "ap_50": float(precisions[0]),
        "ap_75": float(precisions[TWENTIETHS == 15][0]),
        "f1_50": 2 * pairs / together,
        "pq": 2 * counts.iou_sum / together,
        **({"sq": counts.iou_sum / pairs} if pairs else {}),
        "rq": 2 * pairs / together,
        "aji": counts.shared / counts.joined,
        **{
            f"object_{name}": float((sums[sides] / counts.area[sides]).mean())
            for name, sums in (("dice", counts.dice), ("hausdorff", counts.hausdorff))
            if not np.isnan(sums).any()
        },
    }


def mean_precision(overlaps: Overlaps) -> float:
    """Return an image's `mean_precision` alone, without counting the rest; NaN where there are no objects."""
    together = int((overlaps.true_sizes > 0).sum()) + overlaps.predicted
    return float(_precisions(overlaps.matched(), together).mean()) if together else math.nan


def pool_objects(images: Sequence[ObjectCounts]) -> dict[str, float]:
    """Return the scores of a set: from added counts, `_per_image` next to them, means where that is the definition.

    No images give no scores.
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
    true, found = one.true_objects(), one.found_objects()
    if one.valid is not None:
        true, found = counting(true, found, one.valid)
    overlaps = Overlaps.of(true, found)
    return overlaps.count(hausdorff_sums(true, found, overlaps))


def of_set(images: Sequence[ObjectCounts], classes: Sequence[str]) -> Pooled:
    """Pool images."""
    return Pooled(pool_objects(images), [object_scores(image) for image in images])


def _precisions(matched: NDArray[np.int64], together: int) -> NDArray[np.float64]:
    """Return TP / (TP + FP + FN) at every threshold; `together` is 2 TP + FP + FN."""
    return matched / (together - matched)


_CLASSES = (
    "objects of all classes together, not background and 'border'; objects of different classes are no pair; outside a "
    "region of interest there are none: objects are cut to it, and those that lie mostly outside are left out"
)
_EMPTY = "no true object: 0 where any was predicted, left out where none was"
_MADE = (
    "probabilities become objects as the section `objects` of the configuration says; how its numbers were chosen is "
    "said in the notes"
)
_SUMMED = "TP, FP and FN summed over all images of the set"
_MEAN = "each image by itself, then the mean over images"
_TP = "TP pairs with IoU > t, FP predicted and FN true objects without a pair"
_DSB = "Kaggle 2018 Data Science Bowl, evaluation page; Caicedo et al. 2019, Nature Methods 16"
_GLAS = "Sirinukunwattana et al. 2017, Medical Image Analysis 35, the gland challenge"
_AREAS = "objects of all images of the set together, weighted by their pixels"
_PQ = "Kirillov et al. 2019, CVPR, Panoptic segmentation"


def _card(name: str, meaning: str, formula: str, source: str, *, averaging: str = _SUMMED) -> Definition:
    """Return the card of a score between 0 and 1, the higher the better."""
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
    _card(
        "object_dice",
        "overlap of objects and their partners, larger ones weigh more",
        "(sum_i g_i D(G_i, S(G_i)) + sum_j s_j D(S_j, G(S_j))) / 2, G_i true and S_j predicted objects, D Dice, g_i "
        "and s_j shares of the pixels of all G and of all S, S(G_i) and G(S_j) the object with most pixels in common "
        "(the first of equals); D is 0 without any",
        _GLAS,
        averaging=_AREAS,
    ),
    replace(
        _card(
            "object_hausdorff",
            "distance of objects and their partners in pixels, larger ones weigh more",
            "(sum_i g_i H(G_i, S(G_i)) + sum_j s_j H(S_j, G(S_j))) / 2, as object_dice, H the Hausdorff distance of "
            "two sets of pixels, S(G_i) and G(S_j) where nothing overlaps the object with the smallest H",
            _GLAS,
            averaging=_AREAS,
        ),
        better="lower",
        high=None,
        absent="objects on one side alone: the distance of the image's farthest two pixels; on neither: left out",
    ),
)

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for base in _CARDS
    for card in ((base,) if base.name in AVERAGED else (base, per_image(base, _MEAN)))
}
