from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import PredictConfig, load_config
from unetkit.errors import ConfigError
from unetkit.models.geometry import Geometry
from unetkit.prediction.tiling import Allowance, Plan, difference, make_plan, window

PADDED = Geometry(multiple=8, offset=0, halo=51, margin=0, disturbed=46)
PAPER = Geometry(multiple=16, offset=12, halo=107, margin=92, disturbed=0)
WHOLE_IMAGE = Geometry(multiple=8, offset=0, halo=None, margin=0)
AMPLE = Allowance(1e12)


def windows_of(plan: Plan, height: int, width: int) -> list[tuple[int, int]]:
    tall, wide = (
        [window(span.low, span.high, length=length, grid=plan.grid) for span in spans]
        for spans, length in ((plan.rows, height), (plan.columns, width))
    )
    return [(row.stop - row.start, column.stop - column.start) for row, column in product(tall, wide)]


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    pixels=st.integers(100_000, 3_000_000),
    geometry=st.sampled_from([PADDED, PAPER]),
)
def test_a_call_of_the_network_fits_the_allowance(height: int, width: int, pixels: int, geometry: Geometry) -> None:
    plan = make_plan(height, width, geometry=geometry, config=PredictConfig(), allowance=Allowance(pixels))
    assert all(tall * wide <= pixels for tall, wide in windows_of(plan, height, width))
    assert plan.note is None


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_what_fits_is_predicted_whole(height: int, width: int) -> None:
    allowance = Allowance(height * width)
    plan = make_plan(height, width, geometry=PADDED, config=PredictConfig(), allowance=allowance)
    assert plan.parts == 1
    assert windows_of(plan, height, width) == [(height, width)]


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (512, 20_000), (2048, 2048)])
def test_tiles_are_nearly_the_fewest_pixels(height: int, width: int) -> None:
    allowance = Allowance(600_000)
    chosen = make_plan(height, width, geometry=PADDED, config=PredictConfig(), allowance=allowance)
    computed = sum(tall * wide for tall, wide in windows_of(chosen, height, width))
    square = make_plan(height, width, geometry=PADDED, config=PredictConfig(tile=774), allowance=allowance)
    assert computed <= 1.02 * sum(tall * wide for tall, wide in windows_of(square, height, width))
    assert computed <= 1.5 * height * width


def test_rows_of_blended_tiles_count_in_the_allowance() -> None:
    free = make_plan(4000, 4000, geometry=WHOLE_IMAGE, config=PredictConfig(), allowance=Allowance(1e6))
    dear = make_plan(4000, 4000, geometry=WHOLE_IMAGE, config=PredictConfig(), allowance=Allowance(1e6, 0.5))
    assert len(dear.rows) > len(free.rows)
    for tall, wide in windows_of(dear, 4000, 4000):
        assert tall * wide + 0.5 * tall * 4000 <= 1e6


def test_an_allowance_that_is_too_small_still_gives_tiles() -> None:
    plan = make_plan(300, 300, geometry=PADDED, config=PredictConfig(), allowance=Allowance(1))
    assert plan.note is None
    assert max(windows_of(plan, 300, 300)) == (104, 104)


@pytest.mark.parametrize(
    ("geometry", "predict", "words"),
    [
        (PADDED, {}, None),
        (PADDED, {"tile": 128}, None),
        (PADDED, {"tile": 96}, "overlap by 32 px on each side, the network sees 48"),
        (PADDED, {"tile": 96}, "predict.tile=128 or more makes them equal"),
        (PADDED, {"tile": 512, "overlap": 16}, "overlap by 16 px on each side, the network sees 48"),
        (PADDED, {"tile": 512, "overlap": 16}, "predict.overlap=48 makes them equal"),
        (PADDED, {"tile": 97, "overlap": 48}, None),
        (PADDED, {"overlap": 0}, "overlap by 0 px"),
        (PAPER, {"tile": 572}, None),
        (PAPER, {"tile": 200}, None),
        (
            WHOLE_IMAGE,
            {},
            "or how far it sees is not known: where an image is cut into tiles, results may differ",
        ),
        (WHOLE_IMAGE, {}, "more predict.memory makes fewer of them"),
        (WHOLE_IMAGE, {"tile": 512}, "a larger predict.tile makes fewer of them"),
    ],
)
def test_what_tiles_may_change_is_said(geometry: Geometry, predict: dict[str, int], words: str | None) -> None:
    said = difference(geometry, PredictConfig(**predict))
    assert said == words if words is None or said is None else words in said


def test_an_image_of_one_tile_needs_no_note() -> None:
    config = PredictConfig(tile=96)
    assert make_plan(96, 90, geometry=PADDED, config=config, allowance=AMPLE).note is None
    assert make_plan(96, 97, geometry=PADDED, config=config, allowance=AMPLE).note is not None


def test_the_remedy_helps() -> None:
    for overlap in (None, 8):
        config = PredictConfig(tile=64, overlap=overlap)
        said = difference(PADDED, config)
        assert said is not None
        key, value = next(word for word in said.split() if word.startswith("predict.")).split("=")
        mended = config.model_copy(update={"tile": 128, key.removeprefix("predict."): int(value)})
        assert difference(PADDED, mended) is None


def test_an_overlap_that_leaves_no_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap of 64 on each side leaves nothing of a tile of 128"):
        load_config({"predict": {"tile": 128, "overlap": 64}})
