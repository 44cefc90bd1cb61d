"""What is known of one image after a single look at it, a few kilobytes; and which images of a set are alike.

An image is looked at once and let go, so that a set of any size can be examined. Pixels that do not count are left out
of everything but the checksum.

Legend of shapes: C channels, H height, W width, K classes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.checks.alignment import Agreement, agreement, reduced
from unetkit.checks.duplicates import similar_pairs, thumbnail
from unetkit.data.dataset import Sample
from unetkit.data.split import stack_of
from unetkit.data.targets import components
from unetkit.errors import listed

Floats = NDArray[np.float32]

SPECK = 4
"""Pixels of the largest region that is called a speck."""

_RIM = 5  # px: a class between two others on as little is a rim
_ALONE = 5  # px around a speck without anything else of its kind
_TRAITS_SIDE = 256  # to which images are reduced for the traits of their classes
_FEW_PIXELS = 20  # of which a class's traits are not measured
_MOST_CHANNELS = 4
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
        """Measure pixels of any shape and type, at least one."""
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
        specks: how many have at most `SPECK` pixels, lie alone, and are not cut off.
        touching: how many touch another one; None where regions of a class were taken for objects.
    """

    areas: NDArray[np.int64]
    specks: int
    touching: int | None

    @classmethod
    def of(
        cls, labels: NDArray[Any], instances: NDArray[np.int32] | None, valid: NDArray[np.bool_] | None
    ) -> "Objects":
        """Measure the objects of labels [H, W]: instances, or regions that are connected by edges or corners."""
        ids = components(labels, corners=True) if instances is None else instances
        areas = np.bincount(ids.ravel())
        small = (areas > 0) & (areas <= SPECK)
        small[0] = False
        if small.any():
            for border in (ids[0], ids[-1], ids[:, 0], ids[:, -1]):
                small[border] = False
            if valid is not None:
                small[ids[ndimage.binary_dilation(~valid)]] = False
            kinds = labels if instances is None else (ids > 0).astype(np.uint8)
            for kind in np.unique(kinds[small[ids]]):
                large = ((kinds == kind) & ~small[ids]).astype(np.uint8)
                small[ids[ndimage.maximum_filter(large, 2 * _ALONE + 1) > 0]] &= kind == 0
        touching: int | None = None
        if instances is not None:  # those that share an edge of a pixel with another one
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
        section: the stack that it belongs to and its place there; None for an image by itself.
        between: pixels of each class that have both a lower and a higher class within 2 px; empty where labels are
            drawn from objects.
        digest: checksum of the pixels.
        thumbnail: what `similar_pairs` compares.
        objects: what the labels hold.
        traits: of each class, as `class_traits` returns them.
        agreement: of labels and image; None where there is nothing to measure.
    """

    index: int
    name: str
    source: str
    shape: tuple[int, int, int]
    dtype: str
    grey: Grey
    class_counts: tuple[int, ...] | None
    section: tuple[str, int] | None = None
    between: tuple[int, ...] = ()
    digest: bytes | None = None
    thumbnail: NDArray[np.float16] | None = None
    objects: Objects | None = None
    traits: NDArray[np.float32] | None = None
    agreement: Agreement | None = None

    @property
    def classes(self) -> frozenset[int]:
        """The classes that occur."""
        return frozenset(np.flatnonzero(self.class_counts or ()).tolist())


def image_facts(
    index: int, sample: Sample, *, classes: int, closely: bool, align: bool, serial: bool = False
) -> ImageFacts:
    """Look at a sample once.

    Args:
        index: of the sample in its data set.
        sample: the image and its labels.
        classes: how many there are.
        closely: measure what similarity and objects need, too.
        align: compare labels and image, too, which takes the longest.
        serial: the samples in their order are sections of one stack.
    """
    pixels, labels, valid = sample.pixels, sample.labels, sample.valid
    counting = None if labels is None else labels.ravel() if valid is None else labels[valid]
    counts = None if counting is None else tuple(np.bincount(counting, minlength=classes).tolist())
    page = sample.name.rpartition("[")[2][:-1] if sample.name.endswith("]") else ""
    source = f"{sample.source or sample.name} page {page}" if page else sample.source or sample.name
    height, width = pixels.shape[1:]
    shape = (len(pixels), height, width)
    distinct = pixels[:1] if all(np.array_equal(pixels[0], channel) for channel in pixels[1:]) else pixels
    grey = Grey.of(distinct if valid is None or not valid.any() else distinct[:, valid])
    section = (stack_of(sample.name), int(page)) if page.isdigit() else ("", index) if serial else None
    facts = ImageFacts(index, sample.name, source, shape, str(pixels.dtype), grey, counts, section)
    if not closely:
        return facts
    facts = replace(
        facts,
        digest=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest(),
        thumbnail=thumbnail(distinct, valid),
    )
    if labels is None:
        return facts
    between: tuple[int, ...] = ()
    if sample.instances is None and classes >= 3:
        lowest, highest = ndimage.minimum_filter(labels, _RIM), ndimage.maximum_filter(labels, _RIM)
        inside = labels[(lowest < labels) & (labels < highest)]
        between = tuple(np.bincount(inside, minlength=classes).tolist())
    return replace(
        facts,
        between=between,
        objects=Objects.of(labels, sample.instances, valid),
        traits=class_traits(pixels, labels, classes, valid),
        agreement=agreement(distinct, labels, instances=sample.instances, valid=valid) if align else None,
    )


def class_traits(
    pixels: NDArray[Any], labels: NDArray[Any], classes: int, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return what tells classes apart [K, traits]; NaN for a class of a few pixels.

    The traits are the log odds of its share, its mean in each channel (in deviations from the image's), and the
    logarithm of how rough it is there compared with the image.
    """
    factor = -(-max(labels.shape) // _TRAITS_SIDE)
    small = reduced(pixels if len(pixels) <= _MOST_CHANNELS else pixels.mean(0, keepdims=True), factor)
    rows, columns = (slice(factor // 2, factor * side, factor) for side in small.shape[1:])
    counts: Any = ... if valid is None else valid[rows, columns]
    kinds, values = labels[rows, columns][counts].ravel(), small[:, counts].reshape(len(small), -1)
    found = np.full((classes, len(small) + 2), np.nan, np.float32)
    if values.shape[1] < _FEW_PIXELS:
        return found
    grey = small.mean(0)
    rough = np.abs(grey - ndimage.uniform_filter(grey, 3))[counts].ravel()
    number = np.bincount(kinds, minlength=classes)
    known = number >= _FEW_PIXELS
    share = (number[known] / len(kinds)).clip(1e-4, 1 - 1e-4)
    found[known, 0] = np.log(share / (1 - share))
    for place, channel in enumerate(values, 1):
        mean = np.bincount(kinds, channel, minlength=classes)[known] / number[known]
        found[known, place] = (mean - channel.mean()) / max(float(channel.std()), 1e-6)
    mean = np.bincount(kinds, rough, minlength=classes)[known] / number[known]
    found[known, -1] = np.log((mean + 1e-3) / (float(rough.mean()) + 1e-3))
    return found


def names(images: Sequence[ImageFacts]) -> tuple[str, ...]:
    """Return the names of images."""
    return tuple(one.name for one in images)


def files(images: Sequence[ImageFacts]) -> str:
    """Name the file of a single image, or the first few of many and their number."""
    if len(images) == 1:
        return images[0].source
    return f"{len(images)} images ({listed(names(images))})"


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
    seen: dict[bytes | None, int] = {}
    for place, one in enumerate(known):
        first = seen.setdefault(one.digest, place)
        pairs += [(first, place, 1.0)] if first != place else []
    originals = sorted(seen.values())
    thumbnails = [thumb for place in originals if (thumb := known[place].thumbnail) is not None]
    for one, other, similarity in similar_pairs(thumbnails):
        first, second = originals[one], originals[other]
        here, there = known[first].section, known[second].section
        near = here is not None and there is not None and here[0] == there[0] and abs(here[1] - there[1]) <= _NEAR
        pairs += [] if near else [(first, second, similarity)]
    groups: list[set[int]] = []
    for first, second, _ in pairs:
        meeting = [group for group in groups if group & {first, second}]
        groups = [group for group in groups if group not in meeting] + [{first, second}.union(*meeting)]
    for group in sorted(sorted(group) for group in groups):
        alike = tuple(known[place] for place in group)
        similarity = min(value for first, _, value in pairs if first in group)
        yield Duplicates(alike, similarity, len({one.digest for one in alike}) == 1)
