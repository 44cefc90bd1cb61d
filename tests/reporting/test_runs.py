"""Runs next to each other: what is told of each, in which order, and what becomes of damaged folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unetkit
from unetkit.errors import UsageError
from unetkit.metrics.bootstrap import mean_interval
from unetkit.reporting.runs import runs_text
from unetkit.run import Run

MakeRun = Callable[..., Run]


def scored(run: Run, score: float, *, test: float | None = None) -> Run:
    """Give a run an evaluation of six images, 0.05 apart around a score."""
    images = [{"name": f"slice[{place}]", "scores": {"mean_dice": score + 0.05 * (place - 2.5)}} for place in range(6)]
    content: dict[str, Any] = {"scores": {"mean_dice": score}, "images": images}
    run.write_json("evaluation.json", content | ({} if test is None else {"test": {"scores": {"mean_dice": test}}}))
    return run


@pytest.fixture
def folder(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two finished runs, one that was interrupted, two damaged ones, and a folder that is no run."""
    by = "train.best_metric=mean_dice"
    scored(make_run("runs/wide", overrides=(by, "model.width=48")), 0.92, test=0.7)
    scored(make_run("runs/later/slow", overrides=(by, "optimizer.lr=0.0005")), 0.95)
    make_run("runs/stopped", overrides=(by,), finished=False, steps_done=120)
    (make_run("runs/broken").path / "config.yaml").write_text("train: {steps: -3}\n")
    (make_run("runs/cut").path / "log.jsonl").write_text("not JSON\n{}\n")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.yaml").write_text("of another program: true\n")
    return tmp_path / "runs"


def test_every_run_is_told_with_its_state_and_scores(folder: Path) -> None:
    table = unetkit.runs(folder)
    assert table.metric == "mean_dice"
    assert [(row.name, row.state, row.step, row.score, row.test) for row in table.rows[:2]] == [
        ("later/slow", "finished", 400, 0.95, None),
        ("wide", "finished", 400, 0.92, 0.7),
    ]
    stopped = table.rows[2]
    assert (stopped.name, stopped.state, stopped.step, stopped.steps) == ("stopped", "interrupted", 120, 400)
    assert stopped.score is not None  # the best of its validations
    assert stopped.mean is None
    slow, wide = table.rows[:2]
    assert slow.mean == pytest.approx(0.95)
    assert slow.low is not None
    assert slow.high is not None
    assert 0.83 < slow.low < 0.95 < slow.high < 1.07
    assert slow.preset == "isbi"
    assert slow.changes["optimizer.lr"] == "0.0005"
    assert not any(key.startswith(("data.path", "model.in_channels")) for key in slow.changes)
    assert {"model.width", "optimizer.lr"} <= set(table.differing)
    assert wide.config["model.width"] == "48"


def test_damaged_folders_are_named_and_left_out(folder: Path) -> None:
    table = unetkit.runs(folder)
    assert set(table.skipped) == {"broken", "cut"}
    assert "train.steps" in table.skipped["broken"]
    assert "line 1" in table.skipped["cut"]
    assert "skipped: cut: " in runs_text(table)
    for content in ('{"scores": 3}', '{"scores": {"mean_dice": "high"}, "images": [{}]}', "[]"):
        (folder / "wide" / "evaluation.json").write_text(content)
        assert "wide" in unetkit.runs(folder).skipped


def test_a_run_at_work_is_running(folder: Path) -> None:
    from unetkit.run import open_run

    with open_run(folder / "stopped").held():
        states = {row.name: row.state for row in unetkit.runs(folder).rows}
    assert states == {"later/slow": "finished", "wide": "finished", "stopped": "running"}


@pytest.mark.parametrize(
    ("key", "first"),
    [("name", "later/slow"), ("test", "wide"), ("optimizer.lr", "later/slow"), ("state", "later/slow")],
)
def test_runs_are_sorted(folder: Path, key: str, first: str) -> None:
    rows = unetkit.runs(folder, sort=key).rows
    assert rows[0].name == first
    assert len(rows) == 3


def test_what_is_less_is_better_where_the_score_says_so(folder: Path) -> None:
    for name, value in (("wide", 0.01), ("later/slow", 0.02)):
        content = {"scores": {"warping_error": value}, "images": []}
        (folder / name / "evaluation.json").write_text(json.dumps(content))
    assert [row.name for row in unetkit.runs(folder, metric="warping_error").rows[:2]] == ["wide", "later/slow"]


def test_the_page_compares_them(folder: Path) -> None:
    page = folder.parent / "pages" / "compare.html"
    unetkit.runs(folder, html=page)
    text = page.read_text(encoding="utf-8")
    for expected in ("later/slow", "interrupted", "optimizer", "broken", "data:image/svg+xml", "mean of"):
        assert expected in text.replace("<wbr>", "")
    assert "<script" not in text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"sort": "beauty"}, "--sort beauty: there is nothing"), ({"metric": "mean_dize"}, "no run has a score")],
)
def test_what_there_is_not_is_refused(folder: Path, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        unetkit.runs(folder, **options)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs are below it"):
        unetkit.runs(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        unetkit.runs(tmp_path / "nothing")


def test_intervals_cover_what_they_should() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        found = mean_interval(rng.normal(0.5, 0.1, 8), resamples=500)
        assert found is not None
        covered += found[0] <= 0.5 <= found[1]
    assert 0.88 <= covered / 200 <= 0.99
    assert mean_interval(np.array([0.5])) is None
