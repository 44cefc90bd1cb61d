import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.data import Normalization, Sample
from unetkit.errors import DataError


def samples(dtype: type, channels: int = 1, count: int = 3, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    shapes = [(channels, int(rng.integers(2, 9)), int(rng.integers(2, 9))) for _ in range(count)]
    return [Sample(f"s{i}", (rng.random(shape) * top).astype(dtype)) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_standardize_gives_mean_zero_and_deviation_one_over_the_set(dtype: type, channels: int) -> None:
    training = samples(dtype, channels)
    normalization = Normalization.fit("standardize", training)
    together = np.concatenate([normalization.apply(sample.pixels).reshape(channels, -1) for sample in training], axis=1)
    np.testing.assert_allclose(together.mean(axis=1, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(together.std(axis=1, dtype=np.float64), 1, rtol=1e-5)


@given(offset=st.floats(-1e6, 1e6), seed=st.integers(0, 100))
def test_statistics_of_float_images_survive_a_large_offset(offset: float, seed: int) -> None:
    training = [Sample(s.name, s.pixels + np.float32(offset)) for s in samples(np.float32, seed=seed)]
    pixels = np.concatenate([sample.pixels.ravel() for sample in training]).astype(np.float64)
    normalization = Normalization.fit("standardize", training)
    assert normalization.mean[0] == pytest.approx(pixels.mean(), rel=1e-9, abs=1e-9)
    assert normalization.std[0] == pytest.approx(pixels.std() or 1.0, rel=1e-9)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_fixed_ranges_map_the_ends_of_the_type(dtype: type, top: int) -> None:
    pixels = np.array([[[0, top // 3, top]]], dtype)
    fixed = [Sample("a", pixels)]
    np.testing.assert_allclose(Normalization.fit("zero-to-one", fixed).apply(pixels).ravel(), [0, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(
        Normalization.fit("minus-one-to-one", fixed).apply(pixels).ravel(), [-1, -1 / 3, 1], rtol=1e-6
    )


def test_fixed_ranges_of_float_images_are_those_of_the_set() -> None:
    training = [Sample("a", np.array([[[2.0, 3.0]]], np.float32)), Sample("b", np.array([[[6.0, 4.0]]], np.float32))]
    np.testing.assert_allclose(Normalization.fit("zero-to-one", training).apply(training[1].pixels), [[[1, 0.5]]])


def test_none_leaves_pixels_as_they_are_stored() -> None:
    training = samples(np.uint8, channels=3)
    normalization = Normalization.fit("none", training)
    assert np.array_equal(normalization.apply(training[0].pixels), training[0].pixels.astype(np.float32))


def test_the_result_is_float32_and_the_pixels_are_untouched() -> None:
    pixels = np.array([[[1, 2], [3, 4]]], np.uint8)
    pixels.flags.writeable = False
    assert Normalization((1.0,), (2.0,)).apply(pixels).dtype == np.float32


def test_a_constant_channel_is_only_shifted() -> None:
    pixels = np.zeros((3, 4, 4), np.uint8)
    pixels[0, 0, 0], pixels[2] = 9, 7
    normalization = Normalization.fit("standardize", [Sample("a", pixels)])
    assert normalization.std[1:] == (1.0, 1.0)
    assert normalization.apply(pixels)[2].max() == 0


def test_mixed_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"b\.png: has 3 channels, but a\.png has 1"):
        Normalization.fit(
            "standardize",
            [
                Sample("a", np.zeros((1, 2, 2), np.uint8), source="a.png"),
                Sample("b", np.zeros((3, 2, 2), np.uint8), source="b.png"),
            ],
        )
    with pytest.raises(DataError, match="uint16 values, but a has uint8"):
        Normalization.fit(
            "zero-to-one", [Sample("a", np.zeros((1, 2, 2), np.uint8)), Sample("b", np.zeros((1, 2, 2), np.uint16))]
        )
    with pytest.raises(DataError, match="3 channels, but the normalisation was found on images with 1"):
        Normalization((0.0,), (1.0,)).apply(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(DataError, match="no image"):
        Normalization.fit("standardize", [])
