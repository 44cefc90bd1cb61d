"""Masks decided by a threshold, how it is chosen, and pixels that do not count."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import PredictConfig
from unetkit.data import Sample, open_dataset
from unetkit.data.resize import resize_sample
from unetkit.errors import ConfigError
from unetkit.evaluation.score import score_predictor
from unetkit.evaluation.tune import choose
from unetkit.formats.job import Pipeline
from unetkit.metrics import FAMILIES, Metrics
from unetkit.metrics.surface import surface_scores
from unetkit.modelfile.card import ExportCard, ModelCard
from unetkit.models import decide
from unetkit.models.geometry import Geometry
from unetkit.prediction import Predictor

GEOMETRY = Geometry(multiple=1, offset=0, halo=0, margin=0)


@dataclass(frozen=True)
class Images:
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        return self.samples[index]


def shower(classes: tuple[str, ...], predict: PredictConfig | None = None, *, border: bool = False) -> Predictor:
    """Return a predictor whose logits of the classes but the background are the image's channels, in hundredths."""

    def network(x_NCHW: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x_NCHW[:, :1]), x_NCHW], 1)

    channels = len(classes) - 1
    card = ModelCard(
        classes=classes,
        mean=(0.0,) * channels,
        std=(100.0,) * channels,
        border=border,
        predict=predict or PredictConfig(),
    )
    return Predictor(network, GEOMETRY, card, torch.device("cpu"))


def drawn(count: int, classes: int, *, shift: float) -> Images:
    """Draw smooth logits that are too low by `shift`, and the labels that they should give."""
    samples: list[Sample] = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        logits = ndimage.gaussian_filter(rng.standard_normal((classes - 1, 40, 50)), (0, 3, 3)) * 20
        noisy = np.concatenate([np.zeros((1, 40, 50)), logits + rng.normal(0, 0.3, logits.shape)])
        labels = noisy.argmax(0).astype(np.uint8)
        samples.append(Sample(f"image_{seed}", ((logits - shift) * 100).astype(np.float32), labels))
    return Images(tuple(samples), ("background", *(f"class_{k}" for k in range(1, classes))))


@pytest.mark.parametrize("classes", [2, 4])
def test_a_threshold_of_one_half_is_the_most_probable_class(classes: int) -> None:
    p = torch.rand(1, classes, 30, 40, generator=torch.Generator().manual_seed(0))
    p /= p.sum(1, keepdim=True)
    assert torch.equal(decide(p, (0.5,) * (classes - 1)), decide(p, None))
    fewer = decide(p, (0.9,) * (classes - 1)) > 0
    assert fewer.sum() < (decide(p, None) > 0).sum()
    if classes == 2:
        assert torch.equal(fewer, p[:, 1] > 0.9)


def test_thresholds_of_classes_go_by_their_names() -> None:
    assert PredictConfig().thresholds(("a", "b")) is None
    assert PredictConfig(threshold=0.3).thresholds(("a", "b", "c")) == (0.3, 0.3)
    assert PredictConfig(threshold={"c": 0.2}).thresholds(("a", "b", "c")) == (0.5, 0.2)
    with pytest.raises(ConfigError, match="there is no class 'a' with a threshold; expected b, c"):
        PredictConfig(threshold={"a": 0.2}).thresholds(("a", "b", "c"))
    with pytest.raises(ConfigError, match=r"predict\.threshold"):
        shower(("a", "b")).with_options({"overrides": ["threshold=1.5"]})
    with pytest.raises(ConfigError, match="there is no class 'd'"):
        shower(("a", "b")).with_options({"overrides": ["threshold={d: 0.5}"]})


@pytest.mark.parametrize("classes", [2, 4])
def test_the_chosen_thresholds_have_the_highest_dice_and_masks_obey_them(classes: int) -> None:
    images = drawn(4, classes, shift=1.0)
    predictor = shower(images.classes)
    tuning = choose(predictor, images, range(4), objects=False, sha256="f00d")
    chosen = tuning.predict
    assert chosen.threshold is not None
    assert chosen.threshold_chosen_on == "f00d"
    after = score_predictor(predictor.with_card(predict=chosen), images).scores["foreground_dice"]
    before = score_predictor(predictor, images).scores["foreground_dice"]
    assert after > before + 0.05
    assert f"the highest foreground_dice, {after:.4f}, on 4 images (image_0 to image_3)" == chosen.threshold_chosen
    assert f"foreground_dice with the decision as it was: {before:.4f}" in tuning.evaluation.notes
    for threshold in np.arange(0.05, 1, 0.05).round(2).tolist():
        other = predictor.with_card(predict=PredictConfig(threshold=threshold))
        assert score_predictor(other, images).scores["foreground_dice"] <= after + 1e-12
    mask = predictor.with_card(predict=chosen).labels(images[0].pixels)
    assert (mask > 0).mean() > (predictor.labels(images[0].pixels) > 0).mean()


def test_each_half_is_scored_by_what_the_other_half_chose() -> None:
    images = drawn(4, 2, shift=1.0)
    predictor = shower(images.classes)
    tuning = choose(predictor, images, range(4), objects=False)
    for half, others in (([0, 1], [2, 3]), ([2, 3], [0, 1])):
        by_others = choose(predictor, images, others, objects=False).predict
        alone = score_predictor(predictor.with_card(predict=by_others), images, indices=half)
        assert [tuning.evaluation.images[n].scores for n in half] == [image.scores for image in alone.images]


def test_where_nothing_is_better_the_most_probable_class_stays() -> None:
    images = drawn(4, 3, shift=0.0)
    perfect = tuple(replace(one, labels=shower(images.classes).labels(one.pixels)) for one in images.samples)
    tuning = choose(shower(images.classes), Images(perfect, images.classes), range(4), objects=False)
    assert (tuning.predict.threshold, tuning.predict.threshold_chosen) == (None, None)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("threshold", [0.3, {"class_1": 0.8}])
def test_an_exported_file_of_classes_obeys_the_threshold(threshold: float | dict[str, float], border: bool) -> None:
    classes = ("background", "class_1", "class_2", *(["border"] if border else []))
    predictor = shower(classes, PredictConfig(threshold=threshold), border=border)
    card = ExportCard.model_validate({**dict(predictor.card), "output": "argmax", "geometry": GEOMETRY})
    pipeline = Pipeline(torch.nn.Identity(), card)
    x_CHW = drawn(1, len(classes), shift=0.5)[0].pixels
    logits = np.concatenate([np.zeros_like(x_CHW[:1]), x_CHW / 100])
    file = pipeline(torch.from_numpy(logits)[None])[0].numpy()
    assert (file == predictor.labels(x_CHW)).mean() > 0.9999
    assert (file != predictor.with_options({"overrides": ["threshold=null"]}).labels(x_CHW)).any()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("legacy", "objects", "own")])
def test_no_score_looks_at_pixels_that_do_not_count(family: str) -> None:
    images, rng = drawn(2, 2, shift=0.5), np.random.default_rng(0)
    predictor = shower(images.classes, PredictConfig(threshold=0.4))

    def scores(outside: NDArray[Any]) -> tuple[Any, ...]:
        valid = np.zeros((40, 50), bool)
        valid[5:35, 8:45] = True
        samples = tuple(
            replace(
                one, pixels=np.where(valid, one.pixels, outside), labels=np.where(valid, one.labels, 0), valid=valid
            )
            for one in images.samples
        )
        scored = score_predictor(predictor, Images(samples, images.classes), metrics=Metrics((family,)))
        return (
            scored.scores,
            [image.scores for image in scored.images],
            scored.confidence and scored.confidence.temperature,
        )

    plain = scores(np.float32(-300))
    assert scores(rng.normal(0, 500, (1, 40, 50)).astype(np.float32)) == plain
    assert plain[0]


def test_distances_are_in_the_unit_that_image_files_tell(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for sample in drawn(2, 2, shift=0.5).samples:
        told: dict[str, Any] = {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}
        tifffile.imwrite(tmp_path / "images" / f"{sample.name}.tif", sample.pixels[0], **told)
        assert sample.labels is not None
        tifffile.imwrite(tmp_path / "masks" / f"{sample.name}.tif", sample.labels * np.uint8(255))
    dataset = open_dataset(tmp_path)
    assert (dataset[0].pixel_size, dataset[0].unit) == ((0.5, 0.25), "micrometer")
    resized = resize_sample(dataset[0], (80, 50), "half-pixel", classes=2)
    assert resized.pixel_size == (0.25, 0.25)
    predictor = shower(dataset.classes)
    scored = score_predictor(predictor, dataset, metrics=Metrics(("surface",)))
    assert "distances between outlines are in micrometer" in scored.notes
    mask = predictor.labels(dataset[0].pixels)
    labels = dataset[0].labels
    assert labels is not None
    expected = surface_scores(mask > 0, labels > 0, pixel_size=(0.5, 0.25))
    assert scored.images[0].scores == pytest.approx(expected)
