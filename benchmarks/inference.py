"""Measure the whole way from an image file to a mask file, ours and MONAI's, with the same weights, tile and overlap.

    python benchmarks/inference.py [--rounds 5] [--append-record]
    python benchmarks/inference.py --size 512 --wide-size 256 --rounds 1     # does it work?

Both sides read the TIFF, normalise, take tiles through the network, blend, choose the class and write a TIFF; they take
turns, and what is compared is the ratio within a round. The peer is MONAI's SlidingWindowInferer, given the same torch
module in channels-last layout, the same tile and the same overlap (as a share of the tile), constant weights, which is
its fastest way. `ours, own tiles` is what a user gets who names no tile: as large as the memory allows, and equal to
the untiled prediction. `share` is the part of the seconds that our network was at work. Weights are random: neither
side's time depends on them. `differ` is the share of pixels in which the two masks differ.

The first network is that of the preset isbi, the second the paper's with 31 million weights, padded.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from measure import append_record, circumstances, spread
from unetkit.config import ModelConfig, load_config
from unetkit.data.layouts.synthetic import generate
from unetkit.devices import cpu_threads
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor, predict_to_file

TILE, OVERLAP = 512, 64
MEAN, STD = 127.5, 45.0


class Stopwatch(nn.Module):
    """A network that knows how long it was at work."""

    def __init__(self, network: nn.Module) -> None:
        """Watch a network."""
        super().__init__()
        self.network, self.seconds = network, 0.0

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the network's answer."""
        started = time.perf_counter()
        answer = self.network(x_NCHW)
        self.seconds += time.perf_counter() - started
        return answer


@dataclass(frozen=True, slots=True)
class Job:
    """One network and one image file."""

    name: str
    predictor: Predictor
    image: Path
    folder: Path

    def ours(self, out: Path, options: dict[str, int]) -> tuple[float, float]:
        """Return the seconds, and the share of them that the network was at work."""
        folded = self.predictor.folded()
        watch = Stopwatch(folded.network).eval()
        predictor = replace(folded, network=watch).with_options(options)
        predictor.plan(64, 64)  # measures the memory that a pixel takes: once in a predictor's life
        watch.seconds, started = 0.0, time.perf_counter()
        predict_to_file(predictor, self.image, out)
        seconds = time.perf_counter() - started
        return seconds, watch.seconds / seconds

    @torch.inference_mode()
    def peer(self, out: Path) -> float:
        """Return the seconds of the same way through MONAI."""
        from monai.inferers import SlidingWindowInferer

        inferer = SlidingWindowInferer((TILE, TILE), sw_batch_size=1, overlap=2 * OVERLAP / TILE, mode="constant")
        started = time.perf_counter()
        pixels = (tifffile.imread(self.image).astype(np.float32) - MEAN) / STD
        x_NCHW = torch.from_numpy(pixels)[None, None].to(memory_format=torch.channels_last)
        logits_NKHW = inferer(x_NCHW, self.predictor.network)
        tifffile.imwrite(out, (logits_NKHW.argmax(1)[0] * 255).to(torch.uint8).numpy())
        return time.perf_counter() - started


def main() -> int:
    """Run the rounds and print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--size", type=int, default=4096, help="side of the image for the first network")
    words.add_argument("--wide-size", type=int, default=1024, help="side of the image for the second")
    words.add_argument("--append-record", action="store_true")
    asked = words.parse_args()
    around, lines = circumstances(["monai"], torch.device("cpu")), list[str]()
    wide = ModelConfig(in_channels=1, num_classes=2, width=64, depth=4, norm="batch")
    preset = load_config("isbi").model.model_copy(update={"in_channels": 1, "num_classes": 2})
    with tempfile.TemporaryDirectory() as folder, cpu_threads(None):
        for name, model, size in (("isbi", preset, asked.size), ("31 M", wide, asked.wide_size)):
            lines += measure(_job(name, model, size=size, folder=Path(folder)), asked.rounds)
    if asked.append_record:
        append_record("Prediction of a file against MONAI's SlidingWindowInferer", around, lines)
    return 0


def measure(job: Job, rounds: int) -> list[str]:
    """Let the sides take turns, and return the lines that were printed."""
    named = {"tile": TILE, "overlap": OVERLAP}
    sides: dict[str, Callable[[Path], tuple[float, float] | float]] = {
        "ours": lambda out: job.ours(out, named),
        "ours, own tiles": lambda out: job.ours(out, {}),
        "MONAI": job.peer,
    }
    for name, run in sides.items():
        run(job.folder / f"{name}.tif")  # the first call pays for what later ones find ready
    seconds, shares = {name: list[float]() for name in sides}, {name: list[float]() for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            result = run(job.folder / f"{name}.tif")
            seconds[name].append(result if isinstance(result, float) else result[0])
            shares[name] += [] if isinstance(result, float) else [result[1]]
    return [_said(line) for line in _table(job, seconds, shares)]


def _table(job: Job, seconds: dict[str, list[float]], shares: dict[str, list[float]]) -> list[str]:
    theirs = tifffile.imread(job.folder / "MONAI.tif")
    lines = [f"{job.name}, {theirs.shape[0]} x {theirs.shape[1]} pixels, tile {TILE}, overlap {OVERLAP} on each side"]
    for name, times in seconds.items():
        line = f"  {name:16} {spread(times, 2):24} s"
        if shares[name]:
            ratios = [peer / own for peer, own in zip(seconds["MONAI"], times, strict=True)]
            differ = (tifffile.imread(job.folder / f"{name}.tif") != theirs).mean()
            line += f"  share {spread(shares[name], 3)}  MONAI / ours {spread(ratios, 2)}  differ {differ:.4f}"
        lines.append(line)
    return lines


def _said(line: str) -> str:
    print(line, flush=True)
    return line


def _job(name: str, model: ModelConfig, *, size: int, folder: Path) -> Job:
    torch.manual_seed(0)
    network = build_model(model).eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    image = folder / f"{name}.tif"
    tile = generate(slices=1, size=256, seed=0).images[0]
    tifffile.imwrite(image, np.tile(tile, (size // 256 + 1,) * 2)[:size, :size])
    predictor = Predictor(
        network=network,
        geometry=network.geometry,
        card=ModelCard(classes=("membrane", "interior"), mean=(MEAN,), std=(STD,)),
        device=torch.device("cpu"),
    )
    return Job(name, predictor, image, folder)


if __name__ == "__main__":
    sys.exit(main())
