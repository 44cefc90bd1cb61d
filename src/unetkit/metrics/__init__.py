"""Scores, and what they mean: `FAMILIES` is the table of all of them, `DEFINITIONS` holds a card for every name."""

from collections.abc import Mapping

from unetkit.display import table
from unetkit.errors import UsageError
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
    deciding_scores,
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
from unetkit.metrics.own import MetricFunction, own_definition, require_name

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


def definition_of(name: str) -> Definition:
    """Return the card of a score by its name, such as `mean_iou` or `dice_nucleus`; any other name is a user's own."""
    return own_definition(name) if family_of(name) == "own" else find_definition(name, DEFINITIONS)


def own_functions(functions: Mapping[str, MetricFunction] | None) -> Mapping[str, MetricFunction]:
    """Return functions of a user's own whose names are fit and free.

    Raises:
        UsageError: one is not.
    """
    for name in functions or {}:
        require_name(name)
        if (family := family_of(name)) != "own":
            raise UsageError(
                f"metrics: {name} reads as a score of unetkit's family {family}, such as that of a class; give yours "
                f"another name, such as my_{name}"
            )
    return functions or {}


def deciding_table(scores: Mapping[str, float], metric: str | None = None) -> str:
    """Return the scores that decide, with their meanings, as an HTML table."""
    named = {name: definition_of(name) for name in deciding_scores(scores, metric)}
    rows = [[name, f"{scores[name]:.4f}", f"{card.meaning}; {card.better} is better"] for name, card in named.items()]
    return table(["score", "value", "meaning"], rows)


def better(name: str, value: float, best: float) -> bool:
    """Tell whether `value` of the score `name` is strictly better than `best`; NaN never is."""
    return improves(definition_of(name), value, best)
