"""Scores out of fold, with networks that show their input: objects, several seeds, files of what was predicted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from unetkit.config import BORDER, ObjectsConfig, load_config
from unetkit.data import Sample
from unetkit.evaluation.crossval import Folder, Folds, read_objects, read_predictions, score_folder, written
from unetkit.evaluation.score import score_predictor
from unetkit.metrics import Metrics
from unetkit.modelfile.card import ModelCard
from unetkit.models.geometry import Geometry
from unetkit.prediction import Predictor

CLASSES = ("background", "cell")
OBJECTS = Metrics(("overlap", "objects"))


@dataclass(frozen=True)
class Images:
    samples: tuple[Sample, ...]
    classes: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        return self.samples[index]


def cells(*sizes: int) -> Images:
    samples: list[Sample] = []
    for index, size in enumerate(sizes):
        instances = np.zeros((size, size + 4), np.int32)
        instances[4:14, 4:14], instances[4:14, 20 : 28 + index] = 1, 2
        pixels = ndimage.gaussian_filter((instances > 0) * 200.0, 1).astype(np.uint8)
        samples.append(Sample(f"cell_{index}", pixels[None], (instances > 0).astype(np.uint8), instances))
    return Images(tuple(samples))


def shower(gain: float, *, border: bool = False) -> Predictor:
    """Return a predictor whose probability of a cell is `gain` times the pixel's value / 255."""

    def network(x_NCHW: torch.Tensor) -> torch.Tensor:
        p = (x_NCHW * gain).clamp(1e-4, 1 - 1e-4)
        parts = [(1 - p).log(), p.log()]
        return torch.cat([parts[0], parts[1] + np.log(0.7), parts[1] + np.log(0.3)] if border else parts, 1)

    geometry = Geometry(multiple=1, offset=0, halo=0, margin=0)
    classes = (*CLASSES, BORDER) if border else CLASSES
    objects = ObjectsConfig(threshold=0.5)
    card = ModelCard(classes=classes, mean=(0.0,), std=(255.0,), border=border, objects=objects)
    return Predictor(network, geometry, card, torch.device("cpu"))


def folder(path: Path, images: int, *, seeds: int = 1) -> Folder:
    half = images // 2
    folds = Folds(load_config("isbi"), (tuple(range(half, images)), tuple(range(half))))
    return Folder(path, folds, tuple(folds.members(seeds)))


GAINS = {"fold-0-seed-0": 1.0, "fold-1-seed-0": 0.5, "fold-0-seed-1": 1.2, "fold-1-seed-1": 1.2}


def test_objects_are_scored_by_what_had_not_seen_them(tmp_path: Path) -> None:
    images, made = cells(32, 32, 32, 32), folder(tmp_path, 4)
    load = {name: shower(gain) for name, gain in GAINS.items()}
    metrics = Metrics(("overlap", "objects", "calibration"))
    scored = score_folder(made, images, lambda path: load[path.parent.name], metrics)
    blind, seeing = scored.members["fold-1-seed-0"], scored.members["fold-0-seed-0"]
    assert (blind.scores["f1_50"], seeing.scores["f1_50"]) == (0.0, 1.0), "half of 200 / 255 is below the threshold"
    alone = score_predictor(load["fold-0-seed-0"], images, indices=[2, 3], metrics=metrics)
    assert seeing.scores == alone.scores
    assert seeing.notes == alone.notes
    assert scored.whole.scores["mean_precision"] == pytest.approx(alone.scores["mean_precision"] / 2)
    assert scored.whole.scores["f1_50"] == pytest.approx(2 * 4 / (8 + 4)), "counts of all images are added up"
    assert scored.whole.object_counts is not None
    assert (scored.whole.object_counts.true, scored.whole.object_counts.predicted) == (8, 4)
    assert scored.whole.objects == ObjectsConfig()
    assert scored.whole.notes == alone.notes
    assert scored.whole.confidence is not None


def test_several_seeds_are_scored_by_the_objects_of_their_mean(tmp_path: Path) -> None:
    images, made = cells(32, 32, 32, 32), folder(tmp_path, 4, seeds=2)
    load = {name: shower(gain) for name, gain in GAINS.items()}
    scored = score_folder(made, images, lambda path: load[path.parent.name], OBJECTS)
    assert scored.members["fold-1-seed-0"].scores["f1_50"] == 0.0
    assert scored.whole.scores["f1_50"] == 1.0, "(0.5 + 1.2) / 2 of 200 / 255 is above the threshold"


def test_networks_that_make_objects_in_their_own_ways_are_told_apart(tmp_path: Path) -> None:
    images, made = cells(32, 32), folder(tmp_path, 2)
    odd = shower(1.0).with_card(objects=ObjectsConfig(threshold=0.3, chosen="a choice"))
    load = {"fold-0-seed-0": shower(1.0), "fold-1-seed-0": odd}
    scored = score_folder(made, images, lambda path: load[path.parent.name], OBJECTS)
    first, second = scored.whole.notes
    assert first.startswith("fold-0-seed-0: objects are made by distance, threshold 0.5")
    assert second.startswith("fold-1-seed-0: objects are made by distance, threshold 0.3")
    assert second.endswith("the numbers were chosen by a choice")
    assert scored.whole.objects is None


@pytest.mark.parametrize(("sizes", "border"), [((32, 32), False), ((32, 40), True)])
def test_what_was_predicted_is_written_and_read_again(tmp_path: Path, sizes: tuple[int, ...], border: bool) -> None:
    images, made, network = cells(*sizes), folder(tmp_path, 2), shower(1.0, border=border)
    with written(tmp_path, images) as put:
        score_folder(made, images, lambda path: network, OBJECTS, put=put)
    for index, sample in enumerate(images.samples):
        expected = network.objects(sample.pixels)
        found = read_objects(tmp_path, images, index)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.classes, expected.classes)
        p_KHW = read_predictions(tmp_path, images, index)
        np.testing.assert_allclose(p_KHW[1], sample.pixels[0] / 255, atol=1e-3)
    name = "out-of-fold-objects.tif" if len(set(sizes)) == 1 else "out-of-fold-objects/cell_1.tif"
    assert tifffile.imread(tmp_path / name).dtype == np.uint32


def test_no_file_of_objects_is_written_where_none_were_looked_for(tmp_path: Path) -> None:
    images = cells(32, 32)
    with written(tmp_path, images) as put:
        score_folder(folder(tmp_path, 2), images, lambda path: shower(1.0), Metrics(), put=put)
    assert [path.name for path in tmp_path.iterdir()] == ["out-of-fold.tif"]
