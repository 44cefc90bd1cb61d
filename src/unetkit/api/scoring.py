"""evaluate: a network against labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unetkit import evaluation
from unetkit.api.loading import Model, load, run_of
from unetkit.config import DataConfig
from unetkit.data import Dataset, fingerprint, open_dataset, split_dataset
from unetkit.devices import cpu_threads
from unetkit.errors import UsageError
from unetkit.evaluation import Evaluation
from unetkit.progress import Reporter
from unetkit.runs import Run


def evaluate(
    model: Model,
    *,
    data: str | Path | None = None,
    everything: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a network on labelled images.

    A run that is given the data it was trained on is scored on the images that it held out, unless `everything` is
    asked for.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        data: the data set; None: the run's own.
        everything: score the images that the run was trained on, too.
        options: keys of the `predict` section, such as {"tta": True}.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        DataError: no labels, or labels that the network has no class for.
        ModelFileError: no network is there.

    Example:
        >>> unetkit.evaluate("runs/first").scores["mean_iou"]
    """
    predictor, run = load(model, device=device, options=options), run_of(model)
    config = (run.config.data if run else DataConfig()).model_copy(update={"classes": predictor.data_classes})
    path = data if data is not None else config.path
    if path is None:
        raise UsageError("no data is named; give --data DIR with images and their masks")
    dataset = open_dataset(path, config=config)
    held_out = None if everything or run is None else _held_out(run, dataset)
    with cpu_threads(None):
        return evaluation.evaluate(predictor, dataset, indices=held_out, founding_protocol=True, reporter=reporter)


def _held_out(run: Run, dataset: Dataset) -> Sequence[int] | None:
    known = run.read_json("data.json")
    if known is None or known["sha256_pixels"] != fingerprint(dataset).sha256_pixels:
        return None
    return split_dataset(dataset, run.config.data.split).validation or None
