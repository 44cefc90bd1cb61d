"""The configurations of MindSpore's model zoo and of its course in our terms: keys, data, network, training.

The zoo has three networks, on ISBI and on folders of images. What its training does is that of its train.py,
src/data_loader.py and src/utils.py. Its random numbers are not reproduced: runs are alike, not equal. The keys are
those of its seven files and those of its README alone. The README's spellings (`batchsize`, `img_size`, `model`) are
taken, though none of its programs reads them. Flags are the scalar keys of the file.

The course's `cfg_unet` is the zoo's unet_medical on ISBI with fewer keys and other names. Its `epochs` is how often the
images are repeated in the one epoch that it trains.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from pydantic import Field

from unetkit.config import ModelConfig
from unetkit.distributed import launched_world
from unetkit.errors import ConfigError
from unetkit.legacy.configs.translation import (
    COCO,
    ISBI,
    NUCLEI,
    PROGRAM,
    Draft,
    Elements,
    LegacyDataset,
    LegacyNetwork,
    Number,
    Settings,
    System,
    Text,
    TrainingImages,
    Values,
    Whole,
    near,
    parse_flags,
    shown,
)
from unetkit.legacy.networks import MEDICAL, NESTED, SIMPLE, Architecture
from unetkit.models import build_outline

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
    """Return the settings of a file (values, help, choices) and of the words after `--`, which go before it.

    The draft receives notes, and the keys that no program reads.

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


CROPS = {"augment.crop": 0.3, "augment.brightness": 0.2, "augment.clip": [-1.0, 1.0]}


def translate(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate a file of the zoo and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    _translate_settings(zoo_settings(documents, words, draft), draft)


def translate_course(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate a `cfg_unet` and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    values: dict[str, Any] = {**_COURSE_FIXED, "repeat": 400}
    for key, value in documents[0].items():
        if key == "name":
            draft.unused[key] = f"{shown(value)}: its program always builds its one U-Net"
        elif key in _COURSE_KEYS:
            values[_COURSE_KEYS[key]] = value
        elif guess := near(key, _COURSE_KEYS, cutoff=0.8):
            raise ConfigError(f"{draft.place}: unknown key {shown(key)}{guess}")
        else:
            draft.unused[shown(key)] = "the course's program does not read it"
    flags = parse_flags(words, _COURSE_FLAGS, draft.place)
    values |= {_COURSE_FLAGS[flag]: value for flag, value in flags.items()}
    settings = ZooSettings.read(values, draft.place, _COURSE_LABELS)
    passes: dict[str, Any] = {"epochs": settings.repeat}  # one pass of the repeated images
    if launched_world().size > 1:
        keys = ("repeat", "epochs", "distribute_epochs")
        passes = {"run_distribute": True, **dict.fromkeys(keys, settings.distribute_epochs)}
    _translate_settings(settings.model_copy(update=passes), draft)
    draft.set(PROGRAM, {"train.log_format": "mindspore-course"})


_COURSE_SAME = (
    *("lr", "distribute_epochs", "cross_valid_ind", "num_classes", "num_channels", "keep_checkpoint_max"),
    *("weight_decay", "loss_scale", "FixedLossScaleManager", "resume", "resume_ckpt"),
)
_COURSE_KEYS = {"epochs": "repeat", "batchsize": "batch_size", **{key: key for key in _COURSE_SAME}}
_COURSE_FLAGS = {"data_url": "data_path", "train_url": "output_path"}
_COURSE_FIXED = {"model_name": "unet_medical", "crop": [388, 388], "image_size": [572, 572]}
_COURSE_LABELS = {
    "model_name": "its network",
    "crop": "its crop",
    "image_size": "its size",
    "repeat": "epochs",
    "batch_size": "batchsize",
    "data_path": "--data_url",
    "output_path": "--train_url",
}
NOT_OF_THE_COURSE = ZooSettings.model_fields.keys() - README_ALONE - {ALIASES.get(key, key) for key in _COURSE_KEYS}
ZOO = System("the MindSpore model zoo", translate)
COURSE = System("the MindSpore course", translate_course)


def _translate_settings(settings: ZooSettings, draft: Draft) -> None:
    draft.set(
        PROGRAM, {"data.normalization": "minus-one-to-one", "data.resize": "half-pixel", "augment.rotate90": False}
    )
    path, out = settings.data_path, settings.output_path
    annotated = _annotated(settings)
    if annotated and not (settings.given("data_path") and os.path.exists(path)):
        draft.set(settings.said("anno_json", "val_anno_json"), {"data.path": annotated})
        if settings.given("data_path"):
            draft.unused[settings.label("data_path")] = "COCO is read where its annotation files lie"
    elif path not in ("", "/cache/data"):
        draft.copy(settings, {"data_path": "data.path"})
    elif settings.given("data_path"):
        draft.unused[settings.label("data_path")] = "of the machines of ModelArts; --data names the data"
    if out not in ("", "/cache/train"):
        draft.out = out
        draft.notes.append(f"{settings.said('output_path')}: the run folder, unless --out names another")
    elif settings.given("output_path"):
        draft.unused[settings.label("output_path")] = "of the machines of ModelArts; --out names the run folder"
    classes = settings.coco_classes
    if classes is not None and settings.dataset == "COCO":
        if len(classes) != settings.num_classes:
            raise settings.wrong("coco_classes", f"{settings.num_classes} names, as num_classes says")
        settings.said("coco_classes")
        draft.set("coco_classes", {"data.classes": [str(name) for name in classes]})
    name, said = settings.model_name, settings.said("model_name")
    network = {f"model.{key}": value for key, value in {"name": "unet", **NETWORKS[name].fixed}.items()}
    width = 64 if name == "unet_medical" else 32
    draft.set(said, {**network, "model.width": width, "model.depth": 4, "model.up": "deconv"})
    draft.copy(settings, {"num_channels": "model.in_channels", "num_classes": "model.num_classes"})
    if name == "unet_nested":
        draft.copy(settings, {"use_ds": "model.deep_supervision"})
        draft.set(settings.said("use_bn"), {"model.norm": "batch" if settings.use_bn else "none"})
        draft.set(settings.said("use_deconv"), {"model.up": "deconv" if settings.use_deconv else "bilinear-legacy"})
    elif settings.given("use_ds") and settings.use_ds:  # one of the others
        draft.known_issue(
            settings.said("use_ds"), f"takes the losses of several heads, and {name} has one", here="one head, one loss"
        )
    if name == "unet_simple":
        draft.set(said, {"model.norm": "batch"})
        for key in ("use_bn", "use_deconv"):
            if not getattr(settings, key):
                draft.known_issue(
                    settings.said(key), "does not pass it to unet_simple", here="norm and deconvolution, as there"
                )
    dataset, translate_images = _DATASETS.get(settings.dataset, (NUCLEI, _translate_folders))
    translate_images(settings, draft)
    steps = translate_training(settings, draft, draft.training_images(dataset))
    translate_validation(settings, draft, steps)
    translate_start(settings, draft)
    draft.network = replace(
        draft.network,
        path=settings.checkpoint_file_path,
        export=settings.file_format.lower() if settings.given("file_format") else "",
        size=(settings.height, settings.width) if settings.height and settings.width else None,
        file_name=settings.file_name,
        own_size=settings.eval_resize,
    )
    draft.unused |= settings.unused(draft.unused)


def _annotated(settings: ZooSettings) -> str:
    """Return where the annotation files of COCO lie: their common folder, or the only one; empty where there is none.

    The split of such data is the one of its makers: what `val_anno_json` describes is held out.

    Raises:
        ConfigError: both exist, in folders that are not one data set's.
    """
    found = [path for path in (settings.anno_json, settings.val_anno_json) if path and os.path.isfile(path)]
    if settings.dataset != "COCO" or len(found) < 2:
        return found[0] if settings.dataset == "COCO" and found else ""
    folders = {os.path.dirname(os.path.abspath(path)) for path in found}
    folder = folders.pop()
    if folders or os.path.basename(folder) != "annotations":
        raise settings.wrong("val_anno_json", f"both files in one folder `annotations`; {shown(found[0])} is the other")
    return os.path.dirname(folder)


def _translate_isbi(settings: ZooSettings, draft: Draft) -> None:
    """Take whole slices, all of one size: for the unpadded network less than it reads, and zeros around that."""
    said, fold = settings.said("cross_valid_ind"), settings.cross_valid_ind % 5
    draft.set(said, {"data.split.folds": 5, "data.split.fold": fold, "data.split.seed": 0})
    draft.set(settings.said("dataset"), {"data.split.method": "mindspore"})
    if settings.given("split"):
        draft.unused[settings.said("split")] = "of folders of images; ISBI is divided into folds"
    rows, columns = _sides(settings, "image_size", (572, 572))
    crop, said = settings.crop, settings.said("crop", "image_size")
    if settings.model_name == "unet_medical":
        if crop is None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives 388 pixels for 572", here="crop [388, 388]"
            )
        down, across = _sides(settings, "crop", (388, 388))
        draft.set(said, {"data.size": [rows * down // 572, columns * across // 572], "data.padding_mode": "zeros"})
    else:
        if crop is not None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives as many pixels as it reads", here="no crop"
            )
        draft.set(said, {"data.size": [rows, columns]})
        _note_sixteens(settings, draft, rows, columns)
    said, augmented = settings.said("image_size"), True
    draft.set_patch(said, rows, columns)
    if settings.given("train_augment") and not settings.train_augment:
        augmented = draft.known_issue(
            settings.said("train_augment"),
            "ignores it for ISBI, and augments all the same",
            here="no augmentation",
            bug_compatible="augmented all the same",
        )
    origin = settings.said("train_augment") if settings.given("train_augment") else PROGRAM
    draft.set(origin, {"augment.flip": augmented, **(CROPS if augmented else {})})
    if augmented and (rows, columns) != (572, 572):
        draft.known_issue(
            said,
            "draws its crops for 572 pixels, so that the last rows and columns of larger images are always cut off",
            here="drawn for the size of the image",
        )


def _translate_folders(settings: ZooSettings, draft: Draft) -> None:
    """Take whole images of folders, resized to one size, which the original gives as (columns, rows)."""
    if not 0 < settings.split <= 1:
        raise settings.wrong("split", "a share above 0, up to 1 for folders train and val")
    reason = f"not read where dataset is {shown(settings.dataset)}"
    draft.unused |= {settings.label(key): reason for key in ("cross_valid_ind", "crop") if settings.given(key)}
    if settings.split == 1 and _annotated(settings).endswith(".json"):
        draft.set(settings.said("dataset", "split", "anno_json"), {"data.split.method": "none"})
        draft.notes.append("val_anno_json is not there: nothing is held out, and nothing scored")
    elif settings.split == 1:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "given"})
    else:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "last"})
        draft.set(settings.said("split"), {"data.split.share": round(1 - settings.split, 9)})
    columns, rows = _sides(settings, "image_size", (96, 96))
    said = settings.said("image_size")
    draft.set(said, {"data.size": [rows, columns]})
    draft.set_patch(said, rows, columns)
    if settings.model_name == "unet_medical":
        draft.known_issue(
            settings.said("model_name", "dataset"),
            "fails: the network gives fewer pixels than the masks of folders have",
            here="the inner part of the masks is learnt",
        )
    else:
        _note_sixteens(settings, draft, rows, columns)
    if not settings.given("train_augment"):
        draft.known_issue("train_augment (not given)", "stops: folders need it", here="no augmentation")
    draft.copy(settings, {"train_augment": "augment.flip"})
    if settings.train_augment:
        draft.set(settings.said("train_augment"), {"augment.stretch": [1.0, 1.5]})
        draft.notes.append(
            "flips: its program leaves half the images, and mirrors the others in rows, columns or both; here each of "
            "the four is as likely"
        )
    said = settings.said("num_classes")
    if settings.num_classes > 2:
        issue = "interpolates class indices when it resizes masks, so that other classes appear on borders"
        draft.known_issue(said, issue, here="the nearest class")
    else:
        issue = "divides a mask by its largest value: 0 / 0 where no object is in it"
        draft.known_issue(said, issue, here="background")


# Whatever is not called ISBI is folders of images for its program; those of another name count as the nuclei do.
_DATASETS: Mapping[str, tuple[LegacyDataset, Callable[[ZooSettings, Draft], None]]] = {
    "ISBI": (ISBI, _translate_isbi),
    "COCO": (COCO, _translate_folders),
}


def _note_sixteens(settings: ZooSettings, draft: Draft, rows: int, columns: int) -> None:
    if rows % 16 or columns % 16:
        draft.known_issue(
            settings.said("image_size"), "fails in Concat: sides must be multiples of 16", here="any size goes through"
        )


def _sides(settings: ZooSettings, key: str, default: tuple[int, int]) -> tuple[int, int]:
    """Return the two sides that a list gives."""
    sides = getattr(settings, key)
    if sides is None:
        return default
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**20]
    if len(sides) != 2 or len(whole) != 2:
        raise settings.wrong(key, "two sides in pixels, such as [572, 572]")
    return whole[0], whole[1]


NETWORKS: Mapping[str, Architecture] = {"unet_medical": MEDICAL, "unet_simple": SIMPLE, "unet_nested": NESTED}
_FIXED = {
    "loss.cross_entropy": 1.0,
    "loss.dice": 0.0,
    "optimizer.name": "adam",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-8,
    "optimizer.eps_form": "tensorflow",
    "optimizer.decay_params": "all-but-norms",
    "optimizer.schedule": "constant",
    "optimizer.warmup": 0.0,
    "train.seed": 1,
}
_DEVICES = {"Ascend": "auto", "GPU": "cuda", "CPU": "cpu"}
_SCORES = {
    ("softmax", True): ("soft_dice_two_class", "soft_iou_two_class"),
    ("softmax", False): ("soft_dice_foreground", "soft_iou_foreground"),
    ("argmax", True): ("argmax_dice_two_class", "argmax_iou_two_class"),
    ("argmax", False): ("argmax_dice_foreground", "argmax_iou_foreground"),
}


def translate_training(settings: ZooSettings, draft: Draft, images: TrainingImages) -> int:
    """Set optimizer, device and steps; return the steps of an epoch, which is one pass over the repeated images."""
    draft.set(PROGRAM, _FIXED)
    draft.copy(settings, {"lr": "optimizer.lr"})
    target, shared = settings.device_target, settings.run_distribute
    if target == "Ascend":
        draft.notes.append("device_target Ascend: trained here on the best device there is")
    precision = "float32" if target == "GPU" else "auto"  # the original: O0 on a GPU, O3 (float16) elsewhere
    draft.set(settings.said("device_target"), {"train.device": _DEVICES[target], "train.precision": precision})

    decay, decay_keys = settings.weight_decay, ["weight_decay"]
    inner, outer, said = settings.loss_scale, settings.FixedLossScaleManager, ("loss_scale", "FixedLossScaleManager")
    draft.set(settings.said(*said), {"train.loss_scale": outer})
    if inner != outer and draft.known_issue(
        settings.said(*said),
        "scales the gradient by one and back by the other: Adam does not see it, the decay does",
        here="equal, so that they cancel out",
        bug_compatible=f"weight_decay times {inner / outer:g}",
    ):
        decay, decay_keys = decay * inner / outer, [*decay_keys, *said]
    if shared and draft.known_issue(
        settings.said("run_distribute"),
        "adds the gradients of its processes up: Adam does not see it, but the decay weakens",
        here="their mean",
        bug_compatible=f"weight_decay divided by {launched_world().size} processes",
    ):
        decay, decay_keys = decay / launched_world().size, [*decay_keys, "run_distribute"]
    draft.set(settings.said(*decay_keys), {"optimizer.weight_decay": decay})

    if shared:  # its script keeps a log of every process
        draft.set(settings.said("run_distribute"), {"train.rank_logs": True})
    ranks = launched_world().size if shared else 1
    epochs_key = "distribute_epochs" if shared else "epochs"
    batch_key = "distribute_batchsize" if shared and target == "GPU" else "batch_size"
    epochs, batch, repeat = getattr(settings, epochs_key), getattr(settings, batch_key), settings.repeat
    reason = f"of a training on {'one device' if shared else 'several devices'}"
    others = {"epochs", "distribute_epochs", "batch_size", "distribute_batchsize"} - {epochs_key, batch_key}
    draft.unused |= {settings.label(key): reason for key in sorted(others) if settings.given(key)}
    passes, epoch = epochs // repeat, -(-images.count * repeat // ranks) // batch
    if not passes:
        draft.known_issue(
            settings.said(epochs_key, "repeat"), "trains nothing: fewer epochs than repeats", here="one pass"
        )
    if not epoch:
        draft.known_issue(
            settings.said("repeat", batch_key), f"has no batch of {images.count} images", here="batches are filled up"
        )
    draft.set(PROGRAM, {"train.drop_last": epoch > 0})
    passes, epoch = max(1, passes), max(1, epoch)
    said = f"{settings.said(epochs_key, 'repeat', batch_key)}: {passes} x {epoch} steps ({images.said})"
    draft.set(said, {"train.steps": passes * epoch})
    draft.set_batch(settings, batch_key, ranks)
    draft.copy(settings, {"repeat": "train.repeat"})
    return epoch


def translate_validation(settings: ZooSettings, draft: Draft, epoch: int) -> None:
    """Set validations and their score, and what is kept; `epoch` is its steps.

    Raises:
        ConfigError: an activation that the original does not have.
    """
    if settings.run_eval:
        said = f"{settings.said('run_eval', 'eval_interval')}: {epoch} steps an epoch"
        draft.set(said, {"train.validate_every": settings.eval_interval * epoch})
        draft.set(settings.said("eval_start_epoch"), {"train.validate_from": settings.eval_start_epoch * epoch})
    else:
        draft.set(settings.said("run_eval"), {"train.validate_every": None})
    metric, activation, background = settings.eval_metrics, settings.eval_activate.lower(), settings.include_background
    if (activation, background) not in _SCORES:
        raise settings.wrong("eval_activate", "Softmax or Argmax")
    if metric not in ("dice_coeff", "iou", "IOU", "IoU"):
        draft.known_issue(settings.said("eval_metrics"), "takes every name but dice_coeff for the IoU", here="the IoU")
    said, score = settings.said("eval_metrics", "eval_activate", "include_background"), _SCORES[activation, background]
    draft.set(said, {"train.best_metric": score[metric != "dice_coeff"]})
    draft.set(PROGRAM, {"train.metrics": ["legacy"], "train.log_format": "mindspore"})
    if settings.given("eval_resize"):
        place = (
            "the image"
            if settings.eval_resize
            else "the network's input (its name ends with _388, or _at_ROWSxCOLUMNS)"
        )
        draft.notes.append(
            f"{settings.said('eval_resize')}: its eval.py scores at the size of {place}; so do the lines that are "
            "printed in its spelling; tables have both"
        )
    if settings.eval_resize:
        draft.known_issue(
            settings.said("eval_resize"), "rounds probabilities to 8 bits before it resizes them", here="not rounded"
        )
    said, kept = settings.said("keep_checkpoint_max"), settings.keep_checkpoint_max
    draft.set(said, {"train.keep_checkpoints": max(2, kept)})
    if kept > 1:
        draft.known_issue(said, "saves once, at the end", here="every 100 steps, so that --resume goes on from there")
    sides = [getattr(settings, key) for key in ("width", "height") if settings.given(key)]
    medical = settings.model_name == "unet_medical"
    if any(side != 572 if medical else side % 16 for side in sides):
        draft.known_issue(
            settings.said("width", "height"),
            f"fails to export at this size: {'only 572 fits' if medical else 'multiples of 16 are needed, as 576'}",
            here="unetkit export takes any size",
        )


def translate_start(settings: ZooSettings, draft: Draft) -> None:
    """Set the weights to start from, and which of them start at random all the same.

    Raises:
        ConfigError: no checkpoint is named, or a part of `filter_weight` is in no name.
    """
    resumed, filtered, said = settings.resume, settings.resume and settings.transfer_training, settings.said("resume")
    if resumed and settings.resume_ckpt in ("", "./", "."):
        raise settings.wrong("resume_ckpt", "a checkpoint, because resume is True")
    if resumed:
        draft.set(settings.said("resume", "resume_ckpt"), {"init.path": settings.resume_ckpt})
        dropped = draft.known_issue(
            said,
            "takes the weights and drops Adam's state, which is in the file",
            here="Adam goes on from it",
            bug_compatible="Adam starts afresh",
        )
        draft.set(said, {"init.moments": not dropped})
    excluded = _excluded(settings, draft, used=filtered)
    if filtered:
        draft.set(settings.said("transfer_training", "filter_weight"), {"init.exclude": excluded} if excluded else {})
    reason = "transfer_training is False" if resumed else "resume is False"
    draft.unused |= {
        settings.label(key): reason
        for key, needed in {"resume_ckpt": resumed, "transfer_training": resumed, "filter_weight": filtered}.items()
        if settings.given(key) and not needed
    }


def _excluded(settings: ZooSettings, draft: Draft, *, used: bool) -> list[str]:
    """Return our names of the weights that `filter_weight` leaves out of a checkpoint.

    Names of the head that are wrong for this network (`final.weight`, `outc.weight`: the documented ones are) mean the
    head; `head*` is that of every network.
    """
    ours_of = {original: ours for ours, original in NETWORKS[settings.model_name].names(4).items()}
    heads = {name for network in NETWORKS.values() for ours, name in network.names(4).items() if "head" in ours}
    excluded: set[str] = set()
    meant: list[str] = []
    for part in map(str, settings.filter_weight or ()):
        found = {ours for original, ours in ours_of.items() if part in original}
        word = part.split(".")[0].rstrip("0123456789")
        excluded |= found
        if not found and word and any(head.startswith(word) for head in heads):
            meant.append(part)
        elif not found and used:
            known = ", ".join([*list(ours_of)[:2], *list(ours_of)[-1:]])
            raise settings.wrong("filter_weight", f"parts of its names, such as {known}; {shown(part)} is in none")
        elif not found:
            draft.known_issue(
                f"filter_weight {shown(part)}",
                "finds no name with that in it, so that nothing starts afresh",
                here="an error where transfer_training is True",
            )
    named = {name for name in excluded if name.startswith("heads.") and name.endswith(".weight")}
    if 0 < len(named) < 4 and not draft.known_issue(
        settings.said("filter_weight"),
        f"starts {len(named)} of 4 heads afresh",
        here="all of them",
        bug_compatible="no other",
    ):
        excluded |= {"heads.*"}
    if meant and not draft.known_issue(
        f"filter_weight {shown(meant)}",
        "finds no name with that in it, so that nothing starts afresh",
        here="the head is meant",
        bug_compatible="nothing starts afresh",
    ):
        excluded |= {"head*"}
    if not excluded:
        return []
    built = build_outline(ModelConfig.model_validate_json(json.dumps(draft.tree["model"]))).state_dict()
    return sorted(name for name in excluded if name in built or "*" in name)
