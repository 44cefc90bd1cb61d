"""Which files of a folder or an archive are images, which are their masks, and which mask belongs to which image.

The files are put into groups by their names (`names`); of each group a few files are looked at. A group is rather masks
than images by the words in its names, and by its values: masks have few values in flat areas. Two groups belong
together where the keys of their files agree and their sizes do. Of several groups of masks that belong to the images,
those that hold the same region in every image are regions of interest; those that hold different things are classes; of
those that say the same in several ways one is taken, and the others are named as what the data could be, too.

Assumes that a data set lies below one folder. Does not know what the values of masks mean: `data.kinds` does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.layouts.names import (
    IMAGE_WORDS,
    LABEL_WORDS,
    REGION_WORDS,
    Drop,
    Group,
    Name,
    Token,
)
from unetkit.errors import DataError
from unetkit.images import open_bytes, open_image
from unetkit.images.image import Image, Role
from unetkit.storage.tree import Tree

_LOOKED_AT = 3  # files of a group
_COMPARED = 4  # images whose masks of several groups are compared
_WHOLE_FOLDER = 3  # images of a folder without any mask that are not each a mistake
_SIDE = 128  # px of what is compared
_MOST_GROUPS = 60
_LARGEST = 2**26  # px of a file that is looked at
_FEW = 64  # values
_FLAT = 0.9  # share of pixels that equal their neighbour
_SAME_REGION = 0.95  # share of pixels in which the regions of two images agree
_MANY_MASKS = 1.5  # masks an image from which each may be an object
_LONGEST_NUMBER = 3  # words and numbers of a mask's name that number it
_OBJECTS_LOOKED_AT = 12  # masks
_ONE_PIECE = 0.8  # share of masks of one piece from which each is an object
_SAME_MASK = 0.5  # Dice of two masks that mean the same
_OPTIONS: tuple[tuple[Drop, Drop], ...] = (
    ("nothing", "nothing"),
    ("words", "words"),
    ("words", "all"),
    ("all", "words"),
    ("all", "all"),
)


def pages_of(tree: Tree, name: str, role: Role = "image") -> Image:
    """Open an image file of a folder or an archive.

    Raises:
        DataError: as `open_image`.
    """
    if tree.root.is_dir():
        return open_image(tree.root / name, role)
    return open_bytes(tree.read(name), tree.source(name), role)


@dataclass(frozen=True, slots=True)
class Look:
    """What a few files of a group look like.

    Attributes:
        sizes: of pages, (rows, columns).
        levels: the most values, or colours, in one of them.
        flat: the smallest share of pixels that equal the next one in their row.
        read: whether any could be read.
    """

    sizes: frozenset[tuple[int, int]] = frozenset()
    levels: int = 0
    flat: float = 0.0
    read: bool = False

    @classmethod
    def at(cls, tree: Tree, group: Group) -> "Look":
        """Look at a few files of a group; those that cannot be read are left to the reader to complain about."""
        sizes: set[tuple[int, int]] = set()
        levels, flat, read = 0, 1.0, False
        for file in spread(group.files, _LOOKED_AT):
            try:
                pages = pages_of(tree, file.path, "mask")
                sizes.add((pages.height, pages.width))
                if pages.height * pages.width > _LARGEST:
                    continue
                rows = pages.read(0)[:, :: max(1, pages.height // 256)]
            except DataError:
                continue
            same = (rows[:, :, 1:] == rows[:, :, :-1]).all(axis=0)
            fractions = rows.dtype.kind == "f" and bool((rows != np.rint(rows)).any())
            if fractions or len(rows) == 1:
                codes = rows[0]
            else:
                codes = rows.astype(np.int64).T @ (1 << np.arange(0, 16 * len(rows), 16))
            levels, flat, read = max(levels, len(np.unique(codes))), min(flat, float(same.mean())), True
        return cls(frozenset(sizes), levels, flat if read else 0.0, read)

    def likeness(self, group: Group) -> float:
        """Return how much a group looks like masks, above 0, or like images, below."""
        folder, stem = group.role_words
        score = 1.0 * (bool(folder & LABEL_WORDS) - bool(folder & IMAGE_WORDS))
        score += 1.5 * (bool(stem & (LABEL_WORDS | REGION_WORDS)) - bool(stem & IMAGE_WORDS))
        if group.files[0].suffix in (".jpg", ".jpeg"):
            score -= 0.5
        if not self.read:
            return score
        if self.levels <= 2:
            return score + 3
        if self.flat >= _FLAT:
            return score + (2.0 if self.levels <= _FEW else 0.75)
        return score - (0.0 if self.levels <= 16 else 2.5)


def spread(files: Sequence[Name], count: int) -> list[Name]:
    """Return a few files that are spread over all."""
    return [files[place] for place in dict.fromkeys(np.linspace(0, len(files) - 1, count).round().astype(int).tolist())]


@dataclass(frozen=True, slots=True)
class Partner:
    """A group of masks next to the images that they belong to: image path -> files, and by what they are paired.

    With `objects` each of the several masks of an image is one object.
    """

    group: Group
    masks: Mapping[str, tuple[Name, ...]]
    by: str
    objects: bool = False


def pair(images: Group, masks: Group) -> Partner:
    """Find the masks of each image by the keys of their names; the way that pairs the most is taken."""
    best = Partner(masks, {}, "name")
    for parts in (True, False):
        for image_drop, mask_drop in _OPTIONS:
            of_key: dict[tuple[Token, ...], list[Name]] = {}
            for key, file in zip(masks.keys(mask_drop, parts=parts), masks.files, strict=True):
                of_key.setdefault(key, []).append(file)
            keys = images.keys(image_drop, parts=parts)
            ambiguous = len(keys) - len(set(keys))
            found = {
                file.path: tuple(of_key[key]) for key, file in zip(keys, images.files, strict=True) if key in of_key
            }
            single = sum(len(files) == 1 for files in found.values()) - ambiguous
            if single > sum(len(files) == 1 for files in best.masks.values()):
                numbers = all(isinstance(token, int) for key in keys for token in key[int(parts) :] if key in of_key)
                best = Partner(masks, found, "number" if numbers and any(map(len, keys)) else "name")
    return best


def pair_objects(images: Group, masks: Group) -> Partner:
    """Find the masks of each image where an image has many: their names go on where its own ends, `a_01` after `a`.

    They are taken for one mask an object where most images have one, and their numbers differ or are three or more.
    """
    for parts in (True, False):
        for image_drop, mask_drop in _OPTIONS:
            of_key = dict(zip(images.keys(image_drop, parts=parts), images.files, strict=True))
            found: dict[str, list[Name]] = {}
            for key, file in zip(masks.keys(mask_drop, parts=parts), masks.files, strict=True):
                ends = range(len(key) - 1, max(int(parts), len(key) - 1 - _LONGEST_NUMBER), -1)
                image = next((of_key[key[:end]] for end in ends if key[:end] in of_key), None)
                if image is not None:
                    found.setdefault(image.path, []).append(file)
            counts = [len(files) for files in found.values()]
            enough = 2 * len(found) >= len(images.files) and 2 * sum(counts) >= len(masks.files)
            if enough and sum(counts) >= _MANY_MASKS * len(counts) and (len(set(counts)) > 1 or counts[0] > 2):
                named = {path: tuple(files) for path, files in found.items()}
                return Partner(masks, named, "name and number", objects=True)
    return Partner(masks, {}, "name")


def _are_objects(tree: Tree, masks: Sequence[Name]) -> bool:
    """Tell whether nearly all of a few masks are one connected piece of two values."""
    from scipy import ndimage  # slow to import

    whole: list[bool] = []
    for file in spread(masks, _OBJECTS_LOOKED_AT):
        try:
            stored = pages_of(tree, file.path, "mask").read(0)
        except DataError:
            continue
        regions, _ = ndimage.label((stored != 0).any(axis=0), np.ones((3, 3)))
        sizes = np.bincount(regions.ravel())[1:]
        whole.append(
            len(np.unique(stored)) <= 2 and bool(len(sizes)) and float(sizes.max()) >= 0.9 * float(sizes.sum())
        )
    return bool(whole) and float(np.mean(whole)) >= _ONE_PIECE


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, its masks (one, one for each class, or one for each object), and the region that counts."""

    image: Name
    masks: tuple[Name, ...]
    region: Name | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What the files of a data set were taken for.

    Attributes:
        pairs: the images with masks, in order.
        images: the group of all images.
        labels: the groups of masks; several are a class each, the later ones on top, and `titles` their names.
        titles: of the classes; empty for one group of masks.
        region: the group of regions of interest.
        by: what the files are paired by: number or name.
        unlabelled: images without a mask.
        bare: those of them whose folder or part of the set has no masks at all.
        orphans: masks without an image, and why.
        alternatives: what the data could be, too, in words.
        unsure: what was not certain, in words.
        unused: paths that were taken for nothing.
        doubled: pairs of masks that belong to one image; the first is taken.
        listed: the pairs come from a list, not from patterns.
        lists: files that say which part of the set images belong to.
        objects: each mask of a pair is one object.
    """

    pairs: tuple[Pair, ...]
    images: Group
    labels: tuple[Group, ...]
    titles: tuple[str, ...] = ()
    region: Group | None = None
    by: str = "name"
    unlabelled: tuple[Name, ...] = ()
    bare: tuple[Name, ...] = ()
    orphans: tuple[Name, ...] = ()
    doubled: tuple[tuple[Name, Name], ...] = ()
    alternatives: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    listed: bool = False
    lists: tuple[str, ...] = ()
    objects: bool = False


def join(images: Group, labels: Mapping[str, Group], region: Group | None = None) -> Match:
    """Pair images with the masks of one or several groups; an image needs a mask of at least one of them."""
    partners = [pair(images, group) for group in labels.values()]
    if len(partners) == 1 and not partners[0].masks:
        partners = [pair_objects(images, group) for group in labels.values()]
    objects = partners[0].objects
    regions = None if region is None else pair(images, region)
    pairs: list[Pair] = []
    doubled: list[tuple[Name, Name]] = []
    lone: list[Name] = []
    for file in images.files:
        found = [partner.masks.get(file.path, ()) for partner in partners]
        doubled += [(files[0], files[1]) for files in found if len(files) > 1 and not objects]
        if not all(found):
            lone.append(file)
            continue
        its = regions.masks.get(file.path, ()) if regions else ()
        masks = found[0] if objects else tuple(files[0] for files in found)
        pairs.append(Pair(file, masks, its[0] if its else None))
    used = {mask.path for partner in partners for masks in partner.masks.values() for mask in masks}
    return Match(
        pairs=tuple(pairs),
        images=images,
        labels=tuple(labels.values()),
        titles=tuple(labels) if len(labels) > 1 else (),
        region=region,
        by=partners[0].by,
        unlabelled=tuple(lone),
        bare=unlabelled_folders(pairs, lone),
        orphans=tuple(file for group in labels.values() for file in group.files if file.path not in used),
        doubled=tuple(doubled),
        objects=objects,
    )


def unlabelled_folders(pairs: Sequence[Pair], lone: Sequence[Name]) -> tuple[Name, ...]:
    """Return those of the images without labels whose folder or part of the set has no labels at all."""
    labelled = {one.image.folders for one in pairs} | {one.image.part for one in pairs}
    whole = Counter(file.folders for file in lone)
    return tuple(
        file
        for file in lone
        if labelled
        and (file.part not in labelled or (file.folders not in labelled and whole[file.folders] >= _WHOLE_FOLDER))
    )


def recognise(tree: Tree, files: Sequence[Group]) -> Match | None:
    """Find images and their masks among groups of image files of a folder or an archive; None where there are none."""
    groups = files[:_MOST_GROUPS]
    looks = {group: Look.at(tree, group) for group in groups}
    likeness = {group: looks[group].likeness(group) for group in groups}
    best: tuple[float, Group] | None = None
    partners: dict[Group, list[Partner]] = {}
    for images in groups:
        for masks in groups:
            if masks is images or likeness[masks] <= likeness[images]:
                continue
            if not looks[images].sizes & looks[masks].sizes and len(looks[images].sizes | looks[masks].sizes) == 2:
                continue
            found = pair(images, masks)
            if not found.masks and looks[masks].levels <= 2:
                found = pair_objects(images, masks)
                if found.objects and not _are_objects(tree, masks.files):
                    continue
            if 2 * len(found.masks) < min(len(images.files), len(masks.files)) or not found.masks:
                continue
            partners.setdefault(images, []).append(found)
            share = len(found.masks) / max(len(group.files) for group in groups)
            score = share + 0.15 * min(likeness[masks] - likeness[images], 6.0) - 0.2 * images.is_secondary
            if best is None or score > best[0]:
                best = score, images
    if best is None:
        return None
    images = best[1]
    candidates = [one for one in partners[images] if likeness[one.group] > 0 or len(partners[images]) == 1]
    match = _choose(tree, images, candidates, looks)
    taken = {file.path for group in (match.images, *match.labels, match.region) if group for file in group.files}
    unused = [file.path for group in groups for file in group.files if file.path not in taken]
    return replace(match, unused=tuple(sorted(unused)))


def _choose(tree: Tree, images: Group, candidates: list[Partner], looks: Mapping[Group, Look]) -> Match:
    """Say which of the groups of masks that belong to the images are regions, classes, and the masks themselves."""
    region, unsure, alternatives = None, list[str](), list[str]()
    seen = _Masks(tree, images, candidates)
    if len(candidates) > 1:
        regions = [one for one in candidates if looks[one.group].levels <= 2 and seen.is_region(one)]
        if regions and len(regions) < len(candidates):
            region = regions[0].group
            candidates = [one for one in candidates if one not in regions]
            unsure.append(
                f"{region.pattern} is nearly the same in every image: taken for regions that count, not for labels"
            )
    classes = _classes(candidates, looks, seen)
    if classes:
        rest = [one for one in candidates if one not in classes.values()]
        labels = {title: one.group for title, one in classes.items()}
    else:
        first = max(candidates, key=lambda one: _rank(one, looks))
        rest = [one for one in candidates if one is not first]
        labels = {"": first.group}
    for one in (one for one in rest if looks[one.group].read):
        alternatives.append(f"{alternative(one.group)} ({_in_words(looks[one.group])})")
    match = join(images, labels, region)
    return replace(match, alternatives=tuple(alternatives), unsure=tuple(unsure))


def alternative(group: Group) -> str:
    """Return the setting that takes a group of masks."""
    return f"data.labels='{group.pattern}'"


def _in_words(look: Look) -> str:
    return "two values" if look.levels <= 2 else f"up to {look.levels} values"


def _rank(one: Partner, looks: Mapping[Group, Look]) -> tuple[float, ...]:
    """Return what masks are preferred by, best first.

    Whole outlines rather than marks, words for labels, many images, more than two values, the first of several.
    """
    folder, stem = one.group.role_words
    look = looks[one.group]
    clean = look.levels <= 2 or look.flat >= _FLAT
    named = bool((folder | stem) & LABEL_WORDS)
    several = 0.0 if look.levels <= 2 else 1.0
    order = [word for file in one.group.files[:1] for word in file.words]
    later = sum(word in ("second", "third", "fourth", "fifth") for word in order)
    return clean, not one.group.is_secondary, named - later, len(one.masks) // 2, several, len(one.masks)


@dataclass
class _Masks:
    """The masks of a few images, small, as what is not zero."""

    tree: Tree
    images: Group
    candidates: list[Partner]
    read: dict[str, NDArray[np.bool_]] = field(default_factory=dict[str, NDArray[np.bool_]])

    def of(self, one: Partner) -> dict[str, NDArray[np.bool_]]:
        """Return image path -> [128, 128] for a few images that all groups have masks for."""
        shared = [file for file in self.images.files if all(file.path in other.masks for other in self.candidates)]
        chosen = shared or [file for file in self.images.files if file.path in one.masks]
        found: dict[str, NDArray[np.bool_]] = {}
        for file in spread(chosen, _COMPARED) if chosen else ():
            path = one.masks[file.path][0].path
            if path not in self.read:
                try:
                    self.read[path] = _small(pages_of(self.tree, path, "mask").read(0))
                except DataError:
                    continue
            found[file.path] = self.read[path]
        return found

    def is_region(self, one: Partner) -> bool:
        """Tell whether masks are one region that is nearly the same in every image."""
        masks = list(self.of(one).values())
        folder, stem = one.group.role_words
        if (folder | stem) & REGION_WORDS and not (folder | stem) & LABEL_WORDS:
            return True
        share = float(np.mean([mask.mean() for mask in masks] or [0.0]))
        if len(masks) < 2 or share < 0.3 or share == 1:
            return False
        return float(np.median([(first == other).mean() for first, other in combinations(masks, 2)])) >= _SAME_REGION

    def overlap(self, one: Partner, other: Partner) -> float:
        """Return the Dice coefficient of the masks of two groups."""
        first, second = self.of(one), self.of(other)
        shared = first.keys() & second.keys()
        both = sum(int((first[path] & second[path]).sum()) for path in shared)
        return 2 * both / max(1, sum(int(first[path].sum() + second[path].sum()) for path in shared))

    def area(self, one: Partner) -> float:
        """Return the mean share of pixels in the masks of a group."""
        return float(np.mean([mask.mean() for mask in self.of(one).values()] or [0.0]))


def _small(stored: NDArray[Any]) -> NDArray[np.bool_]:
    rows, columns = (np.linspace(0, int(side) - 1, _SIDE).round().astype(np.intp) for side in stored.shape[1:])
    return (stored[:, rows[:, None], columns] != 0).any(axis=0)


def _classes(candidates: Sequence[Partner], looks: Mapping[Group, Look], seen: _Masks) -> dict[str, Partner]:
    """Return the groups of masks that hold a class each, by its name, those of more pixels first; empty: none.

    They have names of their own, two values but for stray pixels, and hardly overlap.
    """
    named = [one for one in candidates if one.group.title and looks[one.group].read]
    named = [one for one in named if looks[one.group].levels <= 2 or looks[one.group].flat >= _FLAT]
    apart = [one for one in named if all(one is other or seen.overlap(one, other) < _SAME_MASK for other in named)]
    if len(apart) < 2 or len({one.group.title for one in apart}) < len(apart):
        return {}
    apart.sort(key=lambda one: (-round(seen.area(one), 2), one.group.title))
    return {one.group.title: one for one in apart}
