"""Train one network with several losses on several data sets, and tell which loss serves.

    python benchmarks/losses.py --out FOLDER --data ISBI DSB2018 ... [--steps 600] [--seeds 2] [--append-record]

Each data set is planned once (`unetkit plan`), so that network, patches and split are its own; then every loss of the
table `LOSSES` trains it with the same steps and seeds. A row has the scores of the held-out images: the mean Dice of
the foreground's classes, the lowest Dice of a class, and the calibration error. What is finished is kept in FOLDER, and
the script goes on where it was stopped.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

import unetkit
from measure import append_record, circumstances
from unetkit.config import Config, load_config
from unetkit.run import open_run

LOSSES: dict[str, tuple[str, ...]] = {
    "cross entropy": ("loss.dice=0",),
    "+ Dice of all classes together": ("loss.dice=1", "loss.dice_form=joint"),
    "+ Dice of each class": ("loss.dice=1", "loss.dice_form=per-class"),
    "balanced class weights": ("loss.dice=0", "loss.class_weights=balanced"),
    "focal, gamma 2": ("loss.dice=0", "loss.focal=2"),
}
PLAIN = ("loss.cross_entropy=1", "loss.dice=0", "loss.focal=0", "loss.class_weights=null")


def planned(data: Path, folder: Path, steps: int) -> Config:
    """Return the plan of a data set, made once, with cross entropy alone."""
    path = folder / "plan.yaml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(unetkit.plan(data, minutes=1).yaml)
    every = [f"train.steps={steps}", "train.validate_every=null", f"train.checkpoint_every={steps}"]
    return load_config(path, [*PLAIN, *every])


def scores_of(config: Config, overrides: Sequence[str], out: Path) -> dict[str, float]:
    """Train, or go on with, a run, and return the scores of its held-out images."""
    if not (out / "evaluation.json").is_file():
        if (out / "config.yaml").is_file():
            unetkit.resume(out)
        else:
            unetkit.train(config, out=out, overrides=overrides)
    scores: dict[str, float] = open_run(out).read_json("evaluation.json")["scores"]
    classes = [score for name, score in scores.items() if name.startswith("dice_") and not name.endswith("_per_image")]
    return {
        "foreground_dice": scores["foreground_dice"],
        "lowest": min(classes, default=scores["foreground_dice"]),
        "calibration_error": scores["expected_calibration_error"],
    }


def table(sets: Sequence[Path], out: Path, steps: int, seeds: int) -> list[str]:
    """Return the rows of the table, in Markdown."""
    rows = ["| data | loss | Dice of the foreground | lowest class | calibration error |", "|---|---|---|---|---|"]
    for data in sets:
        config = planned(data, out / data.stem, steps)
        for loss, overrides in LOSSES.items():
            runs = [
                scores_of(
                    config, [*overrides, f"train.seed={seed}"], out / data.stem / f"{loss} {seed}".replace(" ", "-")
                )
                for seed in range(seeds)
            ]
            cells = [
                f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
                for key in runs[0]
                for values in [[run[key] for run in runs]]
            ]
            rows.append(f"| {data.stem} | {loss} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--append-record", action="store_true")
    asked = parser.parse_args()
    around = circumstances(("torch", "numpy"), torch.device("cpu"))
    rows = table(asked.data, asked.out, asked.steps, asked.seeds)
    (asked.out / "table.md").write_text("\n".join(rows) + "\n")
    if asked.append_record:
        append_record(f"Which loss serves, {asked.steps} steps, {asked.seeds} seeds", around, rows)


if __name__ == "__main__":
    main()
