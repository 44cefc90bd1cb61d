"""A data set held in memory, so that every file is decoded once however often its samples are used.

Assumes that what is held fits, and that a data set may be read by several threads. Does not know where the samples come
from.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from unetkit.data.sample import Dataset, Sample, held_out_by


@dataclass(frozen=True, slots=True)
class InMemory:
    """A data set whose samples are held.

    Attributes:
        samples: all of them.
        classes: the names of the classes, index 0 first.
        held_out: indices that the data itself keeps for validation.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    held_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        """Return the sample at `index`."""
        return self.samples[index]


def in_memory(dataset: Dataset, indices: Sequence[int] | None = None) -> InMemory:
    """Read the samples of a data set once, away from the files: a mapped stack is copied.

    Args:
        dataset: where they come from.
        indices: which; they become a data set of their own. None: all, as they are divided there.

    Raises:
        DataError: a sample that cannot be read; of several the first.
    """
    if indices is None and isinstance(dataset, InMemory):
        return dataset
    from unetkit.devices import available_cores  # it loads torch, which readers do without

    def read(index: int) -> Sample:
        return _held(dataset[index])

    with ThreadPoolExecutor(available_cores()) as pool:
        samples = tuple(pool.map(read, range(len(dataset)) if indices is None else indices))
    return InMemory(samples, dataset.classes, held_out_by(dataset) if indices is None else ())


def _held(sample: Sample) -> Sample:
    pixels = np.array(sample.pixels)
    pixels.flags.writeable = False
    return replace(sample, pixels=pixels)
