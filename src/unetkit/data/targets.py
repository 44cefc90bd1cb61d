"""Targets that follow from objects: a class for their borders, and how much a pixel counts in the cross entropy.

Assumes object ids as readers give them: 0 outside, each object one id. `components` makes them from class indices where
a layout holds no objects. The border class lies inside the objects, so that all that is not background belongs to one.

A pixel counts its class's weight, and more where it separates two objects. The latter is made once an image and kept in
the user's cache, under a checksum of all that it follows from: a resumed run, the next fold and the other processes of
a run find it there. That cache may be emptied at any time.

Legend of shapes: H height, W width, K classes.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import BORDER, LossConfig
from unetkit.data.dataset import Changed, Dataset, Sample, samples_of
from unetkit.errors import ConfigError, DataError
from unetkit.storage.atomic import part_of
from unetkit.storage.cache import user_cache


def components(labels: NDArray[Any], *, corners: bool = False) -> NDArray[np.int32]:
    """Return ids [H, W] of the connected regions of each class of labels [H, W] but the first.

    Args:
        labels: class indices.
        corners: pixels that share a corner are connected, too; otherwise only those that share an edge.
    """
    ids, count = np.zeros(labels.shape, np.int32), 0
    structure = np.ones((3, 3), bool) if corners else None
    for index in np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1:
        regions, found = ndimage.label(labels == index, structure)  # pyright: ignore[reportGeneralTypeIssues] - two values without `output`
        ids[regions > 0] = regions[regions > 0] + count
        count += found
    return ids


def instances_of(sample: Sample) -> NDArray[np.int32]:
    """Return the object ids [H, W] of a sample, 0 where a pixel does not count: its own, or the regions of its classes.

    Raises:
        DataError: it has no labels.
    """
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels, so that its objects have no borders")
    if sample.instances is None:
        return components(sample.labels if sample.valid is None else np.where(sample.valid, sample.labels, 0))
    return sample.instances if sample.valid is None else np.where(sample.valid, sample.instances, 0)


def border_labels(
    labels: NDArray[Any],
    instances: NDArray[np.int32],
    *,
    border: int,
    width: int = 1,
    touching: bool = False,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """Return labels [H, W] in which the borders of objects are a class of their own.

    Args:
        labels: class indices [H, W].
        instances: object ids [H, W], 0 for none.
        border: the class index of the border, usually K.
        width: how far the border reaches into an object, in pixels along rows and columns.
        touching: only where another object is within reach, background between the two included; otherwise all around
            every object, within it.
        valid: [H, W] bool, the pixels that count: what is drawn at others makes no border. None: all count.
    """
    side, none = 2 * width + 1, np.iinfo(np.int32).max
    known = np.ones(instances.shape, bool) if valid is None else valid
    highest = ndimage.maximum_filter(np.where(known, instances, 0), side, mode="nearest")
    outside = known if not touching else known & (instances > 0)
    lowest = ndimage.minimum_filter(np.where(outside, instances, none), side, mode="nearest")
    at_border = known & (lowest < highest) if touching else known & (instances > 0) & (lowest != highest)
    return np.where(at_border, labels.dtype.type(border), labels)


def with_borders(dataset: Dataset, width: int = 1, touching: bool = False) -> Dataset:
    """Return a data set whose last class, 'border', is the border of its objects.

    Args:
        dataset: what it is made from; its samples hold objects, or the regions of its classes are taken for them.
        width: as in `border_labels`.
        touching: as in `border_labels`.
    """

    def bordered(sample: Sample) -> Sample:
        instances, border = instances_of(sample), len(dataset.classes)
        assert sample.labels is not None
        labels = border_labels(
            sample.labels, instances, border=border, width=width, touching=touching, valid=sample.valid
        )
        return replace(sample, labels=labels, instances=instances)

    return Changed(dataset, (*dataset.classes, BORDER), bordered)


_REACH = 6.0
"""How many sigma the border weight is followed: beyond, it is below w0 * exp(-18)."""


@dataclass(frozen=True, slots=True)
class PixelWeights:
    """The rule w = wc + w0 exp(-(d1 + d2)^2 / (2 sigma^2)), Ronneberger et al. 2015.

    Attributes:
        classes: wc of every class.
        w0: weight of a gap without width; 0: none is looked for.
        sigma: how fast it fades, in pixels.
        border: the class index that separates objects and is outside them here; None: no such class.
    """

    classes: tuple[float, ...]
    w0: float
    sigma: float
    border: int | None = None

    @classmethod
    def of(cls, config: LossConfig, samples: Dataset, *, classes: int, border: int | None) -> "PixelWeights | None":
        """Return the rule of a configuration for training samples; None where every pixel counts alike.

        Raises:
            ConfigError: other than one weight a class.
        """
        if config.class_weights is None and config.border_weight == 0:
            return None
        given = config.class_weights or (1.0,) * classes
        if given == "balanced":
            counts = np.zeros(classes, np.int64)
            for sample in samples_of(samples):
                assert sample.labels is not None
                labels = sample.labels.ravel() if sample.valid is None else sample.labels[sample.valid]
                counts += np.bincount(labels, minlength=classes)
            each = balanced([float(count) / float(counts.sum()) for count in counts])
        else:
            each = tuple(given)
        if len(each) != classes:
            raise ConfigError(f"loss.class_weights: found {len(each)} weights; the network has {classes} classes")
        return cls(each, config.border_weight, config.border_sigma, border)

    def of_sample(self, sample: Sample) -> NDArray[np.float32]:
        """Return the weight of every pixel [H, W] of a sample with labels."""
        assert sample.labels is not None
        labels = sample.labels if sample.valid is None else np.where(sample.valid, sample.labels, 0)
        weights = np.asarray(self.classes, np.float32)[labels]
        if self.w0 > 0:
            instances = instances_of(sample)
            separated = instances if self.border is None else np.where(labels == self.border, 0, instances)
            weights += cached_border_weights(separated, user_cache("border-weights"), w0=self.w0, sigma=self.sigma)
        return weights


def balanced(shares: Sequence[float]) -> tuple[float, ...]:
    """Return class weights 1 / (K share) that let every class count alike; 0 for a class that does not occur."""
    return tuple(1 / (len(shares) * share) if share > 0 else 0.0 for share in shares)


def border_weights(instances: NDArray[np.int32], *, w0: float = 10.0, sigma: float = 5.0) -> NDArray[np.float32]:
    """Return what pixels [H, W] count more for the gap that they lie in: w0 exp(-(d1 + d2)^2 / (2 sigma^2)).

    d1 and d2 are the distances in pixels to the nearest and the second nearest object. It is 0 inside objects, and
    everywhere if there are less than two. Objects that touch have no gap: give them one with `border_labels`.

    Args:
        instances: object ids [H, W], 0 for none.
        w0: weight of a gap without width.
        sigma: how fast it fades, in pixels.
    """
    first = np.full(instances.shape, np.inf, np.float32)
    second = first.copy()
    margin = int(np.ceil(_REACH * sigma))
    boxes: list[Any] = ndimage.find_objects(instances)  # None for an id that does not occur
    for number, box in enumerate(boxes, 1):
        if box is None:
            continue
        window = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        distance = ndimage.distance_transform_edt(instances[window] != number).astype(np.float32)
        nearest, next_nearest = first[window], second[window]
        second[window] = np.minimum(next_nearest, np.maximum(nearest, distance))
        first[window] = np.minimum(nearest, distance)
    gap = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    gap[instances > 0] = 0
    return gap.astype(np.float32)


def cached_border_weights(
    instances: NDArray[np.int32], folder: Path, *, w0: float = 10.0, sigma: float = 5.0
) -> NDArray[np.float32]:
    """Return `border_weights`, kept in a folder under the checksum of everything that they depend on.

    A folder that cannot be written to keeps nothing. A file that a power cut left half-written fails its checksum.
    """
    key = hashlib.sha256(f"{instances.shape} {w0} {sigma} 2".encode())
    key.update(np.ascontiguousarray(instances, "<i4").tobytes())
    path = folder / f"{key.hexdigest()[:32]}.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            kept: NDArray[Any] = archive["weights"]
        if kept.shape == instances.shape and kept.dtype == np.float32:
            return kept
    except Exception:  # never made, or damaged in one of many ways: made again
        pass
    weights = border_weights(instances, w0=w0, sigma=sigma)
    temporary = part_of(path)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez_compressed(file, weights=weights)
        temporary.replace(path)  # not flushed to the disk as results are: that would take longer than making it again
    with suppress(OSError):
        temporary.unlink(missing_ok=True)  # on a full disk
    return weights
