"""What a training costs on this machine, found by a few of its steps, and a plan fitted to it: batch, patch and steps.

The bytes are those that a step keeps for its gradients, counted while it runs; what single operations take besides is
allowed for by a factor. Assumes that patches of noise cost what real ones cost. Does not know what the data is.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unetkit.config import Config
from unetkit.data.dataset import InMemory, Sample
from unetkit.data.normalize import Normalization
from unetkit.devices import choose_precision, cpu_threads, free_memory
from unetkit.distributed import World
from unetkit.errors import UsageError
from unetkit.machine import available_cores, keep_freed_memory
from unetkit.training.patches import PixelStore
from unetkit.training.step import TrainStep

_SCRATCH = 1.5  # intermediate gradients and scratch space, in units of what is kept
_COPIES = 5  # of the weights: themselves, their gradients, two moments, the running average
_ALIKE, _SPREAD = 3, 1.15  # so many steps in a row within so much are stable
_HOPELESS = 2.0  # times as long as with other threads is not measured again
_QUIET = 0.85  # of a core that a thread gets on a quiet machine
_SHARE = 0.5  # of the free memory: validation, other programs and fragments need some, too
_SMALLEST_PART, _SMALLEST_PATCH = 2, 16  # batch norm needs several values of every channel
_IN_STEPS = 0.85  # of the time: the rest is for reading, validations and the report
_FEWEST, _MOST = 20, 50_000
_VALIDATIONS = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """A key of the configuration, its value, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What a training step takes.

    Attributes:
        fixed: bytes for the weights and what belongs to them.
        patch: bytes for every patch that goes through the network at once.
    """

    fixed: float
    patch: float

    def patches(self, budget: float) -> int:
        """Return how many patches fit into a number of bytes."""
        return max(0, int((budget - self.fixed) // self.patch))


def memory_of(config: Config, device: torch.device) -> Memory:
    """Take one step with two patches and count what it keeps; channels and classes are numbers in the configuration."""
    train = config.train.model_copy(update={"batch": 2, "accumulate": 1})
    step = _noise_step(config.model_copy(update={"train": train}), device)
    weights = {weight.untyped_storage().data_ptr(): weight.nbytes for weight in step.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(0)
    return Memory(_COPIES * sum(weights.values()), _SCRATCH * sum(kept.values()) / 2)


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long a training step takes now.

    Attributes:
        seconds: of a step, the median, by the number of CPU threads.
        share: of a core that a single thread got while it was measured; 1 on a quiet machine, None on other devices.
        stable: the last steps took alike, to 15 %.
    """

    seconds: dict[int, float]
    share: float | None
    stable: bool

    @property
    def threads(self) -> int:
        """The number of CPU threads with which a step is fastest."""
        return min(self.seconds, key=lambda count: self.seconds[count])

    @property
    def fastest(self) -> float:
        """Seconds of a step with these threads."""
        return self.seconds[self.threads]

    @property
    def busy(self) -> bool:
        """Whether other programs took much of the machine."""
        return not self.stable or (self.share is not None and self.share < _QUIET)

    def words(self) -> str:
        """Say what was measured, in a line."""
        each = ", ".join(f"{_duration(taken)} with {count}" for count, taken in sorted(self.seconds.items()))
        threads = f" (CPU threads: {each})" if len(self.seconds) > 1 else ""
        if not self.busy:
            return f"a step takes {_duration(self.fastest)} here{threads}"
        quiet = ""
        if self.share is not None and self.share < _QUIET and 1 in self.seconds:
            alone = _duration(self.seconds[1] * self.share)
            quiet = f": one thread got {100 * self.share:.0f} % of a core, and would take {alone} alone"
        return f"a step takes {_duration(self.fastest)} now{threads}; the machine is busy{quiet}"


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def time_steps(config: Config, device: torch.device, *, longest: float = 20.0) -> StepTime:
    """Time steps until they take alike, on a CPU with one thread and with more in turn, after one that warms up.

    Channels and classes are numbers in the configuration; `train.threads` is kept where it is given. After `longest`
    seconds the times are taken as they are.
    """
    keep_freed_memory()
    cores = config.train.threads or available_cores()
    counts = [cores] if device.type != "cpu" or config.train.threads else sorted({1, (cores + 1) // 2, cores})
    spent, shares = {count: list[float]() for count in counts}, list[float]()
    with torch.random.fork_rng(), cpu_threads(cores):
        step, number, begun = _noise_step(config, device), 0, time.perf_counter()
        while True:
            for count in counts:
                torch.set_num_threads(count)
                wall, own = time.perf_counter(), time.process_time()
                float(step(number).loss)  # waits for the device
                spent[count].append(time.perf_counter() - wall)
                if count == 1 and device.type == "cpu":
                    shares.append((time.process_time() - own) / spent[count][-1])
                number += 1
            counts = [count for count in counts if spent[count][-1] < _HOPELESS * min(spent[one][-1] for one in counts)]
            last = min((spent[count][1:][-_ALIKE:] for count in counts), key=sum)
            stable = len(last) == _ALIKE and max(last) < _SPREAD * min(last)
            if stable or (last and time.perf_counter() - begun > longest):
                break
    seconds = {count: statistics.median(times[1:] or times) for count, times in spent.items()}
    return StepTime(seconds, statistics.median(shares) if shares else None, stable)


def _noise_step(config: Config, device: torch.device) -> TrainStep:
    """Return the step of a configuration on one image of noise."""
    channels, classes = config.model.in_channels, config.model.num_classes
    assert channels is not None
    assert classes is not None
    rng = np.random.default_rng(0)
    rows, columns = config.train.sides
    labels = rng.integers(0, max(classes, 2), (rows, columns)).astype(np.uint16)
    noise = Sample("noise", rng.integers(0, 255, (channels, rows, columns), np.uint8), labels)
    loss = config.loss.model_copy(update={"class_weights": None, "border_weight": 0.0})
    train = config.train.model_copy(update={"compile": False, "steps": max(config.train.steps, 100)})
    names = tuple(map(str, range(max(classes, 2))))
    store = PixelStore.of(InMemory((noise,), names), Normalization((127.0,) * channels, (64.0,) * channels), device)
    with torch.random.fork_rng():
        return TrainStep(
            config.model_copy(update={"loss": loss, "train": train}),
            store,
            choose_precision(config.train.precision, device),
            World(),
        )


def fit_memory(config: Config, device: torch.device, *, gigabytes: float | None, resident: float) -> list[Choice]:
    """Return the patch, the batch and the parts it is taken in so that a training fits the memory.

    Without `gigabytes` that is half of what is free. The training images take `resident` bytes of it.

    Raises:
        UsageError: not even two of the smallest patches fit.
    """
    budget = gigabytes * 1e9 if gigabytes is not None else _SHARE * free_memory(device)
    allowed = "as asked" if gigabytes is not None else "half of what is free"
    allowed = f"{budget / 1e9:.2g} GB on {device.type}, {allowed}"
    batch, planned = config.train.batch, min(config.train.sides)
    side = planned
    while True:
        train = config.train.model_copy(update={"patch": side})
        cost = memory_of(config.model_copy(update={"train": train}), device)
        most = cost.patches(budget - resident)
        # The fewest equal parts of a batch that fit.
        parts = next((n for n in range(1, batch + 1) if batch % n == 0 and _SMALLEST_PART <= batch // n <= most), 0)
        if parts:
            break
        if side <= _SMALLEST_PATCH:
            needed = (cost.fixed + 2 * cost.patch + resident) / 1e9
            raise UsageError(
                f"a training needs {needed:.2g} GB with two patches of {side} px at once, but may take {allowed}; give "
                "more with --memory, or a smaller network: model.widths=[16,32,64]"
            )
        side = max(_SMALLEST_PATCH, side // 2 // _SMALLEST_PATCH * _SMALLEST_PATCH)
    taken = (cost.fixed + cost.patch * batch / parts) / 1e9
    reason = f"{cost.patch / 1e6:.3g} MB a patch, {taken:.2g} GB in all were measured; there are {allowed}"
    found = [Choice("train.batch", batch, reason)]
    if parts > 1:
        found.append(Choice("train.accumulate", parts, f"{batch // parts} patches at once fit the memory"))
    if side < planned:
        found.append(Choice("train.patch", side, f"{planned} px would not fit the memory"))
    return found


def fit_time(config: Config, timing: StepTime, *, minutes: float | None) -> list[Choice]:
    """Return the steps that fill the minutes, or what the planned ones take, and how often to validate."""
    seconds = timing.fastest
    steps, why = config.train.steps, ""
    if minutes is not None:
        fitting = minutes * 60 * _IN_STEPS / seconds
        steps = int(min(max(float(f"{fitting:.2g}"), _FEWEST), _MOST))
        why = f"fill {minutes:g} minutes, reading and validations included: "
    total = steps * seconds
    shown = f"{total:.0f} s" if total < 120 else f"{total / 60:.0f} min"
    reason = f"{why}{timing.words()}; all of them {shown}"
    every = max(1, steps // _VALIDATIONS)
    return [
        Choice("train.steps", steps, reason),
        Choice("train.validate_every", every, f"{_VALIDATIONS} times"),
        Choice("train.checkpoint_every", every, "as often: no more than that is lost"),
    ]


def replaced(chosen: list[Choice], new: list[Choice]) -> list[Choice]:
    """Return the choices with new ones in the places of the same keys, or at the end of their sections."""
    by_key: Mapping[str, Choice] = {choice.key: choice for choice in new}
    result = [by_key.get(choice.key, choice) for choice in chosen]
    for choice in new:
        if choice.key not in {one.key for one in chosen}:
            section = choice.key.rpartition(".")[0]
            places = [place for place, one in enumerate(result) if one.key.rpartition(".")[0] == section]
            result.insert(places[-1] + 1 if places else len(result), choice)
    return result
