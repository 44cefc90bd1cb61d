"""What is known of one image after a single look at it: everything that the checks need, a few kilobytes.

Does not judge. An image is looked at once and let go, so that a set of any size can be examined.

Legend of shapes: C channels, H height, W width, K classes.

Which images of a set are alike: the same pixels, the same view stored or taken anew, or a turned copy of it.

Every image becomes a thumbnail of 64 x 64 grey means: its perceptual hash. Pairs whose coarse thumbnails correlate, in
any of the eight flips and turns, are candidates; a pair is alike when the fine ones correlate too, at the best shift
between them. Brightness, contrast, compression, noise and a drift of some pixels do not hide a pair. Crops of one
larger image that overlap in a part of it are not found.

Legend of shapes: N images, F features.

The groups of images of a set that are alike, and where an image lies in its stack.

Sections near each other in a stack look alike by nature: they are duplicates only where their pixels are the same.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from unetkit.checks.alignment import SYMMETRIES, Agreement, agreement
from unetkit.data.dataset import Sample
from unetkit.data.split import stack_of
from unetkit.data.targets import instances_of

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


SPECK = 3
"""Pixels of the largest region that is called a speck."""

_RIM = 5  # px: a class between two others on as little is a rim


@dataclass(frozen=True, slots=True)
class Grey:
    """The stored values of an image: their range and spread.

    Attributes:
        low: the lowest.
        high: the highest.
        mean: over pixels and channels.
        deviation: standard deviation over the same.
        levels: how many different values occur; None for float images.
        at_top: share of the values that are the highest one.
    """

    low: float
    high: float
    mean: float
    deviation: float
    levels: int | None
    at_top: float


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of an image: those that the data tells apart, else the connected regions of its classes.

    Attributes:
        areas: pixels of each.
        specks: how many have at most `SPECK` pixels, and are not cut off by the image's border.
        touching: how many touch another one; None where regions of a class were taken for objects.
    """

    areas: NDArray[np.int64]
    specks: int
    touching: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One image in numbers; what needs a closer look is None without one.

    Attributes:
        index: of the sample in its data set.
        name: of the sample.
        source: the file and page, for messages.
        shape: (C, H, W).
        dtype: of the pixels.
        grey: their values.
        class_counts: pixels of each class; None without labels.
        between: pixels of each class that have both a lower and a higher class within 2 px; empty where labels are
            drawn from objects.
        digest: checksum of the pixels.
        thumbnail: [64, 64] grey means.
        objects: what the labels hold.
        agreement: of labels and edges; None where there is nothing to measure.
    """

    index: int
    name: str
    source: str
    shape: tuple[int, int, int]
    dtype: str
    grey: Grey
    class_counts: tuple[int, ...] | None
    between: tuple[int, ...] = ()
    digest: bytes | None = None
    thumbnail: NDArray[np.float16] | None = None
    objects: Objects | None = None
    agreement: Agreement | None = None

    @property
    def classes(self) -> frozenset[int]:
        """The classes that occur."""
        return frozenset(np.flatnonzero(self.class_counts or ()).tolist())


def look(index: int, sample: Sample, *, classes: int, closely: bool, align: bool) -> Facts:
    """Look at a sample.

    Args:
        index: of the sample in its data set.
        sample: the image and its labels.
        classes: how many there are.
        closely: look at likeness and objects, too.
        align: compare labels and edges, too, which takes the longest.
    """
    pixels, labels = sample.pixels, sample.labels
    counts = None if labels is None else tuple(np.bincount(labels.ravel(), minlength=classes).tolist())
    height, width = pixels.shape[1:]
    shape = (len(pixels), height, width)
    facts = Facts(index, sample.name, where(sample), shape, str(pixels.dtype), _grey(pixels), counts)
    if not closely:
        return facts
    regions = labels if sample.instances is None else sample.instances
    return replace(
        facts,
        between=() if labels is None or sample.instances is not None else _between(labels, classes),
        digest=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest(),
        thumbnail=thumbnail(pixels),
        objects=None if labels is None else _objects(sample),
        agreement=agreement(pixels, regions) if align and regions is not None else None,
    )


def names(images: Sequence[Facts]) -> tuple[str, ...]:
    """Return the names of images."""
    return tuple(one.name for one in images)


def files(images: Sequence[Facts]) -> str:
    """Name the file of the first image, and how many more there are."""
    return images[0].source + (f" and {len(images) - 1} more" if len(images) > 1 else "")


def where(sample: Sample) -> str:
    """Name the file of a sample, and its page where it is one of several."""
    page = sample.name.rpartition("[")[2] if sample.name.endswith("]") else ""
    return f"{sample.source or sample.name} page {page[:-1]}" if page else sample.source or sample.name


def _grey(pixels: NDArray[Any]) -> Grey:
    if pixels.dtype.kind != "u":
        high = float(pixels.max())
        mean, deviation = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
        at_top = np.count_nonzero(pixels == high) / pixels.size
        return Grey(float(pixels.min()), high, mean, deviation, None, at_top)
    counts = np.bincount(pixels.ravel())
    values = np.flatnonzero(counts)
    shares = counts[values] / pixels.size
    mean = float(np.dot(values, shares))
    deviation = float(np.dot((values - mean) ** 2, shares)) ** 0.5
    return Grey(float(values[0]), float(values[-1]), mean, deviation, len(values), float(shares[-1]))


def _between(labels: NDArray[Any], classes: int) -> tuple[int, ...]:
    if classes < 3:
        return ()
    lowest, highest = ndimage.minimum_filter(labels, _RIM), ndimage.maximum_filter(labels, _RIM)
    inside = labels[(lowest < labels) & (labels < highest)]
    return tuple(np.bincount(inside, minlength=classes).tolist())


def _objects(sample: Sample) -> Objects:
    ids = instances_of(sample)
    areas = np.bincount(ids.ravel())
    small = (areas > 0) & (areas <= SPECK)
    small[0] = False
    for border in (ids[0], ids[-1], ids[:, 0], ids[:, -1]):
        small[border] = False
    return Objects(areas[1:][areas[1:] > 0], int(small.sum()), None if sample.instances is None else _touching(ids))


def _touching(instances: NDArray[np.int32]) -> int:
    """Return how many objects share an edge of a pixel with another one."""
    found = [
        np.stack([one[meeting], other[meeting]])
        for one, other in ((instances[1:], instances[:-1]), (instances[:, 1:], instances[:, :-1]))
        if (meeting := (one != other) & (one > 0) & (other > 0)).any()
    ]
    return len(np.unique(np.concatenate(found, 1))) if found else 0


_NEAR = 2


@dataclass(frozen=True, slots=True)
class Twins:
    """Images that are alike.

    Attributes:
        images: in the order of the set.
        likeness: the lowest correlation of a pair that joins them.
        same: all have the same pixels.
    """

    images: tuple[Facts, ...]
    likeness: float
    same: bool


def twins_among(facts: Sequence[Facts]) -> Iterator[Twins]:
    """Yield the groups of images that are alike."""
    known = [one for one in facts if one.thumbnail is not None]
    thumbnails = [one.thumbnail for one in known if one.thumbnail is not None]
    pairs = [
        pair
        for pair in (alike(thumbnails) if len(known) > 1 else ())
        if known[pair[0]].digest == known[pair[1]].digest or not _near(known[pair[0]], known[pair[1]])
    ]
    for group in _joined([(first, second) for first, second, _ in pairs]):
        images = tuple(known[place] for place in group)
        likeness = min(value for first, _, value in pairs if first in group)
        yield Twins(images, likeness, len({one.digest for one in images}) == 1)


def page_of(one: Facts) -> tuple[str, int] | None:
    """Return the stack of an image and its place in it; None for an image by itself."""
    stack = stack_of(one.name)
    place = one.name[len(stack) + 1 : -1]
    return (stack, int(place)) if place.isdigit() else None


def _near(one: Facts, other: Facts) -> bool:
    here, there = page_of(one), page_of(other)
    return here is not None and there is not None and here[0] == there[0] and abs(here[1] - there[1]) <= _NEAR


def _joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the groups that the pairs join, each in order."""
    groups: list[set[int]] = []
    for pair in pairs:
        meeting = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in meeting] + [set(pair).union(*meeting)]
    return sorted(sorted(group) for group in groups)
