"""Samples with the slices around them that a network sees them with (`model.context`), and what that means in a split.

A slice is seen with its real neighbours, whichever side of a split they are on: a training reads the pixels of a
held-out slice next to one that is trained on, never its labels. Assumes that the samples of a stack are in its order.
Does not know networks.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.dataset import Dataset, Division, ItemDataset, Sample, division_of, name_of
from unetkit.data.layouts.mask_files import SECTIONS
from unetkit.data.split import Split
from unetkit.errors import DataError
from unetkit.images.image import as_pixels, neighbours


@dataclass(frozen=True, slots=True, eq=False)
class WithContext:
    """A data set whose samples have their `slices`.

    Attributes:
        dataset: the samples.
        around: [N, S] the samples whose pixels are those slices, for each sample.
    """

    dataset: Dataset
    around: NDArray[np.intp]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data set."""
        return self.dataset.classes

    @property
    def division(self) -> Division:
        """As the data set is divided."""
        return division_of(self.dataset)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index` and the pixels of its slices.

        Raises:
            DataError: as the data set.
        """
        sample, numbers = self.dataset[index], self.around[index].tolist()
        read = {index: sample.pixels} | {one: self._pixels(one) for one in set(numbers) - {index}}
        return replace(sample, slices=tuple(read[number] for number in numbers))

    def _pixels(self, index: int) -> NDArray[Any]:
        if isinstance(self.dataset, ItemDataset):  # masks are not needed
            item = self.dataset.items[index]
            return as_pixels(item.image(), item.source)
        return self.dataset[index].pixels


def with_context(dataset: Dataset, context: int) -> Dataset:
    """Return a data set whose samples have the slices around them; with 0, the data set itself.

    Raises:
        DataError: a sample that is no slice of a stack.
    """
    return dataset if context == 0 else WithContext(dataset, around_each(dataset, context))


def around_each(dataset: Dataset, context: int) -> NDArray[np.intp]:
    """Return the samples [N, 2 * context + 1] that each of N samples is seen with, as `neighbours` orders them.

    Raises:
        DataError: a sample that is no slice of a stack.
    """
    if context == 0:
        return np.arange(len(dataset))[:, None]
    stacks = np.array(division_of(dataset).stacks or ("",) * len(dataset))
    members = [np.flatnonzero(stacks == stack) for stack in dict.fromkeys(stacks.tolist()) if stack]
    alone = [*np.flatnonzero(stacks == ""), *(one[0] for one in members if len(one) == 1)]
    if alone:
        name, source = name_of(dataset, int(alone[0]))
        raise DataError(
            f"{source or name}: is no slice of a stack, as {len(alone)} of {len(dataset)} images are not, but "
            f"model.context={context} shows the network the slices before and after each; give stacks, or sections "
            f"of one ({SECTIONS} or more that are numbered without a gap and look alike), or leave model.context out"
        )
    return neighbours(members, context)


def context_note(split: Split, around: NDArray[np.intp]) -> list[str]:
    """Say how many slices are seen with slices of the other side of a split; nothing where none is."""
    held = np.array([*split.validation, *split.test], np.intp)
    trained = np.array(split.train, np.intp)
    lent = int(np.isin(around[trained], held).any(1).sum())
    known = int(np.isin(around[held], trained).any(1).sum())
    if not known and not lent:
        return []
    words = (
        f"model.context: {known} of {len(held)} held-out slices are seen with slices that are trained on, and {lent} "
        f"of {len(trained)} trained ones with pixels (never labels) of held-out ones"
    )
    if 2 * known <= len(held):
        return [f"note: {words}"]
    return [
        f"warning: {words}: scores will be better than on another stack; data.split.method=blocks holds out neighbours "
        "together"
    ]
