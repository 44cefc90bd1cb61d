"""The verb `crossval`: k folds, each trained as any other run, here or on the workers of a dask cluster.

Assumes a cluster that is there already, with workers that see the same files as this process. A worker must have one
thread: two trainings in one process would share its random numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from unetkit.config import ConfigSource
from unetkit.configuring import load_config
from unetkit.data import Dataset, in_memory, open_dataset
from unetkit.data.context import with_context
from unetkit.devices import choose_device, cpu_threads
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, InterruptedRun, UsageError
from unetkit.evaluation.crossval import (
    Folder,
    Member,
    OutOfFold,
    as_json,
    divide,
    is_begun,
    open_folder,
    score_folder,
    written,
)
from unetkit.evaluation.score import reported_families
from unetkit.metrics import choose_metrics
from unetkit.prediction.load import load
from unetkit.prediction.schedule import connected
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.page import write_crossval_page
from unetkit.storage import is_remote, url_of
from unetkit.storage.atomic import write_json
from unetkit.training.prepare import absolute_data_path
from unetkit.training.train import resume, train


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """A finished cross-validation.

    Attributes:
        path: its folder, which is also a model: the ensemble of all its trainings.
        metric: its `train.best_metric`.
        scores: of every training, and of all images out of fold; None on all processes but the main one.
        summary: the same as plain values, as summary.json has it.
    """

    path: Path
    metric: str
    scores: OutOfFold | None
    summary: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)


def crossval(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path,
    folds: int = 5,
    seeds: int = 1,
    overrides: Sequence[str] = (),
    dask: str | None = None,
    progress: Progress | None = None,
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
        progress: follows the work.

    Raises:
        UsageError, DataError: it cannot start.
        DivergedError, StorageError, InterruptedRun: a training ended early; call again to go on.

    Example:
        >>> unetkit.crossval("isbi", data="sample", out="runs/folds", folds=3, overrides=["train.steps=50"]).path
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: give 1 or more")
    if is_remote(out):
        raise UsageError(f"{url_of(out)}: a cross-validation is made on this machine; send its folder when finished")
    config = load_config(source, overrides)
    path = str(data) if data is not None else config.data.path
    if path is None:
        raise ConfigError("no data is named; give --data DIR (or data.path in the configuration), or --data sample")
    # Absolute, so that the folder means the same data from wherever it is opened.
    whole = absolute_data_path(path)
    config = config.model_copy(update={"data": config.data.model_copy(update={"path": whole})})
    dataset = with_context(in_memory(open_dataset(whole, config=config.data)), config.model.context)
    divided = divide(config, dataset, folds)
    out, progress, world = Path(out), progress or NoProgress(), launched_world()
    if dask is not None and world.size > 1:
        raise UsageError("--dask: its workers train; start the command without torchrun")
    if not world.is_main_process:  # the first process alone looks at the folder and writes
        _train_here(Folder(out, divided, tuple(divided.members(seeds))), progress, world)
        return CrossValidation(out, config.train.best_metric, None)
    with open_folder(out, divided, seeds=seeds) as folder:
        return _carried_out(folder, dataset, dask, progress, world)


def _carried_out(
    folder: Folder, dataset: Dataset, dask: str | None, progress: Progress, world: World
) -> CrossValidation:
    """Train what is left of a cross-validation, and score all of it."""
    for note in folder.folds.notes:
        progress.log(f"note: {note}")
    if folder.folds.config.predict.calibrate:
        progress.log("note: predict.calibrate: of every fold's best weights alone, not out of fold and not together")
    if dask is None:
        _train_here(folder, progress, world)
    elif left := folder.unfinished():
        jobs = {one.name: partial(train_member, one, folder.run_path(one).resolve()) for one in left}
        carry_out(jobs, dask, progress)
    config = folder.folds.config
    metrics = choose_metrics(reported_families(dataset, config.train), dataset.classes, warping=False)
    # The weights of the last step have no temperature: it would be fitted on the images that they are scored on.
    ready = partial(load, device=config.train.device, options={"calibrate": False})
    with cpu_threads(config.train.threads), written(folder.path, dataset) as put:
        scores = score_folder(folder, dataset, ready, metrics, put=put, progress=progress)
    summary = as_json(folder, scores)
    write_json(folder.path / "evaluation.json", summary["out_of_fold"])
    write_json(folder.path / "summary.json", summary)
    write_crossval_page(folder, dataset, scores)
    return CrossValidation(folder.path, config.train.best_metric, scores, summary)


def _train_here(folder: Folder, progress: Progress, world: World) -> None:
    """Train one member after the other, each by all processes."""
    with joined(world, world.own_device(choose_device(folder.folds.config.train.device))):
        # What is to be done is asked of the first process alone: another might see files that are being written.
        for member in world.gather(folder.unfinished() if world.is_main_process else [])[0]:
            path = folder.run_path(member)
            if world.is_main_process:
                progress.log(f"{member.name}: training {folder.members.index(member) + 1} of {len(folder.members)}")
            begun = world.gather(world.is_main_process and is_begun(path))[0]
            try:
                train_member(member, path, progress, begun=begun)
            except InterruptedRun as error:
                raise InterruptedRun(
                    f"stopped in {member.name}, nothing is lost; run the same crossval command again to go on",
                    error.signal_number,
                ) from None


def train_member(member: Member, path: Path, progress: Progress | None = None, *, begun: bool | None = None) -> None:
    """Train one fold to its end, from where it stands; `begun` None: its files say whether there is one."""
    if is_begun(path) if begun is None else begun:
        resume(path, progress=progress)
    else:
        train(member.config, out=path, progress=progress)


def carry_out(jobs: Mapping[str, Callable[[], None]], address: str, progress: Progress) -> None:
    """Run every job once on some worker; the first failure ends it: jobs that wait are not begun any more.

    Raises:
        UsageError: the package, the scheduler or fitting workers are not there.
        UnetkitError: as the jobs.
    """
    with connected(address) as client:
        from distributed import as_completed

        tasks: dict[Any, str] = {client.submit(job, pure=False): name for name, job in jobs.items()}
        try:
            for done, task in enumerate(cast(Iterator[Any], as_completed(tasks)), 1):
                task.result()
                progress.log(f"{tasks[task]}: finished, {done} of {len(tasks)}")
        except BaseException:
            client.cancel(list(tasks))
            raise
