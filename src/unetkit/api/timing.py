"""bench: networks and exported files, timed side by side on this machine."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from unetkit.api.loading import load
from unetkit.devices import available_cores
from unetkit.errors import UsageError
from unetkit.progress import Reporter
from unetkit.timing import Contender, Timing, time_contenders
from unetkit.timing.rounds import Opened


def bench(
    models: Sequence[str | Path],
    *,
    size: int = 512,
    batches: Sequence[int] = (1, 2, 4),
    rounds: int = 7,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> list[Timing]:
    """Time networks and exported files side by side: latency, pixels per second, memory, time to load.

    Args:
        models: as `load` takes them; `FILE@RUNTIME` names the runtime of an exported file.
        size: height and width of the images in pixels, as near as each network's sizes allow.
        batches: numbers of images in a call.
        rounds: how often each is called with each number.
        threads: of the CPU; None: one for every core.
        reporter: hears about the course.

    Raises:
        UsageError: no model, or a runtime that a file does not have.
        ModelFileError: no network is there.

    Example:
        >>> timings = unetkit.bench(["runs/first", "first.xml"])
    """
    if not models:
        raise UsageError("no model is named; write: unetkit bench RUN FILE.xml FILE.onnx")
    contenders = [Contender(str(model), partial(_open, str(model), size=size, threads=threads)) for model in models]
    return time_contenders(contenders, batches=batches, rounds=rounds, reporter=reporter)


def _open(model: str, *, size: int, threads: int | None) -> Opened:
    path, at, runtime = model.rpartition("@")
    named = bool(at) and not Path(model).exists()
    torch.set_num_threads(threads or available_cores())
    options = {"runtime": runtime if named else None, "threads": threads}
    predictor = load(path if named else model, options=options, device="cpu").folded()
    side = predictor.geometry.fitting_input_size(size)
    height, width = predictor.geometry.fixed or (side, side)
    return predictor.network, (len(predictor.normalization.mean), height, width)
