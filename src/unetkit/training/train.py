"""train, resume and extend: from a configuration and data to a finished run with its scores and report.

Read from top to bottom it is the course of a training: the configuration, the data and the checks of `prepare`, the run
folder, the steps with their validations (`Trainer`), then the scores of what was held out and the report. Of several
processes (torchrun) the main one alone writes. Does not know how a step is computed.
"""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from unetkit.config import ConfigSource
from unetkit.configuring import configure, load_config
from unetkit.devices import choose_device, choose_precision, cpu_threads, keep_freed_memory
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, DataError, ModelFileError, UsageError
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.report import report
from unetkit.reporting.tensorboard import followed, require_tensorboard
from unetkit.run import Run, create_run, open_run
from unetkit.training.loop import Trainer, stop_requests
from unetkit.training.prepare import Prepared, assemble, place_of, prepare, start_from


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    bug_compatible: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a network, score it on what was held out, and write its report.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config; also a older system's file or dict.
        data: the data set; goes before `data.path` of the configuration.
        out: the run folder to make; it must be new or empty. None: the one that an older configuration names.
        overrides: `key=value` texts that go before the configuration.
        flags: words of a older system's command line, such as ["--epochs", "200"].
        bug_compatible: keep the older system's known issues.
        progress: follows the work; None: nobody.

    Returns:
        The finished run.

    Raises:
        ConfigError, DataError, RunFolderError, DeviceError: the training cannot start; nothing was written.
        DivergedError, StorageError, InterruptedRun: it ended early; the run folder holds the last good checkpoint.

    Example:
        >>> run = unetkit.train("isbi", data="sample", out="runs/first", overrides=["train.steps=50"])
    """
    begun, world = time.perf_counter(), launched_world()
    given = [*overrides, *([] if data is None else [f"data.path={json.dumps(str(data))}"])]
    configured = configure(source, given, flags=flags, bug_compatible=bug_compatible)
    config, out = configured.config, out or configured.out
    if progress is not None and world.is_main_process:
        for remark in configured.remarks:
            progress.log(f"note: {remark}")
    if out is None:
        raise UsageError("--out is missing; write: unetkit train isbi --data DIR --out RUN")
    if config.train.tensorboard:
        require_tensorboard()
    prepared = prepare(config)
    choose_precision(prepared.config.train.precision, choose_device(prepared.config.train.device))
    if not world.is_main_process:
        return _carry_out(Run(Path(out), prepared.config), prepared, world, NoProgress(), begun=begun)
    run = create_run(Path(out), prepared.config)
    try:
        with run.held():
            run.write_json("data.json", prepared.description)
            _carry_out(run, prepared, world, progress or NoProgress(), begun=begun)
    except (UsageError, DataError, ModelFileError):
        if not run.read_log():
            shutil.rmtree(run.path)
        raise
    report(run)
    return run


def resume(path: str | Path, *, progress: Progress | None = None) -> Run:
    """Go on with a run exactly where its newest whole checkpoint stands; a finished run keeps its weights.

    Raises:
        RunFolderError: not a run folder, or all its checkpoints are damaged.
        DataError: the data is not what the run was trained on.
        DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> unetkit.resume("runs/first")
    """
    begun, world = time.perf_counter(), launched_world()
    run = open_run(Path(path))
    if run.config.train.tensorboard:
        require_tensorboard()
    with run.held() if world.is_main_process else nullcontext():
        prepared = prepare(run.config, diagnosed=True)
        if world.is_main_process:
            _same_data(run, prepared)
        progress = (progress or NoProgress()) if world.is_main_process else NoProgress()
        _carry_out(run, prepared, world, progress, begun=begun)
    if world.is_main_process:
        report(run)
    return run


def extend(path: str | Path, *, overrides: Sequence[str], progress: Progress | None = None) -> Run:
    """Give a run more steps: change `train.steps` (and other keys of train, loss or optimizer) and go on.

    Raises:
        ConfigError: a key that a run cannot change on its way.
        RunFolderError, DataError, DivergedError, StorageError, InterruptedRun: as `resume`.

    Example:
        >>> unetkit.extend("runs/first", overrides=["train.steps=800"])
    """
    run = open_run(Path(path))
    config = load_config(run.config, overrides)
    for section in ("data", "model"):
        if getattr(config, section) != getattr(run.config, section):
            raise ConfigError(f"{section}: a run cannot change it on its way; train a new run with it")
    if config.train.steps < run.config.train.steps:
        raise ConfigError(
            f"train.steps: found {config.train.steps}; expected more than the run's {run.config.train.steps}"
        )
    run.with_config(config)
    return resume(path, progress=progress)


def _carry_out(run: Run, prepared: Prepared, world: World, progress: Progress, *, begun: float) -> Run:
    config = run.config
    for note in prepared.notes:
        progress.log(note)
    place = place_of(config, world)
    keep_freed_memory()
    with (
        cpu_threads(config.train.threads),
        stop_requests() as stop,
        torch.random.fork_rng(),
        joined(world, place.device),
    ):
        loop = assemble(run, prepared, place, progress)
        newest = run.newest_checkpoint(warn=lambda text: progress.log(f"warning: {text}"))
        if newest is not None:
            loop.resume(newest)
        else:
            for note in start_from(loop.session, config.init):
                progress.log(f"note: {note}")
        if world.is_main_process:
            run.cut_log(after_step=loop.course.step)
        loop.course.spent |= {"reading": time.perf_counter() - begun}
        with followed(run, wanted=world.is_main_process and config.train.tensorboard) as loop.follow:
            loop.go(stop)
        loop.save_last()
    if world.is_main_process:
        run.write_json("summary.json", _summary(loop))
    return run


def _summary(loop: Trainer) -> dict[str, Any]:
    course = loop.course
    best = None if course.best is None else {"value": course.best[0], "step": course.best[1]}
    seconds = {"training": course.train_seconds} | course.spent
    return {"step": course.step, "best": best, "scores": course.scores, "seconds": seconds}


def _same_data(run: Run, prepared: Prepared) -> None:
    known = run.read_json("data.json")
    if known is None:
        run.write_json("data.json", prepared.description)
    elif any(known[key] != prepared.description[key] for key in ("sha256_pixels", "sha256_labels")):
        raise DataError(
            f"{run.config.data.path}: is not the data that {run.place} was trained on (its checksum differs); "
            "bring that data back, or train a new run"
        )
