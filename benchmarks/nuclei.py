"""Train the nuclei preset on the 2018 Data Science Bowl's images, and tell its scores and where its time went.

    python benchmarks/nuclei.py --data stage1_train.zip --out RUN [--append-record] [key=value ...]

The whole command `unetkit train nuclei` is timed by the clock: reading, training, validation and report. Soft Dice and
IoU are the MindSpore zoo's, of two classes, on the 120 images whose ids come last: at 96 x 96, where the zoo published
.966/.936 (Ascend) and .976/.955 (V100) after 6,700 steps, and at the images' own size; hard IoU at their own size.
Objects are made of the probabilities by the preset's defaults, which were not tuned on these images.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import unetkit
from measure import append_record, circumstances
from unetkit.config import ObjectsConfig
from unetkit.data import Dataset, in_memory, open_dataset, samples_of, split_dataset
from unetkit.devices import cpu_threads
from unetkit.errors import UnetkitError
from unetkit.metrics import pool_objects
from unetkit.metrics.objects import Overlaps
from unetkit.objects import find_objects, true_objects
from unetkit.run import Run, open_run

SHOWN = (
    ("soft_dice_two_class_at_96x96", "soft Dice, two classes, 96 x 96"),
    ("soft_iou_two_class_at_96x96", "soft IoU, two classes, 96 x 96"),
    ("soft_dice_two_class", "soft Dice, two classes, own size"),
    ("soft_iou_two_class", "soft IoU, two classes, own size"),
    ("iou_nucleus", "hard IoU of nuclei, own size"),
    ("mean_iou", "hard IoU, mean of two classes, own size"),
    ("mean_precision", "objects: precision, mean of IoU .5 to .95"),
    ("ap_50", "objects: precision at IoU .5"),
    ("pq", "objects: panoptic quality"),
)


def train(data: Path, out: Path, overrides: Sequence[str]) -> tuple[Run, float]:
    """Run the command as a user types it; return the run and the seconds of the clock."""
    words = ["--data", str(data), "--out", str(out), "train.metrics=[legacy]", *overrides]
    command = [sys.executable, "-m", "unetkit", "train", "nuclei", *words]
    started = time.perf_counter()
    if subprocess.run(command, check=False).returncode:
        raise UnetkitError("the training did not end well; its message stands above")
    return open_run(out), time.perf_counter() - started


def held_out(run: Run) -> Dataset:
    """Return the images that a run held out."""
    dataset = open_dataset(str(run.config.data.path), config=run.config.data)
    return in_memory(dataset, split_dataset(dataset, run.config.data.split).validation)


def score_objects(run: Run) -> dict[str, float]:
    """Make objects of the held-out images and score them."""
    predictor = unetkit.load(run)
    with cpu_threads(None):
        counts = [
            Overlaps.of(
                true_objects(sample.labels, sample.instances, predictor.data_classes),
                find_objects(predictor.probabilities(sample.pixels), predictor.classes, ObjectsConfig()),
            ).count()
            for sample in samples_of(held_out(run))
        ]
    return pool_objects(counts)


def table(run: Run, scores: dict[str, float], seconds: float) -> Iterator[str]:
    """Yield the lines of the result."""
    summary, evaluation = run.read_json("summary.json"), run.read_json("evaluation.json")
    network = run.config.model
    yield f"{network.name}, widths {network.widths}, {summary['step']} steps of {run.config.train.batch} patches"
    yield f"over {len(evaluation['images'])} held-out images"
    for name, words in SHOWN:
        value = scores.get(name)
        yield f"  {words:44} {'–' if value is None else f'{value:.4f}'}   {name}"
    phases = ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items())
    yield f"seconds: {seconds:.1f} for the whole command, of them {phases}"


def main() -> None:
    """Train, score, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description="the nuclei preset on DSB-2018: scores, and where the time goes")
    parser.add_argument("--data", type=Path, required=True, help="stage1_train.zip, or the folder it holds")
    parser.add_argument("--out", type=Path, required=True, help="the run folder to make")
    parser.add_argument("--append-record", action="store_true", help="add the result to benchmarks/RECORDS.md")
    parser.add_argument("overrides", nargs="*", help="key=value, such as train.steps=300")
    options = parser.parse_args()
    around = circumstances([], torch.device("cpu"))
    run, seconds = train(options.data, options.out, options.overrides)
    scores = run.read_json("evaluation.json")["scores"] | score_objects(run)
    lines = list(table(run, scores, seconds))
    print("\n".join(lines))
    if options.append_record:
        append_record("nuclei", around, lines)


if __name__ == "__main__":
    try:
        main()
    except UnetkitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
