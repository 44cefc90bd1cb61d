"""The course of a training: steps, log lines, validations, checkpoints, and every way it can end.

A line of the log is a step's loss, or a validation's scores. `train_seconds` counts the steps alone: not imports,
reading, validations or writing, which the last line reports beside it.

Signals that ask a training to stop are kept until the step is done; a second one ends it at once.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType

import numpy as np
import torch

from unetkit.errors import DivergedError, InterruptedRun
from unetkit.evaluation.score import Evaluation
from unetkit.metrics import better
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import Progress
from unetkit.reporting.tensorboard import Follow
from unetkit.run import Record, Run
from unetkit.training.step import StepResult, TrainStep


class StopRequest:
    """Whether a signal has asked to stop, and which."""

    def __init__(self) -> None:
        """Start without a request."""
        self.signal_number: int | None = None

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Listen to SIGINT and SIGTERM inside the block; outside the main thread nothing can be listened to."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._take) for number in (signal.SIGINT, signal.SIGTERM)}  # pyright: ignore[reportPrivateUsage] same module
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Validate = Callable[[], Evaluation]


@dataclass
class TrainState:
    """Where a training stands.

    Attributes:
        step: updates done.
        train_seconds: time spent in them.
        best: the best value so far of the metric that chooses, and its step.
        scores: of the last validation.
        scored_step: the step of the last validation.
        waited: validations since the best.
        spent: seconds spent on other things, by their name.
    """

    step: int = 0
    train_seconds: float = 0.0
    best: tuple[float, int] | None = None
    scores: dict[str, float] = field(default_factory=dict[str, float])
    scored_step: int = 0
    waited: int = 0
    spent: dict[str, float] = field(default_factory=lambda: {"validation": 0.0, "checkpoints": 0.0})


class Trainer:
    """One training, from where it stands to its end."""

    def __init__(
        self, run: Run, session: TrainStep, *, card: ModelCard, validate: Validate | None, progress: Progress
    ) -> None:
        """Bind the run folder, the session, and what a checkpoint says of itself.

        Args:
            run: where everything is written.
            session: what is trained.
            card: of the checkpoints; step, time and scores are filled in.
            validate: scores the network as it is; None where nothing is held out.
            progress: follows the work.
        """
        self.run, self.session, self.card, self.validate, self.progress = run, session, card, validate, progress
        self.world = session.world
        self.course = TrainState()
        self.follow: Follow = lambda record: None

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this run."""
        state = checkpoint.state
        weights, moments = checkpoint.training("weights"), checkpoint.training("optimizer")
        self.session.restore(checkpoint.weights(), weights, moments, state["scaler"])
        self.course = TrainState(**state["course"])

    def go(self, stop: StopRequest) -> None:
        """Train to the last step.

        Raises:
            DivergedError: the loss is no longer a number.
            InterruptedRun: a signal asked to stop; the state is saved.
            StorageError: the disk did not take a checkpoint.
        """
        train, course = self.run.config.train, self.course
        pending: list[StepResult] = []
        started = time.perf_counter()
        while course.step < train.steps and not self._impatient():
            pending.append(self.session.step(course.step))
            course.step += 1
            due = {name: self._due(every) for name, every in self._cadence().items()}
            stopped = self._stopped(stop, due["log"])
            if not any(due.values()) and not stopped:
                continue
            self._read(pending, started, write=due["log"])
            if due["validation"] and course.step >= train.validate_from:
                self._validation()
            if due["checkpoint"] or stopped or self._impatient():
                self._checkpoint()
            if stopped:
                raise InterruptedRun(
                    f"stopped at step {course.step} of {train.steps}, nothing is lost; "
                    f"go on with: unetkit train --resume {self.run.place}",
                    stopped,
                )
            started = time.perf_counter()

    def _stopped(self, stop: StopRequest, together: bool) -> int:
        """Return the signal that ends the run now, or 0. Several processes agree on it where they meet anyway."""
        if self.world.size == 1:
            return stop.signal_number or 0
        return self.world.any(stop.signal_number or 0) if together else 0

    def _impatient(self) -> bool:
        patience = self.run.config.train.patience
        return patience is not None and self.course.waited >= patience

    def _cadence(self) -> dict[str, int | None]:
        train = self.run.config.train
        return {"log": train.log_every, "validation": train.validate_every, "checkpoint": train.checkpoint_every}

    def _due(self, every: int | None) -> bool:
        at_the_end = self.course.step == self.run.config.train.steps
        return at_the_end or (every is not None and self.course.step % every == 0)

    def _read(self, pending: list[StepResult], started: float, *, write: bool) -> None:
        """Wait for the steps since the last reading, take their time, and look whether their losses are numbers."""
        names = ["loss", *pending[-1].terms]
        measured = torch.stack([torch.stack([result.loss, *result.terms.values()]) for result in pending])
        mean = np.mean(self.world.gather(measured.cpu().numpy()), 0)
        seconds = time.perf_counter() - started
        self.course.train_seconds += seconds
        self._require_numbers(mean[:, 0].tolist())
        train, course = self.run.config.train, self.course
        record: Record = {"step": course.step, "train_seconds": round(course.train_seconds, 4)}
        record |= dict(zip(names, mean.mean(0).tolist(), strict=True))
        record |= {"lr": pending[-1].lr, "images_per_second": round(len(pending) * train.batch / seconds, 2)}
        if write:
            self._log(record)
        self.progress.update(course.step, train.steps, self._figures(record))
        pending.clear()

    def _log(self, record: Record) -> None:
        if self.world.is_main_process:
            self.run.append_log(record)
            self.follow(record)

    def _require_numbers(self, losses: list[float]) -> None:
        for step, loss in enumerate(losses, self.course.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} at step {step}: the training diverged; try a lower optimizer.lr "
                    f"(now {self.run.config.optimizer.lr}) or train.precision=float32; "
                    f"the last good checkpoint stands in {self.run.place}"
                )

    def _figures(self, record: Record) -> dict[str, str]:
        figures = {"loss": f"{record['loss']:.4f}", "images/s": f"{record['images_per_second']:.3g}"}
        metric = self.run.config.train.best_metric
        return figures | ({metric: f"{self.course.scores[metric]:.4f}"} if metric in self.course.scores else {})

    def _validation(self) -> None:
        if self.validate is None:
            return
        begun = time.perf_counter()
        evaluation = self.validate()
        seconds = time.perf_counter() - begun
        course, metric = self.course, self.run.config.train.best_metric
        course.spent["validation"] += seconds
        course.scores, course.scored_step = dict(evaluation.scores), course.step
        timing = {"train_seconds": round(course.train_seconds, 4), "validation_seconds": round(seconds, 4)}
        self._log({"step": course.step} | timing | course.scores)
        value = course.scores[metric]
        self.progress.log(f"step {course.step}  train {course.train_seconds:.1f} s  {metric} {value:.4f}")
        course.waited += 1
        if course.best is None or better(metric, value, course.best[0]):
            course.best, course.waited = (value, course.step), 0
            if self.world.is_main_process:
                self._snapshot().for_prediction().save(self.run.best)

    def _checkpoint(self) -> None:
        if not self.world.is_main_process:
            return
        begun = time.perf_counter()
        self.run.save_checkpoint(self._snapshot())
        self.run.send(warn=self._warn)
        self.course.spent["checkpoints"] += time.perf_counter() - begun

    def _warn(self, text: str) -> None:
        self.progress.log(f"warning: {text}")

    def _snapshot(self) -> Checkpoint:
        course = self.course
        scores = course.scores if course.scored_step == course.step else {}
        card = self.card.model_copy(
            update={"step": course.step, "train_seconds": course.train_seconds, "scores": scores}
        )
        state = {"course": asdict(course), "scaler": self.session.scalars()}
        return Checkpoint(card=card, tensors=self.session.tensors(), state=state)

    def save_last(self) -> None:
        """Write the weights of the last step for prediction."""
        if self.world.is_main_process:
            self._snapshot().for_prediction().save(self.run.last)
