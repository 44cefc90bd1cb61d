"""What a network may be trained towards besides the classes of its data: a class for the borders of objects.

Assumes object ids as readers give them: 0 outside, each object one id. `components` makes them from class indices where
a form of data holds no objects. The class lies inside the objects, so that all that is not background belongs to one.

Legend of shapes: H height, W width.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import BORDER
from unetkit.data.sample import Dataset, Sample
from unetkit.errors import DataError


def components(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return ids [H, W] of the connected regions (sharing an edge) of each class of labels [H, W] but the first."""
    ids, count = np.zeros(labels.shape, np.int32), 0
    for index in np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1:
        regions, found = ndimage.label(labels == index)  # pyright: ignore[reportGeneralTypeIssues] - two values without `output`
        ids[regions > 0] = regions[regions > 0] + count
        count += found
    return ids


def instances_of(sample: Sample) -> NDArray[np.int32]:
    """Return the object ids [H, W] of a sample: its own, or the regions of its classes.

    Raises:
        DataError: it has no labels.
    """
    if sample.instances is not None:
        return sample.instances
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels, so that its objects have no borders")
    return components(sample.labels)


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


@dataclass(frozen=True, slots=True)
class WithBorders:
    """A data set whose last class is the border of its objects.

    Attributes:
        dataset: what it is made from; its samples hold objects, or the regions of its classes are taken for them.
        width: as in `border_labels`.
        touching: as in `border_labels`.
    """

    dataset: Dataset
    width: int = 1
    touching: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data set and 'border'."""
        return (*self.dataset.classes, BORDER)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index`.

        Raises:
            DataError: an unreadable sample, or one without labels.
        """
        sample = self.dataset[index]
        instances, border = instances_of(sample), len(self.dataset.classes)
        assert sample.labels is not None
        labels = border_labels(sample.labels, instances, border=border, width=self.width, touching=self.touching)
        return replace(sample, labels=labels, instances=instances)
