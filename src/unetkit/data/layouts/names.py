"""What the names of a data set's files say: which part of the set a file belongs to, which role it has, and its key.

A path is cut into tokens: words, at capitals too, and numbers. Words such as `images`, `mask` or `test` say what a file
is for; what is left says which image it is about, its key. Files are put into groups that differ in their keys alone:
files of one folder, or of folders that differ in numbers or hold the same kinds of files, whose names have the same
ending (`_mask`, `_1stHO`, `.ah`) and whose type is the same.

Groups are made of others where files are of one image, or folders of one kind. `a_ch1.tif` and `a_ch2.tif` are files
of one image: its channels, or, of masks, its classes; they are told apart by one piece of their names that takes the
same few values for every image, or by one folder. Folders such as those of diagnoses lie below the images as below the
masks, and both are then one group each.

Lists say which part of the set files belong to, too: train.txt, val.txt and test.txt with a name a line, without
folders and endings or with them, as the VOC challenge has. Nothing else of the content of files is looked at.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from unetkit.errors import DataError
from unetkit.images import is_image_name, natural
from unetkit.storage.tree import Tree

IMAGE_WORDS = frozenset(
    {"image", "images", "img", "imgs", "im", "raw", "input", "inputs", "picture", "pictures", "photo", "photos"}
    | {"original", "originals", "orig", "tissue", "volume", "volumes", "frame", "frames", "rgb", "source"}
)
LABEL_WORDS = frozenset(
    {"mask", "masks", "label", "labels", "lbl", "gt", "truth", "groundtruth", "annotation", "annotations", "annotated"}
    | {"anno", "annot", "annots", "manual", "seg", "segs", "segmentation", "segmentations", "target", "targets"}
    | {"ann", "json", "jsons", "polygons", "instance", "instances", "inst", "ids", "outlines", "man", "expert", "ho"}
    | {"msk", "msks", "lab", "gts", "ground"}
)
REGION_WORDS = frozenset({"fov", "roi", "rois", "region", "regions"})
OBJECT_WORDS = frozenset({"instance", "instances", "inst", "ids", "objects"})
SECONDARY_WORDS = frozenset(
    {"distance", "distances", "overlay", "overlays", "preview", "previews", "thumbnail", "thumbnails", "heatmap"}
    | {"heatmaps", "vague", "contour", "contours", "edge", "edges", "skeleton", "skeletons", "weight", "weights"}
    | {"tra", "track", "tracks", "tracking", "marker", "markers", "seeds", "centers", "centres", "points", "dots"}
    | {"visualized", "visualised", "visualization", "superpixels", "flow", "flows", "probability", "probabilities"}
    | {"prediction", "predictions", "predict", "predicted", "pred", "preds", "submission"}
)
"""Words for what is made of images and masks, or marks objects without outlines: taken where nothing better is."""

ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_GENERAL = frozenset(
    {*ORDINALS, "binary", "class", "map", "maps", "data", "all", "final", "png", "tif", "files", "full"}
)
"""Words that do not say what is masked."""

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_SHORT_PARTS = {"tr": "train", "va": "val", "ts": "test", "tst": "test"}
"""Words for a part of the set that only count next to a role, as in `imagesTr`."""

ROLES = IMAGE_WORDS | LABEL_WORDS | REGION_WORDS
_NO_TITLES = ROLES | SECONDARY_WORDS | _GENERAL
_ORDINAL = re.compile(r"(?<![0-9])([1-9])(?:st|nd|rd|th)(?![a-z])")
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_FIRST = (*PARTS, *(word for word in ROLES if len(word) > 2))  # words for roles of two letters begin many others
_SECOND = (*ROLES, "set", "dataset", "data", "crop", "crops")
_COMPOUND = re.compile(f"({'|'.join(sorted(_FIRST, key=len, reverse=True))})({'|'.join(sorted(_SECOND))})")

IDENTIFIER = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ALONE = {"x": "images", "y": "labels"}
_ARRAYS = ("", ".npy")
"""The endings of arrays: one in a file of several has none."""

_LISTED = 0.9  # share of a list's lines that name files
MOST_FILES = 8
"""Files of an image."""

_FROM_THE_END = (-1, -2, -3, 0)
"""The places of the piece that may tell an image's files apart where names have different numbers of pieces."""

Token = str | int
Drop = Literal["nothing", "words", "all"]
Scope = Literal["path", "name", "unrepeated", "plain"]
Key = TypeVar("Key")


def tokens(text: str) -> list[Token]:
    """Cut a text into lower-case words and numbers: `Image_01L` gives image, 1, l; ordinals such as `1st` are words.

    X and Y next to a part of the set, as in `X_train`, are images and labels.
    """
    found: list[Token] = []
    for token in _TOKEN.findall(_ORDINAL.sub(lambda match: f" {ORDINALS[int(match[1])]} ", text)):
        word = token.lower()
        compound = _COMPOUND.fullmatch(word)
        found += [int(word)] if _is_number(word) else [*compound.groups()] if compound else [word]
    left = [token for token in found if token not in PARTS]
    return [_ALONE.get(str(token), token) for token in found] if len(left) == 1 < len(found) else found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 19


def part_in(words: Sequence[Token]) -> str:
    """Return the part of the set that words name: train, val, test, or nothing where they name none or several."""
    known = PARTS | (_SHORT_PARTS if any(word in ROLES for word in words) else {})
    found = {known[str(word)] for word in words if str(word) in known}
    return found.pop() if len(found) == 1 else ""


def _said(found: Iterable[Token]) -> tuple[Token, ...]:
    """Return the tokens that name neither a part nor a role."""
    return tuple(token for token in found if not _is_part(token) and token not in ROLES)


def _is_part(word: Token) -> bool:
    return word in PARTS or word in _SHORT_PARTS


@dataclass(frozen=True)
class Name:
    """The path of a file below the data set, taken apart.

    Attributes:
        path: with forward slashes.
        part: train, val, test, or nothing where the path does not say.
    """

    path: str
    part: str = ""

    @classmethod
    def of(cls, path: str) -> "Name":
        """Take a path apart."""
        *folders, file = PurePosixPath(path).parts
        found = [part_in(tokens(text)) for text in (*folders, stem_of(file))]
        return cls(path, next((part for part in found if part), ""))

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The folders above the file."""
        return PurePosixPath(self.path).parts[:-1]

    @cached_property
    def stem(self) -> str:
        """The file's name without its ending."""
        return stem_of(PurePosixPath(self.path).name)

    @property
    def suffix(self) -> str:
        """The ending in lower case."""
        return PurePosixPath(self.path).suffix.lower()

    @cached_property
    def template(self) -> tuple[str, ...]:
        """The folders without those that name a part of the set; numbers are '#'."""
        found: list[str] = []
        for folder in self.folders:
            words = tokens(folder)
            short = _SHORT_PARTS if any(word in ROLES for word in words) else {}
            left = [word for word in words if word not in PARTS and word not in short]
            if left or not words:
                found.append("_".join("#" if isinstance(word, int) else word for word in left) or folder)
        return tuple(found)

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the name without its folders; of arrays, X and y are images and labels."""
        found = tokens(self.stem)
        return tuple(_ALONE.get(str(token), token) for token in found) if self.suffix in _ARRAYS else tuple(found)

    @cached_property
    def words(self) -> tuple[Token, ...]:
        """All tokens of the path that do not name a part or a role."""
        return (*(token for text in self.folders for token in _said(tokens(text))), *_said(self.tokens))

    @cached_property
    def own_words(self) -> tuple[Token, ...]:
        """Those of them that its name has, without its folders; of an array, that of its file, too."""
        file = [stem_of(text) for text in self.folders[-1:] if is_image_name(text)]
        return (*(token for text in file for token in _said(tokens(text))), *_said(self.tokens))

    @cached_property
    def plain_words(self) -> tuple[Token, ...]:
        """Those of its name without the identifiers that microscopes add, as `w1` in `a_w1108582426-c365-...`."""
        return _said(tokens(IDENTIFIER.sub("", self.stem)))

    @cached_property
    def unrepeated_words(self) -> tuple[Token, ...]:
        """Those of the path without folders that its name or the folder below begins with, too."""
        rows = [_said(tokens(text)) for text in self.folders]
        rows = [*rows, _said(self.tokens)]
        kept = [row for row, below in pairwise([*rows, ()]) if not row or below[: len(row)] != row]
        return tuple(token for row in kept for token in row)

    @cached_property
    def roles(self) -> frozenset[Token]:
        """The words of the name, without its folders, that name a role."""
        return frozenset(token for token in self.tokens if token in ROLES)


def stem_of(file: str) -> str:
    """Return a file's name without its ending, `.ome` and `.gz` included, and without an image's in `a.png.json`."""
    file = file.removesuffix(".gz")
    stem = PurePosixPath(file).stem
    if not is_image_name(file) and is_image_name(stem):
        stem = PurePosixPath(stem).stem
    return stem.removesuffix(".ome")


@dataclass(frozen=True, slots=True)
class Lists:
    """Which part of the set files belong to, as lists next to them say.

    Attributes:
        files: the lists.
        parts: name of a file without its ending -> train, val or test.
    """

    files: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict[str, str])

    def name(self, path: str) -> Name:
        """Take a path apart; what its own folders say goes before the lists."""
        name = Name.of(path)
        return name if name.part else replace(name, part=self.parts.get(name.stem, ""))


NO_LISTS = Lists()


def find_lists(tree: Tree, images: Iterable[str]) -> Lists:
    """Find the lists that name the image files of a folder or an archive; none where they contradict each other.

    Of lists in several folders those are taken that name the most.
    """
    counts = Counter(stem_of(PurePosixPath(path).name) for path in images)
    labelled = {stem for stem, count in counts.items() if count > 1} or counts.keys()  # an image and its mask
    found: dict[str, Lists] = defaultdict(Lists)
    for path in tree.files:
        words = tokens(PurePosixPath(path).stem)
        if not path.lower().endswith(".txt") or len(words) != 1 or words[0] not in PARTS:
            continue
        try:
            lines = [line.strip() for line in tree.read(path).decode().splitlines() if line.strip()]
        except (DataError, UnicodeDecodeError):
            continue
        names = [stem_of(PurePosixPath(line.replace("\\", "/")).name) for line in lines]
        known = {name: PARTS[str(words[0])] for name in names if name in labelled}
        folder = str(PurePosixPath(path).parent)
        if len(known) < _LISTED * len(names) or not known or not known.keys().isdisjoint(found[folder].parts):
            continue
        found[folder] = Lists((*found[folder].files, path), {**found[folder].parts, **known})
    return max(found.values(), key=lambda lists: len(lists.parts), default=NO_LISTS)


_ORDER = ("", "train", "val", "test")


@dataclass(frozen=True)
class Group:
    """Files that differ in their keys alone.

    Attributes:
        files: the parts of the set one after the other, each by path, numbers by their value.
        word: that tells them from other files of the same images, as `ch1` in `a_ch1.tif`; else empty.
    """

    files: tuple[Name, ...]
    word: str = ""

    @classmethod
    def of(cls, files: Iterable[Name], word: str = "") -> "Group":
        """Put files in order."""
        return cls(tuple(sorted(files, key=lambda file: (_ORDER.index(file.part), natural(file.path)))), word)

    @cached_property
    def pattern(self) -> str:
        """A pattern, as of a shell, for the files of the group."""
        paths = [PurePosixPath(file.path).parts for file in self.files]
        if len({len(path) for path in paths}) > 1:
            shared = _common([list(path[:-1]) for path in paths])
            name = _wildcard(list(dict.fromkeys(path[-1] for path in paths)))
            last = _wildcard(list(dict.fromkeys(path[-2] for path in paths))) if min(map(len, paths)) > 1 else "*"
            return "/".join((*map(_escaped, shared), "**", *([last] if last.strip("*") else []), name))
        *above, names = zip(*paths, strict=True)
        parts = [_wildcard(list(dict.fromkeys(column))) for column in above]
        return "/".join((*parts, self._with_word(_wildcard(list(dict.fromkeys(names))))))

    def _with_word(self, pattern: str) -> str:
        """Return a pattern of names with the word in it that tells the files from others, where all names have it."""
        found = {
            match[0] for file in self.files if (match := re.search(re.escape(self.word), file.stem, re.IGNORECASE))
        }
        if not self.word or self.word in pattern.lower() or len(found) != 1:
            return pattern
        named = pattern.replace("*", f"*{_escaped(found.pop())}*", 1)
        return named if all(fnmatchcase(PurePosixPath(file.path).name, named) for file in self.files) else pattern

    def keys(self, drop: Drop, *, parts: bool, scope: Scope = "path") -> list[tuple[Token, ...]]:
        """Return the key of each file: its tokens without those that all files have in one place.

        Args:
            drop: nothing, such words, or such words and numbers.
            parts: the part of the set belongs to the key.
            scope: which tokens, by the properties of `Name`.
        """
        words: dict[Scope, Callable[[Name], tuple[Token, ...]]] = {
            "path": lambda file: file.words,
            "name": lambda file: file.own_words,
            "unrepeated": lambda file: file.unrepeated_words,
            "plain": lambda file: file.plain_words,
        }
        rows = list(map(words[scope], self.files))
        if drop != "nothing":
            rows = _without_shared(rows, numbers=drop == "all")
        return [(*([file.part] if parts else []), *row) for file, row in zip(self.files, rows, strict=True)]

    @cached_property
    def role_words(self) -> tuple[frozenset[Token], frozenset[Token]]:
        """The words for roles in the folders and in the names, those that all files have."""
        some = self.files[:50]
        folders: list[frozenset[Token]] = [
            frozenset(token for text in file.folders for token in tokens(text)) for file in some
        ]
        shared: frozenset[Token] = folders[0].intersection(*folders[1:])
        return shared & ROLES, some[0].roles.intersection(*(file.roles for file in some[1:]))

    @cached_property
    def is_secondary(self) -> bool:
        """Whether its names say that it is made of others, or marks objects without their outlines."""
        name = self.files[0]
        return not SECONDARY_WORDS.isdisjoint(
            (*(word for text in name.folders[-1:] for word in tokens(text)), *name.tokens)
        )

    @cached_property
    def title(self) -> str:
        """What the group's word, its own folder or the one name of its files says that is no word for a role."""
        file = self.files[0]
        folder = file.folders[-1] if file.folders else ""
        names = [
            self.word,
            folder if len({one.folders[-1:] for one in self.files}) == 1 else "",
            file.stem if len({one.stem for one in self.files}) == 1 < len(self.files) else "",
        ]
        for name in names:
            words = [str(word) for word in tokens(name) if not _is_part(word)]
            named = [word for word in words if word not in _NO_TITLES and not word.isdigit()]
            if any(len(word) > 1 for word in named):
                return "_".join(named)
        return ""


def _without_shared(rows: Sequence[tuple[Token, ...]], *, numbers: bool) -> list[tuple[Token, ...]]:
    """Return rows without the words, and perhaps numbers, that all have in one place from their start or their end."""
    shortest = min(map(len, rows))
    places = [*range(shortest), *(range(-shortest, 0) if len(set(map(len, rows))) > 1 else ())]
    shared = [
        place
        for place in places
        if len(found := {row[place] for row in rows}) == 1 and (numbers or isinstance(next(iter(found)), str))
    ]
    dropped = [{place % len(row) for place in shared} for row in rows]
    return [
        tuple(token for place, token in enumerate(row) if place not in out)
        for row, out in zip(rows, dropped, strict=True)
    ]


def _wildcard(texts: Sequence[str]) -> str:
    """Return a pattern for texts: the words and numbers that they begin and end with, and a star between."""
    pieces = [_pieces(text) for text in texts]
    before, after = _common(pieces), _common([one[::-1] for one in pieces])[::-1]
    if len(texts) == 1:
        return _escaped("".join(before))
    shortest = min(map(len, pieces))
    after = after[max(0, len(before) + len(after) - shortest) :]
    return f"{_escaped(''.join(before))}*{_escaped(''.join(after))}"


def _pieces(text: str) -> list[str]:
    """Cut a text into words, numbers and single signs; `trainannot` is two words."""
    found: list[str] = []
    for piece in re.findall(r"[0-9]+|[^\W\d_]+|[\W_]", text):
        compound = _COMPOUND.fullmatch(piece.lower())
        found += [piece] if compound is None else [piece[: compound.end(1)], piece[compound.end(1) :]]
    return found


def _common(lists: Sequence[list[str]]) -> list[str]:
    """Return what all lists begin with."""
    shared = lists[0]
    for one in lists[1:]:
        same = [first == second for first, second in zip(shared, one, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return shared


def _escaped(text: str) -> str:
    return re.sub(r"([\[?*])", r"[\1]", text)


def make_groups(paths: Iterable[str], name_of: Callable[[str], Name] = Name.of) -> list[Group]:
    """Put files into groups that differ in their keys alone, the largest first; `name_of` takes a path apart."""
    names = [name_of(path) for path in paths]
    merged = _merged_folders(names)
    found: dict[tuple[tuple[str, ...], str], list[Name]] = defaultdict(list)
    for folder, files in _by(names, lambda name: merged[name.template]).items():
        endings = _endings(files)
        for name in files:
            found[folder, endings[name.path]].append(name)
    groups = [Group.of(files) for together in found.values() for files in _by_type(together)]
    return sorted(groups, key=lambda group: (-len(group.files), group.files[0].path))


def _by(names: Iterable[Name], key: Callable[[Name], Key]) -> dict[Key, list[Name]]:
    found: dict[Key, list[Name]] = defaultdict(list)
    for name in names:
        found[key(name)].append(name)
    return found


def _by_type(files: list[Name]) -> list[list[Name]]:
    """Divide files by their ending where those of one name differ in it, as in `001.bmp` and `001.png`."""
    by_suffix = sorted(_by(files, lambda name: name.suffix).values(), key=len, reverse=True)
    apart: list[list[Name]] = []
    for some in by_suffix:
        keys = {(name.folders, name.stem) for name in some}
        for others in apart:
            if 2 * len(keys & {(name.folders, name.stem) for name in others}) < max(len(some), len(others)):
                others += some
                break
        else:
            apart.append(some)
    return apart


def _endings(files: Sequence[Name]) -> dict[str, str]:
    """Return for the path of each file of one folder what makes its name another kind's.

    That are its words for roles; what follows the name of another file where that is so for many, as `.ah` in
    `im0001.ah.ppm`, without the numbers of objects; and its whole name where several without numbers return in most
    folders, as `raw` and `preview` do.
    """
    stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in files:
        stems[name.folders].add(name.stem)
    learned: dict[str, str] = {}
    for name in files:
        for cut in [match.start() for match in re.finditer(r"[\W_]", name.stem)]:
            if name.stem[:cut] in stems[name.folders] and re.search(r"[^\W\d_]", name.stem[cut:]):
                learned[name.path] = name.stem[cut:]
                break
    numbered: dict[str, set[str]] = defaultdict(set)
    for ending in learned.values():
        numbered[_numberless(ending)].add(ending)
    for path, ending in learned.items():
        if len(numbered[_numberless(ending)]) > 2:  # they number objects, and not two observers
            learned[path] = _numberless(ending)
    returning = Counter(name.stem for name in files if not any(map(str.isdigit, name.stem)))
    fixed = {stem for stem, count in returning.items() if count > 1 and 2 * count >= len(stems)}
    if len(fixed) > 1:
        learned |= {name.path: name.stem for name in files if name.stem in fixed}
    counts = Counter(learned.values())
    bare = len(files) - len(learned)
    kept = {ending for ending, count in counts.items() if 2 * count >= bare and (count > 1 or bare == 1)}
    found: dict[str, str] = {}
    for name in files:
        roles = " ".join(sorted(map(str, name.roles)))
        ending = learned.get(name.path, "")
        found[name.path] = f"{roles} {ending}" if ending in kept else roles
    return found


def _numberless(text: str) -> str:
    """Return the words of a text, numbers as '#'."""
    return " ".join("#" if isinstance(token, int) else token for token in tokens(text))


def _merged_folders(names: Sequence[Name]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return for each template of folders the one that stands for it and those that hold the same kinds of files.

    Folders next to each other whose names say no role are merged where each holds files of several kinds, as the folder
    of a patient does, or files whose names occur in no other of them, as the folder of a city does.
    """
    merged = {name.template: name.template for name in names}
    for depth in range(max(map(len, merged), default=0)):
        holds: dict[tuple[str, ...], dict[str, dict[tuple[object, ...], set[str]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(set))
        )
        for name in names:
            folder = merged[name.template]
            if len(folder) > depth and not ({*tokens(folder[depth])} & {*ROLES, *_ALONE}):
                kind = (folder[depth + 1 :], " ".join(sorted(map(str, name.roles))), name.suffix)
                file = "" if len(name.folders) <= depth or not is_image_name(name.folders[-1]) else name.folders[-1]
                holds[folder[:depth]][folder[depth]][kind].add(f"{file}/{name.stem}")
        for above, inside in holds.items():
            for alike in _alike(inside):
                for template, folder in list(merged.items()):
                    if folder[:depth] == above and len(folder) > depth and folder[depth] in alike:
                        merged[template] = (*above, "*", *folder[depth + 1 :])
    return merged


def _alike(inside: dict[str, dict[tuple[object, ...], set[str]]]) -> Iterator[set[str]]:
    """Yield the folders that hold the same kinds of files, of `folder -> kind -> names`."""
    shapes: dict[frozenset[tuple[object, ...]], set[str]] = defaultdict(set)
    for folder, kinds in inside.items():
        shapes[frozenset(kinds)].add(folder)
    for kinds in sorted(shapes, key=len, reverse=True):
        if len(kinds) > 1:  # those that lack a kind belong to it, too: their files are missing, not of another meaning
            folders = set[str]().union(*(shapes[other] for other in shapes if other <= kinds))
            shapes = {other: some for other, some in shapes.items() if not other <= kinds}
        else:
            folders = shapes.get(kinds, set())
            stems = [inside[folder][kind] for folder in folders for kind in kinds]
            if len(set[str]().union(*stems)) < sum(map(len, stems)):
                continue
        if len(folders) > 1:
            yield folders


def _separated(text: str) -> list[str]:
    return [piece for piece in re.split(r"[\s_.+-]+", text.lower()) if piece]


Division = tuple[Group, ...]
"""Groups that hold the files of the same images, one group a piece of the names that tells them apart."""


def divisions(group: Group) -> list[Division]:
    """Return the ways in which one piece of the names may tell an image's files apart.

    The piece takes the same 2 to 8 values for every image. Where the values are words, some may be missing for some
    images, as the masks of a class that is not there are; each image then lies in one folder, or each value does.
    """
    stems = [file.stem for file in group.files]
    plain = [IDENTIFIER.sub("", stem) for stem in stems]
    found: list[Division] = []
    for names in (stems, *([plain] if plain != stems else [])):
        rows = list(map(_pieces, names))
        shortest = min(map(len, rows))
        places = range(-1, -shortest - 1, -1) if len(set(map(len, rows))) == 1 else _FROM_THE_END
        for place in places if shortest and not group.word else ():
            if place < 0 and -place <= shortest or 0 <= place < shortest:
                found += [one for by_folder in (True, False) if (one := _divided(group, rows, place, by_folder))][:1]
    return found


def _divided(group: Group, rows: Sequence[Sequence[str]], place: int, by_folder: bool) -> Division:
    values: dict[str, list[Name]] = defaultdict(list)
    of_image: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for file, row in zip(group.files, rows, strict=True):
        at = place % len(row)
        values[row[at]].append(file)
        of_image[(file.part, file.folders if by_folder else (), *row[:at], *row[at + 1 :])].add(row[at])
    if not 2 <= len(values) <= MOST_FILES or len(of_image) < 2:
        return ()
    counts = [len(held) for held in of_image.values()]
    worded = all(any(map(str.isalpha, value)) for value in values)
    several = worded and sum(count > 1 for count in counts) >= max(2, len(counts) / 2)
    if sum(counts) < len(rows) or not (min(counts) == len(values) or several):
        return ()
    return tuple(Group.of(values[word], word) for word in sorted(values, key=natural))


def repeating_folders(group: Group) -> list[Division]:
    """Return the ways in which folders next to each other hold files of the same names.

    As those of several people who labelled the same images, `expert 1/a.png` and `expert 2/a.png`, or of classes.
    """
    depths = {len(file.folders) for file in group.files}
    columns = [*zip(*(file.folders for file in group.files), strict=True)] if len(depths) == 1 else []
    found: list[Division] = []
    for column in dict.fromkeys(columns):
        values = dict.fromkeys(column)
        if not 2 <= len(values) <= MOST_FILES:
            continue
        of_image: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for file, value in zip(group.files, column, strict=True):
            rest = [folder for folder, other in zip(file.folders, columns, strict=True) if other != column]
            of_image[(*rest, file.stem)].add(value)
        if len(of_image) > 1 and all(len(held) == len(values) for held in of_image.values()):
            files = [*zip(group.files, column, strict=True)]
            found.append(tuple(Group.of((file for file, its in files if its == value), value) for value in values))
    return found


def mirrored_folders(groups: Sequence[Group]) -> list[Group]:
    """Return what groups in folders next to each other are together, where folders of their names lie elsewhere, too.

    As `test/dent/*` and `test/scratch/*`, beside `truth/dent/*` and `truth/scratch/*`.
    """
    families: dict[tuple[object, ...], dict[str, Group]] = defaultdict(dict)
    for group in groups:
        template, roles = group.files[0].template, group.role_words[1]
        for depth, folder in enumerate(template):
            if folder != "*" and not ROLES.intersection(tokens(folder)):
                families[(template[:depth], template[depth + 1 :], roles, group.files[0].suffix)][folder] = group
    found: list[Group] = []
    for place, one in families.items():
        for other_place, other in families.items():
            shared = one.keys() & other.keys()
            if place[:2] != other_place[:2] and len(shared) > 1:
                files = [file for folder in sorted(shared) for file in one[folder].files]
                found.append(Group.of(files))
                break
    return list({group.files: group for group in found}.values())


def told_apart_by(one: Name, other: Name) -> tuple[str, str] | None:
    """Return the pieces of two paths where they differ in one alone, and that is no word for a role."""
    rows = [[*map(str.lower, file.folders), *_separated(IDENTIFIER.sub("", file.stem))] for file in (one, other)]
    if len(rows[0]) != len(rows[1]) or one.suffix != other.suffix:
        return None
    differing = {(first, second) for first, second in zip(*rows, strict=True) if first != second}
    words = {word for pair in differing for piece in pair for word in tokens(piece)}
    return differing.pop() if len(differing) == 1 and not words & (ROLES | SECONDARY_WORDS) else None


def has_word(path: Path, word: str) -> bool:
    """Tell whether a piece of a file's name is a word that tells an image's files apart."""
    return word in _separated(IDENTIFIER.sub("", path.stem))


def files_of_channels(path: Path, words: Sequence[str]) -> list[Path]:
    """Return the files of an image's channels, in the order of the words that tell them apart.

    Args:
        path: one of them.
        words: as `ItemDataset.channel_files` has them.

    Raises:
        DataError: files that are not there.
    """
    near = [one for one in path.parent.iterdir() if one.suffix == path.suffix]
    near += [one for folder in path.parent.parent.iterdir() if (one := folder / path.name).is_file()]
    found: dict[str, Path] = {}
    for other in near:
        told = told_apart_by(*(Name("/".join(one.parts[-3:])) for one in (path, other)))
        if told is not None and set(told) <= set(words):
            found |= {told[0]: path, told[1]: other}
    missing = [word for word in words if word not in found]
    if missing:
        raise DataError(
            f"{path}: the network was trained on images with a file for each channel ({', '.join(words)}); next to it "
            f"there is none for {', '.join(missing)}: name them as those of the training, or give one file an image"
        )
    return [found[word] for word in words]


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that a pattern of a shell names.

    `*` stays within a folder, `**` crosses folders, and a pattern that ends at a folder means all that lies in it.
    """
    wanted = [part for part in pattern.split("/") if part not in ("", ".")]

    def fits(parts: Sequence[str], left: Sequence[str]) -> bool:
        if not left:
            return not parts or parts != whole
        if left[0] == "**":
            return any(fits(parts[start:], left[1:]) for start in range(len(parts) + 1))
        return bool(parts) and fnmatchcase(parts[0], left[0]) and fits(parts[1:], left[1:])

    found: list[str] = []
    for path in paths:
        whole = path.split("/")
        if fits(whole, wanted):
            found.append(path)
    return found
