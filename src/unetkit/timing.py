"""bench: networks and exported files timed side by side on this machine, in turns, each in a process of its own.

Every round, each network is called once with every batch size, so that a slow moment hits all of them. A network is
loaded in its own process, whose memory is thereby its own, and which waits while the others compute. What is timed is
one call: normalised float32 pixels in, logits out. The first call of each size, which pays for what later ones find
ready, does not count.

Legend of shapes: N images, C channels, H height, W width.
"""

import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.devices import PRECISIONS
from unetkit.errors import UnetkitError, UsageError
from unetkit.formats import RUNTIMES, ExportedNetwork
from unetkit.machine import peak_memory, threads_of
from unetkit.prediction.load import LoadOptions, load
from unetkit.progress import NoProgress, Progress

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


def bench(
    models: Sequence[str | Path],
    *,
    size: int = 512,
    batches: Sequence[int] = (1, 2, 4),
    rounds: int = 7,
    threads: int | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time networks and exported files side by side: latency, pixels per second, memory, time to load.

    Args:
        models: as `load` takes them; after an @ the runtime of an exported file, the precision to compute in, or both:
            `net.onnx@openvino`, `runs/first@bfloat16`, `net.onnx@openvino:bfloat16`.
        size: height and width of the images in pixels, as near as each network's sizes allow.
        batches: numbers of images in a call.
        rounds: how often each is called with each number.
        threads: of the CPU; None: one for every core.
        trust: as of `load`.
        progress: follows the work.

    Raises:
        UsageError: no model, or a runtime or a precision that one does not have.
        ModelFileError: no network is there.

    Example:
        >>> timings = unetkit.bench(["runs/first", "runs/first@bfloat16", "first.xml"])
    """
    if not models:
        raise UsageError("no model is named; write: unetkit bench RUN FILE.xml FILE.onnx")
    for model in models:
        _how(str(model))  # refuses before processes are started
    loaded = partial(_open, size=size, threads=threads, trust=trust)
    contenders = [Contender(str(model), partial(loaded, str(model))) for model in models]
    return time_contenders(contenders, batches=batches, rounds=rounds, progress=progress)


def time_contenders(
    contenders: Sequence[Contender],
    *,
    batches: Sequence[int] = (1, 2, 4),
    rounds: int = 7,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time networks in turns; arguments as of `bench`.

    Raises:
        UnetkitError: one of them cannot be loaded.
    """
    spent: list[dict[int, list[float]]] = [{batch: [] for batch in batches} for _ in contenders]
    with _working(contenders) as pipes:
        loaded = [_answer(pipe) for pipe in pipes]
        for done in range(-1, rounds):
            (progress or NoProgress()).update(done + 1, rounds + 1, {})
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
        pipe.send((peak_memory(), shape_CHW[1] * shape_CHW[2]))
    except EOFError:
        pass
    except UnetkitError as error:
        pipe.send(error)


def table(timings: Sequence[Timing]) -> str:
    """Return aligned lines: latency at one image, speed at the best batch, memory, and the ratio to the first line."""
    width = max(len("model"), *(len(timing.name) for timing in timings))
    wide = max(len("numbers"), *(len(timing.numbers) for timing in timings))
    first = "ms, batch " + str(min(timings[0].seconds))
    head = f"{'model':<{width}}  {'numbers':<{wide}}  {'load s':>6}  {first:>22}  "
    lines = [head + f"{'best batch':>10}  {'Mpx/s':>7}  {'peak MB':>7}  times the first"]
    for timing in timings:
        latency = _spread([1000 * seconds for seconds in timing.seconds[min(timing.seconds)]], 1)
        ratios = "" if timing is timings[0] else _spread(timing.times_faster(timings[0]), 2)
        lines.append(
            f"{timing.name:<{width}}  {timing.numbers:<{wide}}  {timing.load_seconds:6.2f}  {latency:>22}  "
            f"{timing.best_batch:>10}  {timing.speed(timing.best_batch) / 1e6:7.2f}  "
            f"{timing.peak_bytes / 1e6:7.0f}  {ratios}".rstrip()
        )
    note = "median (lowest to highest); Mpx/s at the batch that gives most; the calls took turns"
    return "\n".join([*lines, "", note])


def as_json(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Return everything as plain values."""
    return [
        {
            "model": timing.name,
            "numbers": timing.numbers,
            "load_seconds": timing.load_seconds,
            "peak_bytes": timing.peak_bytes,
            "pixels": timing.pixels,
            "seconds": {str(batch): list(times) for batch, times in timing.seconds.items()},
            "best_batch": timing.best_batch,
            "pixels_per_second": timing.speed(timing.best_batch),
            "times_the_first": statistics.median(timing.times_faster(timings[0])),
        }
        for timing in timings
    ]


def picture(timings: Sequence[Timing]) -> bytes:
    """Return a PNG: a bar for each model's speed at its best batch, the fastest darkest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.45 * len(timings)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    speeds = [timing.speed(timing.best_batch) / 1e6 for timing in timings]
    names = [f"{timing.name}\n{timing.numbers}" for timing in timings]
    bars = axes.barh(names, speeds, color=["#0072B2" if speed == max(speeds) else "#9ecae1" for speed in speeds])
    axes.bar_label(bars, [f"{speed:.2f}" for speed in speeds], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("megapixels per second, at the best batch")
    axes.spines[["top", "right"]].set_visible(False)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    return drawn.getvalue()


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = (f"{one:.{digits}f}" for one in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def _open(model: str, *, size: int, threads: int | None, trust: bool) -> Opened:
    torch.set_num_threads(threads_of(threads))
    path, how = _how(model)
    options: LoadOptions = {"threads": threads, "runtime": how.get("runtime"), "precision": how.get("precision")}
    options["trust"] = trust
    predictor = load(path, options=options, device="cpu").folded()
    network = predictor.network
    numbers = network.dtypes if isinstance(network, ExportedNetwork) else (how.get("precision", "float32"),)
    side = predictor.geometry.fitting_input_size(size)
    height, width = predictor.geometry.fixed or (side, side)
    return network, (predictor.card.channels, height, width), ", ".join(numbers)


def _how(model: str) -> tuple[str, dict[str, str]]:
    """Return the path in a text such as net.onnx@openvino:bfloat16, and what is said of how it is to run."""
    path, at, words = model.rpartition("@")
    if not at or Path(model).exists():
        return model, {}
    how = {"precision" if word in PRECISIONS else "runtime": word for word in words.split(":")}
    if how.get("runtime", "torch") not in ("torch", *RUNTIMES):
        raise UsageError(
            f"{model}: found {how['runtime']} after the @; expected torch, {', '.join((*RUNTIMES, *PRECISIONS))}, "
            "or both a runtime and a precision, as openvino:bfloat16"
        )
    return path, how
