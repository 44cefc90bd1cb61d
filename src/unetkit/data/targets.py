"""What a network may be trained towards besides class indices: a class for borders, and weights that part objects.

Assumes object ids as readers give them: 0 outside, each object one id. `components` makes them from class indices where
a form of data holds no objects. Does not know the loss that uses the weights.

Legend of shapes: H height, W width, K classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.data.sample import Dataset, Sample
from unetkit.errors import DataError
from unetkit.storage import make_folder, written_whole

_REACH = 6.0
"""How many sigma the border weight is followed: beyond, it is below w0 * exp(-18)."""


def components(labels: NDArray[Any], *, foreground: int = 1) -> NDArray[np.int32]:
    """Return ids [H, W] of the connected regions (sharing an edge) of one class of labels [H, W]."""
    ids, _ = ndimage.label(labels == foreground)  # pyright: ignore[reportGeneralTypeIssues] - two values without `output`
    return ids.astype(np.int32)


def border_labels(
    labels: NDArray[Any], instances: NDArray[np.int32], *, border: int, width: int = 1, touching: bool = False
) -> NDArray[Any]:
    """Return labels [H, W] in which the borders of objects are a class of their own.

    Args:
        labels: class indices [H, W].
        instances: object ids [H, W], 0 for none.
        border: the class index of the border, usually K.
        width: how far the border reaches into an object, in pixels along rows and columns.
        touching: only where another object is within reach, background between the two included; otherwise all round
            every object, within it.
    """
    side = 2 * width + 1
    highest = ndimage.maximum_filter(instances, side, mode="nearest")
    if touching:
        ids = np.where(instances == 0, np.iinfo(np.int32).max, instances)
        at_border = (ndimage.minimum_filter(ids, side, mode="nearest") < highest) & (highest > 0)
    else:
        lowest = ndimage.minimum_filter(instances, side, mode="nearest")
        at_border = (instances > 0) & (lowest != highest)
    return np.where(at_border, labels.dtype.type(border), labels)


def border_weights(
    instances: NDArray[np.int32],
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    labels: NDArray[Any] | None = None,
    class_weights: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Return the weight of every pixel [H, W]: w = wc + w0 exp(-(d1 + d2)^2 / (2 sigma^2)), Ronneberger et al. 2015.

    d1 and d2 are the distances in pixels to the nearest and the second nearest object; the second term counts outside
    objects, where it draws the network's attention to the gaps, and needs two objects in the image. Objects that touch
    have no gap: give them one with `border_labels`.

    Args:
        instances: object ids [H, W], 0 for none.
        w0: weight of a gap without width.
        sigma: how fast it fades, in pixels.
        labels: class indices [H, W] that `class_weights` are looked up by.
        class_weights: wc of every class, such as `balanced`; None: 1 everywhere.
    """
    first, second = _two_distances(instances, reach=_REACH * sigma)
    gap = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    gap[instances > 0] = 0
    if class_weights is None or labels is None:
        return (1 + gap).astype(np.float32)
    return (np.asarray(class_weights, np.float32)[labels] + gap).astype(np.float32)


def balanced(shares: Sequence[float]) -> tuple[float, ...]:
    """Return class weights 1 / (K share) that let every class count alike; 0 for a class that does not occur."""
    return tuple(1 / (len(shares) * share) if share > 0 else 0.0 for share in shares)


def cached_border_weights(
    instances: NDArray[np.int32], folder: Path, *, w0: float = 10.0, sigma: float = 5.0
) -> NDArray[np.float32]:
    """Return `border_weights`, kept in a folder under the checksum of everything that they depend on.

    Raises:
        StorageError: the folder cannot be written to.
    """
    key = hashlib.sha256(f"{instances.shape} {w0} {sigma} 1".encode())
    key.update(np.ascontiguousarray(instances, "<i4").tobytes())
    path = folder / f"{key.hexdigest()[:32]}.npy"
    try:
        kept = np.load(path, allow_pickle=False)
        if kept.shape == instances.shape and kept.dtype == np.float32:
            return kept
    except (OSError, ValueError, EOFError):
        pass  # never made, or damaged: made again
    weights = border_weights(instances, w0=w0, sigma=sigma)
    make_folder(folder)
    with written_whole(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, weights)
    return weights


@dataclass(frozen=True, slots=True)
class WithBorders:
    """A data set whose last class is the border of its objects.

    Attributes:
        dataset: what it is made from; its samples hold objects, or the regions of class 1 are taken for them.
        width: as in `border_labels`.
        touching: as in `border_labels`.
    """

    dataset: Dataset
    width: int = 1
    touching: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data set and 'border'."""
        return (*self.dataset.classes, "border")

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index`.

        Raises:
            DataError: an unreadable sample, or one without labels.
        """
        sample = self.dataset[index]
        if sample.labels is None:
            raise DataError(f"{sample.source or sample.name}: has no labels, so that its objects have no borders")
        instances = components(sample.labels) if sample.instances is None else sample.instances
        border = len(self.dataset.classes)
        labels = border_labels(sample.labels, instances, border=border, width=self.width, touching=self.touching)
        return replace(sample, labels=labels, instances=instances)


def _two_distances(instances: NDArray[np.int32], *, reach: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distances [H, W] to the nearest and second nearest object, infinite beyond `reach`."""
    first = np.full(instances.shape, np.inf, np.float32)
    second = first.copy()
    margin = int(np.ceil(reach))
    places: list[Any] = ndimage.find_objects(instances)  # None for an id that does not occur
    for number, place in enumerate(places, 1):
        if place is None:
            continue
        window = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in place)
        distance = ndimage.distance_transform_edt(instances[window] != number).astype(np.float32)
        nearest, next_nearest = first[window], second[window]
        second[window] = np.minimum(next_nearest, np.maximum(nearest, distance))
        first[window] = np.minimum(nearest, distance)
    return first, second
