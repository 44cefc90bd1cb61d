"""Stacks: a multi-page TIFF of images and one of masks, by the names of the ISBI-2012 challenge or by any others.

Assumes that page n of the masks belongs to page n of the images. The challenge's label files are white (255) inside
cells and black (0) on membranes, so class 0 is the membrane and class 1 the interior.
"""

from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.images import open_pages
from unetkit.data.items import ItemDataset, items_of_stack
from unetkit.data.masks import MaskMap
from unetkit.data.sample import Dataset
from unetkit.errors import DataError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES = "train-volume", "train-labels", "test-volume"
ISBI_CLASSES = ("membrane", "interior")
_SUFFIXES = (".tif", ".tiff")


def is_isbi_folder(folder: Path) -> bool:
    """Tell whether a folder holds a stack under one of the challenge's names."""
    return any(find_stack(folder, name) for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES))


def find_stack(folder: Path, name: str) -> Path | None:
    """Return the TIFF file of that name in a folder, if there is one."""
    return next((folder / f"{name}{suffix}" for suffix in _SUFFIXES if (folder / f"{name}{suffix}").is_file()), None)


def open_isbi(folder: Path, config: DataConfig) -> Dataset:
    """Open train-volume.tif and train-labels.tif of a folder.

    Raises:
        DataError: one of the two is missing, or they do not fit together.
    """
    images, labels = find_stack(folder, TRAIN_IMAGES), find_stack(folder, TRAIN_LABELS)
    for found, name, other in ((images, TRAIN_IMAGES, labels), (labels, TRAIN_LABELS, images)):
        if found is None:
            beside = other or find_stack(folder, TEST_IMAGES)
            raise DataError(f"{folder}: {beside} is there, but {name}.tif is missing; put it into the same folder")
    assert images is not None
    assert labels is not None
    return open_stack(images, labels, config)


def open_stack(images: Path, labels: Path, config: DataConfig) -> Dataset:
    """Open a stack of images and a stack of masks; the samples are named after the image file: `train-volume[07]`.

    Raises:
        DataError: other numbers of pages, other sizes, or files that cannot be read.
    """
    mask_map = MaskMap.of(config.mask_values, config.classes or ISBI_CLASSES)
    items = items_of_stack(images.stem, open_pages(images), open_pages(labels, mask_map.role))
    return ItemDataset(tuple(items), mask_map)
