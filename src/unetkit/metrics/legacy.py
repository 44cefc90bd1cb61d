"""The older systems' forms of Dice and IoU, so that their published numbers can be compared.

Each is computed image by image and then averaged. Those systems resize image and mask before the network; a score that
is computed there says so at the end of its name: `_388` for 388 x 388, `_at_96x128` for 96 rows of 128 pixels.

Legend of shapes: K classes, H height, W width, P pixels.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics import overlap
from unetkit.metrics.definitions import SIZE, Definition, Metrics, Prediction, highest
from unetkit.metrics.overlap import EPSILON, SOFT_DICE, SOFT_IOU, ZOO, ClassSums

_LEAST = 1e-30  # a probability of 0 would make the cross entropy infinite

SIZES = {1: (388, 388), 3: (96, 96)}
"""Channels -> what the older systems resized images of two classes to: grey ones as ISBI's, coloured ones as nuclei."""


def legacy_scores(probabilities: NDArray[Any], labels: NDArray[Any], *, suffix: str = "") -> dict[str, float]:
    """Return one image's scores in every form that an older system used.

    Args:
        probabilities: [K, H, W] float.
        labels: [H, W] class indices below K.
        suffix: ends the scores' names where the image was resized: `size_suffix` of that size.
    """
    classes, found_HW = len(probabilities), highest(probabilities)
    of_pixels = (labels[found_HW == labels], found_HW, labels)
    soft = ClassSums.of(probabilities, labels)
    hard = ClassSums(*(np.bincount(one.ravel(), minlength=classes).astype(np.float64) for one in of_pixels))
    scores: dict[str, float] = {}
    for form, sums in (("soft", soft), ("argmax", hard)):
        foreground = ClassSums(sums.overlap[1:], sums.squares[1:], sums.truth[1:])
        for kept, some in (("two_class", sums), ("foreground", foreground)):
            dice = some.dice()
            scores |= {f"{form}_dice_{kept}": dice, f"{form}_iou_{kept}": dice / (2 - dice)}
    each_K = (2 * soft.overlap + EPSILON) / (soft.squares + soft.truth + EPSILON)
    scores["soft_dice_class_mean"] = float(each_K.mean())
    true_1HW = np.take_along_axis(probabilities, labels[None].astype(np.intp), 0)
    scores["soft_cross_entropy"] = float(-np.log(np.maximum(true_1HW, _LEAST), dtype=np.float64).mean())
    return {f"{name}{suffix}": value for name, value in scores.items()}


def of_image(one: Prediction, metrics: Metrics) -> dict[str, float]:
    """Score one image in the forms that the family overlap does not have, and in all forms at `metrics.legacy_size`."""
    counted = one.counted()
    scores = legacy_scores(counted.probabilities, counted.labels) if counted.labels.size else {}
    kept = {name: value for name, value in scores.items() if name not in overlap.DEFINITIONS}
    if one.labels_only:
        return {name: value for name, value in kept.items() if not name.startswith("soft_")}
    if metrics.legacy_size is None:
        return kept
    small, labels = one.resized(metrics.legacy_size)
    return kept | legacy_scores(small, labels, suffix=size_suffix(*metrics.legacy_size))


def size_suffix(rows: int, columns: int) -> str:
    """Return how the names of scores end that are computed on images of this size."""
    return "_388" if rows == columns == 388 else f"_at_{rows}x{columns}"


_FOREGROUND = "all but the background (class 0), taken together"
_ONE_HOT = "the class with the highest probability (the first of equals) counts 1, the others 0"
_NO_FOREGROUND = "adds nothing to the overlap; an image without any foreground scores 0"

_FORMS = (
    replace(
        SOFT_DICE,
        name="soft_dice_foreground",
        meaning="overlap of probabilities and truth, without background",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p probability, y one-hot truth, all but class 0",
        classes=_FOREGROUND,
        absent=_NO_FOREGROUND,
        source=f"{ZOO} (dice_coeff, Softmax, include_background False)",
    ),
    replace(
        SOFT_IOU,
        name="soft_iou_foreground",
        formula="d / (2 - d), d the image's soft_dice_foreground",
        classes=_FOREGROUND,
        absent=_NO_FOREGROUND,
        source=f"{ZOO} (IOU, Softmax, include_background False)",
    ),
    replace(
        SOFT_DICE,
        name="soft_dice_class_mean",
        meaning="overlap of probabilities and truth, mean of classes",
        formula="mean over k of (2 sum(p_k y_k) + 1e-6) / (sum(p_k^2) + sum(y_k^2) + 1e-6), p probability, y one-hot "
        "truth, pixels of class k",
        classes="all, background (class 0) included",
        averaging="each class of each image by itself, then the mean over classes, then the mean over images",
        absent="scores near 0, or 1 where it was given no probability either",
        source="TensorFlow UNet_Medical (eval_dice_score)",
    ),
    replace(
        SOFT_DICE,
        name="soft_cross_entropy",
        meaning="how improbable the truth was held",
        formula="mean of -log(p), p probability of the pixel's true class",
        classes="all",
        averaging="the mean over the pixels of each image, then the mean over images",
        absent="adds nothing",
        better="lower",
        source="TensorFlow UNet_Medical (eval_ce_loss)",
        high=69.1,
    ),
    replace(
        SOFT_DICE,
        name="argmax_dice_two_class",
        meaning="pixels that got their true class",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p one-hot decision, y one-hot truth, all classes",
        absent="adds nothing",
        threshold=_ONE_HOT,
        source=f"{ZOO} (dice_coeff, Argmax); it is the share of pixels with the right class",
    ),
    replace(
        SOFT_IOU,
        name="argmax_iou_two_class",
        formula="d / (2 - d), d the image's argmax_dice_two_class",
        absent="adds nothing",
        threshold=_ONE_HOT,
        source=f"{ZOO} (IOU, Argmax)",
    ),
    replace(
        SOFT_DICE,
        name="argmax_dice_foreground",
        meaning="overlap of decision and truth, without background",
        formula="2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6), p one-hot decision, y one-hot truth, all but class 0",
        classes=_FOREGROUND,
        absent=_NO_FOREGROUND,
        threshold=_ONE_HOT,
        source=f"{ZOO} (dice_coeff, Argmax, include_background False)",
    ),
    replace(
        SOFT_IOU,
        name="argmax_iou_foreground",
        formula="d / (2 - d), d the image's argmax_dice_foreground",
        classes=_FOREGROUND,
        absent=_NO_FOREGROUND,
        threshold=_ONE_HOT,
        source=f"{ZOO} (IOU, Argmax, include_background False)",
    ),
)
_RESIZED = (
    f"{SIZE}: the image is resized before the network (bilinear) and the labels likewise: two classes cut at 0.5, more "
    "by the nearest pixel"
)

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for card in (
        *_FORMS,
        *(
            replace(card, name=f"{card.name}_{SIZE}", meaning=f"{card.meaning}; resized before", resolution=_RESIZED)
            for card in (SOFT_DICE, SOFT_IOU, *_FORMS)
        ),
    )
}
