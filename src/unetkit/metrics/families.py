"""The families of metrics: a visible table of which scores there are, how each is computed, and when.

A family keeps something of every image (`of_image`) and makes the scores of the set and of its images from that
(`of_set`), so that images can be scored in any order and by any process. To add a family, write its record.

One family is the user's own: plain functions that `train`, `evaluate` and `report` are given, each under a name. A
function is called as `function(probabilities, labels)` (`MetricFunction`) and returns a number; more is better, so an
error is returned with its sign reversed. The score of a set is the mean over its images; NaN stands for "no value", and
such an image is left out. Pixels that do not count are given as class 0 in both, so that they never disagree. Nothing
here remembers a function: a run keeps the source (`functions.json`), and whoever scores gives it again.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from unetkit.display import table
from unetkit.errors import UsageError
from unetkit.metrics import binary, calibration, isbi, legacy, objects, overlap, surface
from unetkit.metrics.definitions import (
    SIZE,
    Definition,
    MetricFunction,
    Metrics,
    Pooled,
    Prediction,
    definition_in,
    find_definition,
    improves,
    mean_over_images,
    size_in,
)
from unetkit.metrics.objects import ObjectCounts

MOST_SCORES = 10
"""Of a short table."""

_OF_THE_LOG = frozenset({"step", "loss", "lr", "train_seconds", "validation_seconds", "images_per_second"})


@dataclass(frozen=True, slots=True)
class ImageScores:
    """The scores of one image.

    Attributes:
        name: the image's name.
        scores: its scores by name; what has no value (an absent class) is not in it.
        objects: what was counted of its objects; None where they were not scored.
    """

    name: str
    scores: dict[str, float]
    objects: ObjectCounts | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of metrics.

    Attributes:
        about: what it looks at, in one line.
        when: when it is computed, in words.
        usual: whether a report computes it unasked, by the names of the classes and whether the data has objects.
        definitions: the card of every score.
        headline: the scores that matter most, for short tables.
        of_image: what it keeps of an image.
        of_set: the scores, from what it kept of at least one image; also takes the names of the classes.
        of_probabilities: whether a network that gives classes alone cannot be scored.
    """

    about: str
    when: str
    usual: Callable[[Collection[str], bool], bool]
    definitions: Mapping[str, Definition]
    headline: tuple[str, ...]
    of_image: Callable[[Prediction, Metrics], Any]
    of_set: Callable[[Sequence[Any], Sequence[str]], Pooled]
    of_probabilities: bool = False


def own_scores(one: Prediction, metrics: Metrics) -> dict[str, float]:
    """Return the value of every function that gives one.

    Raises:
        UsageError: a function returns something else than a number.
    """
    probabilities, labels = one.probabilities.astype(np.float32, copy=False), one.labels
    if one.valid is not None:
        first = np.zeros_like(probabilities)
        first[0] = 1
        probabilities, labels = np.where(one.valid, probabilities, first), np.where(one.valid, labels, 0)
    found = dict[str, float]()
    for name, function in metrics.own.items():
        value: Any = function(probabilities, labels)
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            raise UsageError(f"metrics: {name} returned {type(value).__name__}; expected one number an image") from None
    return {name: value for name, value in found.items() if not math.isnan(value)}


FAMILIES: dict[str, Family] = {
    "overlap": Family(
        about="pixels with their right class, and the overlap of predicted and true regions",
        when="always",
        usual=lambda classes, objects: True,
        definitions=overlap.DEFINITIONS,
        headline=("foreground_dice", "mean_dice", "mean_iou", "pixel_accuracy"),
        of_image=overlap.of_image,
        of_set=overlap.of_set,
    ),
    "legacy": Family(
        about="the older systems' forms of Dice, and their protocol of images resized before the network",
        when="with --metrics legacy, or where a configuration's train.metrics or train.best_metric names it",
        usual=lambda classes, objects: False,
        definitions=legacy.DEFINITIONS,
        headline=("soft_dice_two_class_{size}", "soft_iou_two_class_{size}", "soft_dice_foreground"),
        of_image=legacy.of_image,
        of_set=mean_over_images,
    ),
    "objects": Family(
        about="how many objects are found, and how well each is outlined",
        when="with --metrics objects; in reports where the data tells objects apart",
        usual=lambda classes, objects: objects,
        definitions=objects.DEFINITIONS,
        headline=("mean_precision", "f1_50", "aji", "object_dice"),
        of_image=objects.of_image,
        of_set=objects.of_set,
    ),
    "isbi": Family(
        about="the ISBI 2012 challenge's numbers: what membranes split and merge",
        when="with --metrics isbi or isbi:CLASS; in reports of the classes membrane and interior",
        usual=lambda classes, objects: set(classes) == {"membrane", "interior"},
        definitions=isbi.DEFINITIONS | isbi.OTHER_FOLDS,
        headline=("v_rand_thinned", "v_info_thinned"),
        of_image=isbi.of_image,
        of_set=isbi.of_set,
        of_probabilities=True,
    ),
    "calibration": Family(
        about="whether probabilities are true: of pixels given 0.8, eight in ten are right",
        when="by evaluate and in reports, where there are probabilities",
        usual=lambda classes, objects: True,
        definitions=calibration.DEFINITIONS,
        headline=(),
        of_image=calibration.of_image,
        of_set=calibration.of_set,
        of_probabilities=True,
    ),
    "binary": Family(
        about="each class against the rest: ROC, precision and recall, sensitivity and specificity",
        when="with --metrics binary; in reports of two classes, with curves",
        usual=lambda classes, objects: len(classes) == 2,
        definitions=binary.DEFINITIONS,
        headline=("roc_auc", "average_precision", "f1_score", "sensitivity", "specificity"),
        of_image=binary.of_image,
        of_set=binary.of_set,
        of_probabilities=True,
    ),
    "surface": Family(
        about="distances between the outlines of predicted and true regions",
        when="with --metrics surface",
        usual=lambda classes, objects: False,
        definitions=surface.DEFINITIONS,
        headline=("hausdorff", "hd95", "assd"),
        of_image=surface.of_image,
        of_set=surface.of_set,
    ),
    "own": Family(
        about="metrics of your own: functions of the probabilities and labels of an image",
        when="in Python, where functions are given: train(..., metrics={NAME: function}), evaluate(..., own={...})",
        usual=lambda classes, objects: False,
        definitions={},
        headline=(),
        of_image=own_scores,
        of_set=mean_over_images,
    ),
}
"""Every family by its name, in the order in which scores are written."""

DEFINITIONS: dict[str, Definition] = {
    name: card for family in FAMILIES.values() for name, card in family.definitions.items()
}


@cache
def family_of(score: str) -> str:
    """Return the name of the family that a score such as `dice_nucleus` belongs to; any other name is a user's own."""
    return next((name for name, one in FAMILIES.items() if definition_in(one.definitions, score) is not None), "own")


def definition_of(name: str) -> Definition:
    """Return the card of a score by its name, such as `mean_iou` or `dice_nucleus`; any other name is a user's own."""
    return own_definition(name) if family_of(name) == "own" else find_definition(name, DEFINITIONS)


def own_definition(name: str) -> Definition:
    """Return the card of a metric of a user's own."""
    return Definition(
        name=name,
        meaning="a metric of the user's own, mean over images",
        formula=f"the function that was given as {name}; functions.json of the run keeps its source",
        better="higher",
        classes="as the function takes them",
        averaging="each image by itself, then the mean over images",
        absent="an image for which the function returns NaN is left out",
        threshold="as the function decides",
        source="the user",
        low=None,
        high=None,
    )


def own_functions(functions: Mapping[str, MetricFunction] | None) -> Mapping[str, MetricFunction]:
    """Return functions of a user's own whose names are fit and free.

    Raises:
        UsageError: one is not.
    """
    for name in functions or {}:
        if re.fullmatch(r"[A-Za-z]\w*", name) is None or name in _OF_THE_LOG:
            raise UsageError(f"metrics: {name!r} cannot name a metric; use letters, digits, _, and no word of the log")
        if (family := family_of(name)) != "own":
            raise UsageError(
                f"metrics: {name} reads as a score of unetkit's family {family}, such as that of a class; give yours "
                f"another name, such as my_{name}"
            )
    return functions or {}


def better(name: str, value: float, best: float) -> bool:
    """Tell whether `value` of the score `name` is strictly better than `best`; NaN never is."""
    return improves(definition_of(name), value, best)


def deciding_scores(scores: Mapping[str, float], metric: str | None = None) -> list[str]:
    """Return the names of at most ten scores: the one that chooses weights, then those that matter most of each family.

    `metric` is the score that chose the weights, or that is asked about.
    """
    found = [metric] if metric is not None and metric in scores else []
    found += [name for name in scores if family_of(name) == "own"]
    # Families that were asked for besides overlap come first where there is no room for all.
    for family in (*(name for name in FAMILIES if name != "overlap"), "overlap"):
        for frame in FAMILIES[family].headline:
            found += [name for name in scores if frame.replace(SIZE, size_in(name) or "") == name]
    chosen = set(list(dict.fromkeys(found))[:MOST_SCORES])
    classes = [name for name in scores if name.startswith("iou_") and not name.endswith("_per_image")]
    if len(chosen) + len(classes) <= MOST_SCORES:
        chosen |= set(classes)
    return [name for name in dict.fromkeys((*found[:1], *scores)) if name in chosen]


def deciding_table(scores: Mapping[str, float], metric: str | None = None) -> str:
    """Return the scores that decide, with their meanings, as an HTML table."""
    named = {name: definition_of(name) for name in deciding_scores(scores, metric)}
    rows = [[name, f"{scores[name]:.4f}", f"{card.meaning}; {card.better} is better"] for name, card in named.items()]
    return table(["score", "value", "meaning"], rows)


def usual_families(classes: Collection[str], *, objects: bool, named: Collection[str] = ()) -> list[str]:
    """Return the families that a report computes: those that are usual for such data, and those that are named."""
    return [name for name, family in FAMILIES.items() if name in named or family.usual(classes, objects)]


def choose_metrics(asked: Iterable[str], classes: Sequence[str], *, warping: bool = True) -> Metrics:
    """Return the families of these names, and always overlap.

    Args:
        asked: names of `FAMILIES`; "isbi:cell" also names the class that is the interior of objects.
        classes: the names of the data's classes.
        warping: isbi: whether to compute the warping error too.

    Raises:
        UsageError: no such family, no such class, or nothing says which class is the interior.
    """
    families, interior = {"overlap"}, 1
    for word in asked:
        family, _, named = word.partition(":")
        if family not in FAMILIES or (named and family != "isbi"):
            expected = ", ".join(FAMILIES)
            raise UsageError(f"--metrics {word}: there is no such family of scores; expected {expected}, or isbi:CLASS")
        families.add(family)
        if family == "isbi":
            interior = interior_class(classes, named or None)
    return Metrics(tuple(name for name in FAMILIES if name in families), interior, warping)


def interior_class(classes: Sequence[str], wanted: str | None = None) -> int:
    """Return the index of the class that is the interior of objects.

    Args:
        classes: the names, index 0 first.
        wanted: a name or an index; None: the class that is called interior, else the second of two.

    Raises:
        UsageError: there is no such class, or nothing says which it is.
    """
    if wanted is None and ("interior" in classes or len(classes) == 2):
        return list(classes).index("interior") if "interior" in classes else 1
    if wanted is not None and wanted in classes:
        return list(classes).index(wanted)
    if wanted is not None and wanted.isdigit() and int(wanted) < len(classes):
        return int(wanted)
    found = "nothing says which class is the interior of objects" if wanted is None else f"there is no class {wanted!r}"
    raise UsageError(f"{found}; name one of {', '.join(classes)}, such as --metrics isbi:{classes[-1]}")
