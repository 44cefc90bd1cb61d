"""COCO data: images with instances_*.json, from a folder, a .zip, or a folder of the .zip files as COCO ships them.

The classes are the background and the categories, or those of them that are named, in that order. Where two objects
overlap, the pixel belongs to the one that is annotated first, as in the legacy model zoo. A crowd has its class but
no object id. Images are given in three channels: a few of COCO's are grey.

Annotation files are checked: nothing of them is believed that the reader relies on, and fields that it does not need
are not looked at. Assumes that the whole file fits into memory several times (the 450 MB of COCO 2017 take about 4 GB).

Legend of shapes: C channels, H height, W width.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from unetkit.config import DataConfig
from unetkit.data.dataset import Account, Dataset, Division, ObjectDataset, ObjectItem, Objects, kept
from unetkit.data.masks import draw_polygons, draw_runs
from unetkit.errors import DataError
from unetkit.images import decode_single
from unetkit.images.image import LARGEST_PAGE
from unetkit.storage.tree import Tree, is_archive, open_tree, require_safe

_Side = Annotated[int, Field(ge=1, le=LARGEST_PAGE)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RunLengths(_Record):
    """An outline as run lengths."""

    counts: str | list[int]
    size: tuple[_Side, _Side]


class Annotation(_Record):
    """One object of an image."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int = 0
    segmentation: list[list[FiniteFloat]] | RunLengths = []


class Picture(_Record):
    """One image."""

    id: int
    file_name: str
    height: _Side
    width: _Side


class Category(_Record):
    """One class of objects."""

    id: int
    name: str


class _Content(_Record):
    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """What an instances_*.json says.

    Attributes:
        source: the file, for messages.
        part: what follows `instances_` in its name, such as `train2017`.
        pictures: the images in the file's order.
        objects: image id -> annotations in the file's order.
        categories: category id -> name, by rising id.
    """

    source: str
    part: str
    pictures: tuple[Picture, ...]
    objects: Mapping[int, tuple[Annotation, ...]]
    categories: Mapping[int, str]


def read_annotations(content: bytes, source: str) -> AnnotationFile:
    """Read the content of an annotation file.

    Raises:
        DataError: no JSON, a field that is missing or of a wrong type, an id that leads nowhere, an unsafe file name.
    """
    try:
        read = _Content.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        what = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise DataError(f"{source}: {what}; COCO's instances_*.json was expected") from error
    objects: dict[int, list[Annotation]] = {}
    for picture in read.images:
        require_safe(picture.file_name, source)
        if picture.id in objects:
            raise DataError(f"{source}: two images have the id {picture.id}")
        objects[picture.id] = []
    categories = {category.id: category.name for category in sorted(read.categories, key=lambda one: one.id)}
    for annotation in read.annotations:
        for what, key, listed in (
            ("image", annotation.image_id, objects),
            ("category", annotation.category_id, categories),
        ):
            if key not in listed:
                raise DataError(f"{source}: annotation {annotation.id} names the {what} {key}, which is not listed")
        objects[annotation.image_id].append(annotation)
    return AnnotationFile(
        source,
        PurePosixPath(source).stem.removeprefix("instances_"),
        tuple(read.images),
        {key: tuple(value) for key, value in objects.items()},
        categories,
    )


_ANNOTATION = re.compile(r"(^|/)annotations/instances_[^/]*\.json$")
BACKGROUND = "background"
MOST_CLASSES = 2**16 - 1
"""Categories that labels of 16 bits can tell apart, the background besides."""


def is_coco_folder(folder: Path) -> bool:
    """Tell whether a folder holds annotation files in `annotations/`, or archives that do."""
    return any(folder.glob("annotations/instances_*.json")) or any(is_coco(tree) for tree in _archives_in(folder))


def is_coco(tree: Tree) -> bool:
    """Tell whether there are annotation files as annotations/instances_*.json."""
    return bool(_annotation_files(tree))


def open_coco_folder(folder: Path, config: DataConfig) -> Dataset:
    """Open the annotation files of a folder and of the archives in it.

    Raises:
        DataError: as `open_coco`.
    """
    return open_coco([open_tree(folder), *_archives_in(folder)], config)


def open_coco_file(path: Path, config: DataConfig) -> Dataset:
    """Open one annotation file; its images are sought next to the folder `annotations` that it lies in, or next to it.

    Raises:
        DataError: as `open_coco`.
    """
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    return open_coco([open_tree(root)], config, only=path.relative_to(root).as_posix())


def open_coco(trees: Sequence[Tree], config: DataConfig, *, only: str | None = None) -> Dataset:
    """Open every annotation file, or only one; the split method 'given' holds out what files named 'val' describe.

    Raises:
        DataError: files that are missing, damaged or unsafe, or classes that are not categories.
    """
    wanted = [(tree, name) for tree in trees for name in ([only] if only else _annotation_files(tree))]
    files = [read_annotations(tree.read(name), tree.source(name)) for tree, name in wanted]
    roots = [PurePosixPath(name).parent.parent for _, name in wanted]
    classes = _classes(files, config.classes)
    number_of = {name: number for number, name in reversed([*enumerate(classes)][1:])}
    where = {name: tree for tree in reversed(trees) for name in tree.files}
    items: list[ObjectItem] = []
    parts: list[str] = []
    complaints: list[str] = []
    for file, root in zip(files, roots, strict=True):
        index_of = {key: number_of[name] for key, name in file.categories.items() if name in number_of}
        for picture in file.pictures:
            with kept(complaints):
                items.append(_item(file, picture, index_of, root, where))
                parts.append(file.part)
    divided = len(files) > 1
    held_out = tuple(index for index, part in enumerate(parts) if "val" in part and divided)
    test = tuple(index for index, part in enumerate(parts) if "test" in part and divided)
    if len({item.name for item in items}) < len(items):
        items = [replace(item, name=f"{part}-{item.name}") for item, part in zip(items, parts, strict=True)]
    account = Account(
        (
            ("images", f"{len(items)}, listed in {', '.join(file.source.rpartition('/')[2] for file in files)}"),
            ("masks", "outlines of objects, in the same files"),
            *((("held out", f"{len(held_out)} images, those of the file named val"),) if held_out else ()),
            *((("test set", f"{len(test)} images, scored once at the end and used for nothing else"),) if test else ()),
        )
    )
    return ObjectDataset(tuple(items), classes, Division(held_out, test), tuple(complaints), account)


def _archives_in(folder: Path) -> list[Tree]:
    return [open_tree(path) for path in sorted(folder.glob("*.zip")) if is_archive(path)]


def _annotation_files(tree: Tree) -> list[str]:
    return [name for name in tree.files if _ANNOTATION.search(name)]


def _classes(files: Sequence[AnnotationFile], chosen: Sequence[str] | None) -> tuple[str, ...]:
    names = dict.fromkeys(name for file in files for name in file.categories.values())
    if len(chosen or names) > MOST_CLASSES:
        found = len(chosen or names)
        raise DataError(
            f"{files[0].source}: has {found:,} categories; at most {MOST_CLASSES:,}: name some in data.classes"
        )
    if chosen is None:
        return (BACKGROUND, *(name for name in names if name != BACKGROUND))
    if chosen[0] in names and chosen[0] != BACKGROUND:
        raise DataError(
            f"{files[0].source}: data.classes begins with the category '{chosen[0]}'; the first class is what is "
            f"not an object: write {BACKGROUND} before it"
        )
    for name in chosen[1:]:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(names)}"
            raise DataError(f"{files[0].source}: there is no category '{name}'; {hint}")
    return tuple(chosen)


def _item(
    file: AnnotationFile, picture: Picture, index_of: Mapping[int, int], root: PurePosixPath, where: Mapping[str, Tree]
) -> ObjectItem:
    """Return an image and its objects; `root` is the folder of `annotations`, `where` says what tree holds a name."""
    folders = (root / "images" / file.part, root / file.part, root / "images", root, PurePosixPath(file.part))
    candidates = [str(folder / picture.file_name) for folder in folders]
    name = next((name for name in candidates if name in where), "")
    if not name:
        raise DataError(
            f"{file.source}: lists {picture.file_name}, which lies neither in images/{file.part} nor in {file.part}"
        )
    tree, source = where[name], where[name].source(name)
    annotations = [one for one in file.objects[picture.id] if one.category_id in index_of]

    def image() -> NDArray[Any]:
        stored = decode_single(tree.read(name), source)
        if stored.shape[1:] != (picture.height, picture.width):
            raise DataError(
                f"{source}: {stored.shape[1]} x {stored.shape[2]} pixels (rows x columns), but {file.source} says "
                f"{picture.height} x {picture.width}"
            )
        return stored if len(stored) == 3 else np.repeat(stored, 3, axis=0)

    def objects(size: tuple[int, int]) -> Objects:
        labels = np.zeros(size, np.uint16 if max(index_of.values(), default=0) > 255 else np.uint8)
        instances = np.zeros(size, np.int32)
        for number, annotation in enumerate(annotations, 1):
            outline, what = annotation.segmentation, f"{file.source}: annotation {annotation.id}"
            if isinstance(outline, RunLengths):
                if outline.size != size:
                    found = f"{outline.size[0]} x {outline.size[1]}"
                    raise DataError(f"{what}: run lengths of {found}, but its image has {size}")
                drawn = draw_runs(outline.counts, outline.size, what)
            elif outline:
                drawn = draw_polygons(outline, *size, what)
            else:
                raise DataError(f"{what}: has no outline; polygons or run lengths were expected, a box is not enough")
            free = drawn & (labels == 0)
            labels[free] = index_of[annotation.category_id]
            if not annotation.iscrowd:
                instances[free] = number
        return Objects(labels, instances)

    stem = str(PurePosixPath(picture.file_name).with_suffix("")).replace("/", "-")
    return ObjectItem(stem, source, image, objects)
