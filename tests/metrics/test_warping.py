import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label as skimage_label

from unetkit.metrics.isbi_pixels import count_warping_errors, simple_codes

Mask = NDArray[np.bool_]
EIGHT = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))
CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
RADIUS = 20


def is_simple(square: Mask) -> bool:
    """T4 of the interior is 1 and T8 of the border is 1 in a 3 x 3 neighbourhood whose centre is left out."""
    interior, border = square.copy(), ~square
    interior[1, 1] = border[1, 1] = False
    pieces = skimage_label(interior, connectivity=1)
    beside = {int(pieces[y, x]) for y, x in ((0, 1), (1, 0), (1, 2), (2, 1))} - {0}
    return len(beside) == 1 and skimage_label(border, connectivity=2).max() == 1


def literal(truth: Mask, probability: NDArray[np.float64], threshold: float) -> tuple[int, int]:
    """The definition word for word: flip in rounds, then classify what is left."""
    if truth.all() or not truth.any():
        return 0, 0
    height, width = truth.shape
    target, source = probability > threshold, np.pad(truth, 1)
    todo = [(y, x) for x in range(width) for y in range(height) if truth[y, x] != target[y, x]]
    todo.sort(key=lambda place: -np.float32(abs(probability[place] - threshold)))
    while True:
        left: list[tuple[int, int]] = []
        for y, x in todo:
            if is_simple(source[y : y + 3, x : x + 3]):
                source[y + 1, x + 1] ^= True
            else:
                left.append((y, x))
        if len(left) == len(todo):
            break
        todo = left
    kinds = [kind_of(source[1:-1, 1:-1], y, x) for y, x in left]
    return kinds.count("split"), kinds.count("merger")


def kind_of(source: Mask, y: int, x: int) -> str:
    height, width = source.shape
    components = skimage_label(source, connectivity=1)
    inside = [(y + v, x + u) for v, u in EIGHT if 0 <= y + v < height and 0 <= x + u < width]
    ids = {int(components[place]) for place in inside}
    if len(ids) >= 3:
        return "split" if source[y, x] else "merger"
    if len(ids) == 2 and source[y, x]:
        reach = max(height, width) if height < RADIUS or width < RADIUS else RADIUS
        window = np.pad(source, reach)[y : y + 2 * reach + 1, x : x + 2 * reach + 1].copy()
        window[reach, reach] = False
        pieces = skimage_label(window, connectivity=1)
        return "split" if len({int(pieces[reach + v, reach + u]) for v, u in EIGHT}) > 2 else "other"
    return "other"


def blobs(seed: int, shape: tuple[int, int]) -> tuple[Mask, NDArray[np.float64]]:
    """A random truth and a probability in tenths, so that many distances are equal."""
    generator = np.random.default_rng(seed)
    truth = generator.random(shape) < generator.choice([0.3, 0.6, 0.85])
    near = np.where(generator.random(shape) < 0.3, generator.random(shape), 0.2 + 0.6 * truth)
    return truth, np.round(near, 1).astype(np.float32).astype(np.float64)


def test_simple_points_are_those_of_the_two_topological_numbers() -> None:
    codes = simple_codes()
    for code in range(256):
        square = np.zeros((3, 3), np.bool_)
        for bit, (down, right) in enumerate(CLOCKWISE):
            square[1 + down, 1 + right] = code >> bit & 1
        assert bool(codes[code]) == is_simple(square), code
    assert sum(codes) == 116


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.30000000000000004, 0.5])
)
def test_counts_are_those_of_the_definition(seed: int, height: int, width: int, threshold: float) -> None:
    truth, probability = blobs(seed, (height, width))
    assert count_warping_errors(truth, probability, threshold) == literal(truth, probability, threshold)


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_are_those_of_the_definition_where_windows_are_smaller_than_the_slice(seed: int) -> None:
    truth, probability = blobs(seed, (26, 48))
    expected = [literal(truth, probability, t) for t in (0.1, 0.5, 0.8)]
    assert [count_warping_errors(truth, probability, t) for t in (0.1, 0.5, 0.8)] == expected
    splits, mergers = zip(*expected, strict=True)
    assert sum(splits) > 0
    assert sum(mergers) > 0


def loop(size: int, side: int) -> Mask:
    """A closed path, one pixel wide."""
    mask = np.zeros((size, size), np.bool_)
    low, high = (size - side) // 2, (size + side) // 2
    mask[[low, high], low : high + 1] = mask[low : high + 1, [low, high]] = True
    return mask


@pytest.mark.parametrize(("side", "splits"), [(10, 0), (60, 1)])
def test_a_cut_counts_as_a_split_only_where_the_pieces_do_not_meet_again_nearby(side: int, splits: int) -> None:
    truth = loop(80, side)
    cut = truth.astype(np.float64)
    cut[(80 - side) // 2, 40] = 0.0
    assert count_warping_errors(truth, cut, 0.5) == (splits, 0)


def test_in_a_slice_narrower_than_the_window_pieces_may_meet_anywhere() -> None:
    truth = np.zeros((12, 80), np.bool_)
    truth[[3, 8], 5:75] = truth[3:9, [5, 74]] = True
    cut = truth.astype(np.float64)
    cut[3, 40] = 0.0
    assert count_warping_errors(truth, cut, 0.5) == literal(truth, cut, 0.5) == (0, 0)


def test_bridges_are_mergers_cuts_are_splits_and_thicker_borders_cost_nothing() -> None:
    truth = np.ones((40, 40), np.bool_)
    truth[20] = False
    bridge = truth.astype(np.float64)
    bridge[20, 20] = 1.0
    assert count_warping_errors(truth, bridge, 0.5) == (0, 1)
    cut = truth.astype(np.float64)
    cut[:20, 20] = 0.0
    assert count_warping_errors(truth, cut, 0.5) == (1, 0)
    thick = truth.astype(np.float64)
    thick[17:24] = 0.0
    assert count_warping_errors(truth, thick, 0.5) == (0, 0)


def test_a_constant_truth_has_no_errors() -> None:
    found = np.random.default_rng(0).random((12, 12))
    for truth in (np.zeros((12, 12), np.bool_), np.ones((12, 12), np.bool_)):
        assert count_warping_errors(truth, found, 0.5) == (0, 0)
