"""Which reader a path needs, recognised by what lies there.

Assumes that a folder or an archive holds one data set. Layouts that mean more than images and masks are tried in the
order of `LAYOUTS`: ISBI's stacks by their names, COCO's annotations, one mask for each object. Everything else is left
to the matcher (`matcher`), or to the patterns and lists that the configuration names.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.annotations import SUFFIXES as ANNOTATIONS
from unetkit.data.annotations import format_of
from unetkit.data.channels import with_channels
from unetkit.data.dataset import (
    AS_LARGE,
    Dataset,
    Files,
    Item,
    ItemDataset,
    complaints_of,
    kept,
    refuse,
    stacks_of,
)
from unetkit.data.layouts.coco import is_coco, open_coco, open_coco_file
from unetkit.data.layouts.mask_files import (
    IMAGE_FOLDERS,
    TEST_IMAGES,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    find_folder,
    find_stack,
    image_files,
    images_in,
    is_isbi,
    is_mask_name,
    open_arrays,
    open_isbi,
    open_list,
    open_matched,
    open_patterns,
)
from unetkit.data.layouts.matcher import sizes_apart
from unetkit.data.layouts.names import make_groups
from unetkit.data.layouts.nuclei import is_nuclei, open_bare_nuclei, open_nuclei
from unetkit.data.masks import MaskMap
from unetkit.errors import ConfigError, DataError
from unetkit.images import SUFFIXES, is_array, is_image_name, is_zarr, open_image
from unetkit.storage import is_remote, local_copy, url_of
from unetkit.storage.tree import Tree, is_archive, open_tree

SAMPLE = "sample"
"""The path of the stack that is generated in memory."""


LAYOUTS: dict[Callable[[Tree], bool], Callable[[Tree, DataConfig], Dataset]] = {
    is_isbi: open_isbi,
    is_coco: open_coco,
    is_nuclei: open_nuclei,
}
"""Layouts of data that mean more than images and masks: what recognises them, and what opens them."""

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
    test = config.test
    if test is None or str(path) == SAMPLE:
        return _open(path, config)
    place = Path() if path is None else local_copy(path)
    if any(letter in test for letter in "*?[") or (place / test).exists() and not Path(test).is_absolute():
        return _open(path, config)
    alone = config.model_copy(update={"test": None})
    dataset = _open(path, alone)
    fixed = alone.model_copy(update={"images": None, "labels": None, "roi": None, "classes": dataset.classes})
    return _joined(dataset, _open(test, fixed), test)


def _joined(dataset: Dataset, test: Dataset, path: str) -> Dataset:
    """Return a data set with another one as its test set."""
    if not isinstance(dataset, ItemDataset) or not isinstance(test, ItemDataset):
        raise DataError(
            f"data.test={path}: only sets of images and masks are joined; score it after the training instead"
        )
    count = len(dataset)
    names = {item.name for item in dataset.items}
    items = [replace(item, name=f"test-{item.name}") if item.name in names else item for item in test.items]
    whole = (*dataset.items, *(replace(item, stack=item.stack and f"test {item.stack}") for item in items))
    division = replace(dataset.division, test=tuple(range(count, count + len(test))), stacks=stacks_of(whole))
    account = replace(dataset.account, taken=(*dataset.account.taken, ("test set", f"{len(test)} images of {path}")))
    return replace(
        dataset,
        items=whole,
        division=division,
        complaints=(*dataset.complaints, *test.complaints),
        account=account,
    )


def _open(path: str | Path | None, config: DataConfig) -> Dataset:
    if config.images is not None or config.labels is not None:
        return _open_named(path, config)
    if path is None:
        raise ConfigError("no data is named; give a folder or a file in data.path, or 'sample'")
    if str(path) == SAMPLE:
        from unetkit.data.layouts.synthetic import open_sample  # scipy's interpolation is slow to import

        return open_sample(MaskMap.of(config.mask_values, config.classes) if config.classes else None)
    if is_array(path):
        return _open_volume(Path(path), config)
    place = _existing(path)
    with _listing(place):
        if place.is_file() and not is_archive(place):
            return _open_file(place, config)
        tree = open_tree(place)
        archives = [place / name for name in tree.files if name.lower().endswith(".zip")] if place.is_dir() else []
        downloaded = len(archives) == 1 and not images_in(tree)
        if downloaded and not any(name.lower().endswith(".json") for name in tree.files):
            return _open(archives[0], config)
        opens = next((opens for recognises, opens in LAYOUTS.items() if recognises(tree)), open_matched)
        dataset = opens(tree, config)
        channels = config.channels if opens is not open_matched else None
        if channels is not None and isinstance(dataset, ItemDataset) and dataset.names:
            return replace(dataset, items=tuple(with_channels(item, channels) for item in dataset.items))
        if dataset is None and downloaded:
            return _open(archives[0], config)
        if dataset is None and tree.archives:
            tree = tree.unpacked()
            dataset = open_nuclei(tree, config) if is_nuclei(tree) else open_matched(tree, config)
        if dataset is None and (apart := sizes_apart(tree, make_groups(images_in(tree)))):
            raise DataError(f"{place}: {apart}; {AS_LARGE}")
        if dataset is None:
            raise DataError(f"{place}: not a data set that is known ({_contents(tree)}); {_KNOWN}")
        return dataset


def _open_volume(path: Path, config: DataConfig) -> Dataset:
    """Open an OME-Zarr image and the labels in it."""
    from unetkit.images.omezarr import label_names  # zarr is slow to import

    found = label_names(path) if is_zarr(path) else ()
    if len(found) != 1:
        held = f"holds the labels {', '.join(found)}" if found else "holds no labels"
        raise DataError(
            f"{url_of(path)}: {held}; name the image and its labels: data.images={url_of(path)} "
            f"data.labels={url_of(path)}/labels/{found[0] if found else 'NAME'}"
        )
    return open_arrays(path, path / "labels" / found[0], config)


def _open_file(path: Path, config: DataConfig) -> Dataset:
    """Open a list, an annotation file, or one image file and the mask file next to it."""
    suffix = path.suffix.lower()
    form = format_of(path.name, path.read_bytes()) if suffix in ANNOTATIONS else None
    if form is None and suffix == ".csv":
        return open_list(path, config)
    if suffix == ".json" and (form is None or form.name == "COCO"):
        return open_coco_file(path, config)
    tree = open_tree(path.parent)
    if path.stem == TRAIN_IMAGES and find_stack(path.parent, TRAIN_LABELS):
        return open_isbi(tree, config)
    near = replace(tree, files=tuple(name for name in tree.files if "/" not in name))
    dataset = open_matched(near, config, only=path.name) if suffix in SUFFIXES else None
    if form is not None:
        tree = tree if images_in(tree) else open_tree(path.parent.parent)  # as labels/a.json and images/a.png
        name = path.relative_to(tree.root).as_posix()
        others = tuple(one for one in tree.files if Path(one).suffix.lower() not in ANNOTATIONS)
        dataset = open_matched(replace(tree, files=(*others, name)), config, only=name)
    if dataset is None:
        raise DataError(f"{path}: not a data set that is known (a single file without labels next to it); {_KNOWN}")
    return dataset


_UNREAD = {
    **dict.fromkeys((".dcm", ".dicom"), "DICOM: convert it to NIfTI, for example by dcm2niix"),
    **dict.fromkeys((".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"), "a packed file: unpack it"),
    **dict.fromkeys((".parquet", ".arrow", ".tfrecord", ".tfrecords", ".mdb", ".pt", ".pkl"), "records: write files"),
    **dict.fromkeys((".ndjson", ".jsonl"), "records: export COCO, or masks"),
}
"""What to do with what is often there instead of images or outlines, by endings."""


def _contents(tree: Tree) -> str:
    """Say what a folder or an archive holds, where no images with masks were found."""
    images = images_in(tree)
    if not tree.files:
        return "an empty folder"
    others = Counter(Path(name).suffix.lower() for name in tree.files if not is_image_name(name))
    kinds = ", ".join(f"{count} {suffix or 'other'}" for suffix, count in others.most_common(3))
    remedy = next((f"; {suffix} files are {_UNREAD[suffix]}" for suffix in others if suffix in _UNREAD), "")
    if images:
        rest = f"; files that are not read: {kinds}" if others else ""
        return f"{len(images)} image files such as {images[0]}, but none could be paired with a mask{rest}{remedy}"
    names = sorted({name.split("/")[0] for name in tree.files})
    held = f"it holds {', '.join(names[:4])}{', ...' * (len(names) > 4)}"
    return f"no image files, but {kinds}; {held}{remedy}"


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
    stems, complaints, items = Counter(file.stem for file in files), list[str](), list[Item]()
    for file in files:
        with kept(complaints):
            items += Files(file.stem if stems[file.stem] == 1 else file.name, open_image(file)).items()
    refuse(complaints)
    return ItemDataset(tuple(items))


def _open_named(path: str | Path | None, config: DataConfig) -> Dataset:
    """Open what the configuration names in `images` and `labels`: patterns, folders, files, or a list."""
    if isinstance(config.images, str) and config.images.lower().endswith(".csv"):
        return open_list((Path() if path is None else local_copy(path)) / config.images, config)
    if config.images is None or config.labels is None:
        missing = "data.labels" if config.labels is None else "data.images"
        raise ConfigError(f"{missing} is missing: images and labels must both be named, or neither")
    place = Path() if path is None else _existing(path)
    if isinstance(config.images, str):
        if is_array(place) and not is_array(place / config.images):  # both are named whole, as `_open_volume` tells to
            place = Path()
        if isinstance(config.labels, str) and is_array(place / config.images) and is_array(place / config.labels):
            return open_arrays(place / config.images, place / config.labels, config)
    root = place if place.is_dir() or is_archive(place) else Path()
    named = [*_patterns(config.images), *_patterns(config.labels), *([config.roi] if config.roi else [])]
    with _listing(root):
        if not any(is_remote(one) or Path(one).is_absolute() or one.startswith("..") for one in named):
            if path is None:  # the working folder may hold anything: only what is named is listed
                return open_patterns(_listed(named), config)
            return open_patterns(open_tree(root), config)
        whole = {one: str(local_copy(one) if is_remote(one) else (root / one).absolute()) for one in named}
        tree = replace(_listed(list(whole.values())), root=Path("/"))

        def placed(patterns: str | dict[str, str]) -> str | dict[str, str]:
            return whole[patterns] if isinstance(patterns, str) else {key: whole[one] for key, one in patterns.items()}

        roi = whole[config.roi] if config.roi else None
        update = {"images": placed(config.images), "labels": placed(config.labels), "roi": roi}
        return open_patterns(tree, config.model_copy(update=update))


def _patterns(named: str | dict[str, str]) -> list[str]:
    return [named] if isinstance(named, str) else [*named.values()]


def _listed(named: Sequence[str]) -> Tree:
    """List the files and folders that are named, below the working folder or below the root of the file system."""
    files: dict[str, None] = {}
    for one in named:
        fixed = Path(one.split("*")[0].split("?")[0].split("[")[0])
        base = fixed if fixed.exists() else fixed.parent
        place = _existing(base if fixed != Path(one) else one)
        below = [place] if place.is_file() else [place / name for name in open_tree(place).files]
        files.update(dict.fromkeys(str(path).lstrip("/") for path in below))
    return Tree(Path(), tuple(sorted(files)), lambda name: Path(name).read_bytes())


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


_KNOWN = (
    "expected are images with their masks, in folders such as images/ and masks/ or in pairs such as a.png and "
    "a_mask.png, with outlines as LabelMe, YOLO, VIA, CVAT, QuPath or ImageJ keep them, "
    "a stack with its labels, ID/images with ID/masks, or annotations/instances_*.json; name other files by patterns: "
    "data.images='**/raw/*.png' data.labels='**/labels/*.png', or list each image with its label in a .csv: image,label"
)
