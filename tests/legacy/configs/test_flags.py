"""The systems without files: TensorFlow's and OneFlow's flags on their presets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unetkit.config import load_config
from unetkit.configuring import translate_config
from unetkit.errors import UnetkitError
from unetkit.legacy.configs import Translation

TENSORFLOW, ONEFLOW = "tensorflow-unet-medical", "oneflow-unet"
PUBLISHED = "--exec_mode train_and_evaluate --crossvalidation_idx 0 --max_steps 6400 --batch_size 8 --augment"


def translated(preset: str, words: str, *, bug_compatible: bool = False) -> Translation:
    translation = translate_config(preset, flags=words.split(), bug_compatible=bug_compatible)
    assert translation is not None
    return translation


def found(translation: Translation, expected: dict[str, Any]) -> dict[str, Any]:
    tree = translation.config.model_dump()

    def value(key: str) -> Any:
        section: Any = tree
        for part in key.split("."):
            section = section[part]
        return section

    return {key: value(key) for key in expected}


def known_issue(translation: Translation, key: str) -> str:
    return next(str(known_issue) for known_issue in translation.known_issues if key in known_issue.key)


def test_tensorflows_published_training() -> None:
    expected = {
        "data.normalization": "minus-one-to-one",
        "data.size": (388, 388),
        "data.resize": "asymmetric",
        "data.padding_mode": "zeros",
        "data.split.method": "mindspore",
        "data.split.fold": 0,
        "model.padding": "valid",
        "model.width": 64,
        "model.up_kernel": 3,
        "model.up_bias": True,
        "model.up_relu": True,
        "model.concat": "up-skip",
        "model.dropout": 0.5,
        "model.init": "glorot",
        "augment.flip": True,
        "augment.rotate90": False,
        "augment.crop": 0.3,
        "augment.brightness": 0.2,
        "augment.clip": (-1.0, 1.0),
        "loss.cross_entropy": 1.0,
        "loss.dice": 1.0,
        "loss.dice_form": "per-class",
        "optimizer.name": "adam",
        "optimizer.lr": 1e-4,
        "optimizer.weight_decay": 0.0,
        "optimizer.eps_form": "tensorflow",
        "optimizer.schedule": "constant",
        "train.steps": 6400,
        "train.batch": 8,
        "train.patch": 572,
        "train.precision": "float32",
        "train.best_metric": "soft_dice_class_mean",
        "train.log_every": 100,
    }
    translation = translated(TENSORFLOW, PUBLISHED)
    assert found(translation, expected) == expected
    assert "folds overlap" in known_issue(translation, "crossvalidation_idx")
    assert "never uses it" in known_issue(translation, "weight_decay")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--exec_mode train", {"data.split.method": "none", "augment.flip": False, "augment.crop": 0.0}),
        ("--crossvalidation_idx 3 --seed 7", {"data.split.fold": 3, "data.split.seed": 7, "train.seed": 7}),
        ("--use_amp --xla", {"train.precision": "auto", "train.compile": True}),
        ("--amp", {"train.precision": "auto"}),
        ("--npu_loss_scale 1", {"train.precision": "auto", "train.loss_scale": None}),
        ("--npu_loss_scale 1024", {"train.precision": "auto", "train.loss_scale": 1024.0}),
        ("--npu_loss_scale 0", {"train.precision": "float32", "train.loss_scale": None}),
        ("--learning_rate 1e-3 --log_every 10", {"optimizer.lr": 1e-3, "train.log_every": 10}),
        ("--data_path=/data", {"data.path": "/data"}),
        ("--data_dir /data", {"data.path": "/data"}),
        ("--resume_training --model_dir there", {"init.path": "there"}),
        ("--weight_decay 0.1", {"optimizer.weight_decay": 0.0}),
        ("--augment --no-augment", {"augment.flip": False}),
        ("--max 7", {"train.steps": 7}),
    ],
)
def test_tensorflows_flags(words: str, expected: dict[str, Any]) -> None:
    assert found(translated(TENSORFLOW, words), expected) == expected


def test_tensorflows_steps_are_divided_by_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    shared, measured = translated(TENSORFLOW, PUBLISHED), translated(TENSORFLOW, f"{PUBLISHED} --benchmark")
    assert (shared.config.train.steps, shared.config.train.batch) == (800, 64)
    assert (measured.config.train.steps, measured.config.train.batch) == (6400, 64)


def test_tensorflows_folds_are_kept_when_asked() -> None:
    translation = translated(TENSORFLOW, "--crossvalidation_idx 1", bug_compatible=True)
    assert translation.config.data.split.method == "tensorflow"
    assert "kept" in known_issue(translation, "crossvalidation_idx")


def test_a_folder_for_models_is_the_run_folder() -> None:
    assert translated(TENSORFLOW, "--model_dir results").out == "results"
    assert translated(TENSORFLOW, "--augment").out is None


def test_oneflows_training(tmp_path: Path) -> None:
    for kind in ("train_image", "train_label"):
        (tmp_path / kind).mkdir()
        for name in range(5):
            pixels = np.random.default_rng(name).integers(0, 2, (48, 64), dtype=np.uint8) * 255
            Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    expected = {
        "data.path": str(tmp_path),
        "data.images": "train_image",
        "data.labels": "train_label",
        "data.normalization": "none",
        "model.odd_sizes": "zeros",
        "model.norm": "batch",
        "model.conv_bias": True,
        "model.up_bias": True,
        "model.concat": "skip-up",
        "model.num_classes": 1,
        "model.width": 64,
        "augment.flip_axes": "both",
        "augment.rotate90": False,
        "loss.cross_entropy": 1.0,
        "loss.dice": 0.0,
        "optimizer.name": "adam",
        "optimizer.lr": 1e-4,
        "optimizer.weight_decay": 0.0,
        "optimizer.eps_form": "torch",
        "train.patch": (48, 64),
        "train.batch": 2,
        "train.steps": 4 * 3,
    }
    words = f"--data_path {tmp_path / 'train_image'} --epochs 4 --batch_size 2"
    translation = translated(ONEFLOW, words)
    assert found(translation, expected) == expected
    kept = {"optimizer.lr": 1e-3, "augment.flip_axes": "rows"}
    assert found(translated(ONEFLOW, words, bug_compatible=True), kept) == kept


def test_oneflows_path_is_replaced_in_its_last_folder_alone() -> None:
    translation = translated(ONEFLOW, "--data_path images/train_image")
    assert translation.config.data.path == "images"
    assert "finds no masks" in known_issue(translation, "data_path")


@pytest.mark.parametrize(
    ("preset", "words", "message"),
    [
        (TENSORFLOW, "--exec_mode predict --data_dir D", "write: unetkit predict ./results D/test-volume.tif"),
        (TENSORFLOW, "--exec_mode evaluate --model_dir M", "write: unetkit evaluate M --data DIR"),
        (TENSORFLOW, "--exec_mode traing", "expected one of train, train_and_predict"),
        (TENSORFLOW, "--crossvalidation_idx 5", "with 5 folds the last one is 4"),
        (TENSORFLOW, "--crossvalidation_idx x", "expected a whole number"),
        (TENSORFLOW, "--max_steps", "argument --max_steps: expected one argument"),
        (TENSORFLOW, "--max_step=0", "expected 1 or more"),
        (TENSORFLOW, "--augment=1", "argument --augment: ignored explicit argument"),
        (TENSORFLOW, "--log 3", "--log could match --log_dir, --log_every"),
        (TENSORFLOW, "--epochs 3", "unknown flag --epochs"),
        (ONEFLOW, "--epoch 1.5", "expected a whole number"),
        (ONEFLOW, "--data_path stacks", "a folder with 'image' in its name"),
        (ONEFLOW, "--checkpoint c", "unetkit predict MODEL INPUT"),
        ("isbi", "--epochs 3", "isbi is not a legacy configuration"),
        ("mindspore-unet-simple", "--epochs 3", "is not a legacy configuration"),
        ("nowhere.yaml", "--epochs 3", "is not a legacy configuration"),
    ],
)
def test_a_wrong_flag_is_one_line(preset: str, words: str, message: str) -> None:
    with pytest.raises(UnetkitError) as caught:
        translate_config(preset, flags=words.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("preset", "words"), [(TENSORFLOW, PUBLISHED), (ONEFLOW, "--epochs 3")])
def test_the_printed_translation_reads_back(preset: str, words: str, tmp_path: Path) -> None:
    for bug_compatible in (False, True):
        translation = translated(preset, words, bug_compatible=bug_compatible)
        file = tmp_path / "ours.yaml"
        file.write_text(translation.annotated_yaml())
        assert load_config(file) == translation.config
