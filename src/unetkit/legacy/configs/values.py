"""What a legacy configuration says before it is translated: its documents, its flags, its typed values.

A file holds one to three YAML documents, the list of a README with a comma after every line, or Python that assigns a
dict of plain values to `cfg_unet`; no Python is executed. Flags are read by argparse, as the legacy programs read them.
The keys of a system are the fields of a `Settings`, which pydantic checks. Does not know what a key means.
"""

import argparse
import ast
import re
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError

from unetkit.config import Yaml11, Yaml12, documents, read_text
from unetkit.errors import ConfigError

Values = Mapping[str, Any]

_LARGEST = 2**63
_NAME = "cfg_unet"
_MOST = 3  # documents: values, help, choices


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
        """Check the values of a configuration.

        Args:
            values: by the names of the fields.
            place: where they stand, for messages.
            labels: what a key is called there, if it is not the name of its field.

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
        for key, field in type(self).model_fields.items():
            if self.given(key) and key not in self._used and self.label(key) not in explained:
                assert field.description, f"{key} is overlooked"
                unused[self.label(key)] = field.description
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


def one_line(text: str) -> str:
    """Return a text with a question mark for every character that cannot be printed."""
    return "".join(character if character.isprintable() else "?" for character in text)


class _Parser(argparse.ArgumentParser):
    """Python's parser; it raises ConfigError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise the parser's complaint."""
        raise ConfigError(f"{self.prog}: {one_line(message)}")


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
