"""train, resume and extend: from a configuration and data to a finished run with its scores and report.

Read from top to bottom it is the course of a training: the configuration, the data and its checks (`prepare`), the run
folder, the steps with their validations (`Trainer`), then the scores of what was held out and the report. Of several
processes (torchrun) the main one alone writes. Does not know how a step is computed.
"""

import json
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from unetkit.config import Config, ConfigSource, load_config
from unetkit.configuring import asks_for_split, configure, data_override, training_lines
from unetkit.data.dataset import Subset
from unetkit.devices import choose_device, choose_precision, cpu_threads, imitation_note
from unetkit.distributed import World, joined, launched_world
from unetkit.errors import ConfigError, DataError, ModelFileError, UsageError
from unetkit.evaluation.score import Evaluation, score_predictor, validated_families
from unetkit.machine import available_cores, keep_freed_memory
from unetkit.metrics import MetricFunction, choose_metrics
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.prediction import Predictor
from unetkit.progress import NoProgress, Progress, ProgressFile
from unetkit.reporting.report import report
from unetkit.reporting.trackers import require_trackers, tracked
from unetkit.run import Follow, Run, new_run, now, open_run, require_new
from unetkit.storage import Mirror, is_remote
from unetkit.storage.atomic import make_folder
from unetkit.training.cost import time_steps
from unetkit.training.loop import Trainer, stop_requests
from unetkit.training.losses import LossFunction
from unetkit.training.own import Own
from unetkit.training.prepare import Prepared, prepare, start_from
from unetkit.training.step import TrainStep
from unetkit.version import __version__

_WORTH_TIMING, _LONGEST_TIMING = 20, 2.0  # steps, and seconds

FREE_KEYS = frozenset({"data.path", "train.device", "train.threads", "train.memory"})
"""Keys that a run may change on its way without `extend`: where its data lies (checksums guard it) and what computes.

The section `objects` and `predict.threshold`, too, which `tune` sets in a finished run.
"""


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    bug_compatible: bool = False,
    loss: LossFunction | None = None,
    metrics: Mapping[str, MetricFunction] | None = None,
    follow: Follow | None = None,
    test: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Train a network, score it on what was held out, and write its report.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config; also an older system's file or dict.
        data: the data set; takes precedence over `data.path` of the configuration.
        out: the run folder to make; it must be new or empty. None: the one that an older configuration names.
        overrides: `key=value` texts that take precedence over the configuration.
        flags: words of an older system's command line, such as ["--epochs", "200"].
        bug_compatible: keep the older system's known issues.
        loss: a function of your own, (logits [N, K, H, W], labels [N, H, W], weights [N, H, W] or None) -> scalar, in
            place of the terms of the section `loss`; see `training.losses.LossFunction`. The run records its source.
        metrics: functions of your own by the names of their scores, (probabilities [K, H, W], labels [H, W]) -> number
            of one image, more is better; see `metrics.families`. `train.best_metric` may name one.
        follow: takes every line of the log when it is written; what it raises ends the training.
        test: score the test set at the end, where the data has one.
        progress: follows the work; None: nobody.

    Returns:
        The finished run.

    Raises:
        ConfigError, DataError, RunFolderError, DeviceError: the training cannot start; nothing was written.
        DivergedError, StorageError, InterruptedRun: it ended early; the run folder holds the last good checkpoint.

    Example:
        >>> run = unetkit.train("isbi", data="sample", out="runs/first", overrides=["train.steps=50"])
    """
    own, told, main = Own.of(loss, metrics), progress or NoProgress(), launched_world().is_main_process
    given = [*overrides, *data_override(data)]
    configured = configure(source, given, flags=flags, bug_compatible=bug_compatible)
    if main:
        for remark in configured.remarks:
            told.log(f"note: {remark}")
    if (out := out or configured.out) is None:
        raise UsageError("--out is missing; write: unetkit train isbi --data DIR --out RUN")
    run = fit(
        configured.config, out, own_split=not asks_for_split(source, overrides), own=own, follow=follow, progress=told
    )
    if main:
        report(run, own=own.metrics, test=test, progress=told)
    return run


def fit(
    config: Config,
    out: str | Path,
    *,
    own_split: bool = False,
    own: Own,
    follow: Follow | None = None,
    progress: Progress,
) -> Run:
    """Train a network as `train` does, but leave its scores and its report to the caller.

    With `own_split` a division that the data itself has comes before that of the configuration.
    """
    begun, world = time.perf_counter(), launched_world()
    require_trackers(config.train.track)
    if world.is_main_process and not is_remote(out):
        require_new(Path(out))  # before the data is read and steps are timed
    prepared = prepare(config, own_split=own_split, own_metrics=own.metrics)
    own.try_out(Subset(prepared.dataset, prepared.split.validation), len(prepared.classes))
    choose_precision(config.train.precision, choose_device(config.train.device))  # refuses before anything is written
    if world.size == 1:
        prepared = _with_threads(prepared)
    if not world.is_main_process:
        run = Run(Path(out), prepared.config)
        _train(run, prepared, None, world, NoProgress(), begun=begun, own=own)
        return run
    with new_run(Path(out), prepared.config) as run:
        try:
            run.write_json("data.json", prepared.description)
            own.write(run)
            _train(run, prepared, None, world, progress, begun=begun, own=own, follow=follow)
        except (UsageError, DataError, ModelFileError):
            if not run.read_log():
                shutil.rmtree(run.path)
            raise
    return run


def _with_threads(prepared: Prepared) -> Prepared:
    """Choose the CPU threads that are fastest now, unless they are given, and say so; few steps are not worth it."""
    config, device = prepared.config, choose_device(prepared.config.train.device)
    if config.train.threads is not None or device.type != "cpu" or config.train.steps <= _WORTH_TIMING:
        return prepared
    timing = time_steps(config, device, longest=_LONGEST_TIMING)
    threads = config.train.model_copy(update={"threads": timing.threads})
    note = f"note: train.threads={timing.threads} of {available_cores()} cores: {timing.words()}"
    return replace(prepared, config=config.model_copy(update={"train": threads}), notes=(*prepared.notes, note))


def resume(
    path: str | Path,
    *,
    loss: LossFunction | None = None,
    metrics: Mapping[str, MetricFunction] | None = None,
    follow: Follow | None = None,
    test: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Go on with a run exactly where its newest whole checkpoint stands; a finished run keeps its weights.

    A loss and metrics of your own are given again as `train` was given them; `follow` and `test` are as there.

    Raises:
        RunFolderError: not a run folder, a damaged file in it, or all its checkpoints are damaged.
        ConfigError: config.yaml is no longer what the checkpoint was trained with, or a function is missing or changed.
        DataError: the data is not what the run was trained on.
        DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> unetkit.resume("runs/first")
    """
    return _go_on(path, (), Own.of(loss, metrics), progress, follow=follow, test=test)


def extend(
    path: str | Path,
    *,
    overrides: Sequence[str],
    loss: LossFunction | None = None,
    metrics: Mapping[str, MetricFunction] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Give a run more steps: change `train.steps` (and other keys of train, loss or optimizer) and go on.

    A loss and metrics of your own are given again as `train` was given them.

    Raises:
        ConfigError: a key that a run cannot change on its way, or a function is missing or changed.
        RunFolderError, DataError, DivergedError, StorageError, InterruptedRun: as `resume`.

    Example:
        >>> unetkit.extend("runs/first", overrides=["train.steps=800"])
    """
    return _go_on(path, overrides, Own.of(loss, metrics), progress)


def _go_on(
    path: str | Path,
    overrides: Sequence[str],
    own: Own,
    progress: Progress | None,
    *,
    follow: Follow | None = None,
    test: bool = True,
) -> Run:
    begun, world = time.perf_counter(), launched_world()
    progress = progress if progress is not None and world.is_main_process else NoProgress()
    run = open_run(Path(path))
    own.require_recorded(run)
    config = load_config(run.config, overrides)
    for section in ("data", "model"):
        if getattr(config, section) != getattr(run.config, section):
            raise ConfigError(f"{section}: a run cannot change it on its way; train a new run with it")
    if config.train.steps < run.config.train.steps:
        raise ConfigError(
            f"train.steps: found {config.train.steps}; expected more than the run's {run.config.train.steps}"
        )
    require_trackers(config.train.track)
    with run.held() if world.is_main_process else nullcontext():
        newest = run.newest_checkpoint(warn=lambda text: progress.log(f"warning: {text}"))
        if newest is not None:
            _require_unchanged(run, config, newest, overrides)
        begun_whole = (run.path / "data.json").is_file()
        prepared = prepare(config, checked=begun_whole, own_metrics=own.metrics)
        if world.is_main_process:
            known = run.read_json("data.json")
            if known is None:
                run.write_json("data.json", prepared.description)
            elif any(known.get(key) != prepared.description[key] for key in ("sha256_pixels", "sha256_labels")):
                raise DataError(
                    f"{config.data.path}: is not the data that {run.place} was trained on (its checksum differs); "
                    "bring that data back, or train a new run"
                )
            run = run if config == run.config else run.with_config(config)
        _train(replace(run, config=config), prepared, newest, world, progress, begun=begun, own=own, follow=follow)
    if world.is_main_process:
        report(run, own=own.metrics, test=test, progress=progress)
    return run


def _require_unchanged(run: Run, config: Config, newest: Checkpoint, overrides: Sequence[str]) -> None:
    """Refuse a configuration that is not the checkpoint's in a key that is neither free nor among the overrides.

    Checkpoints that were written before they kept their configuration are compared by their network alone.
    """
    assert newest.card.model is not None  # a checkpoint is refused without
    kept: dict[str, Any] = newest.state.get("config") or {"model": newest.card.model.model_dump(mode="json")}
    trained, asked = dict(_leaves(kept)), {word.partition("=")[0].strip() for word in overrides}
    for key, value in _leaves(config.model_dump(mode="json")):
        free = key in FREE_KEYS or key.startswith(("objects.", "predict.threshold"))
        if free or trained.get(key, value) == value or any(f"{key}.".startswith(f"{word}.") for word in asked):
            continue
        fixed, found = key.startswith(("data.", "model.")), json.dumps(value)
        mend = "train a new run" if fixed else f"change it: unetkit train --extend {run.place} {key}={found}"
        raise ConfigError(
            f"{run.path / 'config.yaml'}: {key} is {found}, but the run was trained with {json.dumps(trained[key])}; "
            f"write that again, or {mend}"
        )


def _leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested sections with its dotted key."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}", value


@contextmanager
def _rank_log(run: Run, world: World, progress: Progress) -> Generator[Progress]:
    """Give the progress of this process, which `train.rank_logs` also writes to LOG[rank]/log.log of the run folder."""
    if not run.config.train.rank_logs:
        yield progress
        return
    folder = Mirror.of(run.path).folder if is_remote(run.path) else run.path
    file_of_rank = folder / f"LOG{world.rank}" / "log.log"
    make_folder(file_of_rank.parent)
    with file_of_rank.open("a", encoding="utf-8") as file:
        yield ProgressFile(progress, file)


def _train(
    run: Run,
    prepared: Prepared,
    newest: Checkpoint | None,
    world: World,
    progress: Progress,
    *,
    begun: float,
    own: Own,
    follow: Follow | None = None,
) -> None:
    """Take every step that is left, with its validations, and write the weights and summary.json."""
    config = run.config
    device = world.own_device(choose_device(config.train.device))
    keep_freed_memory()
    with (
        _rank_log(run, world, progress) as progress,
        cpu_threads(config.train.threads),
        stop_requests() as stop,
        torch.random.fork_rng(),
        joined(world, device),
    ):
        for note in (*prepared.notes, *own.notes(), *imitation_note(config.train.precision, device)):
            progress.log(note)
        store = prepared.fill(device, world, progress)
        normalization, held_out = prepared.normalization.repeated(config.model.slices), prepared.split.validation
        step = TrainStep(config, store, choose_precision(config.train.precision, device), world, loss=own.loss)
        card = ModelCard(
            model=config.model,
            classes=prepared.classes,
            border=config.data.border_width > 0,
            mean=normalization.mean,
            std=normalization.std,
            context=config.model.context,
            predict=config.predict,
            objects=config.objects,
            step=0,
            train_seconds=0.0,
            data_sha256=prepared.description["sha256_pixels"],
            held_out=tuple(prepared.description["validation"]),
            unetkit=__version__,
        )
        shown = config.predict.model_copy(update={"tta": False, "calibrate": False})
        predictor = Predictor(step.predicting, step.model.geometry, card, device).with_card(predict=shown)
        metrics = choose_metrics(validated_families(config.train), predictor.data_classes, warping=False)
        metrics = replace(metrics, legacy_size=config.predict.size).with_own(own.metrics)

        def validate() -> Evaluation:
            step.predicting.eval()
            world.same_buffers(step.predicting)
            return score_predictor(predictor, prepared.dataset, indices=held_out, metrics=metrics, world=world)

        lines = training_lines(config, progress.log, len(prepared.training), world, device=device.type, folder=run.path)
        trainer = Trainer(run, step, card=card, validate=validate if held_out else None, progress=progress, lines=lines)
        if newest is not None:
            trainer.resume(newest)
        else:
            for note in start_from(step, config.init):
                progress.log(f"note: {note}")
        if world.is_main_process:
            run.cut_log(after_step=trainer.state.step)
        trainer.state.spent |= {"reading": time.perf_counter() - begun}
        with tracked(run, progress, wanted=world.is_main_process) as trackers:
            trainer.follow = (trackers.follow, *([] if follow is None else [follow]))
            trainer.go(stop)
        if world.is_main_process:
            state = trainer.state
            trainer.checkpoint().for_prediction().save(run.last)
            best = None if state.best is None else {"value": state.best[0], "step": state.best[1]}
            seconds = {"training": state.train_seconds} | state.spent
            ended = {"step": state.step, "best": best, "scores": state.scores, "seconds": seconds, "ended": now()}
            run.write_json("summary.json", ended)
