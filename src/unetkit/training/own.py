"""A loss and metrics of a user's own in a training: tried before it starts, recorded in its folder, recognised again.

A run keeps name, module, source and SHA-256 of every function in `functions.json`. Going on with it takes the same
functions again: one that is missing, or whose source differs, is refused. What a function reads from outside of itself,
such as a global variable, is not part of its source and is not checked.
"""

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from unetkit.data import Dataset
from unetkit.errors import ConfigError, UsageError
from unetkit.metrics import MetricFunction, Metrics, Prediction, own_functions
from unetkit.metrics.families import own_scores
from unetkit.run import OWN_FUNCTIONS, Record, Run
from unetkit.training.losses import LossFunction, checked_loss


@dataclass(frozen=True, slots=True)
class Own:
    """The functions of a training.

    Attributes:
        loss: takes the place of the terms of the section `loss`; None: those are used.
        metrics: by the names of their scores.
    """

    loss: LossFunction | None = None
    metrics: Mapping[str, MetricFunction] = field(default_factory=dict[str, MetricFunction])

    @classmethod
    def of(cls, loss: LossFunction | None, metrics: Mapping[str, MetricFunction] | None) -> "Own":
        """Take functions whose names are fit and whose source can be read.

        Raises:
            UsageError: one is not.
        """
        own = cls(loss, own_functions(metrics))
        for _ in own.records():
            pass
        return own

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield what a run keeps of every function, by `loss` or `metrics.NAME`."""
        named: dict[str, Any] = {} if self.loss is None else {"loss": self.loss}
        for place, function in (named | {f"metrics.{name}": one for name, one in self.metrics.items()}).items():
            yield place, _record(place, function)

    def notes(self) -> list[str]:
        """Say what the configuration does not."""
        if self.loss is None:
            return []
        name = self.loss.__name__
        return [f"note: the loss is {name}; loss.cross_entropy, .dice, .dice_form and .focal are not used"]

    def try_out(self, held_out: Dataset, classes: int) -> None:
        """Call every function once, so that a mistake in it ends a training before anything is written.

        Metrics are tried on the first held-out image, the loss for a network of so many classes.

        Raises:
            UsageError: a function returns what it should not.
        """
        if self.loss is not None:
            logits = torch.zeros(2, classes, 32, 32, requires_grad=True)
            checked_loss(self.loss, logits, torch.zeros(2, 32, 32, dtype=torch.int64), None)
        if self.metrics and len(held_out):
            sample, count = held_out[0], len(held_out.classes)
            assert sample.labels is not None
            even = np.full((count, *sample.labels.shape), 1 / count, np.float32)
            one = Prediction(sample.name, held_out.classes, sample.labels, even, even, valid=sample.valid)
            own_scores(one, Metrics().with_own(self.metrics))

    def write(self, run: Run) -> None:
        """Record the functions in a run's folder, where there are any."""
        if records := dict(self.records()):
            run.write_json(OWN_FUNCTIONS, records)

    def require_recorded(self, run: Run) -> None:
        """Require that these are the functions that a run was trained with.

        Raises:
            ConfigError: one is missing, was not there before, or has another source.
        """
        known: dict[str, Record] = run.read_json(OWN_FUNCTIONS) or {}
        given = dict(self.records())
        call = f"unetkit.resume({run.place!r}, loss=..., metrics={{...}})"
        for place in known.keys() - given.keys():
            name = known[place]["name"]
            raise ConfigError(f"{run.place}: was trained with a {place} of its own, {name}; give it in Python: {call}")
        for place in given.keys() - known.keys():
            raise ConfigError(f"{run.place}: was trained without {place}; leave it out, or train a new run with it")
        for place, record in given.items():
            if record["sha256"] != known[place]["sha256"]:
                raise ConfigError(
                    f"{run.place}: the source of {place} ({record['name']}) differs from what the run was trained "
                    f"with, which {run.path / OWN_FUNCTIONS} holds; bring that back, or train a new run"
                )


def _record(place: str, function: Callable[..., Any]) -> Record:
    if not inspect.isfunction(function):
        kind = type(function).__name__
        raise UsageError(f"{place}: found {kind}; expected a plain function, which may call anything: def f(...): ...")
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:
        raise UsageError(
            f"{place}: the source of {function.__name__} cannot be read; define it in a file or in a notebook, so that "
            "the run can record it"
        ) from None
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return {"name": function.__qualname__, "module": function.__module__, "sha256": sha256, "source": source}
