"""Lists of names that divide a data set: train.txt, val.txt and test.txt with a name a line, as the VOC challenge has.

Assumes that a list names the files by their names without folders and endings, or with them. Of lists in several
folders those are taken that name the most.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from unetkit.data.layouts.names import PARTS, Name, stem_of, tokens
from unetkit.errors import DataError
from unetkit.storage.tree import Tree

_KNOWN = 0.9  # share of a list's lines that name files


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


def find_lists(tree: Tree, images: Iterable[str]) -> Lists:
    """Find the lists that name the image files of a folder or an archive; none where they contradict each other."""
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
        if len(known) < _KNOWN * len(names) or not known or not known.keys().isdisjoint(found[folder].parts):
            continue
        found[folder] = Lists((*found[folder].files, path), {**found[folder].parts, **known})
    return max(found.values(), key=lambda lists: len(lists.parts), default=Lists())
