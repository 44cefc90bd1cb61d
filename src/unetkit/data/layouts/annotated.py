"""Annotation files next to images: which they are, which image each is about, and the classes that they name.

A file about one image is paired with it by the key of its name, as a mask is; a file about many images names them, and
they are sought by that name below the data set. Classes are named by the files, or numbered there and named in
YOLO's `data.yaml` or `classes.txt`; those without a name are objects.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

import yaml

from unetkit.config.text import Yaml12
from unetkit.data.annotations import (
    BACKGROUND,
    FORMATS,
    OBJECT,
    SUFFIXES,
    AnnotatedImage,
    AnnotationFormat,
    chosen_classes,
    format_of,
)
from unetkit.data.dataset import kept
from unetkit.data.layouts.looks import spread
from unetkit.data.layouts.matcher import Match, Pair, Partner, are_parts, join, pair, unlabelled_folders
from unetkit.data.layouts.names import Group, Name, make_groups
from unetkit.data.outlines import Objects, Polygons, draw_shapes
from unetkit.errors import DataError, listed
from unetkit.images import natural
from unetkit.storage.tree import Tree

_UPLOADED = re.compile("^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an image that it was given."""

_LOOKED_AT = 5  # files of a group
_LARGEST = 2**28  # bytes of a file that is looked at
_SHOWN = 3
_MOST_NAMES, _NAMED_EACH = 10, 0.9  # names, and share of the outlines with one of their own, that are no classes
_NO_CLASS = ("", BACKGROUND, "_background_", "__ignore__")


@dataclass(frozen=True, slots=True)
class Painter:
    """What draws the labels of images, where these are not masks of one meaning.

    Attributes:
        classes: their names, index 0 first.
        words: what was taken for labels, for people.
        draw: an image's pair and a page of it -> what draws its objects at a height and width.
        paged: whether objects of a pair lie on pages of a stack.
        unsure: what was not certain.
        complaints: about files that cannot be used.
        files: the files that were read.
    """

    classes: tuple[str, ...]
    words: str
    draw: Callable[[Pair, int], Callable[[tuple[int, int]], Objects]]
    paged: Callable[[Pair], bool] = lambda _: False
    unsure: str = ""
    complaints: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Annotations:
    """Annotation files that were paired with images, and what they say.

    Attributes:
        form: of the files.
        match: images and files.
        said: image path -> what is said of it, and the file that says it.
        complaints: about files that cannot be used.
        unsure: what was not certain.
    """

    form: AnnotationFormat
    match: Match
    said: Mapping[str, tuple[AnnotatedImage, str]]
    complaints: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    def with_part(self, other: "Annotations") -> "Annotations":
        """Return what both say, of which the other is another part of the set."""
        return replace(
            self,
            match=self.match.with_part(other.match),
            said={**self.said, **other.said},
            complaints=(*self.complaints, *other.complaints),
            unsure=(*self.unsure, *other.unsure),
        )


def find_annotations(
    tree: Tree, images: Sequence[Group], files: Iterable[str], region: Group | None = None
) -> Annotations | None:
    """Find the annotation files that are about the most images; None where there are none.

    Args:
        tree: the folder or archive.
        images: groups of images; files about one image are paired with one group.
        files: paths that may be annotations.
        region: the group of regions of interest.
    """
    by_suffix: dict[str, list[str]] = defaultdict(list)
    for path in files:
        if (suffix := PurePosixPath(path).suffix.lower()) in SUFFIXES:
            by_suffix[suffix].append(path)
    found: list[Annotations] = []
    for paths in by_suffix.values():
        several: dict[str, list[Name]] = defaultdict(list)
        for group in make_groups(paths):
            form = _form_of(tree, group)
            if form is not None and form.one_image:
                found += _of_one_image(tree, form, images, group, region)
            elif form is not None:
                several[form.name] += group.files
        for form in FORMATS:
            if form.name in several:
                found += _of_many_images(tree, form, images, several[form.name], region)
    best = max(found, key=lambda one: (len(one.match.pairs), len(one.complaints)), default=None)
    for other in found:
        # As a test set in a folder of its own, which names the part of the set that it is.
        if best is not None and other.form is best.form and other.match.pairs:
            apart = best.said.keys().isdisjoint(other.said) and are_parts(best.match.pairs, other.match.pairs)
            best = best.with_part(other) if apart else best
    return best


def _form_of(tree: Tree, group: Group) -> AnnotationFormat | None:
    """Return the format that most of a few files of a group have."""
    forms = Counter[str]()
    for file in spread(group.files, _LOOKED_AT):
        path = tree.path(file.path)
        if path is not None and path.stat().st_size > _LARGEST:
            continue
        form = format_of(file.path, tree.read(file.path))
        forms.update([form.name] if form else [])
    return next((form for form in FORMATS if forms and form.name == forms.most_common(1)[0][0]), None)


def _of_one_image(
    tree: Tree, form: AnnotationFormat, images: Sequence[Group], group: Group, region: Group | None
) -> list[Annotations]:
    best = max(images, key=lambda one: len(pair(one, group).masks), default=None)
    if best is None:
        return []
    match = join(best, {"": group}, region)
    if not match.pairs or 2 * len(match.pairs) < min(len(best.files), len(group.files)):
        return []
    complaints: list[str] = []
    said: dict[str, tuple[AnnotatedImage, str]] = {}
    for one in match.pairs:
        (file,) = one.mask_files
        with kept(complaints):
            (image,) = form.read(tree.read(file.path), tree.source(file.path))
            said[one.image.path] = image, file.path
    orphans = tuple(file for file in match.orphans if form.recognises(tree.read(file.path)))
    pairs = tuple(one for one in match.pairs if one.image.path in said)
    return [Annotations(form, replace(match, pairs=pairs, orphans=orphans), said, tuple(complaints))]


def _of_many_images(
    tree: Tree, form: AnnotationFormat, images: Sequence[Group], files: Sequence[Name], region: Group | None
) -> list[Annotations]:
    if not images:
        return []
    names = {file.path: file for group in images for file in group.files}
    places = _Places(names)
    complaints, unsure, missing = list[str](), list[str](), defaultdict[str, list[str]](list)
    said: dict[str, tuple[AnnotatedImage, str]] = {}
    read: dict[str, Name] = {}
    for file in sorted(files, key=lambda one: natural(one.path)):
        content, source = tree.read(file.path), tree.source(file.path)
        if not form.recognises(content) or "submission" in file.tokens:
            continue  # a form for answers says nothing of its images
        with kept(complaints):
            read[file.path] = file
            for image in form.read(content, source):
                path = places.find(image.name, file)
                if path is None:
                    missing[source].append(image.name)
                elif path in said and said[path][1] != file.path:
                    unsure.append(f"{path} is annotated in {said[path][1]} and in {file.path}: the first was taken")
                else:
                    said[path] = image, file.path
    if not said and not complaints:
        return []
    for source, absent in missing.items():
        complaints.append(
            f"{source}: lists {listed(absent)}, which are not among the images; add them, or take them out"
        )
    taken = [one for one in images if not said.keys().isdisjoint(file.path for file in one.files)] or images[:1]
    group = Group.of(file for one in taken for file in one.files)
    regions = Partner(group, {}, "") if region is None else pair(group, region)
    divided = len({file.part for file in read.values()}) > 1  # a file for each part of the set
    pairs = tuple(
        Pair(replace(file, part=its.part) if divided else file, (its,), regions.masks.get(file.path, (None,))[0])
        for file in group.files
        if file.path in said and (its := read[said[file.path][1]])
    )
    lone = tuple(file for file in group.files if file.path not in said) if said else ()
    match = Match(
        pairs,
        group,
        (Group.of(read.values()),),
        region=region,
        by="the names in it" if len(read) == 1 else "the names in them",
        unlabelled=lone,
        bare=unlabelled_folders(pairs, lone),
    )
    return [Annotations(form, match, said, tuple(complaints), tuple(unsure[:_SHOWN]))]


class _Places:
    """The images of a set by every name that an annotation file may give them."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self.names = names
        self.of_file: dict[str, list[Name]] = defaultdict(list)
        for name in names.values():
            file = PurePosixPath(name.path).name
            for known in {file, name.stem}:
                self.of_file[known].append(name)

    def find(self, named: str, file: Name) -> str | None:
        """Return the path of the one image of a name; of several the one next to the file, or below its folder."""
        parts = [part for part in named.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return None
        for start in range(len(file.folders), -1, -1):
            path = "/".join((*file.folders[:start], *parts))
            if path in self.names:
                return path
        found = self.of_file.get(parts[-1]) or self.of_file.get(_UPLOADED.sub("", parts[-1]), [])
        for nearer in (
            [one for one in found if one.folders[-len(parts) + 1 :] == tuple(parts[:-1]) and len(parts) > 1],
            [one for one in found if one.folders[: len(file.folders)] == file.folders],
            [one for one in found if one.part == file.part],
        ):
            if len(nearer) == 1:
                return nearer[0].path
        return found[0].path if len(found) == 1 else None


def painter_of(tree: Tree, found: Annotations, classes: Sequence[str] | None) -> Painter:
    """Return what draws the shapes of annotation files.

    Args:
        tree: where names of numbered classes are looked for.
        found: what the files say.
        classes: that are wanted; None: all.

    Raises:
        DataError: a class that is not there.
    """
    files = list(dict.fromkeys(path for _, path in found.said.values()))
    numbers, source = _class_list(tree) if found.form.numbered else ({}, "")
    found = _with_classes(found)
    counts = Counter(shape.name for image, _ in found.said.values() for shape in image.shapes)
    if found.form.numbered:
        named = {number: numbers.get(number, f"class{number}") for number in sorted({*numbers, *counts}, key=int)}
    elif found.form.name == "COCO":
        named = {name: name for name in counts}
    else:
        named = {name: name for name in sorted(counts, key=str.lower)}
    named = {key: name or OBJECT for key, name in named.items() if not key or name.lower() not in _NO_CLASS}
    known = list(dict.fromkeys(named.values())) or [OBJECT]
    if classes is not None and known == [OBJECT] and len(classes) == 2:
        known, named = [classes[1]], {"": classes[1]}
    chosen = chosen_classes(known, classes, tree.source(found.match.labels[0].files[0].path))
    index_of = {key: chosen.index(name) for key, name in named.items() if name in chosen[1:]}

    def shapes_of(one: Pair) -> tuple[AnnotatedImage, str]:
        image, path = found.said[one.image.path]
        return image, tree.source(path)

    def draw(one: Pair, page: int) -> Callable[[tuple[int, int]], Objects]:
        image, file = shapes_of(one)
        shapes = [shape for shape in image.shapes if shape.page in (None, page)]

        def drawn(size: tuple[int, int]) -> Objects:
            if image.size is not None and image.size != size:
                raise DataError(
                    f"{tree.source(one.image.path)}: {size[0]} x {size[1]} pixels (rows x columns), but {file} says "
                    f"{image.size[0]} x {image.size[1]}; was the image resized or turned? annotate it as it is"
                )
            return draw_shapes(shapes, index_of, size, file)

        return drawn

    total = sum(counts[key] for key in index_of)
    words = f"outlines of {total:,} objects, {found.form.name}"
    words += f"; classes named in {source}" if source else ""
    return Painter(
        chosen,
        words,
        draw,
        lambda one: any(shape.page is not None for shape in shapes_of(one)[0].shapes),
        "; ".join((*found.unsure, *_doubts(found))),
        found.complaints,
        frozenset((*files, *([source] if source else []))),
    )


def _with_classes(found: Annotations) -> Annotations:
    """Return what files say, without names where nearly each outline has one of its own: they name no classes."""
    names = [shape.name for image, _ in found.said.values() for shape in image.shapes]
    if len(set(names)) < max(_MOST_NAMES, _NAMED_EACH * len(names)):
        return found
    said = {
        path: (replace(image, shapes=tuple(replace(shape, name="") for shape in image.shapes)), file)
        for path, (image, file) in found.said.items()
    }
    return replace(found, said=said, unsure=(*found.unsure, "each outline has a name of its own: they are one class"))


def _doubts(found: Annotations) -> list[str]:
    """Say which marks were left out, and where rectangles may be boxes around objects."""
    left_out = Counter[str]()
    for image, _ in found.said.values():
        left_out.update(image.left_out)
    shown = ", ".join(f"{count:,} {kind}" for kind, count in left_out.most_common())
    doubts = [f"marks without an area are left out: {shown}"] if left_out else []
    shapes = [shape for image, _ in found.said.values() for shape in image.shapes]
    if shapes and all(isinstance(one.outline, Polygons) and one.outline.is_box for one in shapes):
        doubts.append("all outlines are upright rectangles: are they boxes around objects? a mask needs their outlines")
    return doubts


def _class_list(tree: Tree) -> tuple[dict[str, str], str]:
    """Return the names of numbered classes and the file that says them: `data.yaml`, else `classes.txt`."""
    files = sorted(tree.files, key=lambda path: path.count("/"))
    for path in files:
        if path.lower().endswith((".yaml", ".yml")):
            try:
                read: Any = yaml.load(tree.read(path).decode("utf-8-sig"), Loader=Yaml12)  # noqa: S506  a safe loader
            except (yaml.YAMLError, UnicodeDecodeError, RecursionError, DataError):
                continue
            names: Any = cast(dict[str, Any], read).get("names") if isinstance(read, dict) else None
            pairs = enumerate(cast(list[Any], names)) if isinstance(names, list) else ()
            pairs = cast(dict[Any, Any], names).items() if isinstance(names, dict) else pairs
            found = {str(number): str(name) for number, name in pairs if str(number).isdecimal()}
            if found:
                return found, path
    for path in files:
        if PurePosixPath(path).name.lower() in ("classes.txt", "obj.names", "_darknet.labels"):
            lines = [line.strip() for line in tree.read(path).decode("utf-8", "replace").splitlines()]
            return {str(number): name for number, name in enumerate(lines) if name}, path
    return {}, ""
