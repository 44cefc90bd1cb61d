"""YAML text to plain values, closed to what could harm or mislead.

Aliases and keys given twice are refused, and nothing but plain values is ever built. `Yaml12` reads scalars as people
mean them: `1e-4` is a number, `no` is a word. `Yaml11` reads them as PyYAML does: `1e-4` is a word, `no` is false.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from unetkit.errors import ConfigError

_LARGEST_FILE = 1_000_000


class Yaml11(yaml.SafeLoader):
    """PyYAML's own scalars; anchors and repeated keys are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose what is not an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not used in configurations")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value, or name the one that its tag does not fit."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):  # `!!int ""` is an IndexError
            kind, line = str(node.tag).removeprefix(_TAG), node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: {str(node.value)[:40]!r} is no {kind}") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping of keys that each stand there once."""
        keys = Counter(str(key.value) for key, _ in node.value)
        repeated = sorted(key for key, times in keys.items() if times > 1)
        if repeated:
            raise yaml.YAMLError(f"the key {repeated[0]!r} stands there twice")
        return super().construct_mapping(node, deep)


class Yaml12(Yaml11):
    """YAML 1.2 scalars: only true and false are booleans, 1e-4 is a float."""


def _whole_number(loader: Yaml11, node: yaml.ScalarNode) -> int:
    value = loader.construct_yaml_int(node)
    if abs(value) >= 2**63:
        raise yaml.YAMLError("a whole number of more than 64 bits")
    return value


def _without(*kinds: str) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    tags = {f"{_TAG}{kind}" for kind in kinds}
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    return {first: [rule for rule in rules if rule[0] not in tags] for first, rules in resolvers.items()}


_TAG = "tag:yaml.org,2002:"
_NUMBER = r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")

Yaml11.yaml_implicit_resolvers = _without("timestamp")
Yaml12.yaml_implicit_resolvers = _without("timestamp", "bool", "float")
Yaml12.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Yaml12.add_implicit_resolver(f"{_TAG}float", re.compile(_NUMBER), list("-+.0123456789"))
for _loader in (Yaml11, Yaml12):  # dates, sets and bytes have no place in a configuration
    _loader.yaml_constructors = {
        tag: build
        for tag, build in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in _PLAIN
    }
    _loader.add_constructor(f"{_TAG}int", _whole_number)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either kind of YAML would read as something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *Yaml12.yaml_implicit_resolvers.get(first, [])]
    for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **Yaml12.yaml_implicit_resolvers}
}


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    breaks = any(character in text for character in "\x85\u2028\u2029")  # only double quotes escape them
    return dumper.represent_scalar(f"{_TAG}str", text, style='"' if breaks else None)


_Dumper.add_representer(str, _text)


def write_yaml(value: Any) -> str:
    """Write plain values as YAML, nested ones in blocks."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def write_inline(value: Any) -> str:
    """Write plain values as YAML in one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10_000_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()


def read_text(path: Path) -> str:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not text, or is larger than a configuration can be.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path}: larger than a configuration can be (1 MB); expected a YAML file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); expected a YAML file") from None


def parse(text: str, origin: str, loader: type[Yaml11] = Yaml12) -> Any:
    """Read the one document of a YAML text.

    Raises:
        ConfigError: it is not valid, or not one document; `origin` says where it stands.
    """
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _invalid(origin, error) from None


def documents(text: str, origin: str, loader: type[Yaml11] = Yaml12) -> Iterator[Any]:
    """Yield the documents of a YAML text, each when it has been read.

    Raises:
        ConfigError: the next one is not valid; `origin` says where it stands.
    """
    try:
        yield from yaml.load_all(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _invalid(origin, error) from None


def _invalid(origin: str, error: Exception) -> ConfigError:
    return ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}")
