"""Scores, and what they mean: every function says its formula, every name has a card in `DEFINITIONS`."""

from unetkit.metrics import calibration, isbi, objects, overlap
from unetkit.metrics.bootstrap import Difference, paired_bootstrap, whole_score
from unetkit.metrics.definitions import Definition, find_definition, improves
from unetkit.metrics.isbi import (
    PUBLISHED,
    IsbiScores,
    IsbiSlice,
    ThresholdScore,
    error_of,
    isbi_scores,
    pool_slices,
    score_slice,
    scores_chosen_elsewhere,
)
from unetkit.metrics.legacy import legacy_scores, size_suffix, soft_dice
from unetkit.metrics.objects import ObjectCounts, Overlaps, added, mean_precision, object_scores, pool_objects
from unetkit.metrics.overlap import ImageScores, pool, score_image

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Difference",
    "ImageScores",
    "IsbiScores",
    "IsbiSlice",
    "ObjectCounts",
    "Overlaps",
    "PUBLISHED",
    "ThresholdScore",
    "added",
    "better",
    "definition_of",
    "error_of",
    "legacy_scores",
    "isbi_scores",
    "mean_precision",
    "object_scores",
    "paired_bootstrap",
    "pool",
    "pool_objects",
    "pool_slices",
    "score_image",
    "score_slice",
    "scores_chosen_elsewhere",
    "size_suffix",
    "soft_dice",
    "whole_score",
]


DEFINITIONS: dict[str, Definition] = (
    overlap.DEFINITIONS | objects.DEFINITIONS | isbi.DEFINITIONS | isbi.DEFINITIONS_thresholds | calibration.DEFINITIONS
)


def definition_of(name: str) -> Definition:
    """Return the card of a score by its name, such as `mean_iou` or `dice_nucleus`.

    Raises:
        ConfigError: there is no such score.
    """
    return find_definition(name, DEFINITIONS)


def better(name: str, value: float, best: float) -> bool:
    """Tell whether `value` of the score `name` is strictly better than `best`; NaN never is.

    Raises:
        ConfigError: there is no such score.
    """
    return improves(definition_of(name), value, best)
