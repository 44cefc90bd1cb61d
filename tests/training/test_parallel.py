"""Two processes train as one does: real ones, connected by gloo, on the same global batch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.distributed import World
from unetkit.errors import ConfigError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import NoProgress
from unetkit.training.prepare import prepare
from unetkit.training.step import TrainStep
from unetkit.training.train import extend, train

pytestmark = pytest.mark.long

CONFIG = {
    "model": {"width": 4, "depth": 2, "norm": "none"},
    "augment": {"rotation": 20, "elastic": 2, "noise": 0.1, "gamma": 0.1, "crop": 0.1, "clip": [-2.5, 2.5]},
    "optimizer": {"name": "adam", "eps_form": "tensorflow", "decay_params": "all-but-norms"},
    "train": {
        "steps": 20,
        "batch": 4,
        "patch": [32, 40],
        "repeat": 3,
        "drop_last": True,
        "threads": 1,
        "ema": 0.9,
        "precision": "float32",
        "validate_every": 10,
        "checkpoint_every": 5,
        "log_every": 5,
    },
    "data": {"size": [48, 56], "padding_mode": "zeros", "split": {"method": "last", "share": 0.3}, "border_width": 1},
    "loss": {"class_weights": "balanced", "border_weight": 10},
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    write_sample(folder / "data", slices=8, size=64)
    (folder / "config.yaml").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


def _launch(*words: str, processes: int = 2) -> "subprocess.Popen[str]":
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "unetkit", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[str]", code: int = 0) -> str:
    output, _ = process.communicate(timeout=250)
    assert (process.returncode == 0) == (code == 0), output
    return output


def _new_run(workplace: Path, name: str, *overrides: str, processes: int = 2) -> "subprocess.Popen[str]":
    words = [str(workplace / "config.yaml"), "--data", str(workplace / "data"), "--out", str(workplace / name)]
    return _launch(*words, *overrides, processes=processes)


def _largest_difference(one: Path, other: Path) -> float:
    left, right = Checkpoint.load(one / "last.safetensors"), Checkpoint.load(other / "last.safetensors")
    pairs = [(tensor.double(), right.tensors[name].double()) for name, tensor in left.tensors.items()]
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.fixture(scope="module")
def together(workplace: Path) -> Path:
    output = _end(_new_run(workplace, "two"))
    assert output.count("foreground_dice  ") == 1, "one process alone prints the scores"
    return workplace / "two"


def test_two_processes_reach_the_weights_and_scores_of_one(workplace: Path, together: Path) -> None:
    alone = train(load_config(CONFIG), data=workplace / "data", out=workplace / "one")
    assert _largest_difference(alone.path, together) < 1e-5
    ours, theirs = (json.loads((path / "summary.json").read_text())["scores"] for path in (alone.path, together))
    assert theirs == pytest.approx(ours, abs=1e-5)
    losses = [[line["loss"] for line in _log(path) if "loss" in line] for path in (alone.path, together)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def _log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_killed_process_ends_the_job_and_two_resume_bit_identically(workplace: Path, together: Path) -> None:
    process = _new_run(workplace, "killed")
    run = workplace / "killed"
    deadline = time.monotonic() + 250
    while not list(run.glob("checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = subprocess.run(["pgrep", "-f", f"unetkit train .*{run}$"], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    output = _end(process, code=1)
    assert "SIGKILL" in output or "exitcode" in output
    assert "has lost another one, which was killed or cannot be reached; go on from the last checkpoint" in output
    assert "]: Traceback" not in output, "torchrun's own traceback is all there is"
    _end(_launch("--resume", str(run)))
    left, right = (Checkpoint.load(path / "last.safetensors").tensors for path in (run, together))
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


@pytest.mark.slow
def test_a_run_of_two_goes_on_as_one_with_the_same_batches(workplace: Path, together: Path) -> None:
    _end(_new_run(workplace, "constant", "train.steps=10", "optimizer.schedule=constant", "optimizer.warmup=0.0"))
    extend(workplace / "constant", overrides=["train.steps=20"])
    constant = load_config(CONFIG, ["optimizer.schedule=constant", "optimizer.warmup=0.0"])
    train(constant, data=workplace / "data", out=workplace / "whole")
    # One process adds up in another order than two; other batches would move the weights by far more.
    assert _largest_difference(workplace / "constant", workplace / "whole") < 1e-4


def test_a_batch_that_cannot_be_shared_is_refused(workplace: Path) -> None:
    prepared = prepare(load_config(CONFIG, [f"data.path={workplace / 'data'}", "train.batch=3"]))
    store = prepared.fill(torch.device("cpu"), World(), NoProgress())
    with pytest.raises(ConfigError, match=r"train\.batch=3 cannot be shared evenly by 2 processes"):
        TrainStep(prepared.config, store, torch.float32, World(size=2))


@pytest.mark.slow  # as the test above, by real processes: both end
def test_processes_that_cannot_share_a_batch_end(workplace: Path) -> None:
    output = _end(_new_run(workplace, "odd", "train.batch=3"), code=1)
    assert "train.batch=3 cannot be shared evenly by 2 processes" in output
