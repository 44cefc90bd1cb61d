"""Which reader a path needs, told by what lies there.

Assumes that a folder holds one data set. The forms are tried in the order of `FORMS`; the first that recognises the
path opens it. Does not look at pixels.
"""

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
class Form:
    """A form of data: how a path is recognised as one, and how it is opened."""

    name: str
    recognises: Callable[[Path], bool]
    opens: Callable[[Path, DataConfig], Dataset]


@dataclass(frozen=True, slots=True)
class ArchiveForm:
    """A form of data that is also read from a .zip archive."""

    name: str
    recognises: Callable[[Tree], bool]
    opens: Callable[[Tree, DataConfig], Dataset]


DEFAULT = DataConfig()


def open_dataset(path: str | Path | None, *, config: DataConfig = DEFAULT) -> Dataset:
    """Open images with their labels; the form is recognised by what lies at the path.

    Args:
        path: a folder or a file, or 'sample' for the generated stack; None with `config.images` and `config.labels`.
        config: the names of files and classes and the meaning of mask values; its own path is not looked at.

    Raises:
        DataError: nothing there, no form that is known, or files that do not fit together.
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
    """Open the images and labels that can be used; `complaints_of` tells which files were left out, and why.

    Raises:
        DataError: nothing there, or no form that is known.
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
            return _open_archive(open_tree(place), config)
        form = next((form for form in FORMS if form.recognises(place)), None)
        if form is None:
            raise DataError(f"{place}: no data set that is known ({_contents(place)}); {_KNOWN}")
        return form.opens(place, config)


def open_images(path: str | Path) -> Dataset:
    """Open images without labels: one file of any number of pages, or a folder of files.

    Of a folder in the ISBI form test-volume.tif is taken, of one with a folder `images` the files there, of a folder or
    an archive of nuclei their images, and of any other folder the image files that are not named as masks. 'sample'
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
        files = [place] if place.is_file() else _images_in(place)
        if not files:
            return open_bare_nuclei(open_tree(place))
    complaints: list[str] = []
    items = items_of_pairs([(_unique_name(file, files), file, None) for file in files], "mask", complaints)
    refuse(complaints)
    return ItemDataset(items)


def _open_archive(tree: Tree, config: DataConfig) -> Dataset:
    form = next((form for form in ARCHIVES if form.recognises(tree)), None)
    if form is None:
        raise DataError(
            f"{tree.root}: no data set that is known ({len(tree.files)} files); an archive may hold "
            "annotations/instances_*.json or ID/images with ID/masks; unpack others"
        )
    return form.opens(tree, config)


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


def _images_in(folder: Path) -> list[Path]:
    stack = find_stack(folder, TEST_IMAGES) or find_stack(folder, TRAIN_IMAGES)
    if stack is not None:
        return [stack]
    inner = find_folder(folder, IMAGE_FOLDERS)
    return image_files(inner) if inner else [path for path in image_files(folder) if not is_mask_name(path)]


def _unique_name(file: Path, files: list[Path]) -> str:
    return file.stem if sum(other.stem == file.stem for other in files) == 1 else file.name


def _is_labelled_file(path: Path) -> bool:
    return path.is_file() and _labels_beside(path) is not None


def _open_labelled_file(path: Path, config: DataConfig) -> Dataset:
    labels = _labels_beside(path)
    assert labels is not None
    if path.stem == TRAIN_IMAGES:
        return open_stack(path, labels, config)
    return open_pairs([path], [labels], config, place=str(path.parent))


def _labels_beside(path: Path) -> Path | None:
    if path.stem == TRAIN_IMAGES:
        return find_stack(path.parent, TRAIN_LABELS)
    if path.suffix.lower() not in SUFFIXES or is_mask_name(path):
        return None
    return next((other for other in image_files(path.parent) if mask_name_of(other) == path.stem), None)


def _contents(path: Path) -> str:
    if path.is_file():
        return "a single file without labels beside it"
    names = sorted(inside.name for inside in path.iterdir())
    return f"it holds {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "an empty folder"


_KNOWN = (
    "known are train-volume.tif with train-labels.tif, a folder images with a folder masks, images with masks such as "
    "a.png and a_mask.png, ID/image.png with ID/mask.png, ID/images with ID/masks, and annotations/instances_*.json; "
    "name other files in data.images and data.labels"
)

ARCHIVES: tuple[ArchiveForm, ...] = (
    ArchiveForm("COCO", is_coco, lambda tree, config: open_coco([tree], config)),
    ArchiveForm("nuclei", is_nuclei, open_nuclei),
)

FORMS: tuple[Form, ...] = (
    Form("stack with the ISBI names", lambda path: path.is_dir() and is_isbi_folder(path), open_isbi),
    Form("COCO", lambda path: path.is_dir() and is_coco_folder(path), open_coco_folder),
    Form("one COCO file", lambda path: path.suffix.lower() == ".json" and path.is_file(), open_coco_file),
    Form(
        "nuclei",
        lambda path: path.is_dir() and is_nuclei_folder(path),
        lambda path, config: open_nuclei(open_tree(path), config),
    ),
    Form("multi-class folders", is_multiclass, open_multiclass),
    Form("images and masks", lambda path: path.is_dir() and is_paired_folder(path), open_paired_folder),
    Form("one file and its mask", _is_labelled_file, _open_labelled_file),
)
