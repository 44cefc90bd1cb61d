"""A file that was made from a run is scored on what that run's training held out, wherever the file lies."""

import shutil
from pathlib import Path

import pytest

import unetkit
from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.run import Run
from unetkit.training.train import train

SMALL = {"model": {"width": 4, "depth": 1}, "train": {"steps": 3, "batch": 1, "patch": 32, "threads": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = write_sample(tmp_path_factory.mktemp("data"), slices=6, size=64)
    return train(load_config(SMALL, ["data.split.folds=3"]), data=data, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("kind", ["mindir", "safetensors"])
def test_a_file_is_scored_on_what_its_training_held_out(run: Run, tmp_path: Path, kind: str) -> None:
    data, file = run.config.data.path, tmp_path / f"net.{kind}"
    assert data is not None
    if kind == "safetensors":
        shutil.copy(run.best, file)
    else:
        unetkit.export(run, to=kind, out=file, options={"size": (64, 64)})
    own, scored = unetkit.evaluate(run), unetkit.evaluate(file, data=data)
    assert [image.name for image in scored.images] == [image.name for image in own.images]
    assert scored.scores["soft_dice_two_class"] == pytest.approx(own.scores["soft_dice_two_class"], abs=1e-5)
    assert any("the 2 of 6 images that its training held out" in note for note in scored.notes)
    everything = unetkit.evaluate(file, data=data, everything=True)
    assert len(everything.images) == 6
    assert any("images that it was trained on are among these" in note for note in everything.notes)


def test_other_data_is_scored_whole_and_without_a_word(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.best, tmp_path / "net.safetensors")
    other = write_sample(tmp_path / "other", slices=3, size=64, seed=5)
    scored = unetkit.evaluate(tmp_path / "net.safetensors", data=other)
    assert len(scored.images) == 3
    assert not any("train" in note for note in scored.notes)
