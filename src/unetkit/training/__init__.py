"""Training: from a configuration and data to a run folder, and on from where a run stopped."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from unetkit.config import ConfigSource, load_config
from unetkit.devices import choose_device, choose_precision, cpu_threads, keep_freed_memory
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, DataError, ModelFileError, UsageError
from unetkit.progress import Reporter, Silence
from unetkit.runs import Run, create_run, open_run
from unetkit.training.assembly import assemble, place_of
from unetkit.training.loop import Loop
from unetkit.training.prepare import Prepared, prepare
from unetkit.training.signals import stop_requests
from unetkit.training.start import start_from
from unetkit.training.tensorboard import followed, require_tensorboard

__all__ = ["extend", "resume", "train"]


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path,
    overrides: Sequence[str] = (),
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a network and leave all about it in a new run folder; arguments and errors are those of `api.train`."""
    begun, world = time.perf_counter(), launched_world()
    named = [] if data is None else [f"data.path={json.dumps(str(data))}"]
    config = load_config(source, [*overrides, *named])
    if config.train.tensorboard:
        require_tensorboard()
    prepared = prepare(config)
    choose_precision(prepared.config.train.precision, choose_device(prepared.config.train.device))
    if not world.leads:
        run = Run(Path(out), prepared.config)
        return _carry_out(run, prepared, world, Silence(), begun=begun, spent=spent)
    run = create_run(Path(out), prepared.config)
    try:
        with run.held():
            run.write_json("data.json", prepared.description)
            return _carry_out(run, prepared, world, reporter or Silence(), begun=begun, spent=spent)
    except (UsageError, DataError, ModelFileError):
        if not run.read_log():
            shutil.rmtree(run.path)
        raise


def resume(path: str | Path, *, spent: Mapping[str, float] | None = None, reporter: Reporter | None = None) -> Run:
    """Go on with a run where its newest whole checkpoint stands; arguments and errors are those of `api.resume`."""
    begun, world = time.perf_counter(), launched_world()
    run = open_run(Path(path))
    if run.config.train.tensorboard:
        require_tensorboard()
    with run.held() if world.leads else nullcontext():
        prepared = prepare(run.config, diagnosed=True)
        if world.leads:
            _same_data(run, prepared)
        listener = (reporter or Silence()) if world.leads else Silence()
        return _carry_out(run, prepared, world, listener, begun=begun, spent=spent)


def extend(
    path: str | Path,
    *,
    overrides: Sequence[str],
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Give a run more steps and go on; arguments and errors are those of `api.extend`."""
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
    return resume(path, spent=spent, reporter=reporter)


def _carry_out(
    run: Run, prepared: Prepared, world: World, reporter: Reporter, *, begun: float, spent: Mapping[str, float] | None
) -> Run:
    config = run.config
    for note in prepared.notes:
        reporter.line(note)
    place = place_of(config, world)
    keep_freed_memory()
    with (
        cpu_threads(config.train.threads),
        stop_requests() as stop,
        torch.random.fork_rng(),
        joined(world, place.device),
    ):
        loop = assemble(run, prepared, place, reporter)
        newest = run.newest_checkpoint(warn=lambda text: reporter.line(f"warning: {text}"))
        if newest is not None:
            loop.resume(newest)
        else:
            for note in start_from(loop.session, config.init):
                reporter.line(f"note: {note}")
        if world.leads:
            run.cut_log(after_step=loop.course.step)
        loop.course.spent |= {**(spent or {}), "reading": time.perf_counter() - begun}
        with followed(run, wanted=world.leads and config.train.tensorboard) as loop.follow:
            loop.go(stop)
        loop.save_last()
    if world.leads:
        run.write_json("summary.json", _summary(loop))
    return run


def _summary(loop: Loop) -> dict[str, Any]:
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
