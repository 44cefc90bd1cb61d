"""The data set behind readers of objects: images whose labels come from outlines or from one mask an object.

Assumes that each item's callables raise `DataError` for what they cannot read.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.pages import as_pixels
from unetkit.data.sample import Sample


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one image: class indices [H, W] uint8 or uint16, and ids [H, W] int32 from 1, 0 for none."""

    labels: NDArray[Any]
    instances: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ObjectItem:
    """One image: how to read it as [C, H, W], and its objects at a height and width; None where nothing is known."""

    name: str
    source: str
    image: Callable[[], NDArray[Any]]
    objects: Callable[[tuple[int, int]], Objects] | None


@dataclass(frozen=True, slots=True)
class ObjectDataset:
    """A data set of images with objects.

    Attributes:
        items: the images.
        classes: the names of the classes, index 0 first; empty without labels.
        held_out: indices that the data itself keeps for validation.
        complaints: a sentence about each file that was left out.
    """

    items: tuple[ObjectItem, ...]
    classes: tuple[str, ...]
    held_out: tuple[int, ...] = ()
    complaints: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.items)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index`.

        Raises:
            DataError: a file that cannot be used.
        """
        item = self.items[index]
        pixels = as_pixels(item.image(), item.source)
        if item.objects is None:
            return Sample(item.name, pixels, source=item.source)
        found = item.objects((pixels.shape[1], pixels.shape[2]))
        return Sample(item.name, pixels, found.labels, found.instances, item.source)
