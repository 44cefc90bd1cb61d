"""TensorBoard's files tell what the log tells, also after a run went on, and their package is asked for in time."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import unetkit
from unetkit.data import write_sample
from unetkit.errors import UsageError
from unetkit.reporting import tensorboard
from unetkit.run import Run

CONFIG = {
    "model": {"width": 4, "depth": 1},
    "data": {"split": {"folds": 2}},
    "train": {
        "steps": 6,
        "batch": 1,
        "patch": 32,
        "threads": 1,
        "log_every": 2,
        "checkpoint_every": 3,
        "validate_every": 3,
        "tensorboard": True,
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unetkit.train(CONFIG, data=data, out=tmp_path_factory.mktemp("runs") / "one")


def _scalars(run: Run) -> Iterator[tuple[str, int, float]]:
    for record in run.read_log():
        part = "training" if "loss" in record else "validation"
        yield from ((f"{part}/{name}", record["step"], value) for name, value in record.items() if name != "step")


def _events(run: Run) -> list[tuple[str, int, float]]:
    reader = _reader(run)
    return [(name, event.step, event.value) for name in reader.Tags()["scalars"] for event in reader.Scalars(name)]


def _reader(run: Run) -> "object":
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.tensorboard))
    reader.Reload()
    return reader


def _same(run: Run) -> None:
    found, expected = sorted(_events(run)), sorted(_scalars(run))
    assert [place[:2] for place in found] == [place[:2] for place in expected]
    assert [place[2] for place in found] == pytest.approx([place[2] for place in expected], rel=1e-6, abs=1e-6)


def test_events_are_the_log_and_the_pictures_of_the_report(run: Run) -> None:
    _same(run)
    assert {"worst-1", "best-1", "curves"} <= set(_reader(run).Tags()["images"])


def test_a_run_that_goes_on_tells_every_step_once(run: Run, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run.path, tmp_path / "again"))
    (again / "checkpoints" / "step-00000006.safetensors").unlink()
    _same(unetkit.resume(again))


def test_without_the_package_nothing_begins(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'unetkit\[tensorboard\]'"):
        unetkit.train(CONFIG, data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_does_not_ask_for_it_has_no_events(data: Path, tmp_path: Path) -> None:
    run = unetkit.train(CONFIG, data=data, out=tmp_path / "run", overrides=["train.tensorboard=false", "train.steps=2"])
    assert not run.tensorboard.exists()
