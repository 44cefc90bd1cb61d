"""A training of the MindSpore model zoo in our terms: optimizer, steps, scores, and the weights to start from."""

import json
from collections.abc import Mapping

from unetkit.config import ModelConfig
from unetkit.distributed import launched_world
from unetkit.legacy.checkpoints.translate import shapes_of
from unetkit.legacy.configs.translation import PROGRAM, Draft, TrainingImages
from unetkit.legacy.configs.values import shown
from unetkit.legacy.configs.zoo_keys import ZooSettings
from unetkit.legacy.networks import MEDICAL, NESTED, SIMPLE, Architecture

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
    draft.set(settings.said(batch_key) + (f" x {ranks} processes" if ranks > 1 else ""), {"train.batch": batch * ranks})
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
    built = shapes_of(ModelConfig.model_validate_json(json.dumps(draft.tree["model"]))) if excluded else {}
    return sorted(name for name in excluded if name in built or "*" in name)
