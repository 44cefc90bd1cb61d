"""Plans that fit the data and the machine, and that train takes as they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

import unetkit
from unetkit.cli import main
from unetkit.data import write_sample
from unetkit.data.layouts.synthetic import generate
from unetkit.errors import DataError, UsageError
from unetkit.run import open_run
from unetkit.training.cost import memory_of
from unetkit.training.planning import TrainingPlan

FAST = ["model.widths=[4,8]", "train.batch=2"]
ONE_STEP = ["train.steps=1", "train.validate_every=1", "train.checkpoint_every=1", *FAST]


def put(folder: Path, images: list[NDArray[np.generic]], labels: list[NDArray[np.uint8]]) -> Path:
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        kind = "minisblack" if image.ndim == 2 else "rgb"
        tifffile.imwrite(folder / "images" / f"{number}.tif", image, photometric=kind)
        Image.fromarray(label).save(folder / "masks" / f"{number}.png")
    return folder


def views(count: int, side: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    made = [generate(seed=seed, slices=1, size=side) for seed in range(count)]
    return [one.images[0] for one in made], [one.labels[0] for one in made]


def rare(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    few = np.full_like(label, 255)
    few[20:40, 20:40] = label[20:40, 20:40]
    return few


def tiled(images: list[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
    return [np.tile(image, (9, 9)) for image in images]


def value(made: TrainingPlan, key: str) -> object:
    return next(choice.value for choice in made.choices if choice.key == key)


@pytest.mark.parametrize("slices", [5, 15])  # of 15, each fold has more slices inside than at its ends
def test_every_line_has_its_reason_and_reads_back(slices: int, tmp_path: Path) -> None:
    made = unetkit.plan(write_sample(tmp_path, slices=slices, size=64), overrides=FAST)
    (tmp_path / "plan.yaml").write_text(made.yaml)
    assert unetkit.load_config(tmp_path / "plan.yaml") == made.config
    body = made.yaml.splitlines()
    assert all("  # " in line for line in body if ": " in line and not line.startswith("#"))
    assert value(made, "data.split.method") == "blocks"
    assert "widths: [4, 8]  # as asked" in made.yaml
    assert yaml.safe_load(made.yaml)["train"]["patch"] == 64


@pytest.mark.parametrize(
    "kind", ["a stack", "16 bits", "floats", "colour", "small images", "one image", "large images", "a rare class"]
)
def test_each_plan_trains(kind: str, tmp_path: Path) -> None:
    images, labels = views(5, 96)
    if kind == "small images":
        images, labels = views(6, 40)
    data = {
        "16 bits": lambda: put(tmp_path / "d", [image * np.uint16(16) for image in images], labels),
        "floats": lambda: put(tmp_path / "d", [image / np.float32(255) for image in images], labels),
        "colour": lambda: put(tmp_path / "d", [np.stack([image] * 3, -1) for image in images], labels),
        "one image": lambda: put(tmp_path / "d", images[:1], labels[:1]),
        "large images": lambda: put(tmp_path / "d", tiled(images[:2]), tiled(labels[:2])),
        "a rare class": lambda: put(tmp_path / "d", images, [rare(label) for label in labels]),
        "a stack": lambda: write_sample(tmp_path / "d", slices=5, size=96),
        "small images": lambda: put(tmp_path / "d", images, labels),
    }[kind]()
    made = unetkit.plan(data, overrides=FAST)
    run = unetkit.train(made.config, out=tmp_path / "run", overrides=ONE_STEP)
    assert run.last.is_file()
    assert made.config.model.in_channels == (3 if kind == "colour" else 1)
    assert made.config.train.sides[0] == {"small images": 32, "large images": 128}.get(kind, 96)
    assert value(made, "data.split.method") == {"a stack": "blocks", "one image": "none"}.get(kind, "shuffled")


def test_objects_that_touch_get_a_border_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels, masks = rng.integers(0, 200, (64, 64), np.uint8), np.zeros((4, 64, 64), np.uint8)
        for place, (row, column) in enumerate(((4, 4), (4, 24), (24, 4), (40, 40))):
            masks[place, row : row + 20, column : column + 20] = 255
        for folder in ("images", "masks"):
            (tmp_path / str(number) / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / str(number) / "images" / "x.png")
        for place, mask in enumerate(masks):
            Image.fromarray(mask).save(tmp_path / str(number) / "masks" / f"{place}.png")
    made = unetkit.plan(tmp_path, overrides=FAST)
    assert value(made, "data.border_width") == 1
    assert value(made, "model.num_classes") == 3
    assert unetkit.train(made.config, out=tmp_path / "run", overrides=ONE_STEP).last.is_file()


def _objects(folder: Path, side: int) -> Path:
    """Five images, each with four squares that touch."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 200, (4 * side, 4 * side), np.uint8) for _ in range(5)]
    ids = np.zeros((4 * side, 4 * side), np.uint8)
    for number, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1)), 1):
        ids[row * side + 3 : (row + 1) * side + 3, column * side + 3 : (column + 1) * side + 3] = number
    return put(folder, images, [ids] * 5)


def test_objects_that_fill_their_images_are_scored_as_objects(tmp_path: Path) -> None:
    images, _ = views(4, 64)
    for seed, image in enumerate(images):
        ids = 1 + (np.arange(64)[:, None] + 3 * seed) // 13 * 6 + (np.arange(64) + 5 * seed) // 13
        put(tmp_path / str(seed), [image], [ids.astype(np.uint8)])
    made = unetkit.plan(tmp_path, overrides=["data.mask_kind=instances", *FAST])
    assert (value(made, "data.border_width"), value(made, "train.best_metric")) == (1, "aji")
    assert "100 % of the pixels" in made.yaml
    assert "to keep them apart" not in made.yaml


def test_borders_patches_and_debris_follow_the_size_of_the_objects(tmp_path: Path) -> None:
    kinds = ["data.mask_kind=instances", *FAST]
    small, large = (unetkit.plan(_objects(tmp_path / str(side), side), overrides=kinds) for side in (12, 60))
    assert [value(made, "data.border_width") for made in (small, large)] == [1, 3]
    assert [value(made, "objects.min_size") for made in (small, large)] == [72, 1800]
    assert [value(made, "train.patch") for made in (small, large)] == [48, 240]


def test_sections_in_files_of_their_own_stay_together(tmp_path: Path) -> None:
    made = generate(seed=0, slices=8, size=96)
    planned = unetkit.plan(put(tmp_path / "d", list(made.images), list(made.labels)), overrides=FAST)
    assert value(planned, "data.split.method") == "blocks"


def test_the_loss_follows_the_rarest_class_and_says_what_it_can_trade(tmp_path: Path) -> None:
    images, labels = views(5, 96)
    usual = unetkit.plan(put(tmp_path / "usual", images, labels), overrides=FAST)
    few = [np.where(rare(label) == 0, 255, 0).astype(np.uint8) for label in labels]
    seldom = unetkit.plan(put(tmp_path / "seldom", images, few), overrides=FAST)
    for made in (usual, seldom):
        assert (made.config.loss.cross_entropy, made.config.loss.class_weights, made.config.loss.focal) == (1, None, 0)
    assert (usual.config.loss.dice, seldom.config.loss.dice) == (0, 1)
    assert seldom.config.loss.dice_form == "per-class"
    assert "trade calibration" in seldom.yaml
    assert "trade calibration" not in usual.yaml


def test_nobody_is_advised_to_weigh_classes(tmp_path: Path) -> None:
    images, labels = views(5, 96)
    data = put(tmp_path / "d", images, [np.where(rare(label) == 0, 255, 0).astype(np.uint8) for label in labels])
    found = unetkit.check_data(data, overrides=["train.patch=96"]).findings
    assert "rare classes" in {one.check for one in found}
    assert not any("weight" in one.advice or "focal" in one.advice for one in found)


def test_a_plan_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_sample(tmp_path / "d", slices=5, size=64)
    monkeypatch.setattr("sys.argv", ["unetkit", "plan", str(data), "--json", *FAST])
    with pytest.raises(SystemExit, match="0"):
        main()
    made = json.loads(capsys.readouterr().out)
    assert {"key": "train.batch", "value": 2, "reason": "as asked"} in made["choices"]
    assert made["step"]["seconds"] > 0
    assert str(made["step"]["threads"]) in made["step"]["by_threads"]


def test_check_plan_and_train_in_one_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_sample(tmp_path / "d", slices=10, size=64), tmp_path / "run"
    command = ["unetkit", "train", "auto", "--data", str(data), "--out", str(out), *ONE_STEP]

    def exit_of(words: list[str]) -> object:
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    assert exit_of(command) == 0
    told = capsys.readouterr().out
    assert "plan: model.widths=[4, 8]  as asked" in told
    assert "chosen: predict.threshold=" in told
    run = open_run(out)
    assert unetkit.load_config(out / "plan.yaml").train.steps == run.config.train.steps == 1
    assert run.config.predict.threshold is not None
    assert "chosen by the highest foreground_dice" in run.report.read_text(encoding="utf-8")  # as predictions are made
    assert exit_of(command) == 2
    assert "holds another run" in capsys.readouterr().err
    assert exit_of(["unetkit", "train", "auto", "--out", str(tmp_path / "x")]) == 2
    assert "--data is missing" in capsys.readouterr().err
    assert exit_of(["unetkit", "train", "isbi", "--data", str(data), "--out", "x", "--minutes", "3"]) == 2
    assert "train.steps" in capsys.readouterr().err


def test_minutes_become_steps(tmp_path: Path) -> None:
    data = write_sample(tmp_path, slices=5, size=64)
    short, long = (unetkit.plan(data, overrides=FAST, minutes=minutes) for minutes in (0.2, 20))
    assert long.config.train.steps > 5 * short.config.train.steps
    assert long.config.train.validate_every == max(1, long.config.train.steps // 10)


def test_memory_divides_the_batch_then_the_patch(tmp_path: Path) -> None:
    data = write_sample(tmp_path, slices=5, size=128)
    wide = ["model.widths=[16,32]", "model.downscale=1"]
    ample = unetkit.plan(data, overrides=wide, memory=4)
    assert ample.config.train.batch == 8
    assert ample.config.train.accumulate == 1
    cost = memory_of(ample.config, torch.device("cpu"))
    images = 5 * 128 * 128 * 2 / 1e9
    tight = unetkit.plan(data, overrides=wide, memory=images + (cost.fixed + 4.5 * cost.patch) / 1e9)
    assert (tight.config.train.batch, tight.config.train.accumulate) == (8, 2)
    tighter = unetkit.plan(data, overrides=wide, memory=images + (cost.fixed + cost.patch) / 1e9)
    assert tighter.config.train.patch == 64
    with pytest.raises(UsageError, match="a training needs .* GB with two patches of 16 px"):
        unetkit.plan(data, overrides=wide, memory=1e-6)


def test_the_memory_counted_is_that_of_patches(tmp_path: Path) -> None:
    config = unetkit.plan(write_sample(tmp_path, slices=5, size=128), overrides=FAST).config
    half = config.model_copy(update={"train": config.train.model_copy(update={"patch": 64})})
    whole, quarter = (memory_of(one, torch.device("cpu")) for one in (config, half))
    assert whole.fixed == quarter.fixed
    assert 3.5 < whole.patch / quarter.patch < 4.5


def test_mistakes(tmp_path: Path) -> None:
    data = write_sample(tmp_path, slices=5, size=64)
    with pytest.raises(UsageError, match="minutes=-1"):
        unetkit.plan(data, minutes=-1)
    images, labels = views(2, 64)
    with pytest.raises(DataError, match="every pixel is 0"):
        unetkit.plan(put(tmp_path / "flat", [images[0], images[1] * 0], labels))
