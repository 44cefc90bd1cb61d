"""bench: networks and exported files, timed side by side on this machine."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from unetkit.api.loading import load
from unetkit.devices import PRECISIONS, available_cores
from unetkit.errors import UsageError
from unetkit.progress import Reporter
from unetkit.runtimes import RUNTIMES, ExportedNetwork
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
        models: as `load` takes them; after an @ the runtime of an exported file, the precision to compute in, or both:
            `net.onnx@openvino`, `runs/first@bfloat16`, `net.onnx@openvino:bfloat16`.
        size: height and width of the images in pixels, as near as each network's sizes allow.
        batches: numbers of images in a call.
        rounds: how often each is called with each number.
        threads: of the CPU; None: one for every core.
        reporter: hears about the course.

    Raises:
        UsageError: no model, or a runtime or a precision that one does not have.
        ModelFileError: no network is there.

    Example:
        >>> timings = unetkit.bench(["runs/first", "runs/first@bfloat16", "first.xml"])
    """
    if not models:
        raise UsageError("no model is named; write: unetkit bench RUN FILE.xml FILE.onnx")
    contenders = [Contender(str(model), partial(_open, str(model), size=size, threads=threads)) for model in models]
    return time_contenders(contenders, batches=batches, rounds=rounds, reporter=reporter)


def _open(model: str, *, size: int, threads: int | None) -> Opened:
    torch.set_num_threads(threads or available_cores())
    path, how = _how(model)
    predictor = load(path, options={**how, "threads": threads}, device="cpu").folded()
    network = predictor.network
    numbers = network.numbers if isinstance(network, ExportedNetwork) else (how.get("precision", "float32"),)
    side = predictor.geometry.fitting_input_size(size)
    height, width = predictor.geometry.fixed or (side, side)
    return network, (len(predictor.normalization.mean), height, width), ", ".join(numbers)


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
