"""What would spoil a training, found before its first step; a set that passes can be trained on.

Assumes nothing that a reader does not promise. Reading the samples finds the faults of single files (damaged, masks of
another size, NaN); here are the faults that only show in the pixels or over the whole set.
"""

from collections.abc import Sequence

import numpy as np

from unetkit.data.sample import Dataset, Sample
from unetkit.errors import DataError


def check_training_set(dataset: Dataset, *, indices: Sequence[int] | None = None) -> None:
    """Read the samples (all, or those of `indices`) and refuse a set that cannot be trained on.

    Raises:
        DataError: no samples, an unreadable one, images of different channels or types, a constant image, images
            without labels, or labels that hold a single class over the whole set.
    """
    chosen = range(len(dataset)) if indices is None else indices
    if len(chosen) == 0:
        raise DataError("the data set holds no images; at least one with its mask was expected")
    first: Sample | None = None
    present: set[int] = set()
    for index in chosen:
        sample = dataset[index]
        first = first or sample
        _require_alike(first, sample)
        present |= _classes_in(sample)
    assert first is not None
    if len(present) < 2:
        only = present.pop()
        raise DataError(
            f"{first.source}: the masks of all {len(chosen)} images hold the single class {only} "
            f"({dataset.classes[only]}); at least two classes were expected: are these the right masks?"
        )


def _require_alike(first: Sample, sample: Sample) -> None:
    where = _where(sample)
    if sample.pixels.dtype != first.pixels.dtype or sample.pixels.shape[0] != first.pixels.shape[0]:
        raise DataError(
            f"{where}: {sample.pixels.shape[0]} channels of {sample.pixels.dtype}, but {_where(first)} has "
            f"{first.pixels.shape[0]} of {first.pixels.dtype}; all images of a set must be stored alike"
        )
    if sample.pixels.min() == sample.pixels.max():
        raise DataError(
            f"{where}: every pixel is {sample.pixels.flat[0]}; an image with something on it was expected: leave it out"
        )


def _classes_in(sample: Sample) -> set[int]:
    if sample.labels is None:
        raise DataError(f"{_where(sample)}: has no labels; training needs a mask for every image")
    return {int(value) for value in np.flatnonzero(np.bincount(sample.labels.ravel()))}


def _where(sample: Sample) -> str:
    page = sample.name.rpartition("[")[2] if sample.name.endswith("]") else ""
    return f"{sample.source or sample.name} page {page[:-1]}" if page else sample.source or sample.name
