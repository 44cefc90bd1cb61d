"""Groups of files that others are made of: files of one image, and folders of one kind that another place mirrors.

Looks at names alone. `a_ch1.tif` and `a_ch2.tif` are files of one image: its channels, or, of masks, its classes; they
are told apart by one piece of their names that takes the same few values for every image, or by one folder. Folders
such as those of diagnoses lie below the images as below the masks, and both are then one group each.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from unetkit.data.layouts.names import IDENTIFIER, ROLES, SECONDARY_WORDS, Group, Name, natural, tokens
from unetkit.errors import DataError

MOST_FILES = 8
"""Files of an image."""

_FROM_THE_END = (-1, -2, -3, 0)
"""The places of the piece that may tell an image's files apart where names have different numbers of pieces."""


def _pieces(text: str) -> list[str]:
    return [piece for piece in re.split(r"[\s_.+-]+", text.lower()) if piece]


Division = tuple[Group, ...]


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
    rows = [[*map(str.lower, file.folders), *_pieces(IDENTIFIER.sub("", file.stem))] for file in (one, other)]
    if len(rows[0]) != len(rows[1]) or one.suffix != other.suffix:
        return None
    differing = {(first, second) for first, second in zip(*rows, strict=True) if first != second}
    words = {word for pair in differing for piece in pair for word in tokens(piece)}
    return differing.pop() if len(differing) == 1 and not words & (ROLES | SECONDARY_WORDS) else None


def has_word(path: Path, word: str) -> bool:
    """Tell whether a piece of a file's name is a word that tells an image's files apart."""
    return word in _pieces(IDENTIFIER.sub("", path.stem))


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
