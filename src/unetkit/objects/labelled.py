"""What objects are, here: numbers in an image, and for every number a class and a confidence.

Legend of shapes: H height, W width, N objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.config import BORDER

NEIGHBOURS = ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1]))
"""The pixels [H, W] that have a neighbour to the left, and those neighbours; and the same upwards."""


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """The objects of one image; they do not overlap.

    Attributes:
        ids: [H, W] int32, 0 outside; the objects are 1 to N, in the order of their first pixels, row by row.
        classes: [N] class index of each object.
        confidences: [N] float32, the mean probability over its pixels that they are not background; 1 for true ones.
    """

    ids: NDArray[np.int32]
    classes: NDArray[np.int64]
    confidences: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of objects."""
        return len(self.classes)

    def sizes(self) -> NDArray[np.int64]:
        """Return the pixels of each object, [N]."""
        return np.bincount(self.ids.ravel(), minlength=len(self) + 1)[1:]


def object_classes(classes: Sequence[str]) -> list[int]:
    """Return the indices of the classes that are objects: all but class 0, the background, and 'border'."""
    return [index for index, name in enumerate(classes) if index > 0 and name != BORDER]


def border_index(classes: Sequence[str]) -> int | None:
    """Return the index of the class 'border', if there is one."""
    return classes.index(BORDER) if BORDER in classes[1:] else None


def renumbered(ids: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number objects [H, W] by their first pixels, from 1; return them and the flat places [N] of those pixels."""
    flat = ids.ravel()
    first = np.full(int(flat.max(initial=0)) + 1, flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # what is written last stays: the first pixel
    first[0] = flat.size
    order = np.argsort(first, kind="stable")[: int((first < flat.size).sum())]
    numbers = np.zeros(len(first), np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[ids], first[order]
