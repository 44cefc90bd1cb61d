"""What every reader promises: a finite, indexable sequence of samples with one meaning for pixels and labels.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, and its labels where it has any.

    Attributes:
        name: unique in its data set and safe as a file name, such as `train-volume[07]` or `cell_12`.
        pixels: [C, H, W] as stored: uint8, uint16 or float32, every value finite; C is 1 (grey) or 3 (RGB, alpha
            dropped). May be read-only, as a mapped file is.
        labels: [H, W] uint8 or uint16 class indices from 0, or None for an image without labels.
        instances: [H, W] int32 object ids, 0 for none, or None where the form of data holds no objects.
        source: the file the pixels come from, for messages.
    """

    name: str
    pixels: NDArray[Any]
    labels: NDArray[Any] | None = None
    instances: NDArray[np.int32] | None = None
    source: str = ""


class Dataset(Protocol):
    """A finite sequence of samples. Reading a sample may raise `DataError`; asking for the length may not."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, index 0 first; empty where the data has no labels."""
        ...

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """The sample at `index`, from 0."""
        ...


@runtime_checkable
class DividedDataset(Dataset, Protocol):
    """A data set that is divided by its makers, as into folders `train` and `val`."""

    @property
    def held_out(self) -> tuple[int, ...]:
        """The indices that are kept for validation; empty where the data is not divided."""
        ...


def held_out_by(dataset: Dataset) -> tuple[int, ...]:
    """Return the indices that the data itself keeps for validation, if it does."""
    return dataset.held_out if isinstance(dataset, DividedDataset) else ()


def samples_of(dataset: Dataset) -> Iterator[Sample]:
    """Yield every sample in order."""
    for index in range(len(dataset)):
        yield dataset[index]
