"""A training of the MindSpore model zoo in our terms: loss, optimizer, steps, weights to start from, scores."""

import json
from collections.abc import Mapping

from unetkit.config import ModelConfig
from unetkit.distributed import launched_world
from unetkit.legacy.checkpoints.translate import shapes_of
from unetkit.legacy.configs.translation import Draft, Images
from unetkit.legacy.configs.values import Settings, shown
from unetkit.legacy.networks import MEDICAL, NESTED, SIMPLE, Architecture

_PROGRAM = "its program"
_NETWORKS: Mapping[str, Architecture] = {"unet_medical": MEDICAL, "unet_simple": SIMPLE, "unet_nested": NESTED}
_SCORES = {
    ("softmax", True): ("soft_dice_two_class", "soft_iou_two_class"),
    ("softmax", False): ("soft_dice_foreground", "soft_iou_foreground"),
    ("argmax", True): ("argmax_dice_two_class", "argmax_iou_two_class"),
    ("argmax", False): ("argmax_dice_two_class", "argmax_iou_two_class"),
}


def translate_training(settings: Settings, draft: Draft, images: Images) -> None:
    """Translate everything but data, network and augmentation.

    Args:
        settings: checked.
        draft: receives our keys.
        images: those that are trained on.

    Raises:
        ConfigError: values that contradict each other.
    """
    _learning(settings, draft)
    _device(settings, draft)
    steps_a_pass = _steps(settings, draft, images)
    _evaluation(settings, draft, steps_a_pass)
    _scores(settings, draft)
    _checkpoints(settings, draft)
    _start(settings, draft)
    _export_size(settings, draft)


def _learning(settings: Settings, draft: Draft) -> None:
    draft.set(
        _PROGRAM,
        {
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
        },
    )
    draft.set(settings.said("lr"), {"optimizer.lr": settings.number("lr")})
    decay, said = settings.number("weight_decay"), settings.said("weight_decay")
    inner, outer = settings.number("loss_scale"), settings.number("FixedLossScaleManager")
    draft.set(settings.said("loss_scale", "FixedLossScaleManager"), {"train.loss_scale": outer})
    if inner != outer and draft.known_issue(
        settings.said("loss_scale", "FixedLossScaleManager"),
        "scales the gradient by one and back by the other: Adam does not see it, the decay does",
        ours="equal, so that they cancel out",
        bug_compatible=f"weight_decay times {inner / outer:g}",
    ):
        decay, said = decay * inner / outer, settings.said("weight_decay", "loss_scale", "FixedLossScaleManager")
    ranks = launched_world().size
    if not settings.truth("run_distribute"):
        draft.unused["run_distribute"] = "torchrun says how many processes there are"
    elif draft.known_issue(
        settings.said("run_distribute"),
        "adds the gradients of its processes up: Adam does not see it, but the decay weakens",
        ours="their mean",
        bug_compatible=f"weight_decay divided by {ranks} processes",
    ):
        decay, said = decay / ranks, f"{said}, run_distribute"
    draft.set(said, {"optimizer.weight_decay": decay})


def _device(settings: Settings, draft: Draft) -> None:
    target = settings.text("device_target")
    if target == "Ascend":
        draft.notes.append("device_target Ascend: trained here on the best device there is")
    device = {"Ascend": "auto", "GPU": "cuda", "CPU": "cpu"}[target]
    precision = "float32" if target == "GPU" else "auto"  # theirs: O0 on a GPU, O3 (float16) elsewhere
    draft.set(settings.said("device_target"), {"train.device": device, "train.precision": precision})


def _steps(settings: Settings, draft: Draft, images: Images) -> int:
    """Set steps and batch; return the steps of one pass over the repeated images, which theirs calls an epoch."""
    shared = settings.truth("run_distribute")
    ranks = launched_world().size if shared else 1
    epochs_key = "distribute_epochs" if shared else "epochs"
    batch_key = "distribute_batchsize" if shared and settings.text("device_target") == "GPU" else "batch_size"
    epochs, repeat, batch = (settings.whole(key) for key in (epochs_key, "repeat", batch_key))
    for key in ("epochs", "distribute_epochs", "batch_size", "distribute_batchsize"):
        if key in settings.values and key not in (epochs_key, batch_key):
            settings.whole(key)
            draft.unused[settings.label(key)] = f"of a training on {'one device' if shared else 'several devices'}"
    passes, a_pass = epochs // repeat, -(-images.count * repeat // ranks) // batch
    if not passes:
        draft.known_issue(
            settings.said(epochs_key, "repeat"), "trains nothing: fewer epochs than repeats", ours="one pass"
        )
    if not a_pass:
        draft.known_issue(
            settings.said("repeat", batch_key), f"has no batch of {images.count} images", ours="batches are filled up"
        )
    full, passes, a_pass = a_pass > 0, max(1, passes), max(1, a_pass)
    said = f"{settings.said(epochs_key, 'repeat', batch_key)}: {passes} x {a_pass} steps ({images.said})"
    draft.set(said, {"train.steps": passes * a_pass})
    draft.set(settings.said(batch_key) + (f" x {ranks} processes" if ranks > 1 else ""), {"train.batch": batch * ranks})
    draft.set(settings.said("repeat"), {"train.repeat": repeat})
    draft.set(_PROGRAM, {"train.drop_last": full})
    return a_pass


def _evaluation(settings: Settings, draft: Draft, steps_a_pass: int) -> None:
    start, interval = settings.whole("eval_start_epoch"), settings.whole("eval_interval")
    if settings.truth("run_eval"):
        draft.set(
            f"{settings.said('run_eval', 'eval_interval')}: {steps_a_pass} steps an epoch",
            {"train.validate_every": interval * steps_a_pass},
        )
        draft.set(settings.said("eval_start_epoch"), {"train.validate_from": start * steps_a_pass})
        return
    draft.set(settings.said("run_eval"), {"train.validate_every": None})
    unasked = [key for key in ("eval_start_epoch", "eval_interval") if key in settings.values]
    draft.unused |= dict.fromkeys(unasked, "run_eval is False")


def _scores(settings: Settings, draft: Draft) -> None:
    metric, activation = settings.text("eval_metrics"), settings.text("eval_activate").lower()
    background = settings.truth("include_background")
    if (activation, background) not in _SCORES:
        raise settings.wrong("eval_activate", "Softmax or Argmax")
    if metric not in ("dice_coeff", "iou", "IOU", "IoU"):
        draft.known_issue(settings.said("eval_metrics"), "takes every name but dice_coeff for the IoU", ours="the IoU")
    if activation == "argmax" and not background:
        draft.notes.append("include_background False with Argmax: the score that chooses counts the background, too")
    said = settings.said("eval_metrics", "eval_activate", "include_background")
    draft.set(said, {"train.best_metric": _SCORES[activation, background][metric != "dice_coeff"]})
    if settings.truth("eval_resize"):
        draft.known_issue(
            settings.said("eval_resize"), "rounds probabilities to 8 bits before it resizes them", ours="not rounded"
        )
    elif "eval_resize" in settings.values:
        draft.unused["eval_resize"] = "predictions are always resized back and scored at the size of the image"


def _checkpoints(settings: Settings, draft: Draft) -> None:
    said, kept = settings.said("keep_checkpoint_max"), settings.whole("keep_checkpoint_max")
    draft.set(said, {"train.keep_checkpoints": max(2, kept)})
    if kept > 1:
        draft.known_issue(said, "saves once, at the end", ours="every 100 steps, so that --resume goes on from there")


def _start(settings: Settings, draft: Draft) -> None:
    path, resumed = settings.text("resume_ckpt"), settings.truth("resume")
    filtered = settings.truth("transfer_training")
    if resumed and path in ("", "./", "."):
        raise settings.wrong("resume_ckpt", "a checkpoint, because resume is True")
    if resumed:
        draft.set(settings.said("resume", "resume_ckpt"), {"init.path": path})
        draft.set(
            settings.said("resume"),
            {
                "init.moments": not draft.known_issue(
                    settings.said("resume"),
                    "takes the weights and drops Adam's state, which is in the file",
                    ours="Adam goes on from it",
                    bug_compatible="Adam starts afresh",
                )
            },
        )
    excluded = _excluded(settings, draft, used=resumed and filtered)
    if excluded and resumed and filtered:
        draft.set(settings.said("transfer_training", "filter_weight"), {"init.exclude": excluded})
    why = "resume is False" if not resumed else "transfer_training is False"
    needed = {"resume_ckpt": resumed, "transfer_training": resumed, "filter_weight": resumed and filtered}
    draft.unused |= {settings.label(key): why for key, need in needed.items() if key in settings.values and not need}


def _excluded(settings: Settings, draft: Draft, *, used: bool) -> list[str]:
    """Return our names of the weights that filter_weight leaves out of a checkpoint."""
    network = _NETWORKS[settings.text("model_name")]
    ours_of = {theirs: ours for ours, theirs in network.names(4).items()}
    excluded: set[str] = set()
    lost: list[str] = []
    for part in map(str, settings.elements("filter_weight") or ()):
        found = {ours for theirs, ours in ours_of.items() if part in theirs}
        if used and not found and not _means_head(part, network):
            known = ", ".join([*list(ours_of)[:2], *list(ours_of)[-1:]])
            raise settings.wrong("filter_weight", f"parts of its names, such as {known}; {shown(part)} is in none")
        excluded |= found
        lost += [] if found else [part]
    chosen = _all_heads(excluded, settings, draft) | _meant(lost, draft)
    built = shapes_of(ModelConfig.model_validate_json(json.dumps(draft.tree["model"]))) if chosen else {}
    return sorted(name for name in chosen if name in built or "*" in name)


def _means_head(part: str, network: Architecture) -> bool:
    word = part.split(".")[0].rstrip("0123456789")
    return bool(word) and any(theirs.startswith(word) for ours, theirs in network.names(4).items() if "head" in ours)


def _meant(lost: list[str], draft: Draft) -> set[str]:
    """Return what parts that are in no name were meant for: the head, or nothing where known issues are kept."""
    if not lost:
        return set()
    kept = draft.known_issue(
        f"filter_weight {shown(lost)}",
        "finds no name with that in it, so that nothing starts afresh",
        ours="the head is meant",
        bug_compatible="nothing starts afresh",
    )
    return set() if kept else {"head*"}


def _all_heads(excluded: set[str], settings: Settings, draft: Draft) -> set[str]:
    """Return what is excluded, with all heads where some are."""
    heads = {name for name in excluded if name.startswith("heads.") and name.endswith(".weight")}
    if not 0 < len(heads) < 4:
        return excluded
    kept = draft.known_issue(
        settings.said("filter_weight"),
        f"starts {len(heads)} of 4 heads afresh",
        ours="all of them",
        bug_compatible="no other",
    )
    return excluded if kept else excluded | {"heads.*"}


def _export_size(settings: Settings, draft: Draft) -> None:
    sides = [settings.whole(key) for key in ("width", "height") if key in settings.values]
    medical = settings.text("model_name") == "unet_medical"
    if any(side != 572 if medical else side % 16 for side in sides):
        draft.known_issue(
            settings.said("width", "height"),
            f"fails to export at this size: {'only 572 fits' if medical else 'multiples of 16 are needed, as 576'}",
            ours="unetkit export takes any size",
        )
    elif sides:
        draft.unused |= dict.fromkeys(("width", "height"), "of export.py; an exported network takes any size")
