"""The ways a training ends early: a loss that is no number, a full disk, patience; each with one clear line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unetkit.config import Config, load_config
from unetkit.data import write_sample
from unetkit.errors import ConfigError, DivergedError, RunFolderError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import open_run
from unetkit.training.train import extend, resume, train

SMALL = {"model": {"width": 4, "depth": 2}, "train": {"steps": 12, "batch": 2, "patch": 32, "threads": 1}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


def _config(**train: object) -> Config:
    return load_config({**SMALL, "train": {**SMALL["train"], **train}})


def test_a_diverging_training_says_where_and_keeps_the_last_good_checkpoint(data: Path, tmp_path: Path) -> None:
    config = load_config(
        {**SMALL, "optimizer": {"name": "sgd", "lr": 1e30, "warmup": 0.0}},
        ["train.steps=40", "train.checkpoint_every=1", "train.log_every=3", "model.norm=none"],
    )
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf|-inf) at step \d+") as caught:
        train(config, data=data, out=tmp_path / "run")
    run = open_run(tmp_path / "run")
    step = int(str(caught.value).split("at step ")[1].split(":")[0])
    newest = run.newest_checkpoint(warn=pytest.fail)
    assert newest is not None
    assert newest.card.step == step - 1


def test_a_full_disk_stops_the_run_and_leaves_its_last_good_state(
    data: Path, tmp_path: Path, mounted: Callable[[str], Path]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({**SMALL, "train": {**SMALL["train"], "checkpoint_every": 2, "keep_checkpoints": 50}}))
    run = mounted("size=700k") / "run"
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "unetkit",
            "train",
            str(file),
            "--data",
            str(data),
            "--out",
            str(run),
            "train.steps=400",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stderr
    assert "cannot be written" in ended.stderr
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    checkpoints = open_run(run).checkpoint_paths()
    assert len(checkpoints) > 1
    assert all(Checkpoint.load(path).card.step > 0 for path in checkpoints)
    assert not list(run.rglob("*.part"))


def test_patience_ends_a_training_that_stands_still(data: Path, tmp_path: Path) -> None:
    config = load_config(
        {**SMALL, "optimizer": {"lr": 1e-30}}, ["train.steps=50", "train.validate_every=2", "train.patience=3"]
    )
    run = train(config, data=data, out=tmp_path / "run")
    summary = run.read_json("summary.json")
    assert summary is not None
    assert summary["step"] < 50
    assert run.last.is_file()
    assert resume(run.path).read_json("summary.json")["step"] == summary["step"]


def test_extending_goes_on_and_refuses_what_cannot_change(data: Path, tmp_path: Path) -> None:
    run = train(_config(), data=data, out=tmp_path / "run")
    longer = extend(run.path, overrides=["train.steps=15"])
    assert Checkpoint.load(longer.last).card.step == 15
    with pytest.raises(ConfigError, match="model: a run cannot change it"):
        extend(run.path, overrides=["train.steps=20", "model.width=8"])
    with pytest.raises(ConfigError, match="expected more than"):
        extend(run.path, overrides=["train.steps=3"])
    assert open_run(run.path).config.train.steps == 15


def test_a_folder_with_something_in_it_is_not_touched(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match="not an empty folder"):
        train(_config(), data=data, out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_moves_the_weights_as_the_whole(data: Path, tmp_path: Path, accumulate: int) -> None:
    weights = []
    for parts in (1, accumulate):
        config = load_config(
            {"model": {"width": 4, "depth": 1, "norm": "none"}, "optimizer": {"name": "sgd", "lr": 0.05}},
            [
                "train.steps=5",
                "train.batch=4",
                "train.patch=32",
                f"train.accumulate={parts}",
                "train.precision=float32",
            ],
        )
        run = train(config, data=data, out=tmp_path / f"run{parts}")
        weights.append(Checkpoint.load(run.last).weights())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-5, atol=1e-6)
