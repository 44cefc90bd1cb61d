"""Trainings that see the slices around each slice: what is drawn, what is scored, what goes on, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import unetkit
from unetkit.config import load_config
from unetkit.data import open_dataset, write_sample
from unetkit.data.context import around_each, context_note, with_context
from unetkit.data.dataset import InMemory
from unetkit.data.split import Split
from unetkit.distributed import World
from unetkit.errors import ConfigError, DataError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import NoProgress
from unetkit.run import Run
from unetkit.training.prepare import prepare

SMALL = {
    "model": {"context": 1, "widths": [4, 8]},
    "data": {"split": {"method": "blocks", "folds": 3}},
    "augment": {"rotation": 20, "noise": 0.1},
    "train": {"steps": 4, "batch": 2, "patch": 32, "threads": 1, "checkpoint_every": 2, "validate_every": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=6, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unetkit.train(SMALL, data=data, out=tmp_path_factory.mktemp("runs") / "one")


@pytest.mark.parametrize("size", [None, [48, 40]])
def test_patches_hold_the_slices_around_theirs_and_the_store_each_slice_once(data: Path, size: Any) -> None:
    config = load_config(SMALL, [f"data.path={data}", "model.context=2", f"data.size={json.dumps(size)}"])
    prepared = prepare(config)
    assert prepared.split.train == (0, 1, 4, 5)  # 2 and 3 are held out
    store = prepared.fill(torch.device("cpu"), World(), NoProgress())
    height, width = size or (64, 64)
    assert store.pixels_CP.shape == (1, 6 * height * width + 1)
    rows, columns = np.mgrid[-4 : height + 4, -4 : width + 4]
    grid = torch.from_numpy(np.stack((rows, columns))[None].astype(np.float32))
    stack = [one.pixels[0] for one in (prepared.training[place] for place in range(4))]
    held = [store.pixels_CP[0, -1 - (2 - place) * height * width :][: height * width] for place in range(2)]
    stack[2:2] = [one.reshape(height, width).numpy() for one in held]
    if size is None:
        np.testing.assert_array_equal(np.stack(stack), tifffile.imread(data / "train-volume.tif"))
    mean, std = (np.float32(values[0]) for values in (prepared.normalization.mean, prepared.normalization.std))
    for place, number in enumerate(prepared.split.train):
        around = np.abs(np.arange(number - 2, number + 3))
        expected = np.stack([stack[index] for index in np.where(around > 5, 10 - around, around)])
        expected = np.pad((expected - mean) / std, ((0, 0), (4, 4), (4, 4)), mode="reflect")
        np.testing.assert_array_equal(store.sample_nearest(torch.tensor([place]), grid)[0].numpy(), expected)
        labels, _, _ = store.targets_at(torch.tensor([place]), grid[:, :, 4:-4, 4:-4])
        np.testing.assert_array_equal(labels[0].numpy(), prepared.training[place].labels)
    assert not store.labels_P[4 * height * width :].any(), "labels that were held out are not even there"
    assert len(store.sizes) == 4


def test_samples_have_the_slices_of_their_own_stack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
    stacks = [rng.integers(0, 256, (count, 32, 32), np.uint8) for count in (3, 4)]
    for number, stack in enumerate(stacks):
        tifffile.imwrite(tmp_path / f"images/s{number}.tif", stack, photometric="minisblack")
        tifffile.imwrite(tmp_path / f"masks/s{number}.tif", np.uint8(stack > 128) * 255, photometric="minisblack")
    lazy = open_dataset(tmp_path)
    for dataset in (lazy, unetkit.data.in_memory(lazy)):
        shown = with_context(dataset, 1)
        np.testing.assert_array_equal(shown[2].input, stacks[0][[1, 2, 1]])
        np.testing.assert_array_equal(shown[3].input, stacks[1][[1, 0, 1]])
        np.testing.assert_array_equal(shown[5].input, stacks[1][[1, 2, 3]])
        np.testing.assert_array_equal(shown[5].pixels, stacks[1][[2]])
        assert with_context(dataset, 0) is dataset
        np.testing.assert_array_equal(dataset[5].input, stacks[1][[2]])


def test_a_training_scores_as_evaluate_and_as_predictions_by_hand(run: Run, data: Path, tmp_path: Path) -> None:
    card = Checkpoint.load(run.best).card
    assert (card.context, card.channels, card.image_channels) == (1, 3, 1)
    assert card.model is not None
    assert (card.model.in_channels, card.model.context) == (3, 1)
    reported = json.loads((run.path / "evaluation.json").read_text())
    evaluated = unetkit.evaluate(run.path).as_json()
    assert evaluated["scores"] == pytest.approx({name: reported["scores"][name] for name in evaluated["scores"]})
    unetkit.predict_file(run.path, data / "train-volume.tif", tmp_path / "masks.tif")
    labels, found = tifffile.imread(data / "train-labels.tif")[2:4], tifffile.imread(tmp_path / "masks.tif")[2:4]
    accuracy = float((labels == found).mean())
    assert reported["scores"]["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert "Seen together" in run.report.read_text()


def test_a_stopped_training_ends_with_the_same_weights(run: Run, tmp_path: Path) -> None:
    whole = Checkpoint.load(run.last)
    again = Path(shutil.copytree(run.path, tmp_path / "again"))
    newest = max(unetkit.run.open_run(again).checkpoint_paths())
    for file in (newest, again / run.last.name, again / "summary.json"):
        file.unlink()
    unetkit.resume(again)
    found = Checkpoint.load(again / run.last.name)
    assert found.card.step == whole.card.step == 4
    assert all(torch.equal(found.tensors[name], value) for name, value in whole.tensors.items())


def test_folds_are_scored_with_their_neighbours(data: Path, tmp_path: Path) -> None:
    overrides = ["train.steps=2", "train.validate_every=2"]
    made = unetkit.crossval(SMALL, data=data, out=tmp_path / "folds", folds=2, overrides=overrides)
    assert "with pixels, never labels, of other folds" in " ".join(made.summary["notes"])
    stack, stored = tifffile.imread(data / "train-volume.tif"), tifffile.imread(tmp_path / "folds/out-of-fold.tif")
    member = unetkit.load(tmp_path / "folds/fold-0-seed-0/last.safetensors")
    for index, around in ((0, [1, 0, 1]), (2, [1, 2, 3])):  # the fold's own last slice is seen with a trained one
        np.testing.assert_allclose(stored[index], member.probabilities(stack[around])[1], atol=1e-6)
    unetkit.predict_file(tmp_path / "folds", data / "test-volume.tif", tmp_path / "masks.tif")


@pytest.mark.parametrize("preprocessing", [False, True])
def test_an_exported_file_says_so_and_takes_stacks(
    run: Run, data: Path, tmp_path: Path, *, preprocessing: bool
) -> None:
    pytest.importorskip("onnxscript")
    made = unetkit.export(
        run.path, to="onnx", out=tmp_path / "net.onnx", data=data, options={"preprocessing": preprocessing}
    )
    assert (made.card.context, made.card.channels) == (1, 3)
    assert made.parity is not None
    assert {case.shape[1] for case in made.parity.cases} == {3}
    for name, model in (("run", run.path), ("file", tmp_path / "net.onnx")):
        unetkit.predict_file(model, data / "test-volume.tif", tmp_path / f"{name}.tif", probabilities=True)
    found, expected = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("file", "run"))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_how_a_split_parts_neighbours_is_said(data: Path) -> None:
    around = around_each(open_dataset(data), 1)
    (note,) = context_note(Split((0, 1, 4, 5), (2, 3)), around)
    assert note.startswith("warning: model.context: 2 of 2 held-out slices are seen with slices that are trained on")
    (note,) = context_note(Split((3, 4, 5), (0, 1, 2)), around)
    assert note == (
        "note: model.context: 1 of 3 held-out slices are seen with slices that are trained on, and 1 of 3 trained ones "
        "with pixels (never labels) of held-out ones"
    )
    assert context_note(Split((0, 1, 2, 3, 4, 5), ()), around) == []


def test_images_on_their_own_are_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    for number, (image, label) in enumerate(
        zip(*(tifffile.imread(data / f"train-{name}.tif") for name in ("volume", "labels")), strict=True)
    ):
        for place, pixels in (("images", image), ("masks", label)):
            (tmp_path / "alone" / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / f"alone/{place}/cell{number * 7}.png")
    refusal = (
        r"cell0\.png: is no slice of a stack, as 6 of 6 images are not, but model\.context=1 shows .*; give stacks"
    )
    with pytest.raises(DataError, match=refusal):
        unetkit.train(SMALL, data=tmp_path / "alone", out=tmp_path / "run")
    with pytest.raises(DataError, match=refusal):
        unetkit.plan(tmp_path / "alone", overrides=["model.context=1"])
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        ConfigError, match=r"model\.in_channels: found 1, but the data has 3 in 3 slices \(model\.contex"
    ):
        unetkit.train(SMALL, data=data, out=tmp_path / "run", overrides=["model.in_channels=1"])


def test_a_plan_counts_the_slices(data: Path) -> None:
    made = unetkit.plan(data, overrides=["model.context=1", "model.widths=[4,8]", "train.batch=2"])
    assert (made.config.model.context, made.config.model.in_channels) == (1, 3)
    assert prepare(made.config).config.model.in_channels == 3


def test_the_samples_that_are_held_are_not_copied(data: Path) -> None:
    dataset = unetkit.data.in_memory(open_dataset(data))
    assert isinstance(dataset, InMemory)
    assert with_context(dataset, 1)[2].slices[2] is dataset[3].pixels
