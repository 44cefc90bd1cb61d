"""The report of a run: the scores of its best weights, its pictures as files, and one page that shows all of it."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unetkit.config import DataConfig
from unetkit.data import Dataset, open_dataset, samples_of, split_dataset
from unetkit.data.context import with_context
from unetkit.data.dataset import Subset
from unetkit.data.targets import border_labels, instances_of
from unetkit.devices import cpu_threads
from unetkit.evaluation.compare import measure_heads
from unetkit.evaluation.score import (
    CHOSEN_HERE,
    Evaluation,
    choose_for,
    chosen_on,
    missing_functions,
    objects_of,
    reported_families,
    score_predictor,
)
from unetkit.metrics import MetricFunction, own_functions
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import count_parameters
from unetkit.prediction import Predictor
from unetkit.prediction.load import load
from unetkit.progress import NoProgress, Progress
from unetkit.reporting.history import read_history
from unetkit.reporting.page import LoadExample, ShownImage, gallery, page
from unetkit.reporting.pictures import Example
from unetkit.reporting.plots import curves
from unetkit.reporting.trackers import track_report
from unetkit.run import Run, open_run
from unetkit.storage.atomic import atomic_write, make_folder


def report(
    run: Run | str | Path,
    *,
    own: Mapping[str, MetricFunction] | None = None,
    test: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Score the best weights of a run on what was held out and on the test set; write its pictures and report.html.

    Args:
        run: a run or its folder.
        own: metrics of your own by name, as of `train`; those that the run was trained with are not scored without.
        test: score the test set, where the data has one.
        progress: takes a warning about a tracker that fails.

    Returns:
        The page's path.

    Example:
        >>> unetkit.report("runs/first")
    """
    run = open_run(run)
    begun, config, functions = time.perf_counter(), run.config, own_functions(own)
    predictor = load(run, options={"calibrate": False})
    with cpu_threads(config.train.threads):
        dataset = open_dataset(str(config.data.path), config=config.data)
        split = split_dataset(dataset, config.data.split)
        dataset = with_context(dataset, config.model.context)
        held_out, tested = Subset(dataset, split.validation), Subset(dataset, split.test)
        scored, scored_test = None, None
        if len(tested) and test:
            metrics = choose_for(predictor, reported_families(tested, config.train), warping=False)
            scored_test = score_predictor(predictor, tested, metrics=metrics.with_own(functions))
        if len(held_out):
            metrics = choose_for(predictor, reported_families(held_out, config.train), warping=False)
            scored = score_predictor(predictor, held_out, metrics=metrics.with_own(functions))
            described: dict[str, Any] = run.read_json("data.json") or {}
            here = [CHOSEN_HERE] if described.get("sha256_pixels") in chosen_on(predictor, scored) else []
            scored = replace(scored, notes=(*scored.notes, *here, *missing_functions(run, functions)))
            _keep_temperature(run, scored)
            heads = [asdict(head) for head in measure_heads(predictor, held_out, metric=config.train.best_metric)]
            parts = ({"heads": heads} if heads else {}) | (
                {} if scored_test is None else {"test": scored_test.as_json()}
            )
            run.write_json("evaluation.json", scored.as_json() | parts)
        if (summary := run.read_json("summary.json")) is not None:
            seconds = summary["seconds"] | {"report": time.perf_counter() - begun}
            run.write_json("summary.json", summary | {"seconds": seconds})
        objects = scored is not None and scored.object_counts is not None
        load_example = _examples(predictor, held_out, config.data, objects=objects)
        assert isinstance(predictor.network, nn.Module)
        parameters = f"{count_parameters(predictor.network):,}"
        extra = {"Parameters": parameters}
        if context := predictor.card.context:
            extra["Seen together"] = f"{predictor.card.slices} slices: each with {context} before and after it"
        write_report(run, scored, load_example, extra=extra, test=scored_test)
    found = {"held_out": scored, "test": scored_test}
    track_report(run, {name: one.scores for name, one in found.items() if one is not None}, progress or NoProgress())
    run.send()
    return run.report


def write_report(
    run: Run,
    evaluation: Evaluation | None = None,
    load_example: LoadExample | None = None,
    *,
    each: int = 3,
    extra: Mapping[str, str] | None = None,
    test: Evaluation | None = None,
) -> Path:
    """Write `report.html` and `pictures/` of a run, finished or not, with `each` of the worst and of the best images.

    `load_example` gives an image of the evaluation by its name; None: none is shown. `extra` are further lines for the
    summary, such as {"Parameters": "481,250"}, and `test` the scores of the same weights on the test set.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk did not take a file; an older report stands.
    """
    make_folder(run.pictures)
    history, metric = read_history(run), run.config.train.best_metric
    drawn = curves(history, metric) if history.training else None
    if drawn is not None:
        atomic_write(run.pictures / "curves.png", drawn["png"])
    figures: list[ShownImage] = []
    if evaluation is not None and load_example is not None:
        figures = gallery(run.pictures, evaluation, load_example, metric=metric, each=each)
    svg = None if drawn is None else drawn["svg"]
    html = page(run, history, evaluation, curves_svg=svg, figures=figures, extra=extra or {}, test=test)
    atomic_write(run.report, html)
    return run.report


def _keep_temperature(run: Run, scored: Evaluation) -> None:
    """Write the temperature that was fitted into the file of the weights that were scored."""
    path = run.weights()
    checkpoint = Checkpoint.load(path)
    if scored.confidence is not None and checkpoint.card.temperature != scored.confidence.temperature:
        card = checkpoint.card.model_copy(update={"temperature": scored.confidence.temperature})
        checkpoint.with_card(card).save(path)


def _examples(predictor: Predictor, held_out: Dataset, config: DataConfig, *, objects: bool) -> LoadExample:
    """Return what predicts a held-out image again when the page shows it; borders and objects where they are meant."""
    samples = {sample.name: sample for sample in samples_of(held_out)}

    def load_example(name: str) -> Example:
        sample = samples[name]
        assert sample.labels is not None
        p_KHW = predictor.probabilities(sample.input)
        data_KHW = predictor.of_data(torch.from_numpy(p_KHW)).numpy()
        decided, borders, shown = predictor.decided(torch.from_numpy(p_KHW)), None, None
        if sample.valid is not None:  # labels are 0 there, too: what does not count is no error
            decided = np.where(sample.valid, decided, 0)
        if predictor.border:
            border, width, touching = len(p_KHW) - 1, config.border_width, config.border_touching
            true = border_labels(
                sample.labels,
                instances_of(sample),
                border=border,
                width=width,
                touching=touching,
                valid=sample.valid,
            )
            borders = true == border, p_KHW.argmax(0) == border
        if objects:
            shown = objects_of(sample, predictor.data_classes), predictor.objects_in(p_KHW)
        return Example(name, sample.pixels, sample.labels, data_KHW, borders, shown, decided)

    return load_example
