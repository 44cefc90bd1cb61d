"""Trackers tell what the log tells, also after a run went on as the same one, and are asked for before it begins."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import unetkit
from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.errors import UsageError
from unetkit.reporting import trackers
from unetkit.run import Run

CONFIG: dict[str, Any] = {
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
    },
}

Scalars = list[tuple[str, int, float]]
_PARTS = ("training/", "validation/", "held_out/")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def trained(data: Path, out: Path, *track: str) -> Run:
    return unetkit.train(CONFIG, data=data, out=out, overrides=[f"train.track=[{','.join(track)}]"])


def resumed(run: Run) -> Run:
    """Do the second half of a run again."""
    (run.path / "checkpoints" / "step-00000006.safetensors").unlink()
    return unetkit.resume(run.path)


def in_log(run: Run) -> Scalars:
    """What a tracker should hold: the log, and the scores of the report."""
    evaluation, found = run.read_json("evaluation.json"), Scalars()
    assert evaluation is not None
    for record in run.read_log():
        part = "training" if "loss" in record else "validation"
        found += [(f"{part}/{name}", record["step"], value) for name, value in record.items() if name != "step"]
    return found + [(f"held_out/{name}", 6, value) for name, value in evaluation["scores"].items()]


def require_same(found: Scalars, expected: Scalars) -> None:
    found, expected = sorted(found), sorted(expected)
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert [one[2] for one in found] == pytest.approx([one[2] for one in expected], rel=1e-6, abs=1e-6)


def in_tensorboard(run: Run) -> tuple[Scalars, set[str]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.tensorboard))
    reader.Reload()
    tags = reader.Tags()
    return [(name, one.step, one.value) for name in tags["scalars"] for one in reader.Scalars(name)], set(
        tags["images"]
    )


def test_tensorboard_has_the_log_the_scores_and_the_pictures_once(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = trained(data, tmp_path / "run", "tensorboard")
    for again in (run, resumed(run)):
        scalars, pictures = in_tensorboard(again)
        require_same(scalars, in_log(again))
        assert {"worst-1", "best-1", "curves"} <= pictures


def in_mlflow(run: Run, store: str) -> tuple[Any, Scalars]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "unetkit"]
    (found,) = [one for one in client.search_runs([experiment.experiment_id]) if one.info.run_name == run.path.name]
    scalars = [
        (name, one.step, one.value)
        for name in found.data.metrics
        for one in client.get_metric_history(found.info.run_id, name)
    ]
    return found, scalars


@pytest.mark.slow
def test_a_run_that_goes_on_is_one_run_in_mlflows_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = resumed(trained(data, tmp_path / "run", "mlflow"))
    found, scalars = in_mlflow(run, f"sqlite:///{tmp_path / 'mlflow.db'}")
    times = ("train_seconds", "images_per_second", "validation_seconds")  # the second half was done twice
    require_same(*([one for one in part if not one[0].endswith(times)] for part in (scalars, in_log(run))))
    assert len(scalars) == len(in_log(run))
    assert found.info.status == "FINISHED"
    assert found.data.params["model.width"] == "4"
    assert (tmp_path / "mlartifacts" / found.info.run_id / "artifacts" / "report.html").is_file()
    assert not [*(tmp_path / "elsewhere").iterdir()]  # the store lies next to the run, and nowhere else


@pytest.mark.slow
def test_mlflows_server_gets_the_run_and_may_go_away(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UsageError, match="does not answer"):
        trained(data, tmp_path / "early", "mlflow")
    assert not (tmp_path / "early").exists()
    port = address.rpartition(":")[2]
    words = ["server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--artifacts-destination", str(tmp_path)]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log, env=environment)
    try:
        _wait_for(f"{address}/health")
        run = trained(data, tmp_path / "run", "mlflow")
        found, scalars = in_mlflow(run, address)
        require_same(scalars, in_log(run))
        assert (found.info.status, found.data.params["train.steps"]) == ("FINISHED", "6")
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    for _ in range(240):
        try:
            with urlopen(address, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"{address} does not answer")


def records_of(content: bytes) -> Iterator[bytes]:
    """The records of W&B's file: LevelDB's log after a header of 7 bytes, in blocks of 32 KB that cut records."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def in_wandb(run: Run) -> tuple[str, Scalars]:
    """What the one file of the run holds; W&B's own process may end it some time after the training."""
    from wandb.proto import wandb_internal_pb2

    (path,) = (run.path / "wandb").glob("offline-run-*/*.wandb")
    records = list[Any]()
    for _ in range(120):
        records = [wandb_internal_pb2.Record.FromString(content) for content in records_of(path.read_bytes())]
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.5)
    name, found = "", Scalars()
    for record in records:
        name = record.run.run_id or name
        items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        numbers = {key: float(value) for key, value in items.items() if not value.startswith(("{", '"'))}
        found += [(key, int(numbers["step"]), value) for key, value in numbers.items() if key.startswith(_PARTS)]
    return name, found


@pytest.mark.slow
def test_a_run_that_goes_on_is_one_run_in_wandb_offline(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = trained(data, tmp_path / "run", "wandb")
    before, scalars = in_wandb(run)
    require_same(scalars, in_log(run))
    run = resumed(run)
    name, scalars = in_wandb(run)
    require_same(scalars, in_log(run))
    assert name == before == run.read_json("tracking.json")["wandb"]["run"]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_without_the_package_nothing_begins(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"{name} is not installed; write: pip install 'unetkit\[{name}\]'"):
        trained(data, tmp_path / "run", name)
    assert not (tmp_path / "run").exists()


def test_a_training_outlives_its_tracker(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def log(self, step: int, values: object) -> None:
            raise ConnectionError("the server is gone\nand so on")

    class Lines:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def log(self, text: str) -> None:
            self.lines.append(text)

        def update(self, *_: object) -> None:
            pass

    from contextlib import nullcontext

    monkeypatch.setitem(trackers._OPEN, "tensorboard", lambda run: nullcontext(Broken()))
    progress = Lines()
    run = unetkit.train(
        CONFIG, data=data, out=tmp_path / "run", overrides=["train.track=tensorboard"], progress=progress
    )
    assert run.report.is_file()
    warned = [line for line in progress.lines if line.startswith("warning: tensorboard: the server is gone;")]
    assert len(warned) == 2  # once in the training, once in the report


def test_a_run_that_does_not_ask_for_it_has_nothing(data: Path, tmp_path: Path) -> None:
    run = unetkit.train(CONFIG, data=data, out=tmp_path / "run", overrides=["train.steps=2"])
    assert not {"tensorboard", "wandb", "tracking.json"} & {path.name for path in run.path.iterdir()}


def test_one_tracker_needs_no_list() -> None:
    assert load_config("isbi", ["train.track=mlflow"]).train.track == ("mlflow",)


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the packages write into the user's folders out of them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(home))
        yield
    shutil.rmtree(home)
