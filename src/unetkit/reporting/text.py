"""Scores as a plain table for a terminal: every number with its name and what it means."""

import math
import textwrap
from collections.abc import Mapping

from unetkit.metrics import ObjectCounts, definition_of
from unetkit.metrics.definitions import size_in

WIDTH = 100
_MOST_SINGLE = 32
"""Scores of single classes beyond which they are left out: there are four for each class."""


def scores_table(scores: Mapping[str, float]) -> str:
    """Return the scores as aligned lines of name, value and formula, with a legend, within 100 columns.

    Forms that only serve comparisons with other programs are told in running text at the end. Of many classes, the
    scores of single ones are left out.

    Args:
        scores: values by the names of `metrics.DEFINITIONS`.

    Raises:
        ConfigError: a name that has no definition.
    """
    rows = {name: value for name, value in scores.items() if not definition_of(name).aside}
    single = [name for name in rows if definition_of(name).classes.startswith("the one named")]
    left_out = single if len(single) > _MOST_SINGLE else []
    rows = {name: value for name, value in rows.items() if name not in left_out}
    name_width = max([len("score"), *map(len, rows)])
    room = max(WIDTH - name_width - 12, 20)
    lines = [f"{'score':<{name_width}}  {'value':>8}  definition"]
    for name, value in rows.items():
        formula, _ = short_formula(name)
        lines.append(f"{name:<{name_width}}  {shown(value):>8}  {_cut(formula, room)}")
    told = [f"and {len(left_out)} scores of single classes, which the report and --json tell"] if left_out else []
    return "\n".join([*lines, *told, "", *_legend(rows), *_aside(scores)])


def shown(value: float | None) -> str:
    """Return a score with four decimals, or a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def objects_line(counts: ObjectCounts) -> str:
    """Return what was counted of objects, in one line."""
    found = f"{counts.true} true, {counts.predicted} predicted, {counts.matched[0]} pairs at IoU .5"
    return f"objects: {found}; {counts.split} true split, {counts.merged} predicted that merge several"


def short_formula(name: str) -> tuple[str, str]:
    """Return a score's formula without and with its symbols: the rule, and what its letters stand for."""
    rule, _, symbols = definition_of(name).formula.partition(", ")
    return rule, symbols


def _legend(scores: Mapping[str, float]) -> list[str]:
    symbols = dict.fromkeys(text for name in scores if (text := short_formula(name)[1]))
    lines = [f"with {text}" for text in symbols]
    by_image = [name for name in scores if "mean over images" in definition_of(name).averaging]
    named = [*dict.fromkeys("..._per_image" if name.endswith("_per_image") else name for name in by_image)]
    if named:
        lines.append(f"{', '.join(named)}: of every image by itself, then the mean over images")
    sized = {size: definition_of(name).resolution for name in scores if (size := size_in(name))}
    lines += [f"..._{size}: on {resolution}" for size, resolution in sized.items()]
    return [part for line in lines for part in _wrapped(line)]


def _aside(scores: Mapping[str, float]) -> list[str]:
    told = [f"{name} {shown(value)}" for name, value in scores.items() if definition_of(name).aside]
    return _wrapped(f"other systems' forms: {', '.join(told)}") if told else []


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ")


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"
