"""The main road with everything in object storage, and what happens when the machine or the connection is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

import unetkit
from unetkit.data import convert, open_dataset, write_sample
from unetkit.errors import RemoteError, RunFolderError, UsageError
from unetkit.storage import local_copy, place_of, send_folder

SMALL = ["model.widths=[4,8]", "train.steps=6", "train.batch=2", "train.patch=32", "train.validate_every=3"]
SMALL += ["train.checkpoint_every=2"]


@pytest.fixture
def data(wire: object, tmp_path: Path) -> str:
    send_folder(write_sample(tmp_path / "sample", slices=5, size=64), "s3://lab/data")
    return "s3://lab/data"


def names(url: str) -> set[str]:
    place = place_of(url)
    return {one.key.removeprefix(f"{place.key}/") for one in place.list()}


def test_a_run_lives_in_object_storage(data: str, tmp_path: Path) -> None:
    run = unetkit.train("isbi", data=data, out="s3://lab/runs/a", overrides=SMALL)
    assert run.place == "s3://lab/runs/a"
    there = names(run.place)
    assert {"config.yaml", "log.jsonl", "best.safetensors", "last.safetensors", "report.html"} <= there
    checkpoints = {f"checkpoints/step-{step:08d}.safetensors" for step in (4, 6)}
    assert {name for name in there if name.startswith("checkpoints/")} == checkpoints
    assert unetkit.load_config(local_copy(run.place) / "config.yaml").data.path == data
    scores = unetkit.evaluate("s3://lab/runs/a").scores
    written = json.loads((run.path / "evaluation.json").read_text())["scores"]
    assert scores == pytest.approx({name: written[name] for name in scores})
    unetkit.predict_file("s3://lab/runs/a", "s3://lab/data/test-volume.tif", "s3://lab/out/masks.tif")
    assert tifffile.imread(local_copy("s3://lab/out/masks.tif")).shape == (5, 64, 64)
    unetkit.export(run, to="openvino", out="s3://lab/out/net.xml")
    assert names("s3://lab/out") == {"masks.tif", "net.xml", "net.bin"}
    assert unetkit.load("s3://lab/out/net.xml").classes == ("membrane", "interior")
    with pytest.raises(RunFolderError, match="something is there"):
        unetkit.train("isbi", data=data, out="s3://lab/runs/a", overrides=SMALL)


def test_folders_are_sent(data: str) -> None:
    convert(open_dataset(data), "s3://lab/folders")
    assert len(names("s3://lab/folders")) == 10
    unetkit.train("isbi", data="s3://lab/folders", out="s3://lab/runs/f", overrides=[*SMALL, "train.steps=2"])
    unetkit.predict_file("s3://lab/runs/f", "s3://lab/folders/train-volume[00]", "s3://lab/masks")
    assert "image.png" in names("s3://lab/masks")


def test_objects_are_sent(data: str) -> None:
    convert(open_dataset(data), "s3://lab/images")
    run = unetkit.train("isbi", data=data, out="s3://lab/runs/o", overrides=[*SMALL, "train.steps=2"])
    stack, images = "s3://lab/data/test-volume.tif", "s3://lab/images/train-volume[00]"
    low = {"objects.threshold": 0.1, "objects.min_size": 1}
    unetkit.predict_objects(run, stack, "s3://lab/objects/labels.tif", outlines=True, options=low)
    assert tifffile.imread(local_copy("s3://lab/objects/labels.tif")).shape == (5, 64, 64)
    unetkit.predict_objects(run, stack, "s3://lab/objects/all.json", options=low)
    assert len(json.loads(local_copy("s3://lab/objects/all.json").read_text())["images"]) == 5
    unetkit.predict_objects(run, images, "s3://lab/objects/folder", options=low)
    outlines = {f"labels-outlines/test-volume-000{page}.png" for page in range(5)}
    assert names("s3://lab/objects") == {"labels.tif", "all.json", "folder/image.tif", "folder/mask.tif"} | outlines
    with pytest.raises(UsageError, match=r"s3://lab/objects/folder: is not an empty folder"):
        unetkit.predict_objects(run, images, "s3://lab/objects/folder", options=low)


def test_a_lost_machine_loses_an_interval_at_most(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", "isbi", "--data", data, "--out", "s3://lab/runs/k", *SMALL, "train.steps=30"]
    lost = subprocess.Popen([sys.executable, "-m", "unetkit", *words], stdout=subprocess.DEVNULL)
    while not any(name >= "checkpoints/step-00000008" for name in names("s3://lab/runs/k")):
        assert lost.poll() is None
    os.kill(lost.pid, signal.SIGKILL)
    lost.wait()
    sent = max(names("s3://lab/runs/k") & {f"checkpoints/step-{step:08d}.safetensors" for step in range(31)})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    run = unetkit.resume("s3://lab/runs/k")
    first = next(record["step"] for record in run.read_log() if record["step"] > int(sent[-20:-12]))
    assert first <= int(sent[-20:-12]) + 10, "it went on where the last sent checkpoint stands"
    assert run.read_log()[-1]["step"] == 30
    assert "report.html" in names("s3://lab/runs/k")


def test_a_storage_that_is_gone_for_a_while_costs_nothing(data: str, wire, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001 - of conftest
    from unetkit.storage import Mirror

    pushes = list[int]()
    push = Mirror.push

    def failing(mirror: Mirror) -> None:
        pushes.append(1)
        if len(pushes) in (1, 2):
            raise RemoteError("s3://lab: cannot be reached")
        push(mirror)

    monkeypatch.setattr(Mirror, "push", failing)
    run = unetkit.train("isbi", data=data, out="s3://lab/runs/w", overrides=SMALL)
    assert len(pushes) == 4
    assert "best.safetensors" in names(run.place)


def test_a_storage_that_stays_away_leaves_the_run_here(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from unetkit.storage import Mirror

    def failing(_: Mirror) -> None:
        raise RemoteError("s3://lab: cannot be reached")

    monkeypatch.setattr(Mirror, "push", failing)
    with pytest.raises(RemoteError, match="the whole run lies in /") as raised:
        unetkit.train("isbi", data=data, out="s3://lab/runs/x", overrides=SMALL)
    assert Path(str(raised.value).rpartition("lies in ")[2]).joinpath("last.safetensors").is_file()
    monkeypatch.undo()
