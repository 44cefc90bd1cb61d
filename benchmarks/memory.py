"""Measure the most memory that `unetkit predict --memory` takes, as a whole command, for images of many sizes.

    python benchmarks/memory.py RUN [--limits 1 2 4] [--only 4096 volume] [--append-record]

Every line is a command of its own. What is shown is the largest resident set that any of its processes ever had, as the
kernel has it (VmHWM), code and mapped files included, looked at every 20 ms. Images of 512, 4,096 and 12,000 pixels a
side are tiled TIFFs compressed by zlib, one of 12,000 uncompressed; the one of 100,000 is an OME-Zarr in which four
chunks in a hundred are there; the volume is an OME-Zarr of 64 slices of 2,048 x 2,048. Commands are stopped after
`--seconds`: what is held then does not grow any more. `blocks` is how many were finished. Weights do not matter.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import zarr
from scipy import ndimage

OPTIONS: dict[str, list[str]] = {
    "masks": [],
    "bfloat16": ["--precision", "bfloat16"],
    "probabilities": ["--probabilities"],
    "objects": ["--objects", "objects.method=components"],
    "through depth": ["--objects", "--through-depth", "objects.method=components"],
    "closed gaps": ["predict.close_gaps=true"],
    "two workers": ["--workers", "2"],
    "TIFF": [],
}

LINES = (
    *(("512", "masks"), ("512", "probabilities"), ("4096", "masks"), ("4096", "bfloat16"), ("4096", "probabilities")),
    *(("4096", "objects"), ("4096", "closed gaps"), ("4096", "two workers"), ("4096", "TIFF")),
    *(("12000", "masks"), ("12000 plain", "masks")),
    *(("12000", "probabilities"), ("12000", "objects"), ("100000", "masks"), ("100000", "objects")),
    *(("volume", "masks"), ("volume", "probabilities"), ("volume", "through depth"), ("volume", "closed gaps")),
)
"""Images, and what is made of them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took.

    Attributes:
        peak: bytes of its largest process.
        seconds: of the clock.
        blocks: that it finished; None: all of them.
        said: its last line where it refused.
    """

    peak: int
    seconds: float
    blocks: int | None
    said: str


def main() -> int:
    """Run the commands and print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path)
    words.add_argument("--limits", type=float, nargs="+", default=[1, 2, 4], help="gigabytes")
    words.add_argument("--only", nargs="+", help="images or results, by their names")
    words.add_argument("--seconds", type=float, default=60, help="after which a command is stopped")
    words.add_argument("--folder", type=Path, help="that keeps the images")
    words.add_argument("--append-record", action="store_true")
    asked = words.parse_args()
    lines = [f"{'image':12} {'result':14} {'--memory':>8} {'peak GB':>8} {'blocks':>7} {'seconds':>8}"]
    print(lines[0], flush=True)
    broken = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        for name, result in LINES:
            if asked.only and not {name, result} & set(asked.only):
                continue
            image = image_of(name, folder)
            for limit in asked.limits:
                found = measured(asked.run, image, Path(temporary), result, limit, asked.seconds)
                blocks = "all" if found.blocks is None else str(found.blocks)
                line = f"{name:12} {result:14} {limit:6g}GB {found.peak / 1e9:8.2f} {blocks:>7} {found.seconds:8.1f}"
                over = found.peak > limit * 1e9
                broken += over
                lines.append(f"{line}{'  ABOVE' if over else ''}  {found.said}".rstrip())
                print(lines[-1], flush=True)
    if asked.append_record:
        import torch

        from measure import append_record, circumstances

        append_record("Memory of whole commands", circumstances(["zarr", "tifffile"], torch.device("cpu")), lines)
    return 1 if broken else 0


def measured(run: Path, image: Path, folder: Path, result: str, limit: float, most: float) -> Measured:
    """Run a command to its end, or for so many seconds."""
    out = folder / ("out.tif" if result == "TIFF" else "out.ome.zarr")
    words = ["predict", str(run), str(image), "--out", str(out), "--memory", f"{limit:g}GB", *OPTIONS[result]]
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", "unetkit", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    stopped = False
    while process.poll() is None:
        peak = max(peak, *map(peak_of, family(process.pid)), 0)
        if time.perf_counter() - started > most:
            stopped = True
            process.terminate()
            process.wait()
        time.sleep(0.02)
    assert process.stderr is not None
    seconds, said = time.perf_counter() - started, process.stderr.read().strip().splitlines()
    journal = out.with_name(f"{out.name}.unfinished") / "journal.jsonl"
    blocks = (journal.read_text().count("crc32c") if journal.exists() else 0) if stopped else None
    for path in (out, out.with_name(f"{out.name}.unfinished"), folder / "out.csv"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return Measured(peak, seconds, blocks, said[-1] if process.returncode and not stopped and said else "")


def family(process: int) -> list[int]:
    """Return a process and all that it started, as far as they live."""
    found, waiting = list[int](), [process]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def peak_of(process: int) -> int:
    """Return the bytes of the largest resident set that a process ever had; 0 where it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def image_of(name: str, folder: Path) -> Path:
    """Make an image, unless it is there."""
    if name in ("100000", "volume"):
        path = folder / f"{name}.zarr"
        if not path.exists():
            _zarr(path, (64, 2048, 2048) if name == "volume" else (100_000, 100_000))
        return path
    path = folder / f"{name}.tif"
    if not path.exists():
        side, plain = int(name.split()[0]), name.endswith("plain")
        pixels = np.tile(texture(1024), (-(-side // 1024),) * 2)[:side, :side]
        options = {} if plain else {"tile": (256, 256), "compression": "zlib"}
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)  # pyright: ignore[reportArgumentType] - its overloads
    return path


def _zarr(path: Path, shape: tuple[int, ...]) -> None:
    chunks = (1,) * (len(shape) - 2) + (512, 512)
    array = zarr.create_array(store=path, shape=shape, dtype=np.uint8, chunks=chunks, fill_value=0)
    tile, random = texture(512), np.random.default_rng(0)
    for page in range(shape[0] if len(shape) == 3 else 1):
        for row in range(0, shape[-2] - 511, 512):
            for column in range(0, shape[-1] - 511, 512):
                if len(shape) == 3 or random.random() < 0.04:
                    where = (slice(row, row + 512), slice(column, column + 512))
                    array[(page, *where) if len(shape) == 3 else where] = tile


def texture(side: int) -> np.ndarray:
    """Return grey pixels with blobs of about 20 pixels, the same each time."""
    noise = np.random.default_rng(0).random((side, side), np.float32)
    smooth = ndimage.gaussian_filter(noise, 8, mode="wrap")
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
