"""Mask files that belong to image files: by their names, by their folder, or page by page of a stack.

Pairs: images in one folder and masks in another (`images/` and `masks/` or `labels/`, or any two that are named), or
both in one folder, the masks recognised by a suffix such as `_mask`. Names are compared without ending and suffix.
Files that are not images, and hidden ones, are taken for no part of the data.

A folder a sample: ID/image.png and ID/mask.png, the legacy model zoo's layout, also below train/ and val/. Masks hold 0
and 255 for two classes and class indices for more. Where the data is divided into train/ and val/, the latter is what
the split method 'given' holds out; elsewhere the legacy split of 0.8 over the sorted ids is the method 'blocks' with
the last of five folds.

Stacks: a multi-page TIFF of images and one of masks, by the names of the ISBI-2012 challenge or by any others. Page n
of the masks belongs to page n of the images. The challenge's label files are white (255) inside cells and black (0) on
membranes, so class 0 is the membrane and class 1 the interior.
"""

from collections.abc import Iterable
from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.dataset import Dataset, ItemDataset, items_of_pairs, items_of_stack, kept
from unetkit.data.masks import MaskMap
from unetkit.errors import DataError
from unetkit.images import SUFFIXES, is_image_name, open_image

IMAGE_FOLDERS = ("images", "image", "imgs", "train_image")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "train_label")
MASK_SUFFIXES = ("_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "-mask", "-label")
DEFAULT_CLASSES = ("background", "foreground")


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name, those in folders below it left out."""
    found = (path for path in folder.iterdir() if is_image_name(path.name) and not path.name.startswith("."))
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
    """Tell whether a folder holds a folder of images, or masks that a suffix names as such."""
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
            raise DataError(f"{folder}: holds {(images or masks)} but no folder {' or '.join(names[:3])} next to it")
    assert images is not None
    assert masks is not None
    return open_two_folders(images, masks, config)


def open_two_folders(images: Path, masks: Path, config: DataConfig) -> Dataset:
    """Open a folder of images and a folder of masks.

    Raises:
        DataError: as `open_paired_folder`.
    """
    for folder in (images, masks):
        others = {path.suffix for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
        if others and not image_files(folder):
            found, known = ", ".join(sorted(others)), ", ".join(sorted(SUFFIXES))
            raise DataError(
                f"{folder}: holds {found} files and none that is read ({known}); "
                "save them as one of these, masks as .png or .tif"
            )
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


PARTS = ("train", "val")


def is_multiclass(folder: Path) -> bool:
    """Tell whether a folder, or its train/ or val/, holds folders with an image and a mask."""
    return folder.is_dir() and any(
        {"image", "mask"} <= {path.stem for path in image_files(inside)}
        for part in _parts(folder)
        for inside in _folders(part)
    )


def open_multiclass(folder: Path, config: DataConfig) -> Dataset:
    """Open ID/image.* and ID/mask.*, sorted by ID; an ID without an image or a mask becomes a complaint.

    Raises:
        DataError: files of several pages in data that is divided into train/ and val/.
    """
    mask_map = MaskMap.of(config.mask_values, config.classes or DEFAULT_CLASSES)
    parts = _parts(folder)
    pairs: list[tuple[str, Path, Path | None]] = []
    complaints: list[str] = []
    for part in parts:
        for inside in _folders(part):
            name = inside.name if part == folder else f"{part.name}-{inside.name}"
            with kept(complaints):
                pairs.append((name, _only(inside, "image"), _only(inside, "mask")))
    items = items_of_pairs(pairs, mask_map.role, complaints)
    if len(parts) == 1:
        return ItemDataset(items, mask_map, complaints=tuple(complaints))
    if {item.name for item in items} - {name for name, _, _ in pairs}:
        raise DataError(f"{folder}: holds files of several pages; one page an ID was expected")
    held_out = tuple(index for index, item in enumerate(items) if item.name.startswith("val-"))
    return ItemDataset(items, mask_map, held_out, tuple(complaints))


def _parts(folder: Path) -> list[Path]:
    found = [folder / part for part in PARTS if (folder / part).is_dir()]
    return found or [folder]


def _folders(folder: Path) -> list[Path]:
    return sorted(inside for inside in folder.iterdir() if inside.is_dir() and not inside.name.startswith("."))


def _only(folder: Path, stem: str) -> Path:
    found = [path for path in image_files(folder) if path.stem == stem]
    if len(found) != 1:
        what = "no" if not found else f"{len(found)} files named"
        raise DataError(f"{folder}: holds {what} {stem}; one {stem}.png was expected next to the other")
    return found[0]


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
            present = other or find_stack(folder, TEST_IMAGES)
            raise DataError(f"{folder}: {present} is there, but {name}.tif is missing; put it into the same folder")
    assert images is not None
    assert labels is not None
    return open_stack(images, labels, config)


def open_stack(images: Path, labels: Path, config: DataConfig) -> Dataset:
    """Open a stack of images and a stack of masks; the samples are named after the image file: `train-volume[07]`.

    Raises:
        DataError: other numbers of pages, other sizes, or files that cannot be read.
    """
    mask_map = MaskMap.of(config.mask_values, config.classes or ISBI_CLASSES)
    items = items_of_stack(images.stem, open_image(images), open_image(labels, mask_map.role))
    return ItemDataset(tuple(items), mask_map)
