"""A cross-validation: its trainings, its folder, every image predicted by networks that did not see it, their spread.

The folder is also a MODEL: the ensemble of its members.

    FOLDER/
    crossval.json       the configuration, the folds, and the names of the members
    fold-0-seed-0/ ...  the members: run folders as any other
    out-of-fold.tif     what was predicted for every image by networks that had not seen it, in the order of the data
    out-of-fold-objects.tif     labels of the objects that were found, where they were looked for
    summary.json        scores of the members and their spread, and of all images out of fold
    evaluation.json     the latter alone, in the form of `unetkit evaluate --json`
    pictures/           scores of every image; the worst and the best images
    report.html         all of it on one page

Each image is held out by exactly one fold. Where a fold was trained with several seeds, their probabilities are
averaged for the predictions, and each training is scored by itself too; gaps are closed in the mean, as the ensemble
does it. The weights are those of the last step: nothing was chosen on the images that are scored. Of images that differ
in size the predictions are a folder of files. Does not know how a training is done or where: the caller trains the
members that `Folder.unfinished` names.

Legend of shapes: K classes of the data, L of a network, H height, W width, N objects.
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from unetkit.config import Config, SplitConfig, load_config
from unetkit.data import Dataset, samples_of, split_dataset
from unetkit.data.dataset import division_of
from unetkit.errors import ConfigError, RunFolderError
from unetkit.evaluation.score import Answer, Evaluation, notes_on, prediction_of, score, summarise
from unetkit.images.write import Form, Output, tiff_stack
from unetkit.metrics import Metrics, scores_chosen_elsewhere
from unetkit.objects import ObjectMap, object_classes
from unetkit.objects.find import renumbered
from unetkit.prediction import Predictor
from unetkit.prediction.load import CROSSVAL, LAST
from unetkit.progress import Progress
from unetkit.run import Run, alone_in, open_run
from unetkit.storage.atomic import is_taken, make_folder, write_json

_NOT_FOLDS = ("none", "given", "last")


@dataclass(frozen=True, slots=True)
class Member:
    """One training.

    Attributes:
        fold: what it holds out, from 0.
        seed: `train.seed`.
        config: its whole configuration.
    """

    fold: int
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return f"fold-{self.fold}-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Folds:
    """A division of the images.

    Attributes:
        config: the configuration with the method that divides.
        held_out: the indices that each fold holds out; together every image once.
        notes: what the user should know of it.
    """

    config: Config
    held_out: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def members(self, seeds: int) -> Iterator[Member]:
        """Yield every training, seed by seed, so that each fold is trained once before any is trained twice."""
        first = self.config.train.seed
        for seed in range(first, first + seeds):
            train = self.config.train.model_copy(update={"seed": seed})
            for fold in range(len(self.held_out)):
                config = _with_split(self.config, fold=fold)
                yield Member(fold, seed, config.model_copy(update={"train": train}))

    def fold_of(self) -> dict[int, int]:
        """Return the fold that holds each image out, by the image's index."""
        return {index: fold for fold, held in enumerate(self.held_out) for index in held}


def divide(config: Config, dataset: Dataset, count: int) -> Folds:
    """Divide the images into `count` folds by the configured method, or shuffled where that is no partition.

    The older systems' rules leave images out, or hold some out twice, wherever the folds do not divide the images.

    Raises:
        ConfigError: fewer images, or fewer stacks, than folds.
    """
    method, seen = config.data.split.method, list[str]()
    if config.model.context:
        seen.append("model.context: slices at the borders of folds are seen with pixels, never labels, of other folds")
    if method not in _NOT_FOLDS:
        asked = _with_split(config, folds=count, fold=0)
        held_out = _held_out(asked, dataset)
        rest = sorted(set(range(len(dataset))) - set(division_of(dataset).test))
        if sorted(index for held in held_out for index in held) == rest:
            return Folds(asked, held_out, tuple(seen))
    shuffled = _with_split(config, method="shuffled", folds=count, fold=0)
    held_out = _held_out(shuffled, dataset)
    note = (
        f"data.split.method={method} does not hold out each of {len(dataset)} images once in {count} folds; "
        "data.split.method=shuffled is used, which does"
    )
    return Folds(shuffled, held_out, (note, *seen))


def _held_out(config: Config, dataset: Dataset) -> tuple[tuple[int, ...], ...]:
    folds = range(config.data.split.folds)
    return tuple(split_dataset(dataset, _with_split(config, fold=fold).data.split).validation for fold in folds)


def _with_split(config: Config, **changes: object) -> Config:
    try:
        split = SplitConfig.model_validate(config.data.split.model_dump() | changes)
    except ValueError as error:
        raise ConfigError(f"--folds: {error}; give 2 or more") from None
    return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})


@dataclass(frozen=True, slots=True)
class Folder:
    """A cross-validation on the disk.

    Attributes:
        path: the folder.
        folds: how the images are divided.
        members: all trainings.
    """

    path: Path
    folds: Folds
    members: tuple[Member, ...]

    def run_path(self, member: Member) -> Path:
        """Return the run folder of a member."""
        return self.path / member.name

    def run(self, member: Member) -> Run:
        """Open the run of a member."""
        return open_run(self.run_path(member))

    def unfinished(self) -> list[Member]:
        """Return the members that have yet to be trained, or to be trained to their end."""
        return [member for member in self.members if not is_finished(self.run_path(member))]


def is_finished(run: Path) -> bool:
    """Tell whether a training has come to its end, its report included."""
    return (run / "summary.json").is_file() and (run / "report.html").is_file()


def is_begun(run: Path) -> bool:
    """Tell whether there is a run to go on with; what a training left before it had begun is removed.

    For one process of a training to ask: another may be beginning it.
    """
    if (run / "config.yaml").is_file():
        return True
    shutil.rmtree(run, ignore_errors=True)
    return False


@contextmanager
def open_folder(path: Path, folds: Folds, *, seeds: int) -> Generator[Folder]:
    """Make the folder, or open the one that is there to go on with it; more seeds than before may be asked for.

    Until the end of the block no other process trains in it.

    Raises:
        RunFolderError: something else lies there, a cross-validation of another configuration, or another process.
        StorageError: the folder cannot be made.
    """
    _require_free(path)
    make_folder(path)
    with alone_in(path):
        yield _opened(path, folds, seeds)


def _require_free(path: Path) -> None:
    if not (path / CROSSVAL).is_file() and is_taken(path, but=(".lock", f".{CROSSVAL}.")):
        raise RunFolderError(f"{path}: is neither an empty folder nor a cross-validation; choose another --out")


def _opened(path: Path, folds: Folds, seeds: int) -> Folder:
    _require_free(path)  # another process may have been faster
    file = path / CROSSVAL
    content: dict[str, Any] = {
        "config": folds.config.model_dump(mode="json"),
        "held_out": [list(held) for held in folds.held_out],
    }
    if file.is_file():
        known = _known(path)
        # Read as a configuration, so that keys which are newer than the folder have their defaults.
        before = load_config(known.config, stored=True).model_dump(mode="json")
        for section, keys in content["config"].items():
            for key, value in keys.items():
                if (found := before[section][key]) != value:
                    raise RunFolderError(
                        f"{path}: holds a cross-validation with {section}.{key}={json.dumps(found)}, not "
                        f"{json.dumps(value)}; run the command that began it, or choose another --out"
                    )
        if known.held_out != content["held_out"]:
            raise RunFolderError(f"{path}: holds a cross-validation of other images; choose another --out")
        seeds = max(seeds, known.seeds)
    folder = Folder(path, folds, tuple(folds.members(seeds)))
    described = content | {"seeds": seeds, "members": [member.name for member in folder.members]}
    if not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != described:
        write_json(path / CROSSVAL, described)
    return folder


def read_folder(path: Path) -> Folder:
    """Open the folder of a cross-validation by what it says of itself.

    Raises:
        RunFolderError: it is damaged.
    """
    known = _known(path)
    folds = Folds(load_config(known.config, stored=True), tuple(tuple(held) for held in known.held_out))
    return Folder(path, folds, tuple(folds.members(known.seeds)))


class _Known(BaseModel):
    config: dict[str, Any]
    held_out: list[list[NonNegativeInt]]
    seeds: Annotated[int, Field(ge=1, le=10_000)]


def _known(path: Path) -> _Known:
    try:
        return _Known.model_validate_json((path / CROSSVAL).read_bytes())
    except (OSError, ValidationError):
        raise RunFolderError(f"{path / CROSSVAL}: is not what `unetkit crossval` wrote; choose another --out") from None


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
    """Predict and score every image out of fold, of a cross-validation whose trainings are finished.

    Nothing is scored at another size than the images'. `put` takes what was predicted for every image, as of `written`.

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


def as_json(folder: Folder, scores: OutOfFold) -> dict[str, Any]:
    """Return everything as plain values."""
    seconds = train_seconds(folder)
    return {
        "folds": len(folder.folds.held_out),
        "seeds": sorted({member.seed for member in folder.members}),
        "split": folder.folds.config.data.split.method,
        "weights": "those of the last step",
        "notes": list(folder.folds.notes),
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
