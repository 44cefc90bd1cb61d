"""Targets that follow from objects: the class of their borders, and the weights of pixels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from unetkit.checks.check import before_training
from unetkit.config import Config, LossConfig
from unetkit.data import InMemory, Sample
from unetkit.data.layouts.synthetic import open_sample
from unetkit.data.targets import (
    PixelWeights,
    balanced,
    border_labels,
    border_weights,
    cached_border_weights,
    components,
    with_borders,
)
from unetkit.errors import ConfigError, DataError

PAIR = np.zeros((9, 14), np.int32)
PAIR[2:7, 1:6] = 1
PAIR[2:7, 8:13] = 2


def scattered(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ids = np.zeros((30, 34), np.int32)
    for number in range(1, count + 1):
        row, column = rng.integers(0, 28), rng.integers(0, 32)
        ids[row : row + rng.integers(1, 6), column : column + rng.integers(1, 6)] = number
    return ids


def test_borders_lie_all_round_and_inside_objects() -> None:
    labels = border_labels((PAIR > 0).astype(np.uint8), PAIR, border=2)
    assert labels.dtype == np.uint8
    assert ((labels == 2) <= (PAIR > 0)).all()
    inner = np.zeros_like(PAIR, bool)
    inner[3:6, 2:5] = inner[3:6, 9:12] = True
    np.testing.assert_array_equal(labels == 1, inner)


def test_only_gaps_are_borders_where_asked() -> None:
    far = border_labels((PAIR > 0).astype(np.uint8), PAIR, border=2, touching=True)
    assert not (far == 2).any(), "two pixels apart, one pixel of reach"
    near = border_labels((PAIR > 0).astype(np.uint8), PAIR, border=2, width=2, touching=True)
    assert np.flatnonzero((near == 2).any(axis=0)).tolist() == [6, 7]
    alone = border_labels((PAIR == 1).astype(np.uint8), np.where(PAIR == 1, 1, 0), border=2, width=3, touching=True)
    assert not (alone == 2).any()


@given(seed=st.integers(0, 1000), count=st.integers(1, 6), width=st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_borders_part_objects_that_touch(seed: int, count: int, width: int) -> None:
    ids = scattered(seed, count)
    labels = border_labels((ids > 0).astype(np.uint8), ids, border=2, width=width)
    inside = components((labels == 1).astype(np.uint8))
    for region in range(1, inside.max() + 1):
        assert len(np.unique(ids[inside == region])) == 1


def test_a_data_set_with_borders_has_one_class_more() -> None:
    dataset = with_borders(open_sample(slices=2, size=64))
    assert dataset.classes == ("membrane", "interior", "border")
    assert len(dataset) == 2
    sample = dataset[1]
    assert set(np.unique(sample.labels)) == {0, 1, 2}
    assert sample.instances is not None
    assert sample.instances.max() > 1
    before_training(dataset, Config())
    bare = InMemory((Sample("a", np.zeros((1, 4, 4), np.uint8), source="a.png"),), ("b", "c"))
    with pytest.raises(DataError, match=r"a\.png: has no labels"):
        with_borders(bare)[0]


def test_regions_of_every_class_but_the_first_are_objects() -> None:
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [3, 2, 2, 0], [3, 0, 1, 1]], np.uint8)
    expected = [[1, 1, 0, 3], [0, 0, 0, 3], [5, 4, 4, 0], [5, 0, 2, 2]]
    np.testing.assert_array_equal(components(labels), expected)
    assert components(np.zeros((3, 3), np.uint8)).max() == 0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of weights, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "unetkit" / "border-weights"


def test_the_weight_follows_the_formula() -> None:
    weights = border_weights(PAIR)
    assert weights.dtype == np.float32
    assert weights[4, 6] == pytest.approx(10 * np.exp(-((1 + 2) ** 2) / 50), rel=1e-6)
    assert weights[0, 6] == pytest.approx(10 * np.exp(-((5**0.5 + 8**0.5) ** 2) / 50), rel=1e-6)
    assert (weights[PAIR > 0] == 0).all()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), count=st.integers(0, 6), sigma=st.floats(1, 8), w0=st.floats(0.5, 20))
def test_the_weight_agrees_with_whole_distance_maps(seed: int, count: int, sigma: float, w0: float) -> None:
    ids = scattered(seed, count)
    distances = [distance_transform_edt(ids != number) for number in np.unique(ids) if number]
    distances += [np.full(ids.shape, np.inf)] * 2
    first, second = np.sort(distances, axis=0)[:2]
    expected = np.where(ids > 0, 0, w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2)))
    np.testing.assert_allclose(border_weights(ids, w0=w0, sigma=sigma), expected, atol=1e-6 * w0, rtol=1e-6)


def test_one_object_has_no_gap() -> None:
    assert (border_weights(np.where(PAIR == 1, 1, 0).astype(np.int32)) == 0).all()


def test_balanced_classes_count_alike() -> None:
    labels = (PAIR > 0).astype(np.uint8)
    sample = Sample("a", np.zeros((1, *PAIR.shape), np.uint8), labels, PAIR)
    rule = PixelWeights.of(LossConfig(class_weights="balanced"), [sample], classes=2, border=None)
    assert rule is not None
    weights = rule.of_sample(sample)
    assert weights.mean() == pytest.approx(1, rel=1e-6)
    assert weights[labels > 0].sum() == pytest.approx(weights[labels == 0].sum(), rel=1e-5)
    assert balanced((0.5, 0.5, 0.0)) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 0.0)


def test_a_weight_is_that_of_the_class_and_of_the_gap(cache: Path) -> None:
    sample = Sample("a", np.zeros((1, *PAIR.shape), np.uint8), (PAIR > 0).astype(np.uint8), PAIR)
    config = LossConfig(class_weights=(0.5, 2.0), border_weight=4.0, border_sigma=3.0)
    rule = PixelWeights.of(config, [sample], classes=2, border=None)
    assert rule is not None
    expected = np.where(PAIR > 0, 2.0, 0.5) + border_weights(PAIR, w0=4.0, sigma=3.0)
    for _ in range(2):
        np.testing.assert_allclose(rule.of_sample(sample), expected)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.usefixtures("cache")
def test_a_border_class_is_a_gap_between_objects_that_touch() -> None:
    ids = np.where(PAIR == 0, 0, PAIR)
    ids[2:7, 6], ids[2:7, 7] = 1, 2
    bare = Sample("a", np.zeros((1, *ids.shape), np.uint8), (ids > 0).astype(np.uint8), ids)
    sample = with_borders(InMemory((bare,), ("none", "cell")))[0]
    rule = PixelWeights.of(LossConfig(border_weight=10.0), [sample], classes=3, border=2)
    assert rule is not None
    weights = rule.of_sample(sample)
    assert weights[4, 6] == weights[4, 7] == pytest.approx(1 + 10 * np.exp(-(3**2) / 50), rel=1e-6)
    assert weights[4, 4] == 1


def test_without_weights_every_pixel_counts_alike() -> None:
    assert PixelWeights.of(LossConfig(), [], classes=2, border=None) is None


def test_another_number_of_weights_than_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="found 2 weights; the network has 3 classes"):
        PixelWeights.of(LossConfig(class_weights=(1.0, 2.0)), [], classes=3, border=None)


def test_weights_are_kept_and_a_damaged_copy_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "new" / "cache"
    expected = border_weights(PAIR)
    np.testing.assert_array_equal(cached_border_weights(PAIR, folder), expected)
    (kept,) = folder.iterdir()
    for damaged in (b"", kept.read_bytes()[:100], b"x" * 300):
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(cached_border_weights(PAIR, folder), expected)
    assert cached_border_weights(PAIR, folder, sigma=3.0).max() != expected.max()
    assert cached_border_weights(PAIR.T.copy(), folder).shape == PAIR.T.shape
    monkeypatch.setattr("unetkit.data.targets.border_weights", None)
    np.testing.assert_array_equal(cached_border_weights(PAIR, folder), expected)


def test_a_folder_that_takes_nothing_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    np.testing.assert_array_equal(cached_border_weights(PAIR, tmp_path / "file"), border_weights(PAIR))
