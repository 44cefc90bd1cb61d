"""Where to paint next: the most uncertain window that nobody has answered."""

import numpy as np
import pytest

from unetkit.labelling.guide import SIDE, choose, first_window, rank_windows, window_means

NOTHING = np.zeros((2 * SIDE, 3 * SIDE - 10), bool)


def _uncertain(row: int, column: int, value: float) -> np.ndarray:
    values = np.full(NOTHING.shape, 0.1, np.float32)
    values[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = value
    return values


def test_the_means_of_windows_at_the_border_are_of_their_own_pixels() -> None:
    means = window_means(np.ones((SIDE + 3, 2 * SIDE + 1)))
    assert means.shape == (2, 3)
    assert means == pytest.approx(np.ones((2, 3)))


def test_the_most_uncertain_window_of_all_pages_comes_first() -> None:
    pages = {
        (0, 0): rank_windows((0, 0), _uncertain(0, 1, 0.5), NOTHING),
        (0, 1): rank_windows((0, 1), _uncertain(1, 2, 0.8), NOTHING),
    }
    first = choose(pages, {})
    assert first is not None
    assert (first.place, first.box) == ((0, 1), (SIDE, 2 * SIDE, SIDE, SIDE - 10))
    assert first.uncertainty == pytest.approx(0.8)
    second = choose(pages, {}, {(first.place, first.box)})
    assert second is not None
    assert second.place == (0, 0)


def test_a_window_that_was_answered_is_left_out_when_it_is_ranked_and_after() -> None:
    painted = NOTHING.copy()
    painted[:SIDE, SIDE : SIDE + 10] = True
    uncertain = _uncertain(0, 1, 0.9)
    assert all(one.box[:2] != (0, SIDE) for one in rank_windows((0, 0), uncertain, painted, most=99))
    pages = {(0, 0): rank_windows((0, 0), uncertain, NOTHING)}
    chosen = choose(pages, {(0, 0): painted.astype(np.uint8)})
    assert chosen is not None
    assert chosen.box[:2] != (0, SIDE)
    assert choose({(0, 0): pages[0, 0][:1]}, {(0, 0): painted.astype(np.uint8)}) is None


def test_painted_pixels_do_not_make_a_window_sure() -> None:
    painted = NOTHING.copy()
    painted[3, :20] = True  # below a hundredth of the window
    uncertain = _uncertain(0, 0, 0.6)
    uncertain[3, :20] = 0
    first = rank_windows((0, 0), uncertain, painted)[0]
    assert first.uncertainty == pytest.approx(0.6, rel=1e-3)


def test_before_there_is_a_network_the_window_with_the_most_contrast_is_suggested() -> None:
    pixels = np.full((1, *NOTHING.shape), 100, np.uint8)
    pixels[0, SIDE : 2 * SIDE : 2, SIDE : 2 * SIDE] = 200
    assert first_window((0, 0), pixels).box == (SIDE, SIDE, SIDE, SIDE)
