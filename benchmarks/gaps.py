"""Measure how long closing gaps takes, in seconds of the clock and of processors, on generated membranes.

    python benchmarks/gaps.py [--sides 1024 4096] [--append-record]

Membranes lie between random points, 30 pixels apart on average, and are of random strength along their way. To compare
with another commit, run it there too, in turns.
"""

import argparse
import sys
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from measure import append_record, circumstances
from unetkit.objects.contours import close_gaps


def main() -> int:
    """Close the gaps of each image and print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sides", type=int, nargs="+", default=[1024, 4096])
    words.add_argument("--append-record", action="store_true")
    asked = words.parse_args()
    around, lines = circumstances(["scipy", "numpy"], torch.device("cpu")), list[str]()
    for side in asked.sides:
        walls = membranes(side)
        clock, processors = time.perf_counter(), time.process_time()
        closed = close_gaps(walls)
        clock, processors = time.perf_counter() - clock, time.process_time() - processors
        raised = float((closed > walls).mean())
        lines.append(
            f"{side:6} x {side}: {clock:6.2f} s of the clock, {processors:6.2f} of processors; raised {raised:.4f}"
        )
        print(lines[-1], flush=True)
    if asked.append_record:
        append_record("Gaps closed", around, lines)
    return 0


def membranes(side: int) -> NDArray[np.float32]:
    """Return walls [side, side], the same each time; large ones are tiles of 1024."""
    unit, random = min(side, 1024), np.random.default_rng(0)
    points = random.random((unit * unit // 900, 2)) * unit
    tree = cKDTree(points, boxsize=np.array([unit, unit]))
    distances = np.asarray(tree.query(np.indices((unit, unit)).reshape(2, -1).T, 2)[0])
    wall = np.exp(-(((distances[:, 1] - distances[:, 0]) / 3) ** 2)).reshape(unit, unit)
    repeats = -(-side // unit)
    strength = ndimage.gaussian_filter(random.random((side, side), np.float32), 4)
    noise = 0.02 * random.random((side, side), np.float32)
    whole = np.tile(wall.astype(np.float32), (repeats, repeats))[:side, :side]
    return (whole * strength * 1.6 + noise).clip(0, 1).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
