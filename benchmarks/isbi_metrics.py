"""How long the ISBI challenge's metrics take, on one core, for labels and probabilities of the challenge's size.

    python benchmarks/isbi_metrics.py --data data/isbi2012 [--probabilities out-of-fold.tif] [--append-record]

Both thinned scores with the old Rand and pixel errors (30 slices at 11 thresholds), and the warping error of six
slices (10 thresholds), a few times each, in seconds of the processor, which other work disturbs little. Without a
probability file the labels are blurred and disturbed, which gives as many objects and as wide borders as a middling
network's map has. There is no peer that runs here: the challenge's evaluator needs Fiji; 68 s (V_Rand) and 62 s
(V_Info) were measured with it for 30 slices on another day.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from measure import append_record, circumstances, spread
from unetkit.metrics import isbi_scores

_WARPED = 6


def main() -> None:
    """Measure, print, and keep the result where that is asked for."""
    options = _options()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    around = circumstances(["numpy", "scipy"], torch.device("cpu"))
    label = tifffile.imread(options.data / "train-labels.tif")
    p = _disturbed(label) if options.probabilities is None else tifffile.imread(options.probabilities)
    few = slice(0, _WARPED)
    thinned = _times(lambda: isbi_scores(label, p, warping=False), options.repeats)
    both = _times(lambda: isbi_scores(label[few], p[few]), options.repeats)
    without = _times(lambda: isbi_scores(label[few], p[few], warping=False), options.repeats)
    warping = [whole - rest for whole, rest in zip(both, without, strict=True)]
    lines = [
        f"probabilities: {options.probabilities or 'labels, blurred and disturbed'}",
        f"all but warping, {len(label)} slices x 11 thresholds: {spread(thinned, 2)} s",
        f"warping error, {len(label[few])} slices x 10 thresholds: {spread(warping, 2)} s",
    ]
    print("\n".join(lines))
    if options.append_record:
        append_record("isbi_metrics", around, lines)


def _times(job: Callable[[], Any], repeats: int) -> list[float]:
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.process_time()
        job()
        seconds.append(time.process_time() - started)
    return seconds


def _disturbed(label: NDArray[Any]) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    slices = [gaussian_filter((one > 0) + 0.4 * rng.standard_normal(one.shape), 2.0) for one in label]
    return np.clip(slices, 0, 1).astype(np.float32)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="seconds that the challenge's metrics take on one core")
    parser.add_argument("--data", type=Path, default=Path("data/isbi2012"), help="folder of the ISBI-2012 files")
    parser.add_argument("--probabilities", type=Path, help="a network's map of these slices, such as out-of-fold.tif")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement")
    parser.add_argument("--append-record", action="store_true", help="add the result to benchmarks/RECORDS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
