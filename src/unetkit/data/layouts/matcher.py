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
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.layouts.looks import FLAT, Look, Looks, pages_of, spread
from unetkit.data.layouts.names import (
    LABEL_WORDS,
    MOST_FILES,
    REGION_WORDS,
    Division,
    Drop,
    Group,
    Name,
    Scope,
    Token,
    divisions,
    mirrored_folders,
    natural,
    repeating_folders,
    tokens,
    told_apart_by,
)
from unetkit.errors import DataError
from unetkit.storage.tree import Tree

_COMPARED = 4  # images whose masks of several groups are compared
_WHOLE_FOLDER = 3  # images of a folder without any mask that are not each a mistake
_MANY_BARE = 0.1  # share of the images without a mask that are not each a mistake
_SIDE = 128  # px of what is compared
_MOST_GROUPS = 60
_SAME_REGION = 0.95  # share of pixels in which the regions of two images agree
_MANY_MASKS = 1.5  # masks an image from which each may be an object
_LONGEST_NUMBER = 3  # words and numbers of a mask's name that number it
_IMAGES_LOOKED_AT, _MASKS_LOOKED_AT = 4, 3  # of those with a mask an object
_PARTS = 4  # values of a mask of one object: the background and the object's parts
_OVERLAPPING = 1.5  # times the pixels in any of an image's masks, that these have together where they say the same
_ONE_PIECE = 0.8  # share of masks of one piece from which each is an object
_SAME_MASK = 0.5  # Dice of two masks that mean the same
_BESIDE = 0.02  # share of the pixels of masks that lie outside of those that hold them
_INSIDE = 0.8  # of the area of a mask, that of one that lies in it and means something else
_SOME, _RARE = 0.5, 0.2  # share of the images with masks that masks, or masks of a class, are there for
_OPTIONS: tuple[tuple[Drop, Drop], ...] = (
    ("nothing", "nothing"),
    ("words", "words"),
    ("words", "all"),
    ("all", "words"),
    ("all", "all"),
)
_SCOPES: tuple[Scope, ...] = ("path", "name", "unrepeated", "plain")


@dataclass(frozen=True, slots=True)
class Partner:
    """A group of masks next to the images that they belong to: image path -> files, and by what they are paired.

    With `objects` each of the several masks of an image is one object; with `exact` their paths agree but for words for
    roles.
    """

    group: Group
    masks: Mapping[str, tuple[Name, ...]]
    by: str
    objects: bool = False
    exact: bool = False


def pair(images: Group, masks: Group) -> Partner:
    """Find the masks of each image by the keys of their names; the way that pairs the most is taken."""
    best = Partner(masks, {}, "name")
    most = min(len(images.files), len(masks.files))
    for scope, parts, (image_drop, mask_drop) in product(_SCOPES, (True, False), _OPTIONS):
        of_key: dict[tuple[Token, ...], list[Name]] = {}
        for key, file in zip(masks.keys(mask_drop, parts=parts, scope=scope), masks.files, strict=True):
            of_key.setdefault(key, []).append(file)
        keys = images.keys(image_drop, parts=parts, scope=scope)
        ambiguous = len(keys) - len(set(keys))
        found = {
            file.path: own
            for key, file in zip(keys, images.files, strict=True)
            if (own := tuple(one for one in of_key.get(key, ()) if _of_one_part(one, file)))
        }
        single = sum(len(files) == 1 for files in found.values()) - ambiguous
        if single > sum(len(files) == 1 for files in best.masks.values()):
            numbers = all(isinstance(token, int) for key in keys for token in key[int(parts) :] if key in of_key)
            exact = (scope, image_drop, mask_drop) == ("path", "nothing", "nothing")
            best = Partner(masks, found, "number" if numbers and any(map(len, keys)) else "name", exact=exact)
        if single == most:
            break
    return best


def _of_one_part(one: Name, other: Name) -> bool:
    """Tell whether two files may belong to one part of the set."""
    return one.part == other.part or not one.part or not other.part


def pair_objects(images: Group, masks: Group) -> Partner:
    """Find the masks of each image where an image has many: their names go on where its own ends, `a_01` after `a`.

    They are taken for one mask an object where most images have one, and their numbers differ or are three or more.
    """
    for scope, parts, (image_drop, mask_drop) in product(_SCOPES, (True, False), _OPTIONS):
        of_key = dict(zip(images.keys(image_drop, parts=parts, scope=scope), images.files, strict=True))
        found: dict[str, list[Name]] = {}
        for key, file in zip(masks.keys(mask_drop, parts=parts, scope=scope), masks.files, strict=True):
            ends = range(len(key) - 1, max(int(parts), len(key) - 1 - _LONGEST_NUMBER), -1)
            image = next((of_key[key[:end]] for end in ends if key[:end] in of_key), None)
            if image is not None:
                found.setdefault(image.path, []).append(file)
        counts = [len(files) for files in found.values()]
        enough = 2 * len(found) >= len(images.files) and 2 * sum(counts) >= len(masks.files)
        if enough and sum(counts) >= _MANY_MASKS * len(counts) and (len(set(counts)) > 1 or counts[0] > 2):
            named = {path: tuple(files) for path, files in found.items()}
            exact = (image_drop, mask_drop) == ("nothing", "nothing")
            return Partner(masks, named, "name and number", objects=True, exact=exact)
    return Partner(masks, {}, "name")


def _are_many(images: Group, one: Partner) -> bool:
    """Tell whether there are so many masks that an image may have several."""
    return len(one.group.files) >= _MANY_MASKS * max(len(images.files), 2 * len(one.masks))


def _are_objects(tree: Tree, one: Partner) -> bool:
    """Tell whether nearly all of a few masks are one connected piece of a few values, and of an image hardly overlap.

    Masks of one image that overlap are several people's, of the same thing.
    """
    from scipy import ndimage  # slow to import

    whole: list[bool] = []
    together = apart = 0
    for files in list(one.masks.values())[:: max(1, len(one.masks) // _IMAGES_LOOKED_AT)]:
        inside: list[NDArray[np.bool_]] = []
        for file in files[:_MASKS_LOOKED_AT]:
            try:
                stored = pages_of(tree, file.path, "mask").read(0)
            except DataError:
                continue
            inside.append((stored != 0).any(axis=0))
            regions, _ = ndimage.label(inside[-1], np.ones((3, 3)))
            sizes = np.bincount(regions.ravel())[1:]
            few = len(np.unique(stored)) <= _PARTS
            whole.append(few and bool(len(sizes)) and float(sizes.max()) >= 0.9 * float(sizes.sum()))
        alike = [mask for mask in inside if mask.shape == inside[0].shape]
        together += sum(int(mask.sum()) for mask in alike)
        apart += int(np.logical_or.reduce(alike).sum()) if alike else 0
    return bool(whole) and float(np.mean(whole)) >= _ONE_PIECE and together < _OVERLAPPING * apart


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, its masks, and the region that counts.

    Attributes:
        image: its file, or that of its first channel.
        masks: one, one for each class (None: nothing of that class is there), or one for each object.
        region: 0 where pixels do not count.
        channels: the files of its further channels.
    """

    image: Name
    masks: tuple[Name | None, ...]
    region: Name | None = None
    channels: tuple[Name, ...] = ()

    @property
    def mask_files(self) -> tuple[Name, ...]:
        """The masks that are there."""
        return tuple(mask for mask in self.masks if mask is not None)


@dataclass(frozen=True, slots=True)
class Match:
    """What the files of a data set were taken for.

    Attributes:
        pairs: the images with masks, in order.
        images: the group of all images, or of their first channels.
        channels: the groups of all channels, where each has a file of its own; else empty.
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
    channels: tuple[Group, ...] = ()
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

    @property
    def title(self) -> str:
        """What the masks of one group are called."""
        return title_of(self.labels[0], self.images)

    def with_part(self, other: "Match") -> "Match":
        """Return the match with the pairs of another part of the set."""
        regions = [one.region for one in (self, other) if one.region]
        return replace(
            self,
            pairs=(*self.pairs, *other.pairs),
            images=Group.of((*self.images.files, *other.images.files)),
            labels=tuple(
                Group.of((*one.files, *further.files)) for one, further in zip(self.labels, other.labels, strict=True)
            ),
            region=Group.of(file for region in regions for file in region.files) if regions else None,
            unlabelled=(*self.unlabelled, *other.unlabelled),
            bare=(*self.bare, *other.bare),
            orphans=(*self.orphans, *other.orphans),
            doubled=(*self.doubled, *other.doubled),
            unused=other.unused,
        )


def title_of(masks: Group, images: Group) -> str:
    """Return what masks are called: the words of their title that the folder of their images does not have, too."""
    shared = {str(word) for folder in images.files[0].folders[-1:] for word in tokens(folder)}
    return "_".join(word for word in masks.title.split("_") if word not in shared)


def join(
    images: Group, labels: Mapping[str, Group], region: Group | None = None, channels: Sequence[Group] = ()
) -> Match:
    """Pair images with the masks of one or several groups; an image needs a mask of at least one of them.

    Where several groups are a class each, an image without a mask of one of them has nothing of that class. A mask that
    names its part of the set says it of its image, too.

    Args:
        images: the images, or their first channels.
        labels: of each class its masks, or of no class all of them.
        region: the regions that count.
        channels: the groups of all channels, the first of them `images`; an image needs all of them.
    """
    partners = [pair(images, group) for group in labels.values()]
    if len(partners) == 1 and (not partners[0].masks or _are_many(images, partners[0])):
        several = pair_objects(images, partners[0].group)
        partners = [several] if several.objects or not partners[0].masks else partners
    objects = partners[0].objects
    regions = None if region is None else pair(images, region)
    further = [pair(images, group) for group in channels[1:]]
    pairs: list[Pair] = []
    doubled: list[tuple[Name, Name]] = []
    lone: list[Name] = []
    for file in images.files:
        found = [partner.masks.get(file.path, ()) for partner in partners]
        own = [one.masks.get(file.path, ()) for one in further]
        doubled += [(files[0], files[1]) for files in found if len(files) > 1 and not objects]
        if not any(found) or not all(own):
            lone.append(file)
            continue
        its = regions.masks.get(file.path, ()) if regions else ()
        masks = found[0] if objects else tuple(files[0] if files else None for files in found)
        part = file.part or next((mask.part for mask in masks if mask and mask.part), "")
        rest = tuple(files[0] for files in own)
        pairs.append(Pair(replace(file, part=part), masks, its[0] if its else None, rest))
    used = {mask.path for partner in partners for masks in partner.masks.values() for mask in masks}
    return Match(
        pairs=tuple(pairs),
        images=images,
        labels=tuple(labels.values()),
        channels=tuple(channels),
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
    """Return those of the images without labels that are meant to have none.

    Their folder or part of the set has no labels at all, or they are too many to be forgotten: those of a recording
    with a few labelled frames, or of a set that was labelled in part.
    """
    if len(lone) >= _WHOLE_FOLDER and len(lone) >= _MANY_BARE * (len(pairs) + len(lone)) and pairs:
        return tuple(lone)
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
    looks = Looks(tree)
    ways = {group: divisions(group) for group in groups}
    whole = [*groups, *mirrored_folders(groups)]
    partners = {images: _partners(tree, images, whole, looks) for images in whole}
    first = [way[0] for group in groups for way in ways[group] if not partners[group] and _is_complete(way)]
    apart = [way for group in groups for way in filter(_are_words, ways[group])]
    apart += [way for group in whole for way in repeating_folders(group)]
    for images in (*whole, *first):
        paired = {file for one in partners.get(images, ()) for file in one.group.files}
        rest = [*(whole if images in first else ()), *(one for way in apart for one in way)]
        rest = [one for one in rest if paired.isdisjoint(one.files)]
        partners[images] = [*partners.get(images, ()), *_partners(tree, images, rest, looks)]
    sizes = {group: [max(len(one.files) for one in way) for way in ways.get(group, ())] for group in whole}
    largest = max((min([len(group.files), *sizes[group]]) for group in whole), default=1)
    best: tuple[float, Group] | None = None
    for images, found in partners.items():
        for one in found:
            further = looks.likeness(one.group) - looks.likeness(images)
            used = {file.path for own in one.masks.values() for file in own}  # one mask may be paired with two images
            score = (
                min(1.0, min(len(one.masks), len(used)) / largest)
                + 0.15 * min(further, 6.0)
                - 0.2 * images.is_secondary
            )
            score += 0.1 * one.exact - 0.5 * (looks[images].levels <= 2)
            if best is None or score > best[0]:
                best = score, images
    if best is None:
        return None
    images = best[1]
    every = (*groups, *(one for group in groups for way in ways[group] for one in way))
    siblings = next((way for group in groups for way in ways[group] if images in way), every)
    channels = _channels(images, siblings, looks, partners[images])
    found = partners[images]
    if channels:
        images = channels[0]
        found = _partners(tree, images, [one.group for one in found], looks)
    candidates = [one for one in found if looks.likeness(one.group) > 0] or found
    match = _choose(tree, images, candidates, looks, channels)
    taken = {
        file.path
        for group in (match.images, *match.channels, *match.labels, match.region)
        if group
        for file in group.files
    }
    unused = [file.path for group in groups for file in group.files if file.path not in taken]
    return _with_other_parts(tree, replace(match, unused=tuple(sorted(unused))), groups)


def _with_other_parts(tree: Tree, match: Match, groups: Sequence[Group]) -> Match:
    """Add the images and masks of another part of the set, such as the test set, that are laid out in another way."""
    unused = set(match.unused)
    left = [group for group in groups if unused.issuperset(file.path for file in group.files)]
    other = recognise(tree, left) if len(left) > 1 and not match.channels else None
    if other is None or not are_parts(match.pairs, other.pairs) or other.labels[0].is_secondary:
        return match
    alike = (other.titles, other.objects, other.channels) == (match.titles, match.objects, match.channels)
    looks = [
        [(look.channels, look.levels <= 2) for look in (Look.at(tree, one.images), Look.at(tree, one.labels[0]))]
        for one in (match, other)
    ]
    if not alike or [looks[0][0][0], looks[0][1]] != [looks[1][0][0], looks[1][1]]:
        return match
    return match.with_part(other)


def are_parts(pairs: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Tell whether the others all name the part of the set that they are, and these are none of it."""
    parts = {one.image.part for one in others}
    return "" not in parts and parts.isdisjoint(one.image.part or "train" for one in pairs)


def _are_words(way: Division) -> bool:
    """Tell whether files are told apart by words, as classes are, and not by numbers, as `a01` and `a02` are."""
    letters = {"".join(filter(str.isalpha, one.word)) for one in way}
    return len(letters) == len(way) and "" not in letters


def _is_complete(way: Division) -> bool:
    """Tell whether each of two images or more has all files."""
    return len({len(one.files) for one in way}) == 1 < len(way[0].files)


def _partners(tree: Tree, images: Group, others: Sequence[Group], looks: Looks) -> list[Partner]:
    """Return the groups that may be masks of images: more like masks than these, of their size, paired with half."""
    found: list[Partner] = []
    for masks in others:
        if not set(images.files).isdisjoint(masks.files) or looks.likeness(masks) <= looks.likeness(images):
            continue
        if not looks[images].sizes & looks[masks].sizes and len(looks[images].sizes | looks[masks].sizes) == 2:
            continue
        one = pair(images, masks)
        many = _are_many(images, one)
        if many and looks[masks].levels <= _PARTS:
            one = pair_objects(images, masks)
            if one.objects and not _are_objects(tree, one):
                continue
        used = {file.path for own in one.masks.values() for file in own}
        if one.masks and 2 * len(used) >= min(len(images.files), len(masks.files)) and not (many and not one.objects):
            found.append(one)
    return found


def sizes_apart(tree: Tree, groups: Sequence[Group]) -> str:
    """Say which groups would be images and their masks, but are of other sizes; empty where none are."""
    looks = Looks(tree)
    for images, masks in product(groups[:_MOST_GROUPS], repeat=2):
        if looks.likeness(masks) > max(0.0, looks.likeness(images)) and len(pair(images, masks).masks) == len(
            images.files
        ):
            sizes = [next(iter(looks[one].sizes), ()) for one in (images, masks)]
            shown = [
                f"{group.pattern} {' x '.join(map(str, size))}"
                for group, size in zip((images, masks), sizes, strict=True)
            ]
            return f"masks are not as large as images, in pixels: {' and '.join(shown)}"
    return ""


def _channels(images: Group, groups: Sequence[Group], looks: Looks, masks: Sequence[Partner]) -> tuple[Group, ...]:
    """Return the groups that hold a channel each of grey images, these among them, in order; () if there are none."""
    labels = {one.group for one in masks if looks.likeness(one.group) > 0}
    words: dict[str, Group] = {}
    for other in groups:
        if other in labels or not set(images.files).isdisjoint(other.files):
            continue
        if looks[other].channels != 1 or looks[images].channels != 1 or not looks[other].sizes & looks[images].sizes:
            continue
        its = pair(images, other).masks
        if len(its) < len(images.files) or looks[other].levels <= 2:
            continue
        told = told_apart_by(images.files[0], its[images.files[0].path][0])
        if told is not None:
            words |= {told[0]: replace(images, word=told[0]), told[1]: replace(other, word=told[1])}
    return tuple(words[word] for word in sorted(words, key=natural))[:MOST_FILES]


def _choose(
    tree: Tree, images: Group, candidates: list[Partner], looks: Mapping[Group, Look], channels: tuple[Group, ...]
) -> Match:
    """Say which of the groups of masks that belong to the images are regions, classes, and the masks themselves."""
    region, unsure, alternatives = None, list[str](), list[str]()
    files = {one.group: {file.path for file in one.group.files} for one in candidates}
    candidates = [one for one in candidates if not any(files[one.group] < files[other.group] for other in candidates)]
    seen = _Masks(tree, images, candidates)
    if len(candidates) > 1:
        regions = [one for one in candidates if looks[one.group].levels <= 2 and seen.is_region(one)]
        if regions and len(regions) < len(candidates):
            region = regions[0].group
            candidates = [one for one in candidates if one not in regions]
            unsure.append(
                f"{region.pattern} is nearly the same in every image: taken for regions that count, not for labels"
            )
    classes = _classes(images, candidates, looks, seen)
    if classes:
        rest = [one for one in candidates if one not in classes.values()]
        labels = {title: one.group for title, one in classes.items()}
    else:
        good = [one for one in candidates if all(_outlines(one, looks))] or candidates
        most = max(len(one.masks) for one in good)
        first = max((one for one in good if len(one.masks) > _SOME * most), key=lambda one: _rank(one, looks))
        rest = [one for one in candidates if one is not first]
        labels = {"": first.group}
    for one in (one for one in rest if looks[one.group].read):
        levels = looks[one.group].levels
        values = "two values" if levels <= 2 else f"up to {levels} values"
        alternatives.append(f"{alternative(one.group)} ({values})")
    match = join(images, labels, region, channels)
    return replace(match, alternatives=tuple(alternatives), unsure=tuple(unsure))


def alternative(group: Group) -> str:
    """Return the setting that takes a group of masks."""
    return f"data.labels='{group.pattern}'"


def _rank(one: Partner, looks: Mapping[Group, Look]) -> tuple[float, ...]:
    """Return what masks are preferred by, best first.

    Whole outlines rather than marks, words for labels, many images, more than two values, the first of several.
    """
    folder, stem = one.group.role_words
    look = looks[one.group]
    named = bool((folder | stem) & LABEL_WORDS)
    several = 0.0 if look.levels <= 2 and not one.objects else 1.0
    order = [word for file in one.group.files[:1] for word in file.words]
    later = sum(word in ("second", "third", "fourth", "fifth") for word in order)
    return (*_outlines(one, looks), named - later, len(one.masks) // 2, several, len(one.masks), -len(one.group.title))


def _outlines(one: Partner, looks: Mapping[Group, Look]) -> tuple[bool, bool]:
    """Tell whether masks are in few values or even areas, and no marks or pictures that are made of others."""
    look = looks[one.group]
    return look.levels <= 2 or look.flat >= FLAT, not one.group.is_secondary


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

    def is_union(self, one: Partner, others: Sequence[Partner]) -> bool:
        """Tell whether masks hold those of several other groups, and little besides."""
        whole = self.of(one)
        parts = [self.of(other) for other in others if self.overlap(one, other) < _SAME_REGION]
        parts = [part for part in parts if _outside(part, whole) <= _BESIDE]
        if len(parts) < 2:
            return False
        shared = set(whole).intersection(*parts)
        together = {path: np.logical_or.reduce([part[path] for part in parts]) for path in shared}
        return _outside(whole, together) <= _BESIDE

    def area(self, one: Partner) -> float:
        """Return the mean share of pixels in the masks of a group."""
        return float(np.mean([mask.mean() for mask in self.of(one).values()] or [0.0]))


def _outside(inner: Mapping[str, NDArray[np.bool_]], outer: Mapping[str, NDArray[np.bool_]]) -> float:
    """Return the share of the pixels of masks that lie outside others of the same images."""
    shared = inner.keys() & outer.keys()
    outside = sum(int((inner[path] & ~outer[path]).sum()) for path in shared)
    return outside / max(1, sum(int(inner[path].sum()) for path in shared))


def _small(stored: NDArray[Any]) -> NDArray[np.bool_]:
    rows, columns = (np.linspace(0, int(side) - 1, _SIDE).round().astype(np.intp) for side in stored.shape[1:])
    return (stored[:, rows[:, None], columns] != 0).any(axis=0)


def _classes(
    images: Group, candidates: Sequence[Partner], looks: Mapping[Group, Look], seen: _Masks
) -> dict[str, Partner]:
    """Return the groups of masks that hold a class each, by its name, those of more pixels first; empty: none.

    They have names of their own, two values but for stray pixels, and hardly overlap, or one lies in the other.
    """
    most = max(len(one.masks) for one in candidates)
    named = [one for one in candidates if one.group.title and looks[one.group].read and len(one.masks) > _RARE * most]
    named = [one for one in named if not one.group.is_secondary and not one.objects]
    flat = [one for one in named if looks[one.group].white and looks[one.group].flat >= FLAT]
    named = [one for one in named if looks[one.group].levels <= 2 or one in flat]

    def differ(one: Partner, other: Partner) -> bool:
        if seen.overlap(one, other) < _SAME_MASK:
            return True
        small, large = sorted((seen.area(one), seen.area(other)))
        return bool(one.group.word and other.group.word) and small < _INSIDE * large

    named = [one for one in named if not seen.is_union(one, [other for other in named if other is not one])]
    apart = [one for one in named if all(one is other or differ(one, other) for other in named)]
    titles = {one.group: title_of(one.group, images) for one in apart}
    if len(apart) < 2 or len({*titles.values(), ""}) <= len(apart):
        titles = {one.group: one.group.title for one in apart}
    if len(apart) < 2 or len({*titles.values()}) < len(apart):
        return {}
    apart.sort(key=lambda one: (-round(seen.area(one), 2), titles[one.group]))
    return {titles[one.group]: one for one in apart}
