"""What came of a cross-validation, in numbers: the spread over its trainings, and the whole of it as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unetkit.crossvalidation.folder import Folder
from unetkit.crossvalidation.scoring import OutOfFold


@dataclass(frozen=True, slots=True)
class Spread:
    """A score over several trainings.

    Attributes:
        mean: of the trainings' scores.
        std: their standard deviation, as of a sample (n - 1); NaN of one.
        low: the lowest.
        high: the highest.
        count: how many trainings have it.
    """

    mean: float
    std: float
    low: float
    high: float
    count: int


def spreads(scores: OutOfFold) -> dict[str, Spread]:
    """Return the spread of every score over the trainings, each on what it held out."""
    names = dict.fromkeys(name for one in scores.members.values() for name in one.scores)
    return {
        name: spread_of([one.scores[name] for one in scores.members.values() if name in one.scores]) for name in names
    }


def spread_of(values: list[float]) -> Spread:
    """Return the spread of at least one value."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Spread(float(np.mean(values)), std, min(values), max(values), len(values))


def as_json(folder: Folder, scores: OutOfFold, notes: tuple[str, ...]) -> dict[str, Any]:
    """Return everything as plain values."""
    seconds = train_seconds(folder)
    return {
        "folds": len(folder.folds.held_out),
        "seeds": sorted({member.seed for member in folder.members}),
        "split": folder.folds.config.data.split.method,
        "weights": "those of the last step",
        "notes": list(notes),
        "spread": {name: _plain(asdict(spread)) for name, spread in spreads(scores).items()},
        "members": [
            {
                "name": member.name,
                "fold": member.fold,
                "seed": member.seed,
                "images": [image.name for image in scores.members[member.name].images],
                "scores": scores.members[member.name].scores,
                "train_seconds": seconds[member.name],
            }
            for member in folder.members
        ],
        "out_of_fold": scores.whole.as_json(),
    }


def train_seconds(folder: Folder) -> dict[str, float]:
    """Return the seconds that the steps of every training took."""
    summaries = {member.name: folder.run(member).read_json("summary.json") for member in folder.members}
    return {name: summary["seconds"]["training"] for name, summary in summaries.items() if summary}


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if value == value else None for key, value in values.items()}


def spread_table(scores: OutOfFold) -> str:
    """Return the spread of every score and its value over all images, as aligned lines for a terminal."""
    found, whole = spreads(scores), scores.whole.scores
    names = list(dict.fromkeys((*found, *whole)))
    width = max(map(len, names))
    lines = [f"{'score':<{width}}  {'out of fold':>11}  {'mean':>7}  {'std':>6}  {'min':>7}  {'max':>7}"]
    for name in names:
        one = found.get(name)
        spread = f"  {one.mean:7.4f}  {one.std:6.4f}  {one.low:7.4f}  {one.high:7.4f}" if one else ""
        lines.append(f"{name:<{width}}  {whole.get(name, float('nan')):>11.4f}{spread}")
    trainings = len(scores.members)
    lines.append("")
    lines.append(f"out of fold: over all {len(scores.whole.images)} images, each predicted by what had not seen it")
    lines.append(f"mean to max: over {trainings} trainings, each on what it held out")
    return "\n".join(lines)
