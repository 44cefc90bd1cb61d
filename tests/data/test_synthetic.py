from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, label

from unetkit.data import open_dataset, open_images, write_sample
from unetkit.data.layouts.synthetic import SampleStack, generate
from unetkit.errors import StorageError


@pytest.fixture(scope="module")
def stack() -> SampleStack:
    return generate(slices=12, size=256)


def test_the_seed_decides_everything() -> None:
    first, again, other = generate(slices=2, size=64), generate(slices=2, size=64), generate(seed=1, slices=2, size=64)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).mean() > 0.1


@settings(max_examples=15, deadline=None)
@given(slices=st.integers(1, 4), size=st.integers(16, 97), seed=st.integers(0, 1000))
def test_any_size_is_generated(slices: int, size: int, seed: int) -> None:
    stack = generate(seed=seed, slices=slices, size=size)
    assert stack.images.shape == stack.labels.shape == (slices, size, size)
    assert stack.images.dtype == stack.labels.dtype == np.uint8
    assert set(np.unique(stack.labels)) <= {0, 255}


def test_membranes_are_dark_and_take_about_a_fifth(stack: SampleStack) -> None:
    membrane = stack.labels == 0
    assert 0.1 < membrane.mean() < 0.3
    middle = np.stack([binary_erosion(slice_) for slice_ in membrane])
    assert stack.images[middle].mean() < stack.images[~membrane].mean() - 40


def test_brightness_alone_does_not_tell_membranes(stack: SampleStack) -> None:
    membrane = stack.labels == 0
    best = max(np.mean((stack.images < threshold) == membrane) for threshold in range(40, 200, 10))
    assert best < 0.93


def test_cells_are_regions_of_different_sizes(stack: SampleStack) -> None:
    regions, count = label(stack.labels[0] == 255)
    sizes = np.sort(np.bincount(regions.ravel())[1:])[::-1]
    assert count > 20
    assert sizes[0] > 4 * np.median(sizes)


def test_neighbouring_slices_are_continuous(stack: SampleStack) -> None:
    near = np.mean(stack.labels[1:] != stack.labels[:-1])
    far = np.mean(stack.labels[6:] != stack.labels[:-6])
    assert near < 0.16
    assert near < 0.6 * far


def test_the_light_is_uneven(stack: SampleStack) -> None:
    brightness = stack.images.reshape(12, 4, 64, 4, 64).mean(axis=(2, 4))
    assert np.ptp(brightness, axis=(1, 2)).min() > 8


def test_it_is_written_in_the_form_of_the_challenge(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "new" / "folder", seed=3, slices=5, size=64)
    assert sorted(path.name for path in folder.iterdir()) == [
        "test-volume.tif",
        "train-labels.tif",
        "train-volume.tif",
    ]
    expected = generate(seed=3, slices=5, size=64)
    np.testing.assert_array_equal(tifffile.imread(folder / "train-volume.tif"), expected.images)
    np.testing.assert_array_equal(tifffile.imread(folder / "train-labels.tif"), expected.labels)
    dataset = open_dataset(folder)
    np.testing.assert_array_equal(dataset[4].labels, expected.labels[4] // 255)
    assert len(open_images(folder)) == 5


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written \(Not a directory\); a part of this path is a file"):
        write_sample(tmp_path / "file" / "below")
