"""Mask files that belong to image files: found by the matcher, named by patterns, or listed in a .csv; ISBI's stacks.

A file of several pages gives a sample a page; page n of the masks belongs to page n of the images. What the masks'
values mean is found in `data.kinds`, once for the set. The data set that is opened says what it took the files for
(`Account`), so that nothing is chosen or left out without a word.

The ISBI-2012 challenge's label files are white (255) inside cells and black (0) on membranes, so class 0 is the
membrane and class 1 the interior; its stacks are known by their names.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from unetkit.config import DataConfig
from unetkit.config.text import write_inline
from unetkit.data.annotations import BACKGROUND, OBJECT
from unetkit.data.channels import in_channels, in_one_form, pages_as_channels
from unetkit.data.dataset import Account, Dataset, Division, Files, Item, ItemDataset, kept, stacks_of
from unetkit.data.kinds import ClassNames, decide
from unetkit.data.layouts.annotated import Annotations, Painter, find_annotations, painter_of
from unetkit.data.layouts.class_names import class_names
from unetkit.data.layouts.looks import pages_of
from unetkit.data.layouts.matcher import Match, Pair, alternative, join, recognise
from unetkit.data.layouts.names import (
    NO_LISTS,
    OBJECT_WORDS,
    PARTS,
    Group,
    Lists,
    Name,
    find_lists,
    make_groups,
    matching,
    stem_of,
    tokens,
)
from unetkit.data.layouts.nuclei import draw_masks
from unetkit.data.masks import MaskMap
from unetkit.data.outlines import Objects
from unetkit.errors import DataError, listed
from unetkit.images import HEADERS, HOLDING_ARRAYS, SUFFIXES, arrays_in, is_image_name, is_zarr, open_image
from unetkit.images.image import Image, blank
from unetkit.images.image import united as united_image
from unetkit.storage.tree import Tree

IMAGE_FOLDERS = ("images", "image", "imgs", "train_image")
MASK_SUFFIXES = tuple(
    f"{mark}{word}" for mark in "_-" for word in ("mask", "masks", "label", "labels", "seg", "segmentation")
)
SECTIONS = 8
"""Images from which neighbours are compared, to tell whether they are sections of a stack."""

_NAMED = 3  # files of a complaint or a line
_ALIKE = 0.2  # by which neighbours correlate more than others
_STACK = "sections"  # the name of the stack that files make
_UNITED = "an image has several masks of several values: they are laid over each other, the larger value on top"


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name, those in folders below it left out."""
    found = (path for path in folder.iterdir() if is_image_name(path.name) and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file() or is_zarr(path))


def find_folder(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first folder of these names in a folder, whatever the case of its letters."""
    inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def is_mask_name(path: Path) -> bool:
    """Tell whether a file's name ends as a mask's does."""
    return stem_of(path.name).lower().endswith(MASK_SUFFIXES)


def images_in(tree: Tree) -> list[str]:
    """Return the paths of image files of a folder or an archive, and of the images in its files of several arrays."""
    found: list[str] = []
    for name in (name for name in tree.files if is_image_name(name)):
        path = tree.path(name) if name.lower().endswith(HOLDING_ARRAYS) else None
        arrays = () if path is None else arrays_in(path)
        found += [f"{name}/{array}".rstrip("/") for array in arrays] or [name]
    return found


def open_matched(tree: Tree, config: DataConfig, *, only: str | None = None) -> Dataset | None:
    """Open the images that the matcher finds with their masks or annotation files; None where there are none.

    Args:
        tree: the folder or archive.
        config: what is known of the data.
        only: the one image, or annotation file, that is wanted.
    """
    images = images_in(tree)
    lists = find_lists(tree, images)
    groups = make_groups(images, lists.name)
    match = recognise(tree, groups)
    others = [path for path in tree.files if not is_image_name(path)]
    found = find_annotations(tree, groups, others)
    if found is not None and (match is None or len(found.match.pairs) > len(match.pairs)):
        outlined = found.match if match is None else replace(found.match, alternatives=(alternative(match.labels[0]),))
        taken = {file.path for file in found.match.images.files}
        match = replace(outlined, unused=tuple(path for path in images if path not in taken))
    elif found is not None and match is not None:
        others = [f"{alternative(found.match.labels[0])} ({found.form.name})"] if found.match.pairs else []
        match, found = replace(match, alternatives=(*match.alternatives, *others)), None
    if match is not None and only is not None:
        pairs = tuple(
            pair for pair in match.pairs if only in (pair.image.path, *(mask.path for mask in pair.mask_files))
        )
        match = replace(match, pairs=pairs, unlabelled=(), bare=(), orphans=(), doubled=()) if pairs else None
    return None if match is None else assemble(tree, replace(match, lists=lists.files), config, found)


def open_patterns(tree: Tree, config: DataConfig) -> Dataset:
    """Open the images and masks that `data.images`, `data.labels` and `data.roi` name.

    Raises:
        DataError: a pattern that names no image file, or files that cannot be read.
    """
    assert config.images is not None
    assert config.labels is not None
    named = {"": config.labels} if isinstance(config.labels, str) else config.labels
    wanted = {"": config.images} if isinstance(config.images, str) else config.images
    files = [path for path in matching(named.get("", ""), tree.files) if not is_image_name(path)]
    if files and isinstance(config.images, str):
        images = _found(tree, config.images, f"data.images={config.images}")
        region = None if config.roi is None else _found(tree, config.roi, f"data.roi={config.roi}")
        found = find_annotations(tree, [images], files, region)
        if found is not None:
            return assemble(tree, found.match, config, found)
    lists = find_lists(tree, images_in(tree))
    labels = {title: _found(tree, pattern, f"data.labels={pattern}", lists) for title, pattern in named.items()}
    region = None if config.roi is None else _found(tree, config.roi, f"data.roi={config.roi}")
    others = {file.path for group in (*labels.values(), *([region] if region else [])) for file in group.files}
    channels = [
        replace(_found(tree, pattern, f"data.images={pattern}", lists, but=others), word=word)
        for word, pattern in wanted.items()
    ]
    match = replace(join(channels[0], labels, region, channels if len(channels) > 1 else ()), lists=lists.files)
    if len(labels) == 1 and not isinstance(config.labels, str):
        match = replace(match, titles=tuple(labels))
    return assemble(tree, match, config)


def _found(tree: Tree, pattern: str, key: str, lists: Lists = NO_LISTS, but: Iterable[str] = ()) -> Group:
    left = set(but)
    paths = [path for path in matching(pattern, images_in(tree)) if path not in left]
    if paths:
        return Group.of(map(lists.name, paths))
    if not any(letter in pattern for letter in "*?[") and not (tree.root / pattern).exists():
        raise DataError(f"{tree.root / pattern}: there is no such file or folder")
    others = Counter(Path(path).suffix.lower() for path in matching(pattern, tree.files))
    if others:
        known = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{key}: names {next(iter(others))} files below {tree.root}, and none that is read ({known})")
    folders = sorted({"/".join(Path(path).parts[:-1]) or "." for path in images_in(tree)})
    raise DataError(
        f"{key}: names no image file below {tree.root}; image files lie in {', '.join(folders[:4]) or 'no folder'}"
        f"{', ...' * (len(folders) > 4)}"
    )


def open_arrays(images: Path, labels: Path, config: DataConfig) -> Dataset:
    """Open a volume and its labels, such as an OME-Zarr image and one of its label images, or two arrays of one file.

    Raises:
        DataError: files that cannot be read or do not fit together.
    """
    image, label = (Name(str(path), "") for path in (images, labels))
    pair = Pair(image, (label,), None)
    match = Match((pair,), Group.of([image]), (Group.of([label]),), by="their names", listed=True)
    return assemble(Tree(Path(), (), lambda name: Path(name).read_bytes()), match, config)


def open_list(path: Path, config: DataConfig) -> Dataset:
    """Open the files of a .csv with the columns image and label, and any of split, roi and group.

    Its paths are relative to it.

    Raises:
        DataError: no such columns, a split that is none, or no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            columns = {str(name).strip().lower() for name in reader.fieldnames or ()}
            rows = [{str(key).strip().lower(): (value or "").strip() for key, value in row.items()} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a .csv ({error}); expected the columns image,label") from error
    if not {"image", "label"} <= columns:
        found = ", ".join(sorted(columns)) or "none"
        raise DataError(f"{path}: has the columns {found}; expected image,label and perhaps split,roi,group")
    parts = {"": "", **PARTS}
    complaints: list[str] = []
    pairs: list[Pair] = []
    groups: dict[str, str] = {}
    bare: list[Name] = []
    for line, row in enumerate(rows, 2):
        part = parts.get(row.get("split", "").lower())
        if part is None:
            raise DataError(f"{path}, line {line}: the split '{row['split']}'; expected train, val or test")
        image, label, region = (Name(row.get(key, ""), part) for key in ("image", "label", "roi"))
        missing = [name.path for name in (image, label, region) if name.path and not (path.parent / name.path).exists()]
        if missing:
            complaints.append(f"{path}, line {line}: there is no file {missing[0]} in {path.parent}; mend the list")
        elif not label.path:
            bare.append(image)
        else:
            pairs.append(Pair(image, (label,), region if region.path else None))
            groups[image.path] = row.get("group", "")
    if not pairs:
        raise DataError(complaints[0] if complaints else f"{path}: lists no image with a label")
    images = Group.of(pair.image for pair in pairs)
    labels = Group.of(mask for pair in pairs for mask in pair.mask_files)
    match = Match(tuple(pairs), images, (labels,), by=f"the list {path.name}", unlabelled=tuple(bare), listed=True)
    tree = Tree(path.parent, (), lambda name: (path.parent / name).read_bytes())
    dataset = assemble(tree, match, config)
    if any(groups.values()):
        found = tuple(groups.get(item.source.removeprefix(f"{path.parent}/"), "") for item in dataset.items)
        dataset = replace(dataset, division=replace(dataset.division, groups=found))
    return replace(dataset, complaints=(*complaints, *dataset.complaints))


def assemble(tree: Tree, match: Match, config: DataConfig, annotations: Annotations | None = None) -> ItemDataset:
    """Make a data set of images and labels that belong together; what is wrong with files becomes complaints."""
    complaints = _complaints(tree, match, config)
    united = match.objects and _hold_parts(tree, match)
    if united:
        match = replace(match, objects=False, unsure=(*match.unsure, _UNITED))
    painter = painter_of(tree, annotations, config.classes) if annotations else _one_mask_an_object(tree, match, config)
    complaints += painter.complaints if painter else ()
    names = sample_names([pair.image for pair in match.pairs])
    opened: list[tuple[Pair, Files]] = []
    taken: dict[str, str] = {}
    named = None if painter else class_names(tree)
    role = "colour-mask" if config.mask_values and any(key.startswith("#") for key in config.mask_values) else "mask"
    for name, pair in zip(names, match.pairs, strict=True):
        first = pair.image.path if painter else taken.setdefault(pair.mask_files[0].path, pair.image.path)
        if first != pair.image.path:
            complaints.append(
                f"{tree.source(pair.image.path)}: has the same name as {tree.source(first)}; names must differ in more "
                "than endings"
            )
            continue
        with kept(complaints):
            region = None if pair.region is None else pages_of(tree, pair.region.path, "mask")
            image = in_channels([pages_of(tree, one.path) for one in (pair.image, *pair.channels)])
            masks = () if painter else tuple(one and pages_of(tree, one.path, role) for one in pair.masks)
            pages = (
                image.count if painter and painter.paged(pair) else max((one.count for one in masks if one), default=1)
            )
            if united:
                masks = (united_image([one for one in masks if one]),)
            image = pages_as_channels(image, pages)
            masks = tuple(blank(image) if one is None else pages_as_channels(one, image.count) for one in masks)
            opened.append((pair, Files(name, image, masks, region)))
    images, form = in_one_form([files.image for _, files in opened], config.channels)
    opened = [(pair, replace(files, image=image)) for (pair, files), image in zip(opened, images, strict=True)]
    meaning = painter or _mask_map(match, [files for _, files in opened], config, named)
    items: list[Item] = []
    parts: list[tuple[str, str]] = []
    for pair, files in opened:
        with kept(complaints):
            made = files.items()
            if painter:
                made = [replace(item, objects=painter.draw(pair, page)) for page, item in enumerate(made)]
            items += made
            parts += [(pair.image.part, pair.image.path)] * len(made)
    division = _division(parts, config, tree)
    if are_sections([files.image for _, files in opened]):
        items = [replace(item, stack=_STACK) for item in items]
    elif any(_are_apart(files.image) for _, files in opened):
        items = [replace(item, stack="") for item in items]
    division = replace(division, stacks=stacks_of(items))
    account = _account(tree, match, meaning, division, config, named.source if named else None)
    if form:
        account = replace(account, taken=(*account.taken, ("channels", form)))
    known = () if painter is None else painter.classes
    mask_map = meaning if isinstance(meaning, MaskMap) else None
    words = tuple(group.word for group in match.channels)
    return ItemDataset(tuple(items), mask_map, division, tuple(complaints), account, known, words)


def _hold_parts(tree: Tree, match: Match) -> bool:
    """Tell whether masks of one object each have several values, of the object's parts."""
    levels: list[int] = []
    for pair in match.pairs[:_NAMED]:
        try:
            levels.append(len(np.unique(pages_of(tree, pair.mask_files[0].path, "mask").read(0))))
        except DataError:
            continue
    return 2 * sum(level > 2 for level in levels) > len(levels)


def _one_mask_an_object(tree: Tree, match: Match, config: DataConfig) -> Painter | None:
    """Return what draws objects that have a mask each; None for other masks."""
    if not match.objects:
        return None
    classes = config.classes or (BACKGROUND, match.title or OBJECT)
    if len(classes) != 2:
        raise DataError(
            f"{tree.root}: has one mask an object, which are two classes, but {len(classes)} are declared; declare two"
        )

    def draw(pair: Pair, page: int) -> Callable[[tuple[int, int]], Objects]:
        masks = [mask.path for mask in pair.mask_files]
        return partial(draw_masks, tree, masks, source=tree.source(pair.image.path))

    words = f"{sum(len(pair.masks) for pair in match.pairs):,} masks, each one object"
    files = frozenset(mask.path for pair in match.pairs for mask in pair.mask_files)
    return Painter(classes, words, draw, files=files)


def sample_names(files: Sequence[Name]) -> list[str]:
    """Return names that tell files apart: their stems, else the parts of their paths that differ.

    A file that is listed in several parts of a set, with other regions that count, has its part in its names.
    """
    listed = Counter(file.path for file in files)
    if len(listed) < len(files):
        alone = list({file.path: file for file in files}.values())
        name_of = dict(zip((file.path for file in alone), sample_names(alone), strict=True))
        return [f"{name_of[file.path]}-{file.part}" if listed[file.path] > 1 else name_of[file.path] for file in files]
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    rows = [(*file.folders, file.stem) for file in files]
    if len({len(row) for row in rows}) == 1:
        differing = [len(set(column)) > 1 for column in zip(*rows, strict=True)]
        rows = [tuple(part for part, differs in zip(row, differing, strict=True) if differs) for row in rows]
    names = ["-".join(row) for row in rows]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}{file.suffix}" for name, file in zip(names, files, strict=True)]


def _complaints(tree: Tree, match: Match, config: DataConfig) -> list[str]:
    """Return what is wrong with the pairs: images without a mask and the reverse, and two masks for one image."""
    lone = [] if config.unlabelled == "skip" else [file for file in match.unlabelled if file not in match.bare]
    patterns = " and ".join(group.pattern for group in match.labels)
    complaints = _each(
        [tree.source(file.path) for file in lone],
        f"no mask; one that is paired by {match.by} was expected in {patterns}: add it, or leave such images out with "
        "data.unlabelled=skip",
    )
    complaints += _each(
        [tree.source(file.path) for file in match.orphans],
        f"no image; one that is paired by {match.by} was expected in {match.images.pattern}",
    )
    for first, second in match.doubled[:_NAMED]:
        complaints.append(
            f"{tree.source(second.path)}: has the same name as {tree.source(first.path)}; names must differ in more "
            "than endings"
        )
    return complaints


def _each(files: Sequence[str], what: str) -> list[str]:
    """Return a complaint about each of a few files, or one about many."""
    if len(files) <= _NAMED:
        return [f"{file}: has {what}" for file in files]
    return [f"{listed(files, _NAMED)}: have {what}"]


def _mask_map(match: Match, files: Sequence[Files], config: DataConfig, named: ClassNames | None) -> MaskMap:
    """Find out what the values of the masks mean, from a sample of them and from the file that names them."""

    def masks(place: int) -> list[tuple[str, partial[np.ndarray]]]:
        return [
            (one.masks[place].source, partial(one.masks[place].read, page))
            for one in files
            for page in range(one.masks[place].count)
        ]

    if not match.titles:
        objects = not OBJECT_WORDS.isdisjoint(tokens(match.labels[0].pattern))
        return decide(masks(0), config, title=match.title, objects=objects, named=named)
    alone = config.model_copy(update={"classes": None, "mask_values": None})
    layers = tuple(decide(masks(place), alone, title=title) for place, title in enumerate(match.titles))
    for layer in layers:
        if len(layer.classes) > 2 or layer.kind == "instances":
            layers = tuple(replace(one, kind="binary", classes=one.classes[:2], table=None) for one in layers)
            break
    classes = config.classes or ("background", *match.titles)
    if len(classes) != len(layers) + 1:
        raise DataError(
            f"{len(layers)} masks an image ({', '.join(match.titles)}) and the background are {len(layers) + 1} "
            f"classes, but {len(classes)} are declared ({', '.join(classes)})"
        )
    words = "a mask for each class; where they overlap the later class counts"
    return MaskMap(classes, layers=layers, words=words, unsure="; ".join(one.unsure for one in layers if one.unsure))


def _division(parts: Sequence[tuple[str, str]], config: DataConfig, tree: Tree) -> Division:
    """Return what the names of folders and files, and `data.test`, say of the samples."""
    named = [part for part, _ in parts]
    if config.test is not None:
        chosen = set(matching(config.test, dict.fromkeys(path for _, path in parts)))
        if not chosen:
            raise DataError(
                f"data.test={config.test}: names no labelled image below {tree.root}; write a pattern such as "
                "'test/**', or the path of another data set"
            )
        named = ["test" if path in chosen else "train" if part == "test" else part for part, path in parts]
    return Division.of_parts(named)


def are_sections(images: Sequence[Image]) -> bool:
    """Tell whether images of one page each, in this order, are neighbouring sections of a stack.

    They are files of one folder and size that are numbered without a gap and are more alike the nearer they are.
    """
    if len(images) < SECTIONS or len({(one.shape, one.dtype) for one in images}) > 1 or images[0].count > 1:
        return False
    numbers = [[token for token in tokens(Path(one.source).stem) if isinstance(token, int)] for one in images]
    last = [number[-1] for number in numbers if number]
    if len({Path(one.source).parent for one in images}) > 1 or len(last) < len(images):
        return False
    if sorted(last) != list(range(min(last), min(last) + len(last))):
        return False
    try:
        return _nearer_by([partial(_details, one) for one in images]) > _ALIKE
    except DataError:
        return False


def _are_apart(image: Image) -> bool:
    """Tell whether the pages of an array without names of its axes are images of their own, and no sections."""
    if image.named or image.count < SECTIONS or Path(image.source).suffix.lower() in _SUFFIXES:
        return False
    try:
        return _nearer_by([partial(_details, image, page) for page in range(image.count)]) < _ALIKE / 2
    except DataError:
        return False


def _nearer_by(details: Sequence[Callable[[], np.ndarray]]) -> float:
    """Return by how much neighbours in a row correlate more than images that are half of the row apart."""
    near, far = list[float](), list[float]()
    places: list[int] = np.linspace(0, len(details) // 2 - 2, 5).round().astype(int).tolist()
    for place in dict.fromkeys(places):
        here, following, distant = (details[place + step]() for step in (0, 1, len(details) // 2))
        near.append(float((here * following).mean()))
        far.append(float((here * distant).mean()))
    return float(np.mean(near)) - float(np.mean(far))


def _details(image: Image, page: int = 0) -> np.ndarray:
    """Return a page in 128 x 128 pixels without its slow changes, of mean 0 and deviation 1."""
    from PIL import Image as Picture
    from scipy import ndimage

    grey = Picture.fromarray(image.read(page).mean(0, dtype=np.float32))
    small = np.asarray(grey.resize((128, 128), Picture.Resampling.BOX), np.float32)
    details = ndimage.gaussian_filter(small, 1) - ndimage.gaussian_filter(small, 8)
    details -= details.mean()
    return details / max(float(details.std()), 1e-6)


def _account(
    tree: Tree,
    match: Match,
    meaning: MaskMap | Painter,
    division: Division,
    config: DataConfig,
    names: str | None,
) -> Account:
    """Say what files were taken for what, what was not certain, what was left, and how to fix the answer."""
    titled = zip(match.titles or ("",), match.labels, strict=True)
    masks = ", ".join(f"{title}: {group.pattern}" if title else group.pattern for title, group in titled)
    patterns = {group.word: group.pattern for group in match.channels}
    images = ", ".join(f"{word}: {pattern}" for word, pattern in patterns.items()) or match.images.pattern
    taken = [
        ("images", f"{len(match.pairs)} with masks, {images}"),
        *((("channels", f"{', '.join(patterns)}, a file each"),) if patterns else ()),
        ("masks", f"{masks}, paired by {match.by}"),
    ]
    if match.region is not None:
        taken.append(("regions", f"{match.region.pattern}: pixels that are 0 there do not count"))
    taken.append(("values" if isinstance(meaning, MaskMap) else "objects", meaning.words))
    if division.test:
        taken.append(("test set", f"{len(division.test)} images, scored once at the end and used for nothing else"))
    if division.held_out:
        by = "as the list says" if match.listed else "those of folders or files named val"
        by = f"as {' and '.join(match.lists[:3])} say" if match.lists else by
        taken.append(("held out", f"{len(division.held_out)} images, {by}"))
    if division.serial:
        taken.append(("order", "sections of a stack: data.split.method=auto holds out neighbouring ones"))
    left = match.unlabelled if config.unlabelled == "skip" else match.bare
    if left:
        group = Group.of(left) if len({len(file.folders) for file in left}) == 1 else None
        taken.append(("no masks", f"{len(left)} images are left out: {group.pattern if group else left[0].path}"))
    unsure = [*match.unsure, *([meaning.unsure] if meaning.unsure else [])]
    unsure += [f"other masks are there, too: to take them, set {one}" for one in match.alternatives[:_NAMED]]
    if len(match.alternatives) > _NAMED:
        unsure.append(f"{len(match.alternatives) - _NAMED} more kinds of masks are there")
    for place, title in enumerate(match.titles):
        without = [pair for pair in match.pairs if pair.masks[place] is None]
        if without:
            unsure.append(
                f"{len(without)} images, such as {without[0].image.path}, have no mask of {title}: taken as none there"
            )
    if patterns:
        unsure.append(f"{', '.join(patterns)} are taken for channels of one image; for one alone set data.images")
    lacking = [pair for pair in match.pairs if pair.region is None]
    if match.region is not None and lacking:
        unsure.append(
            f"{len(lacking)} images, such as {lacking[0].image.path}, have no region: all of their pixels count"
        )
    section: dict[str, object] = {"images": patterns or match.images.pattern}
    labels = dict(zip(match.titles, (group.pattern for group in match.labels), strict=True)) if match.titles else None
    section["labels"] = labels or match.labels[0].pattern
    section |= {} if match.region is None else {"roi": match.region.pattern}
    section |= pinned(meaning) if isinstance(meaning, MaskMap) else {"classes": list(meaning.classes)}
    crossed = any(matching(label.pattern, [file.path for file in match.images.files]) for label in match.labels)
    shown = tuple((key, write_inline(value)) for key, value in section.items()) if not match.listed | crossed else ()
    used = meaning.files if isinstance(meaning, Painter) else frozenset[str]()
    used |= {path for path in tree.files if tree.source(path) == names or path in match.lists}
    return Account(tuple(taken), tuple(unsure), _unused(tree, match, used), shown)


def pinned(mask_map: MaskMap | None) -> dict[str, object]:
    """Return the keys of `data:` that say again what was found of the values of masks."""
    if mask_map is None or mask_map.layers:
        return {}
    table = mask_map.mask_values()
    kind = {} if mask_map.kind == "classes" else {"mask_kind": mask_map.kind}
    ignored = {"ignore_value": min(mask_map.ignored)} if table is None and mask_map.ignored else {}
    return {**kind, **({} if table is None else {"mask_values": table}), **ignored, "classes": list(mask_map.classes)}


def _unused(tree: Tree, match: Match, taken: Set[str]) -> tuple[str, ...]:
    """Name the files that were taken for nothing: groups of images, and files that are no images."""
    known = [alternative.split("'")[1] for alternative in match.alternatives]
    groups = [group for group in make_groups(match.unused) if group.pattern not in known]
    found = [f"{group.pattern} ({len(group.files)})" if len(group.files) > 1 else group.pattern for group in groups]
    headers = {path[: path.rindex(".")] for path in tree.files if path.lower().endswith(HEADERS)}
    others = [path for path in tree.files if not is_image_name(path) and path not in taken]
    others = [path for path in others if not (".raw" in path and path[: path.rindex(".raw")] in headers)]
    by_suffix = Counter(Path(path).suffix.lower() or Path(path).name for path in others)
    for suffix, count in by_suffix.items():
        first = next(path for path in others if (Path(path).suffix.lower() or Path(path).name) == suffix)
        found.append(first if count == 1 else f"{count} {suffix} files such as {first}")
    return tuple(found)


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES = "train-volume", "train-labels", "test-volume"
ISBI_CLASSES = ("membrane", "interior")
_SUFFIXES = (".tif", ".tiff")


def is_isbi(tree: Tree) -> bool:
    """Tell whether a folder holds the challenge's stacks, or one of them and no other images."""
    folder = tree.root
    if folder.is_file():
        return False
    there = [find_stack(folder, name) is not None for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES)]
    return all(there[:2]) or (any(there) and len(image_files(folder)) == sum(there))


def find_stack(folder: Path, name: str) -> Path | None:
    """Return the TIFF file of that name in a folder, if there is one."""
    return next((folder / f"{name}{suffix}" for suffix in _SUFFIXES if (folder / f"{name}{suffix}").is_file()), None)


def open_isbi(tree: Tree, config: DataConfig) -> Dataset:
    """Open train-volume.tif and train-labels.tif of a folder; the samples are named `train-volume[07]`.

    Raises:
        DataError: one of the two is missing, or they do not fit together.
    """
    folder = tree.root
    images, labels = find_stack(folder, TRAIN_IMAGES), find_stack(folder, TRAIN_LABELS)
    for found, name, other in ((images, TRAIN_IMAGES, labels), (labels, TRAIN_LABELS, images)):
        if found is None:
            present = other or find_stack(folder, TEST_IMAGES)
            raise DataError(f"{folder}: {present} is there, but {name}.tif is missing; put it into the same folder")
    assert images is not None
    assert labels is not None
    mask_map = MaskMap.of(config.mask_values, config.classes or ISBI_CLASSES)
    (volume,), _ = in_one_form([open_image(images)], config.channels)
    items = Files(images.stem, volume, (open_image(labels, mask_map.role),), is_stack=True).items()
    rest = [path.name for path in image_files(folder) if path not in (images, labels)]
    taken = (
        ("images", f"{len(items)} sections, {images.name}"),
        (
            "masks",
            f"{labels.name}, page by page: 0 is {mask_map.classes[0]}, white {mask_map.classes[1]}, by their names",
        ),
        ("order", "sections of a stack"),
    )
    account = Account(taken, (), tuple(rest), (("images", images.name), ("labels", labels.name)))
    return ItemDataset(tuple(items), mask_map, Division(stacks=stacks_of(items)), (), account)
