"""Samples and data sets: what every reader promises, and the data sets behind the readers.

A data set is a finite, indexable sequence of samples with one meaning for pixels and labels. Readers give a row of
images (`ItemDataset`), each with a mask, with objects that are drawn from outlines or from one mask an object, or with
nothing; they are read when they are asked for, and `in_memory` keeps what was decoded.
Assumes that each item's callables raise `DataError` for what they cannot read, and that a data set may be read by
several threads. Does not know where the files lie.

What a reader finds wrong with single files while the rest of a data set can be used, it collects as complaints in the
data set that it gives: `open_dataset` refuses a set that has any, and `check` reports them all.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetkit.data.masks import Decoded, MaskMap
from unetkit.data.outlines import Objects
from unetkit.display import picture, thumbnail
from unetkit.errors import DataError
from unetkit.images.image import Image, as_pixels
from unetkit.machine import available_cores


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
        pixel_size: height and width of a pixel in `unit`; None where the file does not tell both in one unit.
        unit: of the pixel size, such as "micrometer".
        slices: the pixels of the slices of its stack that a network sees it with, in their order, its own in the
            middle; () where it is seen alone.
    """

    name: str
    pixels: NDArray[Any]
    labels: NDArray[Any] | None = None
    instances: NDArray[np.int32] | None = None
    source: str = ""
    valid: NDArray[np.bool_] | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str = ""
    slices: tuple[NDArray[Any], ...] = ()

    @property
    def input(self) -> NDArray[Any]:
        """What a network is given, [C, H, W] as stored: the pixels, or those of all slices one after the other."""
        return np.concatenate(self.slices) if self.slices else self.pixels

    def _repr_html_(self) -> str:
        labels = () if self.labels is None else (picture(thumbnail(self.labels[None]), "labels"),)
        pictures = "\n".join((picture(thumbnail(self.pixels), "image"), *labels))
        channels, rows, columns = self.pixels.shape
        return f"<p>{escape(self.name)}: {channels} × {rows} × {columns}, {self.pixels.dtype}</p>{pictures}"


class Dataset(Protocol):
    """A finite sequence of samples. Reading a sample may raise `DataError`; asking for the length may not.

    A data set may say more of itself, by attributes that others lack: see `division_of`, `complaints_of`, `account_of`,
    `mask_map_of` and `channel_files_of`.
    """

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


@dataclass(frozen=True, slots=True)
class Division:
    """How a data set is divided by its makers.

    Attributes:
        held_out: indices that are kept for validation; empty where there are none.
        test: indices of the test set: never trained on, never chosen on, scored once at the end.
        groups: the group of each sample; those of one group, as of one patient, stay on one side. Empty: none.
        stacks: the stack of each sample, whose samples follow each other in its order; "" of an image on its own.
            Empty: there are no stacks.
    """

    held_out: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> "Division":
        """Divide samples by the part of the set that each belongs to: train, val, test, or "" where nothing says it.

        Where all are of val or test nothing would be left to train on, and nothing is divided.
        """
        if not any(part in ("", "train") for part in parts):
            return cls()
        held_out, test = (tuple(at for at, part in enumerate(parts) if part == one) for one in ("val", "test"))
        return cls(held_out, test)

    @property
    def serial(self) -> bool:
        """Whether samples are neighbouring sections of stacks."""
        return any(self.stacks)


UNDIVIDED = Division()


@dataclass(frozen=True, slots=True)
class Subset:
    """Some samples of a data set, read when they are asked for.

    Attributes:
        dataset: where they come from.
        indices: which, in this order.
    """

    dataset: Dataset
    indices: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data set."""
        return self.dataset.classes

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index`.

        Raises:
            DataError: as the data set.
        """
        return self.dataset[self.indices[index]]


@dataclass(frozen=True, slots=True)
class Changed:
    """A data set whose samples are changed when they are read.

    Attributes:
        dataset: where they come from.
        classes: the names of the classes of what is made of them, index 0 first.
        change: makes it; may raise `DataError`.
    """

    dataset: Dataset
    classes: tuple[str, ...]
    change: Callable[[Sample], Sample]

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Sample:
        """Read the sample at `index` and change it.

        Raises:
            DataError: as the data set, or a sample that cannot be changed so.
        """
        return self.change(self.dataset[index])


def samples_of(dataset: Dataset) -> Iterator[Sample]:
    """Yield every sample in order."""
    for index in range(len(dataset)):
        yield dataset[index]


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


@dataclass(frozen=True, slots=True)
class Account:
    """What a reader took files for, as lines for people.

    Attributes:
        taken: what -> which files, as patterns and numbers.
        unsure: what was not certain, and what else it could be.
        unused: what was taken for nothing.
        section: the keys of `data:` that fix the answer.
    """

    taken: tuple[tuple[str, str], ...] = ()
    unsure: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    section: tuple[tuple[str, str], ...] = ()


Read = Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Stored:
    """A mask that lies in a file: how to read it as [C, H, W], and the file for messages."""

    read: Read
    source: str


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a set: its name, how to read it as [C, H, W], its masks, and the mask of the pixels that count.

    Attributes:
        name: unique in its set.
        source: the file, for messages.
        image: reads it.
        masks: none, one, or one for each class but the first.
        region: 0 where pixels do not count; None: all count.
        pixel_size: as of `Sample`.
        unit: likewise.
        stack: that it is a slice of; "" where it is none.
        objects: draws its objects at a height and width, where they are not masks of the set's one meaning.
    """

    name: str
    source: str
    image: Read
    masks: tuple[Stored, ...] = ()
    region: Stored | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str = ""
    stack: str = ""
    objects: Callable[[tuple[int, int]], Objects] | None = None


@dataclass(frozen=True, slots=True)
class ItemDataset:
    """A data set of items.

    Attributes:
        items: the images and their masks.
        mask_map: what the masks' values mean; None for images without labels.
        division: how the data itself is divided.
        complaints: a sentence about each file that was left out.
        account: what the files were taken for.
        names: of the classes, index 0 first, where the items draw objects; empty with `mask_map`, or without labels.
        channel_files: the words that tell an image's files apart where each channel has one; else empty.
    """

    items: tuple[Item, ...]
    mask_map: MaskMap | None = None
    division: Division = UNDIVIDED
    complaints: tuple[str, ...] = ()
    account: Account = Account()
    names: tuple[str, ...] = ()
    channel_files: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, index 0 first; empty without labels."""
        return self.mask_map.classes if self.mask_map else self.names

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
        if item.objects is not None:
            drawn = item.objects((pixels.shape[1], pixels.shape[2]))
            found = Decoded(drawn.labels, drawn.instances)
        elif item.masks and self.mask_map is not None:
            found = self.mask_map.decode([(mask.read(), mask.source) for mask in item.masks])
            require_same_size(item.source, pixels.shape[1:], item.masks[0].source, found.labels.shape)
        else:
            return Sample(item.name, pixels, source=item.source)
        known = found.labels, found.instances, item.source, found.valid, item.pixel_size, item.unit
        sample = Sample(item.name, pixels, *known)
        if item.region is None:
            return sample
        inside = (item.region.read() != 0).any(axis=0)
        require_same_size(item.source, pixels.shape[1:], item.region.source, inside.shape)
        return within(sample, inside)


def stacks_of(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the stack of each item, as `Division` has them."""
    stacks = tuple(item.stack for item in items)
    return stacks if any(stacks) else ()


def within(sample: Sample, inside: NDArray[np.bool_]) -> Sample:
    """Return a sample of which only the pixels inside [H, W] count; elsewhere its labels are 0."""
    valid = inside if sample.valid is None else sample.valid & inside
    labels = None if sample.labels is None else sample.labels * valid
    instances = None if sample.instances is None else sample.instances * valid
    return replace(sample, labels=labels, instances=instances, valid=valid)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one image, opened, each with the same number of pages.

    Attributes:
        name: of the image.
        image: its file.
        masks: one, or one for each class but the first.
        region: the pixels that count.
        is_stack: a single page is named as one of many.
    """

    name: str
    image: Image
    masks: tuple[Image, ...] = ()
    region: Image | None = None
    is_stack: bool = False

    def items(self) -> list[Item]:
        """Make an item, or an item `name[07]` of every page of a stack; a region of one page holds for all.

        Raises:
            DataError: other numbers of pages, or pages of other sizes; those of single images are compared when read.
        """
        count, region = self.image.count, self.region
        for mask in self.masks:
            if mask.count != count:
                raise DataError(f"{mask.source}: has {mask.count} pages, but {self.image.source} has {count}")
            if count > 1:
                require_same_size(
                    self.image.source, (self.image.height, self.image.width), mask.source, (mask.height, mask.width)
                )
        digits, (down, across) = max(2, len(str(count - 1))), (self.image.pixel_size.get(axis) for axis in "yx")
        scaled = None if down is None or across is None or down.unit != across.unit else (down.size, across.size)
        unit = down.unit if down is not None and scaled is not None else ""
        stacks = {page: f"{self.name} {number}" for number, pages in enumerate(self.image.stacks) for page in pages}
        return [
            Item(
                f"{self.name}[{page:0{digits}}]" if count > 1 or self.is_stack else self.name,
                self.image.source,
                partial(self.image.read, page),
                tuple(Stored(partial(mask.read, page), mask.source) for mask in self.masks),
                None if region is None else Stored(partial(region.read, min(page, region.count - 1)), region.source),
                scaled if unit else None,
                unit,
                stacks[page] if count > 1 or self.is_stack else "",
            )
            for page in range(count)
        ]


AS_LARGE = (
    "a mask must be as large as its image: give the image that it was drawn on, or resize it to the nearest pixels "
    "(a mean of pixels makes values that mean nothing)"
)


def require_same_size(image: str, image_size: Sequence[int], mask: str, mask_size: Sequence[int]) -> None:
    """Raise `DataError` where a mask is not as large as its image, [rows, columns]."""
    if tuple(image_size) != tuple(mask_size):
        raise DataError(
            f"{mask}: {mask_size[0]} x {mask_size[1]} pixels (rows x columns), but its image {image} has "
            f"{image_size[0]} x {image_size[1]}; {AS_LARGE}"
        )


@dataclass(frozen=True, slots=True)
class InMemory:
    """A data set whose samples are held.

    Attributes:
        samples: all of them.
        classes: the names of the classes, index 0 first.
        division: how the data itself is divided.
        account: what the files were taken for.
        mask_map: what the masks' values mean, where there is one meaning for all.
        channel_files: as of `ItemDataset`.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    division: Division = UNDIVIDED
    account: Account = Account()
    mask_map: MaskMap | None = None
    channel_files: tuple[str, ...] = ()

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

    def read(index: int) -> Sample:
        sample = dataset[index]
        pixels = np.array(sample.pixels)
        pixels.flags.writeable = False
        return replace(sample, pixels=pixels)

    with ThreadPoolExecutor(available_cores()) as pool:
        samples = tuple(pool.map(read, range(len(dataset)) if indices is None else indices))
    division = division_of(dataset) if indices is None else UNDIVIDED
    return InMemory(
        samples, dataset.classes, division, account_of(dataset), mask_map_of(dataset), channel_files_of(dataset)
    )


def name_of(dataset: Dataset, index: int) -> tuple[str, str]:
    """Return the name and the source of a sample, without reading it where its reader knows them."""
    if isinstance(dataset, ItemDataset):
        return dataset.items[index].name, dataset.items[index].source
    sample = dataset[index]
    return sample.name, sample.source


def division_of(dataset: Dataset) -> Division:
    """Return how the data itself is divided."""
    return getattr(dataset, "division", UNDIVIDED)


def complaints_of(dataset: Dataset) -> tuple[str, ...]:
    """Return a sentence about each file that was left out of a data set."""
    return getattr(dataset, "complaints", ())


def account_of(dataset: Dataset) -> Account:
    """Return what a reader took the files for; nothing where it does not say."""
    return getattr(dataset, "account", Account())


def mask_map_of(dataset: Dataset) -> MaskMap | None:
    """Return what the values of a set's masks mean, where there is one meaning for all."""
    return getattr(dataset, "mask_map", None)


def channel_files_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the words that tell an image's files apart where each channel has one; else none."""
    return getattr(dataset, "channel_files", ())
