"""The older systems' configurations and command lines, translated into ours.

`translate_config` takes a configuration file of MindSpore's model zoo or course, told by its content, or the preset of
a system that knows flags alone, with the words after `--`. No legacy program is run, no Python file executed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from unetkit.config import Config, ConfigSource, load_tree, preset_names
from unetkit.errors import ConfigError
from unetkit.legacy.configs import oneflow, tensorflow, zoo
from unetkit.legacy.configs.translation import Draft, Images, KnownIssue, LegacyDataset, Translation, training_images
from unetkit.legacy.configs.values import Values, legacy_documents, unwrapped
from unetkit.legacy.configs.zoo_keys import ALIASES, KEYS, MODELS

__all__ = ["KnownIssue", "Translation", "translate_config"]


_PRESETS: Mapping[str, ModuleType] = {"tensorflow-unet-medical": tensorflow, "oneflow-unet": oneflow}
_ENOUGH = 6  # keys of the zoo that make a mapping one of its configurations


@dataclass(frozen=True, slots=True)
class _Found:
    """Whose configuration it is, what it is called, and what it says."""

    system: ModuleType
    name: str
    documents: tuple[Values, ...]


def translate_config(
    source: ConfigSource, overrides: Sequence[str] = (), *, flags: Sequence[str] = (), bug_compatible: bool = False
) -> Translation | None:
    """Translate an older configuration; None for one of ours.

    Args:
        source: a file, a mapping, or the preset of a system without files.
        overrides: `key=value` texts of ours, which go before everything else.
        flags: the words after `--`, in the grammar of that system's command line.
        bug_compatible: keep the known issues that can be kept.

    Raises:
        ConfigError: a key, flag or value that cannot be; flags or `bug-compatible` for a configuration of ours.
        UsageError: flags that ask for what another verb does.
        DataError: the data that is named cannot be opened, so that its images cannot be counted.

    Example:
        >>> print(unetkit.translate_config("unet_medical_config.yaml").annotated_yaml())
    """
    found = _recognise(source, asked=bool(flags) or bug_compatible)
    if found is None:
        if flags or bug_compatible:
            word = flags[0] if flags else "--bug-compatible"
            raise ConfigError(f"{word}: {_name(source)} is no legacy configuration; change keys of ours as key=value")
        return None
    draft = Draft(bug_compatible)

    def count(legacy: LegacyDataset) -> Images:
        ours = [override for override in overrides if override.startswith("data.")]
        return training_images(load_tree(draft.tree, ours, found.name).data, legacy)

    found.system.translate(found.documents, flags, name=found.name, draft=draft, count=count)
    config = load_tree(draft.tree, overrides, found.name)
    return _finished(found, draft, config, overrides)


def _finished(found: _Found, draft: Draft, config: Config, overrides: Sequence[str]) -> Translation:
    given = {override.partition("=")[0]: "given as key=value" for override in overrides}
    return Translation(
        system=found.system.SYSTEM,
        source=found.name,
        config=config,
        origins={**draft.origins, **given},
        known_issues=tuple(draft.known_issues),
        unused=draft.unused,
        notes=tuple(draft.notes),
        out=draft.out,
    )


def _recognise(source: ConfigSource, *, asked: bool) -> _Found | None:
    if isinstance(source, Config):
        return None
    if isinstance(source, dict):
        values = unwrapped(source)
        system = _system_of(values)
        return _Found(system, "configuration", (values,)) if system else None
    name = str(source)
    if name in preset_names():
        return _Found(_PRESETS[name], name, ()) if asked and name in _PRESETS else None
    path = Path(source)
    documents = legacy_documents(path, _is_legacy) if os.path.isfile(path) else None
    if documents is None:
        return None
    first, *others = documents
    system = _system_of(unwrapped(first))
    return _Found(system, name, (unwrapped(first), *others)) if system else None


def _is_legacy(values: Values) -> bool:
    return _system_of(unwrapped(values)) is not None


def _system_of(values: Values) -> ModuleType | None:
    """Tell whose configuration a mapping is by its keys."""
    if any(isinstance(values.get(section), dict) for section in Config.model_fields):
        return None
    named = values.get("model_name", values.get("model"))
    if "batchsize" in values and "FixedLossScaleManager" in values and named is None:
        return zoo
    known = sum(ALIASES.get(key, key) in KEYS for key in values)
    return zoo if named in MODELS or known >= _ENOUGH else None


def _name(source: Any) -> str:
    return "the configuration" if isinstance(source, Config | dict) else str(source)
