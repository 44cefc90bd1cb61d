"""crossval: k folds, each trained as any other run, here or on the workers of a dask cluster.

Jobs on the workers of a dask cluster that is there already. Assumes that they see the same files as this process.

A worker must have one thread: two trainings in one process would share its random numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unetkit.config import Config, ConfigSource
from unetkit.configuring import load_config
from unetkit.data import SAMPLE, Dataset, in_memory, open_dataset
from unetkit.devices import choose_device, cpu_threads
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, InterruptedRun, UsageError
from unetkit.evaluation import Folder, Folds, Member, OutOfFold
from unetkit.evaluation.crossval import as_json, score_folder, written
from unetkit.evaluation.folds import divide, is_begun, open_folder
from unetkit.evaluation.score import challenge_of, families_of
from unetkit.prediction.load import load
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.crossval import write_page
from unetkit.storage import is_remote, url_of
from unetkit.training.train import resume, train


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
    config = _configured(source, data, overrides, seeds=seeds, out=out)
    dataset = in_memory(open_dataset(str(config.data.path), config=config.data))
    divided = divide(config, dataset, folds)
    folder, progress = _opened(Path(out), divided, seeds=seeds), progress or NoProgress()
    _train(folder, dask, progress)
    if not launched_world().is_main_process:
        return CrossValidation(folder.path, None)
    return CrossValidation(folder.path, _score(folder, dataset, progress))


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


def _train(folder: Folder, dask: str | None, progress: Progress) -> None:
    for note in folder.folds.notes:
        progress.log(f"note: {note}")
    if folder.folds.config.predict.calibrate:
        progress.log("note: predict.calibrate: of every fold's best weights alone, not out of fold and not together")
    if dask is None:
        _train_here(folder, progress)
        return
    jobs = {one.name: partial(train_member, one, folder.run_path(one).resolve()) for one in folder.unfinished()}
    if jobs:
        carry_out(jobs, dask, progress)


def _opened(path: Path, folds: Folds, *, seeds: int) -> Folder:
    """Open the folder; of several processes the first one alone looks at it and writes."""
    if launched_world().is_main_process:
        return open_folder(path, folds, seeds=seeds)
    return Folder(path, folds, tuple(folds.members(seeds)))


def _train_here(folder: Folder, progress: Progress) -> None:
    world = launched_world()
    device = world.own_device(choose_device(folder.folds.config.train.device))
    with joined(world, device):
        # What is to be done is asked of the first process alone: another might see files that are being written.
        for member in world.gather(folder.unfinished() if world.is_main_process else [])[0]:
            if world.is_main_process:
                progress.log(f"{member.name}: training {folder.members.index(member) + 1} of {len(folder.members)}")
            _train_together(member, folder.run_path(member), progress, world)


def _train_together(member: Member, path: Path, progress: Progress, world: World) -> None:
    begun = world.gather(world.is_main_process and is_begun(path))[0]
    try:
        train_member(member, path, progress, begun=begun)
    except InterruptedRun as error:
        raise InterruptedRun(
            f"stopped in {member.name}, nothing is lost; run the same crossval command again to go on",
            error.signal_number,
        ) from None


def train_member(member: Member, path: Path, progress: Progress | None = None, *, begun: bool | None = None) -> None:
    """Train one fold to its end, from where it stands; whether it has `begun` is seen from the files if not told."""
    if is_begun(path) if begun is None else begun:
        resume(path, progress=progress)
    else:
        train(member.config, out=path, progress=progress)


def _score(folder: Folder, dataset: Dataset, progress: Progress) -> OutOfFold:
    config = folder.folds.config
    wanted: Any = {
        "challenge": challenge_of(dataset.classes),
        "families": families_of(dataset, config.train.best_metric),
        "progress": progress,
    }
    # The weights of the last step have no temperature: it would be fitted on the images that they are scored on.
    ready = partial(load, device=config.train.device, options={"calibrate": False})
    with cpu_threads(config.train.threads), written(folder.path, dataset) as put:
        scores = score_folder(folder, dataset, ready, put=put, **wanted)
    summary = as_json(folder, scores, folder.folds.notes)
    folder.write_json("evaluation.json", summary["out_of_fold"])
    folder.write_json("summary.json", summary)
    write_page(folder, dataset, scores, folder.folds.notes)
    return scores


def carry_out(jobs: Mapping[str, Callable[[], None]], address: str, progress: Progress) -> None:
    """Run every job once on some worker; the first failure ends it: jobs that wait are not begun any more.

    Raises:
        UsageError: the package, the scheduler or fitting workers are not there.
        UnetkitError: as the jobs.
    """
    client = _connected(address)
    with client:
        _require_single_threads(client, address)
        tasks = {client.submit(job, pure=False): name for name, job in jobs.items()}
        try:
            for done, task in enumerate(_as_completed(tasks), 1):
                task.result()
                progress.log(f"{tasks[task]}: finished, {done} of {len(tasks)}")
        except BaseException:
            client.cancel(list(tasks))
            raise


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs the package distributed: pip install 'unetkit[dask]'") from None
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError):
        raise UsageError(f"--dask {address}: no scheduler answers there; start one: dask scheduler") from None


def _require_single_threads(client: Any, address: str) -> None:
    threads = {worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
    if threads != {1}:
        found = f"a worker has {max(threads)} threads" if threads else "there is no worker"
        raise UsageError(f"--dask {address}: {found}; start workers: dask worker {address} --nthreads 1")


def _as_completed(tasks: Any) -> Any:
    from distributed import as_completed

    return as_completed(tasks)
