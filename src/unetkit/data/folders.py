"""Folders of image and mask files that belong together by name.

Two forms: images in one folder and masks in another (`images/` and `masks/` or `labels/`, or any two that are named),
or both in one folder, the masks told by a suffix such as `_mask`. Names are compared without ending and suffix. Assumes
that files which are no images, and hidden ones, do not belong to the data.
"""

from collections.abc import Iterable
from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.images import SUFFIXES
from unetkit.data.items import ItemDataset, items_of_pairs
from unetkit.data.masks import MaskMap
from unetkit.data.sample import Dataset
from unetkit.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "train_image")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "train_label")
MASK_SUFFIXES = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "-mask", "-label")
DEFAULT_CLASSES = ("background", "foreground")


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name, those in folders below it left out."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def find_folder(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first folder of these names in a folder, whatever the case of its letters."""
    inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def is_mask_name(path: Path) -> bool:
    """Tell whether a file's name ends as a mask's does."""
    return path.stem.lower().endswith(MASK_SUFFIXES)


def mask_name_of(path: Path) -> str | None:
    """Return the name of the image that a mask's name points to: `cell` for `cell_mask.png`; None for other names."""
    suffix = next((suffix for suffix in MASK_SUFFIXES if path.stem.lower().endswith(suffix)), None)
    return None if suffix is None else path.stem[: -len(suffix)]


def is_paired_folder(folder: Path) -> bool:
    """Tell whether a folder holds a folder of images, or masks that are told by a suffix."""
    if find_folder(folder, IMAGE_FOLDERS) or find_folder(folder, MASK_FOLDERS):
        return True
    return any(is_mask_name(path) for path in image_files(folder))


def open_paired_folder(folder: Path, config: DataConfig) -> Dataset:
    """Open the images and masks of a folder.

    Raises:
        DataError: an image without a mask or the reverse, two files of one name, or a folder that is missing or empty.
    """
    images, masks = find_folder(folder, IMAGE_FOLDERS), find_folder(folder, MASK_FOLDERS)
    if images is None and masks is None:
        files = image_files(folder)
        chosen = [path for path in files if is_mask_name(path)]
        return open_pairs([path for path in files if not is_mask_name(path)], chosen, config, place=str(folder))
    for found, names in ((images, IMAGE_FOLDERS), (masks, MASK_FOLDERS)):
        if found is None:
            raise DataError(f"{folder}: holds {(images or masks)} but no folder {' or '.join(names[:3])} beside it")
    assert images is not None
    assert masks is not None
    return open_two_folders(images, masks, config)


def open_two_folders(images: Path, masks: Path, config: DataConfig) -> Dataset:
    """Open a folder of images and a folder of masks.

    Raises:
        DataError: as `open_paired_folder`.
    """
    return open_pairs(image_files(images), image_files(masks), config, place=f"{images} and {masks}")


def open_pairs(images: list[Path], masks: list[Path], config: DataConfig, *, place: str) -> Dataset:
    """Open images and masks that are matched by name; `place` says where they were sought.

    An image without a mask or the reverse, and the second of two files of one name, become complaints.

    Raises:
        DataError: nothing found.
    """
    if not images and not masks:
        raise DataError(f"{place}: no image files ({', '.join(sorted(SUFFIXES))}) were found")
    complaints: list[str] = []
    image_of = _by_name(images, complaints, suffixed=False)
    mask_of = _by_name(masks, complaints, suffixed=True)
    complaints += _alone(image_of, mask_of, "mask", place) + _alone(mask_of, image_of, "image", place)
    mask_map = MaskMap.of(config.mask_values, config.classes or DEFAULT_CLASSES)
    pairs = [(name, path, mask_of[name]) for name, path in image_of.items() if name in mask_of]
    items = items_of_pairs(pairs, mask_map.role, complaints)
    return ItemDataset(items, mask_map, complaints=tuple(complaints))


def _by_name(paths: list[Path], complaints: list[str], *, suffixed: bool) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = (mask_name_of(path) or path.stem) if suffixed else path.stem
        if named.setdefault(name, path) != path:
            complaints.append(f"{path}: has the same name as {named[name]}; names must differ in more than endings")
    return named


def _alone(these: dict[str, Path], those: dict[str, Path], what: str, place: str) -> list[str]:
    return [
        f"{path}: has no {what}; one named '{name}' was expected in {place}"
        for name, path in these.items()
        if name not in those
    ]
