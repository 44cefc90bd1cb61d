"""train, resume, extend: a training with all that a user wants from it; report: its page, again."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unetkit import evaluation, reporting, training
from unetkit.api.loading import load
from unetkit.checkpoints import Checkpoint
from unetkit.config import ConfigSource, DataConfig
from unetkit.data import Dataset, Sample, in_memory, open_dataset, samples_of, split_dataset
from unetkit.data.targets import border_labels, instances_of
from unetkit.devices import cpu_threads
from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.evaluation import Evaluation, challenge_of, families_of, objects_of
from unetkit.heads import measure_heads
from unetkit.interop.configurations import Translation, translate_config
from unetkit.models import count_parameters
from unetkit.objects import ObjectMap, find_objects
from unetkit.prediction import Predictor
from unetkit.progress import Reporter
from unetkit.runs import Run, open_run
from unetkit.training.tensorboard import show_pictures


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    faithful: bool = False,
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a network, score it on what was held out, and write its report.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config; also a founding system's file or dict.
        data: the data set; goes before `data.path` of the configuration.
        out: the run folder to make; it must be new or empty. None: the one that a founding configuration names.
        overrides: `key=value` texts that go before the configuration.
        flags: words of a founding system's command line, such as ["--epochs", "200"].
        faithful: keep the founding system's quirks.
        spent: seconds spent before the call, by what on, to be told beside the training time.
        reporter: hears about the course; None: nobody does.

    Returns:
        The finished run.

    Raises:
        ConfigError, DataError, RunFolderError, DeviceError: the training cannot start; nothing was written.
        DivergedError, StorageError, InterruptedRun: it ended early; the run folder holds the last good checkpoint.

    Example:
        >>> run = unetkit.train("isbi", data="sample", out="runs/first", overrides=["train.steps=50"])
    """
    given = [*overrides, *([] if data is None else [f"data.path={json.dumps(str(data))}"])]
    if translation := translate_config(source, given, flags=flags, faithful=faithful):
        source, given, out = translation.config, [], out or translation.out
        _tell(translation, reporter)
    if out is None:
        raise UsageError("--out is missing; write: unetkit train isbi --data DIR --out RUN")
    return _finish(training.train(source, out=out, overrides=given, spent=spent, reporter=reporter))


def resume(path: str | Path, *, spent: Mapping[str, float] | None = None, reporter: Reporter | None = None) -> Run:
    """Go on with a run exactly where its newest whole checkpoint stands; a finished run keeps its weights.

    Raises:
        RunFolderError: not a run folder, or all its checkpoints are damaged.
        DataError: the data is not what the run was trained on.
        DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> unetkit.resume("runs/first")
    """
    return _finish(training.resume(path, spent=spent, reporter=reporter))


def extend(
    path: str | Path,
    *,
    overrides: Sequence[str],
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Give a run more steps: change `train.steps` (and other keys of train, loss or optimizer) and go on.

    Raises:
        ConfigError: a key that a run cannot change on its way.
        RunFolderError, DataError, DivergedError, StorageError, InterruptedRun: as `resume`.

    Example:
        >>> unetkit.extend("runs/first", overrides=["train.steps=800"])
    """
    return _finish(training.extend(path, overrides=overrides, spent=spent, reporter=reporter))


def report(run: Run | str | Path) -> Path:
    """Score the best weights of a run on what was held out, and write its pictures and report.html.

    Example:
        >>> unetkit.report("runs/first")
    """
    return _finish(run if isinstance(run, Run) else open_run(Path(run))).report


def _tell(translation: Translation, reporter: Reporter | None) -> None:
    if reporter is not None and launched_world().leads:
        for remark in translation.remarks():
            reporter.line(f"note: {remark}")


def _finish(run: Run) -> Run:
    """Write the scores and the report of a run; one process of a training does it."""
    if not launched_world().leads:
        return run
    begun, predictor = time.perf_counter(), load(run, options={"calibrate": False})
    with cpu_threads(run.config.train.threads):
        held_out = _held_out(run.config.data)
        scored = None
        if len(held_out):
            challenge = challenge_of(predictor.data_classes)
            families = families_of(held_out, run.config.train.best_metric)
            scored = evaluation.evaluate(
                predictor, held_out, founding_protocol=True, challenge=challenge, families=families
            )
            _keep_temperature(run, scored)
            heads = [head.as_json() for head in measure_heads(predictor, held_out, range(len(held_out)))]
            run.write_json("evaluation.json", scored.as_json() | ({"heads": heads} if heads else {}))
        _note_seconds(run, time.perf_counter() - begun)
        objects = scored is not None and scored.object_counts is not None
        look = _look(predictor, held_out, run.config.data, objects=objects)
        reporting.write_report(run, scored, look, extra=_facts(predictor))
    if run.config.train.tensorboard:
        show_pictures(run)
    run.send()
    return run


def _keep_temperature(run: Run, scored: Evaluation) -> None:
    """Write the temperature that was fitted into the file of the weights that were scored."""
    path = run.weights()
    checkpoint = Checkpoint.load(path)
    if scored.confidence is not None and checkpoint.card.temperature != scored.confidence.temperature:
        card = checkpoint.card.model_copy(update={"temperature": scored.confidence.temperature})
        checkpoint.model_copy(update={"card": card}).save(path)


def _held_out(config: DataConfig) -> Dataset:
    dataset = open_dataset(str(config.path), config=config)
    return in_memory(dataset, split_dataset(dataset, config.split).validation)


def _note_seconds(run: Run, seconds: float) -> None:
    """Add the time that scoring took to what is known of the run's time."""
    summary = run.read_json("summary.json")
    if summary is not None:
        run.write_json("summary.json", summary | {"seconds": summary["seconds"] | {"report": seconds}})


def _look(predictor: Predictor, held_out: Dataset, config: DataConfig, *, objects: bool) -> reporting.Look:
    samples = {sample.name: sample for sample in samples_of(held_out)}

    def look(name: str) -> reporting.Exhibit:
        sample = samples[name]
        assert sample.labels is not None
        p_KHW = predictor.probabilities(sample.pixels)
        borders = _borders(sample, p_KHW, config) if predictor.border else None
        data_KHW = predictor.of_data(torch.from_numpy(p_KHW)).numpy()
        shown = _objects(sample, p_KHW, predictor) if objects else None
        return reporting.Exhibit(name, sample.pixels, sample.labels, data_KHW, borders, shown)

    return look


def _objects(sample: Sample, p_KHW: NDArray[Any], predictor: Predictor) -> tuple[ObjectMap, ObjectMap]:
    """Return the true objects and those that are found."""
    found = find_objects(p_KHW, predictor.classes, predictor.object_config)
    return objects_of(sample, predictor.data_classes), found


def _borders(sample: Sample, p_KHW: NDArray[Any], config: DataConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the border class is true and where it is predicted, [H, W] each."""
    assert sample.labels is not None
    border, width, touching = len(p_KHW) - 1, config.border_class, config.border_touching
    true = border_labels(sample.labels, instances_of(sample), border=border, width=width, touching=touching)
    return true == border, p_KHW.argmax(0) == border


def _facts(predictor: Predictor) -> dict[str, str]:
    assert isinstance(predictor.network, nn.Module)
    return {"Parameters": f"{count_parameters(predictor.network):,}"}
