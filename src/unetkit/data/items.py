"""The data set behind most readers: a row of images, each with a mask or none, read when they are asked for.

Assumes that each item's callables raise `DataError` for what they cannot read. Does not know where the files lie.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.data.complaints import kept
from unetkit.data.images import is_tiff, open_pages, read_single
from unetkit.data.masks import MaskMap
from unetkit.data.pages import Pages, Role, as_pixels
from unetkit.data.sample import Sample
from unetkit.errors import DataError

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
            items += _items_of_pair(name, image, mask, mask_role)
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
    """Raise `DataError` where a mask [rows, columns] does not lie on its image."""
    if tuple(image_size) != tuple(mask_size):
        raise DataError(
            f"{mask}: {mask_size[0]} x {mask_size[1]} pixels (rows x columns), but its image {image} has "
            f"{image_size[0]} x {image_size[1]}; a mask must be as large as its image"
        )


def _items_of_pair(name: str, image: Path, mask: Path | None, mask_role: Role) -> list[Item]:
    if is_tiff(image) or (mask is not None and is_tiff(mask)):
        pages = open_pages(image)
        masks = None if mask is None else open_pages(mask, mask_role)
        if pages.count > 1 or (masks is not None and masks.count > 1):
            return items_of_stack(name, pages, masks)
    read_mask = None if mask is None else partial(read_single, mask, mask_role)
    return [Item(name, str(image), partial(read_single, image), read_mask, str(mask or ""))]
