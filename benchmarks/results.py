"""Make docs/results.md and its plot of the rows in RECORDS.md.

    python benchmarks/results.py

A row says what was scored, how, by whom, and in which section of the records or in which publication the number stands.
A section that is not there is refused. Nothing is measured here.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from measure import RECORDS

HOME = RECORDS.parent.parent
PAGE, PLOT = HOME / "docs/results.md", HOME / "docs/pictures/results.png"
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_HEAD = """# Results

What unetkit reaches on public data, next to what others published or what was run in turn with it. Each number stands
in `benchmarks/RECORDS.md` with its command, machine, versions and date, and `benchmarks/results.py` makes this page of
it. Numbers of other images or protocols do not compare: the notes say where that is so. Seconds are those of two CPU
cores unless a note says otherwise.

![Soft Dice against seconds of training](pictures/results.png)

*ISBI-2012, fold 1, on two CPU cores: medians of three seeds. The lines join the times at which 0.9111 and 0.92 were
passed, known to 20 steps, and the end of 120 steps.*
"""


class Row(BaseModel):
    """One number.

    Attributes:
        who: whose network it is.
        recipe: how it was trained.
        score: of the measure of its table.
        low: the lowest of several trainings, or the lower end of an interval.
        high: the highest.
        seconds: of the whole command.
        training: the seconds are of the training alone.
        weights: how many the network has.
        note: what one has to know to compare.
        curve: (seconds, score) on the way.
        section: of RECORDS.md.
        source: where it was published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    who: str = "unetkit"
    recipe: str
    score: Annotated[float, Field(ge=0, le=1)]
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    training: bool = False
    weights: int | None = None
    note: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    section: str | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _is_from_somewhere(self) -> "Row":
        if (self.section is None) == (self.source is None):
            raise ValueError("a row names its section or its source")
        return self

    def cells(self) -> list[str]:
        """Return the row of the page."""
        spread = f" ({self.low:.4f} to {self.high:.4f})" if self.low is not None and self.high is not None else ""
        seconds = "" if self.seconds is None else f"{self.seconds:g}{' (training)' if self.training else ''}"
        weights = "" if self.weights is None else f"{self.weights:,}"
        return [
            self.who,
            self.recipe,
            f"{self.score:.4f}{spread}",
            seconds,
            weights,
            self.note,
            self.section or str(self.source),
        ]


class Table(BaseModel):
    """Numbers of one measure on the same images, but for what the notes say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    measure: str
    rows: tuple[Row, ...]


def read_tables(text: str) -> list[Table]:
    """Return the tables of all blocks; rows of the same data and measure stand together.

    Raises:
        ValueError: a row that names a section that is not there, or a block that is none.
    """
    sections = set(re.findall(r"^## (.*)$", text, re.MULTILINE))
    tables: dict[tuple[str, str], list[Row]] = {}
    for block in _BLOCK.findall(text):
        for one in yaml.safe_load(block):
            table = Table.model_validate(one)
            if missing := [row.section for row in table.rows if row.section and row.section not in sections]:
                raise ValueError(f"{missing[0]}: there is no such section in {RECORDS}")
            tables.setdefault((table.data, table.measure), []).extend(table.rows)
    return [Table(data=data, measure=measure, rows=tuple(rows)) for (data, measure), rows in tables.items()]


def page(tables: Sequence[Table]) -> str:
    """Return the page."""
    lines = [_HEAD]
    titles = ["by", "recipe", "score", "seconds", "weights", "note", "where it stands"]
    for table in tables:
        if f"## {table.data}" not in "\n".join(lines).split("\n"):
            lines += [f"## {table.data}", ""]
        lines += [f"{table.measure[0].upper()}{table.measure[1:]}:", ""]
        lines += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        lines += [f"| {' | '.join(row.cells())} |" for row in table.rows]
        lines += [""]
    return "\n".join(lines)


def draw(tables: Sequence[Table], path: Path) -> None:
    """Draw the rows that have a curve, score against seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = {"unetkit": "#0f766e", "MONAI": "#b45309"}
    drawn = [row for table in tables for row in table.rows if row.curve]
    for place, row in enumerate(drawn):
        seconds, scores = zip(*row.curve, strict=True)
        line = ["-", "--", ":"][sum(other.who == row.who for other in drawn[:place])]
        label = row.recipe if row.who in row.recipe else f"{row.who}: {row.recipe}"
        axes.plot(seconds, scores, line, marker="o", color=colours.get(row.who, "#475569"), label=label)
    axes.axhline(0.9111, color="#94a3b8", linewidth=1)
    axes.annotate("0.9111: MindSpore", (1, 0.9111), (3, 3), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.set_xlim(1, 70)
    axes.set_ylim(0.9095, 0.9305)
    axes.minorticks_off()
    axes.set_xlabel("seconds of training on two CPU cores")
    axes.set_ylabel("soft Dice, six held-out slices")
    figure.legend(frameon=False, fontsize=8, loc="outside upper left")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """Write the page and the plot."""
    tables = read_tables(RECORDS.read_text(encoding="utf-8"))
    PAGE.write_text(page(tables), encoding="utf-8")
    draw(tables, PLOT)
    print(f"written: {PAGE}, {PLOT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
