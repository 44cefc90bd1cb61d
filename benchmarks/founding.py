"""Repeat the older systems' trainings on a CUDA device, and measure what share of it our largest network uses.

    python benchmarks/founding.py --isbi DIR --nuclei stage1_train.zip --out FOLDER [--append-record]
    python benchmarks/founding.py ... --quick      # does it work? any device, few steps, a small network

Their published numbers: unet_medical 600 steps of 16, Dice .9111 (Ascend) and .9138 in 2.67 minutes; unet_nested_cell
.976/.955 (Dice/IoU, V100). Each is our preset of that system's own training, scored as it scored.

The throughput is of one update without optimizer (forward and backward) of the 31 M network in bfloat16 and
channels-last layout, eager and compiled. Its rate of floating-point operations, as PyTorch counts them, stands beside
the rate of one large bfloat16 matrix product on the same device: the achieved share.

Without a CUDA device it says so and ends with 2.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import unetkit
from measure import append_record, circumstances
from unetkit.config import ModelConfig
from unetkit.errors import UnetkitError
from unetkit.models import build_model, count_parameters


@dataclass(frozen=True, slots=True)
class Claim:
    """A older system's training and what it published."""

    preset: str
    data: str
    published: str
    scores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured: batch and side of the images, width of the network, side of the matrices, repetitions."""

    batch: int = 8
    side: int = 512
    width: int = 64
    matrix: int = 8192
    rounds: int = 20


CLAIMS = (
    Claim("mindspore-unet-medical", "isbi", "Dice .9111/.9138, 2.67 minutes", ("soft_dice_two_class_388",)),
    Claim(
        "mindspore-unet-nested-cell",
        "nuclei",
        "Dice/IoU .976/.955",
        ("soft_dice_two_class_at_96x96", "soft_iou_two_class_at_96x96"),
    ),
)
QUICK = Load(batch=1, side=64, width=8, matrix=256, rounds=2)


def repeat(claim: Claim, options: argparse.Namespace) -> str:
    """Train a preset in full and return its line."""
    few = ["train.steps=2", "train.batch=2", "train.repeat=1"] if options.quick else []
    data = getattr(options, claim.data)
    run = unetkit.train(claim.preset, data=data, out=options.out / claim.preset, overrides=few)
    scores, seconds = run.read_json("evaluation.json")["scores"], run.read_json("summary.json")["seconds"]
    found = ", ".join(f"{name} {scores[name]:.4f}" for name in claim.scores if name in scores)
    return f"{claim.preset}: {found}, {seconds['training'] / 60:.2f} minutes of training; published: {claim.published}"


def throughput(load: Load, device: torch.device) -> Iterator[str]:
    """Yield images per second and the achieved share, eager and compiled."""
    network = build_model(ModelConfig(width=load.width, in_channels=1, num_classes=2)).to(device)
    network = network.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] torch's stubs
    x_NCHW = torch.randn(load.batch, 1, load.side, load.side, device=device).to(memory_format=torch.channels_last)
    labels_NHW = torch.randint(2, (load.batch, load.side, load.side), device=device)
    with FlopCounterMode(display=False) as counter:
        _update(network, x_NCHW, labels_NHW)
    product = _product_rate(load, device)
    size = f"{count_parameters(network) / 1e6:.1f} M weights, {load.batch} x {load.side} x {load.side}"
    yield f"bfloat16 product of {load.matrix} x {load.matrix} matrices: {product / 1e12:.1f} TFLOP/s"
    for name, forward in (("eager", network), ("compiled", torch.compile(network))):
        seconds = _seconds(lambda forward=forward: _update(forward, x_NCHW, labels_NHW), load.rounds, device)
        rate = counter.get_total_flops() / seconds
        speed = f"{load.batch / seconds:.1f} images/s, {rate / 1e12:.1f} TFLOP/s"
        yield f"{size}, {name}: {speed}, {100 * rate / product:.0f} % of the product"


def _update(forward: Callable[[Tensor], Tensor], x_NCHW: Tensor, labels_NHW: Tensor) -> None:
    with torch.autocast(x_NCHW.device.type, torch.bfloat16):
        loss = F.cross_entropy(forward(x_NCHW).float(), labels_NHW)
    loss.backward()


def _product_rate(load: Load, device: torch.device) -> float:
    one, other = (torch.randn(load.matrix, load.matrix, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * load.matrix**3 / _seconds(lambda: one @ other, load.rounds, device)


def _seconds(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Return the seconds of one call, after three that warm up."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(3):
        work()
    wait()
    started = time.perf_counter()
    for _ in range(rounds):
        work()
    wait()
    return (time.perf_counter() - started) / rounds


def main() -> None:
    """Train, measure, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description="the older systems' trainings, and the device's achieved share")
    parser.add_argument("--isbi", type=Path, required=True, help="folder of the ISBI-2012 files")
    parser.add_argument("--nuclei", type=Path, required=True, help="stage1_train.zip of DSB-2018")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--append-record", action="store_true", help="add the result to benchmarks/RECORDS.md")
    parser.add_argument("--quick", action="store_true", help="any device, few steps, a small network: does it work?")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.quick):
        print("no CUDA device is at hand: nothing was measured; run this where there is one", file=sys.stderr)
        sys.exit(2)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    around = circumstances([], device)
    lines = [repeat(claim, options) for claim in CLAIMS]
    lines += throughput(QUICK if options.quick else Load(), device)
    print("\n".join(lines))
    if options.append_record:
        append_record("founding", around, lines)


if __name__ == "__main__":
    try:
        main()
    except UnetkitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
