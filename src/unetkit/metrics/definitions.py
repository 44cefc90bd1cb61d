"""What a score means: one card a score, printed wherever the number is printed.

Assumes nothing about how a score is computed. The modules that compute scores fill in the cards; this one only knows
their form, finds one by the score's name and compares two values by it.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from unetkit.errors import ConfigError

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
