"""One class against the rest: how well probabilities rank its pixels (ROC, precision and recall), and the mask's share.

Two classes have one such question, that of the second; more have one for every class but the background, and the scores
are their means. What is kept of an image does not grow with it: its pixels are counted by their probability in bins of
a relative width of 0.1 % or less, towards 0 and towards 1 alike, so that the pixels of a confident network are told
apart. Pixels of one bin count as ties. Against the exact curves over all pixels, areas differ by less than 0.0002 (as a
rule by less than 0.00001); where probabilities have few different values, as of 8 bits, by nothing but rounding.

Assumes probabilities of float32. Does not know networks or files.

Legend of shapes: K classes, P pixels, B bins that hold any pixel, in rising order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.definitions import (
    Definition,
    Metrics,
    Pooled,
    Prediction,
    means_of_classes,
    means_of_each,
    of_one_class,
    per_image,
)
from unetkit.metrics.overlap import DECIDED, class_labels, count_confusion

_SHIFT = 13  # bits of a float32 that are cut off: 10 bits of its fraction are left
_BASE = (int(np.float32(2.0**-24).view(np.uint32)) >> _SHIFT) - 1  # what is nearer to 0 or 1 is as good as 0 or 1
_HALF = (int(np.float32(0.5).view(np.uint32)) >> _SHIFT) - _BASE
BINS = 2 * _HALF + 1
_POINTS = 200  # of a curve that is drawn or written


@dataclass(frozen=True, slots=True)
class Ranking:
    """Pixels by the probability that they are of a class; those of several images add up.

    Attributes:
        bins: [B] the numbers of the bins, rising with the probability.
        values: [B] the probability of all pixels in the bin; NaN where they have several.
        others: [B] pixels in each that are not of the class.
        own: [B] pixels in each that are of the class.
    """

    bins: NDArray[np.uint16]
    values: NDArray[np.float32]
    others: NDArray[Any]
    own: NDArray[Any]

    @classmethod
    def of(cls, probability: NDArray[Any], own: NDArray[np.bool_]) -> "Ranking":
        """Count pixels by probability; both arrays are of one shape."""
        p = probability.astype(np.float32, copy=False).ravel().clip(0, 1)
        rank = np.maximum((np.minimum(p, 1 - p).view(np.uint32) >> _SHIFT).astype(np.int64) - _BASE, 0)
        places = np.where(p > 0.5, BINS - 1 - rank, rank)
        counts = np.bincount(2 * places + own.ravel(), minlength=2 * BINS).astype(np.uint32).reshape(BINS, 2)
        values = np.zeros(BINS, np.float32)
        values[places] = p  # of several the last
        values[places[values[places] != p]] = np.nan
        return cls._filled(counts, values)

    @classmethod
    def sum(cls, some: Sequence["Ranking"]) -> "Ranking":
        """Put images together."""
        counts, values = np.zeros((BINS, 2), np.int64), np.full(BINS, -1, np.float32)
        for one in some:
            known = values[one.bins]
            values[one.bins] = np.where((known == -1) | (known == one.values), one.values, np.nan)
            counts[one.bins] += np.stack([one.others, one.own], 1)
        return cls._filled(counts, values)

    @classmethod
    def _filled(cls, counts: NDArray[Any], values: NDArray[np.float32]) -> "Ranking":
        bins = np.flatnonzero(counts.any(1))
        others, own = counts[bins].T
        return cls(bins.astype(np.uint16), values[bins], others.copy(), own.copy())

    def scores(self) -> dict[str, float]:
        """Return the areas under both curves; what has no value is left out."""
        positives, negatives = int(self.own.sum()), int(self.others.sum())
        scores: dict[str, float] = {}
        if positives and negatives:
            below = self.others.cumsum() - self.others / 2
            scores["roc_auc"] = float((self.own / positives * (below / negatives)).sum())
        if positives:
            scores["average_precision"] = float((self.own[::-1] / positives * self._precisions()).sum())
        return scores

    def _precisions(self) -> NDArray[np.float64]:
        """Return the mean precision [B] at the class's pixels in each bin, the highest first.

        Ties are found together, at the precision behind them. Where a bin holds several probabilities, its pixels are
        taken to come in random order: with n of c pixels of the class behind a of b, the mean of (a + n x) / (b + c x).
        """
        own, others = (counts[::-1].astype(np.float64) for counts in (self.own, self.others))
        pixels, behind = own + others, own.cumsum() / (own + others).cumsum()
        before, found = own.cumsum() - own + 0.5, (own + others).cumsum() - pixels + 0.5  # a pixel counts itself
        share = own / pixels
        mixed = share + (before - found * share) / pixels * np.log1p(pixels / found)
        return np.where(np.isnan(self.values[::-1]), mixed, behind)

    def curve(self) -> "Curve":
        """Return the points of both curves, from the highest threshold to the lowest."""
        own, others = self.own[::-1].cumsum(), self.others[::-1].cumsum()
        recall, false = own / max(1, own[-1]), others / max(1, others[-1])
        way: NDArray[np.float64] = recall + false  # points at even steps along the curve
        kept = np.unique(np.searchsorted(way, np.linspace(0, float(way[-1]), _POINTS + 1)).clip(0, len(way) - 1))
        near = (np.minimum(self.bins, BINS - 1 - self.bins.astype(np.int64)) + _BASE).astype(np.uint32) << _SHIFT
        edges = near.view(np.float32).astype(np.float64)
        thresholds = np.where(self.bins > _HALF, 1 - edges, edges)[::-1]
        return Curve(thresholds[kept], false[kept], recall[kept], (own / (own + others))[kept], self.scores())


@dataclass(frozen=True, slots=True)
class Curve:
    """The ROC and the precision-recall curve of a class, at thresholds that fall.

    Attributes:
        thresholds: pixels of about this probability and above are found.
        false_positive_rate: the share of the other classes' pixels that are found.
        recall: the share of the class's pixels that are found, the sensitivity.
        precision: the share of the found pixels that are of the class.
        areas: `roc_auc` and `average_precision`, where they have a value.
        decided: the mask's own (false positive rate, recall, precision); NaN where it has none.
    """

    thresholds: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    areas: Mapping[str, float]
    decided: tuple[float, float, float] = (np.nan, np.nan, np.nan)

    def as_dict(self) -> dict[str, list[float]]:
        """Return the points as plain lists."""
        names = ("thresholds", "false_positive_rate", "recall", "precision")
        return {name: np.round(getattr(self, name), 7).tolist() for name in names}


@dataclass(frozen=True, slots=True)
class ImageBinary:
    """What one image contributes.

    Attributes:
        confusion: [K, K] int64 pixel counts of the mask: row = true class, column = predicted class.
        rankings: of every class but the background.
    """

    confusion: NDArray[np.int64]
    rankings: tuple[Ranking, ...]


def of_image(one: Prediction, metrics: Metrics) -> ImageBinary:
    """Count the pixels of one image by class, decision and probability."""
    one = one.counted()
    rankings = tuple(Ranking.of(one.probabilities[k], one.labels == k) for k in range(1, len(one.classes)))
    return ImageBinary(count_confusion(one.mask, one.labels, len(one.classes)), rankings)


def of_set(images: Sequence[ImageBinary], classes: Sequence[str]) -> Pooled:
    """Pool images: scores of all pixels together, and `_per_image` the means over images."""
    rankings = [Ranking.sum(of_class) for of_class in zip(*(image.rankings for image in images), strict=True)]
    whole = ImageBinary(np.sum([image.confusion for image in images], 0), tuple(rankings))
    each = [binary_scores(image, classes) for image in images]
    scores = binary_scores(whole, classes)
    scores |= {f"{name}_per_image": value for name, value in means_of_each(each).items()}
    curves = dict[str, Curve]()
    for k, ranking in enumerate(rankings, 1):
        counts = _rates(whole.confusion, k)
        false = 1 - counts.get("specificity", np.nan)
        decided = (false, counts.get("sensitivity", np.nan), counts.get("precision", np.nan))
        if ranking.own.any():
            curves[classes[k]] = replace(ranking.curve(), decided=decided)
    return Pooled(scores, each, curves)


def binary_scores(counts: ImageBinary, classes: Sequence[str]) -> dict[str, float]:
    """Return every score that has a value: the means over the classes but background, and of several each one's."""
    labels, of_class = class_labels(classes), dict[str, dict[str, float]]()
    for k, ranking in enumerate(counts.rankings, 1):
        of_class[labels[k]] = ranking.scores() | _rates(counts.confusion, k)
    return means_of_classes(of_class)


def _rates(confusion: NDArray[np.int64], k: int) -> dict[str, float]:
    """Return what follows from the mask's pixels of a class and of the rest."""
    hits, true, found = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
    pixels, rest = int(confusion.sum()), int(confusion.sum()) - true
    shares = {
        "f1_score": (2 * hits, true + found),
        "sensitivity": (hits, true),
        "specificity": (rest - (found - hits), rest),
        "precision": (hits, found),
        "accuracy": (hits + rest - (found - hits), pixels),
    }
    return {name: part / whole for name, (part, whole) in shares.items() if whole}


_RANKED = "none: all thresholds are gone through; probabilities in bins of a relative width of 0.1 % or less"
_SKLEARN = "as scikit-learn"
_ROWS = (
    (
        "roc_auc",
        "chance that a pixel of the class is ranked above another",
        "sum_b own_b (less_b + other_b / 2) / (P N), own_b and other_b the pixels of the class and of the rest in bin "
        "b of the class's probability, less_b the rest's pixels in lower bins, P pixels of the class, N of the rest",
        "not in the truth, or all of it: left out",
        _RANKED,
        f"Hanley and McNeil 1982; {_SKLEARN} roc_auc_score, whose value for all pixels is within 0.0002",
    ),
    (
        "average_precision",
        "area under precision and recall",
        "sum_t (recall_t - recall_t') precision_t, thresholds t from the highest bin of the class's probability to the "
        "lowest, t' the one before",
        "not in the truth: left out",
        _RANKED,
        f"{_SKLEARN} average_precision_score, whose value for all pixels is within 0.0002",
    ),
    (
        "f1_score",
        "pixels of the class found, missed and false alike (Dice)",
        "2 TP / (2 TP + FP + FN), TP, FP, FN and TN pixels of the mask",
        "in neither truth nor mask: left out; in the mask alone: 0",
        DECIDED,
        _SKLEARN,
    ),
    (
        "sensitivity",
        "share of the class's pixels that are found (recall)",
        "TP / (TP + FN), TP, FP, FN and TN pixels of the mask",
        "not in the truth: left out",
        DECIDED,
        _SKLEARN,
    ),
    (
        "specificity",
        "share of the other pixels that are left out",
        "TN / (TN + FP), TP, FP, FN and TN pixels of the mask",
        "all of the truth: left out",
        DECIDED,
        _SKLEARN,
    ),
    (
        "precision",
        "share of the found pixels that are of the class",
        "TP / (TP + FP), TP, FP, FN and TN pixels of the mask",
        "not in the mask: left out",
        DECIDED,
        _SKLEARN,
    ),
    (
        "accuracy",
        "pixels that are rightly of the class or not",
        "(TP + TN) / (TP + TN + FP + FN), TP, FP, FN and TN pixels of the mask",
        "cannot be",
        DECIDED,
        _SKLEARN,
    ),
)


def _cards() -> dict[str, Definition]:
    """Return the cards: the mean of the classes and of images, and one for each of several classes."""
    cards: list[Definition] = []
    for name, meaning, formula, absent, threshold, source in _ROWS:
        card = Definition(
            name=name,
            meaning=meaning,
            formula=formula,
            better="higher",
            classes="each but the background (class 0) against all others, then the mean; of two classes the second",
            averaging="all pixels of the set together",
            absent=absent,
            threshold=threshold,
            source=source,
        )
        for base in (card, of_one_class(card)):
            cards += [base, per_image(base, "each image, then the mean over images")]
    return {card.name: card for card in cards}


DEFINITIONS = _cards()
