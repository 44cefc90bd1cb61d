"""A search over settings: what is drawn, what is refused, what a trial is, how a search that was stopped goes on."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tifffile
from PIL import Image

import unetkit
from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.errors import ConfigError, InterruptedRun, RunFolderError, UsageError
from unetkit.training import search as module
from unetkit.training.search import read_over

pytest.importorskip("optuna", reason="needs the extra 'search'")

TINY: dict[str, Any] = {
    "model": {"width": 4, "depth": 1},
    "data": {"split": {"folds": 2}, "check": "essential"},
    "train": {"steps": 4, "batch": 1, "patch": 32, "threads": 1, "log_every": 2, "validate_every": 2},
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimizer.lr=1e-3..1e-1", "optimizer.lr: 0.001 to 0.1, by magnitude (log-uniform)"),
        ("optimizer.lr=0.01..0.02", "optimizer.lr: 0.01 to 0.02"),
        ("optimizer.weight_decay=0..1", "optimizer.weight_decay: 0 to 1"),
        ("model.width=16..64", "model.width: whole numbers 16 to 64"),
        ("model.width=4..64", "model.width: whole numbers 4 to 64, by magnitude (log-uniform)"),
        ("model.width=16,32,64", "model.width: one of 16, 32, 64"),
        ("model.up=deconv,bilinear", "model.up: one of deconv, bilinear"),
        ("augment.scale=[0.8, 1.2],[1, 1]", "augment.scale: one of [0.8, 1.2], [1, 1]"),
        ("model.residual=true,false", "model.residual: one of true, false"),
    ],
)
def test_ranges_and_choices_are_read(text: str, words: str) -> None:
    assert read_over(text, load_config("isbi")).words == words


@pytest.mark.parametrize(
    ("over", "complaint"),
    [
        ([], "nothing to search over"),
        (["optimizer.lr"], "write KEY=LOW..HIGH"),
        (["optimizer.rl=1e-3..1e-1"], "did you mean 'optimizer.lr'"),
        (["optimizer.lr=1e-1..1e-3"], "the range is empty"),
        (["optimizer.lr=-1..1"], "optimizer.lr: found -1"),
        (["model.width=16.5..64"], "model.width"),
        (["model.up=deconv,cubic"], "model.up: found 'cubic'"),
        (["model.width=32"], "is one value"),
        (["optimizer.lr=1e-3..1e-1", "optimizer.lr=1,2"], "stands there twice"),
        (["data.split.seed=1,2"], "trials must have it in common"),
        (["train.steps=2..4"], "is searched over and given"),
        (["model.width=16,*x"], "not valid YAML"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_begins(
    tmp_path: Path, over: list[str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        unetkit.search("isbi", over=over, data="sample", out=tmp_path / "s", overrides=["train.steps=3"])
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)


def scores(monkeypatch: pytest.MonkeyPatch, worth: Any) -> list[dict[str, str]]:
    """Put a function from the values of a trial to its validations in the place of the training."""
    tried: list[dict[str, str]] = []

    def train(trial: Any, path: Path, config: object, values: dict[str, str], progress: object) -> float:
        import optuna

        tried.append(dict(values))
        found = worth(values, len(tried))
        if isinstance(found, BaseException):
            raise found
        for step, value in enumerate(found, 1):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return max(found)

    monkeypatch.setattr(module, "_train", train)
    return tried


def test_the_best_is_found_and_hopeless_trials_are_pruned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worth(values: dict[str, str], number: int) -> list[float]:
        base = {"4": 0.1, "8": 0.9}[values["model.width"]] - float(values["optimizer.lr"])
        return [base, base + 0.01]

    scores(monkeypatch, worth)
    over = ["optimizer.lr=1e-3..1e-1", "model.width=4,8"]
    found = unetkit.search(TINY, over=over, data=data, out=tmp_path / "s", trials=20)
    states = [one.state for one in found.trials]
    assert len(states) == 20
    assert "pruned" in states
    assert found.best is not None
    assert found.best.values["model.width"] == "8"
    assert found.best.score == max(one.score or 0 for one in found.trials if one.state == "finished")
    assert set(found.importance) == {"optimizer.lr", "model.width"}
    best = load_config(tmp_path / "s" / "best.yaml")
    assert best.model.width == 8
    assert best.optimizer.lr == float(found.best.values["optimizer.lr"])
    assert json.loads((tmp_path / "s" / "trials.json").read_text())["best"]["folder"] == found.best.folder
    page = (tmp_path / "s" / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert "<script" not in page


def test_a_search_that_is_stopped_goes_on_with_the_same_trial(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = InterruptedRun("a signal", 15)
    tried = scores(monkeypatch, lambda values, number: stop if number == 3 else [float(values["optimizer.lr"])])
    with pytest.raises(InterruptedRun, match="unetkit search --resume"):
        unetkit.search(TINY, over=["optimizer.lr=1e-3..1e-1"], data=data, out=tmp_path / "s", trials=6)
    assert [one["state"] for one in json.loads((tmp_path / "s" / "trials.json").read_text())["trials"]] == [
        "finished",
        "finished",
        "stopped",
    ]
    found = unetkit.resume_search(tmp_path / "s")
    assert tried[3] == tried[2]
    assert {one.state for one in found.trials} <= {"finished", "pruned"}
    assert [one.folder for one in found.trials] == [f"trial-{number:03}" for number in range(6)]
    assert len({one["optimizer.lr"] for one in tried}) == 6  # nothing is drawn again but what was stopped
    assert len(unetkit.resume_search(tmp_path / "s", trials=8).trials) == 8


def test_a_trial_that_fails_does_not_end_the_search(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetkit.errors import DivergedError

    scores(monkeypatch, lambda values, number: DivergedError("the loss is nan") if number < 3 else [0.5])
    found = unetkit.search(TINY, over=["optimizer.lr=1e-3..1e-1"], data=data, out=tmp_path / "s", trials=4)
    assert [(one.state, one.reason) for one in found.trials[:2]] == [("failed", "the loss is nan")] * 2
    scores(monkeypatch, lambda values, number: ConfigError("does not fit"))
    with pytest.raises(UsageError, match="none of 2 trials came to its end: does not fit"):
        unetkit.search(TINY, over=["optimizer.lr=1e-3..1e-1"], data=data, out=tmp_path / "t", trials=2)


@pytest.mark.slow
def test_trials_are_runs_and_leave_the_test_set_alone(tmp_path: Path) -> None:
    for part, names in (("train", "abcd"), ("test", "ef")):
        for kind in ("images", "masks"):
            (tmp_path / "set" / part / kind).mkdir(parents=True)
        for name in names:
            stack = write_sample(tmp_path / name, slices=2, size=64, seed=ord(name))
            for kind, file in (("images", "train-volume.tif"), ("masks", "train-labels.tif")):
                pixels = tifffile.imread(stack / file)[0]
                Image.fromarray(pixels).save(tmp_path / "set" / part / kind / f"{name}.png")
    over = ["optimizer.lr=1e-3..1e-1"]
    found = unetkit.search(TINY, over=over, data=tmp_path / "set", out=tmp_path / "s", trials=2)
    for one in found.trials:
        run = tmp_path / "s" / one.folder
        assert "test" not in json.loads((run / "evaluation.json").read_text())
        assert len(json.loads((run / "data.json").read_text())["test"]) == 2
        assert (run / "report.html").is_file()
    assert [row.name for row in unetkit.runs(tmp_path / "s").rows] == [one.folder for one in found.ranked]
    run = unetkit.train(tmp_path / "s" / "best.yaml", out=tmp_path / "run")
    assert len(run.read_json("evaluation.json")["test"]["images"]) == 2


def test_what_is_no_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not the folder of a search"):
        unetkit.resume_search(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").touch()
    with pytest.raises(RunFolderError, match="is not an empty folder"):
        unetkit.search(TINY, over=["optimizer.lr=1..2"], out=tmp_path / "x", data="sample")


def test_without_optuna_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'unetkit\[search\]'"):
        unetkit.search("isbi", over=["optimizer.lr=1..2"], data="sample", out=tmp_path / "s")
