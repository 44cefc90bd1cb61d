"""The older systems' configurations and command lines, translated into ours.

A configuration file of MindSpore's model zoo or course is recognised by its content. The systems that know flags alone
have a preset that takes them. No legacy program is run, no Python file executed.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from unetkit.config import Config, ConfigSource, load_tree, preset_names
from unetkit.errors import ConfigError
from unetkit.legacy.configs import oneflow, tensorflow, zoo
from unetkit.legacy.configs.translation import (
    Draft,
    LegacyNetwork,
    System,
    Translation,
    Values,
    legacy_documents,
    unwrapped,
)
from unetkit.legacy.configs.zoo import ALIASES, Model, ZooSettings

__all__ = ["LegacyNetwork", "Translation", "translate"]

_PRESETS: Mapping[str, System] = {"tensorflow-unet-medical": tensorflow.SYSTEM, "oneflow-unet": oneflow.SYSTEM}
_ENOUGH = 6  # keys of the zoo that make a mapping one of its configurations


def translate(
    source: ConfigSource, overrides: Sequence[str], *, flags: Sequence[str], bug_compatible: bool, name: str = ""
) -> Translation | None:
    """Translate a legacy configuration as `configuring.translate_config` says; None for one of ours.

    `name` is what messages call its file, where that is a copy.
    """
    place, system, documents = "the configuration", None, ()
    if isinstance(source, dict):
        documents = (unwrapped(source),)
    elif not isinstance(source, Config):
        place = str(source)
        system = _PRESETS.get(place)
        if place not in preset_names() and os.path.isfile(source):
            documents = legacy_documents(Path(source), lambda values: _system_of(values) is not None)
            place = name or place
    if documents:
        system = _system_of(documents[0])
    if system is None:
        if flags or bug_compatible:
            word = flags[0] if flags else "--bug-compatible"
            raise ConfigError(f"{word}: {place} is not a legacy configuration; change keys of ours as key=value")
        return None
    draft = Draft(place, overrides, bug_compatible)
    system.translate(draft, documents, flags)
    return Translation(
        system=system.name,
        source=place,
        config=load_tree(draft.tree, overrides, place),
        origins=draft.origins | {override.partition("=")[0]: "given as key=value" for override in overrides},
        known_issues=tuple(draft.known_issues),
        unused=draft.unused,
        notes=tuple(draft.notes),
        out=draft.out,
        network=draft.network,
    )


def _system_of(values: Values) -> System | None:
    """Recognise a configuration by its keys."""
    if any(isinstance(values.get(section), dict) for section in Config.model_fields):
        return None
    keys = {ALIASES.get(key, key) for key in values}
    if "batchsize" in values and "FixedLossScaleManager" in values and "model_name" not in keys:
        return zoo.ZOO if keys & zoo.NOT_OF_THE_COURSE else zoo.COURSE
    named = values.get("model_name", values.get("model"))
    return zoo.ZOO if named in get_args(Model) or len(keys & ZooSettings.model_fields.keys()) >= _ENOUGH else None
