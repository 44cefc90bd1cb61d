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
from unetkit.evaluation import Challenge, Evaluation, interior_class
from unetkit.progress import Reporter
from unetkit.runs import Run


def evaluate(
    model: Model,
    *,
    data: str | Path | None = None,
    everything: bool = False,
    metrics: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a network on labelled images.

    A run that is given the data it was trained on is scored on what it held out, unless `everything` is asked for.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        data: the data set; None: the run's own.
        everything: score the images that the run was trained on, too.
        metrics: further families: "isbi", the ISBI 2012 challenge's; "isbi:cell" names the class that is interior.
        options: keys of the `predict` section, such as {"tta": True}, and those of `load`.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        DataError, ModelFileError, UsageError: no labels for its classes, no network, or no such family of scores.

    Example:
        >>> unetkit.evaluate("runs/first", metrics=["isbi"]).scores["v_rand_thinned"]
    """
    predictor, run = load(model, device=device, options=options), run_of(model)
    challenge = challenge_asked(metrics, predictor.data_classes)
    dataset, held = labelled(data, predictor.data_classes, run, everything=everything)
    with cpu_threads((options or {}).get("threads")):
        return evaluation.evaluate(
            predictor, dataset, indices=held, founding_protocol=True, challenge=challenge, reporter=reporter
        )


def challenge_asked(metrics: Sequence[str], classes: Sequence[str]) -> Challenge | None:
    """Return what is asked for by names such as "isbi" and "isbi:cell"; None where they are not among them.

    Raises:
        UsageError: no such family of scores, or no such class.
    """
    found = None
    for asked in metrics:
        family, _, interior = asked.partition(":")
        if family != "isbi":
            raise UsageError(f"--metrics {asked}: there is no such family of scores; expected isbi, or isbi:CLASS")
        found = Challenge(interior_class(classes, interior or None))
    return found


def labelled(
    data: str | Path | None, classes: tuple[str, ...], run: Run | None, *, everything: bool = False
) -> tuple[Dataset, Sequence[int] | None]:
    """Open the data to score a network on, and say which of its images a run held out; None: all are to be scored.

    Raises:
        UsageError: neither data nor a run that knows its own.
        DataError: what is there cannot be opened.
    """
    config = (run.config.data if run else DataConfig()).model_copy(update={"classes": classes})
    path = data if data is not None else config.path
    if path is None:
        raise UsageError("no data is named; give --data DIR with images and their masks")
    dataset = open_dataset(path, config=config)
    return dataset, None if everything or run is None else _held_out(run, dataset)


def _held_out(run: Run, dataset: Dataset) -> Sequence[int] | None:
    known = run.read_json("data.json")
    if known is None or known["sha256_pixels"] != fingerprint(dataset).sha256_pixels:
        return None
    return split_dataset(dataset, run.config.data.split).validation or None
