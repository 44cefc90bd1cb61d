"""Pixels as stored, made comparable: one shift and one factor a channel, found once and kept with the network.

Assumes finite pixels of one channel count. Does not know which samples are for training: the caller passes those.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetkit.data.dataset import Sample
from unetkit.errors import DataError

Kind = Literal["standardize", "minus-one-to-one", "zero-to-one", "none"]


@dataclass(frozen=True, slots=True)
class Normalization:
    """What is taken from the pixels and what they are divided by, for each channel, in stored units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, kind: Kind, samples: Iterable[Sample]) -> "Normalization":
        """Find the normalisation of a training set.

        `standardize` takes the mean and the standard deviation of each channel over all valid pixels of all samples; a
        channel that is constant is only shifted. The two fixed ranges map 0 and the highest value of the integer type
        to their ends (8 bits: x / 255 or x / 127.5 - 1); float images, which have no such value, use the range of all
        samples. `none` changes nothing.

        Raises:
            DataError: no samples, or samples with different numbers of channels or different types.
        """
        totals = _Totals.of(samples)
        channels, low, high = len(totals.mean), totals.low, totals.high
        if kind == "standardize":
            std = np.where(totals.std > 0, totals.std, 1.0)
            return cls(tuple(map(float, totals.mean)), tuple(map(float, std)))
        if np.issubdtype(totals.dtype, np.integer):
            low, high = 0.0, float(np.iinfo(totals.dtype).max)
        elif high <= low:
            high = low + 1.0
        mean, std = {
            "minus-one-to-one": ((low + high) / 2, (high - low) / 2),
            "zero-to-one": (low, high - low),
            "none": (0.0, 1.0),
        }[kind]
        return cls((mean,) * channels, (std,) * channels)

    def repeated(self, times: int) -> "Normalization":
        """Return the same for the channels of so many images one after the other."""
        return Normalization(self.mean * times, self.std * times)

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Return (pixels - mean) / std as float32; pixels is [C, H, W] with as many channels as were fitted.

        Raises:
            DataError: another number of channels.
        """
        self.require_channels(pixels)
        # The mean goes first: float images may have an offset that is large against their contrast.
        result = np.subtract(pixels, np.array(self.mean, np.float32)[:, None, None], dtype=np.float32)
        result /= np.array(self.std, np.float32)[:, None, None]
        return result

    def require_channels(self, pixels: NDArray[Any]) -> None:
        """Make sure that an image [C, H, W] has as many channels as were fitted.

        Raises:
            DataError: it has not.
        """
        if pixels.shape[0] != len(self.mean):
            raise DataError(
                f"an image has {pixels.shape[0]} channels, but the normalisation was found on images with "
                f"{len(self.mean)}; give images like those of the training"
            )


@dataclass(frozen=True, slots=True)
class _Totals:
    """Per-channel statistics over all valid pixels of all samples, and the type they are stored in."""

    dtype: np.dtype[Any]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "_Totals":
        # Each image's own mean and squared deviation are merged (Chan et al. 1979): summed squares would lose float
        # images whose offset is large against their contrast.
        count, low, high = 0, np.inf, -np.inf
        mean = deviation = np.zeros(0)
        first: Sample | None = None
        for sample in samples:
            first, pixels = first or sample, sample.pixels
            for what, expected, found in (
                ("channels", first.pixels.shape[0], pixels.shape[0]),
                ("values", first.pixels.dtype, pixels.dtype),
            ):
                if expected != found:
                    raise DataError(
                        f"{sample.source or sample.name}: has {found} {what}, but {first.source or first.name} has "
                        f"{expected}; all images of a set must be stored alike"
                    )
            if sample.valid is not None:
                pixels = pixels[:, sample.valid][:, None]
            size = pixels[0].size
            if not size:
                continue
            own_mean, own_deviation = _moments(pixels)
            if count == 0:
                mean, deviation = np.zeros_like(own_mean), np.zeros_like(own_deviation)
            delta = own_mean - mean
            mean = mean + delta * (size / (count + size))
            deviation = deviation + own_deviation + delta**2 * (count * size / (count + size))
            count += size
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        if first is None or not count:
            raise DataError("there is no image to find a normalisation on; at least one was expected")
        return cls(first.pixels.dtype, mean, np.sqrt(deviation / count), low, high)


def _moments(pixels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each channel's mean and summed squared deviation, exactly and without a float copy for 8 bits."""
    if pixels.dtype == np.uint8:
        counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels]).astype(np.float64)
        levels = np.arange(256.0)
        mean = counts @ levels / pixels[0].size
        return mean, (counts * (levels - mean[:, None]) ** 2).sum(axis=1)
    exact = pixels.astype(np.float64)
    mean = exact.mean(axis=(1, 2))
    return mean, ((exact - mean[:, None, None]) ** 2).sum(axis=(1, 2))
