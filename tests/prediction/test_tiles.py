import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.images.image import mirrored
from unetkit.models.geometry import Geometry
from unetkit.prediction.tiling import Grid, Span, divide, window


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    multiple = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    margin = draw(st.sampled_from([0, 0, 4, 23, 92]))
    offset = draw(st.integers(0, multiple - 1)) if margin else 0
    context = multiple * draw(st.integers(0, 6))
    return Grid(Geometry(multiple, offset, halo=context + margin, margin=margin), context)


def longest_window(grid: Grid) -> int:
    return grid.window_side(2 * grid.context + grid.geometry.multiple)


LENGTHS = st.integers(1, 1500)
TILES = st.integers(1, 700)


@given(length=LENGTHS, tile=TILES, grid=grids(), blend=st.booleans())
def test_every_pixel_is_one_span_s_own(length: int, tile: int, grid: Grid, blend: bool) -> None:
    spans = divide(length, tile=tile, grid=grid, blend=blend)
    assert [pixel for span in spans for pixel in range(span.low, span.high)] == list(range(length))


@given(length=LENGTHS, tile=TILES, grid=grids(), blend=st.booleans())
def test_weights_add_up_to_one(length: int, tile: int, grid: Grid, blend: bool) -> None:
    total, shares = np.zeros(length), np.zeros(length, int)
    for span in divide(length, tile=tile, grid=grid, blend=blend):
        assert 0 <= span.begin <= span.low < span.high <= span.end <= length
        total[span.begin : span.end] += span.weights()
        shares[span.begin : span.end] += 1
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert shares.max() <= (2 if blend else 1)


@given(length=LENGTHS, tile=TILES, grid=grids(), blend=st.booleans())
def test_windows_see_what_the_whole_image_would_show(length: int, tile: int, grid: Grid, blend: bool) -> None:
    multiple, margin = grid.geometry.multiple, grid.geometry.margin
    for span in divide(length, tile=tile, grid=grid, blend=blend):
        seen = window(span.low, span.high, length=length, grid=grid)
        assert seen.first == seen.start + margin
        assert seen.first % multiple == 0
        assert seen.first <= max(0, span.low - grid.context)
        assert seen.stop - margin >= min(length, span.high + grid.context)
        assert seen.first <= span.begin
        assert span.end <= seen.stop - margin
        if margin:
            assert (seen.stop - seen.start - grid.geometry.offset) % multiple == 0
        else:
            assert seen.stop <= length
            assert seen.stop == length or seen.stop % multiple == 0


@given(length=LENGTHS, tile=TILES, grid=grids(), blend=st.booleans())
def test_windows_are_no_longer_than_the_tile(length: int, tile: int, grid: Grid, blend: bool) -> None:
    for span in divide(length, tile=tile, grid=grid, blend=blend):
        seen = window(span.low, span.high, length=length, grid=grid)
        assert seen.stop - seen.start <= max(tile, longest_window(grid))


@given(length=LENGTHS, tile=TILES, grid=grids())
def test_one_tile_that_is_large_enough_is_the_whole_axis(length: int, tile: int, grid: Grid) -> None:
    if grid.window_side(length) <= tile:
        assert divide(length, tile=tile, grid=grid, blend=False) == (Span(0, length),)


@given(length=LENGTHS, tile=TILES, grid=grids())
def test_spans_are_even(length: int, tile: int, grid: Grid) -> None:
    spans = divide(length, tile=tile, grid=grid, blend=False)
    inner = [span.high - span.low for span in spans[1:-1]]
    assert not inner or max(inner) - min(inner) <= grid.geometry.multiple


@given(low=st.integers(0, 400), own=st.integers(1, 300), beyond=st.integers(0, 200), grid=grids())
def test_windows_lie_on_the_grid_wherever_their_pixels_do(low: int, own: int, beyond: int, grid: Grid) -> None:
    high, length = low + own, low + own + beyond  # in a mirrored image cuts are no multiples
    seen = window(low, high, length=length, grid=grid)
    assert seen.first % grid.geometry.multiple == 0
    assert seen.first <= max(0, low - grid.context)
    assert seen.stop - grid.geometry.margin >= min(length, high + grid.context)


def test_the_papers_tiles_abut() -> None:
    grid = Grid(Geometry(multiple=16, offset=12, halo=107, margin=92, disturbed=0), context=0)
    spans = divide(1000, tile=572, grid=grid, blend=False)
    windows = [window(span.low, span.high, length=1000, grid=grid) for span in spans]
    assert [(span.low, span.high) for span in spans] == [(0, 336), (336, 672), (672, 1000)]
    assert {(seen.stop - seen.start) % 16 for seen in windows} == {12}


def test_a_blended_cut_lies_in_the_middle_of_its_ramp() -> None:
    first, second = divide(40, tile=32, grid=Grid(Geometry(8, 0, None, 0), context=8), blend=True)
    assert first.high == second.low
    assert first.fall == second.rise == 8
    np.testing.assert_allclose(first.weights()[-8] + first.weights()[-9], 1, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_borders_are_mirrored_as_numpy_does(length: int) -> None:
    axis = np.arange(length)
    expected = np.pad(axis, 20, mode="reflect") if length > 1 else np.zeros(41, int)
    np.testing.assert_array_equal(axis[mirrored(-20, length + 20, length)], expected)
