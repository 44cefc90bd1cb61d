"""Which images of a set are alike: the same pixels, or one picture re-encoded, brightened, flipped, turned or cropped.

Of each image a thumbnail stays, reduced by a power of two, so that a crop is a shift. What all thumbnails of a set
share (the disc of a retina, the ground around a cell) is taken away, and of what is left only the phases of its waves
count: every structure counts alike, whatever its contrast. Pictures that are alike then correlate at one shift, in one
of the eight flips and turns; others correlate by chance. Candidates are the images whose power spectra, which know no
shift, are nearest. Sections near each other in a stack look alike by nature: they are duplicates only where their
pixels are the same. Does not find copies that were enlarged by other factors than two.

Legend of shapes: H height, W width, N images, Q rows and columns of a spectrum, F features.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from unetkit.checks.alignment import SYMMETRIES, reduced

Floats = NDArray[np.float32]

ALIKE = 0.8
"""Correlation, where they overlap, from which two images are near-duplicates: see the table in docs/data-check.md."""

_SIDE, _GRID = 90, 96  # of a thumbnail at most, and of its spectrum; 90: crops of 128, 256, 512 px have the same scale
_BAND = 28  # waves: 0.3 of a period a pixel; finer ones are noise and compression
_ALIKE = 0.5  # share of all waves that agree in phase; unrelated images reach 0.4, simple ones 0.6
_CANDIDATES = 4
_CLOSE = 0.15  # correlation of the power spectra from which a candidate is looked at
_CHANCE = 8.0  # standard deviations: small images correlate more by chance
_COMMON = 4  # images from which it can be told what they share


def thumbnail(pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[np.float16]:
    """Return the details [h, w] of the grey means of pixels [C, H, W]: against their surroundings, deviation 1.

    Args:
        pixels: an image.
        valid: the pixels [H, W] that count; others are filled with their mean.
    """
    factor = 1
    while max(pixels.shape[1:]) > _SIDE * factor:
        factor *= 2
    small = reduced(pixels, min(factor, *pixels.shape[1:])).mean(0)
    if valid is not None:
        counts = reduced(valid[None].astype(np.float32), factor)[0] > 0.99
        small = np.where(counts, small, small[counts].mean() if counts.any() else 0)
    details: Floats = small - ndimage.gaussian_filter(small, 4)
    return (details / max(float(details.std()), 1e-6)).clip(-4, 4).astype(np.float16)


def similar_pairs(thumbnails: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs (first, second, correlation) of images that are near-duplicates, by their thumbnails."""
    found = {(first, second): similarity for first, second, similarity in _pairs_of_one_scale(thumbnails)}
    # A crop may have been reduced by half as much as the whole: large thumbnails are halved for small ones.
    halves = [reduced(one[None], 2)[0] if max(one.shape) > _SIDE * 2 // 3 else one for one in thumbnails]
    halved = [half is not one for half, one in zip(halves, thumbnails, strict=True)]
    if len(set(halved)) == 2:
        for first, second, similarity in _pairs_of_one_scale(halves):
            if halved[first] != halved[second]:
                found.setdefault((first, second), similarity)
    for (first, second), similarity in found.items():
        yield first, second, similarity


def _pairs_of_one_scale(thumbnails: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int, float]]:
    if len(thumbnails) < 2:
        return
    spectra_NQQ = _spectra(thumbnails)
    phases_NQQ = spectra_NQQ / np.abs(spectra_NQQ).clip(1e-12)
    phases_NQQ[:, _BAND, _BAND] = 0
    waves = (2 * _BAND + 1) ** 2 - 1
    size = np.array([one.size for one in thumbnails])
    limits = np.maximum(_ALIKE, _CHANCE / np.sqrt(size * np.pi * (_BAND / _GRID) ** 2))
    for (first, second), turns in sorted(_nearest(spectra_NQQ).items()):
        for turn in turns:
            agreement = phases_NQQ[first] * np.conj(turn(phases_NQQ[second]))
            grid = np.zeros((_GRID, _BAND + 1), np.complex64)
            grid[: _BAND + 1], grid[-_BAND:] = agreement[_BAND:, _BAND:], agreement[:_BAND, _BAND:]
            correlated: Floats = fft.irfft2(grid, s=(_GRID, _GRID))
            peaks = correlated * np.float32(_GRID**2 / waves)
            if peaks.max() < max(limits[first], limits[second]):
                continue
            shift = np.unravel_index(int(peaks.argmax()), peaks.shape)
            down, right = ((int(place) + _GRID // 2) % _GRID - _GRID // 2 for place in shift)
            similarity = _correlation(thumbnails[first], turn(thumbnails[second]), down, right)
            if similarity >= ALIKE:
                yield first, second, similarity
                break


def _correlation(one: NDArray[Any], other: NDArray[Any], down: int, right: int) -> float:
    """Return the correlation of two thumbnails where they overlap, the other one moved to within 2 px of a place."""
    one, other = (ndimage.gaussian_filter(image.astype(np.float32), 1) for image in (one, other))
    best = 0.0
    for moved in product(range(down - 2, down + 3), range(right - 2, right + 3)):
        parts: list[Floats] = []
        for image, model, sign in ((one, other, 1), (other, one, -1)):
            windows: list[slice] = []
            for side, its, move in zip(image.shape, model.shape, moved, strict=True):
                offset = sign * move + (_GRID - its) // 2 - (_GRID - side) // 2  # both lie in the middle of the grid
                windows.append(slice(max(0, offset), max(0, min(side, its + offset))))
            parts.append(image[tuple(windows)])
        first, second = (part - part.mean() for part in parts) if parts[0].size else parts
        best = max(
            best, float(np.vdot(first, second)) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-6)
        )
    return best


def similarity_to_next(thumbnails: Sequence[NDArray[Any]]) -> Floats:
    """Return the correlations [N-1] of each thumbnail with the next one of its size, seen coarsely; 0 for others."""
    coarse = [ndimage.gaussian_filter(one.astype(np.float32), 4) for one in thumbnails]
    return np.array(
        [
            float(_normalised(one[None])[0] @ _normalised(other[None])[0]) if one.shape == other.shape else 0.0
            for one, other in pairwise(coarse)
        ],
        np.float32,
    )


def _spectra(thumbnails: Sequence[NDArray[Any]]) -> NDArray[np.complex64]:
    """Return the waves [N, Q, Q] of thumbnails without what they share, the longest in the middle."""
    framed = np.zeros((len(thumbnails), _GRID, _GRID), np.float32)
    for frame, one in zip(framed, thumbnails, strict=True):
        height, width = one.shape
        window = np.sqrt(np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]))
        top, left = (_GRID - height) // 2, (_GRID - width) // 2
        frame[top : top + height, left : left + width] = (one - one.mean(dtype=np.float32)) * window
    if len(framed) >= _COMMON:
        framed -= framed.mean(0)
    middle = slice(_GRID // 2 - _BAND, _GRID // 2 + _BAND + 1)
    spectra: NDArray[np.complex64] = fft.fft2(framed)
    return np.asarray(fft.fftshift(spectra, axes=(1, 2)))[:, middle, middle]


def _nearest(spectra_NQQ: NDArray[np.complex64]) -> dict[tuple[int, int], list[Any]]:
    """Return the pairs whose power spectra are nearest, with the flips and turns in which they are."""
    power_NQQ = np.log(np.abs(spectra_NQQ[:, ::2, ::2]) + 1e-3)
    power_NQQ -= power_NQQ.mean(0) if len(power_NQQ) >= _COMMON else power_NQQ.mean((1, 2), keepdims=True)
    found: defaultdict[tuple[int, int], list[Any]] = defaultdict(list)
    turns = list(SYMMETRIES.values())
    features_NF = _normalised(power_NQQ)
    # A power spectrum is the same after half a turn: four of the eight symmetries differ.
    for pair in ((turns[0], turns[3]), (turns[1], turns[2]), (turns[4], turns[5]), (turns[6], turns[7])):
        turned_NF = _normalised([pair[0](one) for one in power_NQQ])
        for start in range(0, len(features_NF), 1000):
            alike = features_NF[start : start + 1000] @ turned_NF.T
            rows = np.arange(len(alike))
            alike[rows, rows + start] = -1
            few = min(_CANDIDATES, len(features_NF) - 1)
            best = np.argpartition(alike, -few, 1)[:, -few:]
            for row, column in zip(np.repeat(rows, few), best.ravel(), strict=True):
                if alike[row, column] > _CLOSE:
                    first, second = sorted((int(row) + start, int(column)))
                    found[first, second] += [turn for turn in pair if turn not in found[first, second]]
    return found


def _normalised(values: Sequence[Floats] | Floats) -> Floats:
    """Return values [N, F] of mean 0 and norm 1."""
    flat = np.reshape(np.asarray(values), (len(values), -1))
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.sqrt(np.square(flat).sum(1, keepdims=True)).clip(1e-6)
