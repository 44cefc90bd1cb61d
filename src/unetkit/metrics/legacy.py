"""The older systems' forms of Dice and IoU, so that their published numbers can be compared.

Each is computed image by image and then averaged. Those systems resize image and mask before the network; a score that
is computed there says so at the end of its name: `_388` for 388 x 388, `_at_96x128` for 96 rows of 128 pixels.

Legend of shapes: K classes, H height, W width, P pixels.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.definitions import SIZE, Definition

_EPSILON = 1e-6  # the older systems' guard against an empty denominator


def legacy_scores(probabilities: NDArray[Any], labels: NDArray[Any], *, suffix: str = "") -> dict[str, float]:
    """Return one image's scores in every form that an older system used.

    Args:
        probabilities: [K, H, W] float.
        labels: [H, W] class indices below K.
        suffix: ends the scores' names where the image was resized: `size_suffix` of that size.
    """
    soft, hard = _soft_sums(probabilities, labels), _hard_sums(probabilities, labels)
    scores: dict[str, float] = {}
    for form, sums in (("soft", soft), ("argmax", hard)):
        for kept, classes in (("two_class", sums), ("foreground", sums.without_background())):
            dice = classes.dice()
            scores |= {f"{form}_dice_{kept}": dice, f"{form}_iou_{kept}": dice / (2 - dice)}
    scores["soft_dice_class_mean"] = soft.mean_dice()
    return {f"{name}{suffix}": value for name, value in scores.items()}


def soft_dice(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return 2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6) of one image over all classes and pixels, y the one-hot truth.

    The older systems' metric (squared denominator as in Milletari et al. 2016, background included), in float64.

    Args:
        probabilities: [K, H, W] float.
        labels: [H, W] class indices below K.
    """
    return _soft_sums(probabilities, labels).dice()


def size_suffix(rows: int, columns: int) -> str:
    """Return how the names of scores end that are computed on images of this size."""
    return "_388" if rows == columns == 388 else f"_at_{rows}x{columns}"


def highest(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return the index of the most probable class [H, W], the first of equals."""
    # With two classes a comparison gives what argmax gives, many times faster.
    return probabilities[1] > probabilities[0] if len(probabilities) == 2 else probabilities.argmax(0)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of every class: sum(p y), sum(p^2) and sum(y^2) over an image's pixels, each [K]."""

    overlap: NDArray[np.float64]
    squares: NDArray[np.float64]
    truth: NDArray[np.float64]

    def without_background(self) -> "_Sums":
        return _Sums(self.overlap[1:], self.squares[1:], self.truth[1:])

    def dice(self) -> float:
        return float(2 * self.overlap.sum() / (self.squares.sum() + self.truth.sum() + _EPSILON))

    def mean_dice(self) -> float:
        return float(((2 * self.overlap + _EPSILON) / (self.squares + self.truth + _EPSILON)).mean())


def _soft_sums(probabilities: NDArray[Any], labels: NDArray[Any]) -> _Sums:
    overlap, squares = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    for index, p_HW in enumerate(probabilities):
        overlap[index] = p_HW[labels == index].sum(dtype=np.float64)
        squares[index] = np.square(p_HW, dtype=np.float64).sum()
    return _Sums(overlap, squares, _counts(labels, len(probabilities)))


def _hard_sums(probabilities: NDArray[Any], labels: NDArray[Any]) -> _Sums:
    classes, found_HW = len(probabilities), highest(probabilities)
    right = _counts(labels[found_HW == labels], classes)
    return _Sums(right, _counts(found_HW, classes), _counts(labels, classes))


def _counts(labels: NDArray[Any], classes: int) -> NDArray[np.float64]:
    return np.bincount(labels.ravel(), minlength=classes).astype(np.float64)


_ALL = "all, background (class 0) included; named after the two-class case, with more classes all of them"
_FOREGROUND = "all but the background (class 0), taken together"
_ONE_HOT = "the class with the highest probability (the first of equals) counts 1, the others 0"
_ZOO = "MindSpore model zoo Unet and Unet++"

_SOFT_DICE = Definition(
    name="soft_dice_two_class",
    formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p probability, y one-hot truth, all classes and pixels",
    better="higher",
    classes=_ALL,
    averaging="each image by itself, then the mean over images",
    absent="adds nothing to the overlap; what probability it was given lowers the score",
    threshold="none: probabilities as they are",
    source=f"{_ZOO} (dice_coeff, Softmax); squared form: Milletari et al. 2016, V-Net",
)
_SOFT_IOU = replace(
    _SOFT_DICE,
    name="soft_iou_two_class",
    formula="d / (2 - d), d the image's soft_dice_two_class",
    source=f"{_ZOO} (IOU, Softmax)",
)
_FORMS = (
    replace(
        _SOFT_DICE,
        name="soft_dice_foreground",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p probability, y one-hot truth, all but class 0",
        classes=_FOREGROUND,
        absent="adds nothing to the overlap; an image without any foreground scores 0",
        source=f"{_ZOO} (dice_coeff, Softmax, include_background False)",
    ),
    replace(
        _SOFT_IOU,
        name="soft_iou_foreground",
        formula="d / (2 - d), d the image's soft_dice_foreground",
        classes=_FOREGROUND,
        absent="adds nothing to the overlap; an image without any foreground scores 0",
        source=f"{_ZOO} (IOU, Softmax, include_background False)",
    ),
    replace(
        _SOFT_DICE,
        name="soft_dice_class_mean",
        formula="mean over k of (2 sum(p_k y_k) + 1e-6) / (sum(p_k^2) + sum(y_k^2) + 1e-6), p probability, y one-hot "
        "truth, pixels of class k",
        classes="all, background (class 0) included",
        averaging="each class of each image by itself, then the mean over classes, then the mean over images",
        absent="scores near 0, or 1 where it was given no probability either",
        source="TensorFlow UNet_Medical (eval_dice_score)",
    ),
    replace(
        _SOFT_DICE,
        name="argmax_dice_two_class",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p one-hot decision, y one-hot truth, all classes",
        absent="adds nothing",
        threshold=_ONE_HOT,
        source=f"{_ZOO} (dice_coeff, Argmax); it is the share of pixels with the right class",
    ),
    replace(
        _SOFT_IOU,
        name="argmax_iou_two_class",
        formula="d / (2 - d), d the image's argmax_dice_two_class",
        absent="adds nothing",
        threshold=_ONE_HOT,
        source=f"{_ZOO} (IOU, Argmax)",
    ),
    replace(
        _SOFT_DICE,
        name="argmax_dice_foreground",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p one-hot decision, y one-hot truth, all but class 0",
        classes=_FOREGROUND,
        absent="adds nothing to the overlap; an image without any foreground scores 0",
        threshold=_ONE_HOT,
        source=f"{_ZOO} (dice_coeff, Argmax, include_background False)",
    ),
    replace(
        _SOFT_IOU,
        name="argmax_iou_foreground",
        formula="d / (2 - d), d the image's argmax_dice_foreground",
        classes=_FOREGROUND,
        absent="adds nothing to the overlap; an image without any foreground scores 0",
        threshold=_ONE_HOT,
        source=f"{_ZOO} (IOU, Argmax, include_background False)",
    ),
)


def _resized(card: Definition) -> Definition:
    return replace(
        card,
        name=f"{card.name}_{SIZE}",
        resolution=f"{SIZE}: the image is resized before the network (bilinear) and the labels likewise: two classes "
        "cut at 0.5, more by the nearest pixel",
    )


def _definitions() -> dict[str, Definition]:
    cards = (_SOFT_DICE, _SOFT_IOU, *(replace(card, aside=True) for card in _FORMS))
    return {card.name: card for card in (*cards, *map(_resized, cards))}


DEFINITIONS: dict[str, Definition] = _definitions()
