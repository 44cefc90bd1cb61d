"""The ISBI challenge's numbers as plain tables: with their thresholds, of every slice, and beside published ones.

Assumes an evaluation that holds them. Does not know how they are computed.
"""

from collections.abc import Sequence

from unetkit.evaluation import Evaluation
from unetkit.metrics import PUBLISHED, IsbiScores, ThresholdScore
from unetkit.reporting.text import shown

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
