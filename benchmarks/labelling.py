"""Measure how much has to be painted: a simulated annotator paints where it is told, or anywhere, and a network learns.

    python benchmarks/labelling.py isbi ../shared/data/isbi2012 [--seeds 3] [--append-record]
    python benchmarks/labelling.py drive ../shared/data/drive
    python benchmarks/labelling.py nuclei ../shared/data/dsb2018/stage1_train.zip
    python benchmarks/labelling.py isbi DIR --quick      # does it work? one seed, few steps, little paint

Images without masks become a project of `unetkit label`, in a temporary folder and without a browser. The annotator is
given a window by `guide` (guided), or any window of any page (random), and draws two short lines there, 3 px wide and
28 px long, along rows or columns: each pixel in the colour of its class, as brushes of two classes meet at a border. A
line goes through a pixel that the newest prediction gets wrong, where one is seen, else anywhere. It makes no mistakes.
After 16 windows the session takes the strokes over, trains, and predicts two more pages, as the page's worker does;
both ways get the same steps. At each share of painted pixels the mean Dice of all classes is measured on images that
the project does not have: fold 1 of blocks of the ISBI stack, DRIVE's test images inside their field of view, every
fourth of 240 nuclei images. `full` is the same network after the same steps with all masks of the same images painted.

`seconds` is processor time of training and predicting, on one thread; painting takes none here. A level counts as
reached at the first share that shows it.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from measure import append_record, circumstances, spread
from unetkit.config import DataConfig, SplitConfig
from unetkit.data import InMemory, open_dataset, split_dataset
from unetkit.data.dataset import Sample, division_of
from unetkit.devices import cpu_threads
from unetkit.errors import UnetkitError
from unetkit.evaluation.score import score_predictor
from unetkit.images.write import to_png
from unetkit.labelling.guide import SIDE, Box, Suggestion, box_of, choose, rank_windows
from unetkit.labelling.project import Project, open_project
from unetkit.labelling.strokes import UNCHANGED, Place, Stroke
from unetkit.labelling.trainer import Session, open_session

SHARES = (0.0005, 0.001, 0.002, 0.004, 0.0075, 0.015, 0.03)
STEPS = 250
WINDOWS = 16
LINES, LONG, WIDE = 2, 28, 3
PAGES = 2
LEVEL = 0.95
METRIC = "mean_dice"


@dataclass(frozen=True, slots=True)
class Task:
    """Images to paint on with their truth, and images to score."""

    classes: tuple[str, ...]
    paint: tuple[Sample, ...]
    score: tuple[Sample, ...]

    @classmethod
    def of(cls, name: str, path: Path, *, most: int | None) -> "Task":
        """Open a data set."""
        if name == "isbi":
            dataset = open_dataset(path)
            split = split_dataset(dataset, SplitConfig(method="blocks", fold=1))
            train, test = list(split.train), list(split.validation)
        elif name == "drive":
            dataset = open_dataset(path)
            test = list(division_of(dataset).test)
            train = [index for index in range(len(dataset)) if index not in set(test)]
        else:
            dataset = open_dataset(path, config=DataConfig())
            chosen = np.random.default_rng(0).permutation(len(dataset))[:240].tolist()
            test, train = chosen[::4], [index for place, index in enumerate(chosen) if place % 4]
        paint, score = (tuple(dataset[index] for index in some[:most]) for some in (train, test))
        return cls(dataset.classes, paint, score)


@dataclass(frozen=True, slots=True)
class Point:
    """What was reached with a share of painted pixels."""

    share: float
    step: int
    seconds: float
    dice: float


class Annotator:
    """Draws the truth in windows, in short lines through what is wrong there."""

    def __init__(self, project: Project, task: Task, rng: np.random.Generator) -> None:
        """Take images with their truth; `seen` holds what was last predicted of them."""
        self.project, self.rng, self.number, self.painted = project, rng, 0, 0
        self.seen: dict[int, NDArray[np.uint8]] = {}
        self.truth: list[NDArray[np.uint8]] = []
        for sample in task.paint:
            assert sample.labels is not None
            labels = (sample.labels + 1).astype(np.uint8)
            self.truth.append(labels if sample.valid is None else labels * sample.valid)
        self.pixels = sum(int((labels > 0).sum()) for labels in self.truth)

    def paint(self, where: Suggestion) -> None:
        """Draw in a window."""
        (image, _), (top, left, height, width) = where.place, where.box
        window = slice(top, top + height), slice(left, left + width)
        truth = self.truth[image][window]
        if not truth.any():
            return
        seen = self.seen.get(image)
        wrong = (truth > 0) if seen is None else (seen[window] + 1 != truth) & (truth > 0)
        box = np.full(truth.shape, UNCHANGED, np.uint8)
        for _ in range(LINES):
            row, column = self.rng.choice(np.argwhere(wrong if wrong.any() else truth > 0)).tolist()
            down, across = (LONG, WIDE) if self.rng.random() < 0.5 else (WIDE, LONG)
            rows = slice(max(row - down // 2, 0), row - down // 2 + down)
            columns = slice(max(column - across // 2, 0), column - across // 2 + across)
            box[rows, columns] = np.where(truth[rows, columns] > 0, truth[rows, columns], UNCHANGED)
        free = self.project.painting.at(where.place)[window] == 0
        self.painted += int((free & (box != UNCHANGED)).sum())
        self.number += 1
        self.project.paint(Stroke(where.place, top, left, to_png(box), "annotator", self.number))

    def anywhere(self) -> Suggestion:
        """Return any window of any page."""
        image = int(self.rng.integers(len(self.truth)))
        size = self.truth[image].shape
        row, column = (int(self.rng.integers(-(-side // SIDE))) for side in size)
        return Suggestion((image, 0), box_of(row, column, size), None)


def race(task: Task, way: str, seed: int, shares: Sequence[float], steps: int) -> list[Point]:
    """Paint and train in one way, and score at every share."""
    with tempfile.TemporaryDirectory() as folder:
        for index, sample in enumerate(task.paint):
            pixels = np.moveaxis(sample.pixels, 0, -1) if len(sample.pixels) == 3 else sample.pixels[0]
            Pillow.fromarray(pixels).save(Path(folder) / f"{index:04}.png")
        project = open_project(Path(folder), classes=task.classes)
        rng = np.random.default_rng([seed, 7])
        annotator = Annotator(project, task, rng)
        session = open_session(project.contents, overrides=["train.threads=1", f"train.seed={seed}"])
        begun, spent, points, ranked = 0.0, 0.0, list[Point](), dict[Place, list[Suggestion]]()
        visited: set[tuple[Place, Box]] = set()  # since the last predictions
        order, turn = rng.permutation(len(task.paint)).tolist(), 0
        if way == "full":
            for image, truth in enumerate(annotator.truth):
                project.paint(Stroke((image, 0), 0, 0, to_png(truth), "masks", image + 1))
            begun = time.process_time()
            session.sync()
            session.train(steps * len(shares))
            points = [Point(1.0, session.step, time.process_time() - begun, dice_of(session, task))]
            project.close()
            return points
        for number, share in enumerate(shares, 1):
            goal = share * annotator.pixels
            while annotator.painted < goal or session.step < number * steps:
                for _ in range(WINDOWS):
                    if annotator.painted >= goal:
                        break
                    told = choose(ranked, project.painting.pages, visited) if way == "guided" else None
                    where = told or annotator.anywhere()
                    visited.add((where.place, where.box))
                    annotator.paint(where)
                visited.clear()
                begun = time.process_time()
                session.sync()
                left = max(goal - annotator.painted, 0) / (WINDOWS * LINES * LONG * WIDE)
                take = math.ceil((number * steps - session.step) / (left + 1))
                session.train(max(min(take, number * steps - session.step), 1))
                for _ in range(PAGES):
                    place = (order[turn % len(order)], 0)
                    turn += 1
                    found = session.predict(place)
                    annotator.seen[place[0]] = found.classes
                    ranked[place] = rank_windows(place, found.uncertainty, session.painting.at(place) > 0)
                spent += time.process_time() - begun
            points.append(Point(annotator.painted / annotator.pixels, session.step, spent, dice_of(session, task)))
        project.close()
    return points


def dice_of(session: Session, task: Task) -> float:
    """Return the score on images that the project does not have."""
    return score_predictor(session.predictor(), InMemory(task.score, task.classes)).scores[METRIC]


def reached(points: Sequence[Point], level: float) -> Point | None:
    """Return the first point that reaches a level."""
    return next((point for point in points if point.dice >= level), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the races and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=("isbi", "drive", "nuclei"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS, help="between one share and the next")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--append-record", action="store_true")
    options = parser.parse_args(argv)
    shares, steps, seeds = (SHARES[:2], 20, 1) if options.quick else (SHARES, options.steps, options.seeds)
    around = circumstances((), torch.device("cpu"))
    lines = ["| way | seed | painted, % | steps | seconds | mean Dice |", "|---|---|---|---|---|---|"]
    try:
        task = Task.of(options.name, options.data, most=4 if options.quick else None)
        found: dict[str, list[list[Point]]] = {"full": [], "guided": [], "random": []}
        with cpu_threads(1):
            for seed in range(seeds):
                for way, races in found.items():
                    races.append(race(task, way, seed, shares, steps))
                    for point in races[-1]:
                        figures = f"{100 * point.share:.2f} | {point.step} | {point.seconds:.1f} | {point.dice:.4f}"
                        lines.append(f"| {way} | {seed} | {figures} |")
                        print(lines[-1], flush=True)
    except UnetkitError as error:
        print(error, file=sys.stderr)
        return 2
    full = float(np.mean([races[-1].dice for races in found["full"]]))
    last = spread([races[-1].dice for races in found["full"]], 4)
    summary = [f"full: {last}; {100 * LEVEL:.0f} % of its mean is {LEVEL * full:.4f}"]
    for way in ("guided", "random"):
        first = [reached(races, LEVEL * full) for races in found[way]]
        shown = ", ".join(
            "not reached" if one is None else f"{100 * one.share:.2f} % in {one.seconds:.0f} s" for one in first
        )
        summary.append(f"{way} reaches it with {shown}")
    print("\n".join(summary))
    if options.append_record and not options.quick:
        append_record(f"Labelling {options.name} by a simulated annotator", around, [*lines, *summary])
    return 0


if __name__ == "__main__":
    sys.exit(main())
