"""Which images of a set are alike: the same pixels, the same view stored or taken anew, or a turned copy of it.

Every image becomes a thumbnail of 64 x 64 grey means: its perceptual hash. Pairs whose coarse thumbnails correlate, in
any of the eight flips and turns, are candidates; a pair is alike when the fine ones correlate too, at the best shift
between them. Brightness, contrast, compression, noise and a drift of some pixels do not hide a pair. Crops of one
larger image that overlap in a part of it are not found.

Legend of shapes: N images, F features.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from unetkit.doctor.alignment import SYMMETRIES

Floats = NDArray[np.float32]

ALIKE = 0.7
"""Correlation from which two images are near-duplicates; neighbouring ISBI sections reach 0.5."""

_SIDE, _COARSE = 64, 16
_CANDIDATE = 0.6
_MOST_TURNED = 5_000  # larger sets are not searched for turned copies: eight times the work
_BLOCK = 1_000


def thumbnail(pixels: NDArray[Any]) -> NDArray[np.float16]:
    """Return the grey means [64, 64] of pixels [C, H, W], from 0 for their lowest to 1 for their highest."""
    from PIL import Image

    grey = pixels[0] if len(pixels) == 1 else pixels.mean(0, dtype=np.float32)
    small = np.asarray(Image.fromarray(grey.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    low, high = float(small.min()), float(small.max())
    return ((small - low) / max(high - low, 1e-12)).astype(np.float16)


def coarse_likeness(thumbnails: Sequence[NDArray[Any]]) -> Floats:
    """Return the correlations [N-1] of each thumbnail with the next one, seen coarsely."""
    features_NF = _coarse(thumbnails)
    return np.einsum("nf,nf->n", features_NF[:-1], features_NF[1:])


def alike(thumbnails: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs (first, second, correlation) of images that are near-duplicates, by their thumbnails."""
    features_NF = _coarse(thumbnails)
    turns = SYMMETRIES if len(thumbnails) <= _MOST_TURNED else dict(list(SYMMETRIES.items())[:1])
    seen: set[tuple[int, int]] = set()
    for turn in turns.values():
        turned_NF = _coarse([turn(one) for one in thumbnails])
        for first, second in _candidates(features_NF, turned_NF):
            if (first, second) in seen:
                continue
            likeness = _fine_likeness(thumbnails[first], turn(thumbnails[second]))
            if likeness >= ALIKE:
                seen.add((first, second))
                yield first, second, likeness


def _candidates(features_NF: Floats, turned_NF: Floats) -> Iterator[tuple[int, int]]:
    for start in range(0, len(features_NF), _BLOCK):
        likeness = features_NF[start : start + _BLOCK] @ turned_NF.T
        for row, column in np.argwhere(likeness >= _CANDIDATE):
            if start + row < column:
                yield start + int(row), int(column)


def _coarse(thumbnails: Sequence[NDArray[Any]]) -> Floats:
    step = _SIDE // _COARSE
    blocks = np.stack(thumbnails).astype(np.float32).reshape(-1, _COARSE, step, _COARSE, step).mean((2, 4))
    return _details(blocks, 4).reshape(len(blocks), -1)


def _fine_likeness(first: NDArray[Any], second: NDArray[Any]) -> float:
    one: Floats = _details(first[None].astype(np.float32), 6)[0]
    other: Floats = _details(second[None].astype(np.float32), 6)[0]
    return float(fft.irfft2(fft.rfft2(one) * np.conj(fft.rfft2(other)), s=first.shape).astype(np.float32).max())


def _details(values: Floats, reach: float) -> Floats:
    """Return values [N, H, W] against their surroundings, of mean 0 and norm 1: uneven light is no likeness."""
    around: Floats = ndimage.gaussian_filter(values, (0, reach, reach))
    details = values - around
    details -= details.mean((1, 2), keepdims=True)
    return details / np.sqrt(np.square(details).sum((1, 2), keepdims=True)).clip(1e-6)
