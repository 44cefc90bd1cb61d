"""Run folders as training leaves them, with images, truths and probabilities made here: nothing is trained."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from unetkit.config import load_config
from unetkit.evaluation.score import Evaluation
from unetkit.metrics import ImageScores, pool, score_image
from unetkit.reporting.pictures import Example
from unetkit.run import Run, create_run

MakeRun = Callable[..., Run]
MakeExhibits = Callable[..., list[Example]]


def exhibit_of(
    pixels: NDArray[Any], labels: NDArray[Any], classes: int, *, name: str, wrong: float, seed: int
) -> Example:
    """Blur the truth and disturb it smoothly: the larger `wrong`, the more of it is predicted wrongly."""
    rng = np.random.default_rng(seed)
    truth = np.stack([gaussian_filter((labels == k).astype(np.float32), 1.0) for k in range(classes)])
    noise = np.stack([gaussian_filter(rng.standard_normal(labels.shape), 3) * 6 for _ in range(classes)])
    odds = np.exp(8 * truth + wrong * noise)
    return Example(name, pixels, labels, (odds / odds.sum(0)).astype(np.float32))


def evaluation_of(exhibits: list[Example], classes: tuple[str, ...]) -> Evaluation:
    images = [score_image(each.probabilities, each.labels, classes=classes, name=each.name) for each in exhibits]
    named = (ImageScores(each.name, image.scores) for each, image in zip(exhibits, images, strict=True))
    return Evaluation(pool(images, classes), tuple(named), classes)


def log_lines(steps: int, every: int, validate_every: int, names: list[str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    for step in range(every, steps + 1, every):
        course = step / steps
        entropy, dice = 0.2 + math.exp(-8 * course) + 0.02 * rng.random(), 0.08 + 0.3 * math.exp(-9 * course)
        timing = {"step": step, "train_seconds": round(0.12 * step, 4)}
        losses = {"loss": entropy + dice, "cross_entropy": entropy, "dice_loss": dice}
        rate = 3e-3 * (1 + math.cos(math.pi * course)) / 2
        lines.append(timing | losses | {"lr": rate, "images_per_second": 66.0})
        if step % validate_every == 0:
            scores = {name: 0.94 - 0.02 * i - 0.3 * math.exp(-9 * course) for i, name in enumerate(names)}
            lines.append(timing | {"validation_seconds": 1.4} | scores)
    return lines


@pytest.fixture(autouse=True)
def _all_drawn(drawn: None) -> None:
    """Draw the figures of every page of this room."""


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Give a function that makes a run folder: finished or not, validated or not."""

    def make(
        folder: str = "membranes",
        *,
        overrides: tuple[str, ...] = (),
        classes: tuple[str, ...] = ("membrane", "interior"),
        finished: bool = True,
        validated: bool = True,
        steps_done: int | None = None,
    ) -> Run:
        listed = ", ".join(f'"{name}"' for name in classes)
        named = (f"data.classes=[{listed}]", "data.path=data/isbi2012", "model.in_channels=1")
        config = load_config("isbi", [*named, f"model.num_classes={len(classes)}", "train.steps=400", *overrides])
        run = create_run(tmp_path / folder, config)
        names = ["soft_dice_two_class", "pixel_accuracy", "mean_dice", "mean_iou", f"dice_{classes[0]}"]
        done = config.train.steps if steps_done is None else steps_done
        for line in log_lines(done, 10, 20 if validated else 10**9, names):
            run.append_log(line)
        slices = [f"train-volume[{index:02}]" for index in range(30)]
        held_out = slices[::5] if validated else []
        run.write_json("data.json", _description(classes, slices, held_out))
        if finished:
            seconds = {"training": 48.0, "validation": 28.0, "checkpoints": 0.4, "reading": 0.9}
            best = {"value": 0.9399, "step": 400} if validated else None
            run.write_json("summary.json", {"step": done, "best": best, "scores": {}, "seconds": seconds})
        return run

    return make


def _description(classes: tuple[str, ...], names: list[str], held_out: list[str]) -> dict[str, Any]:
    return {
        "samples": len(names),
        "sizes": {"[1, 512, 512]": len(names)},
        "dtype": "uint8",
        "minimum": 0.0,
        "maximum": 255.0,
        "mean": 126.05,
        "classes": list(classes),
        "class_shares": [round(1 / len(classes), 4) for _ in classes],
        "sha256_pixels": "3f" * 32,
        "sha256_labels": "a7" * 32,
        "names": names,
        "train": [name for name in names if name not in held_out],
        "validation": held_out,
        "normalization": {"mean": [126.05], "std": [32.1]},
    }


@pytest.fixture
def make_exhibits() -> MakeExhibits:
    """Give a function that makes images with truth and prediction, each worse than the one before."""

    def make(
        count: int = 6, *, size: int = 64, channels: int = 1, classes: int = 2, dtype: str = "uint8"
    ) -> list[Example]:
        made: list[Example] = []
        for index in range(count):
            rng = np.random.default_rng([7, index])
            field = gaussian_filter(rng.standard_normal((size, size)), 4)
            labels = np.digitize(field, np.quantile(field, np.arange(1, classes) / classes)).astype(np.uint8)
            shades = 60 + 120 * labels / max(1, classes - 1) + 20 * rng.standard_normal((channels, size, size))
            pixels = shades.clip(0, 255).astype(dtype)
            name = f"slice[{index:02}]"
            made.append(exhibit_of(pixels, labels, classes, name=name, wrong=1 + index, seed=index))
        return made

    return make


@pytest.fixture
def evaluate_exhibits() -> Callable[[list[Example], tuple[str, ...]], Evaluation]:
    """Give a function that scores exhibits as evaluate() would."""
    return evaluation_of
