"""Resizing as the older systems did it: against PyTorch, and against formulas written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unetkit.config import Resize
from unetkit.data.dataset import Sample
from unetkit.data.resize import resize, resize_indices, resize_labels, resize_pixels, resize_sample, resized

sides = st.integers(1, 12)
KINDS: tuple[Resize, ...] = ("half-pixel", "asymmetric")


def _image(height: int, width: int, channels: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(channels, height, width, generator=generator) * 2 - 1


@settings(deadline=None)
@given(sides, sides, sides, sides)
def test_half_pixel_is_pytorchs(height: int, width: int, rows: int, columns: int) -> None:
    image = _image(height, width)
    expected = F.interpolate(image[None], size=(rows, columns), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resize(image, (rows, columns), "half-pixel"), expected, atol=1e-5, rtol=0)


@given(sides, sides, sides, sides)
def test_asymmetric_takes_source_as_target_times_scale(height: int, width: int, rows: int, columns: int) -> None:
    image = _image(height, width, 1)
    found = resize(image, (rows, columns), "asymmetric")[0].numpy()
    pixels = image[0].numpy().astype(np.float64)
    for row in range(rows):
        for column in range(columns):
            y, x = row * height / rows, column * width / columns
            top, left = int(y + 1e-4), int(x + 1e-4)  # a whole place may come out a rounding below it
            down, right = min(top + 1, height - 1), min(left + 1, width - 1)
            v, u = max(0.0, y - top), max(0.0, x - left)
            upper = pixels[top, left] * (1 - u) + pixels[top, right] * u
            lower = pixels[down, left] * (1 - u) + pixels[down, right] * u
            assert found[row, column] == pytest.approx(upper * (1 - v) + lower * v, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@given(sides, sides)
def test_its_own_size_changes_nothing(kind: Resize, height: int, width: int) -> None:
    image = _image(height, width)
    assert torch.equal(resize(image, (height, width), kind), image)


def _halved(kind: Resize) -> NDArray[np.uint8]:
    return resize_labels(np.array([[0, 1, 1, 1], [0, 1, 1, 0]], np.uint8), (1, 2), kind, classes=2)


def test_two_classes_are_cut_at_one_half_which_only_asymmetric_counts_in() -> None:
    # Half-pixel: shares (0+1+0+1)/4 = 0.5 and (1+1+1+0)/4; asymmetric looks at the upper left pixel of each four.
    assert _halved("half-pixel").tolist() == [[0, 1]]
    assert _halved("asymmetric").tolist() == [[0, 1]]
    half = np.array([[0, 1]], np.uint8)
    assert resize_labels(half, (1, 4), "asymmetric", classes=2).tolist() == [[0, 1, 1, 1]]
    assert resize_labels(half, (1, 4), "half-pixel", classes=2).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(("kind", "mode"), [("half-pixel", "nearest-exact"), ("asymmetric", "nearest")])
@given(sides, sides, sides, sides)
def test_more_classes_and_object_ids_are_those_of_the_nearest_pixel(
    kind: Resize, mode: str, height: int, width: int, rows: int, columns: int
) -> None:
    numbers = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    expected = F.interpolate(torch.from_numpy(numbers.astype(np.float32))[None, None], size=(rows, columns), mode=mode)
    assert resize_indices(numbers, (rows, columns), kind).tolist() == expected[0, 0].int().tolist()
    assert np.array_equal(resize_labels(numbers, (rows, columns), kind, classes=3), expected[0, 0].numpy())


def test_a_data_set_is_resized_as_a_whole_in_the_units_of_its_files() -> None:
    pixels = np.arange(48, dtype=np.uint16).reshape(1, 6, 8)
    sample = Sample("a", pixels, (pixels[0] % 2).astype(np.uint8), (pixels[0] // 16).astype(np.int32), "a.tif")

    class One:
        classes = ("no", "yes")

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int, /) -> Sample:
            return [sample][index]

    whole = resized(One(), (3, 4), "half-pixel")
    small = whole[0]
    assert (whole.classes, len(whole), small.name, small.source) == (("no", "yes"), 1, "a", "a.tif")
    assert small.pixels.dtype == np.float32
    assert np.array_equal(small.pixels[0], pixels[0].reshape(3, 2, 4, 2).mean((1, 3)))
    assert small.labels is not None
    assert small.instances is not None
    assert (small.labels.shape, small.labels.dtype) == ((3, 4), np.uint8)
    assert (small.instances.shape, small.instances.dtype) == ((3, 4), np.int32)
    assert np.array_equal(small.pixels, resize_pixels(pixels, (3, 4), "half-pixel"))
    assert resize_sample(Sample("b", pixels), (2, 2), "asymmetric", classes=2).labels is None
