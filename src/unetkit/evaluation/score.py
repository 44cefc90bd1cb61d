"""The one way from a predictor and labelled images to scores: behind validations, final scores and reports alike.

Images are scored at their own size, and on the classes that the data has: a network's border class counts as the object
that it belongs to, so that a score means the same with it and without. The older systems' protocol (image and mask
resized before the network: at the size that the network itself resizes to, or at 388 x 388 or 96 x 96), the ISBI
challenge's numbers and objects are scored beside it where they are asked for. Does not know how the network was
trained.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.config import ObjectsConfig
from unetkit.data import Dataset, Sample
from unetkit.data.resize import resize_sample
from unetkit.distributed import World
from unetkit.errors import DataError, UsageError
from unetkit.metrics import (
    ImageScores,
    IsbiScores,
    IsbiSlice,
    ObjectCounts,
    Overlaps,
    added,
    definition_of,
    legacy_scores,
    pool,
    pool_slices,
    score_image,
    score_slice,
    size_suffix,
)
from unetkit.metrics.calibration import Confidence, ImageConfidence, pool_confidence, reliability, some_pixels
from unetkit.metrics.objects import DEFINITIONS as object_cards
from unetkit.objects import ObjectMap, describe, find_objects, true_objects
from unetkit.prediction import Predictor, require_probabilities
from unetkit.progress import NoProgress, Progress

LEGACY_SIZES = {1: (388, 388), 3: (96, 96)}
"""Channels -> what the older systems resized images to: grey ones as those of ISBI, coloured ones as nuclei."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """That the ISBI challenge's numbers are wanted, and of what.

    Attributes:
        interior: index of the class that is the interior of objects; all others are their border.
        warping: whether to compute the warping error; it takes longer than all else.
    """

    interior: int
    warping: bool = True


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """What is known of one image.

    Attributes:
        image: its scores.
        part: what it contributes to the challenge's numbers; None where they were not asked for.
        confidence: what it tells about the network's confidence; None where that was not asked for.
    """

    image: ImageScores
    part: IsbiSlice | None = None
    confidence: ImageConfidence | None = None


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
    """

    scores: dict[str, float]
    images: tuple[ImageScores, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    isbi: IsbiScores | None = None
    objects: ObjectsConfig | None = None
    confidence: Confidence | None = None

    @property
    def object_counts(self) -> ObjectCounts | None:
        """What was counted of the objects of all images; None where they were not asked for."""
        counts = [image.objects for image in self.images if image.objects is not None]
        return added(counts) if counts else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values: scores, the same for every image, and the definition of each number."""
        names = sorted({definition_of(name).name for name in self.scores})
        return {
            "scores": self.scores,
            "images": [_image_as_json(image) for image in self.images],
            "classes": list(self.classes),
            "notes": list(self.notes),
            "definitions": {name: asdict(definition_of(name)) for name in names},
            **({} if self.isbi is None else {"isbi": self.isbi.as_dict()}),
            **self._objects_as_json(),
            **({} if self.confidence is None else {"confidence": self.confidence.as_dict()}),
        }

    def _objects_as_json(self) -> dict[str, Any]:
        counts = self.object_counts
        made_by = {} if self.objects is None else {"made_by": self.objects.model_dump(mode="json")}
        return {} if counts is None else {"objects": {"counts": counts.as_json()} | made_by}


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    indices: Sequence[int] | None = None,
    legacy_protocol: bool = False,
    challenge: Challenge | None = None,
    families: Collection[str] = (),
    world: World = World(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Evaluation:
    """Predict labelled images and score them against their labels.

    Args:
        predictor: the network with its preprocessing.
        dataset: images with labels.
        indices: which of them; None: all.
        legacy_protocol: score images of two classes resized, too; where the network itself resizes, all are.
        challenge: compute the ISBI challenge's numbers too; None: do not.
        families: further scores: "objects", as `predictor.object_config` makes them, and "confidence".
        world: the processes that share the images; each gets the whole result.
        progress: follows the work.

    Raises:
        DataError, UsageError: labels that are missing or do not fit; no probabilities for the challenge's numbers.
    """
    if challenge is not None:
        require_probabilities(predictor)
    chosen = range(len(dataset)) if indices is None else indices
    size = _other_size(predictor, legacy_protocol=legacy_protocol)
    mine, notes = dict[int, ScoredImage](), set(notes_on(predictor))
    for done, place in enumerate(share := world.share(len(chosen))):
        (progress or NoProgress()).update(done, len(share), {})
        mine[place] = _scored(predictor, sample := dataset[chosen[place]], challenge, size=size, families=families)
        notes.add(predictor.plan(*sample.pixels.shape[1:]).note or "")
    shares = world.gather((mine, notes))
    scored = [shares[place % world.size][0][place] for place in range(len(chosen))]
    noted = sorted(set[str]().union(*(noted for _, noted in shares)) - {""})
    summary = summarise(scored, predictor.data_classes, challenge, notes=noted)
    return with_object_words(summary, {"": predictor}) if "objects" in families else summary


def notes_on(predictor: Predictor) -> list[str]:
    """Say what a predictor does to probabilities before they are scored."""
    return ["gaps in contours are closed (predict.close_gaps)"] if predictor.config.close_gaps else []


def _scored(
    predictor: Predictor,
    sample: Sample,
    challenge: Challenge | None,
    *,
    size: tuple[int, int] | None,
    families: Collection[str],
) -> ScoredImage:
    probabilities = predictor.probabilities(sample.pixels)
    found = find_objects(probabilities, predictor.classes, predictor.object_config) if "objects" in families else None
    sure = "confidence" in families
    scored = score_answer(predictor, probabilities, sample, challenge, found=found, confidence=sure)
    if size is None:
        return scored
    return replace(scored, image=scored.image.with_scores(_scores_at(predictor, sample, size)))


def score_answer(
    predictor: Predictor,
    probabilities: NDArray[np.float32],
    sample: Sample,
    challenge: Challenge | None = None,
    *,
    found: ObjectMap | None = None,
    confidence: bool = False,
) -> ScoredImage:
    """Score what a network answered to an image: its own probabilities, or the mean of several networks of one kind.

    Args:
        predictor: the network, for its classes; it does not predict anything here.
        probabilities: [K, H, W] of its classes, the border among them.
        sample: the image with its labels.
        challenge: compute the ISBI challenge's numbers too; None: do not.
        found: the objects that were made of the probabilities, to be scored too; None: there are none to score.
        confidence: count how far the probabilities can be trusted, too.

    Raises:
        DataError: an image without labels, or with labels that there is no class for.
    """
    classes = predictor.data_classes
    of_data = predictor.of_data(torch.from_numpy(probabilities)).numpy()
    scored = score_prediction(of_data, sample, classes, challenge)
    image = scored.image.without_soft() if predictor.card.outputs_labels else scored.image
    if found is not None:
        image = image.with_objects(Overlaps.of(objects_of(sample, classes), found).count())
    sure = None
    if confidence and not predictor.card.outputs_labels and sample.labels is not None:
        pixels = some_pixels(probabilities, sample.labels, border=predictor.border)
        sure = ImageConfidence(reliability(of_data, sample.labels), pixels)
    return replace(scored, image=image, confidence=sure)


def _other_size(predictor: Predictor, *, legacy_protocol: bool) -> tuple[int, int] | None:
    """Return the size at which soft scores are computed too; None: a file has none to give, or takes no fractions."""
    if predictor.card.outputs_labels or predictor.card.uint8_input:
        return None
    return predictor.config.size or (_legacy_size(predictor) if legacy_protocol else None)


def _legacy_size(predictor: Predictor) -> tuple[int, int] | None:
    """Return what the older systems resized such images to; None where they had nothing like it."""
    return LEGACY_SIZES.get(predictor.card.channels) if len(predictor.data_classes) == 2 else None


def score_prediction(
    probabilities: NDArray[Any], sample: Sample, classes: tuple[str, ...], challenge: Challenge | None = None
) -> ScoredImage:
    """Score the probabilities [K, H, W] of one image against its labels.

    Raises:
        DataError: an image without labels, or with labels that there is no class for.
    """
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels; scores need a mask for every image")
    image = score_image(probabilities, sample.labels, classes=classes, name=sample.name)
    if challenge is None:
        return ScoredImage(image)
    interior = challenge.interior
    return ScoredImage(
        image, score_slice(sample.labels == interior, probabilities[interior], warping=challenge.warping)
    )


def summarise(
    scored: Sequence[ScoredImage],
    classes: tuple[str, ...],
    challenge: Challenge | None = None,
    *,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Pool the scores of images: at least one, all scored with the same `challenge`."""
    told = [one.confidence for one in scored if one.confidence is not None]
    confidence = pool_confidence(told) if told else None
    sure = {} if confidence is None else confidence.reliability.scores()
    images = tuple(one.image for one in scored)
    parts = [one.part for one in scored if one.part is not None]
    if challenge is None:
        return Evaluation(pool(images, classes) | sure, images, classes, tuple(notes), confidence=confidence)
    isbi = pool_slices(parts)
    interior = f"the ISBI challenge's numbers take the class {classes[challenge.interior]} for interior"
    images = tuple(image.with_scores(own) for image, own in zip(images, isbi.slice_scores(), strict=True))
    # The set's numbers have rules of their own: they are not the mean over images that `pool` would make of them.
    scores = pool([one.image for one in scored], classes) | isbi.scores() | sure
    return Evaluation(scores, images, classes, (interior, *notes), isbi, confidence=confidence)


def objects_of(sample: Sample, classes: Sequence[str]) -> ObjectMap:
    """Return the true objects of a labelled image: those the data tells, or else the connected regions of its labels.

    Args:
        sample: an image with labels.
        classes: of the data.
    """
    assert sample.labels is not None
    return true_objects(sample.labels, sample.instances, classes)


def interior_class(classes: Sequence[str], wanted: str | None = None) -> int:
    """Return the index of the class that is the interior of objects.

    Args:
        classes: the names, index 0 first.
        wanted: a name or an index; None: the class that is called interior, else the second of two.

    Raises:
        UsageError: no such class, or nothing says which it is.
    """
    if wanted is None and ("interior" in classes or len(classes) == 2):
        return list(classes).index("interior") if "interior" in classes else 1
    if wanted is not None and wanted in classes:
        return list(classes).index(wanted)
    if wanted is not None and wanted.isdigit() and int(wanted) < len(classes):
        return int(wanted)
    found = "nothing says which class is the interior of objects" if wanted is None else f"there is no class {wanted!r}"
    raise UsageError(f"{found}; name one of {', '.join(classes)}, such as --metrics isbi:{classes[-1]}")


def challenge_of(classes: Sequence[str]) -> Challenge | None:
    """Return the challenge's quick numbers for data with the challenge's two classes; None for any other."""
    return Challenge(interior_class(classes), warping=False) if set(classes) == {"membrane", "interior"} else None


def families_of(dataset: Dataset, metric: str) -> set[str]:
    """Return the families of scores that a report tells, those of objects where the data or `metric` has them."""
    objects = dataset[0].instances is not None or metric in object_cards
    return {"confidence", "objects"} if objects else {"confidence"}


def with_object_words(summary: Evaluation, made: Mapping[str, Predictor]) -> Evaluation:
    """Say how the objects that were scored were made: in one way, or by each network of a name in its own."""
    ways = {name: (one.classes, one.object_config) for name, one in made.items()}
    first, *others = dict.fromkeys(map(_object_words, ways.values()))
    if not others:
        objects = next(iter(made.values())).object_config
        return replace(summary, objects=objects, notes=(f"objects are made by {first}", *summary.notes))
    each = (f"{name}: objects are made by {_object_words(way)}" for name, way in ways.items())
    return replace(summary, notes=(*each, *summary.notes))


def _object_words(way: tuple[Sequence[str], ObjectsConfig]) -> str:
    classes, config = way
    chosen = f"; the numbers were chosen by {config.chosen}" if config.chosen else ""
    return f"{describe(classes, config)}{chosen}"


def _image_as_json(image: ImageScores) -> dict[str, Any]:
    objects = {} if image.objects is None else {"objects": image.objects.as_json()}
    return {"name": image.name, "scores": image.scores} | objects


def _scores_at(predictor: Predictor, sample: Sample, size: tuple[int, int]) -> dict[str, float]:
    """Score a sample that is resized before the network and not back, as the older systems did."""
    kind = predictor.config.resize or "half-pixel"
    small = resize_sample(sample, size, kind, classes=len(predictor.data_classes))
    assert small.labels is not None
    return legacy_scores(data_probabilities(predictor, small.pixels), small.labels, suffix=size_suffix(*size))


def data_probabilities(predictor: Predictor, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities of the data's classes, [K, H, W]."""
    return predictor.of_data(torch.from_numpy(predictor.probabilities(pixels))).numpy()
