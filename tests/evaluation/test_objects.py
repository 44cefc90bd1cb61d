"""Objects scored and tuned: with a network that shows its input, and with files on the disk."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage

import unetkit
from unetkit.config import ObjectsConfig, load_config
from unetkit.data import Sample
from unetkit.errors import ConfigError, DataError, UsageError
from unetkit.evaluation.score import score_predictor as evaluate
from unetkit.evaluation.tune import FILTERS, GRIDS, choose
from unetkit.metrics import Metrics, Overlaps, mean_precision
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models.geometry import Geometry
from unetkit.objects import true_objects
from unetkit.prediction import Predictor
from unetkit.run import Run

TWO = ("background", "cell")
OBJECTS = Metrics(("overlap", "objects"))


@dataclass(frozen=True)
class Images:
    samples: tuple[Sample, ...]
    classes: tuple[str, ...] = TWO

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        return self.samples[index]


def shower(objects: ObjectsConfig | None = None) -> Predictor:
    """Return a predictor whose probability of a cell is the pixel's value / 255."""

    def network(x_NCHW: torch.Tensor) -> torch.Tensor:
        p = x_NCHW.clamp(1e-4, 1 - 1e-4)
        return torch.cat([torch.zeros_like(p), p.logit()], 1)

    geometry = Geometry(multiple=1, offset=0, halo=0, margin=0)
    shown = Predictor(network, geometry, ModelCard(classes=TWO, mean=(0.0,), std=(255.0,)), torch.device("cpu"))
    return shown.with_options({f"objects.{k}": v for k, v in (objects or ObjectsConfig()).model_dump().items()})


def cells(count: int, *, specks: int = 0, shade: int = 200) -> Images:
    """Draw images of cells with a soft edge, and of bright specks that are none."""
    samples: list[Sample] = []
    for index in range(count):
        rng = np.random.default_rng(index)
        instances = np.zeros((48, 48), np.int32)
        for number, (row, column) in enumerate([(9, 9), (9, 33), (33, 9), (33, 33)], 1):
            instances[row : row + 8 + number, column : column + 9] = number
        pixels = ndimage.gaussian_filter((instances > 0) * float(shade), 1)
        for row, column in rng.integers(0, 46, (specks, 2)):
            pixels[row : row + 2, column : column + 2] = 255
        labels = (instances > 0).astype(np.uint8)
        samples.append(Sample(f"cell_{index}", pixels[None].astype(np.uint8), labels, instances))
    return Images(tuple(samples))


def test_objects_are_scored_beside_the_classes_and_pooled() -> None:
    images = cells(3)
    scored = evaluate(shower(), images, metrics=OBJECTS)
    for image, sample in zip(scored.images, images.samples, strict=True):
        found = shower().objects(sample.pixels)
        true = true_objects(sample.labels, sample.instances, TWO)
        assert image.scores["mean_precision"] == mean_precision(Overlaps.of(true, found))
    assert scored.scores["mean_precision"] == np.mean([image.scores["mean_precision"] for image in scored.images])
    assert scored.scores["f1_50"] == 1.0
    told = json.loads(json.dumps(scored.as_json()))
    assert told["objects"]["counts"] == {"true": 12, "predicted": 12, "matched_50": 12, "split": 0, "merged": 0}
    assert told["objects"]["made_by"]["min_width"] == 0.8
    assert told["images"][0]["objects"]["true"] == 4
    assert any(note.startswith("objects are made by distance, threshold 0.5") for note in scored.notes)
    without = evaluate(shower(), images)
    assert "mean_precision" not in without.scores
    assert "objects" not in without.as_json()


def test_data_without_object_ids_is_scored_by_its_regions() -> None:
    (sample, *_) = cells(1).samples
    scored = evaluate(shower(), Images((Sample("a", sample.pixels, sample.labels),)), metrics=OBJECTS)
    assert scored.images[0].objects is not None
    assert scored.images[0].objects.true == 4


def test_the_choice_is_the_best_of_all_that_is_tried() -> None:
    images = cells(4, specks=9)
    tuning = choose(shower(ObjectsConfig(min_size=0)), images, range(4), sha256="f00d")
    chosen, grid = tuning.objects, GRIDS["distance"]
    assert chosen is not None
    assert chosen.threshold in grid["threshold"]
    assert chosen.min_width in grid["min_width"]
    assert (chosen.min_size, chosen.min_confidence) in FILTERS
    assert chosen.chosen_on == "f00d"
    again = evaluate(shower(chosen), images, metrics=OBJECTS).scores["mean_precision"]
    assert f"the highest mean_precision, {again:.4f}, on 4 images (cell_0 to cell_3)" == chosen.chosen
    for threshold in grid["threshold"]:
        other = shower(chosen.model_copy(update={"threshold": threshold}))
        assert evaluate(other, images, metrics=OBJECTS).scores["mean_precision"] <= again + 1e-12
    assert again > evaluate(shower(ObjectsConfig(min_size=0)), images, metrics=OBJECTS).scores["mean_precision"] + 0.1


def test_no_image_is_scored_by_a_choice_that_it_took_part_in() -> None:
    bright, dark = cells(2), cells(2, shade=110)  # at a threshold of .5, dark cells are all missed
    images = Images(bright.samples + tuple(Sample(f"dark_{n}", *_parts(s)) for n, s in enumerate(dark.samples)))
    tuning = choose(shower(), images, [3, 1, 0, 2])
    assert [image.name for image in tuning.evaluation.images] == ["cell_0", "cell_1", "dark_0", "dark_1"]
    first, second = (note for note in tuning.evaluation.notes if "objects are made" in note)
    assert first.startswith("cell_0 to cell_1: objects are made by distance")
    assert "on 2 images (dark_0 to dark_1)" in first
    assert "on 2 images (cell_0 to cell_1)" in second
    by_dark = choose(shower(), images, [2, 3]).objects
    alone = evaluate(shower(by_dark), images, indices=[0, 1], metrics=OBJECTS)
    for ours, its in zip(tuning.evaluation.images, alone.images, strict=False):
        assert all(ours.scores[name] == its.scores[name] for name in ("mean_precision", "pq", "aji", "object_dice"))


def _parts(sample: Sample) -> tuple[object, ...]:
    return sample.pixels, sample.labels, sample.instances


def test_one_image_is_too_few_to_choose_and_to_score() -> None:
    with pytest.raises(DataError, match="1 image: at least two are needed"):
        choose(shower(), cells(1), [0])


def test_options_reach_the_section_and_a_new_number_forgets_how_the_old_one_was_chosen() -> None:
    told = ObjectsConfig(chosen="the highest ...", chosen_on="f00d")
    assert shower(told).object_config.chosen == "the highest ..."
    changed = shower(told).with_options({"objects.threshold": 0.4, "tile": 64, "objects.min_width": None})
    assert changed.object_config == ObjectsConfig(threshold=0.4)
    assert changed.config.tile == 64
    assert shower(told).with_options({"tile": 64}).object_config == told
    with pytest.raises(ConfigError, match=r"train\.steps: a prediction takes keys of predict and objects alone"):
        shower().with_options({"train.steps": 3})
    with pytest.raises(ConfigError, match=r"objects\.threshold: found 7"):
        shower().with_options({"objects.threshold": 7})


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write images of cells as the Data Science Bowl does."""
    root = tmp_path_factory.mktemp("nuclei")
    for sample in cells(6).samples:
        for kind in ("images", "masks"):
            (root / sample.name / kind).mkdir(parents=True)
        Image.fromarray(sample.pixels[0]).save(root / sample.name / "images" / "a.png")
        assert sample.instances is not None
        for number in range(1, 5):
            mask = ((sample.instances == number) * 255).astype(np.uint8)
            Image.fromarray(mask).save(root / sample.name / "masks" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(nuclei: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = ["model.widths=[4,8]", "train.steps=30", "train.patch=32", "train.validate_every=30"]
    keys = ["data.border_width=1", "data.split.method=last", "data.split.share=0.34"]
    keys.append("train.best_metric=mean_precision")
    return unetkit.train("isbi", data=nuclei, out=tmp_path_factory.mktemp("runs") / "run", overrides=[*small, *keys])


def test_a_choice_that_is_kept_is_used_and_told_from_then_on(run: Run) -> None:
    folder = run.path
    before = Checkpoint.load(folder / "best.safetensors")
    assert before.card.objects == ObjectsConfig()
    assert "mean_precision" in before.card.scores
    tuning = unetkit.tune(folder, keep=True)
    assert [image.name for image in tuning.evaluation.images] == ["cell_3", "cell_4", "cell_5"]
    for name in ("best.safetensors", "last.safetensors"):
        after = Checkpoint.load(folder / name)
        assert after.card == before.card.model_copy(
            update={"objects": tuning.objects, "predict": tuning.onto(before.card.predict), **_progress(after)}
        )
    assert load_config(folder / "config.yaml").objects == tuning.objects
    assert unetkit.load(folder).object_config == tuning.objects
    scored = unetkit.evaluate(folder, metrics=["objects"])
    assert scored.objects == tuning.objects
    assert any("the numbers were chosen by the highest mean_precision" in note for note in scored.notes)
    assert "made on images of this very data" in scored.notes[-1]
    by_hand = unetkit.evaluate(folder, metrics=["objects"], options={"objects.threshold": 0.5, "threshold": 0.4})
    assert not any("chos" in note for note in by_hand.notes)


def test_the_report_shows_what_became_of_the_objects(run: Run) -> None:
    page = unetkit.report(run).read_text()
    assert "What became of 12 true and" in page
    assert "found objects</span>" in page
    assert "object without: missed or false" in page


def test_a_cross_validation_scores_and_shows_them_too(nuclei: Path, tmp_path: Path) -> None:
    small = ["model.widths=[4,8]", "train.steps=3", "train.patch=32", "data.border_width=1"]
    made = unetkit.crossval("isbi", data=nuclei, out=tmp_path / "folds", folds=2, overrides=small)
    assert made.scores is not None
    assert made.scores.whole.object_counts is not None
    assert made.scores.whole.object_counts.true == 24
    page = (made.path / "report.html").read_text()
    assert "What became of 24 true and" in page
    assert "found objects</span>" in page
    assert "less sure than each of them" in page
    assert tifffile.imread(made.path / "out-of-fold-objects.tif").shape == (6, 48, 48)
    told = json.loads((made.path / "summary.json").read_text())
    assert "mean_precision" in told["spread"]
    assert told["out_of_fold"]["objects"]["made_by"]["threshold"] == 0.5
    none = unetkit.evaluate(made.path, metrics=["objects"], options={"objects.min_size": 9999})
    assert none.object_counts is not None
    assert none.object_counts.predicted == 0


def _progress(checkpoint: Checkpoint) -> dict[str, object]:
    card = checkpoint.card
    fields = ("step", "train_seconds", "scores", "temperature")
    return {name: getattr(card, name) for name in fields}


def test_what_cannot_be_tuned_or_kept_is_refused(nuclei: Path, tmp_path: Path) -> None:
    small = ["model.widths=[4,8]", "train.steps=1", "train.patch=32", "data.split.method=none"]
    run = unetkit.train("isbi", data=nuclei, out=tmp_path / "run", overrides=small)
    with pytest.raises(UsageError, match="was trained on all of this data; give images that it has not seen"):
        unetkit.tune(run)
    with pytest.raises(UsageError, match=r"can be kept in a run or in a \.safetensors file"):
        unetkit.tune(unetkit.load(run), data=nuclei, keep=True)


@pytest.mark.parametrize("metric", ["mean_precision", "f1_50_per_image", "iou_cell", "dice_cell_per_image"])
def test_weights_are_not_chosen_by_what_no_held_out_image_holds(tmp_path: Path, metric: str) -> None:
    data = tmp_path / "data"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    for sample in cells(6).samples:
        mask = np.zeros((48, 48), np.uint8) if sample.name == "cell_5" else sample.labels
        assert mask is not None
        Image.fromarray(sample.pixels[0]).save(data / "images" / f"{sample.name}.png")
        Image.fromarray(mask * np.uint8(255)).save(data / "masks" / f"{sample.name}.png")
    small = ["model.widths=[4,8]", "train.steps=2", "train.patch=32", f"train.best_metric={metric}"]
    small += ["data.classes=[background,cell]", "data.split.method=last", "data.split.share=0.1"]
    with pytest.raises(ConfigError, match=f"{metric}: none of the 1 held-out images holds (an object|the class cell),"):
        unetkit.train("isbi", data=data, out=tmp_path / "run", overrides=small)
    assert not (tmp_path / "run").exists()
    run = unetkit.train("isbi", data=data, out=tmp_path / "run", overrides=[*small, "data.split.share=0.4"])
    assert metric in json.loads((run.path / "evaluation.json").read_text())["scores"]
