"""Does it help to see neighbouring slices? Cross-validations with `model.context` 0, 1, ... on the same folds.

    python benchmarks/context.py --data ISBI --out FOLDER [--contexts 0 1] [--folds 5] [--seeds 1] [--steps 800]
                                 [--append-record]

The slices of a fold are neighbours (`data.split.method=blocks`), so that those at its two ends alone are seen with
slices that were trained on. All trainings have the same preset, steps and seeds. A row has scores out of fold, over all
slices; below the rows stand comparisons with the first one by the paired bootstrap, over single slices and over blocks
of three. What is finished is kept in FOLDER, and the script goes on where it was stopped.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch

import unetkit
from measure import append_record, circumstances

SCORES = (
    "foreground_dice",
    "v_rand_thinned",
    "v_rand_thinned_other_folds",
    "v_info_thinned",
    "v_info_thinned_other_folds",
    "pixel_accuracy",
    "expected_calibration_error",
)
COMPARED = ("foreground_dice", "v_rand_thinned", "v_info_thinned")


def table(
    data: Path, out: Path, contexts: Sequence[int], folds: int, seeds: int, overrides: Sequence[str]
) -> list[str]:
    """Return the rows of the table, and the comparisons, in Markdown."""
    rows = [f"| context | {' | '.join(SCORES)} |", f"|---|{'---|' * len(SCORES)}"]
    compared: list[str] = []
    for context in contexts:
        folder = out / f"context-{context}"
        asked = [*overrides, f"model.context={context}", "data.split.method=blocks"]
        unetkit.crossval("isbi", data=data, out=folder, folds=folds, seeds=seeds, overrides=asked)
        scores = json.loads((folder / "evaluation.json").read_text())["scores"]
        rows.append(f"| {context} | {' | '.join(f'{scores[name]:.4f}' if name in scores else '' for name in SCORES)} |")
        print(rows[-1], flush=True)
        if context != contexts[0]:
            for metric, block in product(COMPARED, (1, 3)):
                found = unetkit.compare(folder, out / f"context-{contexts[0]}", metric=metric, block=block)
                compared.append(
                    f"- {found.metric}, context {context} (A) against {contexts[0]} (B), blocks of {block}: "
                    f"{found.sentence}"
                )
                print(compared[-1], flush=True)
    return [*rows, "", *compared]


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--contexts", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--append-record", action="store_true")
    asked = parser.parse_args()
    around = circumstances(("torch", "numpy"), torch.device("cpu"))
    overrides = [f"train.steps={asked.steps}", "train.validate_every=null", f"train.checkpoint_every={asked.steps}"]
    rows = table(asked.data, asked.out, asked.contexts, asked.folds, asked.seeds, [*overrides, "train.threads=1"])
    if asked.append_record:
        title = f"Neighbouring slices, {asked.folds} folds, {asked.seeds} seeds, {asked.steps} steps"
        append_record(title, around, rows)


if __name__ == "__main__":
    main()
