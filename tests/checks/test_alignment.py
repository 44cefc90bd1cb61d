"""Labels that lie misaligned are found, those that lie well are not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unetkit.checks.alignment import AS_IT_IS, SYMMETRIES, Correction, agreement
from unetkit.data import Sample, open_dataset
from unetkit.data.layouts.synthetic import open_sample
from unetkit.data.targets import instances_of

UNDO = {
    "turned by 90 degrees anticlockwise": "turned by 90 degrees clockwise",
    "turned by 90 degrees clockwise": "turned by 90 degrees anticlockwise",
}
SAMPLE = open_sample(slices=3, size=160)
PIXELS = SAMPLE[1].pixels
LABELS = SAMPLE[1].labels
assert LABELS is not None


def test_labels_that_lie_well() -> None:
    for index in range(len(SAMPLE)):
        sample = SAMPLE[index]
        assert sample.labels is not None
        found = agreement(sample.pixels, sample.labels)
        assert found is not None
        assert found.fits
        assert found.correction is None


@settings(max_examples=25, deadline=None)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_a_shift_is_found_and_measured(down: int, right: int) -> None:
    assert LABELS is not None
    found = agreement(PIXELS, Correction(AS_IT_IS, down, right).apply(LABELS))
    assert found is not None
    if np.hypot(down, right) < 2:
        assert found.correction is None
    if np.hypot(down, right) >= 4.5:
        assert found.correction is not None
        assert found.correction.symmetry == AS_IT_IS
        assert np.hypot(found.correction.down + down, found.correction.right + right) < 2


@pytest.mark.parametrize("symmetry", list(SYMMETRIES)[1:])
def test_a_flip_or_turn_is_found_and_named(symmetry: str) -> None:
    assert LABELS is not None
    found = agreement(PIXELS, Correction(symmetry).apply(LABELS))
    assert found is not None
    assert found.correction is not None
    assert found.correction.symmetry == UNDO.get(symmetry, symmetry)
    assert np.hypot(found.correction.down, found.correction.right) < 2


def test_large_images_are_judged_by_their_middle() -> None:
    large, regions = (np.kron(values, np.ones((12, 12), values.dtype)) for values in (PIXELS[0], LABELS))
    found, shifted = (agreement(large[None], labels) for labels in (regions, np.roll(regions, 48, 0)))
    assert found is not None
    assert found.fits
    assert shifted is not None
    assert shifted.correction is not None
    assert abs(shifted.correction.down + 48) <= 6


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (PIXELS, np.zeros((160, 160), np.uint8)),
        (np.zeros((1, 160, 160), np.uint8), LABELS),
        (PIXELS[:, :12, :12], np.eye(12, dtype=np.uint8)),
    ],
    ids=["no borders", "no edges", "too small"],
)
def test_what_cannot_be_judged(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    assert agreement(pixels, labels) is None


def test_labels_of_another_image_fit_nowhere() -> None:
    other = open_sample(seed=9, slices=1, size=160)[0].labels
    assert other is not None
    found = agreement(PIXELS, other)
    assert found is not None
    assert not found.fits
    assert found.correction is None


def test_outlines_drawn_too_wide_are_no_shift() -> None:
    y, x = np.mgrid[:128, :128]
    rng = np.random.default_rng(0)
    centres = rng.uniform(12, 116, (14, 2))
    near = np.min([np.hypot(y - row, x - column) for row, column in centres], axis=0)
    pixels = (200 / (1 + np.exp(near - 6)) + rng.normal(0, 4, near.shape)).clip(0, 255).astype(np.uint8)
    found = agreement(pixels[None], (near < 10).astype(np.uint8))
    assert found is not None
    assert found.correction is None


@given(st.sampled_from(list(SYMMETRIES)), st.integers(-3, 3), st.integers(-3, 3))
def test_a_correction_moves_what_it_says(symmetry: str, down: int, right: int) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 1
    moved = Correction(symmetry, down, right).apply(labels)
    assert np.argwhere(moved).tolist() == [[4 + down, 4 + right]]


def test_a_correction_in_words() -> None:
    assert str(Correction(AS_IT_IS, 5, -3)) == "moved 5 px down and 3 px to the left"
    assert str(Correction("mirrored top to bottom", 0, 4)) == "mirrored top to bottom and moved 4 px to the right"
    assert str(Correction()) == AS_IT_IS


def _flagged(sample: Sample, correction: Correction) -> bool:
    found = agreement(sample.pixels, correction.apply(instances_of(sample)))
    return found is not None and found.correction is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "every", "hits"), [("isbi2012", 5, 1.0), ("dsb2018/stage1_train.zip", 20, 0.9)], ids=["isbi", "nuclei"]
)
def test_on_real_data_nothing_is_flagged_but_what_was_planted(shared: Path, data: str, every: int, hits: float) -> None:
    dataset = open_dataset(shared / "data" / data)
    samples = [dataset[index] for index in range(0, len(dataset), every)]
    assert not any(_flagged(sample, Correction()) for sample in samples)
    for planted in (Correction(AS_IT_IS, 4, 3), Correction("mirrored left to right")):
        assert np.mean([_flagged(sample, planted) for sample in samples]) >= hits
