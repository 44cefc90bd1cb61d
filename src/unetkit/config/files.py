"""Configurations in and out: presets, YAML files, dotted overrides, annotated YAML, JSON schema.

YAML is read by the rules that people expect: `1e-4` is a number, `no` is a word, a key given twice is an error.
"""

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from unetkit.config.schema import Config, ConfigSource
from unetkit.config.section import Section
from unetkit.errors import ConfigError

Tree = dict[str, Any]

_PRESETS = resources.files("unetkit") / "presets"
_LARGEST_FILE = 1_000_000


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: only true and false are booleans, 1e-4 is a float; anchors and repeated keys are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not used in configurations")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [cast(str, key.value) for key, _ in node.value]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"the key {repeated[0]!r} stands there twice")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in rules if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def load_config(source: ConfigSource, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and apply `key=value` overrides.

    Args:
        source: a preset's name, the path of a YAML file, a dict of sections, or a Config.
        overrides: texts such as "train.steps=400"; the value is read as YAML.

    Raises:
        ConfigError: an unknown preset or key, an unreadable file, a wrong type or value.
    """
    tree, origin = _tree_of(source)
    _name_the_path(tree)
    for override in overrides:
        _apply(tree, override)
        _name_the_path(tree)
    try:
        return Config.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise ConfigError(_first_complaint(error, origin)) from None


def preset_names() -> list[str]:
    """List the presets that ship with the package."""
    return sorted(Path(entry.name).stem for entry in _PRESETS.iterdir() if entry.name.endswith(".yaml"))


def plain_yaml(config: Config) -> str:
    """Write every key and value as YAML, without comments; `load_config` reads it back to an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def annotated_yaml(config: Config) -> str:
    """Write every key with its value and its meaning as YAML, ready to be edited."""
    return "\n".join(_annotated_lines(config, indent="")) + "\n"


def json_schema() -> Tree:
    """Return the JSON schema of the configuration, for editors."""
    return Config.model_json_schema()


def _tree_of(source: ConfigSource) -> tuple[Tree, str]:
    if isinstance(source, Config):
        return source.model_dump(mode="json"), "configuration"
    if isinstance(source, dict):
        return cast(Tree, json.loads(json.dumps(source))), "configuration"
    name = str(source)
    if name in preset_names():
        return _parse((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), name), name
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"{name}: neither a preset nor a file{_did_you_mean(name, preset_names())}; presets: "
            f"{', '.join(preset_names())}"
        )
    return _parse(_text_of(path), name), name


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path}: larger than a configuration can be (1 MB); expected a YAML file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); expected a YAML file") from None


def _parse(text: str, origin: str) -> Tree:
    try:
        tree = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{origin}: holds a {type(tree).__name__}; expected sections such as 'train:' with keys below"
        )
    return cast(Tree, tree)


def _apply(tree: Tree, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is not an override; write key=value, such as train.steps=400")
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{key}: {parent} is a value, not a section{_did_you_mean(key, _known_keys())}")
        node = cast(Tree, child)
    node[last] = _parse(f"value: {text}" if text else "value: null", override)["value"]


def _name_the_path(tree: Tree) -> None:
    """Take `init: FILE` for `init: {path: FILE}`."""
    if isinstance(tree.get("init"), str):
        tree["init"] = {"path": tree["init"]}


def _first_complaint(error: ValidationError, origin: str) -> str:
    complaint = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "extra_forbidden":
        return f"{origin}: unknown key {key!r}{_did_you_mean(key, _known_keys())}"
    found = "" if isinstance(complaint["input"], dict) else f"found {complaint['input']!r}; "
    return f"{origin}: {key or 'value'}: {found}{_expectation(complaint)}"


def _expectation(complaint: ErrorDetails) -> str:
    return complaint["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should be", "expected", 1)


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    if not near:
        last = word.rsplit(".", 1)[-1]
        near = [key for key in known if key.rsplit(".", 1)[-1] == last][:1]
    return f"; did you mean {near[0]!r}?" if near else ""


def _known_keys() -> list[str]:
    return list(_keys_below(Config, ""))


def _keys_below(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys_below(field.annotation, f"{prefix}{name}.")


def _annotated_lines(section: Section, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            summary = (type(value).__doc__ or "").strip()
            yield from ([""] if not indent else [])
            yield f"{indent}{name}:  # {summary}"
            yield from _annotated_lines(value, indent + "  ")
        else:
            plain = json.loads(section.model_dump_json(include={name}))[name]
            yield f"{indent}{name}: {_inline(plain)}  # {field.description}"


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
