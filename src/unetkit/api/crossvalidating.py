"""crossval: k folds, each trained as any other run, here or on the workers of a dask cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unetkit import crossvalidation as rooms
from unetkit.api.configuring import load_config
from unetkit.api.learning import resume, train
from unetkit.api.loading import load
from unetkit.config import Config, ConfigSource
from unetkit.crossvalidation import Folder, Folds, Member, OutOfFold
from unetkit.data import SAMPLE, Dataset, in_memory, open_dataset
from unetkit.devices import cpu_threads
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, InterruptedRun, UsageError
from unetkit.evaluation import challenge_of, families_of
from unetkit.progress import Reporter, Silence
from unetkit.remote import is_remote, url_of
from unetkit.training.assembly import place_of


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """A finished cross-validation.

    Attributes:
        path: its folder, which is also a model: the ensemble of all its trainings.
        scores: of every training, and of all images out of fold; None on processes that do not lead.
    """

    path: Path
    scores: OutOfFold | None


def crossval(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path,
    folds: int = 5,
    seeds: int = 1,
    overrides: Sequence[str] = (),
    dask: str | None = None,
    reporter: Reporter | None = None,
) -> CrossValidation:
    """Train every fold, score each image by what had not seen it, and write all of it into one folder.

    Called again with the same folder it goes on: what is finished is not trained again.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config.
        data: the data set, in place of `data.path`.
        out: the folder to make or to go on with.
        folds: how many, by `data.split.method` where that divides the images, else shuffled.
        seeds: trainings of each fold, with `train.seed` and the numbers after it.
        overrides: `key=value` texts that go before the configuration.
        dask: a dask scheduler's address; its workers (one thread each) see the same files. None: here, in turn.
        reporter: hears about the course.

    Raises:
        UsageError, DataError: it cannot start.
        DivergedError, StorageError, InterruptedRun: a training ended early; call again to go on.

    Example:
        >>> unetkit.crossval("isbi", data="sample", out="runs/folds", folds=3, overrides=["train.steps=50"]).path
    """
    config = _configured(source, data, overrides, seeds=seeds, out=out)
    dataset = in_memory(open_dataset(str(config.data.path), config=config.data))
    divided = rooms.divide(config, dataset, folds)
    folder, listener = _opened(Path(out), divided, seeds=seeds), reporter or Silence()
    _train(folder, dask, listener)
    if not launched_world().leads:
        return CrossValidation(folder.path, None)
    return CrossValidation(folder.path, _score(folder, dataset, listener))


def _configured(
    source: ConfigSource, data: str | Path | None, overrides: Sequence[str], *, seeds: int, out: str | Path
) -> Config:
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: give 1 or more")
    if is_remote(out):
        raise UsageError(f"{url_of(out)}: a cross-validation is made on this machine; send its folder when finished")
    config = load_config(source, overrides)
    path = str(data) if data is not None else config.data.path
    if path is None:
        raise ConfigError("no data is named; give --data DIR (or data.path in the configuration), or --data sample")
    # Absolute, so that the folder means the same data from wherever it is opened.
    whole = path if path == SAMPLE or is_remote(path) else str(Path(path).resolve())
    return config.model_copy(update={"data": config.data.model_copy(update={"path": whole})})


def _train(folder: Folder, dask: str | None, reporter: Reporter) -> None:
    for note in folder.folds.notes:
        reporter.line(f"note: {note}")
    if dask is None:
        _train_here(folder, reporter)
        return
    jobs = {one.name: partial(train_member, one, folder.run_path(one).resolve()) for one in folder.unfinished()}
    if jobs:
        rooms.carry_out(jobs, dask, reporter)


def _opened(path: Path, folds: Folds, *, seeds: int) -> Folder:
    """Open the folder; of several processes the first one alone looks at it and writes."""
    if launched_world().leads:
        return rooms.open_folder(path, folds, seeds=seeds)
    return Folder(path, folds, tuple(folds.members(seeds)))


def _train_here(folder: Folder, reporter: Reporter) -> None:
    world = launched_world()
    place = place_of(folder.folds.config, world)
    with joined(world, place.device):
        # What is to be done is asked of the first process alone: another might see files that are being written.
        for member in world.gather(folder.unfinished() if world.leads else [])[0]:
            if world.leads:
                reporter.line(f"{member.name}: training {folder.members.index(member) + 1} of {len(folder.members)}")
            _train_together(member, folder.run_path(member), reporter, world)


def _train_together(member: Member, path: Path, reporter: Reporter, world: World) -> None:
    begun = world.gather(world.leads and rooms.is_begun(path))[0]
    try:
        train_member(member, path, reporter, begun=begun)
    except InterruptedRun as error:
        raise InterruptedRun(
            f"stopped in {member.name}, nothing is lost; run the same crossval command again to go on",
            error.signal_number,
        ) from None


def train_member(member: Member, path: Path, reporter: Reporter | None = None, *, begun: bool | None = None) -> None:
    """Train one fold to its end, from where it stands; whether it has `begun` is seen from the files if not told."""
    if rooms.is_begun(path) if begun is None else begun:
        resume(path, reporter=reporter)
    else:
        train(member.config, out=path, reporter=reporter)


def _score(folder: Folder, dataset: Dataset, reporter: Reporter) -> OutOfFold:
    config = folder.folds.config
    wanted: Any = {
        "challenge": challenge_of(dataset.classes),
        "families": families_of(dataset, config.train.best_metric),
        "reporter": reporter,
    }
    ready = partial(load, device=config.train.device)
    with cpu_threads(config.train.threads), rooms.written(folder.path, dataset) as put:
        scores = rooms.score_folder(folder, dataset, ready, put=put, **wanted)
    summary = rooms.as_json(folder, scores, folder.folds.notes)
    folder.write_json("evaluation.json", summary["out_of_fold"])
    folder.write_json("summary.json", summary)
    rooms.write_page(folder, dataset, scores, folder.folds.notes)
    return scores
