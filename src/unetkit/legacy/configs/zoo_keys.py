"""The keys of the MindSpore model zoo's configurations, and how its files and flags are read.

The keys are those of its seven files and those of its README alone. The README's spellings (`batchsize`, `img_size`,
`model`) are taken, though none of its programs reads them. Flags are the scalar keys of the file.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

from pydantic import Field

from unetkit.errors import ConfigError
from unetkit.legacy.configs.translation import Draft, LegacyNetwork
from unetkit.legacy.configs.values import Elements, Number, Settings, Text, Values, Whole, near, parse_flags, shown

_CLOUD = "of jobs of ModelArts, where enable_modelarts is True"
_EXPORT = "of export.py: unetkit export RUN --to onnx, mindir, air; any size"
_CONVERTED = "of preprocess_dataset.py; COCO and nuclei are read as they are, and unetkit data convert writes folders"
_FILES = "of files between its programs; unetkit predict and evaluate write their results where --out and --json say"
_README = "named in its README, read by none of its programs"

Model = Literal["unet_medical", "unet_simple", "unet_nested"]
ALIASES = {"batchsize": "batch_size", "img_size": "image_size", "model": "model_name", "epoch_size": "epochs"}


class ZooSettings(Settings):
    """The keys of the zoo's configurations."""

    enable_modelarts: bool = Field(default=False, description=_CLOUD)
    data_url: Text = Field(default="", description=_CLOUD)
    train_url: Text = Field(default="", description=_CLOUD)
    checkpoint_url: Text = Field(default="", description=_CLOUD)
    load_path: Text = Field(default="/cache/checkpoint_path/", description=_CLOUD)
    data_path: Text = "/cache/data"
    output_path: Text = "/cache/train"
    device_target: Literal["Ascend", "GPU", "CPU"] = "Ascend"
    enable_profiling: bool = Field(default=False, description="of MindSpore's profiler")
    model_name: Model
    dataset: Text = "ISBI"
    split: Number = 0.8
    cross_valid_ind: Whole = 1
    crop: Elements = None
    image_size: Elements = None
    train_augment: bool = False
    num_classes: Whole = Field(default=2, ge=2)
    num_channels: Whole = Field(default=1, ge=1)
    use_ds: bool = Field(default=True, description="of unet_nested alone")
    use_bn: bool = Field(default=True, description="of unet_nested alone")
    use_deconv: bool = Field(default=True, description="of unet_nested alone")
    lr: Number = Field(default=1e-4, ge=0)
    weight_decay: Number = Field(default=5e-4, ge=0)
    loss_scale: Number = Field(default=1024.0, ge=1e-6)
    FixedLossScaleManager: Number = Field(default=1024.0, ge=1e-6)
    epochs: Whole = Field(default=400, ge=1)
    distribute_epochs: Whole = Field(default=1600, ge=1)
    repeat: Whole = Field(default=1, ge=1)
    batch_size: Whole = Field(default=16, ge=1)
    distribute_batchsize: Whole = Field(default=16, ge=1)
    run_distribute: bool = Field(default=False, description="torchrun says how many processes there are")
    resume: bool = False
    resume_ckpt: Text = "./"
    transfer_training: bool = Field(default=False, description="all weights of the checkpoint are taken")
    filter_weight: Elements = ()
    run_eval: bool = False
    eval_start_epoch: Whole = Field(default=0, ge=0, description="run_eval is False")
    eval_interval: Whole = Field(default=1, ge=1, description="run_eval is False")
    eval_metrics: Text = "dice_coeff"
    eval_activate: Text = "Softmax"
    eval_resize: bool = False
    include_background: bool = True
    show_eval: bool = Field(default=False, description="pictures of the held-out images are always in report.html")
    color: Elements = Field(default=None, description="of its pictures; those of report.html have colours of their own")
    keep_checkpoint_max: Whole = Field(default=10, ge=0)
    checkpoint_path: Text = Field(default="", description="of its output folder; checkpoints lie in the run folder")
    checkpoint_file_path: Text = Field(default="", description="of eval.py and export.py: unetkit evaluate FILE")
    rst_path: Text = Field(default="", description=_FILES)
    result_path: Text = Field(default="", description=_FILES)
    width: Whole = Field(default=0, description=_EXPORT)
    height: Whole = Field(default=0, description=_EXPORT)
    file_name: Text = Field(default="", description=_EXPORT)
    file_format: Literal["AIR", "MINDIR", "ONNX"] = Field(default="MINDIR", description=_EXPORT)
    anno_json: Text = Field(default="", description=_CONVERTED)
    val_anno_json: Text = Field(default="", description=_CONVERTED)
    coco_dir: Text = Field(default="", description=_CONVERTED)
    val_coco_dir: Text = Field(default="", description=_CONVERTED)
    coco_classes: Elements = Field(default=None, description="of COCO alone")
    name: Text = Field(default="", description=_README)
    rank: Whole = Field(default=0, description=_README)
    is_save_on_master: Whole = Field(default=1, description=_README)
    save_best_ckpt: bool = Field(default=True, description="the best weights are always kept, in best.safetensors")


README_ALONE = {key for key, field in ZooSettings.model_fields.items() if field.description == _README}


def zoo_settings(documents: Sequence[Values], words: Sequence[str], draft: Draft) -> ZooSettings:
    """Return the settings of a file and of the words after `--`, which go before it.

    Args:
        documents: values, and after them help and choices where the file has them.
        words: the flags.
        draft: receives notes, and the keys that no program reads.

    Raises:
        ConfigError: a key or flag that looks misspelt, is given twice, or has a value that cannot be.
    """
    given, place, fields = documents[0], draft.place, ZooSettings.model_fields
    flags = _flags(given, words, place)
    labels: dict[str, str] = {}
    for label in given:
        key = ALIASES.get(label, label)
        if key in labels:
            raise ConfigError(f"{place}: {labels[key]} and {label} say the same; keep one")
        labels[key] = label
        if label in ALIASES:
            draft.notes.append(f"{label} is the README's spelling of {key}, which its programs do not read; taken here")
    values: dict[str, Any] = {}
    for label, value in {**given, **flags}.items():
        key = ALIASES.get(label, label)
        if key not in fields:
            if guess := near(label, [*fields, *ALIASES], cutoff=0.8):
                raise ConfigError(f"{place}: unknown key {shown(label)}{guess}")
            draft.unused[shown(label)] = "no program of the zoo reads it"
            continue
        values[key] = value
        kind = fields[key].annotation
        if label not in flags and kind in (int, float) and isinstance(value, str):
            draft.notes.append(
                f"{label} {shown(value)} is a text by the rules of YAML 1.1, which stops its program; "
                "it is read as a number"
            )
        elif label in flags and kind is bool and value not in ("True", "False"):
            draft.notes.append(f"--{label} {shown(value)} stops its program, which takes True and False alone")
    if "model_name" not in values and (name := values.get("name")) in ("Unet", *get_args(Model)):
        del values["name"]  # the list in its README names the network by this key alone
        values["model_name"], labels["model_name"] = "unet_medical" if name == "Unet" else name, "name"
    settings = ZooSettings.read(values, place, labels)
    choices: Values = documents[2] if len(documents) > 2 else {}
    for label, allowed in choices.items():
        key = ALIASES.get(label, label)
        if isinstance(allowed, list) and key in values and (typed := getattr(settings, key)) not in allowed:
            raise ConfigError(
                f"{place}: {label}: found {shown(typed)}; its third document allows {shown(cast(Any, allowed))}"
            )
    if not settings.enable_modelarts:
        return settings
    # A job of ModelArts copies from and to object storage: its places stand for those of the machine.
    values = settings.model_dump(exclude_unset=True, exclude={"enable_modelarts", "load_path"})
    for url, path in {"data_url": "data_path", "train_url": "output_path"}.items():
        if stored := values.pop(url, ""):
            values[path], labels[path] = stored, labels.get(url, url)
    if url := values.pop("checkpoint_url", ""):
        draft.network = LegacyNetwork(folders={settings.load_path: str(url), "./": str(url)})
        for key in ("resume_ckpt", "checkpoint_file_path"):
            if path := values.get(key):
                values[key] = draft.network.stored(path)
                labels["resume_ckpt"] = labels.get("checkpoint_url", "checkpoint_url")
    return ZooSettings.read(values, place, labels)


def _flags(given: Values, words: Sequence[str], place: str) -> dict[str, str]:
    """Return the values of the flags: scalar keys of the file, and others of the zoo that are written in full."""
    lists = {key for key, value in given.items() if isinstance(value, list | dict)}
    asked = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    for key in sorted(asked & lists):
        raise ConfigError(f"{place}: --{key} is a list, which its program takes from the file alone; write it there")
    scalars = {key for key, field in ZooSettings.model_fields.items() if field.annotation != get_args(Elements)[0]}
    known = [key for key in given if key not in lists and key.isidentifier()]
    flags = parse_flags(words, [*known, *sorted(asked & scalars), "config_path"], place)
    path = flags.pop("config_path", place)
    if os.path.abspath(path) != os.path.abspath(place):
        raise ConfigError(f"{place}: --config_path names another file, {shown(path)}; give that one in its place")
    return flags
