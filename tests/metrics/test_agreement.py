import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import f1_score, normalized_mutual_info_score, precision_score, recall_score

from unetkit.metrics import isbi_pixels
from unetkit.metrics.isbi_pixels import compare, f_scores, find_objects

Ids = NDArray[np.int32]

divisions = arrays(np.int32, (5, 6), elements=st.integers(0, 3))


def without_gaps(ids: Ids) -> Ids:
    found, renamed = np.unique(ids, return_inverse=True)
    return (renamed.reshape(ids.shape) + (found[0] != 0)).astype(np.int32)


def named(truth: Ids, predicted: Ids) -> list[tuple[int, int]]:
    """True and predicted object of every pixel of a true object; a pixel predicted 0 gets an object of its own."""
    pairs = zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True)
    return [(i, j if j else -place) for place, (i, j) in enumerate(pairs, start=1) if i]


@settings(max_examples=200, deadline=None)
@given(divisions, divisions)
def test_pairs_are_those_that_one_would_count(truth: Ids, predicted: Ids) -> None:
    pixels = named(truth, predicted)
    every = [(a[0] == b[0], a[1] == b[1]) for a in pixels for b in pixels]
    expected = [every.count((True, True)), every.count((False, True)), every.count((True, False))]
    found = compare(find_objects(without_gaps(truth)), without_gaps(predicted)).pairs
    assert found.tolist() == (expected if pixels else pytest.approx([math.nan] * 3, nan_ok=True))


@settings(max_examples=200, deadline=None)
@given(divisions, divisions)
def test_information_is_scikit_learns_normalized_mutual_information(truth: Ids, predicted: Ids) -> None:
    pixels = named(truth, predicted)
    found = compare(find_objects(without_gaps(truth)), without_gaps(predicted)).information
    ours, theirs = [i for i, _ in pixels], [j for _, j in pixels]
    if len(set(ours)) < 2 or len(set(theirs)) < 2:
        assert found == 0.0
    else:
        assert found == pytest.approx(normalized_mutual_info_score(ours, theirs), abs=1e-12)


def test_many_objects_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    truth, predicted = (without_gaps(generator.integers(0, 9, (20, 20)).astype(np.int32)) for _ in range(2))
    few = compare(find_objects(truth), predicted)
    monkeypatch.setattr(isbi_pixels, "_DENSE", 0)
    many = compare(find_objects(truth), predicted)
    assert many.pairs.tolist() == few.pairs.tolist()
    assert many.information == pytest.approx(few.information, abs=1e-14)


def test_a_board_of_single_pixels_needs_no_table_of_all_pairs() -> None:
    truth = np.arange(1, 90_001, dtype=np.int32).reshape(300, 300)  # a full table would take 60 GB
    result = compare(find_objects(truth), truth)
    assert result.pairs.tolist() == [90_000, 0, 0]
    assert result.information == pytest.approx(1.0, abs=1e-12)


def test_f_of_pixels_is_scikit_learns() -> None:
    truth, predicted = np.random.default_rng(1).random((2, 500)) > 0.4
    counts = np.array([(truth & predicted).sum(), (~truth & predicted).sum(), (truth & ~predicted).sum()], np.float64)
    expected = [score(truth, predicted) for score in (precision_score, recall_score, f1_score)]
    assert [float(x) for x in f_scores(counts)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f"),
    [
        ((0, 0, 0), 1, 1, 1),
        ((0, 5, 0), 0, 1, 0),
        ((0, 0, 5), 1, 0, 0),
        ((0, 5, 5), 0, 0, 0),
        ((math.nan,) * 3, math.nan, math.nan, 0),
    ],
)
def test_f_where_there_is_nothing(counts: tuple[float, ...], precision: float, recall: float, f: float) -> None:
    found = [float(x) for x in f_scores(np.array(counts, np.float64))]
    assert found == pytest.approx([precision, recall, f], nan_ok=True)
