"""Scores, and what they mean: `FAMILIES` is the table of all of them, `DEFINITIONS` holds a card for every name."""

from unetkit.metrics.bootstrap import Difference, paired_bootstrap, whole_score
from unetkit.metrics.definitions import Definition, MetricFunction, Metrics, Prediction
from unetkit.metrics.families import (
    DEFINITIONS,
    FAMILIES,
    Family,
    ImageScores,
    better,
    choose_metrics,
    deciding_scores,
    deciding_table,
    definition_of,
    family_of,
    own_functions,
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
    "MetricFunction",
    "Metrics",
    "ObjectCounts",
    "Overlaps",
    "PUBLISHED",
    "Prediction",
    "ThresholdScore",
    "added",
    "better",
    "choose_metrics",
    "deciding_scores",
    "definition_of",
    "deciding_table",
    "error_of",
    "family_of",
    "isbi_scores",
    "legacy_scores",
    "mean_precision",
    "object_scores",
    "paired_bootstrap",
    "own_functions",
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
