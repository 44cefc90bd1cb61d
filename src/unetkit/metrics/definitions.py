"""What a score means, and what a family of metrics is given and gives back.

One card a score, printed wherever the number is printed. The modules that compute scores fill in the cards; this one
only knows their form, finds one by the score's name and compares two values by it. Assumes nothing about how a score is
computed. Does not know networks, files, or who predicted.

Legend of shapes: K classes, L classes of a network, H height, W width, P pixels.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.errors import ConfigError
from unetkit.objects import ObjectMap

CLASS = "{class}"  # stands for a class's name in the name and the text of a card
SIZE = "{size}"  # stands in a name for `388` or `at_96x128`, in a text for 388 x 388 or 96 x 128
_PLACES = {CLASS: "(.+)", SIZE: r"(388|at_\d+x\d+)"}


@dataclass(frozen=True, slots=True)
class Definition:
    """The card of a score.

    Attributes:
        name: the score's name in tables, in `log.jsonl` and in JSON; may hold `{class}` until a class is put in.
        meaning: what it says, in a few words for a table on the terminal.
        formula: how it is computed, in one line of text.
        better: whether a higher or a lower value is the better one.
        classes: which classes enter, and whether the background (class 0) is one of them.
        averaging: over what is summed and over what is averaged, in which order.
        absent: what becomes of a class that is not there.
        threshold: how probabilities become a decision, and how the threshold was chosen.
        source: where the definition comes from.
        low: the lowest possible value; None: there is no limit.
        high: the highest possible value; None: there is no limit.
        resolution: the pixels on which it is computed.
    """

    name: str
    meaning: str
    formula: str
    better: Literal["higher", "lower"]
    classes: str
    averaging: str
    absent: str
    threshold: str
    source: str
    low: float | None = 0.0
    high: float | None = 1.0
    resolution: str = "that of the labels"

    def filled(self, place: str, text: str) -> "Definition":
        """Return the card with a class's name or a size, as names have it, in place of `{class}` or `{size}`."""
        if place == SIZE:
            sides = text.removeprefix("at_").split("x")
            resolution = self.resolution.replace(SIZE, f"{sides[0]} x {sides[-1]}")
            return replace(self, name=self.name.replace(SIZE, text), resolution=resolution)
        return replace(
            self,
            name=self.name.replace(CLASS, text),
            meaning=self.meaning.replace(CLASS, text),
            formula=self.formula.replace(CLASS, text),
            classes=self.classes.replace(CLASS, text),
            averaging=self.averaging.replace(CLASS, text),
        )


def definition_in(cards: Mapping[str, Definition], name: str) -> Definition | None:
    """Return the card of a score by its name, or None; `dice_nucleus` has `dice_{class}`, `..._388` `..._{size}`."""
    if name in cards:
        return cards[name]
    # The longest frame first: `dice_{class}` would take `dice_nucleus_per_image` for a class `nucleus_per_image`.
    for frame in sorted((key for key in cards if "{" in key), key=len, reverse=True):
        place = next(place for place in _PLACES if place in frame)
        found = re.fullmatch(re.escape(frame).replace(re.escape(place), _PLACES[place]), name)
        if found:
            return cards[frame].filled(place, found[1])
    return None


def find_definition(name: str, cards: Mapping[str, Definition]) -> Definition:
    """Return the card of a score by its name, as `definition_in`.

    Raises:
        ConfigError: there is no such score.
    """
    if (found := definition_in(cards, name)) is not None:
        return found
    near = difflib.get_close_matches(name, cards, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "one of: " + ", ".join(cards)
    raise ConfigError(f"'{name}' is not the name of a score; {hint}")


def means_of_each(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every score over the images that have it; each image gives its scores by name."""
    names = dict.fromkeys(name for scores in images for name in scores)
    return {name: float(np.mean([scores[name] for scores in images if name in scores])) for name in names}


def means_of_classes(of_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the means over the classes that have a score, and of several classes each one's, `score_class`."""
    scores = means_of_each(list(of_class.values()))
    if len(of_class) > 1:
        scores |= {f"{name}_{label}": value for label, its in of_class.items() for name, value in its.items()}
    return scores


def of_one_class(card: Definition) -> Definition:
    """Return the card of a single class's score, of which the mean over classes is known."""
    name, meaning = f"{card.name}_{CLASS}", f"{card.meaning}; {CLASS}"
    return replace(card, name=name, meaning=meaning, classes=f"the one named {CLASS}")


def per_image(card: Definition, averaging: str) -> Definition:
    """Return the card of the mean over images of a score that is computed over the whole set, too."""
    return replace(card, name=f"{card.name}_per_image", meaning=f"{card.meaning}; mean of images", averaging=averaging)


def said_range(definition: Definition) -> str:
    """Return which values a score may have, and which are good."""
    if definition.low is None:
        return f"any number, {definition.better} is better"
    upwards = "upwards" if definition.high is None else f"to {definition.high:g}"
    return f"{definition.low:g} {upwards}, {definition.better} is better"


def size_in(name: str) -> str | None:
    """Return how a score's name says that it was computed on resized images: `388`, `at_96x128`, or None."""
    found = re.search(f"_{_PLACES[SIZE]}$", name)
    return found and found[1]


def improves(definition: Definition, value: float, best: float) -> bool:
    """Tell whether `value` is strictly better than `best`; NaN never is, and anything is better than NaN."""
    if math.isnan(value) or math.isnan(best):
        return not math.isnan(value)
    return value > best if definition.better == "higher" else value < best


Size = tuple[int, int]


def not_there(*_: Any) -> Any:
    """Stand for what a family must not ask of this prediction."""
    raise AssertionError("this prediction was made without what the family needs")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction next to its truth: all that a family may look at.

    Attributes:
        name: the image's name.
        classes: the names of the data's K classes.
        labels: [H, W] the truth, class indices.
        probabilities: [K, H, W] of the data's classes.
        network_probabilities: [L, H, W] of the network's classes: the same, or one more, the border of objects.
        decided: [H, W] the classes of the predicted mask; None: the most probable ones.
        valid: [H, W] bool, the pixels that count; None: all do.
        pixel_size: height and width of a pixel in `unit`; None: not known.
        unit: of the pixel size, such as "µm".
        labels_only: the network gives classes alone: its probabilities are 0 and 1.
        true_objects: gives the true objects.
        found_objects: gives the objects that the probabilities make.
        resized: gives probabilities and labels at another size, the image being resized before the network.
    """

    name: str
    classes: tuple[str, ...]
    labels: NDArray[Any]
    probabilities: NDArray[Any]
    network_probabilities: NDArray[Any]
    decided: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str = ""
    labels_only: bool = False
    true_objects: Callable[[], ObjectMap] = not_there
    found_objects: Callable[[], ObjectMap] = not_there
    resized: Callable[[Size], tuple[NDArray[Any], NDArray[Any]]] = not_there

    @property
    def mask(self) -> NDArray[Any]:
        """[H, W] the class that each pixel is given."""
        return highest(self.probabilities) if self.decided is None else self.decided

    def counted(self) -> "Prediction":
        """Return the pixels that count as an image of one row [1, P], for scores that look at each pixel by itself."""
        if self.valid is None:
            return self
        return replace(
            self,
            labels=self.labels[self.valid][None],
            probabilities=self.probabilities[:, self.valid][:, None],
            network_probabilities=self.network_probabilities[:, self.valid][:, None],
            decided=self.mask[self.valid][None],
            valid=None,
        )


def highest(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return the index of the most probable class [H, W] of probabilities [K, H, W], the first of equals."""
    # With two classes a comparison gives what argmax gives, many times faster.
    return probabilities[1] > probabilities[0] if len(probabilities) == 2 else probabilities.argmax(0)


class MetricFunction(Protocol):
    """A metric of a user's own, of one image."""

    def __call__(self, probabilities: NDArray[np.float32], labels: NDArray[Any], /) -> float:
        """Return a number, more is better; NaN: this image has no value.

        Args:
            probabilities: [K, H, W] float32 of the data's classes, which sum to one over K.
            labels: [H, W] class indices.
        """
        ...


@dataclass(frozen=True, slots=True)
class Metrics:
    """Which families are computed, and the choices that they need.

    Attributes:
        families: names of `FAMILIES`, in its order.
        interior: isbi: index of the class that is the interior of objects; all others are their border.
        warping: isbi: whether to compute the warping error; it takes longer than all else.
        legacy_size: legacy: rows and columns at which images are scored, too; None: at their own size alone.
        own: the user's own functions by the names of their scores.
    """

    families: tuple[str, ...] = ("overlap",)
    interior: int = 1
    warping: bool = True
    legacy_size: Size | None = None
    own: Mapping[str, MetricFunction] = field(default_factory=dict[str, MetricFunction], hash=False)

    def with_own(self, functions: Mapping[str, MetricFunction]) -> "Metrics":
        """Compute functions of the user's own, too."""
        others = tuple(name for name in self.families if name != "own")
        return replace(self, own=functions, families=(*others, "own")) if functions else self


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a family says of a set of images.

    Attributes:
        scores: of the set, by name.
        images: of every image, by name, in order.
        details: what else there is to show; the family's own type.
    """

    scores: dict[str, float]
    images: Sequence[Mapping[str, float]]
    details: Any = None


def mean_over_images(images: Sequence[Mapping[str, float]], classes: Sequence[str]) -> Pooled:
    """Return the means of scores over the images that have them."""
    return Pooled(means_of_each(images), images)
