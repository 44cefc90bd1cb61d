"""Metrics of a user's own: plain functions that `train`, `evaluate` and `report` are given, each under a name.

A function is called as `function(probabilities, labels)`: [K, H, W] float32 of the data's classes, which sum to one
over K, and [H, W] class indices. It returns a number; more is better, so an error is returned with its sign reversed.
The score of a set is the mean over its images; NaN stands for "no value", and such an image is left out. Pixels that do
not count are given as class 0 in both, so that they never disagree.

Nothing here remembers a function: a run keeps the source (`functions.json`), and whoever scores gives it again.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import UsageError
from unetkit.metrics.definitions import Definition, means_of_each
from unetkit.metrics.prediction import Metrics, Pooled, Prediction

_OF_THE_LOG = frozenset({"step", "loss", "lr", "train_seconds", "validation_seconds", "images_per_second"})


class MetricFunction(Protocol):
    """A metric of one image."""

    def __call__(self, probabilities: NDArray[np.float32], labels: NDArray[Any], /) -> float:
        """Return a number, more is better; NaN: this image has no value."""
        ...


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


def require_name(name: str) -> None:
    """Require that a name fits into tables and the log.

    Raises:
        UsageError: it does not.
    """
    if re.fullmatch(r"[A-Za-z]\w*", name) is None or name in _OF_THE_LOG:
        raise UsageError(f"metrics: {name!r} cannot name a metric; use letters, digits, _, and no word of the log")


def of_image(one: Prediction, metrics: Metrics) -> dict[str, float]:
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


def of_set(images: Sequence[Mapping[str, float]], classes: Sequence[str]) -> Pooled:
    """Return the mean of every function over the images that have a value."""
    return Pooled(means_of_each(images), images)
