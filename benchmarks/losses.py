"""Train one network with several losses on several data sets, and tell which loss serves.

    python benchmarks/losses.py --data DIR DIR ... --out FOLDER [--steps 600] [--seeds 2] [--append-record]
        [key=value ...]

Each data set is planned once (`unetkit plan DIR key=value ...`), so that its network, patches and split are its own;
then every loss of the table `LOSSES` trains it with the same steps and seeds, one seed of everything before the next.
The weights of the last step are scored on the held-out images, without flips and turns:

- the mean Dice of the foreground's classes, where each pixel is of its most probable class, and where each class has
  the threshold that is best for these very images (of 14 between 0 and 1): a loss that moves probabilities up or down
  and does nothing else gains nothing there;
- the Dice of the rarest class;
- the AJI, where objects touch and a border class parts them;
- the calibration error as it is, and at the temperature that is best for these very images: what is left is no matter
  of too little or too much confidence alone;
- how much probability the rarest class is given in all at that temperature, in units of its pixels: 1 is right, 2 is
  twice too much.

What is finished is kept in FOLDER, and the script goes on where it was stopped.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import unetkit
from measure import append_record, circumstances
from unetkit.config import Config, load_config
from unetkit.evaluation.score import Evaluation, choose_for, score_predictor
from unetkit.metrics.overlap import class_labels
from unetkit.prediction.load import LAST
from unetkit.progress import NoProgress
from unetkit.training.own import Own
from unetkit.training.prepare import Prepared, prepare
from unetkit.training.train import fit

LOSSES: dict[str, tuple[str, ...]] = {
    "cross entropy": (),
    "+ Dice of all classes together": ("loss.dice=1", "loss.dice_form=joint"),
    "+ Dice of each class": ("loss.dice=1", "loss.dice_form=per-class"),
    "+ 0.2 Dice of each class": ("loss.dice=0.2", "loss.dice_form=per-class"),
    "balanced class weights": ("loss.class_weights=balanced",),
    "focal, gamma 2": ("loss.focal=2",),
}
PLAIN = ("loss.cross_entropy=1", "loss.dice=0", "loss.focal=0", "loss.class_weights=null")
COLUMNS = (
    *("Dice", "Dice at the best thresholds", "rarest class", "AJI"),
    *("calibration error", "at its best temperature", "rarest class: given / true"),
)
KEPT = "losses.json"  # the scores of a training, in its folder


@dataclass(frozen=True, slots=True)
class Data:
    """A data set with its plan.

    Attributes:
        name: for the table.
        folder: where its trainings are kept.
        config: its plan, with cross entropy alone.
        prepared: its images, read once.
    """

    name: str
    folder: Path
    config: Config
    prepared: Prepared

    @property
    def rarest(self) -> int:
        """The class with the fewest pixels."""
        shares: Sequence[float] = self.prepared.description["class_shares"]
        return min((index for index, share in enumerate(shares) if share), key=lambda index: shares[index])

    def __str__(self) -> str:
        """The name with the rarest class and its share."""
        share = self.prepared.description["class_shares"][self.rarest]
        return f"{self.name}: {self.prepared.dataset.classes[self.rarest]} {100 * share:.2g} %"


def planned(path: Path, out: Path, steps: int, asked: Sequence[str]) -> Data:
    """Open a data set and its plan, which is made once."""
    folder = out / path.stem
    plan = folder / "plan.yaml"
    if not plan.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        plan.write_text(unetkit.plan(path, overrides=asked).yaml)
    own_scores = [f"train.validate_from={steps + 1}", "data.check=essential"]
    config = load_config(plan, [*PLAIN, *own_scores, f"train.steps={steps}", f"train.checkpoint_every={steps}"])
    return Data(path.stem, folder, config, prepare(config, checked=True))


def score_loss(data: Data, loss: str, seed: int) -> None:
    """Train with a loss and a seed, and score the held-out images, unless that is done."""
    out = data.folder / f"{loss} {seed}".replace(" ", "-")
    if (out / KEPT).is_file():
        return
    begun = time.perf_counter()
    if not (out / LAST).is_file():
        shutil.rmtree(out, ignore_errors=True)
        fit(load_config(data.config, [*LOSSES[loss], f"train.seed={seed}"]), out, own=Own(), progress=NoProgress())
    trained = time.perf_counter()
    (out / KEPT).write_text(json.dumps(numbers(data, out)))
    scored = time.perf_counter()
    print(f"{out}: {trained - begun:.0f} s of training, {scored - trained:.0f} s of scores", flush=True)


def numbers(data: Data, run: Path) -> dict[str, float]:
    """Score a run on the held-out images."""
    predictor = unetkit.load(run, options={"tta": False, "calibrate": False})
    metrics = choose_for(predictor, ["calibration", *(["objects"] if data.config.data.border_width else [])])
    held_out = data.prepared.split.validation
    scored = score_predictor(predictor, data.prepared.dataset, indices=held_out, metrics=metrics)
    return row(scored, data.rarest)


def row(scored: Evaluation, rarest: int) -> dict[str, float]:
    """Return the columns of an evaluation; what it does not have is left out."""
    confidence = scored.confidence
    assert confidence is not None
    classes = confidence.reliability.classes[1:]
    _, given, true = confidence.calibrated.classes[rarest].sum(1)
    values = (
        scored.scores["foreground_dice"],
        sum(map(best_dice, classes)) / len(classes),
        scored.scores[f"dice_{class_labels(scored.classes)[rarest]}"],
        scored.scores.get("aji"),
        confidence.reliability.error,
        confidence.calibrated.error,
        given / true,
    )
    return {name: float(value) for name, value in zip(COLUMNS, values, strict=True) if value is not None}


def best_dice(counts: NDArray[np.float64]) -> float:
    """Return the highest Dice of a class by thresholds between its bins [3, B] of pixels, probabilities and hits."""
    above = counts[:, ::-1].cumsum(1)
    pixels, _, hits = above
    return float((2 * hits / (pixels + hits[-1]))[:-1].max())


def line(data: Data, loss: str) -> str:
    """Return a row of the table, in Markdown: means over the seeds that are there, with the lowest and the highest."""
    kept = sorted(data.folder.glob(f"{loss} ".replace(" ", "-") + f"[0-9]/{KEPT}"))
    runs: list[dict[str, float]] = [json.loads(path.read_text()) for path in kept]
    cells = list[str]()
    for name in COLUMNS:
        values = [run[name] for run in runs if name in run]
        if not values:
            cells.append("–")
            continue
        digits = 4 if "calibration" in name or "temperature" in name else 3
        mean, low, high = (f"{value:.{digits}f}" for value in (statistics.mean(values), min(values), max(values)))
        cells.append(f"{mean} ({low} to {high})" if len(values) > 1 else mean)
    return f"| {data} | {loss} | {len(runs)} | {' | '.join(cells)} |"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--append-record", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    asked = parser.parse_args()
    around = circumstances(("torch", "numpy"), torch.device("cpu"))
    sets = [planned(path, asked.out, asked.steps, asked.overrides) for path in asked.data]
    for seed in range(asked.seeds):
        for data in sets:
            for loss in LOSSES:
                score_loss(data, loss, seed)
    rows = [f"| data: rarest class | loss | seeds | {' | '.join(COLUMNS)} |", "|---" * (3 + len(COLUMNS)) + "|"]
    rows += [line(data, loss) for data in sets for loss in LOSSES]
    print("\n".join(rows))
    if asked.append_record:
        append_record(f"Which loss serves, {asked.steps} steps", around, rows)


if __name__ == "__main__":
    main()
