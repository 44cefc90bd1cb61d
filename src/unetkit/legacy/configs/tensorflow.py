"""The flags of the TensorFlow systems (NVIDIA's UNet_Medical and Ascend's UNet2D) in our terms.

They have no configuration file: everything is on the command line of their main.py. `--npu_loss_scale` is Ascend's.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.legacy.configs.translation import Count, Draft
from unetkit.legacy.configs.values import Key, Settings, checked, parse_flags
from unetkit.legacy.configs.zoo import CROPS
from unetkit.legacy.networks import NVIDIA

SYSTEM = "the TensorFlow U-Net (NVIDIA, Ascend)"
_PROGRAM = "its program"
_MODES = ("train", "train_and_predict", "predict", "evaluate", "train_and_evaluate")
_THROUGHPUT = "of its throughput figure; unetkit bench warms up by itself"

KEYS: dict[str, Key] = {
    "exec_mode": Key("text", "train_and_evaluate", choices=_MODES),
    "model_dir": Key("text", "./results"),
    "data_dir": Key("text", ""),
    "log_dir": Key("text", "", reason="the log lies in the run folder"),
    "batch_size": Key("whole", 1, least=1),
    "learning_rate": Key("number", 1e-4, least=0),
    "crossvalidation_idx": Key("whole"),
    "max_steps": Key("whole", 1000, least=1),
    "weight_decay": Key("number", 5e-4, least=0),
    "log_every": Key("whole", 100, least=1),
    "warmup_steps": Key("whole", 200, reason=_THROUGHPUT),
    "seed": Key("whole", 0, least=0),
    "npu_loss_scale": Key("number", 1.0),
    "Rank_Size": Key("whole", 1, reason="torchrun says how many processes there are"),
    "augment": Key("truth", False),
    "benchmark": Key("truth", False),
    "use_amp": Key("truth", False),
    "use_xla": Key("truth", False),
    "use_trt": Key("truth", False, reason="unetkit export RUN --to onnx"),
    "resume_training": Key("truth", False),
}
_ALIASES = {"data_path": "data_dir"}
_SWITCHES = {
    **{name: (name, "True") for name in ("augment", "benchmark", "use_amp", "use_xla", "use_trt", "resume_training")},
    "amp": ("use_amp", "True"),
    "xla": ("use_xla", "True"),
    "no-augment": ("augment", "False"),
    "no-benchmark": ("benchmark", "False"),
}


def translate(
    documents: Sequence[Mapping[str, Any]], words: Sequence[str], *, name: str, draft: Draft, count: Count
) -> None:
    """Translate the words of its command line; it has no documents, and no steps that depend on the data.

    Raises:
        ConfigError: a flag or a value that cannot be.
        UsageError: a mode that another verb does here.
    """
    valued = [key for key in KEYS if key not in _SWITCHES]
    flags = parse_flags(words, [*valued, *_ALIASES], name=name, switches=_SWITCHES)
    given = {_ALIASES.get(flag, flag): value for flag, value in flags.items()}
    values = {key: checked(name, f"--{key}", value, KEYS[key]) for key, value in given.items()}
    settings = Settings(name, KEYS, values, {key: f"--{key}" for key in KEYS})
    _mode(settings, draft)
    _data(settings, draft)
    _model(settings, draft)
    _augmentation(settings, draft)
    _learning(settings, draft)
    _course(settings, draft)
    _precision(settings, draft)
    _folders(settings, draft)
    draft.unused |= dict(settings.leftovers())


def _mode(settings: Settings, draft: Draft) -> None:
    mode = settings.text("exec_mode")
    if not mode.startswith("train"):
        data = settings.text("data_dir") or "DIR"
        told = f"evaluate {settings.text('model_dir')} --data {data}"
        if mode == "predict":
            told = f"predict {settings.text('model_dir')} {data}/test-volume.tif --out masks.tif"
        raise UsageError(f"{settings.name}: --exec_mode {mode} trains nothing; write: unetkit {told}")
    if mode == "train_and_predict":
        draft.notes.append("--exec_mode train_and_predict: afterwards write unetkit predict RUN DIR --out masks.tif")
    elif "exec_mode" in settings.values:
        draft.unused["--exec_mode"] = "what is held out is scored after every training"


def _data(settings: Settings, draft: Draft) -> None:
    if path := settings.text("data_dir"):
        draft.set(settings.said("data_dir"), {"data.path": path})
    draft.set(
        _PROGRAM,
        {
            "data.normalization": "minus-one-to-one",
            "data.size": [388, 388],
            "data.resize": "asymmetric",
            "data.padding_mode": "zeros",
            "train.patch": 572,
        },
    )
    fold = settings.values.get("crossvalidation_idx")
    if fold is None:
        draft.set(settings.said("crossvalidation_idx"), {"data.split.method": "none", "train.validate_every": None})
        return
    overlapping = draft.known_issue(
        settings.said("crossvalidation_idx"),
        "rotates by int(5.999...) = 5 of 30 slices and holds out 6: its folds overlap, and 4 slices are never held out",
        ours="folds that do not overlap (those of the MindSpore systems)",
        bug_compatible="the folds as they are",
    )
    method = "tensorflow" if overlapping else "mindspore"
    draft.set(
        settings.said("crossvalidation_idx"),
        {"data.split.method": method, "data.split.folds": 5, "data.split.fold": settings.whole("crossvalidation_idx")},
    )
    draft.set(settings.said("seed"), {"data.split.seed": settings.whole("seed")})
    draft.set(_PROGRAM, {"train.validate_every": None})


def _model(settings: Settings, draft: Draft) -> None:
    fixed = {f"model.{key}": value for key, value in NVIDIA.fixed.items()}
    sizes = {"model.width": 64, "model.depth": 4, "model.in_channels": 1, "model.num_classes": 2}
    draft.set(_PROGRAM, {"model.name": "unet", "model.up": "deconv", **fixed, **sizes})
    if "npu_loss_scale" in settings.values:
        draft.known_issue(
            "dropout",
            "drops half of the bottleneck in evaluation and prediction, too (Ascend)",
            ours="in training alone; its scores would be random",
        )


def _augmentation(settings: Settings, draft: Draft) -> None:
    on = settings.truth("augment")
    draft.set(_PROGRAM, {"augment.rotate90": False})
    draft.set(settings.said("augment"), {"augment.flip": on, **(CROPS if on else {})})


def _learning(settings: Settings, draft: Draft) -> None:
    draft.set(
        _PROGRAM,
        {
            "loss.cross_entropy": 1.0,
            "loss.dice": 1.0,
            "loss.dice_form": "per-class",
            "optimizer.name": "adam",
            "optimizer.betas": [0.9, 0.999],
            "optimizer.eps": 1e-8,
            "optimizer.eps_form": "tensorflow",
            "optimizer.schedule": "constant",
            "optimizer.warmup": 0.0,
            "train.best_metric": "soft_dice_class_mean",
        },
    )
    draft.set(settings.said("learning_rate"), {"optimizer.lr": settings.number("learning_rate")})
    draft.known_issue(
        settings.said("weight_decay"),
        "reads it and never uses it",
        ours="none either: its published scores were reached without",
    )
    draft.set(f"{settings.said('weight_decay')}, never used", {"optimizer.weight_decay": 0.0})


def _course(settings: Settings, draft: Draft) -> None:
    ranks = launched_world().size
    shared = f" / {ranks} processes" if ranks > 1 and not settings.truth("benchmark") else ""
    steps = settings.whole("max_steps")
    draft.set(settings.said("max_steps") + shared, {"train.steps": max(1, steps // ranks) if shared else steps})
    each = f" x {ranks} processes" if ranks > 1 else ""
    draft.set(settings.said("batch_size") + each, {"train.batch": settings.whole("batch_size") * ranks})
    draft.set(settings.said("log_every"), {"train.log_every": settings.whole("log_every")})
    draft.set(settings.said("seed"), {"train.seed": settings.whole("seed")})
    draft.set(_PROGRAM, {"train.repeat": 1, "train.drop_last": False})
    if settings.truth("benchmark"):
        draft.notes.append("--benchmark: unetkit bench measures images per second")
    if "npu_loss_scale" in settings.values:
        draft.known_issue(
            "evaluation",
            "repeats its images as often as --batch_size says and drops what fills no batch (Ascend)",
            ours="every held-out image counts once",
        )


def _precision(settings: Settings, draft: Draft) -> None:
    scale, mixed = settings.number("npu_loss_scale"), settings.truth("use_amp") or "npu_loss_scale" in settings.values
    said = settings.said("use_amp", *(["npu_loss_scale"] if "npu_loss_scale" in settings.values else []))
    draft.set(said, {"train.precision": "auto" if mixed and scale >= 1 else "float32"})
    draft.set(said, {"train.loss_scale": scale if scale > 1 else None})
    draft.set(settings.said("use_xla"), {"train.compile": settings.truth("use_xla")})


def _folders(settings: Settings, draft: Draft) -> None:
    folder = settings.text("model_dir")
    if settings.truth("resume_training"):
        inner = f"{folder}/model_checkpoint"
        start = inner if os.path.isdir(inner) else folder
        draft.set(settings.said("resume_training", "model_dir"), {"init.path": start})
        return
    if "model_dir" in settings.values:
        draft.out = folder
        draft.known_issue(
            settings.said("model_dir"),
            "empties its folder of checkpoints before it trains",
            ours="a folder that holds another run is refused",
        )
