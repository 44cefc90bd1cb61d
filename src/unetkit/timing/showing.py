"""What was measured, as a table for a terminal, as plain values, and as a picture."""

import statistics
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from unetkit.timing.rounds import Timing


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
