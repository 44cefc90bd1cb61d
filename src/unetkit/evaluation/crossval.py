"""Every image predicted by the networks that did not see it, and the scores of all of them.

Where a fold was trained with several seeds, their probabilities are averaged for the predictions, and each training is
scored by itself too; gaps are closed in the mean, as the ensemble does it. The weights are those of the last step:
nothing was chosen on the images that are scored.

Legend of shapes: K classes, H height, W width.

What was predicted for every image out of fold, as files: probabilities, and objects where they were looked for.

One stack with a page an image, in the order of the data; a folder of files where the images differ in size.

Legend of shapes: K classes, H height, W width, N objects.

What came of a cross-validation, in numbers: the spread over its trainings, and the whole of it as plain values.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from unetkit.data import Dataset, Sample, samples_of
from unetkit.evaluation.folds import Folder
from unetkit.evaluation.score import (
    Challenge,
    Evaluation,
    ScoredImage,
    notes_on,
    score_answer,
    summarise,
    with_object_words,
)
from unetkit.images.write import Form, Output, tiff_stack
from unetkit.metrics import scores_chosen_elsewhere
from unetkit.objects import ObjectMap, find_objects, object_classes
from unetkit.objects.find import renumbered
from unetkit.prediction import Predictor
from unetkit.prediction.load import LAST
from unetkit.progress import NoProgress, Progress
from unetkit.storage.atomic import make_folder

OUT_OF_FOLD, OBJECTS = "out-of-fold", "out-of-fold-objects"

Put = Callable[[int, NDArray[Any], ObjectMap | None], None]
"""Takes the probabilities [K, H, W] of the data's classes and the objects of the image at an index."""

_Size = tuple[int, ...]


@contextmanager
def written(folder: Path, dataset: Dataset) -> Generator[Put]:
    """Give a function that takes what was predicted for an image to its place: a page, or a file where sizes differ.

    Two classes are written as the probability of the second, more as one channel a class; objects as labels.

    Raises:
        StorageError: the disk did not take them.
    """
    samples = {index: (one.name, one.pixels.shape[1:]) for index, one in enumerate(samples_of(dataset))}
    channels = () if len(dataset.classes) == 2 else dataset.classes
    with ExitStack() as stack:
        probabilities = _Pages(folder / OUT_OF_FOLD, samples, stack, np.float32, channels, white=1.0)
        objects = _Pages(folder / OBJECTS, samples, stack, np.uint32, white=255.0)

        def put(index: int, probabilities_KHW: NDArray[Any], found: ObjectMap | None) -> None:
            probabilities.put(index, probabilities_KHW[1:] if len(probabilities_KHW) == 2 else probabilities_KHW)
            if found is not None:
                objects.put(index, found.ids[None])

        yield put


@dataclass
class _Pages:
    """A page an image: of one file that is begun by the first, or each in a file of its own where sizes differ."""

    place: Path
    samples: dict[int, tuple[str, _Size]]
    stack: ExitStack
    dtype: type[np.float32] | type[np.uint32]
    channels: tuple[str, ...] = ()
    white: float = field(kw_only=True)
    whole: Output | None = field(default=None, init=False)

    def put(self, index: int, values_KHW: NDArray[Any]) -> None:
        name, size = self.samples[index]
        if len({size for _, size in self.samples.values()}) > 1:
            make_folder(self.place)
            with tiff_stack(self.place / f"{name}.tif", self._form(size, 1)) as output:
                output.put(0, 0, 0, values_KHW)
            return
        if self.whole is None:
            form = self._form(size, len(self.samples))
            self.whole = self.stack.enter_context(tiff_stack(self.place.with_suffix(".tif"), form))
        self.whole.put(index, 0, 0, values_KHW)

    def _form(self, size: _Size, pages: int) -> Form:
        return Form(self.dtype, size[0], size[1], pages, self.channels, self.white)


def read_predictions(folder: Path, dataset: Dataset, index: int) -> NDArray[np.float32]:
    """Return the probabilities [K, H, W] that were written for an image."""
    count = 1 if len(dataset.classes) == 2 else len(dataset.classes)
    stored_KHW = _read(folder / OUT_OF_FOLD, dataset, index, count)
    return np.concatenate([1 - stored_KHW, stored_KHW]) if count == 1 else stored_KHW


def read_objects(folder: Path, dataset: Dataset, index: int) -> ObjectMap:
    """Return the objects that were written for an image; their classes are found as when they were made."""
    ids_HW, first_N = renumbered(_read(folder / OBJECTS, dataset, index, 1)[0])
    sought = object_classes(dataset.classes)
    kinds_HW = np.array(sought)[read_predictions(folder, dataset, index)[sought].argmax(0)]
    return ObjectMap(ids_HW, kinds_HW.ravel()[first_N], np.ones(len(first_N), np.float32))


def _read(place: Path, dataset: Dataset, index: int, count: int) -> NDArray[Any]:
    whole = place.with_suffix(".tif")
    if whole.is_file():
        return np.stack([tifffile.imread(whole, key=index * count + channel) for channel in range(count)])
    stored = tifffile.imread(place / f"{dataset[index].name}.tif")
    return stored.reshape(count, *stored.shape[-2:])


Load = Callable[[Path], Predictor]
"""Makes the network of a weights file ready to predict."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """The scores of a cross-validation.

    Attributes:
        whole: over all images, each predicted by the networks that had not seen it.
        members: of every training on what it held out, by its name.
    """

    whole: Evaluation
    members: dict[str, Evaluation]


def score_folder(
    folder: Folder,
    dataset: Dataset,
    load: Load,
    *,
    challenge: Challenge | None,
    families: Collection[str] = (),
    put: Put = lambda index, probabilities, found: None,
    progress: Progress | None = None,
) -> OutOfFold:
    """Predict and score every image out of fold.

    Args:
        folder: of a cross-validation whose trainings are finished.
        dataset: the images that it was made on.
        load: makes a network ready to predict.
        challenge: compute the ISBI challenge's numbers too; None: do not.
        families: further scores: "objects" and "confidence", as of `evaluation.evaluate`.
        put: takes what was predicted for every image, such as `written` gives it.
        progress: follows the work.

    Raises:
        DataError: an image without labels.
    """
    whole, alone = dict[int, ScoredImage](), {member.name: list[ScoredImage]() for member in folder.members}
    judged, predictors = _Judge(challenge, families), {name: load(folder.path / name / LAST) for name in alone}
    for index, answers in _predictions(folder, dataset, predictors):
        (progress or NoProgress()).update(len(whole), len(folder.folds.fold_of()), {})
        sample, found, closed_KHW = dataset[index], None, np.empty(0, np.float32)
        for name, own_KHW in answers.items():
            whole[index], found, closed_KHW = judged.scored(predictors[name], own_KHW, sample)
            alone[name].append(whole[index])
        first = predictors[next(iter(answers))]
        if len(answers) > 1:
            whole[index], found, closed_KHW = judged.scored(first, np.mean(list(answers.values()), 0), sample)
        put(index, first.of_data(torch.from_numpy(closed_KHW)).numpy(), found)
    in_order = [whole[index] for index in sorted(whole)]
    pooled = _with_honest_thresholds(judged.pooled(in_order, predictors), in_order, folder)
    return OutOfFold(pooled, {name: judged.pooled(own, {name: predictors[name]}) for name, own in alone.items()})


@dataclass(frozen=True, slots=True)
class _Judge:
    """What is asked of every image and of every set of them."""

    challenge: Challenge | None
    families: Collection[str]

    def scored(
        self, predictor: Predictor, open_KHW: NDArray[np.float32], sample: Sample
    ) -> tuple[ScoredImage, ObjectMap | None, NDArray[np.float32]]:
        """Return the scores, the objects and the probabilities, gaps closed where the predictor closes them."""
        closed_KHW, found = predictor.closed(open_KHW), None
        if "objects" in self.families:
            found = find_objects(closed_KHW, predictor.classes, predictor.object_config)
        sure = "confidence" in self.families
        scored = score_answer(predictor, closed_KHW, sample, self.challenge, found=found, confidence=sure)
        return scored, found, closed_KHW

    def pooled(self, scored: Sequence[ScoredImage], made: Mapping[str, Predictor]) -> Evaluation:
        first = next(iter(made.values()))
        pooled = summarise(scored, first.data_classes, self.challenge, notes=notes_on(first))
        return with_object_words(pooled, made) if "objects" in self.families else pooled


def _predictions(
    folder: Folder, dataset: Dataset, predictors: Mapping[str, Predictor]
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Yield every image's index with the probabilities [K, H, W] of each training that had not seen it, by its name.

    Gaps are left open.
    """
    leaving_open = {name: one.with_options({"close_gaps": False}) for name, one in predictors.items()}
    for fold, held in enumerate(folder.folds.held_out):
        names = [member.name for member in folder.members if member.fold == fold]
        for index in held:
            pixels = dataset[index].pixels
            yield index, {name: leaving_open[name].probabilities(pixels) for name in names}


def _with_honest_thresholds(evaluation: Evaluation, scored: Sequence[ScoredImage], folder: Folder) -> Evaluation:
    parts = [one.part for one in scored if one.part is not None]
    if not parts:
        return evaluation
    fold_of = folder.folds.fold_of()
    chosen = scores_chosen_elsewhere(parts, [fold_of[index] for index in sorted(fold_of)])
    return replace(evaluation, scores=evaluation.scores | chosen)


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
