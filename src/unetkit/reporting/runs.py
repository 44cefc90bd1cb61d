"""Runs next to each other: a table of all run folders below one, and a page that compares them.

A folder is a run when it holds config.yaml and what a training writes next to it. One that is damaged is named and left
out. Scores are those of the report, of runs without one the best validation of their log. Which preset a run began with
is not recorded: the one that it differs least from is named. Assumes that scores of the same name were computed on the
same images, which it does not check: `unetkit compare` does.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from unetkit.config import Config, load_config, preset_names
from unetkit.errors import UnetkitError, UsageError
from unetkit.metrics import definition_of
from unetkit.metrics.bootstrap import mean_interval
from unetkit.reporting.history import History, best_validation, read_history
from unetkit.reporting.html import Content, Facts, Picture, Table, breakable, code, render
from unetkit.reporting.page import Curves
from unetkit.reporting.plots import overlaid, with_intervals
from unetkit.reporting.tables import settings
from unetkit.reporting.text import aligned, counted, shown
from unetkit.run import Run, open_run
from unetkit.storage import is_remote, url_of
from unetkit.storage.atomic import atomic_write, make_folder

State = Literal["finished", "interrupted", "running"]

_BEGUN = ("environment.json", "log.jsonl", "checkpoints")
_MOST_DRAWN = 12
_MOST_CHANGES = 12
_NOT_SET = (
    *("data.path", "data.classes", "data.mask_", "data.ignore_value", "data.channels", "data.split.method"),
    *("model.in_channels", "model.num_classes", "train.threads", "train.device", "train.track", "predict.size"),
    *("predict.resize", "predict.padding_mode", "predict.channels", "predict.threshold", "objects."),
)
"""How keys begin that the data, the machine or a choice after the training has filled in."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a table.

    Attributes:
        name: its path below the folder.
        state: finished; running, where a process is at work on it; else interrupted.
        step: that it has reached.
        steps: that it was asked for.
        seconds: of training.
        score: over all held-out images; None where there is none.
        mean: of the held-out images, each by itself; None where they have no such score.
        low: the lower end of the mean's 95 % interval over the images.
        high: the upper end.
        images: how many were held out.
        test: the score on the test set.
        date: when it was last written to, as seconds since 1970.
        preset: the one that it differs least from, if in few keys.
        changes: keys that differ from it, with their values as JSON.
        config: every key with its value as JSON.
    """

    name: str
    state: State
    step: int
    steps: int
    seconds: float
    score: float | None
    mean: float | None
    low: float | None
    high: float | None
    images: int
    test: float | None
    date: float
    preset: str | None
    changes: dict[str, str]
    config: dict[str, str]

    @property
    def day(self) -> str:
        """The date, in local time."""
        return f"{datetime.fromtimestamp(self.date):%Y-%m-%d %H:%M}"

    @property
    def interval(self) -> str:
        """The mean over images with its interval."""
        if self.mean is None:
            return "–"
        return f"{self.mean:.4f}" + ("" if self.low is None else f" ({self.low:.4f} to {self.high:.4f})")


@dataclass(frozen=True, slots=True)
class RunTable:
    """The runs below a folder.

    Attributes:
        folder: where they lie.
        metric: the score that is shown.
        rows: the runs, in the order asked for.
        skipped: damaged folders, by their paths below the folder, with what is wrong.
    """

    folder: Path
    metric: str
    rows: tuple[RunRow, ...]
    skipped: dict[str, str]

    @property
    def differing(self) -> list[str]:
        """The keys of the configuration that are not the same in all runs, those of the data's path left out."""
        keys = dict.fromkeys(key for row in self.rows for key in row.config)
        different = (key for key in keys if len({row.config.get(key) for row in self.rows}) > 1)
        return [key for key in different if key not in ("data.path", "train.threads")]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        rows = [asdict(row) | {"date": datetime.fromtimestamp(row.date).astimezone().isoformat()} for row in self.rows]
        return {"folder": str(self.folder), "metric": self.metric, "runs": rows, "skipped": self.skipped}


def runs(
    folder: str | Path, *, metric: str | None = None, sort: str = "score", html: str | Path | None = None
) -> RunTable:
    """List the runs below a folder, and write a page that compares them.

    Args:
        folder: looked through with all that is below it.
        metric: the score that is shown; None: `train.best_metric` of most of the runs.
        sort: score or test (the best first), name, state, steps, seconds, date (the newest first), or a key of the
            configuration such as optimizer.lr.
        html: the page to write.

    Raises:
        UsageError: no runs there, or nothing to sort by.
        StorageError: the page cannot be written.

    Example:
        >>> [(row.name, row.score) for row in unetkit.runs("runs").rows]
    """
    if is_remote(folder):
        raise UsageError(f"{url_of(folder)}: runs are listed where their folders are; copy them to this machine")
    folder, skipped, opened = Path(folder), dict[str, str](), dict[str, tuple[Run, History]]()
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder; expected one with run folders below it")
    for path in _run_folders(folder):
        name = path.relative_to(folder).as_posix() if path != folder else path.resolve().name
        try:
            run = open_run(path)
            opened[name] = run, read_history(run)
        except (UnetkitError, OSError, ValueError) as error:
            skipped[name] = " ".join(str(error).split())
    chosen = [run.config.train.best_metric for run, _ in opened.values()]
    asked, metric = metric, metric or max(chosen, key=chosen.count, default="foreground_dice")
    rows = list[RunRow]()
    for name, (run, history) in opened.items():
        try:
            rows.append(_row(name, run, history, metric))
        except UnetkitError as error:
            skipped[name] = " ".join(str(error).split())
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # JSON of another form
            skipped[name] = f"{run.path}: holds a file that unetkit did not write so ({error!r})"
    if not rows:
        found = f", but {len(skipped)} damaged: {next(iter(skipped.values()))}" if skipped else ""
        raise UsageError(f"{folder}: no runs are below it{found}; expected folders that `unetkit train` made")
    if asked and all(row.score is None for row in rows):
        raise UsageError(f"--metric {metric}: no run has a score of that name; `unetkit metrics` lists the names")
    table = RunTable(folder, metric, tuple(_sorted(rows, sort, metric)), skipped)
    if html is not None:
        make_folder(Path(html).parent)
        atomic_write(Path(html), _page(table, {name: history for name, (_, history) in opened.items()}))
    return table


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yield the run folders below a folder, in order; nothing below a run is looked at."""
    for place, below, files in os.walk(folder):
        path = Path(place)
        if "config.yaml" in files and any((path / name).exists() for name in _BEGUN):
            below.clear()
            yield path
        below.sort()


def _row(name: str, run: Run, history: History, metric: str) -> RunRow:
    evaluation: dict[str, Any] = run.read_json("evaluation.json") or {}
    summary: dict[str, Any] = run.read_json("summary.json") or {}
    steps, step = run.config.train.steps, history.step
    patience = run.config.train.patience is not None and bool(summary) and int(summary["step"]) >= step
    finished = bool(summary) and (int(summary["step"]) >= steps or patience)
    best = best_validation(history, metric)
    score: float | None = evaluation["scores"].get(metric) if evaluation else None if best is None else best[metric]
    own = metric.removesuffix("_per_image")
    each = [one["scores"].get(metric, one["scores"].get(own)) for one in evaluation.get("images", [])]
    values = np.array([value for value in each if value is not None and isfinite(value)], np.float64)
    low, high = mean_interval(values) or (None, None)
    files = (
        path for path in (run.path / file for file in ("config.yaml", "log.jsonl", "summary.json")) if path.exists()
    )
    config = {key: value for key, value, _, _ in settings(run.config, Config())}
    preset, changes = _nearest(config)
    return RunRow(
        name=name,
        state="finished" if finished else "running" if run.is_held else "interrupted",
        step=step,
        steps=steps,
        seconds=history.train_seconds,
        score=score,
        mean=float(values.mean()) if len(values) else None,
        low=low,
        high=high,
        images=len(each),
        test=evaluation.get("test", {}).get("scores", {}).get(metric),
        date=max(path.stat().st_mtime for path in files),
        preset=preset,
        changes=changes,
        config=config,
    )


@cache
def _presets() -> dict[str, dict[str, str]]:
    known = {name: load_config(name) for name in preset_names()}
    return {name: {key: value for key, value, _, _ in settings(one, Config())} for name, one in known.items()}


def _nearest(config: dict[str, str]) -> tuple[str | None, dict[str, str]]:
    """Return the preset that a configuration differs least from, and the keys that do; None: from every one in many."""
    asked = {key: value for key, value in config.items() if not key.startswith(_NOT_SET)}
    found = {
        name: {key: value for key, value in asked.items() if usual.get(key) != value}
        for name, usual in _presets().items()
    }
    name = min(found, key=lambda name: len(found[name]))
    return (name, found[name]) if len(found[name]) <= _MOST_CHANGES else (None, {})


def _sorted(rows: Sequence[RunRow], key: str, metric: str) -> list[RunRow]:
    """Return rows in order; those that have no value stand last.

    Raises:
        UsageError: there is no such key.
    """
    best_first = -1.0 if definition_of(metric).better == "higher" else 1.0
    if key in ("score", "test"):
        values = [getattr(row, key) for row in rows]
        ranks = [float("inf") if value is None or not isfinite(value) else best_first * value for value in values]
    elif key == "date":
        ranks = [-row.date for row in rows]
    elif key in ("name", "state", "steps", "seconds"):
        ranks = [getattr(row, key) for row in rows]
    elif any(key in row.config for row in rows):
        ranks = [_in_order(row.config.get(key, "null")) for row in rows]
    else:
        raise UsageError(
            f"--sort {key}: there is nothing of that name; choose score, test, name, state, steps, seconds, date, or a "
            "key of the configuration such as optimizer.lr"
        )
    order = sorted(range(len(rows)), key=lambda index: (ranks[index], rows[index].name))
    return [rows[index] for index in order]


def _in_order(value: str) -> tuple[float, str]:
    """Return what sorts values that are written as JSON: numbers by their size, before texts."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value


def runs_text(table: RunTable) -> str:
    """Return the runs as lines for a terminal: the numbers, and below them what differs between the runs."""
    head = ["run", "state", "steps", "seconds", table.metric, "mean of images (95 %)", "test", "date"]
    rows = [
        [
            row.name,
            row.state,
            f"{row.step}/{row.steps}",
            f"{row.seconds:.1f}",
            shown(row.score),
            row.interval,
            shown(row.test),
            row.day[:10],
        ]
        for row in table.rows
    ]
    parts = [aligned([head, *rows])]
    keys = table.differing
    width = max(len("run"), *(len(row.name) for row in table.rows))
    lines = [f"{'run':<{width}}  nearest preset, and what is not the same in all runs"] if keys else []
    for row in table.rows if keys else ():
        values = " ".join(f"{key}={row.config.get(key, '–')}" for key in keys[:_MOST_CHANGES])
        lines.append(f"{row.name:<{width}}  {row.preset or '–'}  {values}")
    if len(keys) > _MOST_CHANGES:
        lines.append(f"{len(keys) - _MOST_CHANGES} more keys differ: --out PAGE.html shows all")
    parts += ["\n".join(lines)] if lines else []
    parts += (
        ["\n".join(f"skipped: {name}: {reason}" for name, reason in table.skipped.items())] if table.skipped else []
    )
    return "\n\n".join(parts)


def _page(table: RunTable, histories: dict[str, History]) -> str:
    drawn = [row for row in table.rows if histories[row.name].training][:_MOST_DRAWN]
    curves = None
    if drawn:
        picture = overlaid({row.name: histories[row.name] for row in drawn}, table.metric)
        few = "" if len(drawn) == len(table.rows) else f" The first {len(drawn)} runs of the table."
        words = "a, b: the loss as the log has it, over steps and over seconds of training. c, d: {} of the held-out "
        words += "images at the validations.{}"
        curves = Curves(Picture(picture, "curves of all runs"), Markup(words).format(breakable(table.metric), few))
    scored = {row.name: (row.mean, row.low, row.high) for row in table.rows if row.mean is not None}
    intervals = None
    if scored:
        caption = Markup(
            "The mean of {} over the held-out images, each by itself, with its 95 % interval, by drawing the images "
            "anew 10,000 times. Intervals that overlap do not say that two runs are alike: unetkit compare looks at "
            "the difference on each image, which tells more."
        ).format(breakable(table.metric))
        intervals = Curves(Picture(with_intervals(scored, table.metric), "scores with their intervals"), caption)
    return render(
        "runs.html",
        f"Runs in {table.folder.resolve().name}",
        summary=_summary(table),
        runs=_runs_table(table),
        curves=curves,
        intervals=intervals,
        differing=_settings_table(table),
        skipped=list(table.skipped.items()),
    )


def _summary(table: RunTable) -> Facts:
    states = counted([row.state for row in table.rows])
    scored = [row for row in _sorted(table.rows, "score", table.metric) if row.score is not None]
    facts: list[tuple[str, Content]] = [("Folder", code(str(table.folder))), ("Runs", f"{len(table.rows)}: {states}")]
    if scored:
        words = Markup("<b>{}</b>: {} {}").format(scored[0].name, breakable(table.metric), shown(scored[0].score))
        facts.append(("Best on held-out images", words))
    return facts


def _runs_table(table: RunTable) -> Table:
    head: list[Content] = ["Run", "State", "Steps", "Seconds", breakable(table.metric), "Mean of images (95 %)"]
    head += ["Test set", "Date", "Preset"]
    rows: list[list[Content]] = [
        [
            row.name,
            row.state,
            f"{row.step} of {row.steps}",
            f"{row.seconds:.1f}",
            shown(row.score),
            row.interval,
            shown(row.test),
            row.day,
            row.preset or "–",
        ]
        for row in table.rows
    ]
    caption = (
        "Every run. The score is that of the report, over all held-out images, or of runs without one the best of "
        "their validations. The preset is the one whose settings are nearest."
    )
    scores = [row.score for row in table.rows]
    best = _sorted(table.rows, "score", table.metric)[0].score
    marked = [scores.index(best)] if best is not None else []
    return Table(caption, head, rows, numbers=(2, 3, 4, 5, 6), marked=marked)


def _settings_table(table: RunTable) -> Table | None:
    """Return the keys that differ, a row each; None where none does."""
    keys, shown_runs = table.differing, table.rows[:_MOST_DRAWN]
    if not keys:
        return None
    rows: list[list[Content]] = [
        [breakable(key), *(code(row.config.get(key, "–")) for row in shown_runs)] for key in keys
    ]
    few = "" if len(shown_runs) == len(table.rows) else f" The first {len(shown_runs)} runs of the table."
    caption = f"The keys of the configuration that are not the same in all runs.{few}"
    return Table(caption, ["Key", *(row.name for row in shown_runs)], rows)
