"""The one evaluation: a loop over images with labels and the probabilities that somebody answered, whoever that was.

Validations, final scores, reports, cross-validations, tuning and files all come through `score`. What differs is where
the answers come from: a predictor (`answers_of`, `score_predictor`), the folds of a cross-validation, or files. An
image costs one prediction; the family legacy, which resizes images before the network, costs a second one where the
network does not do that by itself.

Images are scored at their own size, and on the classes that the data has: a network's border class counts as the object
that it belongs to, so that a score means the same with it and without. Which scores there are and how each is computed
say `metrics.FAMILIES`. Does not know how a network was trained.

Legend of shapes: L classes of a network, H height, W width.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from html import escape
from typing import Any

import torch
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig, TrainConfig
from unetkit.data import Dataset, Sample
from unetkit.data.resize import resize_sample
from unetkit.display import short, table
from unetkit.distributed import World
from unetkit.errors import DataError
from unetkit.metrics import (
    FAMILIES,
    ImageScores,
    IsbiScores,
    Metrics,
    ObjectCounts,
    Prediction,
    added,
    choose_metrics,
    deciding_scores,
    deciding_table,
    definition_of,
    family_of,
    usual_families,
)
from unetkit.metrics.binary import Curve
from unetkit.metrics.calibration import Confidence
from unetkit.metrics.legacy import SIZES
from unetkit.objects import ObjectMap, describe, true_objects
from unetkit.prediction import Predictor, require_probabilities
from unetkit.prediction.predictor import AT_ONCE
from unetkit.progress import NoProgress, Progress
from unetkit.run import OWN_FUNCTIONS, Run


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to an image with labels.

    Attributes:
        prediction: the probabilities next to the truth.
        places: the image's place in every set of images that it counts in, by the set's name: an evaluation has the one
            named "", a cross-validation several.
        notes: what the reader of the numbers should know.
    """

    prediction: Prediction
    places: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """What is kept of an image.

    Attributes:
        name: the image's name.
        parts: what each family kept, by its name.
        notes: those of its answer.
    """

    name: str
    parts: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a network on a set of images.

    Attributes:
        scores: over the set, by name; `metrics.definition_of(name)` says what each means.
        images: of every image, in order.
        classes: names of the classes.
        notes: what the reader of the numbers should know.
        isbi: the challenge's numbers at every threshold and of every image; None where they were not asked for.
        objects: how objects were made of probabilities; None where they were not asked for, or in several ways.
        confidence: how far the probabilities can be trusted; None where it was not asked, or there are none.
        curves: ROC and precision-recall of classes against the rest, by their names; None where not asked for.
    """

    scores: dict[str, float]
    images: tuple[ImageScores, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    isbi: IsbiScores | None = None
    objects: ObjectsConfig | None = None
    confidence: Confidence | None = None
    curves: Mapping[str, Curve] | None = None

    @property
    def object_counts(self) -> ObjectCounts | None:
        """What was counted of the objects of all images; None where they were not asked for."""
        counts = [image.objects for image in self.images if image.objects is not None]
        return added(counts) if counts else None

    def _repr_html_(self) -> str:
        names = deciding_scores(self.scores)
        columns = [name for name in names if any(name in image.scores for image in self.images)]
        rows = [[image.name, *(short(image.scores.get(name)) for name in columns)] for image in self.images]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return deciding_table(self.scores) + table(["image", *columns], rows) + notes

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values: scores, the same for every image, and the definition of each number."""
        names = sorted({definition_of(name).name for name in self.scores})
        images = [
            {"name": image.name, "scores": image.scores}
            | ({} if image.objects is None else {"objects": image.objects.as_json()})
            for image in self.images
        ]
        content: dict[str, Any] = {"scores": self.scores, "images": images, "classes": list(self.classes)}
        content |= {"notes": list(self.notes), "definitions": {name: asdict(definition_of(name)) for name in names}}
        if self.isbi is not None:
            content["isbi"] = self.isbi.as_dict()
        if (counts := self.object_counts) is not None:
            made_by = {} if self.objects is None else {"made_by": self.objects.model_dump(mode="json")}
            content["objects"] = {"counts": counts.as_json()} | made_by
        if self.confidence is not None:
            content["confidence"] = self.confidence.as_dict()
        if self.curves is not None:
            content["curves"] = {name: curve.as_dict() for name, curve in self.curves.items()}
        return content


def score(
    answers: Iterable[Answer],
    metrics: Metrics,
    *,
    total: int = 0,
    world: World = World(),
    progress: Progress | None = None,
) -> dict[str, list[ScoredImage]]:
    """Score the answers to this process's share of the images, in any order; each is forgotten before the next comes.

    Of the processes that share the images (`world`) each gets the whole result; `total` answers are expected here.

    Returns:
        The images of every set, by its name and in order; `summarise` makes an Evaluation of them.

    Raises:
        DataError: labels that there is no class for.
    """
    mine, shown = dict[str, dict[int, ScoredImage]](), progress or NoProgress()
    shown.update(0, total, {})
    for done, answer in enumerate(answers, 1):
        one = answer.prediction
        parts = {name: FAMILIES[name].of_image(one, metrics) for name in metrics.families}
        for name, place in answer.places.items():
            mine.setdefault(name, {})[place] = ScoredImage(one.name, parts, answer.notes)
        if done < total:
            shown.update(done, total, {})
    whole = dict[str, dict[int, ScoredImage]]()
    for share in world.gather(mine):
        for name, images in share.items():
            whole.setdefault(name, {}).update(images)
    return {name: [images[place] for place in sorted(images)] for name, images in whole.items()}


def summarise(
    images: Sequence[ScoredImage],
    metrics: Metrics,
    classes: tuple[str, ...],
    *,
    notes: Sequence[str] = (),
    objects: ObjectsConfig | None = None,
) -> Evaluation:
    """Pool at least one image, all scored by `metrics`; `notes` stand before those of the images.

    `objects` says how objects were made, where that was done in one way.
    """
    scores, details = dict[str, float](), dict[str, Any]()
    own: list[dict[str, float]] = [{} for _ in images]
    for name in metrics.families:
        pooled = FAMILIES[name].of_set([image.parts[name] for image in images], classes)
        scores |= pooled.scores
        details[name] = pooled.details
        for collected, more in zip(own, pooled.images, strict=True):
            collected |= more
    each = zip(images, own, strict=True)
    if "surface" in details:
        notes = (*notes, f"distances between outlines are in {details['surface']}")
    return Evaluation(
        scores,
        tuple(ImageScores(image.name, its, image.parts.get("objects")) for image, its in each),
        classes,
        (*notes, *sorted({note for image in images for note in image.notes})),
        details.get("isbi"),
        objects,
        details.get("calibration"),
        details.get("binary"),
    )


def score_predictor(
    predictor: Predictor,
    dataset: Dataset,
    *,
    indices: Sequence[int] | None = None,
    metrics: Metrics = Metrics(),
    world: World = World(),
    progress: Progress | None = None,
) -> Evaluation:
    """Predict labelled images, all or those of `indices`, and score them against their labels.

    What needs probabilities is left out where the network has none, but isbi refused. Of the processes that share the
    images (`world`) each gets the whole result.

    Raises:
        DataError, UsageError: labels that are missing or do not fit; no probabilities for the challenge's numbers.
    """
    if "isbi" in metrics.families:
        require_probabilities(predictor)
    if predictor.card.outputs_labels:
        kept = tuple(name for name in metrics.families if not FAMILIES[name].of_probabilities)
        metrics = replace(metrics, families=kept)
    if predictor.card.outputs_labels or predictor.card.uint8_input:  # it has no fractions to give, or takes none
        metrics = replace(metrics, legacy_size=None)
    chosen = range(len(dataset)) if indices is None else indices
    answers = answers_of(predictor, dataset, chosen, world)
    total = len(world.share(len(chosen)))
    images = score(answers, metrics, total=total, world=world, progress=progress)[""]
    notes, objects = notes_on({"": predictor}, metrics)
    return summarise(images, metrics, predictor.data_classes, notes=[*predictor.notes, *notes], objects=objects)


def answers_of(predictor: Predictor, dataset: Dataset, indices: Sequence[int], world: World) -> Iterator[Answer]:
    """Yield what a predictor answers to this process's share of the images.

    Raises:
        DataError: an image without labels.
    """
    samples = ((place, dataset[indices[place]]) for place in world.share(len(indices)))
    for alike in _of_one_shape(samples):
        answered = predictor.answers_to([sample.input for _, sample in alike])
        for (place, sample), (probabilities_LHW, small_LHW) in zip(alike, answered, strict=True):
            one = prediction_of(predictor, sample, probabilities_LHW, small_LHW)
            note = predictor.plan(*sample.pixels.shape[1:]).note
            yield Answer(one, {"": place}, () if note is None else (note,))


_PIXELS_AT_ONCE = 2**22
"""Images of more pixels are not kept to wait for others of their shape."""


def _of_one_shape(samples: Iterable[tuple[int, Sample]]) -> Iterator[list[tuple[int, Sample]]]:
    """Yield samples with their places, several of one shape together; some wait for others of their shape."""
    waiting: dict[tuple[int, ...], list[tuple[int, Sample]]] = {}
    for place, sample in samples:
        shape = sample.pixels.shape
        alike = waiting.setdefault(shape, [])
        alike.append((place, sample))
        kept = sum(len(some) * math.prod(its[1:]) for its, some in waiting.items())
        if len(alike) == AT_ONCE or len(alike) * math.prod(shape[1:]) >= _PIXELS_AT_ONCE:
            yield waiting.pop(shape)
        elif kept > 4 * _PIXELS_AT_ONCE:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def prediction_of(
    predictor: Predictor,
    sample: Sample,
    probabilities_LHW: NDArray[Any],
    small_LHW: NDArray[Any] | None = None,
) -> Prediction:
    """Put probabilities next to the truth: a network's own, or the mean of several networks of one kind.

    Args:
        predictor: the network, for its classes and how it makes objects.
        sample: the image with its labels.
        probabilities_LHW: of the network's classes, the border among them.
        small_LHW: the same at the size that the predictor resizes images to; None: computed where it is asked for.

    Raises:
        DataError: an image without labels.
    """
    classes = predictor.data_classes
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels; scores need a mask for every image")

    def resized(size: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
        # Before the network and not back, as the older systems did.
        small = resize_sample(sample, size, predictor.config.resize or "half-pixel", classes=len(classes))
        assert small.labels is not None
        known_LHW = small_LHW if size == predictor.config.size else None
        p_LHW = predictor.probabilities(small.input) if known_LHW is None else known_LHW
        p_KHW, valid = of_data(predictor, p_LHW), small.valid
        return (p_KHW, small.labels) if valid is None else (p_KHW[:, valid][:, None], small.labels[valid][None])

    return Prediction(
        name=sample.name,
        classes=classes,
        labels=sample.labels,
        probabilities=of_data(predictor, probabilities_LHW),
        network_probabilities=probabilities_LHW,
        decided=None if predictor.config.threshold is None else predictor.decided(torch.from_numpy(probabilities_LHW)),
        valid=sample.valid,
        pixel_size=sample.pixel_size,
        unit=sample.unit,
        labels_only=predictor.card.outputs_labels,
        true_objects=partial(objects_of, sample, classes),
        found_objects=cache(partial(predictor.objects_in, probabilities_LHW)),
        resized=resized,
    )


def of_data(predictor: Predictor, probabilities_LHW: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities [K, H, W] of the data's classes."""
    return predictor.of_data(torch.from_numpy(probabilities_LHW)).numpy()


def objects_of(sample: Sample, classes: Sequence[str]) -> ObjectMap:
    """Return the true objects of a labelled image: those the data tells, or the connected regions of its labels."""
    assert sample.labels is not None
    return true_objects(sample.labels, sample.instances, classes)


def notes_on(networks: Mapping[str, Predictor], metrics: Metrics) -> tuple[list[str], ObjectsConfig | None]:
    """Say what is done to the probabilities of these networks before they are scored, and what is made of them.

    Returns:
        The notes, and how objects are made; None where that is not asked, or each network has a way of its own.
    """
    first, notes, objects = next(iter(networks.values())), list[str](), None
    notes += [way for way in dict.fromkeys(one.decision for one in networks.values()) if way]
    if "objects" in metrics.families:
        ways = dict[str, str]()
        for name, one in networks.items():
            chosen = f"; the numbers were chosen by {one.object_config.chosen}" if one.object_config.chosen else ""
            ways[name] = f"objects are made by {describe(one.classes, one.object_config)}{chosen}"
        if len(set(ways.values())) == 1:
            objects = first.object_config
            notes.append(next(iter(ways.values())))
        else:
            notes += [f"{name}: {way}" for name, way in ways.items()]
    if "isbi" in metrics.families:
        interior = first.data_classes[metrics.interior]
        notes.append(f"the ISBI challenge's numbers take the class {interior} for interior")
    if first.config.close_gaps:
        notes.append("gaps in contours are closed (predict.close_gaps)")
    return notes, objects


CHOSEN_HERE = "the choice above was made on images of this very data; --tune scores each half by a choice on the other"
"""Said of scores with thresholds or numbers of objects that were chosen on the same data."""


def chosen_on(predictor: Predictor, scored: Evaluation) -> set[str]:
    """Return the checksums of the data that thresholds, and the numbers of objects if there are any, were chosen on."""
    chosen = {predictor.config.threshold_chosen_on, scored.objects.chosen_on if scored.objects else None}
    return {one for one in chosen if one is not None}


def choose_for(predictor: Predictor, asked: Iterable[str], *, warping: bool = True) -> Metrics:
    """Return the metrics of these names for a network, as `choose_metrics`.

    The family legacy scores images at the size that the network resizes to, or, of two classes, at the older systems'.
    """
    usual = SIZES.get(predictor.card.image_channels) if len(predictor.data_classes) == 2 else None
    metrics = choose_metrics(asked, predictor.data_classes, warping=warping)
    return replace(metrics, legacy_size=predictor.config.size or usual)


def validated_families(config: TrainConfig) -> set[str]:
    """Return the families that validations compute: the named ones, of the slow ones only that of `best_metric`."""
    return named_families(config) - ({"objects", "isbi"} - {family_of(config.best_metric)})


def named_families(config: TrainConfig) -> set[str]:
    """Return the families that a configuration names: `train.metrics`, and those that its other keys need."""
    printed = {"legacy"} if config.log_format == "tensorflow" else set[str]()  # its lines hold such scores alone
    return {*config.metrics, family_of(config.best_metric), *printed}


def missing_functions(run: Run, given: Collection[str]) -> list[str]:
    """Return a note where a run was trained with metrics of the user's own that are not given here."""
    recorded: dict[str, Any] = run.read_json(OWN_FUNCTIONS) or {}
    names = (place.removeprefix("metrics.") for place in recorded if place != "loss")
    if not (missing := ", ".join(name for name in names if name not in given)):
        return []
    return [f"not scored, as only Python has the functions: {missing}; give them: unetkit.evaluate(RUN, own={{...}})"]


def reported_families(dataset: Dataset, config: TrainConfig) -> list[str]:
    """Return the families that the report of a training on this data computes."""
    objects = len(dataset) > 0 and dataset[0].instances is not None
    return usual_families(dataset.classes, objects=objects, named=named_families(config))
