"""Scores of objects: how many were found, how well each is outlined; cards of what each number means.

Assumes counts from `matching`. Does not know how objects were made of probabilities.

An image without true objects scores 0 where any were predicted, and has no score where none were: it is left out of
means over images. A score that has no value at all (SQ without a pair) is left out likewise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.definitions import Definition
from unetkit.metrics.matching import TWENTIETHS, ObjectCounts, Overlaps, added

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
    """Return the scores of a set: from added counts, `_per_image` beside them, and means where that is the definition.

    Args:
        images: the counts of each; none give no scores.
    """
    if not images:
        return {}
    each = [object_scores(image) for image in images]
    scores: dict[str, float] = {}
    for name, value in object_scores(added(images)).items():
        mean = _mean(each, name)
        scores |= {name: mean} if name in AVERAGED else {name: value, f"{name}_per_image": mean}
    return scores


def _precisions(matched: NDArray[np.int64], together: int) -> NDArray[np.float64]:
    """Return TP / (TP + FP + FN) at every threshold; `together` is 2 TP + FP + FN."""
    return matched / (together - matched)


def _mean(images: Sequence[Mapping[str, float]], name: str) -> float:
    values = [image[name] for image in images if name in image]
    return sum(values) / len(values)


_CLASSES = "objects of all classes together, background and 'border' are none; a pair of different classes is no pair"
_EMPTY = "no true object: 0 where any was predicted, left out where none was"
_MADE = (
    "probabilities become objects as the section `objects` of the configuration says; how its numbers were chosen is "
    "told beside the scores"
)
_SUMMED = "TP, FP and FN summed over all images of the set"
_MEAN = "each image by itself, then the mean over images"
_TP = "TP pairs with IoU > t, FP predicted and FN true objects without a pair"
_DSB = "Kaggle 2018 Data Science Bowl, evaluation page; Caicedo et al. 2019, Nature Methods 16"
_PQ = "Kirillov et al. 2019, CVPR, Panoptic segmentation"


def _card(name: str, formula: str, source: str, *, averaging: str = _SUMMED) -> Definition:
    return Definition(
        name=name,
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
        f"mean over t of TP / (TP + FP + FN), t from .5 to .95 by steps of .05, {_TP}",
        _DSB,
        averaging=_MEAN,
    ),
    _card("ap_50", f"TP / (TP + FP + FN) at t = .5, {_TP}", f"{_DSB}; not COCO's AP, which ranks by confidence"),
    _card("ap_75", f"TP / (TP + FP + FN) at t = .75, {_TP}", f"{_DSB}; not COCO's AP, which ranks by confidence"),
    _card("f1_50", f"2 TP / (2 TP + FP + FN) at t = .5, {_TP}", "Caicedo et al. 2019, Cytometry A 95"),
    _card("pq", f"sum of the pairs' IoU / (TP + FP/2 + FN/2) at t = .5, {_TP}", _PQ),
    _card("sq", f"mean IoU of the pairs at t = .5, {_TP}", _PQ),
    _card("rq", f"TP / (TP + FP/2 + FN/2) at t = .5 (which is f1_50), {_TP}", _PQ),
    _card(
        "aji",
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
        (base,) if base.name in AVERAGED else (base, replace(base, name=f"{base.name}_per_image", averaging=_MEAN))
    )
}
