"""A data set held in memory, so that every file is decoded once however often its samples are used.

Assumes that the whole set fits. Does not know where the samples come from.
"""

from dataclasses import dataclass, replace

import numpy as np

from unetkit.data.sample import Dataset, Sample, held_out_by, samples_of


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


def in_memory(dataset: Dataset) -> InMemory:
    """Read every sample of a data set once, away from the files: a mapped stack is copied.

    Raises:
        DataError: a sample that cannot be read.
    """
    if isinstance(dataset, InMemory):
        return dataset
    return InMemory(tuple(_held(sample) for sample in samples_of(dataset)), dataset.classes, held_out_by(dataset))


def _held(sample: Sample) -> Sample:
    pixels = np.array(sample.pixels)
    pixels.flags.writeable = False
    return replace(sample, pixels=pixels)
