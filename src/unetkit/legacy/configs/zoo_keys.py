"""What a configuration of the MindSpore model zoo and the words of its command line say, as checked settings.

The file has one to three documents: values, help, and choices. Flags are the scalar keys of that file. The spellings of
its README (`batchsize`, `img_size`, `model`) are taken, though none of its programs reads them.

The keys of the MindSpore model zoo's configurations: those of its seven files, and those of its README alone.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from unetkit.errors import ConfigError
from unetkit.legacy.configs.translation import Draft
from unetkit.legacy.configs.values import Key, Settings, checked, near, parse_flags, shown

_CLOUD = "of jobs of ModelArts, where enable_modelarts is True"
_EXPORT = "of export.py: unetkit export RUN --to onnx, mindir, air; any size"
_CONVERTED = "of preprocess_dataset.py; COCO and nuclei are read as they are, and unetkit data convert writes folders"
_FILES = "of files between its programs; unetkit predict and evaluate write their results where --out and --json say"
_README = "named in its README, read by none of its programs"

MODELS = ("unet_medical", "unet_simple", "unet_nested")

KEYS: dict[str, Key] = {
    "enable_modelarts": Key("truth", False, reason=_CLOUD),
    "data_url": Key("text", "", reason=_CLOUD),
    "train_url": Key("text", "", reason=_CLOUD),
    "checkpoint_url": Key("text", "", reason=_CLOUD),
    "load_path": Key("text", "/cache/checkpoint_path/", reason=_CLOUD),
    "data_path": Key("text", "/cache/data"),
    "output_path": Key("text", "/cache/train"),
    "device_target": Key("text", "Ascend", choices=("Ascend", "GPU", "CPU")),
    "enable_profiling": Key("truth", False, reason="of MindSpore's profiler"),
    "model_name": Key("text", "", choices=MODELS),
    "dataset": Key("text", "ISBI"),
    "split": Key("number", 0.8),
    "cross_valid_ind": Key("whole", 1),
    "crop": Key("list"),
    "image_size": Key("list"),
    "train_augment": Key("truth", False),
    "num_classes": Key("whole", 2, least=2),
    "num_channels": Key("whole", 1, least=1),
    "use_ds": Key("truth", True),
    "use_bn": Key("truth", True),
    "use_deconv": Key("truth", True),
    "lr": Key("number", 1e-4, least=0),
    "weight_decay": Key("number", 5e-4, least=0),
    "loss_scale": Key("number", 1024.0, least=1e-6),
    "FixedLossScaleManager": Key("number", 1024.0, least=1e-6),
    "epochs": Key("whole", 400, least=1),
    "distribute_epochs": Key("whole", 1600, least=1),
    "repeat": Key("whole", 1, least=1),
    "batch_size": Key("whole", 16, least=1),
    "distribute_batchsize": Key("whole", 16, least=1),
    "run_distribute": Key("truth", False),
    "resume": Key("truth", False),
    "resume_ckpt": Key("text", "./"),
    "transfer_training": Key("truth", False),
    "filter_weight": Key("list", ()),
    "run_eval": Key("truth", False),
    "eval_start_epoch": Key("whole", 0, least=0),
    "eval_interval": Key("whole", 1, least=1),
    "eval_metrics": Key("text", "dice_coeff"),
    "eval_activate": Key("text", "Softmax"),
    "eval_resize": Key("truth", False),
    "include_background": Key("truth", True),
    "show_eval": Key("truth", False, reason="pictures of the held-out images are always in report.html"),
    "color": Key("list", reason="of its pictures; those of report.html have colours of their own"),
    "keep_checkpoint_max": Key("whole", 10, least=0),
    "checkpoint_path": Key("text", "", reason="of its output folder; checkpoints lie in the run folder"),
    "checkpoint_file_path": Key("text", "", reason="of eval.py and export.py: unetkit evaluate FILE"),
    "rst_path": Key("text", "", reason=_FILES),
    "result_path": Key("text", "", reason=_FILES),
    "width": Key("whole", 0),
    "height": Key("whole", 0),
    "file_name": Key("text", "", reason=_EXPORT),
    "file_format": Key("text", "MINDIR", choices=("AIR", "MINDIR", "ONNX"), reason=_EXPORT),
    "anno_json": Key("text", "", reason=_CONVERTED),
    "val_anno_json": Key("text", "", reason=_CONVERTED),
    "coco_dir": Key("text", "", reason=_CONVERTED),
    "val_coco_dir": Key("text", "", reason=_CONVERTED),
    "coco_classes": Key("list"),
    "name": Key("text", "", reason=_README),
    "rank": Key("whole", 0, reason=_README),
    "is_save_on_master": Key("whole", 1, reason=_README),
    "save_best_ckpt": Key("truth", True, reason="the best weights are always kept, in best.safetensors"),
}

ALIASES = {"batchsize": "batch_size", "img_size": "image_size", "model": "model_name", "epoch_size": "epochs"}

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
