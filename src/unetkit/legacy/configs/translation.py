"""What a translation is: our configuration, where each of its keys came from, and what of the original it drops.

A `Draft` is a translation in the making. It also counts the training images, because the steps of a legacy training are
epochs of them. Does not know any system.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from unetkit.config import Config, annotated_yaml, load_tree
from unetkit.data import SAMPLE, open_dataset, split_dataset, split_indices
from unetkit.legacy.configs.values import Settings, Values, shown

PROGRAM = "its program"  # the origin of what a legacy program does whatever its configuration says


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """Something of a legacy program that does not do what its configuration says.

    Attributes:
        key: its key, with the value.
        original: what the program does.
        here: what is done here instead.
        bug_compatible: what is done here to keep it; None where that cannot be.
        kept: whether it is.
    """

    key: str
    original: str
    here: str
    bug_compatible: str | None
    kept: bool

    def __str__(self) -> str:
        """Say it in one line."""
        found = f"{self.key}: {PROGRAM} {self.original}"
        if self.kept:
            return f"{found}; kept: {self.bug_compatible}"
        option = "" if self.bug_compatible is None else f" (--bug-compatible: {self.bug_compatible})"
        return f"{found}; here: {self.here}{option}"


@dataclass(frozen=True, slots=True)
class LegacyNetwork:
    """How programs that evaluate and export name a network, and what they write.

    Attributes:
        path: the checkpoint that the configuration names; empty: none.
        folders: of the machines of a cloud job, and where in object storage their content lies.
        export: the format to export to; empty: not said.
        size: rows and columns of the images that an exported file takes; None: not said.
        file_name: the exported file's name without its suffix; empty: not said.
        own_size: its evaluation scores at the image's own size, not at the size that the network reads.
    """

    path: str = ""
    folders: Mapping[str, str] = field(default_factory=dict[str, str])
    export: str = ""
    size: tuple[int, int] | None = None
    file_name: str = ""
    own_size: bool = False

    def stored(self, path: str) -> str:
        """Return where a path of the job's machine lies in object storage; any other path as it is."""
        for folder, url in self.folders.items():
            inner = path.removeprefix(folder)
            if inner != path:
                return url if url.endswith(".ckpt") else f"{url.rstrip('/')}/{inner.lstrip('/')}"
        return path


@dataclass(frozen=True, slots=True)
class Translation:
    """A legacy configuration in our terms.

    Attributes:
        system: whose it is.
        source: the file, or the preset that its flags were given to.
        config: ours.
        origins: what each key of ours came from, such as "train.steps": "epochs 400, repeat 400".
        known_issues: what of the original does not do what it says.
        unused: keys of the original that nothing here needs, and why.
        notes: what else a user should know.
        out: the folder that the original writes to, if it names one.
        network: how its programs that evaluate and export name a network.
    """

    system: str
    source: str
    config: Config
    origins: Mapping[str, str]
    known_issues: tuple[KnownIssue, ...]
    unused: Mapping[str, str]
    notes: tuple[str, ...]
    out: str | None
    network: LegacyNetwork

    def remarks(self) -> Iterator[str]:
        """Yield what a user should know before training, a line each."""
        yield f"{self.source}: translated from {self.system}"
        yield from (f"known issue: {issue}" for issue in self.known_issues)
        yield from self.notes
        yield from (f"not used: {line}" for line in self._unused_lines())

    def annotated_yaml(self) -> str:
        """Write our configuration as YAML: what each key came from, what was corrected, and what was not used."""
        head = [
            f"{self.source}, translated from {self.system}. What a key came from stands before its meaning;",
            "default: the original has no such key.",
            "",
        ]
        for title, lines in {
            "Known issues of the original": self.known_issues,
            "Notes": self.notes,
            "Not used": tuple(self._unused_lines()),
        }.items():
            head += [f"{title}:", *(f"- {line}" for line in lines), ""] if lines else []
        comments = "\n".join(f"# {line}".rstrip() for line in head)
        remarks = {key: f"from {origin}" for key, origin in self.origins.items()}
        return f"{comments}\n{annotated_yaml(self.config, remarks, otherwise='default')}"

    def _unused_lines(self) -> Iterator[str]:
        """Yield the unused keys and their reason, a line for each reason."""
        for reason in dict.fromkeys(self.unused.values()):
            yield f"{', '.join(key for key, why in self.unused.items() if why == reason)}: {reason}"


@dataclass(frozen=True, slots=True)
class LegacyDataset:
    """The data that a legacy configuration was written for.

    Attributes:
        name: what it is called.
        images: how many it has; of data that is divided into train and val, those of train.
        sides: rows and columns of the first.
    """

    name: str
    images: int
    sides: tuple[int, int]


ISBI = LegacyDataset("ISBI 2012", 30, (512, 512))
NUCLEI = LegacyDataset("the nuclei of DSB 2018", 670, (256, 256))
COCO = LegacyDataset("COCO 2017", 118_287, (480, 640))


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """How many training images there are, what they are counted in, and rows and columns of the first."""

    count: int
    said: str
    sides: tuple[int, int]


@dataclass(slots=True)
class Draft:
    """A translation in the making.

    Attributes:
        place: the file, or the preset that the flags were given to; for messages.
        overrides: `key=value` texts of ours, which replace what is translated.
        bug_compatible: keep known issues where that is possible.
        tree: our keys so far.
        origins: what they came from, by dotted key.
        known_issues: those met so far.
        unused: keys of the original that nothing here needs, and why.
        notes: what else a user should know.
        out: the folder that the original writes to.
        network: how programs that evaluate and export name a network.
    """

    place: str
    overrides: Sequence[str] = ()
    bug_compatible: bool = False
    tree: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    known_issues: list[KnownIssue] = field(default_factory=list[KnownIssue])
    unused: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])
    out: str | None = None
    network: LegacyNetwork = field(default_factory=LegacyNetwork)

    def set(self, origin: str, values: Values) -> None:
        """Set keys of ours, dotted, and say what they came from."""
        for key, value in values.items():
            *parents, last = key.split(".")
            node = self.tree
            for parent in parents:
                node = cast("dict[str, Any]", node.setdefault(parent, {}))
            node[last] = value
            self.origins[key] = origin

    def copy(self, settings: Settings, keys: Mapping[str, str]) -> None:
        """Set keys of ours to values of the original as they are: {"lr": "optimizer.lr"}."""
        for original, ours in keys.items():
            self.set(settings.said(original), {ours: getattr(settings, original)})

    def known_issue(self, key: str, original: str, *, here: str, bug_compatible: str | None = None) -> bool:
        """Note a known issue (see `KnownIssue`), and return whether it is kept."""
        kept = self.bug_compatible and bug_compatible is not None
        self.known_issues.append(KnownIssue(key, original, here, bug_compatible, kept))
        return kept

    def training_images(self, legacy: LegacyDataset) -> TrainingImages:
        """Count the training images of the data, or of the legacy set where no data is named or it does not exist.

        Raises:
            DataError, ConfigError: the data cannot be opened or split.
        """
        ours = [override for override in self.overrides if override.startswith("data.")]
        data = load_tree(self.tree, ours, self.place).data
        path = data.path
        if path is not None and (path == SAMPLE or "://" in path or os.path.exists(path)):  # no error for odd paths
            dataset = open_dataset(path, config=data)
            trained = split_dataset(dataset, data.split).train
            rows, columns = dataset[trained[0]].pixels.shape[1:]
            said = f"{len(trained)} training images of the {len(dataset)} in {shown(path)}"
            return TrainingImages(len(trained), said, (int(rows), int(columns)))
        count = legacy.images if data.split.method == "given" else len(split_indices(legacy.images, data.split).train)
        said = f"{count} training images of {legacy.name}; those of --data are counted"
        return TrainingImages(count, said, legacy.sides)


@dataclass(frozen=True, slots=True)
class System:
    """A legacy system: its name, and how the documents and flags of its configuration are translated into a draft."""

    name: str
    translate: Callable[[Draft, Sequence[Values], Sequence[str]], None]
