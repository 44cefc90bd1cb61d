"""What log.jsonl tells: the course of the losses, of the validations, and when which level was reached.

Assumes the form in which training writes the log: lines of steps have a `loss`, lines of validations have
`validation_seconds` and scores. A value that is missing or not a finite number is passed over.

Which images a network did worst and best on, by one score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unetkit.evaluation.score import Evaluation
from unetkit.metrics import ImageScores, better, definition_of
from unetkit.run import Record, Run

_NOT_TERMS = frozenset({"step", "train_seconds", "lr", "images_per_second"})
_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
_SHOWN_LEVELS = 7


@dataclass(frozen=True, slots=True)
class History:
    """The two kinds of lines of a log, each in order.

    Attributes:
        training: lines of steps.
        validations: lines of validations.
    """

    training: tuple[Record, ...]
    validations: tuple[Record, ...]

    @property
    def step(self) -> int:
        """The last step that the log tells of."""
        return int(max(self._all("step"), default=0))

    @property
    def train_seconds(self) -> float:
        """Seconds spent in the steps, as far as the log tells."""
        return max(self._all("train_seconds"), default=0.0)

    def _all(self, name: str) -> list[float]:
        return [value for line in (*self.training, *self.validations) if (value := number_in(line, name)) is not None]


@dataclass(frozen=True, slots=True)
class Milestone:
    """The first validation at which a score was at a level or better."""

    level: float
    step: int
    train_seconds: float


def read_history(run: Run) -> History:
    """Read a run's log; empty where there is none yet."""
    lines = run.read_log()
    return History(
        tuple(line for line in lines if "loss" in line),
        tuple(line for line in lines if "validation_seconds" in line),
    )


def number_in(line: Record, name: str) -> float | None:
    """Return a line's value of that name, None where it is missing or not a finite number."""
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def series(lines: Sequence[Record], x: str, y: str) -> tuple[list[float], list[float]]:
    """Return the values of `x` and `y` in the lines that have both."""
    both = [(number_in(line, x), number_in(line, y)) for line in lines]
    points = [(a, b) for a, b in both if a is not None and b is not None]
    return [a for a, _ in points], [b for _, b in points]


def loss_terms(history: History) -> list[str]:
    """Return the names of the loss and of its terms, the loss first; a single term is the loss itself."""
    names = dict.fromkeys(name for line in history.training for name in line if name not in _NOT_TERMS)
    terms = sorted(names, key=lambda name: name != "loss")
    return terms if len(terms) > 2 else terms[:1]


def best_validation(history: History, metric: str) -> Record | None:
    """Return the line of the best validation by a metric, the first of equals; None without validations."""
    best: Record | None = None
    for line in history.validations:
        value = number_in(line, metric)
        if value is not None and (best is None or better(metric, value, best[metric])):
            best = line
    return best


def milestones(history: History, metric: str) -> list[Milestone]:
    """Return when the highest levels of a score between 0 and 1 were first reached, in order."""
    card = definition_of(metric)
    if (card.low, card.high) != (0.0, 1.0):
        return []
    found: list[Milestone] = []
    for rung in _LEVELS:
        level = rung if card.better == "higher" else round(1 - rung, 2)
        for line in history.validations:
            value = number_in(line, metric)
            if value is not None and not better(metric, level, value):
                found.append(Milestone(level, int(line["step"]), number_in(line, "train_seconds") or 0.0))
                break
    return found[-_SHOWN_LEVELS:]


_ALWAYS_THERE = "pixel_accuracy"
_ENDINGS = {2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image that is shown.

    Attributes:
        image: its scores.
        end: of the ranking, from which the place is counted.
        place: from 1.
        value: of the score that ranks.
    """

    image: ImageScores
    end: Literal["worst", "best"]
    place: int
    value: float

    @property
    def title(self) -> str:
        """The place in words, such as "worst" or "2nd best"."""
        return self.end if self.place == 1 else f"{self.place}{_ENDINGS.get(self.place, 'th')} {self.end}"


def image_score(image: ImageScores, metric: str) -> float | None:
    """Return an image's value of a score of the set; None where the image has none (an absent class)."""
    return image.scores.get(metric, image.scores.get(metric.removesuffix("_per_image")))


def ranking_metric(evaluation: Evaluation, metric: str) -> str:
    """Return the score that ranks the images: the one asked for, or pixel accuracy where no image has it."""
    return metric if any(image_score(image, metric) is not None for image in evaluation.images) else _ALWAYS_THERE


def ranked(evaluation: Evaluation, metric: str) -> list[tuple[float, ImageScores]]:
    """Return the images that have a value of the score with it, the worst first."""
    pairs = [(value, image) for image in evaluation.images if (value := image_score(image, metric)) is not None]
    return sorted(pairs, key=lambda pair: pair[0], reverse=definition_of(metric).better == "lower")


def extremes(evaluation: Evaluation, metric: str, each: int) -> list[Chosen]:
    """Return the worst and the best images, `each` of both, no image twice; the better half of few counts as best."""
    order = ranked(evaluation, ranking_metric(evaluation, metric))
    low = min(each, len(order) // 2)
    high = min(each, len(order) - low)
    worst = [Chosen(image, "worst", place, value) for place, (value, image) in enumerate(order[:low], 1)]
    best = [Chosen(image, "best", place, value) for place, (value, image) in enumerate(order[::-1][:high], 1)]
    return worst + best
