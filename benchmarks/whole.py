"""Measure `unetkit predict` of a large image as a whole command, against the bare network at its best.

    python benchmarks/whole.py RUN [--side 12000] [--rounds 3] [--precisions float32 bfloat16] [--append-record]

The bare network computes 512 x 512 pixels in memory, as `unetkit bench` has it, in batches of 1 and 4. The command
reads a tiled TIFF compressed by zlib and writes masks as an OME-Zarr or a TIFF. The two take turns. `predicting` is the
part of the command after the network was loaded, `command` all of it, Python's start included. As a busy machine gives
a process no more than a part of its cores, seconds of processors are shown, too: their ratio depends less on it.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tifffile
import torch

from measure import append_record, circumstances, spread
from memory import texture

BARE = """
import json, sys, time, torch
from unetkit.prediction.load import load
network = load(sys.argv[1], options={"precision": sys.argv[2]}).folded().network
found = []
with torch.inference_mode():
    for batch in (1, 4):
        x = torch.randn(batch, 1, 512, 512).to(memory_format=torch.channels_last)
        network(x)
        for _ in range(8 // batch):
            clock, spent, size = time.perf_counter(), time.process_time(), batch * 0.262144
            network(x)
            found.append((size / (time.perf_counter() - clock), (time.process_time() - spent) / size))
print(json.dumps([max(rate for rate, _ in found), sorted(spent for _, spent in found)[len(found) // 2]]))
"""
"""Prints the best megapixels a second, and the seconds of processors for each."""


@dataclass(frozen=True, slots=True)
class Command:
    """What one run of the command took, for each megapixel.

    Attributes:
        predicting: seconds of the clock after the network was loaded.
        whole: seconds of the clock of all of it.
        processors: seconds of processors of all of it.
    """

    predicting: float
    whole: float
    processors: float


def main() -> int:
    """Run the rounds and print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--side", type=int, default=12_000)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    words.add_argument("--append-record", action="store_true")
    asked = words.parse_args()
    around, lines = circumstances(["zarr", "tifffile"], torch.device("cpu")), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        image, side = Path(folder) / "image.tif", asked.side
        tile = texture(1024)
        rows = torch.from_numpy(tile).repeat(-(-side // 1024), -(-side // 1024))[:side, :side].numpy()
        tifffile.imwrite(image, rows, photometric="minisblack", tile=(256, 256), compression="zlib")
        for precision in asked.precisions:
            for name in ("out.ome.zarr", "out.tif"):
                lines.append(compared(asked.run, image, name, precision, asked.rounds, side * side / 1e6))
                print(lines[-1], flush=True)
    if asked.append_record:
        append_record("Whole commands against the bare network", around, lines)
    return 0


def compared(run: Path, image: Path, name: str, precision: str, rounds: int, megapixels: float) -> str:
    """Let both take turns, and return a line."""
    bare, made = list[tuple[float, float]](), list[Command]()
    for _ in range(rounds):
        said = subprocess.run([sys.executable, "-c", BARE, str(run), precision], check=True, capture_output=True)
        rate, processors = json.loads(said.stdout)
        bare.append((rate, processors))
        made.append(command(run, image, image.with_name(name), precision, megapixels))
    best, least = max(rate for rate, _ in bare), statistics.median(each for _, each in bare)
    shares, spent = [least / one.processors for one in made], statistics.median(one.processors for one in made)
    predicting, whole = [1 / one.predicting for one in made], [1 / one.whole for one in made]
    return (
        f"{precision:9} {name:13} bare {best:.2f} Mpx/s at best; predicting {spread(predicting, 2)}, "
        f"{max(predicting) / best:.0%}; command {spread(whole, 2)}, {max(whole) / best:.0%}; of processors "
        f"{least * 1000:.0f} and {spent * 1000:.0f} ms/Mpx, {spread(shares, 2)}"
    )


def command(run: Path, image: Path, out: Path, precision: str, megapixels: float) -> Command:
    """Run the command once."""
    before, started, result = _spent(), time.perf_counter(), out.with_name("result.json")
    words = ["predict", str(run), str(image), "--out", str(out), "--precision", precision, "--json", str(result)]
    subprocess.run([sys.executable, "-m", "unetkit", *words], check=True, capture_output=True)
    whole = time.perf_counter() - started
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    predicting = json.loads(result.read_text())["seconds"]
    return Command(*(value / megapixels for value in (predicting, whole, _spent() - before)))


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
