"""Overlap of prediction and truth: accuracy, IoU and Dice of decisions and of probabilities, image by image and pooled.

Assumes one probability a class and pixel that sum to one, and class indices as truth. Pixels that do not count are left
out before. Does not know networks or files.

A class that is neither in the truth nor in the prediction has no overlap to speak of: its score is left out, and the
means go over the classes that have one. A class that is predicted where there is none of it scores 0.

Legend of shapes: K classes, H height, W width, P pixels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics.definitions import (
    CLASS,
    Definition,
    Metrics,
    Pooled,
    Prediction,
    highest,
    means_of_each,
    per_image,
)

EPSILON = 1e-6
"""Guards the soft forms of Dice against an empty denominator, as the older systems do."""


@dataclass(frozen=True, slots=True)
class ImageOverlap:
    """What one image contributes.

    Attributes:
        scores: the image's own scores by name; what has no value (an absent class) is not in it.
        confusion: [K, K] int64 pixel counts: row = true class, column = predicted class.
    """

    scores: dict[str, float]
    confusion: NDArray[np.int64] = field(repr=False)


def score_image(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    *,
    classes: Sequence[str],
    name: str = "",
    decided: NDArray[Any] | None = None,
    labels_only: bool = False,
) -> ImageOverlap:
    """Score one image.

    Args:
        probabilities: [K, H, W] float, summing to one over K.
        labels: [H, W] class indices below K.
        classes: the K names of the classes, index 0 first; they become part of the scores' names.
        name: the image's name, for messages.
        decided: [H, W] the class that each pixel is given; None: the most probable one, the first of equals.
        labels_only: the probabilities are decisions, 0 and 1: soft scores would say nothing of their own.

    Returns:
        The image's scores: of decisions `foreground_dice`, `pixel_accuracy`, `mean_dice`, `mean_iou` and every class's
        `dice_<class>` and `iou_<class>`; of probabilities `soft_dice_two_class` and `soft_iou_two_class`. An image
        without pixels has none.

    Raises:
        DataError: shapes, class names and labels do not belong together.
    """
    what, count = f"{name}: " if name else "", len(classes)
    if probabilities.shape != (count, *labels.shape) or labels.ndim != 2:
        raise DataError(
            f"{what}probabilities of shape {probabilities.shape} do not fit {count} classes and labels of shape "
            f"{labels.shape}; give [classes, height, width] and [height, width]"
        )
    if not labels.size:
        return ImageOverlap({}, np.zeros((count, count), np.int64))
    if int(labels.min()) < 0 or int(labels.max()) >= count:
        raise DataError(
            f"{what}labels from {labels.min()} to {labels.max()}, but there are {count} classes; "
            f"give indices from 0 to {count - 1}"
        )
    confusion = count_confusion(highest(probabilities) if decided is None else decided, labels, count)
    scores = hard_scores(confusion, classes)
    if not labels_only:
        dice = soft_dice(probabilities, labels)
        scores |= {"soft_dice_two_class": dice, "soft_iou_two_class": dice / (2 - dice)}
    return ImageOverlap(scores, confusion)


def pool(images: Sequence[ImageOverlap], classes: Sequence[str]) -> dict[str, float]:
    """Return the scores of a set of at least one image.

    A score that follows from pixel counts appears twice: `dice_x` from the counts summed over the set, and
    `dice_x_per_image`, the mean over the images that have a value. Soft scores are means over the images.
    """
    assert images, "a set of no images has no score"
    pooled = hard_scores(np.sum([image.confusion for image in images], axis=0), classes)
    per_image = means_of_each([hard_scores(image.confusion, classes) for image in images])
    soft = means_of_each([{k: v for k, v in image.scores.items() if k not in pooled} for image in images])
    return pooled | {f"{name}_per_image": value for name, value in per_image.items()} | soft


def of_image(one: Prediction, metrics: Metrics) -> ImageOverlap:
    """Score one image; of a network that gives classes alone, without the scores of probabilities."""
    one = one.counted()
    how: Any = {"classes": one.classes, "name": one.name, "decided": one.mask, "labels_only": one.labels_only}
    return score_image(one.probabilities, one.labels, **how)


def of_set(images: Sequence[ImageOverlap], classes: Sequence[str]) -> Pooled:
    """Pool images."""
    return Pooled(pool(images, classes), [image.scores for image in images])


def count_confusion(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return [K, K] int64 counts of pixels by true class (row) and predicted class (column), both [H, W] indices."""
    pairs = labels.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def hard_scores(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, Dice and IoU of every class that occurs, and their means, from [K, K] pixel counts."""
    hits = np.diag(confusion).astype(np.float64)
    both = (confusion.sum(0) + confusion.sum(1)).astype(np.float64)
    there = np.flatnonzero(both)
    if not len(there):
        return {}
    dice = {k: float(2 * hits[k] / both[k]) for k in there}
    scores = {"foreground_dice": float(np.mean([dice[k] for k in there if k]))} if there[-1] else {}
    scores["pixel_accuracy"] = float(hits.sum() / confusion.sum())
    iou = {k: float(hits[k] / (both[k] - hits[k])) for k in there}
    labels = class_labels(classes)
    for kind, values in (("dice", dice), ("iou", iou)):
        scores[f"mean_{kind}"] = float(np.mean(list(values.values())))
        scores |= {f"{kind}_{labels[k]}": value for k, value in values.items()}
    return scores


def class_labels(classes: Sequence[str]) -> list[str]:
    """Return the classes' names as parts of scores' names: letters, digits and `_`, each one different.

    `traffic light` gives `traffic_light`; what would appear twice gets its index.
    """
    plain = [re.sub(r"\W+", "_", label).strip("_") for label in classes]
    return [label if label and plain.count(label) == 1 else f"{label}_{index}" for index, label in enumerate(plain)]


def soft_dice(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return 2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6) of one image over all classes and pixels, y the one-hot truth.

    Probabilities are [K, H, W], labels [H, W]. The older systems' metric (squared denominator as in Milletari et al.
    2016, background included), in float64.
    """
    return ClassSums.of(probabilities, labels).dice()


@dataclass(frozen=True, slots=True)
class ClassSums:
    """Of every class: sum(p y), sum(p^2) and sum(y^2) over an image's pixels, each [K]."""

    overlap: NDArray[np.float64]
    squares: NDArray[np.float64]
    truth: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[Any], labels: NDArray[Any]) -> "ClassSums":
        """Add up probabilities [K, H, W] and labels [H, W] in float64."""
        overlap, squares = np.zeros(len(probabilities)), np.zeros(len(probabilities))
        for index, p_HW in enumerate(probabilities):
            overlap[index] = p_HW[labels == index].sum(dtype=np.float64)
            squares[index] = np.square(p_HW, dtype=np.float64).sum()
        truth = np.bincount(labels.ravel(), minlength=len(probabilities)).astype(np.float64)
        return cls(overlap, squares, truth)

    def dice(self) -> float:
        """Return Dice of all classes together."""
        return float(2 * self.overlap.sum() / (self.squares.sum() + self.truth.sum() + EPSILON))


_ALL = "all, background (class 0) included"
_ONE = f"the one named {CLASS}"
DECIDED = (
    "the classes of the mask: the most probable ones (the first of equals), or as predict.threshold says, which is in "
    "the notes"
)
_ABSENT = "in neither truth nor prediction: left out of the table and of means; predicted where there is none: 0"
_COUNTS = "c[i,j] = pixels of true class i predicted as j, R_k = sum_j c[k,j], C_k = sum_i c[i,k]"
_SUMMED = "counts summed over all pixels of the set"
_SOURCE_COUNTS = "Taha and Hanbury 2015, Metrics for evaluating 3D medical image segmentation"
ZOO = "MindSpore model zoo Unet and Unet++"

_POOLED = (
    Definition(
        name="foreground_dice",
        meaning="overlap of regions, all but the background",
        formula=f"mean over k > 0 of 2 c[k,k] / (R_k + C_k), {_COUNTS}",
        better="higher",
        classes="all but the background (class 0), which would carry the mean where objects are small",
        averaging=f"{_SUMMED}, then the mean over classes",
        absent=_ABSENT,
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name="pixel_accuracy",
        meaning="pixels that got their true class",
        formula=f"sum_k c[k,k] / sum_ij c[i,j], {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=_SUMMED,
        absent="cannot be: every pixel has a class",
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name="mean_dice",
        meaning="overlap of regions, 2 common / both sizes, mean of classes",
        formula=f"mean over k of 2 c[k,k] / (R_k + C_k), {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=f"{_SUMMED}, then the mean over classes",
        absent=_ABSENT,
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name="mean_iou",
        meaning="overlap of regions, common / union, mean of classes",
        formula=f"mean over k of c[k,k] / (R_k + C_k - c[k,k]), {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=f"{_SUMMED}, then the mean over classes",
        absent=_ABSENT,
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name=f"dice_{CLASS}",
        meaning=f"overlap of {CLASS}, 2 common / both sizes",
        formula=f"2 c[k,k] / (R_k + C_k) for class {CLASS}, {_COUNTS}",
        better="higher",
        classes=_ONE,
        averaging=_SUMMED,
        absent=_ABSENT,
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name=f"iou_{CLASS}",
        meaning=f"overlap of {CLASS}, common / union",
        formula=f"c[k,k] / (R_k + C_k - c[k,k]) for class {CLASS}, {_COUNTS}",
        better="higher",
        classes=_ONE,
        averaging=_SUMMED,
        absent=_ABSENT,
        threshold=DECIDED,
        source=_SOURCE_COUNTS,
    ),
)
_WITHIN = {
    "foreground_dice": "counts of each image, mean over the classes but background that occur in it",
    "pixel_accuracy": "counts of each image",
    "mean_dice": "counts of each image, mean over the classes that occur in it",
    "mean_iou": "counts of each image, mean over the classes that occur in it",
    f"dice_{CLASS}": f"counts of each image in which {CLASS} occurs",
    f"iou_{CLASS}": f"counts of each image in which {CLASS} occurs",
}
SOFT_DICE = Definition(
    name="soft_dice_two_class",
    meaning="overlap of probabilities and truth",
    formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p probability, y one-hot truth, all classes and pixels",
    better="higher",
    classes="all, background (class 0) included; named after the two-class case, with more classes all of them",
    averaging="each image by itself, then the mean over images",
    absent="adds nothing to the overlap; what probability it was given lowers the score",
    threshold="none: probabilities as they are",
    source=f"{ZOO} (dice_coeff, Softmax); squared form: Milletari et al. 2016, V-Net",
)
SOFT_IOU = replace(
    SOFT_DICE,
    name="soft_iou_two_class",
    meaning="the same as common / union",
    formula="d / (2 - d), d the image's soft_dice_two_class",
    source=f"{ZOO} (IOU, Softmax)",
)

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for card in (
        *(
            card
            for base in _POOLED
            for card in (base, per_image(base, f"{_WITHIN[base.name]}, then the mean over images"))
        ),
        SOFT_DICE,
        SOFT_IOU,
    )
}
