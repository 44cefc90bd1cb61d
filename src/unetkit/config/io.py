"""Configurations in and out: presets, YAML files, dotted overrides, annotated YAML, JSON schema."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from unetkit.config.schema import RENAMED, RENAMED_VALUES, Config, ConfigSource, Section
from unetkit.config.text import parse, read_text, write_inline, write_yaml
from unetkit.errors import ConfigError

Tree = dict[str, Any]

_PATTERNS = ("images", "labels", "roi", "test", "group")
"""The last words of the keys whose values are patterns or expressions."""

_STAR = re.compile(r"(^\s*|[{\[,]\s*|:\s+)(\*[^,}\]:]*)")
"""A value or key that begins with a star: a pattern, where YAML would see an alias, which are not used."""

_PRESETS = resources.files("unetkit.config") / "presets"


def load_config(source: ConfigSource, overrides: Sequence[str] = (), *, stored: bool = False) -> Config:
    """Read a configuration and apply `key=value` overrides.

    Args:
        source: a preset's name, the path of a YAML file, a dict of sections, or a Config.
        overrides: texts such as "train.steps=400"; the value is read as YAML.
        stored: unetkit wrote it, perhaps an earlier version: keys and values may have their old names (see `RENAMED`).

    Raises:
        ConfigError: an unknown preset or key, an old name, an unreadable file, a wrong type or value.
    """
    name = str(source)
    if isinstance(source, Config):
        tree, origin = source.model_dump(mode="json"), "configuration"
    elif isinstance(source, dict):
        tree, origin = source, "configuration"
    elif name in preset_names():
        tree, origin = _parse((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), name), name
    elif os.path.isfile(name):  # False for names that pathlib raises for, such as too long ones
        tree, origin = _parse(read_text(Path(source)), name), name
    else:
        hint = _did_you_mean(name, preset_names())
        raise ConfigError(f"{name}: neither a preset nor a file{hint}; presets: {', '.join(preset_names())}")
    if stored:
        tree = _validate(tree, origin).model_dump(mode="json")
    return load_tree(tree, overrides, origin)


def load_tree(sections: Tree, overrides: Sequence[str], origin: str) -> Config:
    """Make a configuration of sections and overrides.

    Args:
        sections: the keys of each section, as plain values.
        overrides: texts such as "train.steps=400"; the value is read as YAML.
        origin: where the sections stand, for messages.

    Raises:
        ConfigError: an unknown key, an old name, a wrong type or value.
    """
    tree = cast(Tree, json.loads(json.dumps(sections)))
    _name_the_path(tree)
    _refuse_old_names(tree, origin)
    for override in overrides:
        key, value = read_override(override)
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"{key}: {parent} is a value, not a section{_did_you_mean(key, _known_keys())}")
            node = cast(Tree, child)
        node[last] = value
        _name_the_path(tree)
        _refuse_old_names(tree, override)
    return _validate(tree, origin)


def read_override(override: str) -> tuple[str, Any]:
    """Return the key and the value of a text such as "train.steps=400"; the value is read as YAML.

    Raises:
        ConfigError: it has another form.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is not an override; write key=value, such as train.steps=400")
    if "." in key and key.rpartition(".")[2] in _PATTERNS and not text.startswith(("{", "'", '"')) and text != "null":
        return key, text or None  # a pattern such as [ab]*.png would be something else in YAML
    quoted = _STAR.sub(lambda match: f"{match[1]}{json.dumps(match[2].strip())}", text)
    return key, _parse(f"value: {quoted}" if text else "value: null", override)["value"]


def preset_names() -> list[str]:
    """List the presets that ship with the package."""
    return sorted(Path(entry.name).stem for entry in _PRESETS.iterdir() if entry.name.endswith(".yaml"))


def plain_yaml(config: Config) -> str:
    """Write every key and value as YAML, without comments; `load_config` reads it back to an equal Config."""
    return write_yaml(config.model_dump(mode="json"))


def annotated_yaml(config: Config, remarks: Mapping[str, str] | None = None, *, otherwise: str = "") -> str:
    """Write every key with its value and its meaning as YAML, ready to be edited.

    Args:
        config: what to write.
        remarks: what to say of a key, such as "train.steps", before its meaning; a line each, of printable characters.
        otherwise: what to say of the other keys; empty: nothing.
    """
    return "\n".join(_annotated_lines(config, "", defaultdict(lambda: otherwise, remarks or {}))) + "\n"


def json_schema() -> Tree:
    """Return the JSON schema of the configuration, for editors."""
    return Config.model_json_schema()


def _parse(text: str, origin: str) -> Tree:
    tree = parse(text, origin)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{origin}: holds a {type(tree).__name__}; expected sections such as 'train:' with keys below"
        )
    return cast(Tree, tree)


def _name_the_path(tree: Tree) -> None:
    """Take `init: FILE` for `init: {path: FILE}`."""
    if isinstance(tree.get("init"), str):
        tree["init"] = {"path": tree["init"]}


def _refuse_old_names(tree: Tree, origin: str) -> None:
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        values, new_name = tree.get(section), new.rpartition(".")[2]
        if isinstance(values, dict) and name in values:
            value = cast(Tree, values)[name]
            today = RENAMED_VALUES.get(new_name, {}).get(str(value), value)
            raise ConfigError(f"{origin}: {old} is now {new}; write {new}={write_inline(today)}")


def _validate(tree: Tree, origin: str) -> Config:
    try:
        return Config.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        complaint = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "extra_forbidden":
        raise ConfigError(f"{origin}: unknown key {key!r}{_did_you_mean(key, _known_keys())}")
    found = "" if isinstance(complaint["input"], dict) else f"found {complaint['input']!r}; "
    expected = complaint["msg"].removeprefix("Value error, ").removeprefix("Input ")
    raise ConfigError(f"{origin}: {key or 'value'}: {found}{expected.replace('should be', 'expected', 1)}")


def first_complaint(error: ValidationError) -> str:
    """Return which field is wrong first, and what of it."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else first["msg"].removeprefix("Value error, ")


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    if not near:
        last = word.rsplit(".", 1)[-1]
        near = [key for key in known if key.rsplit(".", 1)[-1] == last][:1]
    return f"; did you mean {near[0]!r}?" if near else ""


def _known_keys(section: type[Section] = Config, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _annotated_lines(section: Section, prefix: str, remarks: Mapping[str, str]) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), prefix + name
        if isinstance(value, Section):
            summary = (type(value).__doc__ or "").strip()
            yield from ([""] if not indent else [])
            yield f"{indent}{name}:  # {summary}"
            yield from _annotated_lines(value, f"{key}.", remarks)
        else:
            plain = json.loads(section.model_dump_json(include={name}))[name]
            remark = f"{remarks[key]} | " if remarks[key] else ""
            yield f"{indent}{name}: {write_inline(plain)}  # {remark}{field.description}"
