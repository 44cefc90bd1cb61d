"""COCO data: images with instances_*.json, from a folder, a .zip, or a folder of the .zip files as COCO ships them.

The classes are the background and the categories, or those of them that are named, in that order. Where two objects
overlap, the pixel belongs to the one that is annotated first, as in the legacy model zoo. A crowd has its class but
no object id. Images are given in three channels: a few of COCO's are grey.

Legend of shapes: C channels, H height, W width.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.config import DataConfig
from unetkit.data.annotations import chosen_classes
from unetkit.data.annotations.coco import AnnotationFile, Picture, read_annotations
from unetkit.data.dataset import Account, Dataset, Division, Item, ItemDataset, kept
from unetkit.data.outlines import draw_shapes
from unetkit.errors import DataError
from unetkit.images import decode_single
from unetkit.storage.tree import Tree, is_archive, open_tree

_ANNOTATION = re.compile(r"(^|/)annotations/instances_[^/]*\.json$")


def is_coco(tree: Tree) -> bool:
    """Tell whether there are annotation files as annotations/instances_*.json, or archives that hold them."""
    whole, *archives = _trees(tree)
    own = [name for name in _annotation_files(whole) if tree.root.is_file() or name.count("/") == 1]
    return bool(own) or any(map(_annotation_files, archives))


def open_coco_file(path: Path, config: DataConfig) -> Dataset:
    """Open one annotation file; its images are sought next to the folder `annotations` that it lies in, or next to it.

    Raises:
        DataError: as `open_coco`.
    """
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    return open_coco(open_tree(root), config, only=path.relative_to(root).as_posix())


def open_coco(tree: Tree, config: DataConfig, *, only: str | None = None) -> Dataset:
    """Open every annotation file, those of archives in a folder included, or only one.

    What files named 'val' describe is held out.

    Raises:
        DataError: files that are missing, damaged or unsafe, or classes that are not categories.
    """
    trees = [tree] if only else _trees(tree)
    wanted = [(tree, name) for tree in trees for name in ([only] if only else _annotation_files(tree))]
    files = [read_annotations(tree.read(name), tree.source(name)) for tree, name in wanted]
    roots = [PurePosixPath(name).parent.parent for _, name in wanted]
    names = list(dict.fromkeys(name for file in files for name in file.categories.values()))
    classes = chosen_classes(names, config.classes, files[0].source)
    index_of = {name: number for number, name in reversed([*enumerate(classes)][1:])}
    where = {name: tree for tree in reversed(trees) for name in tree.files}
    known = defaultdict[str, list[str]](list)
    for name in where:
        known[PurePosixPath(name).name].append(name)
    items: list[Item] = []
    parts: list[str] = []
    complaints: list[str] = []
    for file, root in zip(files, roots, strict=True):
        for picture in file.pictures:
            with kept(complaints):
                items.append(_item(file, picture, index_of, root, where, known))
                parts.append(file.part)
    division = Division.of_parts(["val" if "val" in part else "test" if "test" in part else "" for part in parts])
    held_out, test = len(division.held_out), len(division.test)
    if len({item.name for item in items}) < len(items):
        items = [replace(item, name=f"{part}-{item.name}") for item, part in zip(items, parts, strict=True)]
    account = Account(
        (
            ("images", f"{len(items)}, listed in {', '.join(file.source.rpartition('/')[2] for file in files)}"),
            ("masks", "outlines of objects, in the same files"),
            *((("held out", f"{held_out} images, those of the file named val"),) if held_out else ()),
            *((("test set", f"{test} images, scored once at the end and used for nothing else"),) if test else ()),
        )
    )
    return ItemDataset(tuple(items), None, division, tuple(complaints), account, classes)


def _trees(tree: Tree) -> list[Tree]:
    """Return an archive, or a folder and the archives in it."""
    archives = [] if tree.root.is_file() else sorted(tree.root.glob("*.zip"))
    return [tree, *(open_tree(path) for path in archives if is_archive(path))]


def _annotation_files(tree: Tree) -> list[str]:
    return [name for name in tree.files if _ANNOTATION.search(name)]


def _item(
    file: AnnotationFile,
    picture: Picture,
    index_of: Mapping[str, int],
    root: PurePosixPath,
    where: Mapping[str, Tree],
    known: Mapping[str, Sequence[str]],
) -> Item:
    """Return an image and its objects.

    Args:
        file: the annotation file.
        picture: what it says of the image.
        index_of: class name -> index.
        root: the folder of `annotations`.
        where: name -> the tree that holds it.
        known: name without its folders -> the names that end so; a single one is the image wherever it lies.
    """
    folders = (root / "images" / file.part, root / file.part, root / "images", root, PurePosixPath(file.part))
    candidates = [str(folder / picture.file_name) for folder in folders]
    elsewhere = known.get(PurePosixPath(picture.file_name).name, ())
    candidates += elsewhere if len(elsewhere) == 1 else ()
    name = next((name for name in candidates if name in where), "")
    if not name:
        found = f"it is there {len(elsewhere)} times" if elsewhere else "it is not there"
        raise DataError(
            f"{file.source}: lists {picture.file_name}, which lies neither in images/{file.part} nor in {file.part}, "
            f"and {found} elsewhere"
        )
    tree, source = where[name], where[name].source(name)
    shapes = file.image(picture).shapes

    def image() -> NDArray[Any]:
        stored = decode_single(tree.read(name), source)
        if stored.shape[1:] != (picture.height, picture.width):
            raise DataError(
                f"{source}: {stored.shape[1]} x {stored.shape[2]} pixels (rows x columns), but {file.source} says "
                f"{picture.height} x {picture.width}"
            )
        return stored if len(stored) == 3 else np.repeat(stored, 3, axis=0)

    stem = str(PurePosixPath(picture.file_name).with_suffix("")).replace("/", "-")
    return Item(stem, source, image, objects=lambda size: draw_shapes(shapes, index_of, size, file.source))
