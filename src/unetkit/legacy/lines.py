"""The lines that the older systems print while they train and evaluate, in their own spelling, for whoever greps them.

A training hands over what it knows (`TrainingLines`); an evaluation is a list of lines (`evaluation_lines`). Numbers
are written as those programs write them: MindSpore's loss as a float32, OneFlow's with six decimals. TensorFlow's lines
are in the form that its parse_results.py reads. Does not know how anything is computed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from unetkit.storage.atomic import atomic_write

System = Literal["mindspore", "mindspore-course", "tensorflow", "oneflow"]
_OF_MINDSPORE: tuple[System, ...] = ("mindspore", "mindspore-course")  # the model zoo, and the course before it
LOSSES = "Unet_train.txt"
"""The file of OneFlow's training: the mean loss of every epoch, a line each."""


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What the lines of a training say of it.

    Attributes:
        batch: images of a step of one process.
        epoch: steps of an epoch.
        metric: the score that chooses the best weights.
        device: where it computes, such as cuda.
        folder: for the files that the system writes; None: it writes none, as another process does.
    """

    batch: int
    epoch: int
    metric: str
    device: str
    folder: Path | None


@dataclass(slots=True)
class TrainingLines:
    """The lines of one training, as they become due.

    Attributes:
        system: whose lines.
        facts: what they say of the training.
        log: takes each line.
        losses: of the epoch so far.
        spent: seconds of the epoch so far.
        best: the best score so far, and its epoch.
    """

    system: System
    facts: TrainingFacts
    log: Callable[[str], None]
    losses: list[float] = field(default_factory=list[float])
    spent: float = 0.0
    best: tuple[float, int] | None = None

    def begin(self) -> None:
        """Print what stands before the first step."""
        if self.system in _OF_MINDSPORE:
            self.log(f"dataset length is: {self.facts.epoch}")
            self.log("============== Starting Training ==============")
        elif self.system == "oneflow":
            self.log(f"Using {self.facts.device} device")

    def steps(self, done: int, losses: Sequence[float], terms: Mapping[str, float], seconds: float) -> None:
        """Print steps after the first `done`, and the epochs that end with one; terms are means over the steps."""
        each = seconds / len(losses)
        for step, loss in enumerate(losses, done):
            self.losses.append(loss)
            self.spent += each
            if self.system in _OF_MINDSPORE:
                number = step % self.facts.epoch + 1
                self.log(f"step: {number}, loss is {np.float32(loss)!s}, fps is {self.facts.batch / each}")
            if (step + 1) % self.facts.epoch == 0:
                self._epoch(step // self.facts.epoch)
        if self.system == "tensorflow":
            values = {f"train_{ours}": terms[key] for key, ours in _TERMS.items() if key in terms}
            self.log(_dll(f"({done + len(losses)},)", values | {"train_total_loss": float(np.mean(losses))}))

    def _epoch(self, number: int) -> None:
        """Print the end of an epoch, numbered from 0."""
        mean, count = float(np.mean(self.losses)), len(self.losses)
        if self.system == "mindspore":
            speed = self.facts.batch * count / self.spent
            cost = f"total cost: {self.spent:.3f} s, per step fps:{speed:5.3f}"
            self.log(f"epoch: {number + 1:3d}, avg loss:{mean:.4f}, {cost}")
        elif self.system == "oneflow":
            self.log(f"epoch: {number:d} avg loss: {mean:f} time:{int(self.spent):d} s")
            if self.facts.folder is not None:
                path = self.facts.folder / LOSSES
                before = path.read_text().splitlines()[:number] if path.is_file() else []
                atomic_write(path, "".join(f"{line}\n" for line in [*before, f"{mean:.4f}"]))
        self.losses.clear()
        self.spent = 0.0

    def scored(self, step: int, scores: Mapping[str, float], file: Path) -> None:
        """Print a validation after `step`; `file` holds the best weights."""
        if self.system != "mindspore":
            return
        metric = self.facts.metric
        value, epoch = scores[metric], -(-step // self.facts.epoch)
        self.log(f"epoch: {epoch}, {_eval_name(metric)}: {value}")
        if self.best is None or value >= self.best[0]:
            self.best = value, epoch
            self.log(f"update best result: {value}")
            self.log(f"update best checkpoint at: {file}")

    def end(self) -> None:
        """Print what stands after the last step."""
        if self.system in _OF_MINDSPORE:
            if self.best is not None:
                name, (value, epoch) = _eval_name(self.facts.metric), self.best
                self.log(f"End training, the best {name} is: {value}, the best {name} epoch is {epoch}")
            self.log("============== End Training ==============")


def evaluation_lines(
    system: System, images: Sequence[Mapping[str, float]], scores: Mapping[str, float], metric: str, *, own_size: bool
) -> Iterator[str]:
    """Yield the lines of an evaluation; none for a system that prints none.

    `metric`, which the configuration asks for, says which form of Dice is printed: at the image's own size where that
    is wanted, else at the size that the network reads, where there is such a score.
    """
    if system == "tensorflow":
        form = _form("soft_dice_class_mean", scores, own_size=own_size)
        entropy = _form("soft_cross_entropy", scores, own_size=own_size)
        if form in scores and entropy in scores:
            ce, dice = scores[entropy], scores[form]
            values = {"eval_ce_loss": ce, "eval_dice_loss": 1 - dice, "eval_total_loss": ce + 1 - dice}
            yield _dll("()", values | {"eval_dice_score": dice})
    if system not in _OF_MINDSPORE:
        return
    known = metric if "_dice_" in metric or "_iou_" in metric else "soft_dice_two_class"
    dice = _form(known.replace("_iou_", "_dice_"), scores, own_size=own_size)
    iou = dice.replace("_dice_", "_iou_")
    if dice not in scores or iou not in scores:
        return
    yield "============== Starting Evaluating ============"
    if system == "mindspore-course":
        yield from (f"single dice coeff is: {image[dice]}" for image in images)
        yield f"Cross valid dice coeff is: { ({'dice_coeff': scores[dice]}) }"
        return
    for image in images:
        yield f"single dice coeff is: {image[dice]}, IOU is: {image[iou]}"
    yield f"============== Cross valid dice coeff is: {scores[dice]}"
    yield f"============== Cross valid IOU is: {scores[iou]}"


_TERMS = {"cross_entropy": "ce_loss", "dice_loss": "dice_loss"}


def _form(name: str, scores: Mapping[str, float], *, own_size: bool) -> str:
    """Return the name of a score at the size that the network reads, where there is one and it is wanted."""
    small = (other for other in scores if other.startswith((f"{name}_388", f"{name}_at_")))
    return name if own_size else next(small, name)


def _eval_name(metric: str) -> str:
    return "IOU" if "iou" in metric else "dice_coeff"


def _dll(step: str, values: Mapping[str, float]) -> str:
    """Return a line as NVIDIA's logger writes it to standard output."""
    now = datetime.fromtimestamp(time.time())
    return f"DLL {now} - {step} " + " ".join(f"{name}:{value} " for name, value in values.items())
