"""evaluate: a network against labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unetkit import crossvalidation, evaluation
from unetkit.api.configuring import load_config
from unetkit.api.loading import Model, load, run_of
from unetkit.config import ConfigSource, DataConfig
from unetkit.crossvalidation import Folder
from unetkit.data import Dataset, fingerprint, open_dataset, split_dataset
from unetkit.devices import cpu_threads
from unetkit.errors import UsageError
from unetkit.evaluation import Challenge, Evaluation, interior_class
from unetkit.networks import member_folders
from unetkit.prediction import Predictor
from unetkit.progress import Reporter
from unetkit.remote import local_copy
from unetkit.runs import Run


def evaluate(
    model: Model,
    *,
    data: str | Path | None = None,
    config: ConfigSource | None = None,
    everything: bool = False,
    metrics: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a network on labelled images.

    Of a run's own data what was held out is scored: of a cross-validation's, each image by what had not seen it.

    Args:
        model: a run, a cross-validation, their folders, a network file, an exported file, or a Predictor.
        data: the data set; None: the model's own.
        config: a configuration, ours or a founding one, whose sizes and held-out images count.
        everything: score all images, also those that the run was trained on.
        metrics: further families: "objects"; "isbi", the challenge's; "isbi:cell" names the class that is interior.
        options: as of `load`, such as {"tta": True, "objects.threshold": 0.4}.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        DataError, ModelFileError, UsageError: no labels for its classes, no network, or no such family of scores.

    Example:
        >>> unetkit.evaluate("runs/first", metrics=["isbi"]).scores["v_rand_thinned"]
    """
    ready, folder = partial(load, device=device, options=options), folder_of(model)
    predictor, dataset, held = _to_score(model, ready(model), config, data=data, everything=everything)
    wanted: dict[str, Any] = _families(metrics, predictor) | {"reporter": reporter}
    with cpu_threads((options or {}).get("threads")):
        if folder is None or held is None or config is not None:
            scored = evaluation.evaluate(predictor, dataset, indices=held, founding_protocol=True, **wanted)
        else:
            scored = crossvalidation.score_folder(folder, dataset, ready, **wanted).whole
    return _with_warning(scored, dataset)


def _families(metrics: Sequence[str], predictor: Predictor) -> dict[str, Any]:
    families = {"confidence"} | ({"objects"} & set(metrics))
    return {"challenge": challenge_asked(metrics, predictor.data_classes), "families": families}


def _with_warning(scored: Evaluation, dataset: Dataset) -> Evaluation:
    """Add to scores of objects that their numbers were chosen on images of the same data, where they were."""
    chosen_on = scored.objects.chosen_on if scored.objects else None
    if chosen_on is None or chosen_on != fingerprint(dataset).sha256_pixels:
        return scored
    warning = "that choice was made on images of this very data; --tune scores each half by a choice on the other"
    return replace(scored, notes=(*scored.notes, warning))


def _to_score(
    model: Model, predictor: Predictor, config: ConfigSource | None, *, data: str | Path | None, everything: bool
) -> tuple[Predictor, Dataset, Sequence[int] | None]:
    """Return what scores, the data, and which of it: as the model was trained, or as a configuration says."""
    if config is None:
        folder = folder_of(model)
        known = folder.run(folder.members[0]) if folder else run_of(model)
        return predictor, *labelled(data, predictor.data_classes, known, everything=everything)
    section = load_config(config, [] if data is None else [f"data.path={json.dumps(str(data))}"]).data
    if section.path is None:
        raise UsageError("no data is named; give --data DIR with images and their masks")
    resized = predictor.with_options({key: getattr(section, key) for key in ("size", "resize", "outside")})
    dataset = open_dataset(section.path, config=section.model_copy(update={"classes": predictor.data_classes}))
    return resized, dataset, None if everything else split_dataset(dataset, section.split).validation or None


def challenge_asked(metrics: Sequence[str], classes: Sequence[str]) -> Challenge | None:
    """Return what is asked for by names such as "isbi" and "isbi:cell"; None where they are not among them.

    Raises:
        UsageError: no such family of scores, or no such class.
    """
    found = None
    for asked in metrics:
        family, _, interior = asked.partition(":")
        if asked == "objects":
            continue
        if family != "isbi":
            raise UsageError(f"--metrics {asked}: no such family of scores; expected objects, isbi, or isbi:CLASS")
        found = Challenge(interior_class(classes, interior or None))
    return found


def folder_of(model: Model) -> Folder | None:
    """Return the cross-validation whose folder a model is, if it is one."""
    if isinstance(model, Run | Predictor) or member_folders(local_copy(model)) is None:
        return None
    return crossvalidation.read_folder(local_copy(model))


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
