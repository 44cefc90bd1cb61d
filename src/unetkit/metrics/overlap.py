"""Overlap of prediction and truth: accuracy, IoU, Dice and the older systems' forms, image by image and pooled.

Assumes one probability a class and pixel that sum to one, and class indices as truth. Does not know networks, files,
or how an image was resized: whoever calls says on what pixels the score was computed by choosing the score's name.

A class that is neither in the truth nor in the prediction has no overlap to speak of: its score is left out, and the
means go over the classes that have one. A class that is predicted where there is none of it scores 0.

Legend of shapes: K classes, H height, W width, P pixels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics import legacy
from unetkit.metrics.definitions import CLASS, Definition
from unetkit.metrics.legacy import highest, legacy_scores
from unetkit.metrics.objects import ObjectCounts, object_scores, pool_objects


@dataclass(frozen=True, slots=True)
class ImageScores:
    """The scores of one image, and the counts from which the set's scores are pooled.

    Attributes:
        name: the image's name.
        scores: the image's own scores by name; what has no value (an absent class) is not in it.
        confusion: [K, K] int64 pixel counts: row = true class, column = predicted class.
        objects: what was counted of its objects; None where they were not looked for.
    """

    name: str
    scores: dict[str, float]
    confusion: NDArray[np.int64] = field(repr=False)
    objects: ObjectCounts | None = field(default=None, repr=False)

    def with_scores(self, more: Mapping[str, float]) -> "ImageScores":
        """Return the same with further scores, such as those on resized pixels."""
        return replace(self, scores=self.scores | dict(more))

    def without_soft(self) -> "ImageScores":
        """Return the same without the scores of probabilities, for a network that has only classes to give."""
        return replace(self, scores={k: v for k, v in self.scores.items() if not k.startswith("soft_")})

    def with_objects(self, counts: ObjectCounts) -> "ImageScores":
        """Return the same with the scores of its objects."""
        return replace(self, scores=self.scores | object_scores(counts), objects=counts)


def score_image(
    probabilities: NDArray[Any], labels: NDArray[Any], *, classes: Sequence[str], name: str = ""
) -> ImageScores:
    """Score one image.

    Args:
        probabilities: [K, H, W] float, summing to one over K.
        labels: [H, W] class indices below K.
        classes: the K names of the classes, index 0 first; they become part of the scores' names.
        name: the image's name, for tables and messages.

    Returns:
        The image's scores: of the class with the highest probability (the first of equals) `pixel_accuracy`,
        `mean_dice`, `mean_iou` and every class's `dice_<class>` and `iou_<class>`; and all of `legacy_scores`.

    Raises:
        DataError: shapes, class names and labels do not belong together.
    """
    _require_fit(probabilities, labels, len(classes), name)
    confusion = count_confusion(highest(probabilities), labels, len(classes))
    return ImageScores(name, hard_scores(confusion, classes) | legacy_scores(probabilities, labels), confusion)


def pool(images: Sequence[ImageScores], classes: Sequence[str]) -> dict[str, float]:
    """Return the scores of a set of images.

    A score that follows from pixel counts appears twice: `dice_x` from the counts summed over the set, and
    `dice_x_per_image`, the mean over the images that have a value; those of objects likewise, as `metrics.objects`
    says. Every other score is the mean over the images.

    Args:
        images: at least one image's scores.
        classes: the names of the classes, as they were given to `score_image`.
    """
    assert images, "a set of no images has no score"
    pooled = hard_scores(np.sum([image.confusion for image in images], axis=0), classes)
    per_image = _mean_of_each([hard_scores(image.confusion, classes) for image in images])
    objects = pool_objects([image.objects for image in images if image.objects is not None])
    done = {*pooled, *objects}
    others = _mean_of_each([{k: v for k, v in image.scores.items() if k not in done} for image in images])
    return pooled | {f"{name}_per_image": value for name, value in per_image.items()} | others | objects


def count_confusion(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return [K, K] int64 counts of pixels by true class (row) and predicted class (column), both [H, W] indices."""
    pairs = labels.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def hard_scores(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, Dice and IoU of every class that occurs, and their means, from [K, K] pixel counts."""
    hits = np.diag(confusion).astype(np.float64)
    both = (confusion.sum(0) + confusion.sum(1)).astype(np.float64)
    scores = {"pixel_accuracy": float(hits.sum() / confusion.sum())}
    there = np.flatnonzero(both)
    dice = {k: float(2 * hits[k] / both[k]) for k in there}
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


def _mean_of_each(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for scores in images for name in scores)
    return {name: float(np.mean([scores[name] for scores in images if name in scores])) for name in names}


def _require_fit(probabilities: NDArray[Any], labels: NDArray[Any], classes: int, name: str) -> None:
    what = f"{name}: " if name else ""
    if probabilities.shape != (classes, *labels.shape) or labels.ndim != 2 or labels.size == 0:
        raise DataError(
            f"{what}probabilities of shape {probabilities.shape} do not fit {classes} classes and labels of shape "
            f"{labels.shape}; give [classes, height, width] and [height, width]"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise DataError(
            f"{what}labels from {labels.min()} to {labels.max()}, but there are {classes} classes; "
            f"give indices from 0 to {classes - 1}"
        )


def _definitions() -> dict[str, Definition]:
    cards = [card for base in _POOLED for card in (base, _per_image(base))]
    return {card.name: card for card in cards} | legacy.DEFINITIONS


def _per_image(card: Definition) -> Definition:
    return replace(card, name=f"{card.name}_per_image", averaging=f"{_WITHIN[card.name]}, then the mean over images")


_ALL = "all, background (class 0) included"
_ONE = f"the one named {CLASS}"
_ARGMAX = "none: the class with the highest probability (the first of equals)"
_ABSENT = "in neither truth nor prediction: left out of the table and of means; predicted where there is none: 0"
_COUNTS = "c[i,j] = pixels of true class i predicted as j, R_k = sum_j c[k,j], C_k = sum_i c[i,k]"
_SUMMED = "counts summed over all pixels of the set"
_SOURCE_COUNTS = "Taha and Hanbury 2015, Metrics for evaluating 3D medical image segmentation"

_POOLED = (
    Definition(
        name="pixel_accuracy",
        formula=f"sum_k c[k,k] / sum_ij c[i,j], {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=_SUMMED,
        absent="cannot be: every pixel has a class",
        threshold=_ARGMAX,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name="mean_dice",
        formula=f"mean over k of 2 c[k,k] / (R_k + C_k), {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=f"{_SUMMED}, then the mean over classes",
        absent=_ABSENT,
        threshold=_ARGMAX,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name="mean_iou",
        formula=f"mean over k of c[k,k] / (R_k + C_k - c[k,k]), {_COUNTS}",
        better="higher",
        classes=_ALL,
        averaging=f"{_SUMMED}, then the mean over classes",
        absent=_ABSENT,
        threshold=_ARGMAX,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name=f"dice_{CLASS}",
        formula=f"2 c[k,k] / (R_k + C_k) for class {CLASS}, {_COUNTS}",
        better="higher",
        classes=_ONE,
        averaging=_SUMMED,
        absent=_ABSENT,
        threshold=_ARGMAX,
        source=_SOURCE_COUNTS,
    ),
    Definition(
        name=f"iou_{CLASS}",
        formula=f"c[k,k] / (R_k + C_k - c[k,k]) for class {CLASS}, {_COUNTS}",
        better="higher",
        classes=_ONE,
        averaging=_SUMMED,
        absent=_ABSENT,
        threshold=_ARGMAX,
        source=_SOURCE_COUNTS,
    ),
)
_WITHIN = {
    "pixel_accuracy": "counts of each image",
    "mean_dice": "counts of each image, mean over the classes that occur in it",
    "mean_iou": "counts of each image, mean over the classes that occur in it",
    f"dice_{CLASS}": f"counts of each image in which {CLASS} occurs",
    f"iou_{CLASS}": f"counts of each image in which {CLASS} occurs",
}
DEFINITIONS: dict[str, Definition] = _definitions()
