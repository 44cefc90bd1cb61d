"""What a few files of a group look like: their sizes, values and flat areas, by which masks are told from images.

A group is rather masks than images by the words in its names, and by its values: masks have few values in flat areas.
Does not know which groups belong together: `matcher` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.layouts.names import IMAGE_WORDS, LABEL_WORDS, REGION_WORDS, Group, Name
from unetkit.errors import DataError
from unetkit.images import open_bytes, open_image
from unetkit.images.image import Image, Role
from unetkit.storage.tree import Tree

_LOOKED_AT = 3  # files of a group
_LARGEST = 2**26  # px of a file that is looked at
_FEW = 64  # values
_NEARLY, _ENDS, _WHITE, _EVEN = 8, 0.9, 0.002, 0.8
"""Of masks blurred by JPEG or anti-aliasing: how near to black or white how many pixels are, how many are white, and
how many equal their neighbour."""
FLAT = 0.9  # share of pixels that equal their neighbour


def pages_of(tree: Tree, name: str, role: Role = "image") -> Image:
    """Open an image file of a folder or an archive.

    Raises:
        DataError: as `open_image`.
    """
    path = tree.path(name)
    return open_bytes(tree.read(name), tree.source(name), role) if path is None else open_image(path, role)


@dataclass(frozen=True, slots=True)
class Look:
    """What a few files of a group look like.

    Attributes:
        sizes: of pages, (rows, columns).
        levels: the most values, or colours, in one of them.
        flat: the smallest share of pixels that equal the next one in their row.
        read: whether any could be read.
        channels: the most in one of them.
        white: the largest value is white.
    """

    sizes: frozenset[tuple[int, int]] = frozenset()
    levels: int = 0
    flat: float = 0.0
    read: bool = False
    channels: int = 0
    white: bool = False

    @classmethod
    def at(cls, tree: Tree, group: Group) -> "Look":
        """Look at a few files of a group; those that cannot be read are left to the reader to complain about."""
        sizes: set[tuple[int, int]] = set()
        levels, flat, read, channels, top = 0, 1.0, False, 0, 0
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
            channels, top = max(channels, len(rows)), max(top, rows.max())
            if _is_blurred(rows, float(same.mean())):
                rows = (rows > 127).astype(np.uint8)
            fractions = rows.dtype.kind == "f" and bool((rows != np.rint(rows)).any())
            if fractions or len(rows) == 1:
                codes = rows[0]
            else:
                codes = rows.astype(np.int64).T @ (1 << np.arange(0, 16 * len(rows), 16))
            levels, flat, read = max(levels, len(np.unique(codes))), min(flat, float(same.mean())), True
        return cls(frozenset(sizes), levels, flat if read else 0.0, read, channels, top in (255, 65535))

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
        if self.flat >= FLAT:
            return score + (2.0 if self.levels <= _FEW else 0.75)
        return score - (0.0 if self.levels <= 16 else 2.5)


def _is_blurred(rows: NDArray[Any], even: float) -> bool:
    """Tell whether pixels are nearly all black or white in even areas, as those of a mask of two values are."""
    if rows.dtype != np.uint8 or even < _EVEN:
        return False
    white = float((rows >= 255 - _NEARLY).mean())
    return white >= _WHITE and white + float((rows <= _NEARLY).mean()) >= _ENDS


def spread(files: Sequence[Name], count: int) -> list[Name]:
    """Return a few files that are spread over all."""
    return [files[place] for place in dict.fromkeys(np.linspace(0, len(files) - 1, count).round().astype(int).tolist())]


class Looks(dict[Group, Look]):
    """What the groups look like; each is looked at when it is first asked for."""

    def __init__(self, tree: Tree) -> None:
        """Begin with none; the files lie in this folder or archive."""
        super().__init__()
        self.tree = tree

    def __missing__(self, group: Group) -> Look:
        """Look at a group."""
        return self.setdefault(group, Look.at(self.tree, group))

    def likeness(self, group: Group) -> float:
        """Return how much a group looks like masks, as `Look.likeness`."""
        return self[group].likeness(group)
