from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from unetkit.config import PredictConfig
from unetkit.errors import ConfigError, DataError, UsageError
from unetkit.models.geometry import Geometry
from unetkit.objects import with_closed_gaps
from unetkit.prediction import Predictor
from unetkit.prediction.crops import EIGHT
from unetkit.prediction.uncertainty import answers_to, uncertainty

Maker = Callable[..., Predictor]
Draw = Callable[..., NDArray[Any]]


def untiled(predictor: Predictor, image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probabilities by the network alone; what valid convolutions see beyond the image comes from numpy."""
    geometry = predictor.geometry
    pixels = predictor.normalization.apply(image)
    height, width = image.shape[1:]
    if geometry.margin:
        more = [geometry.fitting_input_size(size) - size - geometry.margin for size in (height, width)]
        pad = [(0, 0), (geometry.margin, more[0]), (geometry.margin, more[1])]
        mirror = "reflect" if min(height, width) > 1 else "edge"
        pixels = np.pad(pixels, pad, mode="constant" if predictor.config.padding_mode == "zeros" else mirror)
    with torch.inference_mode():
        logits = predictor.network(torch.from_numpy(pixels)[None].to(memory_format=torch.channels_last))
    return logits.softmax(1)[0, :, :height, :width].numpy()


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 150),
    tile=st.integers(1, 100),
    depth=st.integers(1, 3),
    model=st.sampled_from(
        [
            {},
            {"up": "bilinear"},
            {"up": "bilinear-legacy"},
            {"residual": True, "downscale": 2},
            {"name": "unetpp"},
            {"norm": "none"},
            {"up_kernel": 3},
            {"odd_sizes": "zeros"},
        ]
    ),
)
def test_tiled_equals_whole(
    make_predictor: Maker, draw: Draw, height: int, width: int, tile: int, depth: int, model: dict[str, Any]
) -> None:
    predictor = make_predictor(depth=depth, **model)
    overlap = predictor.geometry.overlap
    assert overlap is not None
    tile = max(tile, height // 12, width // 12)  # thousands of tiles take minutes, and prove no more
    tiled = predictor.with_options({"tile": tile + 2 * overlap, "overlap": overlap})
    image = draw(height, width)
    assert tiled.exactness() is None
    np.testing.assert_allclose(tiled.probabilities(image), untiled(predictor, image), atol=1e-5, rtol=0)


def test_deep_networks_tile_exactly_too(make_predictor: Maker, draw: Draw) -> None:
    predictor = make_predictor(depth=4, width=2, predict={"tile": 256})
    image = draw(301, 333)
    assert predictor.plan(301, 333).parts > 4
    assert predictor.exactness() is None
    np.testing.assert_allclose(predictor.probabilities(image), untiled(predictor, image), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(2, 120),
    width=st.integers(2, 120),
    tile=st.integers(1, 150),
    depth=st.integers(1, 2),
    up=st.sampled_from(["deconv", "bilinear", "bilinear-legacy"]),
)
def test_valid_tiles_equal_the_whole(
    make_predictor: Maker, draw: Draw, height: int, width: int, tile: int, depth: int, up: str
) -> None:
    predictor = make_predictor(depth=depth, padding="valid", up=up)
    overlap = predictor.geometry.overlap
    assert overlap is not None
    tile = max(tile, height // 12, width // 12)  # thousands of tiles take minutes, and prove no more
    tiled = predictor.with_options({"tile": tile + 2 * overlap, "overlap": overlap})
    image = draw(height, width)
    np.testing.assert_allclose(tiled.probabilities(image), untiled(predictor, image), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(height=st.integers(1, 90), width=st.integers(1, 90), depth=st.integers(1, 2), batch=st.integers(1, 9))
def test_tiled_equals_whole_with_flips_and_turns(
    make_predictor: Maker, draw: Draw, height: int, width: int, depth: int, batch: int
) -> None:
    whole = make_predictor(depth=depth, predict={"tta": True})
    overlap = whole.geometry.overlap
    assert overlap is not None
    tiled = whole.with_options({"tile": 2 * overlap + 24, "overlap": overlap, "batch": batch})
    image = draw(height, width)
    np.testing.assert_allclose(tiled.probabilities(image), whole.probabilities(image), atol=1e-5, rtol=0)


def test_where_context_is_missing_tiles_differ_and_say_so(make_predictor: Maker, draw: Draw) -> None:
    predictor = make_predictor(depth=3, predict={"tile": 64, "overlap": 8})
    image = draw(150, 150)
    assert predictor.plan(150, 150).note == predictor.exactness() is not None
    assert np.abs(predictor.probabilities(image) - untiled(predictor, image)).max() > 1e-5


def test_572_pixels_become_388(make_predictor: Maker, draw: Draw) -> None:
    predictor = make_predictor(depth=4, width=2, padding="valid")
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    image = draw(388, 388)
    predicted = predictor.probabilities(image)
    assert seen[-1] == (1, 1, 572, 572)
    assert predicted.shape == (2, 388, 388)
    np.testing.assert_allclose(predicted, untiled(predictor, image), atol=1e-6)


@pytest.mark.parametrize("size", [(60, 44), (39, 61), (150, 41)])
@pytest.mark.parametrize("tile", [None, 84])
def test_zeros_beyond_the_image_are_zeros_for_the_network(
    make_predictor: Maker, draw: Draw, size: tuple[int, int], tile: int | None
) -> None:
    predictor = make_predictor(padding="valid", predict={"padding_mode": "zeros", "tile": tile})
    image = draw(*size)
    predicted = predictor.probabilities(image)
    np.testing.assert_allclose(predicted, untiled(predictor, image), atol=1e-5)
    mirrored = make_predictor(padding="valid", predict={"tile": tile}).probabilities(image)
    assert np.abs(predicted - mirrored).max() > 1e-3


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_resized_image_gets_its_prediction_resized_back(make_predictor: Maker, draw: Draw, padding: str) -> None:
    image = draw(50, 70)
    predictor = make_predictor(padding=padding, predict={"size": (36, 28)})
    small = F.interpolate(torch.from_numpy(image).float()[None], size=(36, 28), mode="bilinear")[0].numpy()
    answer = make_predictor(padding=padding).probabilities(small)
    expected = F.interpolate(torch.from_numpy(answer)[None], size=(50, 70), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-5)
    assert predictor.plan(50, 70).parts == len(list(predictor.parts(image))) == 1
    assert predictor.labels(image).shape == (50, 70)


def test_an_asymmetric_resize_does_not_shift_the_prediction(around: Callable[..., Predictor]) -> None:
    ramp = np.arange(64, dtype=np.float32)[None].repeat(64, 0)[None]
    predictor = around(lambda x: torch.cat([-x, x], 1) / 64, size=(16, 16), resize="asymmetric")
    logit = np.log(predictor.probabilities(ramp)[1] / predictor.probabilities(ramp)[0]) * 32
    np.testing.assert_allclose(logit[:, :60], ramp[0][:, :60], atol=0.1)  # beyond lies the last of the 16


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 3), (3, 100)])
def test_any_size_comes_back(make_predictor: Maker, draw: Draw, padding: str, tta: bool, size: tuple[int, int]) -> None:
    predictor = make_predictor(padding=padding, predict={"tta": tta, "tile": 60})
    predicted = predictor.probabilities(draw(*size))
    assert predicted.shape == (2, *size)
    np.testing.assert_allclose(predicted.sum(0), 1, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("batch", [2, 3, 64])
def test_batches_change_nothing(make_predictor: Maker, draw: Draw, padding: str, batch: int) -> None:
    one = make_predictor(channels=3, padding=padding, predict={"tile": 64})
    many = one.with_options({"batch": batch})
    image = draw(100, 130, 3)
    np.testing.assert_allclose(many.probabilities(image), one.probabilities(image), atol=1e-5)


def test_tiles_of_one_shape_go_through_together(around: Callable[..., Predictor]) -> None:
    counts: list[int] = []

    def network(x: Tensor) -> Tensor:
        counts.append(x.shape[0])
        return torch.cat([x, -x], 1)

    around(network, tile=10, batch=3).labels(np.zeros((1, 10, 60), np.uint8))
    assert counts == [3, 3]
    counts.clear()
    around(network, tta=True, batch=8).labels(np.zeros((1, 10, 60), np.uint8))
    assert counts == [4, 4]


@pytest.mark.parametrize("classes", [2, 5])
def test_labels_are_the_most_probable_classes(make_predictor: Maker, draw: Draw, classes: int) -> None:
    predictor = make_predictor(classes=classes, predict={"tile": 64, "overlap": 8})
    image = draw(100, 90)
    labels = predictor.labels(image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, predictor.probabilities(image).argmax(0))


def test_many_classes_need_sixteen_bits(around: Callable[..., Predictor]) -> None:
    predictor = around(lambda x: torch.cat([x * number for number in range(300)], 1), classes=300)
    labels = predictor.labels(np.ones((1, 2, 3), np.uint8))
    assert labels.dtype == np.uint16
    assert (labels == 299).all()


def test_one_output_channel_is_the_second_class(around: Callable[..., Predictor]) -> None:
    predictor = around(lambda x: x)
    predicted = predictor.probabilities(np.array([[[-2.0, 0.0, 3.0]]], np.float32))
    np.testing.assert_allclose(predicted[1, 0], [1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-3))], rtol=1e-6)
    np.testing.assert_allclose(predicted.sum(0), 1, rtol=1e-6)


@pytest.mark.parametrize("predict", [{}, {"tile": 40}, {"tile": 40, "overlap": 4}])
def test_parts_hold_each_pixel_once(make_predictor: Maker, draw: Draw, predict: dict[str, int]) -> None:
    predictor = make_predictor(predict=predict)
    image = draw(121, 87)
    seen = np.zeros((121, 87), int)
    parts = list(predictor.parts(image))
    for part in parts:
        seen[part.rows, part.columns] += 1
        assert part.probabilities_KHW.shape[1:] == seen[part.rows, part.columns].shape
    assert (seen == 1).all()
    assert len(parts) == predictor.plan(121, 87).parts
    assert [part.rows.start for part in parts] == sorted(part.rows.start for part in parts)


@pytest.mark.parametrize("size", [(40, 40), (33, 58)])
def test_what_is_turned_is_predicted_turned(make_predictor: Maker, draw: Draw, size: tuple[int, int]) -> None:
    predictor = make_predictor(predict={"tta": True})
    image = draw(*size)
    expected = predictor.probabilities(image)
    plain = predictor.with_options({"tta": False})
    assert np.abs(plain.probabilities(image[:, ::-1]) - plain.probabilities(image)[:, ::-1]).max() > 1e-3
    for symmetry in EIGHT:
        turned = predictor.probabilities(symmetry.apply(image))
        np.testing.assert_allclose(turned, symmetry.apply(expected), atol=1e-5)


def test_eight_predictions_are_averaged(make_predictor: Maker, draw: Draw) -> None:
    predictor = make_predictor()
    image = draw(24, 41)
    ones = [
        symmetry.undo(torch.from_numpy(predictor.probabilities(symmetry.apply(image)))).numpy() for symmetry in EIGHT
    ]
    averaged = predictor.with_options({"tta": True}).probabilities(image)
    np.testing.assert_allclose(averaged, np.mean(ones, 0), atol=1e-6)


def tile_dependent(x: Tensor) -> Tensor:
    """A network that answers differently in every tile: its logit is the mean of all that it sees."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


def steps(probabilities: NDArray[np.float32]) -> float:
    return max(float(np.abs(np.diff(probabilities, axis=axis)).max()) for axis in (1, 2))


@pytest.mark.parametrize("tta", [False, True])
def test_blending_leaves_no_seam(around: Callable[..., Predictor], tta: bool) -> None:
    rows, columns = np.ogrid[:300, :400]
    smooth = (rows / 100 + columns / 100 - 3.5).astype(np.float32)[None]
    averaging = Geometry(multiple=8, offset=0, halo=None, margin=0)
    cut = around(tile_dependent, geometry=averaging, tile=64, overlap=0, tta=tta)
    blended = cut.with_options({"overlap": 16})
    assert steps(cut.probabilities(smooth)) > 0.05
    assert steps(blended.probabilities(smooth)) < 0.01
    np.testing.assert_allclose(blended.probabilities(smooth).sum(0), 1, atol=1e-6)


def test_exact_tiles_leave_no_seam_at_all(make_predictor: Maker) -> None:
    rows, columns = np.ogrid[:200, :200]
    smooth = (128 + 60 * np.sin(rows / 40) * np.cos(columns / 30)).astype(np.float32)[None]
    predictor = make_predictor(depth=2)
    tiled = predictor.with_options({"tile": 80})
    assert tiled.exactness() is None
    difference = tiled.probabilities(smooth) - predictor.probabilities(smooth)
    assert len(tiled.plan(200, 200).rows) > 1
    assert steps(difference) < 1e-5


def test_channels_stay_apart(around: Callable[..., Predictor]) -> None:
    predictor = around(lambda x: torch.cat([x, -x], 1))
    image = np.linspace(-3, 3, 35, dtype=np.float32).reshape(1, 5, 7)
    np.testing.assert_allclose(predictor.probabilities(image)[0], 1 / (1 + np.exp(-2 * image[0])), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", ">f8"])
def test_stored_types_and_strides_do_not_matter(make_predictor: Maker, draw: Draw, dtype: str) -> None:
    predictor = make_predictor(channels=3)
    image = draw(20, 30, 3)
    stored = np.asfortranarray(image.astype(dtype))
    np.testing.assert_allclose(predictor.probabilities(stored), predictor.probabilities(image), atol=1e-6)


def test_options_replace_keys_and_are_checked(make_predictor: Maker) -> None:
    predictor = make_predictor(predict={"tile": 64})
    assert predictor.with_options({"tta": True, "tile": None}).config == PredictConfig(tile=64, tta=True)
    with pytest.raises(ConfigError, match="predict.tlie"):
        predictor.with_options({"tlie": 3})
    with pytest.raises(ConfigError, match="predict.tile"):
        predictor.with_options({"tile": -1})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), "3 channels"),
        ((8, 8), r"\(8, 8\) was given; \[channels, height, width\]"),
        ((1, 0, 8), r"\(1, 0, 8\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(make_predictor: Maker, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_predictor().labels(np.zeros(shape, np.uint8))


def test_a_network_in_training_is_refused(make_predictor: Maker) -> None:
    predictor = make_predictor(depth=1)
    assert isinstance(predictor.network, torch.nn.Module)
    predictor.network.train()
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    try:
        with pytest.raises(UsageError, match="training mode"):
            predictor.labels(np.zeros((1, 8, 8), np.uint8))
        with pytest.raises(UsageError, match="training mode"):
            predictor.plan(8, 8)
        assert all(torch.equal(value, before[name]) for name, value in predictor.network.state_dict().items())
    finally:
        predictor.network.eval()


def test_nothing_stays_in_inference_mode(make_predictor: Maker, draw: Draw) -> None:
    for _ in make_predictor(predict={"tile": 40}).parts(draw(60, 60)):
        assert not torch.is_inference_mode_enabled()


def test_every_tile_is_seen_where_it_lies(around: Callable[..., Predictor]) -> None:
    predictor = around(lambda x: torch.cat([torch.zeros_like(x), x], 1), tile=7)
    image = np.random.default_rng(0).normal(size=(1, 23, 31)).astype(np.float32)
    np.testing.assert_array_equal(predictor.labels(image), image[0] > 0)
    for tta, tile in product((False, True), (5, 8, 100)):
        other = predictor.with_options({"tta": tta, "tile": tile})
        np.testing.assert_array_equal(other.labels(image), image[0] > 0)


def test_gaps_are_closed_in_the_whole_image_whatever_the_tiles(make_predictor: Maker, draw: Draw) -> None:
    left_open, image = make_predictor(depth=1), draw(70, 90)
    closing = left_open.with_options({"close_gaps": True})
    whole = closing.probabilities(image)
    assert np.array_equal(whole, with_closed_gaps(left_open.probabilities(image)))
    assert (whole[0] > left_open.probabilities(image)[0]).any()
    tiled = closing.with_options({"tile": 48, "overlap": left_open.geometry.overlap})
    assert tiled.exactness() is None
    assert tiled.plan(70, 90).parts == 1
    np.testing.assert_allclose(tiled.probabilities(image), whole, atol=1e-5, rtol=0)
    assert np.array_equal(closing.labels(image), whole.argmax(0))


def test_an_uncertainty_is_that_of_open_gaps(make_predictor: Maker, draw: Draw) -> None:
    left_open, image = make_predictor(depth=1), draw(40, 50)
    closing = left_open.with_options({"close_gaps": True})
    assert np.array_equal(uncertainty(answers_to(image, [closing])), uncertainty(answers_to(image, [left_open])))
