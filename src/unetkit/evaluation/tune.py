"""The numbers of masks and objects, chosen on labelled images: thresholds by Dice, objects by mean precision.

Masks: of every class but the background the threshold with the highest Dice over all pixels, so that their mean,
`foreground_dice`, is highest. An image's pixels are counted by true class, most probable class and probability, from
which the mask's scores at any thresholds follow exactly; 0.5, which is the most probable class, is one of those tried.
Objects: every combination of a few values is tried on every image; the first of equals is taken.

To score the choice on images that it was not made on, the images are halved in their order: each half is scored with
what was chosen on the other. The choice that is handed out is made on all of them. Assumes images that the network was
not trained on.

Legend of shapes: K classes, N objects, P pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig, PredictConfig
from unetkit.data import Dataset, fingerprint
from unetkit.devices import cpu_threads
from unetkit.distributed import World
from unetkit.errors import DataError, UsageError
from unetkit.evaluation.evaluate import folder_of, labelled
from unetkit.evaluation.score import Answer, Evaluation, ScoredImage, answers_of, notes_on, score, summarise
from unetkit.metrics import Metrics, Overlaps, Prediction, mean_precision
from unetkit.metrics.objects import counting
from unetkit.metrics.overlap import ImageOverlap, hard_scores
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import foreground_share
from unetkit.objects import ObjectMap, find_objects, method_for
from unetkit.prediction import Predictor, require_probabilities
from unetkit.prediction.load import LoadOptions, Model, load, run_of
from unetkit.progress import Progress
from unetkit.run import open_run
from unetkit.storage import is_remote

LIMITS = np.arange(1, 100, dtype=np.float32) / np.float32(100)
"""The thresholds of masks that are tried."""

_MIN_WIDTHS = (0.6, 0.7, 0.8, 0.9)
GRIDS: dict[str, dict[str, Sequence[float]]] = {
    "components": {"threshold": (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)},
    "distance": {"threshold": (0.3, 0.4, 0.5, 0.6, 0.7), "min_width": (0.0, *_MIN_WIDTHS, 0.95)},
    "borders": {"threshold": (0.4, 0.5, 0.6), "seed_threshold": (0.0, 0.2, 0.4), "min_width": _MIN_WIDTHS},
}
"""Which values each method is tried with."""

FILTERS = tuple(product((0, 10, 20, 30, 50, 80, 120, 200, 300, 500), (0.0, 0.6, 0.7, 0.8, 0.9)))
"""With each of them: `min_size` and `min_confidence`."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and how good it is.

    Attributes:
        predict: the section with the thresholds of masks that were chosen on all images; `threshold_chosen` says how.
        objects: the section with the numbers of objects, `chosen` says how; None where objects were not asked for.
        evaluation: of all images, each half with what was chosen on the other half.
    """

    predict: PredictConfig
    objects: ObjectsConfig | None
    evaluation: Evaluation

    def onto(self, predict: PredictConfig) -> PredictConfig:
        """Return a section with the thresholds that were chosen; the rest of it stays."""
        names = ("threshold", "threshold_chosen", "threshold_chosen_on")
        return predict.model_copy(update={name: getattr(self.predict, name) for name in names})

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values: the evaluation, and what was chosen."""
        predict = self.predict.model_dump(mode="json")
        chosen: dict[str, Any] = {"predict": {key: predict[key] for key in predict if key.startswith("threshold")}}
        if self.objects is not None:
            chosen["objects"] = self.objects.model_dump(mode="json")
        return self.evaluation.as_json() | {"chosen": chosen}


def choose(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    objects: bool = True,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Choose the thresholds of masks and the numbers of `objects` on labelled images; the method and `fill_holes` stay.

    The network was not trained on these images. Each is predicted once: what it is scored by with any choice follows
    from what was counted. `sha256` of the data set's pixels is kept with the choice.

    Raises:
        DataError: there are fewer than two images, or one has no labels.
        ConfigError: the classes and the section `objects` do not go together.
        UsageError: the network gives classes alone.
    """
    order, classes = sorted(indices), predictor.data_classes
    if len(order) < 2:
        raise DataError(f"{len(order)} image: at least two are needed, one to choose numbers on and one to score them")
    require_probabilities(predictor)
    ways = _ways(predictor) if objects else []
    shares, trials = list[_Shares](), list[list[_Trial]]()

    def answered() -> Iterator[Answer]:
        for answer in answers_of(predictor, dataset, order, World()):
            one = answer.prediction
            shares.append(_Shares.of(one))
            if ways:
                true, probabilities = one.true_objects(), one.network_probabilities
                found = (find_objects(probabilities, predictor.classes, way) for way in ways)
                trials.append([_Trial.of(true, each, one.valid) for each in found])
            yield answer

    images = score(answered(), Metrics(), total=len(order), progress=progress)[""]
    tried = np.array([[mean_precision(way.kept(*drop)) for way in one for drop in FILTERS] for one in trials])
    scored, notes = list[ScoredImage](), list[str]()
    metrics = Metrics(("overlap", "objects")) if objects else Metrics()
    half = len(order) // 2
    first, second = range(half), range(half, len(order))
    for places, others in ((first, second), (second, first)):
        names, (start, stop) = [images[place].name for place in others], (others.start, others.stop)
        limits, predict = _best_thresholds(shares[start:stop], predictor, names)
        best, config = _best_objects(tried[start:stop], ways, names) if ways else (0, predictor.object_config)
        for place in places:
            parts: dict[str, Any] = {"overlap": shares[place].overlap(limits, images[place].parts["overlap"], classes)}
            if ways:
                way, drop = best // len(FILTERS), FILTERS[best % len(FILTERS)]
                parts["objects"] = trials[place][way].kept(*drop).count()
            scored.append(replace(images[place], parts=parts))
        said, _ = notes_on({"": predictor.with_card(predict=predict, objects=config)}, metrics)
        said += sorted({note for place in places for note in images[place].notes})
        span = f"{images[places.start].name} to {images[places.stop - 1].name}"
        notes += [f"{span}: {note}" for note in said]
    if (before := summarise(images, Metrics(), classes).scores.get("foreground_dice")) is not None:
        notes.append(f"foreground_dice with the decision as it was: {before:.4f}")
    names = [image.name for image in images]
    _, predict = _best_thresholds(shares, predictor, names)
    update = {"threshold_chosen_on": sha256 if predict.threshold_chosen else None}
    config = _best_objects(tried, ways, names)[1].model_copy(update={"chosen_on": sha256}) if ways else None
    summary = replace(summarise(scored, metrics, classes), notes=tuple(notes))
    return Tuning(predict.model_copy(update=update), config, summary)


@dataclass(frozen=True, slots=True)
class _Shares:
    """The pixels of an image by true class, most probable class but the background, and how many `LIMITS` it is above.

    Attributes:
        true: of every combination that there is, the true class.
        top: the most probable class but the background.
        above: how many of the limits its probability against the background is above.
        pixels: how many pixels there are.
        classes: K.
    """

    true: NDArray[np.int64]
    top: NDArray[np.int64]
    above: NDArray[np.int64]
    pixels: NDArray[np.int64]
    classes: int

    @classmethod
    def of(cls, one: Prediction) -> "_Shares":
        one, count = one.counted(), len(one.classes)
        top_1HW, share_1HW = foreground_share(torch.from_numpy(one.probabilities)[None])
        above = np.searchsorted(LIMITS, share_1HW[0].numpy().astype(np.float32))
        codes = (one.labels.astype(np.int64) * count + top_1HW[0].numpy()) * (len(LIMITS) + 1) + above
        codes, pixels = np.unique(codes, return_counts=True)
        pairs, above = np.divmod(codes, len(LIMITS) + 1)
        return cls(*np.divmod(pairs, count), above, pixels, count)

    def overlap(self, limits: NDArray[np.int64], as_it_was: ImageOverlap, classes: Sequence[str]) -> ImageOverlap:
        """Return the scores of the image at one of the limits for every class [K]."""
        predicted = np.where(self.above > limits[self.top], self.top, 0)
        confusion = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(confusion, (self.true, predicted), self.pixels)
        return ImageOverlap(as_it_was.scores | hard_scores(confusion, classes), confusion)


def _best_thresholds(
    shares: Sequence[_Shares], predictor: Predictor, names: Sequence[str]
) -> tuple[NDArray[np.int64], PredictConfig]:
    """Return which limit gives every class [K] its highest Dice, of equals the one nearest to 0.5, and the section."""
    classes, limits = predictor.data_classes, np.full(len(predictor.data_classes), len(LIMITS) // 2)
    dice = list[float]()
    for k in range(1, len(classes)):
        found, hits = np.zeros((2, len(LIMITS) + 1))
        for one in shares:
            mine = one.top == k
            np.add.at(found, one.above[mine], one.pixels[mine])
            np.add.at(hits, one.above[mine & (one.true == k)], one.pixels[mine & (one.true == k)])
        true = sum(int(one.pixels[one.true == k].sum()) for one in shares)
        if not true:
            continue
        # Pixels are found at a limit if they are above it: summed from the highest, less those above none.
        found, hits = (counts[::-1].cumsum()[::-1][1:] for counts in (found, hits))
        dice_T = 2 * hits / (found + true)
        best = np.flatnonzero(dice_T == dice_T.max())
        limits[k] = best[np.abs(best - len(LIMITS) // 2).argmin()]
        dice.append(float(dice_T.max()))
    values = {name: round(float(LIMITS[limit]), 2) for name, limit in zip(classes[1:], limits[1:], strict=True)}
    plain = all(value == 0.5 for value in values.values())
    words = None
    if not plain:
        how = "".join(f" with predict.{key}" for key in ("tta", "calibrate") if getattr(predictor.config, key))
        span = f"on {len(names)} images ({names[0]} to {names[-1]})"
        words = f"the highest foreground_dice, {np.mean(dice):.4f}, {span}{how}"
    threshold = None if plain else values if len(values) > 1 else values[classes[1]]
    update = {"threshold": threshold, "threshold_chosen": words, "threshold_chosen_on": None}
    return limits, predictor.config.model_copy(update=update)


def _ways(predictor: Predictor) -> list[ObjectsConfig]:
    """Return every way to make objects that is tried; none of them drops any."""
    grid = GRIDS[method_for(predictor.classes, predictor.object_config)]
    whole = predictor.object_config.model_copy(update={"min_size": 0, "min_confidence": 0.0})
    return [whole.model_copy(update=dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


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

    @classmethod
    def of(cls, true: ObjectMap, found: ObjectMap, valid: NDArray[np.bool_] | None) -> "_Trial":
        sides = (true, found) if valid is None else counting(true, found, valid)
        return cls(Overlaps.of(*sides), found.sizes(), found.confidences)

    def kept(self, min_size: int, min_confidence: float) -> Overlaps:
        """Return the overlaps of those that are large and sure enough."""
        return self.overlaps.without((self.sizes < min_size) | (self.confidences < min_confidence))


def _best_objects(
    tried: NDArray[np.float64], ways: Sequence[ObjectsConfig], names: Sequence[str]
) -> tuple[int, ObjectsConfig]:
    """Return which combination has the highest mean over the images that have a value, the first of equals."""
    known = ~np.isnan(tried)
    means = np.where(known, tried, 0).sum(0) / np.maximum(1, known.sum(0))
    best = int(means.argmax())
    way, (min_size, min_confidence) = ways[best // len(FILTERS)], FILTERS[best % len(FILTERS)]
    words = f"the highest mean_precision, {means[best]:.4f}, on {len(names)} images ({names[0]} to {names[-1]})"
    update = {"min_size": min_size, "min_confidence": min_confidence, "chosen": words}
    return best, way.model_copy(update=update)


def tune(
    model: Model,
    *,
    data: str | Path | None = None,
    objects: bool | None = None,
    keep: bool = False,
    options: LoadOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Tuning:
    """Choose the thresholds of masks and the numbers of objects, and score the choice on images it was not made on.

    A run that is given the data it was trained on chooses on what it held out. Any other data has to be images that the
    network was not trained on.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        data: the data set; None: the run's own.
        objects: choose the numbers of the section `objects` by mean precision, too; None: where the data tells objects
            apart or the network has a border class.
        keep: write the choice into the run's configuration and weights, or into the network file, so that predictions
            are made by it.
        options: as of `load`; how objects are made and `fill_holes` are taken, the numbers are chosen.
        device: auto, cpu, cuda or mps.
        progress: follows the work.

    Raises:
        UsageError: the run held nothing out, or there is no file of ours to keep the choice in.
        DataError: fewer than two images, or images without labels.

    Example:
        >>> unetkit.tune("runs/vessels", keep=True).predict.threshold
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
    if objects is None:
        objects = predictor.border or any(dataset[index].instances is not None for index in indices[:1])
    with cpu_threads((options or {}).get("threads")):
        tuning = choose(predictor, dataset, indices, objects=objects, sha256=sha256, progress=progress)
    if keep:
        with run.held() if run is not None else nullcontext():
            for path in files:
                checkpoint = Checkpoint.load(path)
                card = checkpoint.card
                kept = {"predict": tuning.onto(card.predict), "objects": tuning.objects or card.objects}
                checkpoint.with_card(card.model_copy(update=kept)).save(path)
            if run is not None:
                config = run.config
                kept = {"predict": tuning.onto(config.predict), "objects": tuning.objects or config.objects}
                run.with_config(config.model_copy(update=kept)).send()
    return tuning
