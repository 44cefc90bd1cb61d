"""What a legacy configuration says, and what a translation is: ours, where each of its keys came from, what is dropped.

A file holds one to three YAML documents, the list of a README with a comma after every line, or Python that assigns a
dict of plain values to `cfg_unet`; no Python is executed. Flags are read by argparse, as the legacy programs read them.
The keys of a system are the fields of a `Settings`, which pydantic checks. A `Draft` is a translation in the making. It
also counts the training images, because the steps of a legacy training are epochs of them. Does not know any system,
nor what a key means.
"""

import argparse
import ast
import os
import re
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError

from unetkit.config import Config, Yaml11, Yaml12, annotated_yaml, documents, load_tree, read_text
from unetkit.data import SAMPLE, open_dataset, split_dataset, split_indices
from unetkit.errors import ConfigError
from unetkit.legacy.archive import one_line

Values = Mapping[str, Any]

_LARGEST = 2**63
_NAME = "cfg_unet"
_MOST = 3  # documents: values, help, choices
_LONGEST_COMPLAINT = 10_000  # of the parser: it may list every flag


def _number(value: Any) -> Any:
    """Refuse what Python takes for a number and a legacy program does not: a truth, nan, more than 64 bits."""
    number = float(value) if isinstance(value, str) else value
    if isinstance(value, bool) or (isinstance(number, int | float) and not abs(number) < _LARGEST):
        raise ValueError
    return value


def _text(value: Any) -> Any:
    """Take null for the empty text, and numbers as they are written."""
    return "" if value is None else value if isinstance(value, str) else _number(value)


Whole = Annotated[int, BeforeValidator(_number)]
MaybeWhole = Annotated[int | None, BeforeValidator(_number)]
Number = Annotated[float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
Elements = Annotated[tuple[Any, ...] | None, BeforeValidator(lambda value: None if value == "None" else value)]
_EXPECTED = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


class Settings(BaseModel):
    """The values of a legacy configuration; a subclass has a field for every key.

    The description of a field says why nothing here needs its key. `said` marks keys as used, so that `unused` can
    name the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True)

    _place: str = PrivateAttr("")
    _labels: Mapping[str, str] = PrivateAttr(default_factory=dict[str, str])
    _used: set[str] = PrivateAttr(default_factory=set[str])

    @classmethod
    def read(cls, values: Values, place: str, labels: Mapping[str, str]) -> Self:
        """Check the values of a configuration, by the names of the fields; `labels` says where keys have other names.

        Raises:
            ConfigError: a value has another type, is out of range, or is missing.
        """
        try:
            settings = cls.model_validate(values)
        except ValidationError as invalid:
            error = invalid.errors(include_url=False)[0]
            key = str(error["loc"][0])
            annotation = cls.model_fields[key].annotation
            if error["type"] == "greater_than_equal":
                expected = f"{error['ctx']['ge']:g} or more" if "ctx" in error else ""
            elif get_origin(annotation) is Literal:
                expected = f"one of {', '.join(get_args(annotation))}"
            else:
                kinds = (annotation, *get_args(annotation))
                expected = next((text for kind, text in _EXPECTED.items() if kind in kinds), "a list")
            found = shown("" if error["type"] == "missing" else error["input"])
            raise ConfigError(f"{place}: {labels.get(key, key)}: found {found}; expected {expected}") from None
        settings._place, settings._labels = place, labels
        return settings

    def given(self, key: str) -> bool:
        """Whether the configuration has a key."""
        return key in self.model_fields_set

    def label(self, key: str) -> str:
        """Return what a key is called where it stands."""
        return self._labels.get(key, key)

    def said(self, *keys: str) -> str:
        """Return keys with their values, to say what a key of ours came from; they count as used."""
        self._used.update(keys)
        texts = (
            f"{self.label(key)} {shown(getattr(self, key))}{'' if self.given(key) else ' (default)'}" for key in keys
        )
        return ", ".join(dict.fromkeys(texts))

    def unused(self, explained: Container[str]) -> dict[str, str]:
        """Return the labels of the keys that were given, not used and not explained yet, each with its reason."""
        unused: dict[str, str] = {}
        for key, known in type(self).model_fields.items():
            if self.given(key) and key not in self._used and self.label(key) not in explained:
                assert known.description, f"{key} is overlooked"
                unused[self.label(key)] = known.description
        return unused

    def wrong(self, key: str, expected: str) -> ConfigError:
        """Return the error of a value that is not what was expected."""
        return ConfigError(f"{self._place}: {self.label(key)}: found {shown(getattr(self, key))}; expected {expected}")


def near(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "; did you mean 'x'?" for the word that is nearest, or nothing."""
    found = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {found[0]!r}?" if found else ""


def shown(value: Any) -> str:
    """Return a value for a message or a comment: printable, in one line, not too long."""
    if isinstance(value, tuple):
        value = list(cast("tuple[Any, ...]", value))
    try:
        text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    except (ValueError, RecursionError):
        text = "something very large"
    line = one_line(text)
    return line if len(line) <= 80 else f"{line[:76]} ..."


class _Parser(argparse.ArgumentParser):
    """Python's parser; it raises ConfigError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise the parser's complaint."""
        raise ConfigError(f"{self.prog}: {one_line(message, _LONGEST_COMPLAINT)}")


def parse_flags(
    words: Sequence[str], known: Iterable[str], place: str, switches: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, str]:
    """Return the values of flags by their full names: `--key value`, `--key=value`, a beginning where only one fits.

    Args:
        words: what stands after `--`.
        known: flags that take a value, without dashes.
        place: whose flags they are, for messages.
        switches: flags without a value: the flag that each sets, and to what.

    Raises:
        ConfigError: a flag that is not known or could be several, a value that is missing or belongs to no flag.
    """
    parser = _Parser(prog=place, add_help=False, argument_default=argparse.SUPPRESS)
    names = sorted(set(known))
    for flag in names:
        parser.add_argument(f"--{flag}", dest=flag)
    for flag, (target, value) in (switches or {}).items():
        parser.add_argument(f"--{flag}", dest=target, action="store_const", const=value)
    found, others = parser.parse_known_args(list(words))
    for word in others:
        flag = word.removeprefix("--").partition("=")[0]
        if not word.startswith("--") or not flag:
            raise ConfigError(f"{place}: {shown(word)} belongs to no flag; write --key value, or key=value before --")
        raise ConfigError(f"{place}: unknown flag --{shown(flag)}{near(flag, [*names, *(switches or {})])}")
    return vars(found)


def legacy_documents(path: Path, recognised: Callable[[Values], bool]) -> tuple[Values, ...]:
    """Return the documents of a legacy configuration file; none where its first one is not recognised.

    Raises:
        ConfigError: the file is not text, or what follows the first document is not what a legacy program reads.
    """
    text = read_text(path)
    if _NAME in text and (values := _python_dict(text, path)) is not None:
        return (values,)
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if listed := bool(re.match(r"(['\"]?)\w+\1\s*:[^{#]*,\s*(#.*)?$", first)):  # as in a Python dict without its braces
        text = f"{{{text}\n}}"
    found: list[Values] = []
    try:
        for document in documents(text, str(path), Yaml12 if listed else Yaml11):
            if not found and not (_is_mapping(document) and recognised(unwrapped(document))):
                return ()
            if not (_is_mapping(document) or document is None):
                kind = type(document).__name__
                raise ConfigError(f"{path}: a document is a {kind}; expected keys with values, help or choices")
            found.append(unwrapped(document or {}))
            if len(found) > _MOST:
                raise ConfigError(f"{path}: more than {_MOST} documents; expected values, help and choices")
    except ConfigError:
        if listed:
            raise ConfigError(
                f"{path}: its lines end with commas as in a Python dict, but it cannot be read as one; write one "
                f"`key: value` a line without commas, or {_NAME} = {{...}} in a .py file"
            ) from None
        if found:
            raise
        return ()  # whoever reads it as one of ours says what is wrong with it
    return tuple(found)


def unwrapped(values: Values) -> Values:
    """Return what stands below `cfg_unet`, where that is all there is."""
    inner = values.get(_NAME)
    return cast(Values, inner) if len(values) == 1 and _is_mapping(inner) else values


def _is_mapping(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(key, str) for key in cast(dict[Any, Any], document))


def _python_dict(text: str, path: Path) -> Values | None:
    """Return the dict that a Python text assigns to `cfg_unet`, or None where it is not Python or does not do so."""
    assigned: dict[str, ast.expr] = {}
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in its strings
            statements = ast.parse(text, str(path)).body  # of a mistake Python opens the file that is named here
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            assigned |= {target.id: statement.value for target in targets if isinstance(target, ast.Name)}
    node = assigned.get(_NAME)
    for _ in assigned:  # other names of the same dict
        node = assigned.get(node.id) if isinstance(node, ast.Name) else node
    if node is None:
        return None
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:  # EasyDict({...})
        node = node.args[0]
    elif isinstance(node, ast.Call):  # dict(key=value)
        names = [ast.Constant(keyword.arg) for keyword in node.keywords]
        node = ast.Dict(keys=[*names], values=[keyword.value for keyword in node.keywords])
    try:
        values = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        values = None
    if not _is_mapping(values):
        raise ConfigError(
            f"{path}: {_NAME} is not a dict of plain values; write numbers, texts and lists, none computed"
        )
    return values


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

    def set_batch(self, settings: Settings, key: str, ranks: int) -> None:
        """Set the batch of all processes; the original's is that of one."""
        said = settings.said(key) + (f" x {ranks} processes" if ranks > 1 else "")
        self.set(said, {"train.batch": getattr(settings, key) * ranks})

    def set_patch(self, origin: str, rows: int, columns: int) -> None:
        """Set the sides of patches."""
        self.set(origin, {"train.patch": rows if rows == columns else [rows, columns]})

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
