"""Probabilities that mean what they say, and those that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unetkit.metrics import DEFINITIONS, definition_of
from unetkit.metrics.calibration import (
    ImageConfidence,
    Pixels,
    fit_temperature,
    heated,
    pool_confidence,
    reliability,
    some_pixels,
)

RNG = np.random.default_rng(0)


def drawn(classes: int = 2, side: int = 300, sharpness: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Labels drawn by their true probabilities, and the probabilities of a network whose logits are too sharp."""
    logits = RNG.normal(0, 1.5, (classes, side, side))
    true = softmax(logits)
    labels = (RNG.random((1, side, side)) > true.cumsum(0)).sum(0).clip(0, classes - 1)
    return softmax(logits * sharpness), labels


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def test_the_error_of_a_case_by_hand() -> None:
    p = np.array([[[0.9, 0.9, 0.6, 0.2]]]).repeat(2, 0)
    p[1] = 1 - p[0]
    found = reliability(p, np.array([[0, 1, 0, 1]]))
    # Two pixels at 0.9 of which one is right, one at 0.6 and one at 0.8 that are right.
    assert found.error == pytest.approx((abs(1.8 - 1) + abs(0.6 - 1) + abs(0.8 - 1)) / 4)
    assert found.top.sum(1).tolist() == pytest.approx([4, 0.9 * 2 + 0.6 + 0.8, 3])


@pytest.mark.parametrize("classes", [2, 5])
def test_honest_probabilities_have_no_error(classes: int) -> None:
    p, labels = drawn(classes)
    found = reliability(p, labels)
    assert found.error < 0.01
    assert found.class_error < 0.01
    assert found.scores().keys() <= DEFINITIONS.keys()
    assert definition_of("expected_calibration_error").better == "lower"


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("sharpness", [0.5, 2.0, 3.0])
def test_the_temperature_undoes_sharpness(classes: int, sharpness: float) -> None:
    p, labels = drawn(classes, sharpness=sharpness)
    pooled = pool_confidence([ImageConfidence(reliability(p, labels), some_pixels(p, labels))])
    assert pooled.temperature == pytest.approx(sharpness, rel=0.06)
    assert pooled.calibrated.error < 0.02 < pooled.reliability.error
    assert pooled.as_dict()["temperature"] == pooled.temperature


def test_counts_of_images_add_up_to_those_of_all() -> None:
    p, labels = drawn(3, 64)
    halves = reliability(p[:, :32], labels[:32]) + reliability(p[:, 32:], labels[32:])
    whole = reliability(p, labels)
    np.testing.assert_allclose(halves.top, whole.top)
    np.testing.assert_allclose(halves.classes, whole.classes)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 10), st.integers(2, 6), st.integers(0, 10_000))
def test_no_temperature_changes_the_most_probable_class(temperature: float, classes: int, seed: int) -> None:
    p = softmax(np.random.default_rng(seed).normal(0, 2, (classes, 6, 6)))
    pixels = Pixels(np.log(p.reshape(classes, -1)).astype(np.float32), np.zeros(36, np.int64))
    hot = heated(pixels, temperature)
    np.testing.assert_allclose(hot.sum(0), 1, rtol=1e-5)
    top = np.sort(p.reshape(classes, -1), 0)
    clear = top[-1] - top[-2] > 1e-4
    assert np.array_equal(hot.argmax(0)[clear], p.reshape(classes, -1).argmax(0)[clear])


def test_a_border_counts_to_its_object() -> None:
    logits = np.log(np.array([[0.2], [0.3], [0.1], [0.4]]))
    found = heated(Pixels(logits.astype(np.float32), np.zeros(1, np.int64), border=True), 1.0)
    np.testing.assert_allclose(found[:, 0], [0.2, 0.7, 0.1], rtol=1e-5)


def test_of_a_large_image_some_pixels_are_drawn_the_same_each_time() -> None:
    p, labels = drawn(2, 300)
    first, second = some_pixels(p, labels), some_pixels(p, labels)
    assert first.logs_KN.shape == (2, 20_000)
    np.testing.assert_array_equal(first.labels_N, second.labels_N)
    assert fit_temperature(first) == fit_temperature(second)
