"""The flags of the TensorFlow systems (NVIDIA's UNet_Medical and Ascend's UNet2D) in our terms.

They have no configuration file: everything is on the command line of their main.py. `--npu_loss_scale` is Ascend's.
"""

import os
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.legacy.configs.translation import (
    PROGRAM,
    Draft,
    MaybeWhole,
    Number,
    Settings,
    System,
    Text,
    Values,
    Whole,
    parse_flags,
)
from unetkit.legacy.configs.zoo import CROPS
from unetkit.legacy.networks import NVIDIA

_FIXED = {
    "data.normalization": "minus-one-to-one",
    "data.size": [388, 388],
    "data.resize": "asymmetric",
    "data.padding_mode": "zeros",
    "model.name": "unet",
    **{f"model.{key}": value for key, value in NVIDIA.fixed.items()},
    "model.up": "deconv",
    "model.width": 64,
    "model.depth": 4,
    "model.in_channels": 1,
    "model.num_classes": 2,
    "augment.rotate90": False,
    "loss.cross_entropy": 1.0,
    "loss.dice": 1.0,
    "loss.dice_form": "per-class",
    "optimizer.name": "adam",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-8,
    "optimizer.eps_form": "tensorflow",
    "optimizer.schedule": "constant",
    "optimizer.warmup": 0.0,
    "train.patch": 572,
    "train.repeat": 1,
    "train.drop_last": False,
    "train.validate_every": None,
    "train.best_metric": "soft_dice_class_mean",
    "train.metrics": ["legacy"],
    "train.log_format": "tensorflow",
}


_TORCHRUN = "torchrun says how many processes there are"
_ASCEND = "of Ascend's runtime for TensorFlow"


class TensorFlowSettings(Settings):
    """The flags of its main.py."""

    exec_mode: Literal["train", "train_and_predict", "predict", "evaluate", "train_and_evaluate"] = "train_and_evaluate"
    model_dir: Text = "./results"
    data_dir: Text = ""
    log_dir: Text = Field(default="", description="the log lies in the run folder")
    batch_size: Whole = Field(default=1, ge=1)
    learning_rate: Number = Field(default=1e-4, ge=0)
    crossvalidation_idx: MaybeWhole = None
    max_steps: Whole = Field(default=1000, ge=1)
    weight_decay: Number = Field(default=5e-4, ge=0)
    log_every: Whole = Field(default=100, ge=1)
    warmup_steps: Whole = Field(default=200, description="of its throughput figure; unetkit bench warms up by itself")
    seed: Whole = Field(default=0, ge=0)
    npu_loss_scale: Number = 1.0
    Rank_Size: Whole = Field(default=1, description=_TORCHRUN)
    rank_size: Whole = Field(default=1, description=_TORCHRUN)
    rank_id: Whole = Field(default=0, description=_TORCHRUN)
    device_id: Whole = Field(default=0, description="one device is found by itself, train.device names its kind")
    precision_mode: Text = Field(default="", description="of Ascend's compiler; here train.precision")
    iterations_per_loop: Whole = Field(default=10, description=_ASCEND)
    over_dump: Text = Field(default="", description=_ASCEND)
    data_dump_flag: Text = Field(default="", description=_ASCEND)
    data_dump_step: Text = Field(default="", description=_ASCEND)
    data_dump_path: Text = Field(default="", description=_ASCEND)
    over_dump_path: Text = Field(default="", description=_ASCEND)
    profiling: Text = Field(default="", description=_ASCEND)
    profiling_dump_path: Text = Field(default="", description=_ASCEND)
    autotune: Text = Field(default="", description=_ASCEND)
    modify_mixlist: Text = Field(default="", description="of Ascend's mixed precision; here train.precision")
    fusion_switch_file: Text = Field(default="", description=_ASCEND)
    graph_run_mode: Whole = Field(default=1, description=_ASCEND)
    dynamic_loss_scale: Text = Field(default="", description="in float16 the loss scale is found while training")
    augment: bool = False
    benchmark: bool = False
    use_amp: bool = False
    use_xla: bool = False
    use_trt: bool = Field(default=False, description="unetkit export RUN --to onnx")
    resume_training: bool = False


_SWITCHES = {
    **{name: (name, "True") for name, field in TensorFlowSettings.model_fields.items() if field.annotation is bool},
    "amp": ("use_amp", "True"),
    "xla": ("use_xla", "True"),
    "no-augment": ("augment", "False"),
    "no-benchmark": ("benchmark", "False"),
}


def translate(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate the words of its command line; it has no documents, and no steps that depend on the data.

    Raises:
        ConfigError: a flag or a value that cannot be.
        UsageError: a mode that another verb does here.
    """
    keys = TensorFlowSettings.model_fields
    flags = parse_flags(words, [*(key for key in keys if key not in _SWITCHES), "data_path"], draft.place, _SWITCHES)
    if "data_path" in flags:  # what the README calls it
        flags["data_dir"] = flags.pop("data_path")
    settings = TensorFlowSettings.read(flags, draft.place, {key: f"--{key}" for key in keys})
    mode, folder, data = settings.exec_mode, settings.model_dir, settings.data_dir
    if not mode.startswith("train"):
        verb = f"evaluate {folder} --data {data or 'DIR'}"
        if mode == "predict":
            verb = f"predict {folder} {data or 'DIR'}/test-volume.tif --out masks.tif"
        raise UsageError(f"{draft.place}: --exec_mode {mode} trains nothing; write: unetkit {verb}")
    if mode == "train_and_predict":
        draft.notes.append(f"{settings.said('exec_mode')}: afterwards write unetkit predict RUN DIR --out masks.tif")
    elif settings.given("exec_mode"):
        draft.unused[settings.label("exec_mode")] = "what is held out is scored after every training"
    draft.set(PROGRAM, _FIXED)
    if settings.given("data_dir") and not data:
        raise settings.wrong("data_dir", "a folder with train-volume.tif and train-labels.tif")
    if data:
        draft.set(settings.said("data_dir"), {"data.path": data})
    if settings.resume_training:
        inner = f"{folder}/model_checkpoint"
        start = inner if os.path.isdir(inner) else folder
        draft.set(settings.said("resume_training", "model_dir"), {"init.path": start})
    elif settings.given("model_dir"):
        draft.out = folder
        draft.known_issue(
            settings.said("model_dir"),
            "empties its folder of checkpoints before it trains",
            here="a folder that holds another run is refused",
        )
    augmented = settings.augment
    draft.set(settings.said("augment"), {"augment.flip": augmented, **(CROPS if augmented else {})})
    said, fold = settings.said("crossvalidation_idx"), settings.crossvalidation_idx
    if fold is None:
        draft.set(said, {"data.split.method": "none"})
    else:
        overlapping = draft.known_issue(
            said,
            "rotates by int(5.999...) = 5 of 30 slices and holds out 6: its folds overlap, and 4 are never held out",
            here="folds that do not overlap (those of the MindSpore systems)",
            bug_compatible="the folds as they are",
        )
        method = "tensorflow" if overlapping else "mindspore"
        draft.set(said, {"data.split.method": method, "data.split.folds": 5, "data.split.fold": fold})
        draft.copy(settings, {"seed": "data.split.seed"})
    _translate_steps(settings, draft)
    draft.unused |= settings.unused(draft.unused)


def _translate_steps(settings: TensorFlowSettings, draft: Draft) -> None:
    """Set the optimizer, the steps and the precision."""
    draft.copy(
        settings,
        {
            "learning_rate": "optimizer.lr",
            "log_every": "train.log_every",
            "seed": "train.seed",
            "use_xla": "train.compile",
        },
    )
    said = settings.said("weight_decay")
    draft.known_issue(said, "reads it and never uses it", here="none either: its published scores were reached without")
    draft.set(f"{said}, never used", {"optimizer.weight_decay": 0.0})
    ranks, steps, said = launched_world().size, settings.max_steps, settings.said("max_steps")
    if ranks > 1 and not settings.benchmark:
        steps, said = max(1, steps // ranks), f"{said} / {ranks} processes"
    draft.set(said, {"train.steps": steps})
    draft.set_batch(settings, "batch_size", ranks)
    if settings.benchmark:
        draft.notes.append(f"{settings.said('benchmark')}: unetkit bench measures images per second")
    ascend, scale = settings.given("npu_loss_scale"), settings.npu_loss_scale
    said = settings.said("use_amp", *(["npu_loss_scale"] if ascend else []))
    mixed = (settings.use_amp or ascend) and scale >= 1
    draft.set(
        said, {"train.precision": "auto" if mixed else "float32", "train.loss_scale": scale if scale > 1 else None}
    )
    if ascend:
        draft.known_issue(
            "dropout",
            "drops half of the bottleneck in evaluation and prediction, too (Ascend)",
            here="in training alone; its scores would be random",
        )
        draft.known_issue(
            "evaluation",
            "repeats its images as often as --batch_size says and drops what fills no batch (Ascend)",
            here="every held-out image counts once",
        )


SYSTEM = System("the TensorFlow U-Net (NVIDIA, Ascend)", translate)
