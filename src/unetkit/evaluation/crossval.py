"""Every image predicted by the networks that did not see it: the scores of all of them, their spread, and the files.

Where a fold was trained with several seeds, their probabilities are averaged for the predictions, and each training is
scored by itself too; gaps are closed in the mean, as the ensemble does it. The weights are those of the last step:
nothing was chosen on the images that are scored.

The files are probabilities, and objects where they were looked for: one stack with a page an image, in the order of the
data; a folder of files where the images differ in size. Does not know how a training is done.

Legend of shapes: K classes of the data, L of a network, H height, W width, N objects.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.data import Dataset, samples_of
from unetkit.evaluation.folds import Folder
from unetkit.evaluation.score import Answer, Evaluation, notes_on, prediction_of, score, summarise
from unetkit.images.write import Form, Output, tiff_stack
from unetkit.metrics import Metrics, scores_chosen_elsewhere
from unetkit.objects import ObjectMap, object_classes
from unetkit.objects.find import renumbered
from unetkit.prediction import Predictor
from unetkit.prediction.load import LAST
from unetkit.progress import Progress
from unetkit.storage.atomic import make_folder

OUT_OF_FOLD, OBJECTS = "out-of-fold", "out-of-fold-objects"
WHOLE = ""
"""The set of all images, each with the answer of what had not seen it; the other sets have the trainings' names."""

Load = Callable[[Path], Predictor]
"""Makes the network of a weights file ready to predict."""

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
    metrics: Metrics,
    *,
    put: Put = lambda index, probabilities, found: None,
    progress: Progress | None = None,
) -> OutOfFold:
    """Predict and score every image out of fold.

    Args:
        folder: of a cross-validation whose trainings are finished.
        dataset: the images that it was made on.
        load: makes a network ready to predict.
        metrics: what is computed; nothing is scored at another size than the images'.
        put: takes what was predicted for every image, such as `written` gives it.
        progress: follows the work.

    Raises:
        DataError: an image without labels.
    """
    metrics, fold_of = replace(metrics, legacy_size=None), folder.folds.fold_of()
    networks = {member.name: load(folder.path / member.name / LAST) for member in folder.members}
    answers = answers_out_of_fold(folder, dataset, networks, put, objects="objects" in metrics.families)
    seeds = len(networks) // len(folder.folds.held_out)
    total = len(fold_of) * (1 if seeds == 1 else seeds + 1)
    sets = score(answers, metrics, total=total, progress=progress)

    def evaluation(name: str, by: Mapping[str, Predictor]) -> Evaluation:
        notes, objects = notes_on(by, metrics)
        classes = next(iter(by.values())).data_classes
        return summarise(sets[name], metrics, classes, notes=notes, objects=objects)

    whole = evaluation(WHOLE, networks)
    if "isbi" in metrics.families:
        parts = [image.parts["isbi"] for image in sets[WHOLE]]
        chosen = scores_chosen_elsewhere(parts, [fold_of[index] for index in sorted(fold_of)])
        whole = replace(whole, scores=whole.scores | chosen)
    return OutOfFold(whole, {name: evaluation(name, {name: one}) for name, one in networks.items()})


def answers_out_of_fold(
    folder: Folder, dataset: Dataset, networks: Mapping[str, Predictor], put: Put, *, objects: bool
) -> Iterator[Answer]:
    """Yield what each training answers to what it held out, and, of several seeds, their mean.

    Gaps are closed in what is scored, so in the mean once more and not in what it is made of. What counts for all
    images together is handed to `put`.
    """
    leaving_open = {name: one.with_options({"close_gaps": False}) for name, one in networks.items()}
    for fold, held in enumerate(folder.folds.held_out):
        names = [member.name for member in folder.members if member.fold == fold]
        for place, index in enumerate(held):
            sample = dataset[index]
            given = [(name, leaving_open[name].probabilities(sample.input), {name: place}) for name in names]
            if len(given) == 1:
                given[0][2][WHOLE] = index
            else:
                given.append((names[0], np.mean([open_LHW for _, open_LHW, _ in given], 0), {WHOLE: index}))
            for name, open_LHW, places in given:
                one = prediction_of(networks[name], sample, networks[name].closed(open_LHW))
                if WHOLE in places:
                    put(index, one.probabilities, one.found_objects() if objects else None)
                yield Answer(one, places)


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
        "spread": {
            name: {key: value if value == value else None for key, value in asdict(spread).items()}  # NaN is no JSON
            for name, spread in spreads(scores).items()
        },
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
