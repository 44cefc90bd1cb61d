"""The verb `compare`: two networks on the same images, with the interval that the images allow.

Also compares the heads of one UNet++: what each costs and how well it does, so that its user can choose speed or
accuracy.

Legend of shapes: T thresholds, N images, C counts.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from unetkit.data import Dataset
from unetkit.data.split import stack_of
from unetkit.errors import UsageError
from unetkit.evaluation.evaluate import evaluate
from unetkit.evaluation.score import choose_for, score_predictor
from unetkit.metrics import (
    DEFINITIONS,
    Difference,
    definition_of,
    error_of,
    family_of,
    paired_bootstrap,
    whole_score,
)
from unetkit.metrics.bootstrap import as_it_is, image_scores
from unetkit.metrics.definitions import find_definition
from unetkit.models import UNetPlusPlus, count_parameters
from unetkit.prediction import Predictor
from unetkit.prediction.load import Model
from unetkit.progress import Progress
from unetkit.run import Run

_Values = NDArray[np.float64]
_THRESHOLDED = ("v_rand_thinned", "v_info_thinned", "warping_error")
_POOLED = {"rand_error": "rand_counts", "pixel_error": "pixel_counts"}
_ISBI = (*_THRESHOLDED, *_POOLED)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks by one score.

    Attributes:
        metric: the score.
        first: its value of the first network.
        second: its value of the second.
        difference: first minus second, with its interval.
        images: the values of every image by its name, at the threshold of the whole.
        notes: what the reader should know.
    """

    metric: str
    first: float
    second: float
    difference: Difference
    images: dict[str, tuple[float, float]]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        one, card = self.difference, definition_of(self.metric)
        interval = f"95 % interval {one.low:+.4f} to {one.high:+.4f}, {one.images} images"
        if one.low <= 0 <= one.high:
            return f"A and B differ by {one.value:+.4f} ({interval}): these images do not tell which is better."
        wins = (one.value > 0) == (card.better == "higher")
        return f"{'A' if wins else 'B'} is better: A - B = {one.value:+.4f} ({interval})."

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"sentence": self.sentence, "definition": asdict(definition_of(self.metric))}


def compare(
    first: Model,
    second: Model,
    *,
    metric: str = "foreground_dice",
    data: str | Path | None = None,
    block: int = 1,
    seed: int = 0,
    trust: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two networks by the paired bootstrap over the images that both were scored on.

    Args:
        first: a run, a cross-validation's folder, any model, or a JSON file of `unetkit evaluate --json`.
        second: another.
        metric: a mean over images, or one of the ISBI challenge's numbers: these are pooled, and their thresholds
            chosen, anew in every resample.
        data: score both on this data; None: what each folder or file says of what was held out.
        block: neighbouring images that are drawn together, for the slices of a stack.
        seed: of the draws.
        trust: as of `load`.
        progress: follows the work.

    Raises:
        UsageError: other images, too few of them, or a score that single images do not have.

    Example:
        >>> print(unetkit.compare("runs/first", "runs/second").sentence)
    """
    scored = [_scored(model, metric, data, progress, trust=trust) for model in (first, second)]
    names, others = ([image["name"] for image in one["images"]] for one in scored)
    if names != others:
        odd = sorted(set(names) ^ set(others))
        found = f"{odd[0]} was scored for one alone" if odd else "their order differs"
        raise UsageError(
            f"A was scored on {len(names)} images and B on {len(others)}, not the same ones ({found}); "
            "give --data DIR with images that neither was trained on"
        )
    card, used, notes = definition_of(metric), metric, list[str]()
    if metric not in _ISBI and "mean over images" not in card.averaging:
        used = f"{metric}_per_image"
        if used not in DEFINITIONS and not card.classes.startswith("the one named"):
            raise UsageError(f"{metric} has no values of single images to draw from; name another --metric")
        notes.append(f"{metric} is of counts over all images; compared is {used}")
    how: Any = {"rule": error_of if used in _POOLED else as_it_is, "better": definition_of(used).better}
    try:
        values = [_values(one, used) for one in scored]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{used}: not a table of numbers in one of the two ({error}); evaluate it anew") from error
    there = np.all([np.isfinite(one).reshape(*one.shape[:2], -1).all((0, 2)) for one in values], axis=0)
    if not there.any():
        raise UsageError(f"no image has a value of {used} in both; name another --metric")
    ours, theirs = (one[:, there] for one in values)
    difference = paired_bootstrap(ours, theirs, block=block, seed=seed, **how)
    kept = [name for name, whole in zip(names, there, strict=True) if whole]
    each = zip(image_scores(ours, **how).tolist(), image_scores(theirs, **how).tolist(), strict=True)
    if len(kept) < len(names):
        notes.append(f"{len(names) - len(kept)} images have no value of {used} and are left out")
    if block == 1 and len(set(map(stack_of, names))) < len(names):
        notes.append("the images are slices of a stack, and neighbours look alike: --block 3 draws threes of them")
    one, other = (whole_score(values, **how) for values in (ours, theirs))
    return Comparison(used, one, other, difference, dict(zip(kept, each, strict=True)), tuple(notes))


class _Image(BaseModel):
    name: str
    scores: dict[str, float | None]


class _Isbi(BaseModel):
    rand_counts: list[list[list[float]]] | None = None
    pixel_counts: list[list[list[float]]] | None = None
    v_rand_thinned: dict[str, Any] | None = None
    v_info_thinned: dict[str, Any] | None = None
    warping_error: dict[str, Any] | None = None


class _Evaluation(BaseModel):
    """What is read of a file that a user gives."""

    images: list[_Image]
    scores: dict[str, float | None] = {}
    isbi: _Isbi | None = None


def _scored(
    model: Model, metric: str, data: str | Path | None, progress: Progress | None, *, trust: bool
) -> dict[str, Any]:
    """Return an evaluation as `evaluate --json` writes it: read where there is one that has the score, else made."""
    family = family_of(metric)
    path = model.path if isinstance(model, Run) else None if isinstance(model, Predictor) else Path(model)
    file = None if path is None else path / "evaluation.json" if path.is_dir() else path
    if data is None and path is not None and file is not None and file.suffix == ".json" and file.is_file():
        try:
            known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            _Evaluation.model_validate(known)
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(
                f"{file}: not an evaluation; expected a file that unetkit evaluate --json wrote"
            ) from error
        where: dict[str, Any] = (known.get("isbi") if metric in _ISBI else known.get("scores")) or {}
        if family == "overlap" or where.get(_POOLED.get(metric, metric)) is not None:
            return known
        if not path.is_dir() and family != "own":
            raise UsageError(
                f"{file}: holds no {metric} of every image; write it with unetkit evaluate --metrics {family} --json"
            )
    if family == "own":  # of a function that is not here
        find_definition(metric, DEFINITIONS)
    families = [family] if family != "overlap" else []
    evaluation = evaluate(model, data=data, metrics=families, options={"trust": trust}, progress=progress)
    return json.loads(json.dumps(evaluation.as_json()))


def _values(evaluation: dict[str, Any], metric: str) -> _Values:
    """Return the values [T, N] of every image, or its counts [T, N, C]; NaN where an image has none."""
    if metric in _POOLED:
        return np.array(evaluation["isbi"][_POOLED[metric]], np.float64)
    if metric in _THRESHOLDED:
        return np.array(evaluation["isbi"][metric]["slices"], np.float64)
    names = (metric, metric.removesuffix("_per_image"))
    rows = [[one["scores"].get(name) for name in names] for one in evaluation["images"]]
    return np.array([[next((v for v in row if v is not None), np.nan) for row in rows]], np.float64)


@dataclass(frozen=True, slots=True)
class Head:
    """A head and all that a prediction with it computes.

    Attributes:
        head: its number, from 1.
        parameters: trainable values in what it computes.
        seconds_per_megapixel: of prediction and scoring, on this machine.
        scores: over the images, by name.
    """

    head: int
    parameters: int
    seconds_per_megapixel: float
    scores: dict[str, float]


def measure_heads(predictor: Predictor, dataset: Dataset, *, metric: str = "foreground_dice") -> list[Head]:
    """Score every head of a network on labelled images; empty for networks without a choice of heads.

    Its head is chosen anew, and in the end as it was. Scores are those of the family overlap and of that of `metric`.
    """
    network = predictor.network
    if not isinstance(network, UNetPlusPlus) or not network.deep_supervision:
        return []
    chosen, heads, metrics = network.head, list[Head](), choose_for(predictor, [family_of(metric)], warping=False)
    pixels = sum(dataset[index].pixels[0].size for index in range(len(dataset)))
    for number in range(1, network.depth + 1):
        network.choose_head(number)
        begun = time.perf_counter()
        scores = score_predictor(replace(predictor, geometry=network.geometry), dataset, metrics=metrics).scores
        seconds = (time.perf_counter() - begun) / pixels * 1e6
        heads.append(Head(number, count_parameters(*network.modules_of_head(number)), seconds, scores))
    network.choose_head(chosen)
    return heads
