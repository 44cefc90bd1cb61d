"""Which trainings a cross-validation consists of, and its folder, which is also a MODEL: the ensemble of its members.

    FOLDER/
    crossval.json       the configuration, the folds, and the names of the members
    fold-0-seed-0/ ...  the members: run folders as any other
    out-of-fold.tif     what was predicted for every image by networks that had not seen it, in the order of the data
    out-of-fold-objects.tif     labels of the objects that were found, where they were looked for
    summary.json        scores of the members and their spread, and of all images out of fold
    evaluation.json     the latter alone, in the form of `unetkit evaluate --json`
    pictures/           scores of every image; the worst and the best images
    report.html         all of it on one page

Each image is held out by exactly one fold. Does not know how a training is done.
"""

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from unetkit.config import Config, SplitConfig, load_config
from unetkit.data import Dataset, split_dataset
from unetkit.data.dataset import division_of
from unetkit.errors import ConfigError, RunFolderError
from unetkit.prediction.load import CROSSVAL
from unetkit.run import Run, alone_in, open_run
from unetkit.storage.atomic import atomic_write, is_taken, make_folder

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

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder whole."""
        atomic_write(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


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
        known = _read(path)
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
        folder.write_json(CROSSVAL, described)
    return folder


def read_folder(path: Path) -> Folder:
    """Open the folder of a cross-validation by what it says of itself.

    Raises:
        RunFolderError: it is damaged.
    """
    known = _read(path)
    folds = Folds(load_config(known.config, stored=True), tuple(tuple(held) for held in known.held_out))
    return Folder(path, folds, tuple(folds.members(known.seeds)))


class _Known(BaseModel):
    config: dict[str, Any]
    held_out: list[list[NonNegativeInt]]
    seeds: Annotated[int, Field(ge=1, le=10_000)]


def _read(path: Path) -> _Known:
    try:
        return _Known.model_validate_json((path / CROSSVAL).read_bytes())
    except (OSError, ValidationError):
        raise RunFolderError(f"{path / CROSSVAL}: is not what `unetkit crossval` wrote; choose another --out") from None
