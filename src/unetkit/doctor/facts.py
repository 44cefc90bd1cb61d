"""What is known of one image after a single look at it: everything that the checks need, a few kilobytes.

Does not judge. An image is looked at once and let go, so that a set of any size can be examined.

Legend of shapes: C channels, H height, W width, K classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.data.sample import Sample
from unetkit.data.targets import instances_of
from unetkit.doctor.alignment import Agreement, agreement
from unetkit.doctor.likeness import thumbnail

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
