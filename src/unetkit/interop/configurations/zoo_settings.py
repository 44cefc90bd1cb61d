"""What a configuration of the MindSpore model zoo and the words of its command line say, as checked settings.

The file has one to three documents: values, help, and choices. Flags are the scalar keys of that file. The spellings of
its README (`batchsize`, `img_size`, `model`) are taken, though none of its programs reads them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from unetkit.errors import ConfigError
from unetkit.interop.configurations.flags import parse_flags
from unetkit.interop.configurations.settings import Key, Settings, checked, near, shown
from unetkit.interop.configurations.translation import Draft
from unetkit.interop.configurations.zoo_keys import ALIASES, KEYS

Values = Mapping[str, Any]


def zoo_settings(documents: Sequence[Values], words: Sequence[str], name: str, draft: Draft) -> Settings:
    """Return the settings of a file and of the words after `--`, which go before it.

    Raises:
        ConfigError: a key or flag that looks misspelt, is given twice, or has a value that cannot be.
    """
    given = documents[0]
    choices: Values = documents[2] if len(documents) > 2 else {}
    flags = _flags(given, words, name)
    labels = _labels(given, name)
    values: dict[str, Any] = {}
    for key, value in {**given, **flags}.items():
        ours = ALIASES.get(key, key)
        if ours in KEYS:
            values[ours] = _checked(name, key, value, choices=choices.get(key))
        else:
            draft.unused[shown(key)] = _unknown(name, key)
    draft.notes += _spellings(given, flags)
    if values.get("enable_modelarts"):
        _name_the_cloud(values, labels)
    return Settings(name, KEYS, values, labels)


def _name_the_cloud(values: dict[str, Any], labels: dict[str, str]) -> None:
    """Name the places in the storage, in a job of ModelArts, for those here that theirs copies from and to."""
    del values["enable_modelarts"]
    for url, path in {"data_url": "data_path", "train_url": "output_path"}.items():
        if place := values.pop(url, ""):
            values[path], labels[path] = place, labels.get(url, url)
    folder, url = values.pop("load_path", KEYS["load_path"].default), values.pop("checkpoint_url", "")
    if url and (path := values.get("resume_ckpt")):
        inner = path.removeprefix(folder).removeprefix("./").lstrip("/")
        values["resume_ckpt"] = url if url.endswith(".ckpt") else f"{url.rstrip('/')}/{inner}"
        labels["resume_ckpt"] = labels.get("checkpoint_url", "checkpoint_url")


def _labels(given: Values, name: str) -> dict[str, str]:
    """Return how the file calls each key."""
    labels: dict[str, str] = {}
    for label in given:
        key = ALIASES.get(label, label)
        if key in labels:
            raise ConfigError(f"{name}: {labels[key]} and {label} say the same; keep one")
        labels[key] = label
    return labels


def _flags(given: Values, words: Sequence[str], name: str) -> dict[str, str]:
    lists = {key for key, value in given.items() if isinstance(value, list | dict)}
    asked = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    for key in sorted(asked & lists):
        raise ConfigError(f"{name}: --{key} is a list, which is no flag of theirs; write it in the file")
    others = {key for key in asked & KEYS.keys() if KEYS[key].kind != "list"}
    known = dict.fromkeys([*(key for key in given if key not in lists), *sorted(others), "config_path"])
    flags = parse_flags(words, known, name=name)
    path = flags.pop("config_path", name)
    if os.path.abspath(path) != os.path.abspath(name):
        raise ConfigError(f"{name}: --config_path names another file, {shown(path)}; give that one in its place")
    return flags


def _checked(name: str, label: str, value: Any, *, choices: Any) -> Any:
    typed = checked(name, label, value, KEYS[ALIASES.get(label, label)])
    allowed = cast("list[Any]", choices) if isinstance(choices, list) else None
    if allowed is not None and typed not in allowed:
        known = shown(allowed)
        raise ConfigError(f"{name}: {label}: found {shown(value)}; its third document allows {known}")
    return typed


def _unknown(name: str, key: str) -> str:
    guess = near(key, {**KEYS, **ALIASES}, cutoff=0.8)
    if guess:
        raise ConfigError(f"{name}: unknown key {shown(key)}{guess}")
    return "no program of the zoo reads it"


def _spellings(given: Values, flags: Mapping[str, str]) -> Iterator[str]:
    kinds = {key: KEYS.get(ALIASES.get(key, key), Key("text")).kind for key in (*given, *flags)}
    for key, value in given.items():
        if key in ALIASES:
            yield f"{key} is the README's spelling of {ALIASES[key]}, which its programs do not read; it is taken here"
        if kinds[key] in ("whole", "number") and isinstance(value, str):
            yield f"{key} {shown(value)} is a text by the rules of YAML 1.1, which stops theirs; it is read as a number"
    for key, value in flags.items():
        if kinds[key] == "truth" and value not in ("True", "False"):
            yield f"--{key} {shown(value)} stops theirs, which takes True and False alone"
