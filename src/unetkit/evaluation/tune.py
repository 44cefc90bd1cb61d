"""The numbers with which objects are made, chosen on labelled images: what gives the highest mean precision.

Every combination of a few values is tried on every image; the first of equals is taken. To score the choice on images
that it was not made on, the images are halved in their order: each half is scored with what was chosen on the other.
The choice that is handed out is made on all of them. Does not know where the images come from: whoever calls gives such
that the network was not trained on.

tune_objects: the numbers with which objects are made, chosen on images that a network was not trained on.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig
from unetkit.data import Dataset, Sample, fingerprint
from unetkit.devices import cpu_threads
from unetkit.errors import DataError, UsageError
from unetkit.evaluation.evaluate import folder_of, labelled
from unetkit.evaluation.score import Evaluation, evaluate, objects_of
from unetkit.metrics import Overlaps, mean_precision, pool
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.objects import find_objects, method_for
from unetkit.prediction import Predictor
from unetkit.prediction.load import LoadOptions, Model, load, run_of
from unetkit.progress import NoProgress, Progress
from unetkit.run import Run, open_run
from unetkit.storage import is_remote

_MIN_WIDTHS = (0.6, 0.7, 0.8, 0.9)
GRIDS: dict[str, dict[str, Sequence[float]]] = {
    "components": {"threshold": (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)},
    "distance": {"threshold": (0.3, 0.4, 0.5, 0.6, 0.7), "min_width": (0.0, *_MIN_WIDTHS, 0.95)},
    "borders": {"threshold": (0.4, 0.5, 0.6), "seed_threshold": (0.0, 0.2, 0.4), "min_width": _MIN_WIDTHS},
}
"""Which values each method is tried with."""

FILTERS = tuple(product((0, 10, 20, 30, 50, 80, 120), (0.0, 0.6, 0.7, 0.8, 0.9)))
"""With each of them: `min_size` and `min_confidence`."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and how good it is.

    Attributes:
        chosen: on all images; `chosen.chosen` says how.
        evaluation: of all images, each half with what was chosen on the other half.
    """

    chosen: ObjectsConfig
    evaluation: Evaluation

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values: the evaluation, and what was chosen."""
        return self.evaluation.as_json() | {"chosen": self.chosen.model_dump(mode="json")}


def tune(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Choose the numbers of `objects` on labelled images; the method and `fill_holes` stay as they are.

    Args:
        predictor: the network.
        dataset: images with labels.
        indices: which of them; the network was not trained on these.
        sha256: of the pixels of the data set, to be kept with the choice.
        progress: follows the work.

    Raises:
        DataError: there are fewer than two images, or one has no labels.
        ConfigError: the classes and the section `objects` do not go together.
    """
    order = sorted(indices)
    if len(order) < 2:
        raise DataError(f"{len(order)} image: at least two are needed, one to choose numbers on and one to score them")
    partings = _partings(predictor)
    tried = np.empty((len(order), len(partings) * len(FILTERS)))
    names: list[str] = []
    for place, index in enumerate(order):
        (progress or NoProgress()).update(place, len(order), {})
        sample = dataset[index]
        names.append(sample.name)
        tried[place] = _tried(predictor, sample, partings)
    half = len(order) // 2
    first, second = slice(half), slice(half, None)
    parts: list[Evaluation] = []
    for scored, judged in ((first, second), (second, first)):
        chosen = predictor.with_card(objects=_best(tried[judged], partings, names[judged]))
        parts.append(evaluate(chosen, dataset, indices=order[scored], legacy_protocol=True, families=("objects",)))
    chosen = _best(tried, partings, names).model_copy(update={"chosen_on": sha256})
    return Tuning(chosen, _joined(parts))


def _partings(predictor: Predictor) -> list[ObjectsConfig]:
    """Return every way to part objects that is tried; none drops any."""
    config = predictor.object_config
    grid = GRIDS[method_for(predictor.classes, config)]
    whole = config.model_copy(update={"min_size": 0, "min_confidence": 0.0})
    return [whole.model_copy(update=dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


def _tried(predictor: Predictor, sample: Sample, partings: Sequence[ObjectsConfig]) -> list[float]:
    """Return the image's mean precision by every parting and, within it, every filter; NaN without objects."""
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels; --tune needs a mask for every image")
    probabilities, true = predictor.probabilities(sample.pixels), objects_of(sample, predictor.data_classes)
    values: list[float] = []
    for parting in partings:
        found = find_objects(probabilities, predictor.classes, parting)
        overlaps, sizes = Overlaps.of(true, found), found.sizes()
        for min_size, min_confidence in FILTERS:
            dropped = (sizes < min_size) | (found.confidences < min_confidence)
            values.append(mean_precision(overlaps.without(dropped)))
    return values


def _best(tried: NDArray[np.float64], partings: Sequence[ObjectsConfig], names: Sequence[str]) -> ObjectsConfig:
    """Return the combination with the highest mean over the images that have a value, the first of equals."""
    known = ~np.isnan(tried)
    means = np.where(known, tried, 0).sum(0) / np.maximum(1, known.sum(0))
    best = int(means.argmax())
    parting, (min_size, min_confidence) = partings[best // len(FILTERS)], FILTERS[best % len(FILTERS)]
    words = f"the highest mean_precision, {means[best]:.4f}, on {len(names)} images ({names[0]} to {names[-1]})"
    return parting.model_copy(update={"min_size": min_size, "min_confidence": min_confidence, "chosen": words})


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    images = tuple(image for part in parts for image in part.images)
    notes = [f"{part.images[0].name} to {part.images[-1].name}: {note}" for part in parts for note in part.notes]
    return Evaluation(pool(images, parts[0].classes), images, parts[0].classes, tuple(notes))


def tune_objects(
    model: Model,
    *,
    data: str | Path | None = None,
    keep: bool = False,
    options: LoadOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Tuning:
    """Choose the numbers of the section `objects` by mean precision, and score the choice on images it was not made on.

    A run that is given the data it was trained on chooses on what it held out. Any other data has to be images that the
    network was not trained on.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        data: the data set; None: the run's own.
        keep: write the choice into the run's configuration and weights, or into the network file, so that predictions
            make objects by it.
        options: as of `load`; the method and `fill_holes` are taken, the numbers are chosen.
        device: auto, cpu, cuda or mps.
        progress: follows the work.

    Raises:
        UsageError: the run held nothing out, or there is no file of ours to keep the choice in.
        DataError: fewer than two images, or images without labels.

    Example:
        >>> unetkit.tune_objects("runs/nuclei", keep=True).chosen.threshold
    """
    predictor, run = load(model, device=device, options=options), _run_of(model)
    files = _files_of(model, run) if keep else []
    dataset, held = labelled(data, predictor.data_classes, run)
    sha256 = fingerprint(dataset).sha256_pixels
    indices = _untrained(run, dataset, held, sha256)
    with cpu_threads((options or {}).get("threads")):
        tuning = tune(predictor, dataset, indices, sha256=sha256, progress=progress)
    if keep:
        _keep(tuning.chosen, files, run)
    return tuning


def _run_of(model: Model) -> Run | None:
    """Return the run that a model belongs to; one in object storage with its image there, which a choice is sent to."""
    if folder_of(model) is not None:
        raise UsageError("the networks of a cross-validation together have seen all images; tune one of its runs")
    if isinstance(model, (str, Path)) and is_remote(model):
        return open_run(Path(model))
    return run_of(model)


def _untrained(run: Run | None, dataset: Dataset, held: Sequence[int] | None, sha256: str) -> Sequence[int]:
    if held is not None:
        return held
    known = None if run is None else run.read_json("data.json")
    if known is not None and known["sha256_pixels"] == sha256:
        raise UsageError("the run was trained on all of this data; give images that it has not seen with --data DIR")
    return range(len(dataset))


def _files_of(model: Model, run: Run | None) -> list[Path]:
    """Return the network files that a choice is kept in."""
    if run is not None:
        return [path for path in (run.best, run.last) if path.is_file()] or [run.weights()]
    if isinstance(model, (str, Path)) and Path(model).suffix == ".safetensors":
        return [Path(model)]
    raise UsageError("the choice can be kept in a run or in a .safetensors file of unetkit; leave --keep out")


def _keep(chosen: ObjectsConfig, files: Sequence[Path], run: Run | None) -> None:
    with run.held() if run is not None else nullcontext():
        for path in files:
            Checkpoint.load(path).with_objects(chosen).save(path)
        if run is not None:
            run.with_config(run.config.model_copy(update={"objects": chosen})).send()
