"""Networks timed in turns: every round, each is called once with every batch size, so that a slow moment hits all.

Each network is loaded in a process of its own, whose memory is thereby its own, and which waits while the others
compute. What is timed is one call: normalised float32 pixels in, logits out. The first call of each size, which pays
for what later ones find ready, does not count. Does not know files or runtimes.

Legend of shapes: N images, C channels, H height, W width.
"""

import resource
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
from torch import Tensor

from unetkit.errors import UnetkitError
from unetkit.progress import Reporter, Silence

Opened = tuple[Callable[[Tensor], Tensor], tuple[int, int, int], str]
"""A network, the channels, height and width of an image for it, and the numbers that it computes with."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A network that is to be timed.

    Attributes:
        name: of it.
        open: loads it; is called in its own process, and so has to be picklable.
    """

    name: str
    open: Callable[[], Opened]


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one network.

    Attributes:
        name: of the contender.
        numbers: that it computes with.
        load_seconds: until it was ready.
        peak_bytes: the most memory that its whole process held, Python and PyTorch included.
        pixels: of one image.
        seconds: of every call, by batch size.
    """

    name: str
    numbers: str
    load_seconds: float
    peak_bytes: int
    pixels: int
    seconds: dict[int, tuple[float, ...]]

    def speed(self, batch: int) -> float:
        """Return pixels per second at a batch size, by the median call."""
        return batch * self.pixels / statistics.median(self.seconds[batch])

    @property
    def best_batch(self) -> int:
        """The batch size at which most pixels go through a second."""
        return max(self.seconds, key=self.speed)

    def times_faster(self, other: "Timing") -> list[float]:
        """Return how many times the speed of another it is, at each one's best batch, in every round."""
        rounds = zip(other.seconds[other.best_batch], self.seconds[self.best_batch], strict=True)
        return [slow / other.best_batch / (fast / self.best_batch) for slow, fast in rounds]


def time_contenders(
    contenders: Sequence[Contender],
    *,
    batches: Sequence[int] = (1, 2, 4),
    rounds: int = 7,
    reporter: Reporter | None = None,
) -> list[Timing]:
    """Time networks in turns.

    Args:
        contenders: the networks.
        batches: numbers of images in a call.
        rounds: how often each is called with each number.
        reporter: hears about the course.

    Raises:
        UnetkitError: one of them cannot be loaded.
    """
    spent: list[dict[int, list[float]]] = [{batch: [] for batch in batches} for _ in contenders]
    with _working(contenders) as pipes:
        loaded = [_answer(pipe) for pipe in pipes]
        for done in range(-1, rounds):
            (reporter or Silence()).advance(done + 1, rounds + 1, {})
            for pipe, seconds in zip(pipes, spent, strict=True):
                for batch in batches:
                    pipe.send(batch)
                    measured = _answer(pipe)
                    if done >= 0:
                        seconds[batch].append(measured)
        for pipe in pipes:
            pipe.send(None)
        ends = [_answer(pipe) for pipe in pipes]
    return [
        Timing(contender.name, numbers, load, peak, pixels, {batch: tuple(times) for batch, times in seconds.items()})
        for contender, (numbers, load), (peak, pixels), seconds in zip(contenders, loaded, ends, spent, strict=True)
    ]


@contextmanager
def _working(contenders: Sequence[Contender]) -> Generator[list[Connection]]:
    """Give a connection to a process for each contender; they end with the block."""
    context, pipes, processes = get_context("spawn"), list[Connection](), list[SpawnProcess]()
    try:
        for contender in contenders:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(contender, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _answer(pipe: Connection) -> Any:
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _work(contender: Contender, pipe: Connection) -> None:
    """Load the network, then time a call for every batch size that comes, until None or the end of the connection."""
    try:
        begun = time.perf_counter()
        network, shape_CHW, numbers = contender.open()
        pipe.send((numbers, time.perf_counter() - begun))
        with torch.inference_mode():
            while (batch := pipe.recv()) is not None:
                x_NCHW = torch.randn(batch, *shape_CHW).to(memory_format=torch.channels_last)
                begun = time.perf_counter()
                network(x_NCHW)
                pipe.send(time.perf_counter() - begun)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send((peak, shape_CHW[1] * shape_CHW[2]))
    except EOFError:
        pass
    except UnetkitError as error:
        pipe.send(error)
