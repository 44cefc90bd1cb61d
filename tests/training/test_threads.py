"""The number of threads that is faster now is measured, said, kept with the run, and taken again."""

import time
from pathlib import Path

import pytest
import torch

import unetkit
from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.progress import NoProgress
from unetkit.training import cost, train
from unetkit.training.cost import StepTime, time_steps
from unetkit.training.step import StepResult

CPU = torch.device("cpu")
SMALL = {
    "model": {"widths": [2, 4], "in_channels": 1, "num_classes": 2},
    "train": {"steps": 30, "batch": 2, "patch": 16, "validate_every": None},
}


class Slow:
    """A step whose time follows from the number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.taken: list[int] = []

    def __call__(self, number: int) -> StepResult:
        threads = torch.get_num_threads()
        self.taken.append(threads)
        time.sleep(self.seconds[threads])
        return StepResult(torch.tensor(1.0), {}, 0.1)


def _timed(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], **keys: int) -> tuple[StepTime, Slow]:
    step = Slow(seconds)
    monkeypatch.setattr(cost, "_noise_step", lambda config, device: step)
    monkeypatch.setattr(cost, "available_cores", lambda: max(seconds))
    config = load_config(SMALL, [f"train.{key}={value}" for key, value in keys.items()])
    return time_steps(config, CPU, longest=0.5), step


def test_the_faster_number_of_threads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    timing, step = _timed(monkeypatch, {1: 0.004, 2: 0.1})
    assert timing.threads == 1
    assert step.taken.count(2) == 1  # a step that takes 25 times as long is not taken again
    assert timing.busy  # a thread that sleeps gets no core
    assert "the machine is busy" in timing.words()
    assert "with 2" in timing.words()
    timing, _ = _timed(monkeypatch, {1: 0.03, 2: 0.02})
    assert timing.threads == 2
    timing, step = _timed(monkeypatch, {1: 0.001, 2: 0.001}, threads=2)
    assert set(step.taken) == {2}
    assert torch.get_num_threads() == before


def test_a_run_keeps_the_number_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Lines(NoProgress):
        def log(self, text: str) -> None:
            lines.append(text)

    monkeypatch.setattr(train, "time_steps", lambda *_, **__: StepTime({1: 0.1, 2: 0.5}, 0.4, stable=False))
    config = {"model": {"widths": [2, 4]}, "train": SMALL["train"] | {"checkpoint_every": 15}}
    data = write_sample(tmp_path / "data", slices=5, size=64)
    run = unetkit.train(config, data=data, out=tmp_path / "run", progress=Lines())
    assert run.config.train.threads == 1
    assert [line for line in lines if "train.threads=1" in line and "one thread got 40 % of a core" in line]
    assert unetkit.resume(run.path).config.train.threads == 1
    given = unetkit.train(config, data=data, out=tmp_path / "given", overrides=["train.threads=2", "train.steps=25"])
    assert given.config.train.threads == 2
