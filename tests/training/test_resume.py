"""Nothing is lost: real trainings, ended at random moments by every signal, end as one that never stopped."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unetkit.data import write_sample
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import open_run
from unetkit.training.train import resume, train

pytestmark = pytest.mark.long

STEPS = 240
CONFIG = {
    "model": {"width": 4, "depth": 2, "dropout": 0.2},
    "augment": {"rotation": 20, "scale": [0.8, 1.2], "elastic": 2, "brightness": 0.1, "gamma": 0.1, "noise": 0.1},
    "data": {"border_width": 1},
    "loss": {"class_weights": "balanced", "border_weight": 10},
    "optimizer": {"name": "muon", "lr": 0.02},
    "train": {
        "steps": STEPS,
        "batch": 2,
        "patch": 32,
        "ema": 0.9,
        "threads": 1,
        "log_every": 1,
        "validate_every": 60,
        "checkpoint_every": 9,
    },
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_sample(folder / "data", slices=6, size=64)
    (folder / "config.yaml").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(workplace: Path) -> Checkpoint:
    return Checkpoint.load(train(CONFIG, data=workplace / "data", out=workplace / "whole").last)


def _start(workplace: Path, name: str, *overrides: str) -> "subprocess.Popen[str]":
    run = workplace / name
    words = (
        ["--resume", str(run)]
        if (run / "config.yaml").exists()
        else [str(workplace / "config.yaml"), "--data", str(workplace / "data"), "--out", str(run), *overrides]
    )
    return subprocess.Popen(
        [sys.executable, "-m", "unetkit", "train", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _logged_step(run: Path) -> int:
    log = run / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def _wait_for_step(process: "subprocess.Popen[str]", run: Path, step: int) -> None:
    deadline = time.monotonic() + 250
    while process.poll() is None and _logged_step(run) < step and time.monotonic() < deadline:
        time.sleep(0.002)


def _same_weights(one: Checkpoint, other: Checkpoint) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def _moments(kinds: list[signal.Signals], seed: int) -> Iterator[tuple[int, signal.Signals]]:
    drawn = random.Random(seed)
    steps = sorted(drawn.sample(range(2, STEPS - 10), len(kinds)))
    drawn.shuffle(kinds)
    yield from zip(steps, kinds, strict=True)


@pytest.mark.parametrize(
    ("kills", "ends"),
    [
        (1, [signal.SIGTERM]),
        pytest.param(8, [signal.SIGTERM, signal.SIGINT] * 2, marks=pytest.mark.slow),
    ],
)
def test_kills_at_random_moments_change_nothing(
    workplace: Path, uninterrupted: Checkpoint, kills: int, ends: list[signal.Signals]
) -> None:
    name = f"killed-{kills}"
    run = workplace / name
    for step, kind in _moments([signal.SIGKILL] * kills + ends, seed=20120514):
        process = _start(workplace, name)
        _wait_for_step(process, run, step)
        process.send_signal(kind)
        _, complaint = process.communicate(timeout=250)
        assert process.returncode == (-kind if kind is signal.SIGKILL else 128 + kind), complaint
        if kind is not signal.SIGKILL:
            assert f"go on with: unetkit train --resume {run}" in complaint
            assert "Traceback" not in complaint
    resume(run)
    assert _same_weights(Checkpoint.load(run / "last.safetensors"), uninterrupted)
    assert _same_weights(
        Checkpoint.load(run / "best.safetensors"), Checkpoint.load(workplace / "whole/best.safetensors")
    )
    steps = [line["step"] for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "loss" in line]
    assert steps == list(range(1, STEPS + 1))


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_is_used(
    workplace: Path, uninterrupted: Checkpoint, command: Callable[..., Any]
) -> None:
    run = _unfinished(workplace, "damaged")
    newest = sorted((run / "checkpoints").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = command("train", "--resume", run)
    assert resumed.code == 0, resumed.err
    assert f"warning: {newest}: damaged" in resumed.out
    assert _same_weights(Checkpoint.load(run / "last.safetensors"), uninterrupted)


@pytest.mark.usefixtures("uninterrupted")
def test_a_run_whose_checkpoints_are_all_damaged_is_refused(workplace: Path, command: Callable[..., Any]) -> None:
    run = _unfinished(workplace, "hopeless")
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    ended = command("train", "--resume", run)
    assert ended.code == 2
    assert "checkpoints are damaged; start the run anew" in ended.err
    assert "Traceback" not in ended.err


def _unfinished(workplace: Path, name: str) -> Path:
    """Copy the whole run as it was before it wrote its weights and its summary."""
    run = Path(shutil.copytree(workplace / "whole", workplace / name))
    for file in ("last.safetensors", "summary.json"):
        (run / file).unlink()
    return run


@pytest.mark.usefixtures("uninterrupted")
def test_two_trainings_cannot_share_a_folder(workplace: Path, command: Callable[..., Any]) -> None:
    run = _unfinished(workplace, "shared")
    with open_run(run).held():
        second = command("train", "--resume", run)
    assert second.code == 2
    assert "another process is training in this folder" in second.err
