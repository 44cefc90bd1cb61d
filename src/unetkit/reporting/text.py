"""Scores as a plain table for a terminal: every number with its name and what it means.

The ISBI challenge's numbers as plain tables: with their thresholds, of every slice, and beside published ones.

Assumes an evaluation that holds them. Does not know how they are computed.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

from unetkit.evaluation.score import Evaluation
from unetkit.metrics import PUBLISHED, IsbiScores, ObjectCounts, ThresholdScore, definition_of
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


PUBLISHED_NOTE = (
    "published values are of the challenge's hidden test labels: on other labels, such as the training stack's, "
    "the same numbers say less, and thresholds here were chosen on the scored slices"
)


def isbi_tables(evaluation: Evaluation, *, slices: bool = False) -> str:
    """Return the numbers with their thresholds beside the published ones, for a terminal.

    Args:
        evaluation: one with the challenge's numbers.
        slices: a line for every slice, too.
    """
    assert evaluation.isbi is not None
    isbi = evaluation.isbi
    names = list(isbi.scores())
    chosen = {name: f"{_of(isbi, name).threshold:.1f}" for name in names}
    rows = [
        ["", *names],
        ["this evaluation", *(_digits(name, _of(isbi, name).value) for name in names)],
        ["  at threshold", *chosen.values()],
        *(
            [title, *(_digits(name, values[name]) if name in values else "–" for name in names)]
            for title, values in PUBLISHED.items()
        ),
    ]
    parts = [_aligned(rows), f"note: {PUBLISHED_NOTE}"]
    if slices:
        table = [["slice", *names]]
        table += [[one.name, *(_digits(name, one.scores[name]) for name in names)] for one in evaluation.images]
        parts.append(_aligned(table))
    return "\n\n".join(parts)


def _of(isbi: IsbiScores, name: str) -> ThresholdScore:
    return getattr(isbi, name)


def _digits(name: str, value: float) -> str:
    """Return four decimals, and six of the warping error, which is of that order."""
    return f"{value:.6f}" if name == "warping_error" else shown(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [[f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join([f"{row[0]:<{widths[0]}}", *cells[1:]]) for row, cells in zip(rows, lines, strict=True))
