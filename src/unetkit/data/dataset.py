"""Samples and data sets: what every reader promises, and the data sets behind the readers.

A data set is a finite, indexable sequence of samples with one meaning for pixels and labels. Most readers give a row of
images, each with a mask or none (`ItemDataset`); readers of objects give images whose labels come from outlines or from
one mask an object (`ObjectDataset`); both are read when they are asked for, and `in_memory` keeps what was decoded.
Assumes that each item's callables raise `DataError` for what they cannot read, and that a data set may be read by
several threads. Does not know where the files lie.

What a reader finds wrong with single files while the rest of a data set can be used, it collects as complaints in the
data set that it gives: `open_dataset` refuses a set that has any, and `check` reports them all.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unetkit.data.masks import MaskMap
from unetkit.errors import DataError
from unetkit.images import is_tiff, open_pages, read_single
from unetkit.images.image import Pages, Role, as_pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, and its labels where it has any.

    Attributes:
        name: unique in its data set and safe as a file name, such as `train-volume[07]` or `cell_12`.
        pixels: [C, H, W] as stored: uint8, uint16 or float32, every value finite; C is 1 (grey) or 3 (RGB, alpha
            dropped). May be read-only, as a mapped file is.
        labels: [H, W] uint8 or uint16 class indices from 0, or None for an image without labels.
        instances: [H, W] int32 object ids, 0 for none, or None where the layout holds no objects.
        source: the file the pixels come from, for messages.
        valid: [H, W] bool, the pixels that count: others are outside the region of interest or marked to be ignored,
            and no loss, score or statistic looks at them; their labels are 0. None: all count.
    """

    name: str
    pixels: NDArray[Any]
    labels: NDArray[Any] | None = None
    instances: NDArray[np.int32] | None = None
    source: str = ""
    valid: NDArray[np.bool_] | None = None


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


@runtime_checkable
class PartlyUsable(Protocol):
    """A data set from which unusable files were left out."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """A sentence about each file that was left out."""
        ...


def complaints_of(dataset: Dataset) -> tuple[str, ...]:
    """Return a sentence about each file that was left out of a data set."""
    return dataset.complaints if isinstance(dataset, PartlyUsable) else ()


@contextmanager
def kept(complaints: list[str]) -> Generator[None]:
    """Collect what is wrong with one file, so that the next one is read too."""
    try:
        yield
    except DataError as error:
        complaints.append(str(error))


def refuse(complaints: Sequence[str]) -> None:
    """Raise `DataError` with the first complaint and the number of the others, where there are any."""
    if complaints:
        others = f" ({len(complaints) - 1} more files are wrong)" if len(complaints) > 1 else ""
        raise DataError(f"{complaints[0]}{others}")


Read = Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a set: its name, how to read it, and how to read its mask; both give [C, H, W] as stored."""

    name: str
    source: str
    image: Read
    mask: Read | None = None
    mask_source: str = ""


@dataclass(frozen=True, slots=True)
class ItemDataset:
    """A data set of items.

    Attributes:
        items: the images and their masks.
        mask_map: what the masks' values mean; None for images without labels.
        held_out: indices that the data itself keeps for validation.
        complaints: a sentence about each file that was left out.
    """

    items: tuple[Item, ...]
    mask_map: MaskMap | None = None
    held_out: tuple[int, ...] = ()
    complaints: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, index 0 first; empty without labels."""
        return self.mask_map.classes if self.mask_map else ()

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.items)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index`.

        Raises:
            DataError: a file that cannot be used, or a mask of another size than its image.
        """
        item = self.items[index]
        pixels = as_pixels(item.image(), item.source)
        if item.mask is None or self.mask_map is None:
            return Sample(item.name, pixels, source=item.source)
        labels = self.mask_map.labels(item.mask(), item.mask_source)
        require_same_size(item.source, pixels.shape[1:], item.mask_source, labels.shape)
        return Sample(item.name, pixels, labels, source=item.source)


def items_of_pairs(
    pairs: Iterable[tuple[str, Path, Path | None]], mask_role: Role, complaints: list[str]
) -> tuple[Item, ...]:
    """Make items of (name, image file, mask file); a file of several pages gives one item a page.

    A file that cannot be opened, and a multi-page image and mask that differ in pages or size, are left out; what is
    wrong with them is added to `complaints`.
    """
    items: list[Item] = []
    for name, image, mask in pairs:
        with kept(complaints):
            if is_tiff(image) or (mask is not None and is_tiff(mask)):
                pages = open_pages(image)
                masks = None if mask is None else open_pages(mask, mask_role)
                if pages.count > 1 or (masks is not None and masks.count > 1):
                    items += items_of_stack(name, pages, masks)
                    continue
            read_mask = None if mask is None else partial(read_single, mask, mask_role)
            items.append(Item(name, str(image), partial(read_single, image), read_mask, str(mask or "")))
    return tuple(items)


def items_of_stack(name: str, images: Pages, masks: Pages | None) -> list[Item]:
    """Make an item `name[07]` of every page of a stack and its masks.

    Raises:
        DataError: other numbers of pages, or pages of other sizes.
    """
    if masks is not None:
        if images.count != masks.count:
            raise DataError(f"{masks.source}: has {masks.count} pages, but {images.source} has {images.count}")
        require_same_size(images.source, (images.height, images.width), masks.source, (masks.height, masks.width))
    digits = max(2, len(str(images.count - 1)))
    return [
        Item(
            f"{name}[{page:0{digits}}]",
            images.source,
            partial(images.read, page),
            None if masks is None else partial(masks.read, page),
            "" if masks is None else f"{masks.source}",
        )
        for page in range(images.count)
    ]


def require_same_size(image: str, image_size: Sequence[int], mask: str, mask_size: Sequence[int]) -> None:
    """Raise `DataError` where a mask is not as large as its image, [rows, columns]."""
    if tuple(image_size) != tuple(mask_size):
        raise DataError(
            f"{mask}: {mask_size[0]} x {mask_size[1]} pixels (rows x columns), but its image {image} has "
            f"{image_size[0]} x {image_size[1]}; a mask must be as large as its image"
        )


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
        sample = dataset[index]
        pixels = np.array(sample.pixels)
        pixels.flags.writeable = False
        return replace(sample, pixels=pixels)

    with ThreadPoolExecutor(available_cores()) as pool:
        samples = tuple(pool.map(read, range(len(dataset)) if indices is None else indices))
    return InMemory(samples, dataset.classes, held_out_by(dataset) if indices is None else ())
