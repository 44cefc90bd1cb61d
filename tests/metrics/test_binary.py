"""Curves of a class against the rest, next to scikit-learn's over all pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from unetkit.metrics import Metrics, Prediction, definition_of
from unetkit.metrics.binary import BINS, Ranking, binary_scores, of_image, of_set

TWO = ("background", "vessel")


def drawn(count: int, *, separation: float, spread: float, share: float, seed: int = 0) -> tuple[NDArray[Any], ...]:
    rng = np.random.default_rng(seed)
    own = rng.random(count) < share
    logits = rng.normal(0, spread, count) + separation * spread * own
    return (1 / (1 + np.exp(-logits))).astype(np.float32), own


def predicted(p: NDArray[Any], labels: NDArray[Any], **more: Any) -> Prediction:
    both = np.stack([1 - p, p])
    return Prediction("a", TWO, labels, both, both, **more)


@pytest.mark.parametrize(("separation", "spread", "share"), [(1, 1, 0.1), (3, 4, 0.01), (2, 0.3, 0.3), (0.5, 8, 0.5)])
def test_areas_are_those_of_scikit_learn_over_all_pixels(separation: float, spread: float, share: float) -> None:
    p, own = drawn(200_000, separation=separation, spread=spread, share=share)
    scores = Ranking.of(p, own).scores()
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(own, p), abs=1e-5)
    assert scores["average_precision"] == pytest.approx(average_precision_score(own, p), abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=2, max_size=60))
def test_areas_of_stored_bytes_are_exact(pixels: list[tuple[int, bool]]) -> None:
    p, own = np.array([value for value, _ in pixels], np.float32) / 255, np.array([own for _, own in pixels])
    scores = Ranking.of(p, own).scores()
    assert ("roc_auc" in scores) == (0 < own.sum() < len(own))
    if "roc_auc" in scores:
        assert scores["roc_auc"] == pytest.approx(roc_auc_score(own, p), abs=1e-12)
        assert scores["average_precision"] == pytest.approx(average_precision_score(own, p), abs=1e-12)


def test_images_add_up_to_all_their_pixels_and_keep_no_more_than_the_bins() -> None:
    p, own = drawn(90_000, separation=1, spread=3, share=0.2)
    parts = [Ranking.of(p[n::3], own[n::3]) for n in range(3)]
    whole, pooled = Ranking.of(p, own), Ranking.sum(parts)
    assert pooled.scores() == whole.scores()
    np.testing.assert_array_equal(pooled.values, whole.values)
    assert len(Ranking.of(*drawn(2_000_000, separation=1, spread=3, share=0.2)).bins) < BINS < 2**16


def test_the_mask_is_what_is_counted_and_images_are_pooled() -> None:
    p, own = drawn(6000, separation=2, spread=1, share=0.3)
    p, labels = p.reshape(2, 50, 60), own.reshape(2, 50, 60).astype(np.uint8)
    decided = (p > 0.3).astype(np.uint8)
    images = [of_image(predicted(p[n], labels[n], decided=decided[n]), Metrics()) for n in range(2)]
    pooled = of_set(images, TWO)
    assert pooled.scores["f1_score"] == pytest.approx(f1_score(labels.ravel(), decided.ravel()))
    assert pooled.scores["sensitivity"] == pytest.approx(recall_score(labels.ravel(), decided.ravel()))
    assert pooled.scores["specificity"] == pytest.approx(recall_score(1 - labels.ravel(), 1 - decided.ravel()))
    assert pooled.scores["accuracy"] == pytest.approx((labels == decided).mean())
    each = [roc_auc_score(labels[n].ravel(), p[n].ravel()) for n in range(2)]
    assert pooled.scores["roc_auc_per_image"] == pytest.approx(np.mean(each), abs=2e-4)
    assert pooled.images[1]["roc_auc"] == pytest.approx(each[1], abs=2e-4)
    curve = pooled.details["vessel"]
    assert curve.decided[1] == pooled.scores["sensitivity"]
    assert np.all(np.diff(curve.thresholds) < 0)
    area = np.trapezoid([0, *curve.recall], [0, *curve.false_positive_rate])
    assert area == pytest.approx(pooled.scores["roc_auc"], abs=2e-3)


def test_of_several_classes_each_stands_against_the_rest() -> None:
    rng, classes = np.random.default_rng(1), ("background", "a cell", "wall")
    odds = rng.random((3, 40, 40)) ** 3
    labels = (odds * rng.random((3, 40, 40))).argmax(0)
    p = (odds / odds.sum(0)).astype(np.float32)
    scores = of_set([of_image(Prediction("x", classes, labels, p, p), Metrics())], classes).scores
    aucs = [roc_auc_score((labels == k).ravel(), p[k].ravel()) for k in (1, 2)]
    assert scores["roc_auc_a_cell"] == pytest.approx(aucs[0], abs=2e-4)
    assert scores["roc_auc"] == pytest.approx(np.mean(aucs), abs=2e-4)
    assert all(definition_of(name).name == name for name in scores)
    assert definition_of("f1_score_wall_per_image").classes == "the one named wall"


def test_what_is_not_there_has_no_score() -> None:
    p = np.array([[0.2, 0.9]], np.float32)
    none = binary_scores(of_image(predicted(p, np.zeros((1, 2), np.uint8)), Metrics()), TWO)
    assert none == {"f1_score": 0.0, "specificity": 0.5, "precision": 0.0, "accuracy": 0.5}
    every = binary_scores(of_image(predicted(p, np.ones((1, 2), np.uint8)), Metrics()), TWO)
    assert every == {
        "average_precision": 1.0,
        "f1_score": pytest.approx(2 / 3),
        "sensitivity": 0.5,
        "precision": 1.0,
        "accuracy": 0.5,
    }


def test_retina_vessels_inside_the_field_of_view(shared: Path) -> None:
    """Probabilities are made of a smoothed green channel, as a stand-in for a network."""

    def read(path: Path) -> NDArray[Any]:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    test = shared / "data" / "drive" / "test"
    images, all_p, all_own = [], list[NDArray[Any]](), list[NDArray[Any]]()
    for path in sorted((test / "images").iterdir())[:5]:
        number = path.name[:2]
        green = read(path)[:, :, 1].astype(np.float32)
        dark = ndimage.gaussian_filter(green, 12) - ndimage.gaussian_filter(green, 1)
        p = (1 / (1 + np.exp(-(dark - 6) / 3))).astype(np.float32)
        own, valid = (read(next((test / kind).glob(f"{number}*")))[:, :, 0] > 0 for kind in ("1st_manual", "mask"))
        images.append(of_image(predicted(p, own.astype(np.uint8), valid=valid), Metrics()))
        all_p.append(p[valid])
        all_own.append(own[valid])
    scores, p, own = of_set(images, TWO).scores, np.concatenate(all_p), np.concatenate(all_own)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(own, p), abs=1e-5)
    assert scores["average_precision"] == pytest.approx(average_precision_score(own, p), abs=1e-5)
    assert scores["f1_score"] == pytest.approx(f1_score(own, p > 0.5), abs=1e-12)
    assert 0.85 < scores["roc_auc"] < 0.97
