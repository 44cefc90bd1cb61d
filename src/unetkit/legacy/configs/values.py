"""The values of an older configuration by their keys: typed, checked, and none of them overlooked.

A system's keys are a table of `Key`. `Settings.of` holds what was given against it; asking for a value marks its key as
read, and `leftovers` names the keys that nobody asked for.

The older systems' command lines: `--key value`, `--key=value`, and the beginning of a key where only one fits.

All of them read their flags by Python's argparse; this is what of its grammar they rely on. Values stay texts, except
those of switches, which are true by being there.

Files that may hold an older configuration, read as plain values: YAML documents, or a dict in a Python file.

A Python file is never executed: the dict is taken from its syntax tree, and only if it is made of plain values.
"""

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from unetkit.config import Yaml11, documents, read_text
from unetkit.errors import ConfigError

Kind = Literal["whole", "number", "truth", "text", "list"]
_KINDS: Mapping[Kind, str] = {
    "whole": "a whole number",
    "number": "a number",
    "truth": "True or False",
    "text": "a text",
    "list": "a list",
}
_TRUTHS = {"True": True, "False": False, "true": True, "false": False, "1": True, "0": False}
_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Key:
    """A key of theirs.

    Attributes:
        kind: what its values are.
        default: its value where it is not given.
        least: the smallest number that makes sense.
        choices: the texts that it may be; empty: any.
        reason: why nothing here needs it; empty where something does.
    """

    kind: Kind
    default: Any = None
    least: float | None = None
    choices: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Settings:
    """Values by their keys.

    Attributes:
        name: where they stand, for messages.
        keys: all that there can be.
        values: those given.
        labels: how a key is called where it stands, if otherwise.
    """

    name: str
    keys: Mapping[str, Key]
    values: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    _read: set[str] = field(default_factory=set[str])

    def whole(self, key: str) -> int:
        """Return a whole number."""
        return cast(int, self._value(key))

    def number(self, key: str) -> float:
        """Return a number."""
        return cast(float, self._value(key))

    def truth(self, key: str) -> bool:
        """Return whether it is so."""
        return cast(bool, self._value(key))

    def text(self, key: str) -> str:
        """Return a text."""
        return cast(str, self._value(key))

    def elements(self, key: str) -> tuple[Any, ...] | None:
        """Return the elements of a list, or None where there is none."""
        return cast(tuple[Any, ...] | None, self._value(key))

    def said(self, *keys: str) -> str:
        """Return keys and their values as they were given: what a key of ours came from."""
        return ", ".join(dict.fromkeys(self._said(key) for key in keys))

    def label(self, key: str) -> str:
        """Return how a key is called where it stands."""
        return self.labels.get(key, key)

    def leftovers(self) -> Iterator[tuple[str, str]]:
        """Yield the keys that were given and that nobody asked for, with the reason."""
        for key in self.values:
            if key not in self._read:
                assert self.keys[key].reason, f"{key} is overlooked"
                yield self.label(key), self.keys[key].reason

    def wrong(self, key: str, expected: str) -> ConfigError:
        """Return the error of a value that is not what was expected."""
        found = shown(self.values.get(key, self.keys[key].default))
        return ConfigError(f"{self.name}: {self.label(key)}: found {found}; expected {expected}")

    def _value(self, key: str) -> Any:
        self._read.add(key)
        return self.values.get(key, self.keys[key].default)

    def _said(self, key: str) -> str:
        value = shown(self._value(key))
        return f"{self.label(key)} {value}{'' if key in self.values else ' (where none is given)'}"


def checked(name: str, label: str, value: Any, key: Key) -> Any:
    """Return a value as its key's kind.

    Raises:
        ConfigError: it is something else, or out of range.
    """
    typed = _typed(value, key.kind)
    if typed is _WRONG:
        raise ConfigError(f"{name}: {label}: found {shown(value)}; expected {_KINDS[key.kind]}")
    if key.least is not None and typed < key.least:
        raise ConfigError(f"{name}: {label}: found {shown(value)}; expected {key.least:g} or more")
    if key.choices and typed not in key.choices:
        raise ConfigError(f"{name}: {label}: found {shown(value)}; expected one of {', '.join(key.choices)}")
    return typed


def near(word: str, known: Iterator[str] | Mapping[str, Any], cutoff: float = 0.6) -> str:
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
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= 80 else f"{plain[:76]} ..."


_WRONG = object()


def _typed(value: Any, kind: Kind) -> Any:
    if kind == "truth":
        return value if isinstance(value, bool) else _TRUTHS.get(value, _WRONG) if isinstance(value, str) else _WRONG
    if kind == "list":
        return _as_list(value)
    if kind == "text":
        return _as_text(value)
    number = _as_number(value)
    if number is None:
        return _WRONG
    if kind == "number":
        return float(number)
    return int(number) if number == int(number) and not (isinstance(value, str) and "." in value) else _WRONG


def _as_text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    number = _as_number(value)
    return _WRONG if number is None else str(number)


def _as_list(value: Any) -> Any:
    if value is None or value == "None":
        return None
    return tuple(cast("list[Any]", value)) if isinstance(value, list | tuple) else _WRONG


def _as_number(value: Any) -> int | float | None:
    """Return a finite number of at most 64 bits; text is read as Python reads it."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _LARGEST else None  # false for nan, too


def _parsed(text: str) -> int | float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


_NEGATIVE = re.compile(r"-\d|-\.\d")


def parse_flags(
    words: Sequence[str], known: Iterable[str], *, name: str, switches: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, str]:
    """Return the values of flags by their full names; the last of several counts.

    Args:
        words: what stands after `--`.
        known: flags that take a value, without dashes.
        name: whose flags they are, for messages.
        switches: flags without a value: the flag that each sets, and to what.

    Raises:
        ConfigError: a flag that is not known or could be several, a value that is missing or belongs to no flag.
    """
    found: dict[str, str] = {}
    switches = switches or {}
    names = [*known, *switches]
    rest = iter(words)
    for word in rest:
        if not word.startswith("--") or word == "--":
            raise ConfigError(f"{name}: {shown(word)} belongs to no flag; write --key value, or key=value before --")
        begun, equals, value = word[2:].partition("=")
        flag = _full(begun, names, name)
        if flag in switches:
            if equals:
                raise ConfigError(f"{name}: --{flag} takes no value; found {shown(value)}")
            target, value = switches[flag]
        else:
            target, value = flag, value if equals else _next(rest, flag, name)
        found[target] = value
    return found


def _full(begun: str, names: Sequence[str], name: str) -> str:
    if begun in names:
        return begun
    fitting = sorted(flag for flag in names if flag.startswith(begun)) if begun else []
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{name}: --{shown(begun)} could be {', '.join(f'--{flag}' for flag in fitting)}; write one")
    raise ConfigError(f"{name}: unknown flag --{shown(begun)}{near(begun, dict.fromkeys(names))}")


def _next(rest: Iterable[str], flag: str, name: str) -> str:
    value = next(iter(rest), None)
    if value is None or (value.startswith("-") and not _NEGATIVE.match(value)):
        raise ConfigError(f"{name}: --{flag} needs a value; found {'nothing' if value is None else shown(value)}")
    return value


Values = dict[str, Any]
_NAME = "cfg_unet"
_MOST = 3  # values, help, choices


def legacy_documents(path: Path, recognised: Callable[[Values], bool]) -> tuple[Values, ...] | None:
    """Return the documents of an older configuration file; None where its first one is not recognised as one.

    Raises:
        ConfigError: the file is no text, or what follows the first document is not what a legacy program reads.
    """
    text = read_text(path)
    values = _python_dict(text, path) if _NAME in text else None
    if values is not None:
        return (values,)
    found: list[Values] = []
    try:
        for document in documents(text, str(path), Yaml11):
            if not found and not (_is_mapping(document) and recognised(document)):
                return None
            found.append(_as_mapping(document, path))
            if len(found) > _MOST:
                raise ConfigError(f"{path}: more than {_MOST} documents; expected values, help and choices")
    except ConfigError:
        if found:
            raise
        return None  # whoever reads it as one of ours says what is wrong with it
    return tuple(found) or None


def unwrapped(values: Values) -> Values:
    """Return what stands below `cfg_unet`, where that is all there is."""
    inner = values.get(_NAME)
    return cast(Values, inner) if _is_mapping(inner) and len(values) == 1 else values


def _is_mapping(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(key, str) for key in cast(dict[Any, Any], document))


def _as_mapping(document: Any, path: Path) -> Values:
    if document is None:
        return {}
    if not _is_mapping(document):
        kind = type(document).__name__
        raise ConfigError(f"{path}: a document is a {kind}; expected keys with values, help or choices")
    return cast(Values, document)


def _python_dict(text: str, path: Path) -> Values | None:
    """Return the dict that a Python text assigns to `cfg_unet`, or None where it is no Python or does not do so."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in its strings
            assigned = dict(_assignments(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node = assigned.get(_NAME)
    for _ in assigned:
        node = assigned.get(node.id) if isinstance(node, ast.Name) else node
    if node is None:
        return None
    try:
        values = ast.literal_eval(_plain(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        values = None
    if not _is_mapping(values):
        raise ConfigError(f"{path}: {_NAME} is no dict of plain values; write numbers, texts and lists, none computed")
    return values


def _assignments(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in module.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if isinstance(value, ast.expr):
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


def _plain(node: ast.expr) -> ast.expr:
    """Return the dict inside `ed({...})`, or that of `dict(key=value)`."""
    if not isinstance(node, ast.Call):
        return node
    if len(node.args) == 1 and not node.keywords:
        return node.args[0]
    names = [ast.Constant(keyword.arg) for keyword in node.keywords]
    return ast.Dict(keys=[*names], values=[keyword.value for keyword in node.keywords])
