"""Closed contours, against what was planted, against joining by hand, and for what holds of any image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from unetkit.objects import with_closed_gaps
from unetkit.objects.contours import basins_of, close_gaps, joining_strengths


def _two_cells(gap: int) -> NDArray[np.float32]:
    """Two cells with a wall between them, of which `gap` pixels are missing."""
    walls = np.full((40, 60), 0.1, np.float32)
    walls[:, 29:31] = 0.9
    walls[20 - gap // 2 : 20 - gap // 2 + gap, 29:31] = 0.15
    return walls


def _regions(walls: NDArray[np.float32], threshold: float = 0.5) -> int:
    return int(ndimage.label(walls <= threshold)[1])


def test_a_gap_that_is_a_small_share_of_its_wall_is_closed() -> None:
    assert _regions(_two_cells(4)) == 1
    assert _regions(close_gaps(_two_cells(4))) == 2


def test_a_wall_that_is_mostly_missing_is_left_open() -> None:
    assert _regions(close_gaps(_two_cells(30))) == 1


def test_the_wall_is_raised_to_its_mean() -> None:
    walls = _two_cells(4)
    closed = close_gaps(walls)
    raised = closed[closed > walls]
    assert raised.size
    assert np.allclose(raised[raised > 0.2], (36 * 0.9 + 4 * 0.15) / 40)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (24, 31), elements=st.floats(0, 1, width=32)))
def test_nothing_is_lowered_and_the_map_is_the_same_every_time(walls: NDArray[np.float32]) -> None:
    closed = close_gaps(walls)
    assert closed.shape == walls.shape
    assert closed.dtype == np.float32
    assert (closed >= walls).all()
    assert closed.max() == walls.max()
    assert np.array_equal(closed, close_gaps(walls))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_image_of_one_value_has_no_contours(value: float) -> None:
    walls = np.full((9, 7), value, np.float32)
    assert np.array_equal(close_gaps(walls), walls)


def test_a_single_row_is_an_image_too() -> None:
    walls = np.array([[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]], np.float32)
    assert np.array_equal(close_gaps(walls), walls)


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Contours between a few basins: few different heights, so that there are equals."""
    basins = draw(st.integers(2, 9))
    every = [(a, b) for a in range(1, basins + 1) for b in range(a + 1, basins + 1)]
    chosen = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    lengths = np.array([draw(st.integers(1, 5)) for _ in chosen])
    heights = np.array([draw(st.integers(0, 8)) for _ in chosen]) / 8 * lengths
    return np.array(sorted(chosen), np.int32).T, heights, lengths


@settings(max_examples=200, deadline=None)
@given(_graphs())
def test_regions_are_joined_as_by_hand(graph: tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]) -> None:
    contours, heights, lengths = graph
    strengths = joining_strengths(contours, heights, lengths)
    assert np.isfinite(strengths).all()
    region = {basin: basin for basin in contours.ravel().tolist()}
    joined: list[float] = []
    while apart := _contours_of_regions(region, contours):
        means = {pair: heights[parts].sum() / lengths[parts].sum() for pair, parts in apart.items()}
        weakest = min(means.values())
        # Of several that are equally weak, any may come first: the one that did has this strength.
        one, other = next(
            pair for pair, parts in apart.items() if means[pair] == weakest and (strengths[parts] == weakest).all()
        )
        region = {basin: one if own == other else own for basin, own in region.items()}
        joined.append(weakest)
    assert joined == sorted(joined), "what is joined later is stronger"


def _contours_of_regions(region: dict[int, int], contours: NDArray[np.int32]) -> dict[tuple[int, int], list[int]]:
    """Return the numbers of the contours between every two regions that touch."""
    apart: dict[tuple[int, int], list[int]] = {}
    for number, sides in enumerate(contours.T.tolist()):
        one, other = sorted(region[basin] for basin in sides)
        if one != other:
            apart.setdefault((one, other), []).append(number)
    return apart


def test_other_classes_share_what_is_left_as_before() -> None:
    background = _two_cells(4)
    others = 1 - background
    p_KHW = np.stack([background, 0.75 * others, 0.25 * others])
    closed = with_closed_gaps(p_KHW)
    assert np.allclose(closed.sum(0), 1, atol=1e-6)
    assert np.allclose(closed[1], 3 * closed[2], atol=1e-6)
    same = closed[0] == p_KHW[0]
    assert np.array_equal(closed[:, same], p_KHW[:, same])


def test_basins_are_those_of_a_watershed(monkeypatch: pytest.MonkeyPatch) -> None:
    height = ndimage.gaussian_filter(np.random.default_rng(0).random((300, 200), np.float32), 2)
    height[40:80, 50:90] = height[60, 70]  # level ground
    lowest = height == ndimage.minimum_filter(height, footprint=np.ones((3, 3)))
    expected = watershed(height, ndimage.label(lowest)[0], connectivity=1)
    basins, closed = basins_of(height), close_gaps(height)
    level = ndimage.binary_dilation(height == height[60, 70], iterations=5)  # is divided in another order
    assert (basins != expected)[~level].mean() < 0.005
    assert set(np.unique(basins)) == set(np.unique(expected))
    monkeypatch.setattr("unetkit.objects.contours._STRIP", 7)
    assert np.array_equal(basins_of(height), basins)
    assert np.array_equal(close_gaps(height), closed)
