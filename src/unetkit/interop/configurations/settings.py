"""The values of a founding configuration by their keys: typed, checked, and none of them overlooked.

A system's keys are a table of `Key`. `Settings.of` holds what was given against it; asking for a value marks its key as
read, and `leftovers` names the keys that nobody asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast

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
