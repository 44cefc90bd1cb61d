"""Sampling at any coordinates: exact on the grid, bilinear between, mirrored or zero beyond the border."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from unetkit.config import PaddingMode
from unetkit.data.dataset import InMemory, Sample
from unetkit.data.normalize import Normalization
from unetkit.training.patches import PixelStore


def _store(
    shapes: list[tuple[int, int]], channels: int = 1, padding_mode: PaddingMode = "reflect"
) -> tuple[PixelStore, tuple[Sample, ...]]:
    rng = np.random.default_rng(0)
    samples = tuple(
        Sample(
            name=f"s{index}",
            pixels=rng.integers(0, 256, (channels, *shape), dtype=np.uint8),
            labels=rng.integers(0, 3, shape, dtype=np.uint8),
        )
        for index, shape in enumerate(shapes)
    )
    normalization = Normalization((0.0,) * channels, (1.0,) * channels)
    dataset = InMemory(samples, ("background", "a", "b"))
    return PixelStore.of(dataset, normalization, torch.device("cpu"), padding_mode=padding_mode), samples


shapes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)


@given(shapes, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_coordinates_between_pixels_are_bilinear_with_mirrored_borders(
    sizes: list[tuple[int, int]], channels: int, seed: int
) -> None:
    store, samples = _store(sizes, channels)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, len(sizes), 3)
    grid = rng.uniform(-25, 25, (3, 2, 4, 4)).astype(np.float32)
    found = store.sample(torch.from_numpy(image), torch.from_numpy(grid))
    for index, source in enumerate(image):
        for channel in range(channels):
            pixels = samples[source].pixels[channel].astype(np.float64)
            expected = ndimage.map_coordinates(pixels, grid[index].astype(np.float64), order=1, mode="mirror")
            np.testing.assert_allclose(found[index, channel].numpy(), expected, atol=2e-2)


@given(shapes, st.integers(0, 2**32 - 1))
def test_whole_coordinates_give_stored_pixels_and_labels(sizes: list[tuple[int, int]], seed: int) -> None:
    store, samples = _store(sizes)
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, len(sizes), 5))
    rows, columns = rng.integers(0, 9, (2, 5, 3, 3))
    rows %= store.height[image].numpy()[:, None, None]
    columns %= store.width[image].numpy()[:, None, None]
    grid = torch.from_numpy(np.stack((rows, columns), 1).astype(np.float32))
    pixels, between, labels = (
        store.sample_nearest(image, grid),
        store.sample(image, grid),
        store.targets_at(image, grid)[0],
    )
    for index, source in enumerate(image.tolist()):
        assert np.array_equal(pixels[index, 0].numpy(), samples[source].pixels[0, rows[index], columns[index]])
        assert np.array_equal(between[index, 0].numpy(), samples[source].pixels[0, rows[index], columns[index]])
        assert np.array_equal(labels[index].numpy(), samples[source].labels[rows[index], columns[index]])


@given(shapes, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_zeros_lie_beyond_the_border_and_are_of_class_0(sizes: list[tuple[int, int]], channels: int, seed: int) -> None:
    store, samples = _store(sizes, channels, padding_mode="zeros")
    rng = np.random.default_rng(seed)
    image = rng.integers(0, len(sizes), 3)
    grid = rng.uniform(-25, 25, (3, 2, 4, 4)).astype(np.float32)
    found = store.sample(torch.from_numpy(image), torch.from_numpy(grid))
    labels = store.targets_at(torch.from_numpy(image), torch.from_numpy(grid))[0]
    for index, source in enumerate(image):
        padded = np.pad(samples[source].pixels.astype(np.float64), ((0, 0), (40, 40), (40, 40)))
        there = grid[index].astype(np.float64) + 40
        for channel in range(channels):
            expected = ndimage.map_coordinates(padded[channel], there, order=1)
            np.testing.assert_allclose(found[index, channel].numpy(), expected, atol=2e-2)
        rows, columns = np.round(grid[index]).astype(int) + 40
        assert np.array_equal(labels[index].numpy(), np.pad(samples[source].labels, 40)[rows, columns])
