"""What a translation is: our configuration, where every key of it came from, and what of theirs it does not follow.

How many images a training would see: the steps of a legacy training are epochs of them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from unetkit.config import Config, DataConfig, annotated_yaml
from unetkit.data import SAMPLE, open_dataset, split_dataset, split_indices
from unetkit.legacy.configs.values import shown

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """Something of theirs that does not do what it says.

    Attributes:
        key: theirs, with its value.
        theirs: what their program does.
        ours: what is done here instead.
        bug-compatible: what is done here to keep it; None where that cannot be.
        kept: whether it is.
    """

    key: str
    theirs: str
    ours: str
    bug_compatible: str | None
    kept: bool

    def __str__(self) -> str:
        """Say it in one line."""
        told = f"{self.key}: theirs {self.theirs}"
        if self.kept:
            return f"{told}; kept: {self.bug_compatible}"
        return f"{told}; here: {self.ours}" + (
            "" if self.bug_compatible is None else f" (--bug-compatible: {self.bug_compatible})"
        )


@dataclass(frozen=True, slots=True)
class Translation:
    """A legacy configuration in our terms.

    Attributes:
        system: whose it is.
        source: the file, or the preset that its flags were given to.
        config: ours.
        origins: what each key of ours came from, such as "train.steps": "epochs 400, repeat 400".
        known issues: what of theirs does not do what it says.
        unused: keys of theirs that nothing here needs, and why.
        notes: what else a user should know.
        out: the folder that theirs was told to write to, if it was.
    """

    system: str
    source: str
    config: Config
    origins: Mapping[str, str]
    known_issues: tuple[KnownIssue, ...]
    unused: Mapping[str, str]
    notes: tuple[str, ...]
    out: str | None

    def remarks(self) -> Iterator[str]:
        """Yield what a user should know before training, a line each."""
        yield f"{self.source}: translated from {self.system}"
        yield from (f"known issue: {known_issue}" for known_issue in self.known_issues)
        yield from self.notes

    def annotated_yaml(self) -> str:
        """Write our configuration as YAML: what each key came from, what was corrected, and what was not needed."""
        head = [f"{self.source}, translated from {self.system}. What each key came from stands before its meaning;"]
        head += ["ours: theirs has no such thing.", ""]
        head += (
            ["Known issues of theirs:", *(f"- {known_issue}" for known_issue in self.known_issues), ""]
            if self.known_issues
            else []
        )
        head += ["Notes:", *(f"- {note}" for note in self.notes), ""] if self.notes else []
        unused = [f"- {', '.join(keys)}: {reason}" for reason, keys in _by_reason(self.unused)]
        head += ["Not needed here:", *unused, ""] if unused else []
        comments = "\n".join(f"# {line}".rstrip() for line in head)
        remarks = {key: f"from {origin}" for key, origin in self.origins.items()}
        return f"{comments}\n{annotated_yaml(self.config, remarks, otherwise='ours')}"


def _by_reason(unused: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    return [(reason, [key for key in unused if unused[key] == reason]) for reason in dict.fromkeys(unused.values())]


@dataclass(slots=True)
class Draft:
    """A translation in the making.

    Attributes:
        bug_compatible: keep their known issues where that is possible.
        tree: our keys so far.
        origins: what they came from, by dotted key.
        known issues: those met so far.
        unused: keys of theirs that nothing here needs.
        notes: what else a user should know.
        out: the folder that theirs was told to write to.
    """

    bug_compatible: bool
    tree: Tree = field(default_factory=dict[str, Any])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    known_issues: list[KnownIssue] = field(default_factory=list[KnownIssue])
    unused: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])
    out: str | None = None

    def set(self, origin: str, values: Mapping[str, Any]) -> None:
        """Set keys of ours, dotted, and say what they came from."""
        for key, value in values.items():
            *parents, last = key.split(".")
            node = self.tree
            for parent in parents:
                node = cast(Tree, node.setdefault(parent, {}))
            node[last] = value
            self.origins[key] = origin

    def known_issue(self, key: str, theirs: str, *, ours: str, bug_compatible: str | None = None) -> bool:
        """Note a known issue, and tell whether it is kept.

        Args:
            key: theirs, with its value.
            theirs: what their program does.
            ours: what is done here instead.
            bug_compatible: what is done here to keep it; None where that cannot be.
        """
        kept = self.bug_compatible and bug_compatible is not None
        self.known_issues.append(KnownIssue(key, theirs, ours, bug_compatible, kept))
        return kept


@dataclass(frozen=True, slots=True)
class LegacyDataset:
    """The data that an older configuration was written for.

    Attributes:
        name: what it is called.
        images: how many it has; of data that is divided into train and val, those of train.
        sides: rows and columns of the first.
    """

    name: str
    images: int
    sides: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Images:
    """How many training images there are, whose they are, and rows and columns of the first."""

    count: int
    said: str
    sides: tuple[int, int]


Count = Callable[[LegacyDataset], Images]

ISBI = LegacyDataset("ISBI 2012", 30, (512, 512))
NUCLEI = LegacyDataset("the nuclei of DSB 2018", 670, (256, 256))
COCO = LegacyDataset("COCO 2017", 118_287, (480, 640))


def training_images(data: DataConfig, legacy: LegacyDataset) -> Images:
    """Count the training images of the data, or of the legacy set where no data is named or is not there.

    Raises:
        DataError, ConfigError: the data cannot be opened or split.
    """
    if data.path is not None and _is_there(data.path):
        dataset = open_dataset(data.path, config=data)
        trained = split_dataset(dataset, data.split).train
        rows, columns = dataset[trained[0]].pixels.shape[1:]
        said = f"{len(trained)} training images of the {len(dataset)} in {shown(data.path)}"
        return Images(len(trained), said, (int(rows), int(columns)))
    count = legacy.images
    if data.split.method != "given":
        count = len(split_indices(count, data.split).train)
    return Images(count, f"{count} training images of {legacy.name}; those of --data are counted", legacy.sides)


def _is_there(path: str) -> bool:
    return path == SAMPLE or "://" in path or os.path.exists(path)  # where pathlib raises, this says no
