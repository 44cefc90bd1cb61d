"""Which reader a path needs, recognised by what lies there.

Assumes that a folder holds one data set. The layouts are tried in the order of `LAYOUTS`; the first that recognises the
path opens it. Does not look at pixels.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.dataset import Dataset, ItemDataset, complaints_of, items_of_pairs, refuse
from unetkit.data.layouts.coco import is_coco, is_coco_folder, open_coco, open_coco_file, open_coco_folder
from unetkit.data.layouts.mask_files import (
    IMAGE_FOLDERS,
    TEST_IMAGES,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    find_folder,
    find_stack,
    image_files,
    is_isbi_folder,
    is_mask_name,
    is_multiclass,
    is_paired_folder,
    mask_name_of,
    open_isbi,
    open_multiclass,
    open_paired_folder,
    open_pairs,
    open_stack,
    open_two_folders,
)
from unetkit.data.layouts.nuclei import is_nuclei, is_nuclei_folder, open_bare_nuclei, open_nuclei
from unetkit.data.masks import MaskMap
from unetkit.errors import ConfigError, DataError
from unetkit.images import SUFFIXES
from unetkit.storage import is_remote, local_copy
from unetkit.storage.tree import Tree, is_archive, open_tree

SAMPLE = "sample"
"""The path of the stack that is generated in memory."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout of data: how a path is recognised as one, and how it is opened."""

    name: str
    recognises: Callable[[Path], bool]
    opens: Callable[[Path, DataConfig], Dataset]


@dataclass(frozen=True, slots=True)
class ArchiveLayout:
    """A layout of data that is also read from a .zip archive."""

    name: str
    recognises: Callable[[Tree], bool]
    opens: Callable[[Tree, DataConfig], Dataset]


DEFAULT = DataConfig()


def open_dataset(path: str | Path | None, *, config: DataConfig = DEFAULT) -> Dataset:
    """Open images with their labels; the layout is recognised by what lies at the path.

    Args:
        path: a folder or a file, or 'sample' for the generated stack; None with `config.images` and `config.labels`.
        config: the names of files and classes and the meaning of mask values; its own path is not looked at.

    Raises:
        DataError: nothing there, no layout that is known, or files that do not fit together.
        ConfigError: `images` without `labels` or the reverse, or a table of mask values that contradicts the classes.

    Example:
        >>> dataset = open_dataset("sample")
        >>> dataset[0].pixels.shape
        (1, 256, 256)
    """
    dataset = open_usable(path, config=config)
    refuse(complaints_of(dataset))
    return dataset


def open_usable(path: str | Path | None, *, config: DataConfig = DEFAULT) -> Dataset:
    """Open the images and labels that can be used; `complaints_of` names the files that were left out, and why.

    Raises:
        DataError: nothing there, or no layout that is known.
        ConfigError: as `open_dataset`.
    """
    if config.images is not None or config.labels is not None:
        return _open_named(path, config)
    if path is None:
        raise ConfigError("no data is named; give a folder or a file in data.path, or 'sample'")
    if str(path) == SAMPLE:
        from unetkit.data.layouts.synthetic import open_sample  # scipy's interpolation is slow to import

        return open_sample(MaskMap.of(config.mask_values, config.classes) if config.classes else None)
    place = _existing(path)
    with _listing(place):
        if is_archive(place):
            tree = open_tree(place)
            packed = next((layout for layout in ARCHIVES if layout.recognises(tree)), None)
            if packed is None:
                raise DataError(
                    f"{place}: not a data set that is known ({len(tree.files)} files); an archive may hold "
                    "annotations/instances_*.json or ID/images with ID/masks; unpack others"
                )
            return packed.opens(tree, config)
        layout = next((layout for layout in LAYOUTS if layout.recognises(place)), None)
        if layout is None:
            found = "a single file without labels next to it"
            if not place.is_file():
                names = sorted(inside.name for inside in place.iterdir())
                found = f"it holds {', '.join(names[:4])}{', ...' * (len(names) > 4)}" if names else "an empty folder"
            raise DataError(f"{place}: not a data set that is known ({found}); {_KNOWN}")
        return layout.opens(place, config)


def open_images(path: str | Path) -> Dataset:
    """Open images without labels: one file of any number of pages, or a folder of files.

    Of a folder with the ISBI names test-volume.tif is taken, of one with a folder `images` the files there, of a folder
    or an archive of nuclei their images, and of any other folder the image files that are not named as masks. 'sample'
    is a generated stack that is not the training one.

    Raises:
        DataError: nothing there, no image files, or unreadable ones.
    """
    if str(path) == SAMPLE:
        from unetkit.data.layouts.synthetic import open_sample  # as above

        return ItemDataset(open_sample(seed=1).items)
    place = _existing(path)
    with _listing(place):
        if is_archive(place):
            return open_bare_nuclei(open_tree(place))
        stack = place if place.is_file() else find_stack(place, TEST_IMAGES) or find_stack(place, TRAIN_IMAGES)
        if stack is not None:
            files = [stack]
        elif inner := find_folder(place, IMAGE_FOLDERS):
            files = image_files(inner)
        else:
            files = [path for path in image_files(place) if not is_mask_name(path)]
        if not files:
            return open_bare_nuclei(open_tree(place))
    stems, complaints = Counter(file.stem for file in files), list[str]()
    named = [(file.stem if stems[file.stem] == 1 else file.name, file, None) for file in files]
    items = items_of_pairs(named, "mask", complaints)
    refuse(complaints)
    return ItemDataset(items)


def _open_named(path: str | Path | None, config: DataConfig) -> Dataset:
    if config.images is None or config.labels is None:
        missing = "data.labels" if config.labels is None else "data.images"
        raise ConfigError(f"{missing} is missing: images and labels must both be named, or neither")
    place = Path() if path is None else local_copy(path)
    root = place if place.is_dir() else Path()
    images, labels = (_existing(name if is_remote(name) else root / name) for name in (config.images, config.labels))
    if images.is_dir() != labels.is_dir():
        raise DataError(f"{images} and {labels}: one is a folder and one a file; two of a kind were expected")
    return open_two_folders(images, labels, config) if images.is_dir() else open_stack(images, labels, config)


def _existing(path: str | Path) -> Path:
    place = local_copy(path)
    try:
        place.stat()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file or folder") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return place


@contextmanager
def _listing(place: Path) -> Generator[None]:
    """Turn a folder that may not be listed into an error of ours; files are opened elsewhere."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or place}: cannot be read: {error.strerror or error}") from error


def open_labelled_file(path: Path, config: DataConfig) -> Dataset:
    """Open one image file and the mask file next to it.

    Raises:
        DataError: files that cannot be read or do not fit together.
    """
    labels = _labels_of(path)
    assert labels is not None
    if path.stem == TRAIN_IMAGES:
        return open_stack(path, labels, config)
    return open_pairs([path], [labels], config, place=str(path.parent))


def _labels_of(path: Path) -> Path | None:
    if path.stem == TRAIN_IMAGES:
        return find_stack(path.parent, TRAIN_LABELS)
    if path.suffix.lower() not in SUFFIXES or is_mask_name(path):
        return None
    return next((other for other in image_files(path.parent) if mask_name_of(other) == path.stem), None)


_KNOWN = (
    "known are train-volume.tif with train-labels.tif, a folder images with a folder masks, images with masks such as "
    "a.png and a_mask.png, ID/image.png with ID/mask.png, ID/images with ID/masks, and annotations/instances_*.json; "
    "name other files in data.images and data.labels"
)

ARCHIVES: tuple[ArchiveLayout, ...] = (
    ArchiveLayout("COCO", is_coco, lambda tree, config: open_coco([tree], config)),
    ArchiveLayout("nuclei", is_nuclei, open_nuclei),
)

LAYOUTS: tuple[Layout, ...] = (
    Layout("stack with the ISBI names", lambda path: path.is_dir() and is_isbi_folder(path), open_isbi),
    Layout("COCO", lambda path: path.is_dir() and is_coco_folder(path), open_coco_folder),
    Layout("one COCO file", lambda path: path.suffix.lower() == ".json" and path.is_file(), open_coco_file),
    Layout(
        "nuclei",
        lambda path: path.is_dir() and is_nuclei_folder(path),
        lambda path, config: open_nuclei(open_tree(path), config),
    ),
    Layout("multi-class folders", is_multiclass, open_multiclass),
    Layout("images and masks", lambda path: path.is_dir() and is_paired_folder(path), open_paired_folder),
    Layout("one file and its mask", lambda path: path.is_file() and _labels_of(path) is not None, open_labelled_file),
)
