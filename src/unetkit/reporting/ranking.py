"""Which images a network did worst and best on, by one score."""

from dataclasses import dataclass
from typing import Literal

from unetkit.evaluation import Evaluation
from unetkit.metrics import ImageScores, definition_of

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
    """Return the worst and the best images, no image twice; the better half of few counts as best.

    Args:
        evaluation: the images' scores.
        metric: the score that ranks.
        each: how many from each end.
    """
    order = ranked(evaluation, ranking_metric(evaluation, metric))
    low = min(each, len(order) // 2)
    high = min(each, len(order) - low)
    worst = [Chosen(image, "worst", place, value) for place, (value, image) in enumerate(order[:low], 1)]
    best = [Chosen(image, "best", place, value) for place, (value, image) in enumerate(order[::-1][:high], 1)]
    return worst + best
