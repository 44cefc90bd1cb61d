"""What a training costs on this machine, found by a few of its steps: bytes for every patch, and seconds a step.

The bytes are those that a step keeps for its gradients, counted while it runs; what single operations take on the side
is allowed for by a factor. Assumes that patches of noise cost what real ones cost.
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unetkit.config import Config
from unetkit.data.normalize import Normalization
from unetkit.data.sample import Sample
from unetkit.data.store import PixelStore
from unetkit.devices import choose_precision, keep_freed_memory
from unetkit.distributed import World
from unetkit.training.session import Session

_ON_THE_SIDE = 1.5  # gradients in passing and scratch space, in units of what is kept
_COPIES = 5  # of the weights: themselves, their gradients, two moments, the running average
_TIMED = 3


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
    """Take one step with two patches and count what it keeps.

    Args:
        config: with channels and classes as numbers.
        device: where to compute.
    """
    train = config.train.model_copy(update={"batch": 2, "accumulate": 1})
    session = _session(config.model_copy(update={"train": train}), device)
    weights = {weight.untyped_storage().data_ptr(): weight.nbytes for weight in session.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        session.step(0)
    return Memory(_COPIES * sum(weights.values()), _ON_THE_SIDE * sum(kept.values()) / 2)


def seconds_per_step(config: Config, device: torch.device) -> float:
    """Time some steps, after one that warms up."""
    keep_freed_memory()
    session, seconds = _session(config, device), list[float]()
    for step in range(1 + _TIMED):
        begun = time.perf_counter()
        float(session.step(step).loss)  # waits for the device
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def _session(config: Config, device: torch.device) -> Session:
    channels, classes = config.model.in_channels, config.model.num_classes
    assert channels is not None
    assert classes is not None
    rng = np.random.default_rng(0)
    rows, columns = config.train.sides
    labels = rng.integers(0, max(classes, 2), (rows, columns)).astype(np.uint16)
    noise = Sample("noise", rng.integers(0, 255, (channels, rows, columns), np.uint8), labels)
    loss = config.loss.model_copy(update={"class_weights": None, "border_weight": 0.0})
    store = PixelStore.of([noise], Normalization((127.0,) * channels, (64.0,) * channels), device)
    with torch.random.fork_rng():
        return Session(
            config.model_copy(update={"loss": loss}), store, choose_precision(config.train.precision, device), World()
        )
