"""The challenge's numbers at thresholds that were chosen on other slices than those that are scored.

The challenge takes the best of eleven thresholds on the scored slices themselves, which flatters a little. In a
cross-validation the slices of the other folds can choose instead. Does not know networks or files.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unetkit.metrics.agreement import f_scores
from unetkit.metrics.definitions import Definition
from unetkit.metrics.isbi import DEFINITIONS as OFFICIAL
from unetkit.metrics.isbi import THRESHOLDS, IsbiSlice, pool_slices

_SUFFIX = "_other_folds"
_MEANS = ("v_rand_thinned", "v_info_thinned")
_POOLED = {"rand_error": "plain", "pixel_error": "pixel"}


def scores_chosen_elsewhere(slices: Sequence[IsbiSlice], folds: Sequence[int]) -> dict[str, float]:
    """Score every slice at the threshold that is best on the slices of all other folds.

    Args:
        slices: what each slice contributes.
        folds: the fold of each slice; at least two.

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


DEFINITIONS: dict[str, Definition] = {
    f"{name}{_SUFFIX}": replace(
        OFFICIAL[name],
        name=f"{name}{_SUFFIX}",
        averaging=OFFICIAL[name].averaging.replace(", then the best threshold", ""),
        threshold="of t = 0, 0.1, ... 1 for each fold the one that is best on the slices of all other folds",
    )
    for name in (*_MEANS, *_POOLED)
}
