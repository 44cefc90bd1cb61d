"""The report of a run: one page that shows all of it, its pictures as files, and its scores as a plain table.

train, resume, extend: a training with all that a user wants from it; report: its page, again.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unetkit.config import DataConfig
from unetkit.data import Dataset, Sample, in_memory, open_dataset, samples_of, split_dataset
from unetkit.data.targets import border_labels, instances_of
from unetkit.devices import cpu_threads
from unetkit.evaluation import score
from unetkit.evaluation.compare import measure_heads
from unetkit.evaluation.score import Evaluation, challenge_of, families_of, objects_of
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import count_parameters
from unetkit.objects import ObjectMap, find_objects
from unetkit.prediction import Predictor
from unetkit.prediction.load import load
from unetkit.reporting import pictures
from unetkit.reporting.history import read_history
from unetkit.reporting.markup import Html
from unetkit.reporting.page import LoadExample, gallery, page
from unetkit.reporting.plots import curves
from unetkit.reporting.tensorboard import show_pictures
from unetkit.run import Run, open_run
from unetkit.storage.atomic import atomic_write, make_folder


def write_report(
    run: Run,
    evaluation: Evaluation | None = None,
    look: LoadExample | None = None,
    *,
    each: int = 3,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.html` and `pictures/` of a run, finished or not.

    Args:
        run: its folder is read and written to.
        evaluation: the scores of its weights on the held-out images; None where there are none.
        look: gives an image of the evaluation by its name; None: no images are shown.
        each: how many of the worst and of the best images are shown.
        extra: further lines for the summary, such as {"Parameters": "481,250"}.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk did not take a file; an older report stands.
    """
    make_folder(run.pictures)
    history = read_history(run)
    drawn = curves(history, run.config.train.best_metric) if history.training else None
    if drawn is not None:
        atomic_write(run.pictures / "curves.png", drawn["png"])
    figures: list[Html] = []
    if evaluation is not None and look is not None:
        metric = run.config.train.best_metric
        figures = list(gallery(run.pictures, evaluation, look, metric=metric, each=each))
    svg = None if drawn is None else drawn["svg"]
    atomic_write(run.report, page(run, history, evaluation, curves_svg=svg, figures=figures, extra=extra or {}))
    return run.report


def report(run: Run | str | Path) -> Path:
    """Score the best weights of a run on what was held out, and write its pictures and report.html.

    Returns:
        The page's path.

    Example:
        >>> unetkit.report("runs/first")
    """
    run = run if isinstance(run, Run) else open_run(Path(run))
    begun, predictor = time.perf_counter(), load(run, options={"calibrate": False})
    with cpu_threads(run.config.train.threads):
        held_out = _held_out(run.config.data)
        scored = None
        if len(held_out):
            challenge = challenge_of(predictor.data_classes)
            families = families_of(held_out, run.config.train.best_metric)
            scored = score.evaluate(predictor, held_out, legacy_protocol=True, challenge=challenge, families=families)
            _keep_temperature(run, scored)
            heads = [head.as_json() for head in measure_heads(predictor, held_out, range(len(held_out)))]
            run.write_json("evaluation.json", scored.as_json() | ({"heads": heads} if heads else {}))
        _note_seconds(run, time.perf_counter() - begun)
        objects = scored is not None and scored.object_counts is not None
        look = _look(predictor, held_out, run.config.data, objects=objects)
        write_report(run, scored, look, extra=_facts(predictor))
    if run.config.train.tensorboard:
        show_pictures(run)
    run.send()
    return run.report


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


def _look(predictor: Predictor, held_out: Dataset, config: DataConfig, *, objects: bool) -> LoadExample:
    samples = {sample.name: sample for sample in samples_of(held_out)}

    def look(name: str) -> pictures.Example:
        sample = samples[name]
        assert sample.labels is not None
        p_KHW = predictor.probabilities(sample.pixels)
        borders = _borders(sample, p_KHW, config) if predictor.border else None
        data_KHW = predictor.of_data(torch.from_numpy(p_KHW)).numpy()
        shown = _objects(sample, p_KHW, predictor) if objects else None
        return pictures.Example(name, sample.pixels, sample.labels, data_KHW, borders, shown)

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
