"""The scores of the ISBI 2012 challenge, as its own evaluator computes them, digit for digit.

Every slice is scored by itself in two dimensions with 4-connected objects; the numbers differ in how they pool slices
and thresholds, and each says so in its card. Agreement with the evaluator was checked at every threshold.

The challenge takes the best of eleven thresholds on the scored slices themselves, which flatters a little. In a
cross-validation the slices of the other folds can choose instead: `scores_chosen_elsewhere`.

Assumes interior is what is labelled (> 0) and what the probability speaks of; invert membrane maps first. Nothing is
rescaled. Does not know networks or files.

Legend of shapes: D slices, H height, W width, T thresholds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics.definitions import Definition, Metrics, Pooled, Prediction
from unetkit.metrics.isbi_pixels import (
    compare,
    count_warping_errors,
    f_scores,
    find_objects,
    label_components,
    thin_borders,
)

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
class IsbiSlice:
    """What one slice contributes to every number, at every threshold.

    Attributes:
        size: its pixels that count.
        thinned: [T, 3] pairs of pixels after thinning: true positives, false positives, false negatives.
        information: [T] information F-score after thinning.
        plain: [T, 3] pairs of pixels without thinning.
        pixel: [T, 3] pixels of interior.
        warping: [10, 2] pixels that split and that merge objects; None where they were not counted.
    """

    size: int
    thinned: _Values
    information: _Values
    plain: _Values
    pixel: _Values
    warping: NDArray[np.int64] | None = None


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
        rand_counts: [T, D, 3] what the Rand error is pooled from: pairs of pixels.
        pixel_counts: [T, D, 3] what the pixel error is pooled from: pixels of interior.
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
    rand_counts: _Values
    pixel_counts: _Values

    def chosen(self) -> dict[str, ThresholdScore]:
        """Return the numbers with their thresholds by the names of their cards."""
        named: dict[str, ThresholdScore | None] = {name: getattr(self, name) for name in DEFINITIONS}
        return {name: score for name, score in named.items() if score is not None}

    def scores(self) -> dict[str, float]:
        """Return the numbers by the names of their cards."""
        return {name: score.value for name, score in self.chosen().items()}

    def slice_scores(self) -> list[dict[str, float]]:
        """Return every slice's own numbers by the names of their cards, at the threshold of the whole stack."""
        rows = {
            name: score.slices[score.thresholds.index(score.threshold)].tolist()
            for name, score in self.chosen().items()
        }
        return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]

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
    pairs = zip(label_DHW, probability_DHW, strict=True)
    return pool_slices([_score_slice(y, p, warping=warping) for y, p in pairs])


def score_slice(label: NDArray[Any], probability: NDArray[Any], *, warping: bool = True) -> IsbiSlice:
    """Score one slice [H, W] at every threshold, to be pooled with others by `pool_slices`; arguments as `isbi_scores`.

    Raises:
        DataError: as `isbi_scores`.
    """
    label_DHW, probability_DHW = _stacks(label, probability)
    return _score_slice(label_DHW[0], probability_DHW[0], warping=warping)


def of_image(one: Prediction, metrics: Metrics) -> IsbiSlice:
    """Score one image as a slice; `metrics` says which class is the interior.

    Pixels that do not count are border in truth and prediction: no number looks at what is border in the truth's
    comparison of objects, and none finds an error there.
    """
    truth, probability = one.labels == metrics.interior, one.probabilities[metrics.interior]
    if one.valid is None:
        return score_slice(truth, probability, warping=metrics.warping)
    scored = score_slice(truth & one.valid, np.where(one.valid, probability, 0), warping=metrics.warping)
    return replace(scored, size=max(1, int(one.valid.sum())))


def of_set(images: Sequence[IsbiSlice], classes: Sequence[str]) -> Pooled:
    """Pool images; the set's numbers have rules of their own and are not the mean over images."""
    pooled = pool_slices(images)
    return Pooled(pooled.scores(), pooled.slice_scores(), pooled)


def pool_slices(slices: Sequence[IsbiSlice]) -> IsbiScores:
    """Pool slices, of one size or of several, each number by its own rule; warping errors where every slice has them.

    The result does not depend on who scored which slice: a stack is pooled exactly as `isbi_scores` does.
    """
    thinned_TD3, plain_TD3, pixel_TD3 = (
        np.stack([getattr(one, name) for one in slices], 1) for name in ("thinned", "plain", "pixel")
    )
    information_TD = np.stack([one.information for one in slices], 1)
    counted = [one.warping for one in slices if one.warping is not None]
    warping, splits, mergers = None, None, None
    if len(counted) == len(slices):
        errors_TD2 = np.stack(counted, 1)
        splits, mergers, errors_TD = errors_TD2[:, :, 0], errors_TD2[:, :, 1], errors_TD2.sum(2)
        sizes = [one.size for one in slices]
        warping = _lowest(errors_TD.sum(1) / sum(sizes), errors_TD / np.array(sizes))
    precision_TD, recall_TD, rand_TD = f_scores(thinned_TD3)
    return IsbiScores(
        v_rand_thinned=_highest(rand_TD.mean(1), rand_TD),
        v_info_thinned=_highest(information_TD.mean(1), information_TD),
        rand_error=_lowest(*_pooled_errors(plain_TD3)),
        pixel_error=_lowest(*_pooled_errors(pixel_TD3)),
        warping_error=warping,
        v_rand_precision=precision_TD,
        v_rand_recall=recall_TD,
        splits=splits,
        mergers=mergers,
        rand_counts=plain_TD3,
        pixel_counts=pixel_TD3,
    )


def _score_slice(label: NDArray[Any], probability: _Values, *, warping: bool) -> IsbiSlice:
    thinned, plain, pixel = (np.empty((len(THRESHOLDS), 3)) for _ in range(3))
    information = np.empty(len(THRESHOLDS))
    interior = label > 0
    before, truth = (-1, -1), find_objects(label_components(interior)[0])
    for row, threshold in enumerate(THRESHOLDS):
        white, predicted = label > threshold, probability > threshold
        # Masks only shrink as the threshold rises, so one of the same size is the same.
        now = (int(white.sum()), int(predicted.sum()))
        if now[0] != truth.ids.size:
            truth = find_objects(label_components(white)[0])
        if now != before:
            basins, _ = label_components(predicted)
            agreement = compare(truth, thin_borders(basins))
            thinned[row], information[row] = agreement.pairs, agreement.information
            plain[row] = compare(truth, basins).pairs
            hits = np.count_nonzero(interior & predicted)
            pixel[row] = hits, predicted.sum() - hits, interior.sum() - hits
        else:
            for values in (thinned, information, plain, pixel):
                values[row] = values[row - 1]
        before = now
    errors = [count_warping_errors(interior, probability, t) for t in WARPING_THRESHOLDS] if warping else None
    counts = None if errors is None else np.array(errors, np.int64)
    return IsbiSlice(label.size, thinned, information, plain, pixel, counts)


def _pooled_errors(counts_TD3: _Values) -> tuple[_Values, _Values]:
    """Return 1 - F of the counts summed over slices, and of every slice by itself."""
    return error_of(counts_TD3.sum(1)), error_of(counts_TD3)


def error_of(counts: _Values) -> _Values:
    """Return 1 - F of counts [..., 3]: true positives, false positives, false negatives; the scale does not matter."""
    return 1 - f_scores(counts)[2]


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
            meaning="regions neither merged nor split, by pairs of pixels",
            formula="F of pairs of pixels that share an object in truth and prediction; borders thinned to lines "
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
            meaning="regions neither merged nor split, by information",
            formula="2 I / (H(truth) + H(prediction)), I mutual information and H entropies of the objects; borders "
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
            meaning="regions merged or split, the first challenge's",
            formula="1 - F of pairs of pixels that share an object in truth and prediction; borders as predicted; "
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
            meaning="wrong pixels, the first challenge's",
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
            meaning="pixels that split or merge a region",
            formula="(pixels that split + pixels that merge objects) / all pixels after the truth was bent towards "
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

_SUFFIX = "_other_folds"
_MEANS = ("v_rand_thinned", "v_info_thinned")
_POOLED = {"rand_error": "plain", "pixel_error": "pixel"}


def scores_chosen_elsewhere(slices: Sequence[IsbiSlice], folds: Sequence[int]) -> dict[str, float]:
    """Score every slice at the threshold that is best on the slices of all other folds; at least two folds are given.

    Returns:
        The four numbers without the warping error, by the names of their cards, such as `v_rand_thinned_other_folds`.
    """
    of_fold = np.array(folds)
    rows = {name: np.empty(len(slices), np.int64) for name in (*_MEANS, *_POOLED)}
    for fold in set(folds):
        others = pool_slices([one for one, its in zip(slices, folds, strict=True) if its != fold])
        for name, row in rows.items():
            row[of_fold == fold] = THRESHOLDS.index(getattr(others, name).threshold)
    whole, places = pool_slices(slices), np.arange(len(slices))
    scores = {name: float(getattr(whole, name).slices[rows[name], places].mean()) for name in _MEANS}
    for name, counts in _POOLED.items():
        total = np.sum([getattr(one, counts)[row] for one, row in zip(slices, rows[name], strict=True)], 0)
        scores[name] = 1 - float(f_scores(total)[2])
    return {f"{name}{_SUFFIX}": value for name, value in scores.items()}


OTHER_FOLDS: dict[str, Definition] = {
    f"{name}{_SUFFIX}": replace(
        DEFINITIONS[name],
        name=f"{name}{_SUFFIX}",
        meaning=f"{DEFINITIONS[name].meaning}; threshold of other folds",
        averaging=DEFINITIONS[name].averaging.replace(", then the best threshold", ""),
        threshold="of t = 0, 0.1, ... 1 for each fold the one that is best on the slices of all other folds",
    )
    for name in (*_MEANS, *_POOLED)
}
