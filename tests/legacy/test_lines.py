"""The older systems' lines, byte for byte: what people grep for, and what NVIDIA's parse_results.py takes apart."""

import re
from pathlib import Path

import numpy as np
import pytest

from unetkit.config import load_config
from unetkit.configuring import evaluation_lines, training_lines
from unetkit.distributed import World


def printed(system: str, folder: Path, *, images: int = 4, world: World = World(), repeat: int = 1) -> list[str]:
    """Train ten steps of two images in words alone: steps come in bursts, epochs end inside them."""
    keys = [
        f"train.log_format={system}",
        "train.batch=2",
        f"train.repeat={repeat}",
        "train.best_metric=soft_iou_two_class",
    ]
    lines: list[str] = []
    one = training_lines(load_config("isbi", keys), lines.append, images, world, device="cpu", folder=folder)
    assert one is not None
    one.begin()
    terms = {"cross_entropy": 0.25, "dice_loss": 0.5}
    one.steps(0, [0.5, 0.25, 0.125], terms, 1.5)
    one.scored(3, {"soft_iou_two_class": 0.5}, Path("best"))
    one.steps(3, [1.0, 3.0], terms, 2.0)
    one.scored(5, {"soft_iou_two_class": 0.25}, Path("best"))
    one.end()
    return lines


def test_mindspore(tmp_path: Path) -> None:
    assert printed("mindspore", tmp_path) == [
        "dataset length is: 2",
        "============== Starting Training ==============",
        "step: 1, loss is 0.5, fps is 4.0",
        "step: 2, loss is 0.25, fps is 4.0",
        "epoch:   1, avg loss:0.3750, total cost: 1.000 s, per step fps:4.000",
        "step: 1, loss is 0.125, fps is 4.0",
        "epoch: 2, IOU: 0.5",
        "update best result: 0.5",
        "update best checkpoint at: best",
        "step: 2, loss is 1.0, fps is 2.0",
        "epoch:   2, avg loss:0.5625, total cost: 1.500 s, per step fps:2.667",
        "step: 1, loss is 3.0, fps is 2.0",
        "epoch: 3, IOU: 0.25",
        "End training, the best IOU is: 0.5, the best IOU epoch is 2",
        "============== End Training ==============",
    ]


def test_the_course_prints_neither_epochs_nor_validations(tmp_path: Path) -> None:
    assert printed("mindspore-course", tmp_path) == [
        "dataset length is: 2",
        "============== Starting Training ==============",
        "step: 1, loss is 0.5, fps is 4.0",
        "step: 2, loss is 0.25, fps is 4.0",
        "step: 1, loss is 0.125, fps is 4.0",
        "step: 2, loss is 1.0, fps is 2.0",
        "step: 1, loss is 3.0, fps is 2.0",
        "============== End Training ==============",
    ]


def test_oneflow_and_its_file(tmp_path: Path) -> None:
    (tmp_path / "Unet_train.txt").write_text("9.0000\n" * 5)  # of a training that was resumed at its beginning
    assert printed("oneflow", tmp_path) == [
        "Using cpu device",
        "epoch: 0 avg loss: 0.375000 time:1 s",
        "epoch: 1 avg loss: 0.562500 time:1 s",
    ]
    assert (tmp_path / "Unet_train.txt").read_text() == "0.3750\n0.5625\n"


def test_only_the_main_process_writes_the_file(tmp_path: Path) -> None:
    printed("oneflow", tmp_path, world=World(1, 2))
    assert not list(tmp_path.iterdir())


def test_tensorflow(tmp_path: Path) -> None:
    first, second = printed("tensorflow", tmp_path)
    stamp = r"DLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ - "
    assert re.fullmatch(stamp + r"\(3,\) train_ce_loss:0\.25  train_dice_loss:0\.5  train_total_loss:0\.29\d+ ", first)
    assert re.fullmatch(stamp + r"\(5,\) train_ce_loss:0\.25  train_dice_loss:0\.5  train_total_loss:2\.0 ", second)


SCORES = {
    "soft_dice_two_class": 0.9,
    "soft_iou_two_class": 0.8,
    "soft_dice_two_class_at_64x64": 0.7,
    "soft_iou_two_class_at_64x64": 0.6,
    "argmax_dice_two_class": 0.5,
    "argmax_iou_two_class": 0.4,
    "soft_dice_class_mean": 0.75,
    "soft_cross_entropy": 0.125,
}
CONTENT = {"scores": SCORES, "images": [{"name": "a", "scores": SCORES}, {"name": "b", "scores": SCORES}]}


@pytest.mark.parametrize(
    ("metric", "own_size", "dice", "iou"),
    [
        ("soft_dice_two_class", False, 0.7, 0.6),
        ("soft_iou_two_class", True, 0.9, 0.8),
        ("argmax_iou_two_class", False, 0.5, 0.4),
        ("mean_precision", False, 0.7, 0.6),
    ],
)
def test_an_evaluation_of_mindspore(metric: str, own_size: bool, dice: float, iou: float) -> None:
    assert list(evaluation_lines("mindspore", CONTENT, metric, own_size=own_size)) == [
        "============== Starting Evaluating ============",
        f"single dice coeff is: {dice}, IOU is: {iou}",
        f"single dice coeff is: {dice}, IOU is: {iou}",
        f"============== Cross valid dice coeff is: {dice}",
        f"============== Cross valid IOU is: {iou}",
    ]


def test_an_evaluation_of_the_course() -> None:
    assert list(evaluation_lines("mindspore-course", CONTENT, "soft_dice_two_class")) == [
        "============== Starting Evaluating ============",
        "single dice coeff is: 0.7",
        "single dice coeff is: 0.7",
        "Cross valid dice coeff is: {'dice_coeff': 0.7}",
    ]


def test_an_evaluation_of_tensorflow_as_its_parse_results_reads_it() -> None:
    (line,) = evaluation_lines("tensorflow", CONTENT, "soft_dice_class_mean")
    values = dict(word.split(":") for word in line.split(" - ")[1].split() if ":" in word)
    found = {name: float(value) for name, value in values.items()}
    assert found == {
        "eval_ce_loss": 0.125,
        "eval_dice_loss": 0.25,
        "eval_total_loss": 0.375,
        "eval_dice_score": 0.75,
    }
    assert not list(evaluation_lines("oneflow", CONTENT, "soft_dice_class_mean"))


def test_a_loss_is_written_as_mindspore_writes_a_float32(tmp_path: Path) -> None:
    lines: list[str] = []
    config = load_config("isbi", ["train.log_format=mindspore", "train.batch=16"])
    one = training_lines(config, lines.append, 16, World(), device="cpu", folder=tmp_path)
    assert one is not None
    one.steps(0, [float(np.float32(0.70524895))], {}, 1.0)
    assert lines[0] == "step: 1, loss is 0.70524895, fps is 16.0"
