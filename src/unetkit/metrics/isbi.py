"""The scores of the ISBI 2012 challenge, as its own evaluator computes them, digit for digit.

Every slice is scored by itself in two dimensions with 4-connected objects; the numbers differ in how they pool slices
and thresholds, and each says so in its card. Agreement with the evaluator was checked at every threshold.

Assumes interior is what is labelled (> 0) and what the probability speaks of; invert membrane maps first. Nothing is
rescaled. Does not know files.

Legend of shapes: D slices, H height, W width, T thresholds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics.agreement import compare, f_scores, find_objects
from unetkit.metrics.definitions import Definition
from unetkit.metrics.thinning import label_components, thin_borders
from unetkit.metrics.warping import count_warping_errors

_Values = NDArray[np.float64]

# The evaluator adds 0.1 in doubles, so that the last threshold is below 1 and a probability of 1 is above it.
THRESHOLDS: tuple[float, ...] = tuple(accumulate(repeat(0.1, 10), initial=0.0))
WARPING_THRESHOLDS = THRESHOLDS[:10]
_ROUNDING = 1e-5  # a softmax in float32 may pass 1 by a little


@dataclass(frozen=True, slots=True)
class ThresholdScore:
    """One of the challenge's numbers, and what it was chosen from.

    Attributes:
        value: the number: the best over the thresholds.
        threshold: where it is reached, the lowest of equals.
        thresholds: [T] all that were tried.
        curve: [T] the number at every threshold.
        slices: [T, D] the same of every slice by itself.
    """

    value: float
    threshold: float
    thresholds: tuple[float, ...]
    curve: _Values
    slices: _Values


@dataclass(frozen=True, slots=True)
class IsbiScores:
    """The challenge's numbers for one stack; each attribute is the name of its card.

    Attributes:
        v_rand_thinned: the official rank.
        v_info_thinned: the official second score.
        rand_error: the first challenge's Rand error.
        pixel_error: the first challenge's pixel error.
        warping_error: the first challenge's warping error; None if it was not asked for.
        v_rand_precision: [T, D] low where the prediction merges objects.
        v_rand_recall: [T, D] low where the prediction splits objects.
        splits: [10, D] pixels that split an object; None without warping error.
        mergers: [10, D] pixels that merge objects; None without warping error.
    """

    v_rand_thinned: ThresholdScore
    v_info_thinned: ThresholdScore
    rand_error: ThresholdScore
    pixel_error: ThresholdScore
    warping_error: ThresholdScore | None
    v_rand_precision: _Values
    v_rand_recall: _Values
    splits: NDArray[np.int64] | None
    mergers: NDArray[np.int64] | None

    def scores(self) -> dict[str, float]:
        """Return the numbers by the names of their cards."""
        named: dict[str, ThresholdScore | None] = {name: getattr(self, name) for name in DEFINITIONS}
        return {name: score.value for name, score in named.items() if score is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain lists and numbers, for JSON."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def isbi_scores(label: NDArray[Any], probability: NDArray[Any], *, warping: bool = True) -> IsbiScores:
    """Score a stack, or one slice, as the ISBI 2012 challenge does.

    Args:
        label: [D, H, W] or [H, W]; interior > 0 (255 or 1), membrane 0.
        probability: the same shape, probability of interior in [0, 1], compared as float32 with double thresholds.
        warping: whether to compute the warping error too; it takes longer than everything else.

    Raises:
        DataError: shapes differ, a value is not finite, or a probability is outside [0, 1].

    Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics.
    """
    label_DHW, probability_DHW = _stacks(label, probability)
    slices = [_score_slice(y, p) for y, p in zip(label_DHW, probability_DHW, strict=True)]
    errors_DT2 = _warping_counts(label_DHW, probability_DHW) if warping else None
    thinned_TD3 = np.array([[row.thinned for row in rows] for rows in slices]).swapaxes(0, 1)
    information_TD = np.array([[row.information for row in rows] for rows in slices]).T
    plain_TD3 = np.array([[row.plain for row in rows] for rows in slices]).swapaxes(0, 1)
    pixel_TD3 = np.array([[row.pixel for row in rows] for rows in slices]).swapaxes(0, 1)
    precision_TD, recall_TD, rand_TD = f_scores(thinned_TD3)
    return IsbiScores(
        v_rand_thinned=_highest(rand_TD.mean(1), rand_TD),
        v_info_thinned=_highest(information_TD.mean(1), information_TD),
        rand_error=_lowest(*_pooled_errors(plain_TD3)),
        pixel_error=_lowest(*_pooled_errors(pixel_TD3)),
        warping_error=None if errors_DT2 is None else _warping_score(errors_DT2, label_DHW[0].size),
        v_rand_precision=precision_TD,
        v_rand_recall=recall_TD,
        splits=None if errors_DT2 is None else errors_DT2[:, :, 0].T,
        mergers=None if errors_DT2 is None else errors_DT2[:, :, 1].T,
    )


class _Row(NamedTuple):
    """One slice at one threshold; counts are true positives, false positives and false negatives."""

    thinned: _Values
    information: float
    plain: _Values
    pixel: _Values


def _score_slice(label: NDArray[Any], probability: _Values) -> list[_Row]:
    rows: list[_Row] = []
    interior = label > 0
    before, truth = (-1, -1), find_objects(label_components(interior)[0])
    for threshold in THRESHOLDS:
        white, predicted = label > threshold, probability > threshold
        # Masks only shrink as the threshold rises, so one of the same size is the same.
        now = (int(white.sum()), int(predicted.sum()))
        if now[0] != truth.ids.size:
            truth = find_objects(label_components(white)[0])
        if now != before:
            basins, _ = label_components(predicted)
            thinned = compare(truth, thin_borders(basins))
            plain = compare(truth, basins).pairs
            rows.append(_Row(thinned.pairs, thinned.information, plain, _pixel_counts(interior, predicted)))
        else:
            rows.append(rows[-1])
        before = now
    return rows


def _pixel_counts(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> _Values:
    hits = np.count_nonzero(truth & predicted)
    return np.array([hits, predicted.sum() - hits, truth.sum() - hits], np.float64)


def _warping_counts(label_DHW: NDArray[Any], probability_DHW: _Values) -> NDArray[np.int64]:
    """Return [D, 10, 2] splits and mergers."""
    return np.array(
        [
            [count_warping_errors(label > 0, probability, threshold) for threshold in WARPING_THRESHOLDS]
            for label, probability in zip(label_DHW, probability_DHW, strict=True)
        ],
        np.int64,
    )


def _warping_score(errors_DT2: NDArray[np.int64], pixels: int) -> ThresholdScore:
    slices = errors_DT2.sum(2).T / pixels
    curve = errors_DT2.sum((0, 2)) / (len(errors_DT2) * pixels)
    return _lowest(curve, slices)


def _pooled_errors(counts_TD3: _Values) -> tuple[_Values, _Values]:
    """Return 1 - F of the counts summed over slices, and of every slice by itself."""
    return 1 - f_scores(counts_TD3.sum(1))[2], 1 - f_scores(counts_TD3)[2]


def _highest(curve: _Values, slices: _Values) -> ThresholdScore:
    return _chosen(np.argmax, curve, slices)


def _lowest(curve: _Values, slices: _Values) -> ThresholdScore:
    return _chosen(np.argmin, curve, slices)


def _chosen(choose: Callable[[_Values], Any], curve: _Values, slices: _Values) -> ThresholdScore:
    best, thresholds = int(choose(curve)), THRESHOLDS[: len(curve)]
    return ThresholdScore(float(curve[best]), thresholds[best], thresholds, curve, slices)


def _stacks(label: NDArray[Any], probability: NDArray[Any]) -> tuple[NDArray[Any], _Values]:
    """Return both as [D, H, W], the probability rounded to float32 and held in float64."""
    if label.shape != probability.shape or label.ndim not in (2, 3) or label.size == 0:
        raise DataError(
            f"labels of shape {label.shape} and probabilities of shape {probability.shape}; "
            "give two stacks [slices, height, width] or two slices [height, width] of the same size"
        )
    low, high = float(probability.min()), float(probability.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise DataError(
            f"probabilities of interior lie between {low:g} and {high:g}, expected 0 to 1; "
            "divide an 8-bit map by 255, and mend values that are not finite"
        )
    if not np.isfinite(label).all():
        raise DataError("labels hold values that are not finite; give 255 or 1 for interior and 0 for membrane")
    shape = (-1, *label.shape[-2:])
    return label.reshape(shape), probability.astype(np.float32).astype(np.float64).reshape(shape)


def _plain(value: Any) -> Any:
    if isinstance(value, ThresholdScore):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray | tuple):
        return [_plain(item) for item in np.asarray(value, object)]
    return None if value is None or math.isnan(value) else value


_CHOSEN = (
    "the best of t = 0, 0.1, ... 1 (added up in doubles), chosen on the scored slices themselves; interior is p > t"
)
_SOURCE = "Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142, and the challenge's evaluator in Fiji"
_OBJECTS = "objects are 4-connected components of interior (> 0) in each slice; the truth's membrane is left out"
_SLICES_FIRST = "each slice by itself, the mean over slices, then the best threshold"
_SUMMED = "counts summed over slices, then F, then the best threshold"

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for card in (
        Definition(
            name="v_rand_thinned",
            formula="F of pairs of pixels that share an object in truth and prediction, borders thinned to lines "
            "before; a pixel of a true object on a line is an object of its own",
            better="higher",
            classes=_OBJECTS,
            averaging=_SLICES_FIRST,
            absent="a slice without a true object scores 0 and stays in the mean",
            threshold=_CHOSEN,
            source=_SOURCE,
        ),
        Definition(
            name="v_info_thinned",
            formula="2 I / (H(truth) + H(prediction)), mutual information and entropies of the objects, borders "
            "thinned to lines before; a pixel of a true object on a line is an object of its own",
            better="higher",
            classes=_OBJECTS,
            averaging=_SLICES_FIRST,
            absent="a slice with fewer than two objects in truth or prediction scores 0 and stays in the mean",
            threshold=_CHOSEN,
            source=_SOURCE,
        ),
        Definition(
            name="rand_error",
            formula="1 - F of pairs of pixels that share an object in truth and prediction, borders as predicted; "
            "a pixel of a true object outside all predicted ones is an object of its own",
            better="lower",
            classes=_OBJECTS,
            averaging=_SUMMED,
            absent="a single slice without a true object makes the error of the whole stack 1",
            threshold=_CHOSEN,
            source=_SOURCE,
        ),
        Definition(
            name="pixel_error",
            formula="1 - F, F = 2 P R / (P + R) of interior pixels",
            better="lower",
            classes="interior alone; membrane counts only where it is mistaken for interior or the reverse",
            averaging=_SUMMED,
            absent="without false positives P is 1, without false negatives R is 1",
            threshold=_CHOSEN,
            source=_SOURCE,
        ),
        Definition(
            name="warping_error",
            formula="(pixels that split + pixels that merge objects) / all pixels, after the truth was bent towards "
            "the prediction by flipping simple points; holes and lone objects do not count",
            better="lower",
            classes="4-connected interior against 8-connected membrane, in each slice",
            averaging="pixels summed over slices, then the best threshold",
            absent="a slice whose truth is all interior or all membrane adds no error",
            threshold=_CHOSEN.replace("... 1", "... 0.9"),
            source=f"Jain et al. 2010, CVPR; {_SOURCE}",
        ),
    )
}

# On the challenge's hidden test labels: what is scored on other labels is not comparable digit by digit.
PUBLISHED: dict[str, dict[str, float]] = {
    "SFCNNs": {"v_rand_thinned": 0.98680, "v_info_thinned": 0.99144},
    "PolyMtl": {"v_rand_thinned": 0.98058, "v_info_thinned": 0.98816},
    "FusionNet": {"v_rand_thinned": 0.97804, "v_info_thinned": 0.98893},
    "CUMedVision": {"v_rand_thinned": 0.97682, "v_info_thinned": 0.98865},
    "U-Net (Ronneberger et al. 2015)": {
        "v_rand_thinned": 0.97276,
        "v_info_thinned": 0.98662,
        "rand_error": 0.0382,
        "pixel_error": 0.0611,
        "warping_error": 0.000353,
    },
}
