"""Objects as the 2018 Data Science Bowl ships nuclei: ID/images/*.png and ID/masks/*.png, one mask for every object.

Read from the folder or straight from the .zip archive. Every mask file is one object; its id is its place in the sorted
names, from 1. Where two masks overlap, the pixel belongs to the first of them. Labels are the union of the masks.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from unetkit.config import DataConfig
from unetkit.data.dataset import Account, Dataset, Division, Item, ItemDataset, kept, require_same_size
from unetkit.data.layouts.names import Name
from unetkit.data.outlines import Objects
from unetkit.errors import DataError
from unetkit.images import SUFFIXES, decode_single, is_image_name
from unetkit.storage.tree import Tree

CLASSES = ("background", "object")
_MANY_MASKS = 1.5  # masks an image from which each is taken for one object


def is_nuclei(tree: Tree) -> bool:
    """Tell whether most folders with ID/masks hold one image in ID/images, and several masks."""
    images, masks = group(tree, "images"), group(tree, "masks")
    alone = sum(len(files) == 1 for files in images.values())
    return 0 < len(images) <= 2 * alone and sum(map(len, masks.values())) >= _MANY_MASKS * max(alone, 1)


def open_nuclei(tree: Tree, config: DataConfig) -> Dataset:
    """Open images with one mask for every object; an id without exactly one image or without masks is a complaint.

    Raises:
        DataError: other than two classes are declared.
    """
    classes = config.classes or CLASSES
    if len(classes) != 2:
        raise DataError(f"{tree.root}: holds two classes, background and object, but {len(classes)} are declared")
    images, masks = group(tree, "images"), group(tree, "masks")
    complaints = [
        f"{tree.source(files[0])}: has no image in {identity}/images"
        for identity, files in masks.items()
        if identity not in images
    ]
    labelled = {_above(identity) for identity in masks}
    bare = [identity for identity in images if _above(identity) not in labelled]
    items: list[Item] = []
    parts: list[str] = []
    for identity, files in images.items():
        if identity in bare:
            continue
        with kept(complaints):
            if identity not in masks:
                raise DataError(
                    f"{tree.source(files[0])}: has no masks in {identity}/masks; leave it out, or draw them"
                )
            items.append(_item(tree, identity, files, masks[identity]))
            parts.append(Name.of(f"{_above(identity)}/image").part)
    count = sum(len(masks[identity]) for identity in images if identity in masks)
    account = Account(
        (
            ("images", f"{len(items)}, ID/images/*, one an ID"),
            ("masks", f"{count:,} files ID/masks/*, each one object"),
            *((("no masks", f"{len(bare)} images are left out: {_above(bare[0])}/*"),) if bare else ()),
        )
    )
    return ItemDataset(tuple(items), None, Division.of_parts(parts), tuple(complaints), account, classes)


def _above(identity: str) -> str:
    return identity.rpartition("/")[0]


def open_bare_nuclei(tree: Tree) -> Dataset:
    """Open the images alone, as the test part has them.

    Raises:
        DataError: an id without exactly one image, or an archive that is damaged or unsafe.
    """
    images = group(tree, "images")
    if not images:
        raise DataError(f"{tree.root}: no image files ({', '.join(sorted(SUFFIXES))}) were found")
    return ItemDataset(tuple(_item(tree, identity, files, None) for identity, files in images.items()))


def group(tree: Tree, folder: str) -> dict[str, list[str]]:
    """Return the image files of every id: those that lie in `ID/<folder>`, at whatever depth ID lies."""
    grouped: dict[str, list[str]] = {}
    for name in tree.files:
        parts = name.split("/")
        if len(parts) >= 3 and parts[-2] == folder and is_image_name(name):
            grouped.setdefault("/".join(parts[:-2]), []).append(name)
    return grouped


def _item(tree: Tree, identity: str, files: list[str], masks: list[str] | None) -> Item:
    if len(files) != 1:
        raise DataError(f"{tree.root}: {identity}/images holds {len(files)} images ({files[0]}, ...); one was expected")
    source = tree.source(files[0])

    def image() -> np.ndarray:
        return decode_single(tree.read(files[0]), source)

    objects = None if masks is None else partial(draw_masks, tree, masks, source=source)
    return Item(identity.replace("/", "-"), source, image, objects=objects)


def draw_masks(tree: Tree, masks: Sequence[str], size: tuple[int, int], *, source: str) -> Objects:
    """Draw the objects of an image [H, W], one from each mask file, the first on top.

    Args:
        tree: where the files lie.
        masks: their names; ids are their places from 1.
        size: of the image.
        source: the image, for messages.

    Raises:
        DataError: a mask that cannot be read, is empty, or of another size.
    """
    instances = np.zeros(size, np.int32)
    flat = instances.reshape(-1)
    for number, name in enumerate(masks, 1):
        file = tree.source(name)
        planes = decode_single(tree.read(name), file, "mask") != 0
        mask = planes[0] if len(planes) == 1 else planes.any(axis=0)
        require_same_size(source, size, file, mask.shape)
        inside = np.flatnonzero(mask)  # most objects take little of their image
        if not len(inside):
            raise DataError(f"{file}: an empty mask; one object was expected: leave the file out")
        flat[inside[flat[inside] == 0]] = number
    return Objects((instances > 0).astype(np.uint8), instances)
