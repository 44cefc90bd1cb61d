"""What an evaluation costs and computes: one prediction an image, and the families that were asked for."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import unetkit
from unetkit.config import load_config
from unetkit.data import InMemory, Sample, write_sample
from unetkit.data.resize import resize_sample
from unetkit.errors import DataError, UsageError
from unetkit.evaluation.crossval import Folder, Folds, score_folder
from unetkit.evaluation.score import choose_for, named_families, score_predictor
from unetkit.evaluation.tune import choose
from unetkit.images.image import Pixels
from unetkit.metrics import FAMILIES, Metrics, choose_metrics, family_of, usual_families
from unetkit.modelfile.card import ExportCard, ModelCard
from unetkit.models import Geometry
from unetkit.prediction import Predictor

CLASSES = ("background", "nucleus")


def _threshold(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Take bright pixels for objects."""
    bright_N1HW = x_NCHW.mean(1, keepdim=True) * 20
    return torch.cat([-bright_N1HW, bright_N1HW], 1)


class Counted(Predictor):
    """A predictor that remembers the sizes of the images that it was given."""

    def answers_to(self, images: Sequence[Pixels]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        """Predict, and remember."""
        seen.extend(pixels_CHW.shape[1:] for pixels_CHW in images)
        return super().answers_to(images)


seen: list[tuple[int, ...]] = []


def predictor(channels: int = 1, **options: Any) -> Predictor:
    seen.clear()
    return Counted(
        network=_threshold,
        geometry=Geometry(1, 0, 0, 0),
        card=ModelCard(classes=CLASSES, mean=(127.5,) * channels, std=(127.5,) * channels),
        device=torch.device("cpu"),
        **options,
    )


def images(count: int, channels: int = 1) -> InMemory:
    samples: list[Sample] = []
    for index in range(count):
        labels = np.zeros((40, 50 + index), np.uint8)
        labels[10:30, 15 : 35 + index] = 1
        samples.append(Sample(f"cell_{index}", np.repeat(labels[None] * np.uint8(200), channels, 0), labels))
    return InMemory(tuple(samples), CLASSES)


def test_an_evaluation_costs_one_prediction_an_image_whatever_is_asked() -> None:
    every = tuple(name for name in FAMILIES if name not in ("legacy", "own"))
    scored = score_predictor(predictor(), images(3), metrics=Metrics(every))
    assert seen == [(40, 50), (40, 51), (40, 52)]
    assert {family_of(name) for name in scored.scores} == set(every)
    score_predictor(predictor(), images(3), indices=[2], metrics=Metrics())
    assert seen == [(40, 52)]


def test_legacy_scores_cost_one_more_for_the_size_that_they_are_of() -> None:
    network = predictor()
    score_predictor(network, images(2), metrics=choose_for(network, ["legacy"]))
    assert seen == [(40, 50), (388, 388), (40, 51), (388, 388)]


def test_legacy_scores_cost_none_where_the_network_resizes_images_to_that_size_itself() -> None:
    network = predictor().with_options({"overrides": ["predict.size=[24,32]"]})
    metrics = choose_for(network, ["legacy"])
    scores = score_predictor(network, images(2), metrics=metrics).scores
    assert seen == [(40, 50), (40, 51)]
    small = [resize_sample(sample, (24, 32), "half-pixel", classes=2) for sample in images(2).samples]
    alone = score_predictor(network, InMemory(tuple(small), CLASSES), metrics=metrics).scores
    assert {name: value for name, value in scores.items() if name.endswith("_at_24x32")} == pytest.approx(
        {name: value for name, value in alone.items() if name.endswith("_at_24x32")}
    )


def test_tuning_and_its_scores_cost_one_prediction_an_image() -> None:
    tuning = choose(predictor(), images(4), range(4))
    assert len(seen) == 4
    assert tuning.evaluation.scores["mean_precision"] == 1.0


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_out_of_fold_evaluation_costs_one_prediction_an_image_and_training(tmp_path: Path, seeds: int) -> None:
    folds = Folds(load_config("isbi"), ((2, 3), (1, 0)))
    folder = Folder(tmp_path, folds, tuple(folds.members(seeds)))
    network = predictor()
    given: list[int] = []
    scored = score_folder(
        folder,
        images(4),
        lambda path: network,
        Metrics(("overlap", "objects", "calibration")),
        put=lambda index, probabilities, found: given.append(index),
    )
    assert len(seen) == 4 * seeds
    assert sorted(given) == [0, 1, 2, 3]
    assert [image.name for image in scored.whole.images] == ["cell_0", "cell_1", "cell_2", "cell_3"]
    assert [image.name for image in scored.members["fold-1-seed-0"].images] == ["cell_1", "cell_0"]


@pytest.mark.parametrize(("channels", "size"), [(1, "388"), (3, "at_96x96")])
def test_images_are_scored_resized_as_the_older_systems_did_where_that_is_asked_for(channels: int, size: str) -> None:
    labels = np.zeros((150, 130), np.uint8)
    labels[40:90, 30:100] = 1
    sample = Sample("a", np.repeat(labels[None] * np.uint8(255), channels, 0), labels)
    network, dataset = predictor(channels), InMemory((sample,), CLASSES)
    scores = score_predictor(network, dataset, metrics=choose_for(network, ["legacy"])).scores
    assert scores["soft_dice_two_class"] == pytest.approx(1.0, abs=1e-4)
    assert 0.97 < scores[f"soft_dice_two_class_{size}"] < 1.0
    usual = score_predictor(network, dataset).scores
    assert {"soft_dice_two_class", "soft_iou_two_class", "mean_iou"} <= usual.keys()
    assert not any(family_of(name) == "legacy" for name in usual)
    assert usual == {name: scores[name] for name in usual}


def test_a_network_that_gives_classes_alone_has_no_scores_of_probabilities() -> None:
    network = predictor()
    card = ExportCard(classes=CLASSES, mean=(127.5,), std=(127.5,), geometry=network.geometry, output="argmax")
    network = replace(network, card=card)
    metrics = choose_for(network, ["legacy", "calibration", "objects"])
    scores = score_predictor(network, images(2), metrics=metrics).scores
    assert {"mean_iou", "argmax_dice_two_class", "f1_50"} <= scores.keys()
    assert not [name for name in scores if name.startswith("soft_") or "388" in name or "calibration" in name]
    with pytest.raises(UsageError):
        score_predictor(network, images(2), metrics=choose_for(network, ["isbi"]))


def test_an_image_without_labels_is_refused() -> None:
    dataset = InMemory((Sample("a", np.zeros((1, 8, 8), np.uint8)),), CLASSES)
    with pytest.raises(DataError, match="a: has no labels"):
        score_predictor(predictor(), dataset)


def test_families_are_chosen_by_their_names() -> None:
    assert choose_metrics([], CLASSES) == Metrics(("overlap",), 1)
    assert choose_metrics(["isbi:background", "legacy"], CLASSES) == Metrics(("overlap", "legacy", "isbi"), 0)
    for wrong in ("pq", "objects:cell", "isbi:cell"):
        with pytest.raises(UsageError):
            choose_metrics([wrong], CLASSES)
    assert usual_families(CLASSES, objects=False) == ["overlap", "calibration", "binary"]
    more = ["overlap", "legacy", "objects", "calibration", "binary"]
    assert usual_families(CLASSES, objects=True, named=["legacy"]) == more
    assert usual_families(("membrane", "interior"), objects=False) == ["overlap", "isbi", "calibration", "binary"]
    assert usual_families((*CLASSES, "third"), objects=False) == ["overlap", "calibration"]
    for preset, named in (("isbi", {"overlap"}), ("nuclei", {"overlap"}), ("oneflow-unet", {"overlap", "legacy"})):
        assert named_families(load_config(preset).train) == named
    assert named_families(load_config("isbi", ["train.log_format=tensorflow"]).train) == {"overlap", "legacy"}
    chosen_by = load_config("isbi", ["train.best_metric=soft_dice_foreground"])
    assert named_families(chosen_by.train) == {"legacy"}


def test_legacy_scores_are_those_of_a_configuration_that_names_them(tmp_path: Path) -> None:
    data = write_sample(tmp_path / "data", slices=4, size=64)
    small = ["model.widths=[4,8]", "train.steps=2", "train.batch=2", "train.patch=32", "data.split.folds=2"]
    usual = unetkit.train("isbi", data=data, out=tmp_path / "usual", overrides=small)
    named = unetkit.train("isbi", data=data, out=tmp_path / "named", overrides=[*small, "train.metrics=[legacy]"])
    report = json.loads((named.path / "evaluation.json").read_text())["scores"]
    assert {"soft_dice_two_class_388", "soft_dice_foreground", "argmax_iou_two_class"} <= report.keys()
    assert unetkit.evaluate(named).scores.keys() >= {name for name in report if family_of(name) == "legacy"}
    asked = unetkit.evaluate(usual, metrics=["legacy"]).scores
    usually = ("isbi", "binary")  # in the report unasked
    assert {name: asked[name] for name in report if family_of(name) not in usually} == {
        name: value for name, value in report.items() if family_of(name) not in usually
    }
    plain = json.loads((usual.path / "evaluation.json").read_text())["scores"]
    assert not any(family_of(name) == "legacy" for name in plain)
    assert report == plain | {name: report[name] for name in report if family_of(name) == "legacy"}
    compared = unetkit.compare(usual, named, metric="soft_dice_two_class_388")
    assert compared.difference.value == 0
