"""One training on many processes: which one this is, how many there are, and what they exchange.

Only this file reads the variables that torchrun sets. One process is a world of one. A world is data parallel:
every process holds the whole network and the whole data, and takes its share of every batch.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from unetkit.errors import DeviceError, LostProcessError, UsageError

_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a training.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
        local_rank: this process among those of its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def own_device(self, device: torch.device) -> torch.device:
        """Return where this process computes: of several on a machine, each has a CUDA device of its own."""
        if device.type != "cuda" or self.size == 1:
            return device
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def share(self, count: int) -> range:
        """Return the indices of `count` items that are this process's: every size-th; shares differ by one at most."""
        return range(self.rank, count, self.size)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank, to every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def same_buffers(self, module: nn.Module) -> None:
        """Give every process the buffers (running statistics) of the first."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def any(self, flag: int) -> int:
        """Return the largest of all processes' flags to every process."""
        return max(self.gather(flag))


def launched_world() -> World:
    """Read what torchrun says of this process.

    Raises:
        UsageError: its variables contradict each other.
    """
    defaults = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    values = {name: os.environ.get(name, default) for name, default in defaults.items()}
    if not all(value.isdigit() for value in values.values()):
        raise UsageError(
            f"RANK, WORLD_SIZE and LOCAL_RANK are {list(values.values())}; start with torchrun, or unset them"
        )
    world = World(*(int(value) for value in values.values()))
    if world.rank >= world.size:
        raise UsageError(f"RANK={world.rank} does not fit WORLD_SIZE={world.size}; start the processes with torchrun")
    return world


@contextmanager
def joined(world: World, device: torch.device) -> Generator[None]:
    """Connect the processes for the block, unless they are: NCCL between CUDA devices, gloo between CPUs.

    Processes that disconnect and connect again would find each other's old addresses in torchrun's store, so several
    trainings in turn share one connection.

    Raises:
        DeviceError: the processes do not find each other within ten minutes.
        LostProcessError: one of them is gone.
    """
    if world.size == 1 or dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    except (dist.DistError, RuntimeError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise DeviceError(f"the {world.size} processes cannot connect ({cause}); start them with torchrun") from None
    try:
        yield
    except RuntimeError as error:  # gloo raises nothing more special, NCCL a kind of it
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise LostProcessError(
            f"process {world.rank} of {world.size} has lost another one, which was killed or cannot be reached; go on "
            "from the last checkpoint: torchrun ... -m unetkit train --resume with the run folder"
        ) from None
    finally:
        dist.destroy_process_group()
