"""A run goes on as it began: edited configurations and damaged files of a run folder are refused in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from unetkit.data import write_sample
from unetkit.errors import ConfigError, RunFolderError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import Run, open_run
from unetkit.training.train import extend, resume, train

SMALL = {
    "model": {"width": 4, "depth": 1},
    "train": {"steps": 2, "batch": 1, "patch": 32, "threads": 1, "checkpoint_every": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(SMALL, data=data, out=tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return open_run(Path(shutil.copytree(trained.path, tmp_path / "run")))


def _edit(run: Run, key: str, value: Any) -> None:
    file = run.path / "config.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node[parent]
    node[last] = value
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "mend"),
    [
        ("optimizer.lr", 0.5, "--extend"),
        ("train.batch", 2, "--extend"),
        ("train.seed", 7, "--extend"),
        ("train.steps", 9, "--extend"),
        ("model.width", 8, "train a new run"),
        ("data.normalization", "none", "train a new run"),
    ],
)
def test_an_edited_configuration_is_refused_by_its_key(run: Run, key: str, value: Any, mend: str) -> None:
    before = {path.name: path.read_bytes() for path in run.checkpoint_paths()}
    _edit(run, key, value)
    with pytest.raises(ConfigError, match=rf"config\.yaml: {key} is .*, but the run was trained with .*{mend}"):
        resume(run.path)
    assert {path.name: path.read_bytes() for path in run.checkpoint_paths()} == before


def test_an_edited_network_is_refused_for_checkpoints_that_kept_no_configuration(run: Run) -> None:
    for path in run.checkpoint_paths():
        checkpoint = Checkpoint.load(path)
        state = {key: value for key, value in checkpoint.state.items() if key != "config"}
        checkpoint.model_copy(update={"state": state}).save(path)
    resume(run.path)
    _edit(run, "model.width", 8)
    with pytest.raises(ConfigError, match=r"model\.width is 8"):
        resume(run.path)


def test_what_does_not_belong_to_the_checkpoint_may_be_edited(run: Run, data: Path, tmp_path: Path) -> None:
    _edit(run, "train.threads", 2)
    _edit(run, "data.path", str(shutil.copytree(data, tmp_path / "moved")))
    _edit(run, "objects.threshold", 0.4)
    assert resume(run.path).config.train.threads == 2


def test_an_extended_run_goes_on_with_what_was_changed_and_with_nothing_else(run: Run) -> None:
    _edit(run, "optimizer.lr", 0.5)
    with pytest.raises(ConfigError, match=r"optimizer\.lr is 0\.5"):
        extend(run.path, overrides=["train.steps=3"])
    assert extend(run.path, overrides=["train.steps=3", "optimizer.lr=0.25"]).config.optimizer.lr == 0.25
    assert resume(run.path).config.train.steps == 3


def test_a_run_that_is_extended_and_stopped_at_once_can_be_resumed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from unetkit.training.loop import Trainer

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "go", lambda self, stop: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extend(run.path, overrides=["train.steps=3"])
    assert Checkpoint.load(resume(run.path).last).card.step == 3


def test_what_a_kill_left_out_of_a_beginning_run_is_written_when_it_goes_on(run: Run) -> None:
    described = run.read_json("data.json")
    assert described is not None
    assert "findings" in described
    (run.path / "data.json").unlink()
    resume(run.path)
    assert run.read_json("data.json") == described


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b""])
@pytest.mark.parametrize("name", ["data.json", "summary.json"])
def test_a_damaged_file_of_a_run_is_named(run: Run, name: str, content: bytes) -> None:
    (run.path / name).write_bytes(content)
    with pytest.raises(RunFolderError, match=rf"{name}: damaged: not a JSON object"):
        run.read_json(name)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("summary.json", "step", None),
        ("summary.json", "seconds", 5),
        ("evaluation.json", "scores", []),
        ("evaluation.json", "images", [{"name": "a"}]),
        ("data.json", "dtype", 3),
        ("data.json", "normalization", {"mean": 5}),
        ("environment.json", "packages", [1]),
        ("functions.json", "loss", 1),
    ],
)
def test_a_file_of_a_run_that_holds_something_else_is_named(run: Run, name: str, key: str, value: Any) -> None:
    path = run.path / name
    path.write_text(json.dumps((json.loads(path.read_bytes()) if path.is_file() else {}) | {key: value}))
    with pytest.raises(RunFolderError, match=rf"{name}: damaged: {key}.*: .*bring it back from a copy, or delete it"):
        run.read_json(name)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"5", b'{"step": 1, "lo', b'{"loss": 1}', b'{"step": "1"}'])
def test_a_damaged_line_of_the_log_is_named_and_a_cut_last_one_passed_over(run: Run, line: bytes) -> None:
    log = run.path / "log.jsonl"
    lines = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([*lines, line]))
    assert len(run.read_log()) == len(lines)
    log.write_bytes(b"\n".join([*lines, line, b""]))
    with pytest.raises(RunFolderError, match=rf"log\.jsonl: damaged: line {len(lines) + 1} is not a JSON object"):
        run.read_log()
    log.write_bytes(b"\n".join([line, *lines]))
    with pytest.raises(RunFolderError, match=r"log\.jsonl: damaged: line 1 is not a JSON object"):
        run.read_log()


def test_the_command_ends_with_one_line_and_2(run: Run, tmp_path: Path, command: Callable[..., Any]) -> None:
    (run.path / "data.json").write_text("{")
    for words, complaint in (
        (["--resume", run.path], "data.json: damaged: not a JSON object"),
        (["--resume", run.path, "--out", tmp_path / "other"], "--out: --resume goes on in its own folder"),
        (["--extend", run.path, "--data", "sample", "train.steps=3"], "--data: --extend goes on in its own folder"),
    ):
        ended = command("train", *words)
        assert ended.code == 2, ended.err
        assert complaint in ended.err
        assert "Traceback" not in ended.err
    assert not (tmp_path / "other").exists()


def test_nothing_is_lost_where_the_configuration_was_deleted_on_the_way(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    words = [str(tmp_path / "small.yaml"), "--data", str(data), "--out", str(run), "train.steps=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unetkit", "train", *words, "train.log_every=1", "train.checkpoint_every=100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 250
    while not (run / "log.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    (run / "config.yaml").unlink()
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=250)
    assert process.returncode == 128 + signal.SIGTERM, complaint
    assert "nothing is lost" in complaint
    opened = open_run(run)
    newest = opened.newest_checkpoint(warn=pytest.fail)
    assert newest is not None
    assert newest.state["config"] == opened.config.model_dump(mode="json")
