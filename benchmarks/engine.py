"""Measure what the block engine itself costs: blocks that take no time, and objects that are joined.

    python benchmarks/engine.py [--blocks 100000] [--workers 2] [--parts 10000000] [--append-record]

Blocks do nothing but return a checksum. They go through dask's scheduler, in this process, to workers beside it, and
into a journal on the disk, as those of a prediction do. Parts of objects are numbers, of which three in ten touch a
later one; the union gives them their objects. Memory is the largest resident set of this process, as it ends.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from measure import append_record, circumstances
from unetkit.images.blocks import Blocks
from unetkit.images.write import Form
from unetkit.objects.parts import joined
from unetkit.prediction.engine import carry_out
from unetkit.prediction.journal import open_journal
from unetkit.prediction.schedule import crew_of
from unetkit.progress import NoProgress


def nothing(number: int) -> str:
    """Return what the checksum of a block looks like."""
    return f"{number:08x}"


def main() -> int:
    """Measure both and print the lines."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--blocks", type=int, default=100_000)
    words.add_argument("--workers", type=int, default=2, help="processes; 1: this one alone, without dask")
    words.add_argument("--parts", type=int, default=10_000_000)
    words.add_argument("--append-record", action="store_true")
    asked = words.parse_args()
    around, lines = circumstances(["distributed", "scipy"], torch.device("cpu")), list[str]()
    if asked.blocks:
        lines.append(_said(scheduled(asked.blocks, asked.workers)))
    if asked.parts:
        lines.append(_said(united(asked.parts)))
    if asked.append_record:
        append_record("The block engine alone", around, lines)
    return 0


def scheduled(count: int, workers: int) -> str:
    """Take stub blocks through the engine."""
    blocks = Blocks(Form(np.uint8, 1024, 1024 * count, 1, (), None))
    with tempfile.TemporaryDirectory() as folder, crew_of(workers, None) as crew:
        before = _peak()
        with open_journal(Path(folder) / "out", {}, resume=False, overwrite=False) as journal:
            journal.begin({"tiles": None})
            started = time.perf_counter()
            carry_out(journal, blocks, crew, nothing, NoProgress())
            seconds = time.perf_counter() - started
            size = (journal.folder / "journal.jsonl").stat().st_size
    return (
        f"{count:,} blocks, {workers} workers: {seconds:.1f} s, {count / seconds:.0f} blocks a second; scheduler and "
        f"client {_peak() / 1e6:.0f} MB, {(_peak() - before) / 1e6:.0f} more than before; journal {size / 1e6:.1f} MB"
    )


def united(parts: int) -> str:
    """Join parts to objects."""
    random, before = np.random.default_rng(0), _peak()
    here = random.integers(1, parts + 1, 3 * parts // 10)
    pairs = np.stack([here, np.minimum(here + random.integers(1, 1000, len(here)), parts)], axis=1)
    started = time.perf_counter()
    objects = int(joined(parts, [pairs]).max())
    seconds = time.perf_counter() - started
    peak = (_peak() - before) / 1e9
    return f"{parts:,} parts, {len(pairs):,} pairs: {objects:,} objects in {seconds:.1f} s; {peak:.2f} GB more"


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _said(line: str) -> str:
    print(line, flush=True)
    return line


if __name__ == "__main__":
    sys.exit(main())
