"""What a search over settings has found, and its page. Does not know how trials are chosen or trained."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unetkit.config import Config
from unetkit.metrics import definition_of
from unetkit.reporting import tables
from unetkit.reporting.html import Content, Facts, Picture, Table, breakable, code, render
from unetkit.reporting.page import Curves
from unetkit.reporting.plots import parallel, trial_scores
from unetkit.reporting.text import aligned, counted, shown
from unetkit.storage.atomic import atomic_write

BEST = "best.yaml"
_MOST_ROWS = 100


@dataclass(frozen=True, slots=True)
class Trial:
    """A training of a search.

    Attributes:
        folder: its run, below that of the search.
        state: finished; pruned, by a validation; failed; stopped, by a signal, and to be gone on with.
        score: its best validation; of one that was pruned or stopped, its last.
        step: of its last validation.
        values: what was chosen for it, as YAML, by key.
        reason: why it failed.
    """

    folder: str
    state: str
    score: float | None
    step: int
    values: dict[str, str]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search has found so far.

    Attributes:
        path: its folder.
        metric: the score of validations by which trials are compared.
        trials: in their order.
        over: what was searched over, in words.
        logarithmic: the keys whose values are drawn by magnitude.
        importance: the share of each key in how far the best trials differ from the others; empty for few trials.
    """

    path: Path
    metric: str
    trials: tuple[Trial, ...]
    over: tuple[str, ...]
    logarithmic: tuple[str, ...] = ()
    importance: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def ranked(self) -> list[Trial]:
        """The trials: finished ones with the best first, then the others in their order."""
        sign = -1 if definition_of(self.metric).better == "higher" else 1
        finished = [one for one in self.trials if one.state == "finished"]
        ordered = sorted(finished, key=lambda one: sign * (one.score or 0.0))
        return [*ordered, *(one for one in self.trials if one.state != "finished")]

    @property
    def best(self) -> Trial | None:
        """The best finished trial, where there is one."""
        return next((one for one in self.ranked if one.state == "finished"), None)

    @property
    def counted(self) -> str:
        """How many trials there are of each state, in words."""
        return counted([one.state for one in self.trials]) or "none"

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        content = asdict(self) | {"path": str(self.path), "trials": [asdict(one) for one in self.trials]}
        return content | {"best": None if self.best is None else asdict(self.best)}

    def text(self, most: int = 10) -> str:
        """Return the best trials as lines, and what to do with the best of them."""
        keys = list(dict.fromkeys(key for one in self.trials for key in one.values))
        rows = [
            [one.folder, one.state, shown(one.score), *(one.values.get(key, "–") for key in keys)]
            for one in self.ranked[:most]
        ]
        lines = [aligned([["trial", "state", self.metric, *keys], *rows]), ""]
        left = len(self.trials) - most
        lines += [f"and {left} more: {self.path / 'report.html'}", ""] if left > 0 else []
        if self.importance:
            shares = ", ".join(f"{key} {share:.2f}" for key, share in self.importance.items())
            lines.append(f"importance  {shares}")
        if self.best is not None:
            lines.append(f"best        {self.best.folder}: {self.metric} {shown(self.best.score)}, {self.counted}")
            lines.append(f"train it    unetkit train {self.path / BEST} --out RUN")
        return "\n".join([*lines, f"report      {self.path / 'report.html'}"])


def write_page(found: Search, config: Config) -> None:
    """Write `report.html` into the folder of a search; `config` is what its trials have in common.

    Raises:
        StorageError: the disk did not take it.
    """
    scored = [one for one in found.trials if one.score is not None and len(one.values) == len(found.over)]
    plots, lines = None, None
    if scored:
        rows = [(one.score or 0.0, one.state == "finished", one.values) for one in scored]
        higher = definition_of(found.metric).better == "higher"
        picture = trial_scores(rows, found.metric, found.logarithmic, higher=higher)
        caption = (
            "The first plot: trials in their order, and the best so far. The others: each value that was tried. Filled "
            "circles: finished, the best validation. Hollow ones: pruned or stopped, the last validation."
        )
        plots = Curves(Picture(picture, "scores of trials"), caption)
        finished = [row for row in rows if row[1]]
        if len(finished) > 1:
            caption = "A line a finished trial, through its value of each key and its score; the darker, the better."
            drawn = parallel(finished, found.metric, found.logarithmic, higher=higher)
            lines = Curves(Picture(drawn, "values and scores"), caption)
    text = render(
        "search.html",
        f"Search {found.path.resolve().name}",
        summary=_summary(found),
        plots=plots,
        parallel=lines,
        trials=_trials_table(found),
        importance=_importance_table(found),
        configuration=tables.config_table(config),
    )
    atomic_write(found.path / "report.html", text)


def _summary(found: Search) -> Facts:
    facts: list[tuple[str, Content]] = [("Trials", f"{len(found.trials)}: {found.counted}")]
    facts += [("Searched over", words) for words in found.over]
    if (best := found.best) is not None:
        words = Markup("<b>{}</b>: {} {} on the held-out images").format(
            best.folder, breakable(found.metric), shown(best.score)
        )
        values = Markup(" ").join(code(f"{key}={value}") for key, value in best.values.items())
        facts += [("Best", words), ("Its settings", values)]
        facts.append(("Train it", code(f"unetkit train {found.path / BEST} --out RUN")))
        mind = (
            f"The best of {len(found.trials)} was chosen on the images that it is scored on: expect less on others. "
            "The test set took no part; the training above scores it, once."
        )
        facts.append(("Mind", mind))
    return facts


def _trials_table(found: Search) -> Table:
    keys = list(dict.fromkeys(key for one in found.trials for key in one.values))
    rows: list[list[Content]] = [
        [
            Markup('<a href="{0}/report.html">{0}</a>').format(one.folder) if one.state == "finished" else one.folder,
            f"{one.state}: {one.reason}" if one.reason else one.state,
            shown(one.score),
            str(one.step),
            *(code(one.values.get(key, "–")) for key in keys),
        ]
        for one in found.ranked[:_MOST_ROWS]
    ]
    left = len(found.trials) > _MOST_ROWS
    few = f" The first {_MOST_ROWS} of {len(found.trials)}; trials.json has all." if left else ""
    words = "Every trial, the best first; {} is the best of its validations, of pruned ones the last.{}"
    caption = Markup(words).format(breakable(found.metric), few)
    head: list[Content] = ["Trial", "State", breakable(found.metric), "Step", *map(breakable, keys)]
    marked = [0] if found.best is not None else []
    return Table(caption, head, rows, numbers=(2, 3), marked=marked)


def _importance_table(found: Search) -> Table | None:
    if not found.importance:
        return None
    rows: list[list[Content]] = [[breakable(key), f"{share:.2f}"] for key, share in found.importance.items()]
    caption = (
        "How much each key has to do with a trial being among the best, as a share of 1 (PED-ANOVA). Of a few dozen "
        "trials it is a hint, not a measurement."
    )
    return Table(caption, ["Key", "Share"], rows, numbers=(1,))
