"""Scores, and what they mean: `FAMILIES` is the table of all of them, `DEFINITIONS` holds a card for every name."""

from unetkit.metrics.bootstrap import Difference, paired_bootstrap, whole_score
from unetkit.metrics.definitions import Definition, find_definition, improves
from unetkit.metrics.families import (
    DEFINITIONS,
    FAMILIES,
    Family,
    ImageScores,
    Metrics,
    Prediction,
    choose_metrics,
    family_of,
    usual_families,
)
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
from unetkit.metrics.legacy import legacy_scores, size_suffix
from unetkit.metrics.objects import ObjectCounts, Overlaps, added, mean_precision, object_scores, pool_objects
from unetkit.metrics.overlap import pool, score_image, soft_dice

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Difference",
    "FAMILIES",
    "Family",
    "ImageScores",
    "IsbiScores",
    "IsbiSlice",
    "Metrics",
    "ObjectCounts",
    "Overlaps",
    "PUBLISHED",
    "Prediction",
    "ThresholdScore",
    "added",
    "better",
    "choose_metrics",
    "definition_of",
    "error_of",
    "family_of",
    "isbi_scores",
    "legacy_scores",
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
    "usual_families",
    "whole_score",
]


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
