"""What is known of one image after a single look at it, a few kilobytes; and which images of a set are alike.

An image is looked at once and let go, so that a set of any size can be examined. Of each a thumbnail of 64 x 64 grey
means stays: pairs whose coarse thumbnails correlate, in any of the eight flips and turns, are candidates, and a pair is
alike when the fine ones correlate too, at the best shift between them. Brightness, contrast, compression, noise and a
drift of some pixels do not hide a pair. Crops of one larger image that overlap in a part of it are not found. Sections
near each other in a stack look alike by nature: they are duplicates only where their pixels are the same.

Legend of shapes: C channels, H height, W width, N images, F features.
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

SPECK = 3
"""Pixels of the largest region that is called a speck."""

ALIKE = 0.7
"""Correlation from which two images are near-duplicates; neighbouring ISBI sections reach 0.5."""

_RIM = 5  # px: a class between two others on as little is a rim
_SIDE, _COARSE = 64, 16  # of thumbnails
_CANDIDATE = 0.6
_MOST_TURNED = 5_000  # larger sets are not searched for turned copies: eight times the work
_BLOCK = 1_000
_NEAR = 2  # sections


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

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> "Grey":
        """Measure pixels of any shape and type."""
        if pixels.dtype.kind != "u":
            high = float(pixels.max())
            mean, deviation = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
            at_top = np.count_nonzero(pixels == high) / pixels.size
            return cls(float(pixels.min()), high, mean, deviation, None, at_top)
        counts = np.bincount(pixels.ravel())
        values = np.flatnonzero(counts)
        shares = counts[values] / pixels.size
        mean = float(np.dot(values, shares))
        deviation = float(np.dot((values - mean) ** 2, shares)) ** 0.5
        return cls(float(values[0]), float(values[-1]), mean, deviation, len(values), float(shares[-1]))


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

    @classmethod
    def of(cls, sample: Sample) -> "Objects":
        """Measure the objects of a sample with labels."""
        ids = instances_of(sample)
        areas = np.bincount(ids.ravel())
        small = (areas > 0) & (areas <= SPECK)
        small[0] = False
        for border in (ids[0], ids[-1], ids[:, 0], ids[:, -1]):
            small[border] = False
        touching: int | None = None
        if sample.instances is not None:  # those that share an edge of a pixel with another one
            found = [
                np.stack([one[meeting], other[meeting]])
                for one, other in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1]))
                if (meeting := (one != other) & (one > 0) & (other > 0)).any()
            ]
            touching = len(np.unique(np.concatenate(found, 1))) if found else 0
        return cls(areas[1:][areas[1:] > 0], int(small.sum()), touching)


@dataclass(frozen=True, slots=True)
class ImageFacts:
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


def image_facts(index: int, sample: Sample, *, classes: int, closely: bool, align: bool) -> ImageFacts:
    """Look at a sample once.

    Args:
        index: of the sample in its data set.
        sample: the image and its labels.
        classes: how many there are.
        closely: measure what similarity and objects need, too.
        align: compare labels and edges, too, which takes the longest.
    """
    pixels, labels = sample.pixels, sample.labels
    counts = None if labels is None else tuple(np.bincount(labels.ravel(), minlength=classes).tolist())
    page = sample.name.rpartition("[")[2][:-1] if sample.name.endswith("]") else ""
    source = f"{sample.source or sample.name} page {page}" if page else sample.source or sample.name
    height, width = pixels.shape[1:]
    shape = (len(pixels), height, width)
    facts = ImageFacts(index, sample.name, source, shape, str(pixels.dtype), Grey.of(pixels), counts)
    if not closely:
        return facts
    between: tuple[int, ...] = ()
    if labels is not None and sample.instances is None and classes >= 3:
        lowest, highest = ndimage.minimum_filter(labels, _RIM), ndimage.maximum_filter(labels, _RIM)
        inside = labels[(lowest < labels) & (labels < highest)]
        between = tuple(np.bincount(inside, minlength=classes).tolist())
    regions = labels if sample.instances is None else sample.instances
    return replace(
        facts,
        between=between,
        digest=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest(),
        thumbnail=thumbnail(pixels),
        objects=None if labels is None else Objects.of(sample),
        agreement=agreement(pixels, regions) if align and regions is not None else None,
    )


def thumbnail(pixels: NDArray[Any]) -> NDArray[np.float16]:
    """Return the grey means [64, 64] of pixels [C, H, W], from 0 for their lowest to 1 for their highest."""
    from PIL import Image

    grey = pixels[0] if len(pixels) == 1 else pixels.mean(0, dtype=np.float32)
    small = np.asarray(Image.fromarray(grey.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    low, high = float(small.min()), float(small.max())
    return ((small - low) / max(high - low, 1e-12)).astype(np.float16)


def names(images: Sequence[ImageFacts]) -> tuple[str, ...]:
    """Return the names of images."""
    return tuple(one.name for one in images)


def files(images: Sequence[ImageFacts]) -> str:
    """Name the file of the first image, and how many more there are."""
    return images[0].source + (f" and {len(images) - 1} more" if len(images) > 1 else "")


def page_of(one: ImageFacts) -> tuple[str, int] | None:
    """Return the stack of an image and its place in it; None for an image by itself."""
    stack = stack_of(one.name)
    place = one.name[len(stack) + 1 : -1]
    return (stack, int(place)) if place.isdigit() else None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Images that are alike.

    Attributes:
        images: in the order of the set.
        similarity: the lowest correlation of a pair that joins them.
        same: all have the same pixels.
    """

    images: tuple[ImageFacts, ...]
    similarity: float
    same: bool


def find_duplicates(images: Sequence[ImageFacts]) -> Iterator[Duplicates]:
    """Yield the groups of images that are alike."""
    known = [one for one in images if one.thumbnail is not None]
    pairs: list[tuple[int, int, float]] = []
    groups: list[set[int]] = []
    for first, second, similarity in similar_pairs([one.thumbnail for one in known if one.thumbnail is not None]):
        here, there = page_of(known[first]), page_of(known[second])
        near = here is not None and there is not None and here[0] == there[0] and abs(here[1] - there[1]) <= _NEAR
        if near and known[first].digest != known[second].digest:
            continue
        pairs.append((first, second, similarity))
        meeting = [group for group in groups if group & {first, second}]
        groups = [group for group in groups if group not in meeting] + [{first, second}.union(*meeting)]
    for group in sorted(sorted(group) for group in groups):
        alike = tuple(known[place] for place in group)
        similarity = min(value for first, _, value in pairs if first in group)
        yield Duplicates(alike, similarity, len({one.digest for one in alike}) == 1)


def similar_pairs(thumbnails: Sequence[NDArray[Any]]) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs (first, second, correlation) of images that are near-duplicates, by their thumbnails."""
    if len(thumbnails) < 2:
        return
    features_NF = _coarse(thumbnails)
    turns = SYMMETRIES if len(thumbnails) <= _MOST_TURNED else dict(list(SYMMETRIES.items())[:1])
    seen: set[tuple[int, int]] = set()
    for turn in turns.values():
        turned_NF = _coarse([turn(one) for one in thumbnails])
        for start in range(0, len(features_NF), _BLOCK):
            coarse = features_NF[start : start + _BLOCK] @ turned_NF.T
            for row, column in np.argwhere(coarse >= _CANDIDATE):
                first, second = start + int(row), int(column)
                if first >= second or (first, second) in seen:
                    continue
                one: Floats = _details(thumbnails[first][None].astype(np.float32), 6)[0]
                other: Floats = _details(turn(thumbnails[second])[None].astype(np.float32), 6)[0]
                shifted = fft.irfft2(fft.rfft2(one) * np.conj(fft.rfft2(other)), s=one.shape)
                if (similarity := float(shifted.astype(np.float32).max())) >= ALIKE:
                    seen.add((first, second))
                    yield first, second, similarity


def similarity_to_next(thumbnails: Sequence[NDArray[Any]]) -> Floats:
    """Return the correlations [N-1] of each thumbnail with the next one, seen coarsely."""
    features_NF = _coarse(thumbnails)
    return np.einsum("nf,nf->n", features_NF[:-1], features_NF[1:])


def _coarse(thumbnails: Sequence[NDArray[Any]]) -> Floats:
    step = _SIDE // _COARSE
    blocks = np.stack(thumbnails).astype(np.float32).reshape(-1, _COARSE, step, _COARSE, step).mean((2, 4))
    return _details(blocks, 4).reshape(len(blocks), -1)


def _details(values: Floats, reach: float) -> Floats:
    """Return values [N, H, W] against their surroundings, of mean 0 and norm 1: uneven light is no similarity."""
    around: Floats = ndimage.gaussian_filter(values, (0, reach, reach))
    details = values - around
    details -= details.mean((1, 2), keepdims=True)
    return details / np.sqrt(np.square(details).sum((1, 2), keepdims=True)).clip(1e-6)
