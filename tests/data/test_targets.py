import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.checks.check import before_training
from unetkit.config import Config
from unetkit.data import InMemory, Sample
from unetkit.data.layouts.synthetic import open_sample
from unetkit.data.targets import WithBorders, border_labels, components
from unetkit.errors import DataError

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
    dataset = WithBorders(open_sample(slices=2, size=64))
    assert dataset.classes == ("membrane", "interior", "border")
    assert len(dataset) == 2
    sample = dataset[1]
    assert set(np.unique(sample.labels)) == {0, 1, 2}
    assert sample.instances is not None
    assert sample.instances.max() > 1
    before_training(dataset, Config())
    bare = InMemory((Sample("a", np.zeros((1, 4, 4), np.uint8), source="a.png"),), ("b", "c"))
    with pytest.raises(DataError, match=r"a\.png: has no labels"):
        WithBorders(bare)[0]


def test_regions_of_every_class_but_the_first_are_objects() -> None:
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [3, 2, 2, 0], [3, 0, 1, 1]], np.uint8)
    expected = [[1, 1, 0, 3], [0, 0, 0, 3], [5, 4, 4, 0], [5, 0, 2, 2]]
    np.testing.assert_array_equal(components(labels), expected)
    assert components(np.zeros((3, 3), np.uint8)).max() == 0
