"""The numbers with which objects are made, chosen on labelled images: what gives the highest mean precision.

Every combination of a few values is tried on every image; the first of equals is taken. To score the choice on images
that it was not made on, the images are halved in their order: each half is scored with what was chosen on the other.
The choice that is handed out is made on all of them. Assumes images that the network was not trained on.

Legend of shapes: N objects.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig
from unetkit.data import Dataset, fingerprint
from unetkit.devices import cpu_threads
from unetkit.distributed import World
from unetkit.errors import DataError, UsageError
from unetkit.evaluation.evaluate import folder_of, labelled
from unetkit.evaluation.score import Answer, Evaluation, ScoredImage, answers_of, notes_on, score, summarise
from unetkit.metrics import Metrics, Overlaps, mean_precision
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.objects import find_objects, method_for
from unetkit.prediction import Predictor
from unetkit.prediction.load import LoadOptions, Model, load, run_of
from unetkit.progress import Progress
from unetkit.run import open_run
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

    Each image is predicted once: what it is scored by with any choice follows from the overlaps that were tried.

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
    order, classes = sorted(indices), predictor.data_classes
    if len(order) < 2:
        raise DataError(f"{len(order)} image: at least two are needed, one to choose numbers on and one to score them")
    grid = GRIDS[method_for(predictor.classes, predictor.object_config)]
    whole = predictor.object_config.model_copy(update={"min_size": 0, "min_confidence": 0.0})  # drops nothing
    ways = [whole.model_copy(update=dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    trials = list[list[_Trial]]()

    def answered() -> Iterator[Answer]:
        for answer in answers_of(predictor, dataset, order, World()):
            one = answer.prediction
            true, probabilities = one.true_objects(), one.network_probabilities
            found = [find_objects(probabilities, predictor.classes, way) for way in ways]
            trials.append([_Trial(Overlaps.of(true, each), each.sizes(), each.confidences) for each in found])
            yield answer

    images = score(answered(), Metrics(), total=len(order), progress=progress)[""]
    tried = np.array([[mean_precision(way.kept(*drop)) for way in one for drop in FILTERS] for one in trials])
    half = len(order) // 2
    first, second = range(half), range(half, len(order))
    scored, notes, metrics = list[ScoredImage](), list[str](), Metrics(("overlap", "objects"))
    for places, others in ((first, second), (second, first)):
        names = [images[place].name for place in others]
        best, config = _best(tried[others.start : others.stop], ways, names)
        way, drop = best // len(FILTERS), FILTERS[best % len(FILTERS)]
        for place in places:
            counts = trials[place][way].kept(*drop).count()
            scored.append(replace(images[place], parts=images[place].parts | {"objects": counts}))
        said, _ = notes_on({"": predictor.with_card(objects=config)}, metrics)
        said += sorted({note for place in places for note in images[place].notes})
        span = f"{images[places.start].name} to {images[places.stop - 1].name}"
        notes += [f"{span}: {note}" for note in said]
    _, config = _best(tried, ways, [image.name for image in images])
    summary = replace(summarise(scored, metrics, classes), notes=tuple(notes))
    return Tuning(config.model_copy(update={"chosen_on": sha256}), summary)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The objects that one way makes of an image, before any is dropped.

    Attributes:
        overlaps: with the true ones.
        sizes: [N] the pixels of each.
        confidences: [N] the confidence of each.
    """

    overlaps: Overlaps
    sizes: NDArray[np.int64]
    confidences: NDArray[np.float32]

    def kept(self, min_size: int, min_confidence: float) -> Overlaps:
        """Return the overlaps of those that are large and sure enough."""
        return self.overlaps.without((self.sizes < min_size) | (self.confidences < min_confidence))


def _best(tried: NDArray[np.float64], ways: Sequence[ObjectsConfig], names: Sequence[str]) -> tuple[int, ObjectsConfig]:
    """Return which combination has the highest mean over the images that have a value, the first of equals."""
    known = ~np.isnan(tried)
    means = np.where(known, tried, 0).sum(0) / np.maximum(1, known.sum(0))
    best = int(means.argmax())
    way, (min_size, min_confidence) = ways[best // len(FILTERS)], FILTERS[best % len(FILTERS)]
    words = f"the highest mean_precision, {means[best]:.4f}, on {len(names)} images ({names[0]} to {names[-1]})"
    update = {"min_size": min_size, "min_confidence": min_confidence, "chosen": words}
    return best, way.model_copy(update=update)


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
    predictor, run = load(model, device=device, options=options), run_of(model)
    if folder_of(model) is not None:
        raise UsageError("the networks of a cross-validation together have seen all images; tune one of its runs")
    if isinstance(model, (str, Path)) and is_remote(model):
        run = open_run(Path(model))  # with its image in object storage, which the choice is sent to
    files = list[Path]()
    if keep and run is not None:
        files = [path for path in (run.best, run.last) if path.is_file()] or [run.weights()]
    elif keep and isinstance(model, (str, Path)) and Path(model).suffix == ".safetensors":
        files = [Path(model)]
    elif keep:
        raise UsageError("the choice can be kept in a run or in a .safetensors file of unetkit; leave --keep out")
    dataset, indices = labelled(data, predictor.card, run)
    sha256 = fingerprint(dataset).sha256_pixels
    if indices is None:
        if predictor.card.data_sha256 == sha256:
            raise UsageError("it was trained on all of this data; give images that it has not seen with --data DIR")
        indices = range(len(dataset))
    with cpu_threads((options or {}).get("threads")):
        tuning = tune(predictor, dataset, indices, sha256=sha256, progress=progress)
    if keep:
        with run.held() if run is not None else nullcontext():
            for path in files:
                Checkpoint.load(path).with_objects(tuning.chosen).save(path)
            if run is not None:
                run.with_config(run.config.model_copy(update={"objects": tuning.chosen})).send()
    return tuning
