"""plan: from what a data set is to how a network should be trained on it, every choice with its reason.

The rules are few and readable; what they start from are the presets that were measured on membranes and on nuclei. What
depends on the machine, the batch that fits and the steps that there is time for, is decided in `cost`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from unetkit.checks.check import make_checks
from unetkit.checks.checks import neighbours
from unetkit.checks.facts import Objects
from unetkit.checks.findings import DatasetFacts, examine
from unetkit.config import Config, load_config
from unetkit.config.text import write_inline
from unetkit.data.context import around_each
from unetkit.data.layouts import open_usable
from unetkit.data.split import stack_of, with_method
from unetkit.devices import choose_device
from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.evaluation.tune import tune
from unetkit.metrics import deciding_scores
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.report import report
from unetkit.reporting.text import chosen_lines, shown
from unetkit.run import Run, open_run, require_new
from unetkit.storage import is_remote
from unetkit.storage.atomic import atomic_write
from unetkit.training.cost import Choice, StepTime, fit_memory, fit_time, replaced, time_steps
from unetkit.training.own import Own
from unetkit.training.prepare import absolute_data_path
from unetkit.training.train import fit
from unetkit.version import __version__

_PATCH, _LARGEST_PATCH, _SMALLEST_PATCH, _STEP = 128, 256, 16, 16
_SMALL_OBJECT = 12.0  # px across: below it, pixels are not taken together
_LARGEST_REGION = 64.0  # px across: regions of a class that are not objects count no larger
_FEW_PX = 8  # objects are brought to about this many pixels at the coarsest level
_WIDTH, _WIDEST = 32, 256
_SEVERAL = 160  # px: patches up to this side go through the network by eight
_TOUCHING = 0.01
_FULL = 0.01  # share of the background below which objects fill the images
_OF_ACROSS, _WIDEST_BORDER = 20, 4  # the border class is this part of an object's width, and at most so many pixels
_SMALLEST_SHARE = 5  # percent of the labelled objects that may be taken for debris
_RARE = 0.08  # share of the pixels below which each class gets a Dice of its own
_FOLDS = 5
_FEW = 30  # images of the set that the default number of steps was measured on
MINUTES = 10.0
"""That `train_auto` trains for where nobody says how long."""

_TOLD = frozenset(
    {
        "data.classes",
        "data.border_width",
        "data.split.method",
        "model.downscale",
        "model.widths",
        "loss.cross_entropy",
        "loss.dice",
        "objects.min_size",
        "train.patch",
        "train.steps",
    }
)
"""Choices that are worth a line; the others are in the file."""

_ENOUGH_TO_TUNE = 2  # held-out images: one to choose numbers on and one to score them
_ALIGNED = 12  # images whose labels are compared with their edges


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train on a data set.

    Attributes:
        choices: every key that was decided on, with its reason.
        heading: what to know before it is used, a line each.
        timing: what a step was measured to take.
    """

    choices: tuple[Choice, ...]
    heading: tuple[str, ...]
    timing: StepTime

    @property
    def config(self) -> Config:
        """The configuration, as `train` takes it."""
        return _config(self.choices)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        timing = {"seconds": self.timing.fastest, "threads": self.timing.threads, "busy": self.timing.busy}
        timing |= {"by_threads": {str(count): taken for count, taken in self.timing.seconds.items()}}
        return {
            "choices": [asdict(choice) for choice in self.choices],
            "heading": list(self.heading),
            "step": timing | {"core_share": self.timing.share},
        }

    @property
    def yaml(self) -> str:
        """The configuration as text, each line with its reason, below the heading as comments."""
        lines, above = [f"# {line}".rstrip() for line in self.heading], list[str]()
        for choice in self.choices:
            *parents, last = choice.key.split(".")
            for depth, parent in enumerate(parents):
                if parents[: depth + 1] != above[: depth + 1]:
                    lines += [*([""] if depth == 0 else []), f"{'  ' * depth}{parent}:"]
            above = parents
            value = yaml.safe_dump(choice.value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
            lines.append(f"{'  ' * len(parents)}{last}: {value.removesuffix('...').strip()}  # {choice.reason}")
        return "\n".join(lines) + "\n"


def plan(
    data: str | Path,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    memory: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> TrainingPlan:
    """Decide how to train on a data set, by what it holds and what this machine can do.

    Args:
        data: a folder or a file with labels, whatever `train` takes.
        overrides: `key=value` texts that are kept as they are.
        minutes: that the training may take; None: steps by the number of images.
        memory: gigabytes that the training may take; None: half of what is free on the device.
        device: auto, cpu, cuda or mps.
        progress: follows the work.

    Raises:
        DataError: data that cannot be trained on.
        ConfigError, UsageError, DeviceError: an impossible request.

    Example:
        >>> print(unetkit.plan("path/to/data", minutes=10).yaml)
    """
    for name, value in {"minutes": minutes, "memory": memory}.items():
        if value is not None and value <= 0:
            raise UsageError(f"{name}={value:g}: a number above 0 was expected")
    asked = load_config({"data": {"path": absolute_data_path(data)}}, overrides)
    dataset = open_usable(data, config=asked.data)
    asked = with_method(asked, dataset)
    around_each(dataset, asked.model.context)  # refuses images that are no slices
    facts = examine(dataset, asked, aligned=_ALIGNED, progress=progress)
    make_checks(facts).require_sound()
    tested = set(facts.split.test)
    facts = replace(facts, images=tuple(one for one in facts.images if one.index not in tested))
    kept = [Choice(key, _value(asked, key), "as asked") for key in (word.partition("=")[0] for word in overrides)]
    chosen = replaced([choice for section in SECTIONS for choice in section(facts)], kept)
    # As a training holds them: channels as stored, and labels of a byte.
    resident = float(
        sum((np.dtype(one.dtype).itemsize * one.shape[0] + 1) * one.shape[1] * one.shape[2] for one in facts.images)
    )
    place = choose_device(device)
    chosen = replaced(chosen, fit_memory(_config(chosen), place, gigabytes=memory, resident=resident))
    timing = time_steps(_config(chosen), place)
    chosen = replaced(chosen, fit_time(_config(chosen), timing, minutes=minutes))
    chosen = replaced(chosen, kept)
    findings = make_checks(facts.under(_config(chosen), dataset)).lines()
    heading = (f"Written by unetkit {__version__}: unetkit train THIS_FILE --out RUN", *findings)
    return TrainingPlan(tuple(chosen), heading, timing)


def train_auto(
    data: str | Path,
    *,
    out: str | Path,
    overrides: Sequence[str] = (),
    minutes: float = MINUTES,
    memory: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Check a data set, plan its training, train, and choose thresholds on what was held out, in one go.

    The plan stands in the run folder as plan.yaml; predictions are made by the thresholds that were chosen.

    Args:
        data: a folder or a file with labels, whatever `train` takes.
        out: the run folder to make; it must be new or empty.
        overrides: `key=value` texts that are kept as they are.
        minutes: that the training may take here.
        memory: as of `plan`.
        device: auto, cpu, cuda or mps.
        progress: follows the work.

    Raises:
        DataError: data that cannot be trained on.
        ConfigError, UsageError, RunFolderError, DeviceError: an impossible request.
        DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> run = unetkit.train_auto("path/to/data", out="runs/first", minutes=10)
    """
    if not is_remote(out):
        require_new(Path(out))
    told = progress or NoProgress()
    made = plan(data, overrides=overrides, minutes=minutes, memory=memory, device=device, progress=progress)
    for choice in made.choices:
        if choice.key in _TOLD:
            told.log(f"plan: {choice.key}={write_inline(choice.value)}  {choice.reason}")
    config = load_config(made.config, [f"train.device={device}"])
    run = fit(config, out, own=Own.of(None, None), progress=told)
    if not launched_world().is_main_process:
        return run
    atomic_write(run.path / "plan.yaml", made.yaml)
    described: dict[str, Any] = run.read_json("data.json") or {}
    if len(described["validation"]) >= _ENOUGH_TO_TUNE:
        tuned = tune(run, keep=True, device=device, progress=progress)
        run = open_run(Path(out))
        for line in chosen_lines(tuned):
            told.log(line)
        names = deciding_scores(tuned.evaluation.scores, run.config.train.best_metric)
        halves = "  ".join(f"{name} {shown(tuned.evaluation.scores[name])}" for name in names[:4])
        told.log(f"held-out images, each half by what was chosen on the other: {halves}")
    report(run, progress=told)
    return run


def data_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose what is read of the data, and how its values are normalised."""
    data, first = facts.config.data, facts.images[0]
    yield Choice("data.path", data.path, f"{len(facts.images)} images: {facts.words()['sizes']}")
    yield Choice("data.classes", list(facts.classes), facts.words()["classes"])
    low, high = min(one.grey.low for one in facts.images), max(one.grey.high for one in facts.images)
    reason = f"{first.dtype} from {low:g} to {high:g}: mean 0 and deviation 1 fit any type and any light"
    yield Choice("data.normalization", "standardize", reason)
    if _touching(facts) >= _TOUCHING:
        reason = f"{100 * _touching(facts):.0f} % of the objects touch another one: a border class parts them"
        across = f"; a {_OF_ACROSS}th of the {_across(facts):.0f} px that they are across"
        width = int(np.clip(round(_across(facts) / _OF_ACROSS), 1, _WIDEST_BORDER))  # grows, so that it can be learned
        yield Choice("data.border_width", width, reason + across)


def split_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose what is held out: nothing that looks like what is trained on."""
    count = len(facts.images)
    stacks = {stack_of(one.name) for one in facts.images}
    if facts.config.data.split.method == "given":
        yield Choice("data.split.method", "given", "the data is divided by its makers")
    elif count < 2:
        yield Choice("data.split.method", "none", "a single image cannot be divided: no scores are to be had")
    elif 1 < len(stacks) < count:
        yield Choice("data.split.method", "stacks", f"slices of one of the {len(stacks)} stacks stay together")
        yield Choice("data.split.folds", min(_FOLDS, len(stacks)), "one part is held out")
    elif facts.config.data.split.method == "blocks" or any(True for _ in neighbours(facts)):
        yield Choice("data.split.method", "blocks", "slices of one stack: neighbours look alike and stay together")
        yield Choice("data.split.folds", min(_FOLDS, count), "one part is held out")
        yield Choice("data.split.fold", 0, "the first part: it has trained neighbours on one side only")
        return
    else:
        yield Choice("data.split.method", "shuffled", "images on their own: any of them may be held out")
        yield Choice("data.split.folds", min(_FOLDS, count), "one part is held out")
    if 2 <= count < _FOLDS:
        yield Choice("data.split.fold", 0, "the first of few")


def network_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose how deep and how wide the network is, by the size of the objects."""
    across, patch, channels = _across(facts), _patch_side(facts), facts.images[0].shape[0]
    downscale = 2 if across >= _SMALL_OBJECT and patch >= 64 else 1
    halvings = int(np.clip(np.ceil(np.log2(max(across, 1.0) / (_FEW_PX * downscale))) + 1, 2, 4))
    while halvings > 1 and patch < 4 * downscale * 2**halvings:
        halvings -= 1
    border = _touching(facts) >= _TOUCHING
    slices = facts.config.model.slices
    several = f", of {slices} slices that are seen together" if slices > 1 else ""
    yield Choice("model.in_channels", channels * slices, ("grey" if channels == 1 else "colour") + several)
    reason = "the classes" + (" and the border" if border else "")
    yield Choice("model.num_classes", len(facts.classes) + border, reason)
    fine = "small objects or patches: every pixel counts"
    coarse = "2 x 2 pixels at once: three times as fast, hardly coarser"
    yield Choice("model.downscale", downscale, fine if downscale == 1 else coarse)
    widths = [min(_WIDTH * 2**level, _WIDEST) for level in range(halvings + 1)]
    size = f"{across:.0f} px across" if across else "of unknown size"
    yield Choice("model.widths", widths, f"{halvings} halvings: labelled regions are {size}, patches {patch} px")
    yield Choice("model.decoder_convs", 1, "a light decoder: faster, and as good on membranes and nuclei")
    yield Choice("model.norm", "batch", "patches of one size and batches of several")


def augment_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose what images of this kind may go through and stay images of this kind."""
    photographs = _photographs(facts)
    yield Choice("augment.flip", True, "mirrored images are as likely")
    if photographs:
        yield Choice("augment.flip_axes", "columns", "many classes in colour: photographs have an up and a down")
    yield Choice(
        "augment.rotate90", not photographs, "photographs have an up" if photographs else "no direction is special"
    )
    sizes = [objects.areas for objects in _told_apart(facts) if len(objects.areas)]
    spread = np.percentile([np.median(areas) for areas in sizes], [10, 90]) if len(sizes) > 4 else np.ones(2)
    if spread[1] > 4 * spread[0]:
        reason = f"median areas differ from image to image: {spread[0]:.0f} to {spread[1]:.0f} px"
        yield Choice("augment.scale", [0.5, 1.5], reason)
    means = np.array([one.grey.mean for one in facts.images])
    if len(means) > 4 and means.std() > 0.5 * np.mean([one.grey.deviation for one in facts.images]):
        yield Choice("augment.brightness", 0.2, "the light differs from image to image")
        yield Choice("augment.contrast", 0.2, "the light differs from image to image")


def loss_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose the losses by the table in docs/planning.md: what serves by how rare the rarest class is.

    Class weights and the focal loss are never chosen: they cost calibration, and gain less than Dice or nothing.
    """
    shares = zip(facts.class_shares, facts.classes, strict=True)
    share, name = min((share, name) for share, name in shares if share > 0)
    rarest = f"the rarest class, {name}, has {100 * share:.3g} % of the pixels"
    yield Choice("loss.cross_entropy", 1, "gives probabilities that can be trusted")
    if share >= _RARE:
        yield Choice("loss.dice", 0, f"{rarest}: cross entropy alone serves, and keeps probabilities true")
    else:
        traded = "it can trade calibration, which the report measures"
        yield Choice("loss.dice", 1, f"{rarest}: Dice does not let it be forgotten; {traded}")
        yield Choice("loss.dice_form", "per-class", "each class has its own part, however small it is")


def optimizer_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose the optimizer of the presets, whatever the data."""
    measured = "as in the presets, where it was measured"
    values: dict[str, Any] = {"name": "muon", "lr": 0.04, "adamw_lr": 0.003, "momentum": 0.95, "betas": [0.9, 0.99]}
    reasons = {"name": "gets furthest in a given time on membranes and nuclei", "lr": "of the kernels, " + measured}
    for key, value in (values | {"weight_decay": 0.01, "warmup": 0.05}).items():
        yield Choice(f"optimizer.{key}", value, reasons.get(key, measured))


def train_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose patches, batch and steps, and the score that chooses the weights."""
    count = len(facts.images)
    usual = "x".join(map(str, np.median([one.shape[1:] for one in facts.images], axis=0).astype(int)))
    steps = int(np.clip(round(800 * np.sqrt(count / _FEW), -2), 400, 5000))
    yield Choice("train.patch", _patch_side(facts), f"images are {usual} px in the median")
    batch = 8 if _patch_side(facts) <= _SEVERAL else 4
    yield Choice("train.batch", batch, "enough for batch norm and for a smooth course")
    yield Choice("train.steps", steps, f"for {count} images")
    yield Choice("train.ema", 0.99, "the running average of the weights scores better than the last")
    if _touching(facts) >= _TOUCHING and facts.class_shares[0] < _FULL:
        reason = "objects fill the images: how they are told apart is what counts"
        yield Choice("train.best_metric", "aji", reason)
    else:
        yield Choice("train.best_metric", "foreground_dice", "every class counts alike, and the background not at all")


def predict_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose how images are predicted, where no direction is special."""
    if not _photographs(facts):
        reason = "the mean of all flips and turns scores better; false predicts eight times as fast"
        yield Choice("predict.tta", True, reason)


def object_choices(facts: DatasetFacts) -> Iterator[Choice]:
    """Choose how small an object may be, where the data tells objects apart."""
    if _told_apart(facts) and len(facts.areas):
        small = float(np.percentile(facts.areas, _SMALLEST_SHARE))
        reason = f"{100 - _SMALLEST_SHARE} % of the labelled objects have {small:.0f} px or more; half of it is allowed"
        yield Choice("objects.min_size", int(small // 2), reason)


SECTIONS: tuple[Callable[[DatasetFacts], Iterator[Choice]], ...] = (
    data_choices,
    split_choices,
    network_choices,
    augment_choices,
    loss_choices,
    optimizer_choices,
    train_choices,
    predict_choices,
    object_choices,
)
"""What follows from the data alone, in the order of the configuration."""


def _patch_side(facts: DatasetFacts) -> int:
    """Return the side of the patches: for two objects side by side, four where they touch, and within most images."""
    objects = 2 if _touching(facts) < _TOUCHING else 4
    wanted = int(-(-objects * _across(facts) // _STEP)) * _STEP
    usual = int(np.median([min(one.shape[1:]) for one in facts.images]))
    return max(min(min(max(_PATCH, wanted), _LARGEST_PATCH), usual // _STEP * _STEP), _SMALLEST_PATCH)


def _photographs(facts: DatasetFacts) -> bool:
    """Tell whether images have an up and a down: many classes in colour."""
    return len(facts.classes) > 3 and facts.images[0].shape[0] == 3


def _across(facts: DatasetFacts) -> float:
    """Return the diameter in pixels of a disk with the usual area of the objects; 0 without objects.

    Of objects that the data tells apart it is the median area. Regions of a class may be specks, or one net over the
    whole image: of them it is the area of the region that half of the labelled pixels are in or below, up to a limit.
    """
    areas = np.sort(facts.areas)
    if not len(areas):
        return 0.0
    if _told_apart(facts):
        return _diameter(float(np.median(areas)))
    together = areas.cumsum()
    return min(_diameter(float(areas[np.searchsorted(together, together[-1] / 2)])), _LARGEST_REGION)


def _diameter(area: float) -> float:
    return float(2 * np.sqrt(area / np.pi))


def _told_apart(facts: DatasetFacts) -> list[Objects]:
    """Return the objects of each image that tells them apart."""
    return [one.objects for one in facts.images if one.objects is not None and one.objects.touching is not None]


def _touching(facts: DatasetFacts) -> float:
    """Return the share of the objects that touch another one."""
    found = _told_apart(facts)
    return sum(one.touching or 0 for one in found) / max(sum(len(one.areas) for one in found), 1)


def _value(config: Config, key: str) -> Any:
    node: Any = config.model_dump(mode="json")
    for part in key.split("."):
        node = node[part]
    return node


def _config(chosen: Sequence[Choice]) -> Config:
    """Return the configuration of choices."""
    tree: dict[str, Any] = {}
    for choice in chosen:
        *parents, last = choice.key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = choice.value
    return load_config(tree)
