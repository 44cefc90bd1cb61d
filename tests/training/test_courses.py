"""What keys of the configuration do to a whole training, seen from outside: small runs and what they leave."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unetkit
from unetkit.data import write_sample
from unetkit.errors import ConfigError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import Run
from unetkit.training.step import _gradient_scaler
from unetkit.training.train import resume, train

SMALL = {"model": {"width": 4, "depth": 2}, "train": {"steps": 4, "batch": 2, "patch": 32, "precision": "float32"}}
AS_FOUNDED = {
    "model": {"width": 4, "depth": 2, "padding": "valid", "norm": "none"},
    "data": {
        "normalization": "minus-one-to-one",
        "size": [44, 44],
        "padding_mode": "zeros",
        "split": {"method": "last", "share": 0.4},
    },
    "augment": {"rotate90": False, "crop": 0.3, "brightness": 0.2, "clip": [-1, 1]},
    "loss": {"dice": 0},
    "optimizer": {"name": "adam", "eps_form": "tensorflow", "decay_params": "all-but-norms", "schedule": "constant"},
    "train": {
        "steps": 9,
        "batch": 2,
        "patch": 84,
        "repeat": 3,
        "drop_last": True,
        "precision": "float32",
        "validate_every": None,
        "checkpoint_every": 3,
        "log_every": 1,
        "best_metric": "soft_dice_two_class_at_44x44",
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="module")
def founded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(AS_FOUNDED, data=data, out=tmp_path_factory.mktemp("runs") / "founded")


def _log(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]


def test_a_founding_training_sees_whole_resized_images_and_validates_at_its_end(founded: Run) -> None:
    lines = _log(founded)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
    assert [line["step"] for line in lines if "validation_seconds" in line] == [9]
    assert {"soft_dice_two_class_at_44x44", "soft_dice_foreground", "soft_dice_class_mean"} <= lines[-1].keys()
    assert founded.config.predict.model_dump(include={"size", "resize", "padding_mode"}) == {
        "size": (44, 44),
        "resize": "half-pixel",
        "padding_mode": "zeros",
    }


def test_its_network_predicts_any_size_by_way_of_the_one_it_was_trained_on(founded: Run, data: Path) -> None:
    predictor = unetkit.load(founded)
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    assert predictor.labels(np.zeros((1, 70, 90), np.uint8)).shape == (70, 90)
    assert seen[-1] == (1, 1, 84, 84)
    scores = unetkit.evaluate(founded, data=data).scores
    summary = founded.read_json("summary.json")
    assert summary is not None
    both = scores.keys() & summary["scores"].keys()
    assert "soft_dice_two_class" in both
    assert {name: scores[name] for name in both} == pytest.approx({name: summary["scores"][name] for name in both})
    assert not any("_388" in name for name in scores)


def test_it_resumes_to_the_same_weights(founded: Run, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(founded.path, half)
    for name in ("best.safetensors", "last.safetensors", "checkpoints/step-00000009.safetensors"):
        (half / name).unlink()
    assert Checkpoint.load(max((half / "checkpoints").iterdir())).card.step == 6
    resumed = resume(half)
    left, right = (Checkpoint.load(run.last).tensors for run in (founded, resumed))
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def test_a_network_of_one_logit_is_trained_scored_and_used_for_two_classes(data: Path, tmp_path: Path) -> None:
    run = train({**SMALL, "model": {"width": 4, "depth": 2, "num_classes": 1}}, data=data, out=tmp_path / "run")
    card = Checkpoint.load(run.last).card
    assert (card.model.num_classes, len(card.classes)) == (1, 2)
    probabilities = unetkit.predict(run, np.zeros((40, 50), np.uint8), probabilities=True)
    assert probabilities.shape == (2, 40, 50)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-6)
    assert 0 < unetkit.evaluate(run, data=data).scores["soft_dice_two_class"] < 1


def test_a_frozen_encoder_keeps_its_weights_and_its_statistics(data: Path, tmp_path: Path) -> None:
    first = train(SMALL, data=data, out=tmp_path / "first")
    config = {**SMALL, "optimizer": {"lr_factors": {"encoder.*": 0.0}}, "init": {"path": str(first.last)}}
    second = train(config, data=data, out=tmp_path / "second")
    before, after = (Checkpoint.load(run.last).weights() for run in (first, second))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "head"}


def test_validations_begin_where_asked_and_as_many_checkpoints_stay(data: Path, tmp_path: Path) -> None:
    overrides = ["train.steps=8", "train.validate_every=2", "train.validate_from=5"]
    overrides += ["train.checkpoint_every=2", "train.keep_checkpoints=3"]
    run = train(SMALL, data=data, out=tmp_path / "run", overrides=overrides)
    assert [line["step"] for line in _log(run) if "validation_seconds" in line] == [6, 8]
    assert [Checkpoint.load(path).card.step for path in run.checkpoint_paths()] == [4, 6, 8]


def test_a_clipped_gradient_moves_the_weights_by_no_more_than_its_limit(data: Path, tmp_path: Path) -> None:
    small = {**SMALL, "model": {"width": 4, "depth": 2, "norm": "none"}}
    first = train(small, data=data, out=tmp_path / "first")
    plain = {"name": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    config = {**small, "optimizer": plain, "init": {"path": str(first.last)}}
    second = train(config, data=data, out=tmp_path / "second", overrides=["train.steps=1", "train.grad_clip=0.001"])
    before, after = (Checkpoint.load(run.last).weights() for run in (first, second))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before]).norm()
    assert float(moved) == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize(("fixed", "after"), [(1024.0, 1024.0), (None, 32768.0)])
def test_a_fixed_loss_scale_outlives_an_overflow_and_one_that_is_found_is_halved(
    fixed: float | None, after: float
) -> None:
    scaler = _gradient_scaler(fixed, torch.device("cpu"), torch.float16)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    (scaler.scale(weight * torch.inf)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.item() == 1.0, "a step that overflows is left out"
    assert scaler.get_scale() == after


def test_rectangular_patches_train_on_rectangular_images(data: Path, tmp_path: Path) -> None:
    sections = {"data": {"size": [32, 48]}, "augment": {"flip_axes": "columns", "stretch": [1.0, 1.5]}}
    run = train({**SMALL, **sections}, data=data, out=tmp_path / "run", overrides=["train.patch=[32, 48]"])
    assert run.last.is_file()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["train.drop_last=true", "train.batch=8"], "does not fill one batch of 8"),
        (["model.padding=valid"], "use up 40 pixels; give more"),
        (["train.best_metric=soft_dice_two_class_388"], "is no score of a validation"),
        (["model.num_classes=3"], "found 3, but the data has 2"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, overrides: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        train(SMALL, data=data, out=tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()
