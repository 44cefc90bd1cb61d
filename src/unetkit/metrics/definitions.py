"""What a score means: one card a score, printed wherever the number is printed.

Assumes nothing about how a score is computed. The modules that compute scores fill in the cards; this one only knows
their form, finds one by the score's name and compares two values by it.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from unetkit.errors import ConfigError

CLASS = "{class}"  # stands for a class's name in the name and the text of a card


@dataclass(frozen=True, slots=True)
class Definition:
    """The card of a score.

    Attributes:
        name: the score's name in tables, in `log.jsonl` and in JSON; may hold `{class}` until a class is put in.
        formula: how it is computed, in one line of text.
        better: whether a higher or a lower value is the better one.
        classes: which classes enter, and whether the background (class 0) is one of them.
        averaging: over what is summed and over what is averaged, in which order.
        absent: what becomes of a class that is not there.
        threshold: how probabilities become a decision, and how the threshold was chosen.
        source: where the definition comes from.
        low: the lowest possible value.
        high: the highest possible value.
        resolution: the pixels on which it is computed.
    """

    name: str
    formula: str
    better: Literal["higher", "lower"]
    classes: str
    averaging: str
    absent: str
    threshold: str
    source: str
    low: float = 0.0
    high: float = 1.0
    resolution: str = "that of the labels"

    def of_class(self, label: str) -> "Definition":
        """Return the card with a class's name in place of `{class}`."""
        return replace(
            self,
            name=self.name.replace(CLASS, label),
            formula=self.formula.replace(CLASS, label),
            classes=self.classes.replace(CLASS, label),
            averaging=self.averaging.replace(CLASS, label),
        )


def find_definition(name: str, cards: Mapping[str, Definition]) -> Definition:
    """Return the card of a score by its name; `dice_nucleus` finds `dice_{class}`.

    Raises:
        ConfigError: there is no such score.
    """
    if name in cards:
        return cards[name]
    # The longest frame first: `dice_{class}` would take `dice_nucleus_per_image` for a class `nucleus_per_image`.
    for frame in sorted((key for key in cards if CLASS in key), key=len, reverse=True):
        before, after = frame.split(CLASS)
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            return cards[frame].of_class(name[len(before) : len(name) - len(after)])
    near = difflib.get_close_matches(name, cards, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "one of: " + ", ".join(cards)
    raise ConfigError(f"'{name}' is not the name of a score; {hint}")


def improves(definition: Definition, value: float, best: float) -> bool:
    """Tell whether `value` is strictly better than `best`; NaN never is, and anything is better than NaN."""
    if math.isnan(value) or math.isnan(best):
        return not math.isnan(value)
    return value > best if definition.better == "higher" else value < best
