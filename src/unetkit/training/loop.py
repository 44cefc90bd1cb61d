"""The loop of a training: steps, log lines, validations, checkpoints, and every way it can end.

A line of the log holds the losses of some steps, or the scores of a validation. `train_seconds` counts the steps alone:
not imports, reading, validations or writing, which summary.json lists next to it. A signal that asks a training to stop
is kept until the step is done; a second one ends it at once. Does not know how a step or a score is computed.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import numpy as np
import torch

from unetkit.errors import DivergedError, InterruptedRun
from unetkit.evaluation.score import Evaluation
from unetkit.machine import ending_signals
from unetkit.metrics import better
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import Progress
from unetkit.run import Follow, Record, Run
from unetkit.training.step import StepResult, TrainStep


@dataclass
class StopRequest:
    """Whether a signal has asked to stop, and which."""

    signal_number: int = 0


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Keep signals that ask to end as a request inside the block; in the main thread, where Python handles them."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def take(number: int, frame: FrameType | None) -> None:
        if request.signal_number:
            if callable(handler := before[number]):
                handler(number, frame)
            raise KeyboardInterrupt
        request.signal_number = number

    before = {int(number): signal.signal(number, take) for number in ending_signals()}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Lines(Protocol):
    """What prints a training in another system's spelling; see `legacy.lines.TrainingLines`."""

    def begin(self) -> None:
        """Print what stands before the first step."""
        ...

    def steps(self, done: int, losses: Sequence[float], terms: Mapping[str, float], seconds: float) -> None:
        """Print some steps after the `done` first: each one's loss, the means of its terms, and how long they took."""
        ...

    def scored(self, step: int, scores: Mapping[str, float], file: Path) -> None:
        """Print a validation after `step`; `file` holds the best weights."""
        ...

    def end(self) -> None:
        """Print what stands after the last step."""
        ...


@dataclass
class TrainState:
    """Where a training stands; checkpoints keep it under the key `course`.

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
        self,
        run: Run,
        step: TrainStep,
        *,
        card: ModelCard,
        validate: Callable[[], Evaluation] | None,
        progress: Progress,
        lines: Lines | None = None,
    ) -> None:
        """Put together what a training consists of.

        Of the card of the checkpoints step, time and scores are filled in. `validate` scores the network as it is; None
        where nothing is held out. `lines` prints an older system's lines.
        """
        self.run, self.step, self.card, self.validate, self.progress = run, step, card, validate, progress
        self.lines = lines
        self.world, self.state = step.world, TrainState()
        self.follow: tuple[Follow, ...] = ()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this run, which is written again where the configuration was extended."""
        state = checkpoint.state
        weights, moments = checkpoint.training("weights"), checkpoint.training("optimizer")
        self.step.restore(checkpoint.weights(), weights, moments, state["scaler"])
        self.state = TrainState(**state["course"])
        if self.world.is_main_process and state.get("config") != self.run.config.model_dump(mode="json"):
            self.run.save_checkpoint(self.checkpoint())

    def go(self, stop: StopRequest) -> None:
        """Train to the last step.

        Raises:
            DivergedError: the loss is no longer a number.
            InterruptedRun: a signal asked to stop; the state is saved.
            StorageError: the disk did not take a checkpoint.
        """
        train, state = self.run.config.train, self.state
        every = {"log": train.log_every, "validation": train.validate_every, "checkpoint": train.checkpoint_every}
        pending: list[StepResult] = []
        if self.lines is not None:
            self.lines.begin()
        started = time.perf_counter()
        while state.step < train.steps and not self.out_of_patience:
            pending.append(self.step(state.step))
            state.step += 1
            at_the_end = state.step == train.steps
            due = {what for what, steps in every.items() if at_the_end or (steps and state.step % steps == 0)}
            stopped = stop.signal_number
            if self.world.size > 1:  # several processes agree on it where they meet anyway
                stopped = self.world.any(stopped) if "log" in due else 0
            if not due and not stopped:
                continue
            self._measure(pending, started, write="log" in due)
            if "validation" in due and state.step >= train.validate_from:
                self._validate()
            if ("checkpoint" in due or stopped or self.out_of_patience) and self.world.is_main_process:
                begun = time.perf_counter()
                self.run.save_checkpoint(self.checkpoint())
                self.run.send(warn=lambda text: self.progress.log(f"warning: {text}"))
                state.spent["checkpoints"] += time.perf_counter() - begun
            if stopped:
                raise InterruptedRun(
                    f"stopped at step {state.step} of {train.steps}, nothing is lost; "
                    f"go on with: unetkit train --resume {self.run.place}",
                    stopped,
                )
            started = time.perf_counter()
        if self.lines is not None:
            self.lines.end()

    @property
    def out_of_patience(self) -> bool:
        """Whether `train.patience` validations have brought nothing better."""
        patience = self.run.config.train.patience
        return patience is not None and self.state.waited >= patience

    def checkpoint(self) -> Checkpoint:
        """Return everything that is needed to go on from here."""
        state = self.state
        scores = state.scores if state.scored_step == state.step else {}
        card = self.card.model_copy(update={"step": state.step, "train_seconds": state.train_seconds, "scores": scores})
        config = self.run.config.model_dump(mode="json")
        kept = {"course": asdict(state), "scaler": self.step.scalars(), "config": config}
        return Checkpoint(card=card, tensors=self.step.tensors(), state=kept)

    def _measure(self, pending: list[StepResult], started: float, *, write: bool) -> None:
        """Wait for the steps since the last time, add up how long they took, and require finite losses."""
        state, config = self.state, self.run.config
        names = ["loss", *pending[-1].terms]
        measured = torch.stack([torch.stack([result.loss, *result.terms.values()]) for result in pending])
        mean = np.mean(self.world.gather(measured.cpu().numpy()), 0)
        seconds = time.perf_counter() - started
        state.train_seconds += seconds
        for step, loss in enumerate(mean[:, 0].tolist(), state.step - len(pending) + 1):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} at step {step}: the training diverged; try a lower optimizer.lr "
                    f"(now {config.optimizer.lr}) or train.precision=float32; "
                    f"the last good checkpoint stands in {self.run.place}"
                )
        record: Record = {"step": state.step, "train_seconds": round(state.train_seconds, 4)}
        record |= dict(zip(names, mean.mean(0).tolist(), strict=True))
        record |= {"lr": pending[-1].lr, "images_per_second": round(len(pending) * config.train.batch / seconds, 2)}
        if self.lines is not None:
            terms = {name: record[name] for name in names[1:]}
            self.lines.steps(state.step - len(pending), mean[:, 0].tolist(), terms, seconds)
        if write:
            self._log(record)
        figures = {"loss": f"{record['loss']:.4f}", "images/s": f"{record['images_per_second']:.3g}"}
        metric = config.train.best_metric
        figures |= {metric: f"{state.scores[metric]:.4f}"} if metric in state.scores else {}
        self.progress.update(state.step, config.train.steps, figures)
        pending.clear()

    def _validate(self) -> None:
        """Score the network as it is, and keep its weights where they are the best so far."""
        if self.validate is None:
            return
        begun = time.perf_counter()
        evaluation = self.validate()
        seconds = time.perf_counter() - begun
        state, metric = self.state, self.run.config.train.best_metric
        state.spent["validation"] += seconds
        state.scores, state.scored_step = dict(evaluation.scores), state.step
        timing = {"train_seconds": round(state.train_seconds, 4), "validation_seconds": round(seconds, 4)}
        self._log({"step": state.step} | timing | state.scores)
        value = state.scores.get(metric, math.nan)
        if self.lines is not None:
            self.lines.scored(state.step, state.scores, self.run.best)
        self.progress.log(f"step {state.step}  train {state.train_seconds:.1f} s  {metric} {value:.4f}")
        state.waited += 1
        if state.best is None or better(metric, value, state.best[0]):
            state.best, state.waited = (value, state.step), 0
            if self.world.is_main_process:
                self.checkpoint().for_prediction().save(self.run.best)

    def _log(self, record: Record) -> None:
        if self.world.is_main_process:
            self.run.append_log(record)
            for follow in self.follow:
                follow(record)
