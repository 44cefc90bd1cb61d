"""Two verbs: `evaluate`, a network against labels, and `score_isbi`, anybody's files by the ISBI challenge's metrics.

Says which images are scored and by which metrics; how they are scored is `score`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.config import ConfigSource, DataConfig
from unetkit.configuring import Configured, configure, data_override
from unetkit.data import Dataset, fingerprint, open_dataset, samples_of, split_dataset
from unetkit.data.context import with_context
from unetkit.devices import cpu_threads
from unetkit.errors import DataError, UsageError
from unetkit.evaluation.crossval import Folder, read_folder, score_folder
from unetkit.evaluation.score import (
    CHOSEN_HERE,
    Answer,
    Evaluation,
    choose_for,
    chosen_on,
    missing_functions,
    named_families,
    score,
    score_predictor,
    summarise,
)
from unetkit.images import open_image
from unetkit.images.image import Image, Role
from unetkit.metrics import MetricFunction, Metrics, Prediction, own_functions
from unetkit.modelfile.card import ModelCard
from unetkit.prediction import Predictor
from unetkit.prediction.load import LoadOptions, Model, load, member_folders, run_of
from unetkit.progress import Progress
from unetkit.run import Run
from unetkit.storage import local_copy


def evaluate(
    model: Model,
    *,
    data: str | Path | None = None,
    config: ConfigSource | Configured | None = None,
    everything: bool = False,
    metrics: Sequence[str] = (),
    own: Mapping[str, MetricFunction] | None = None,
    options: LoadOptions | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Score a network on labelled images.

    Of a run's own data what was held out is scored: of a cross-validation's, each image by what had not seen it.

    Args:
        model: a run, a cross-validation, their folders, a network file, an exported file, or a Predictor.
        data: the data set; None: the model's own.
        config: a configuration, ours or an older system's, whose sizes and held-out images count; as `configure` gives
            it, with its data, where it was read before.
        everything: score all images, also those that the run was trained on.
        metrics: families besides overlap and calibration: "objects"; "isbi", where "isbi:cell" names the class that is
            interior; "legacy". Those that the run's or the given configuration names are computed without being asked.
        own: metrics of your own by name, (probabilities [K, H, W], labels [H, W]) -> number of one image.
        options: as of `load`, such as {"tta": True, "objects.threshold": 0.4}.
        device: auto, cpu, cuda or mps.
        progress: follows the work.

    Raises:
        DataError, ModelFileError, UsageError: no labels for its classes, no network, or no such family of scores.

    Example:
        >>> unetkit.evaluate("runs/first", metrics=["isbi"]).scores["v_rand_thinned"]
    """
    configured = config
    if configured is not None and not isinstance(configured, Configured):
        configured = configure(configured, data_override(data))
    folder = folder_of(model)
    # The trainings of a cross-validation have no temperature: it would be fitted on the images that they are scored on.
    given: LoadOptions = options or {}
    given = {**given, "calibrate": bool(given.get("calibrate"))} if folder else given
    ready = partial(load, device=device, options=given)
    predictor, run = ready(model), folder.run(folder.members[0]) if folder else run_of(model)
    if configured is None:
        dataset, held = labelled(data, predictor.card, run, everything=everything)
        training = run.config.train if run else None
    else:
        section, training = configured.config.data, configured.config.train
        if section.path is None:
            raise UsageError("no data is named; give --data DIR with images and their masks")
        predictor = predictor.with_options(
            {"size": section.size, "resize": section.resize, "padding_mode": section.padding_mode}
        )
        dataset = open_dataset(section.path, config=section.model_copy(update={"classes": predictor.data_classes}))
        held = None if everything else split_dataset(dataset, section.split).validation or None
        dataset = with_context(dataset, predictor.card.context)
    named = named_families(training) if training else ()
    functions = own_functions(own)
    wanted = choose_for(predictor, ["calibration", *named, *metrics]).with_own(functions)
    with cpu_threads((options or {}).get("threads")):
        if folder is None or held is None or config is not None:
            scored = score_predictor(predictor, dataset, indices=held, metrics=wanted, progress=progress)
        else:
            scored = score_folder(folder, dataset, ready, wanted, progress=progress).whole
    notes = [*scored.notes, *(missing_functions(run, functions) if run else ())]
    trained_on = predictor.card.data_sha256 if configured is None and folder is None else ""
    sha256 = fingerprint(dataset).sha256_pixels if chosen_on(predictor, scored) or trained_on else None
    if trained_on == sha256 and held is None:
        notes.append("images that it was trained on are among these: the scores say little about others")
    elif trained_on == sha256 and run is None:
        notes.append(
            f"scored are the {len(held or ())} of {len(dataset)} images that its training held out (--all: all)"
        )
    if sha256 in chosen_on(predictor, scored):
        notes.append(CHOSEN_HERE)
    return replace(scored, notes=tuple(notes))


def folder_of(model: Model) -> Folder | None:
    """Return the cross-validation whose folder a model is, if it is one."""
    if isinstance(model, Run | Predictor) or member_folders(local_copy(model)) is None:
        return None
    return read_folder(local_copy(model))


def labelled(
    data: str | Path | None, card: ModelCard, run: Run | None, *, everything: bool = False
) -> tuple[Dataset, Sequence[int] | None]:
    """Open the data to score a network on, and say which of its images were held out; None: all are to be scored.

    Held out by the network's run, or without one by what its card says of the same data.

    Raises:
        UsageError: neither data nor a run that knows its own.
        DataError: what is there cannot be opened.
    """
    config = (run.config.data if run else DataConfig()).model_copy(update={"classes": card.data_classes})
    path = data if data is not None else config.path
    if path is None:
        raise UsageError("no data is named; give --data DIR with images and their masks")
    if data is not None:  # other data may have its objects in another form, and has no test set of its own
        kind = "auto" if config.mask_kind == "instances" else config.mask_kind
        config = config.model_copy(update={"mask_kind": kind, "test": None})
    dataset = open_dataset(path, config=config)
    known = card.data_sha256
    if run is not None:
        recorded: dict[str, str] = run.read_json("data.json") or {}
        known = recorded.get("sha256_pixels", "")
    held: Sequence[int] | None = None
    if not everything and known and known == fingerprint(dataset).sha256_pixels:
        if run is not None:
            held = split_dataset(dataset, run.config.data.split).validation or None
        else:
            held = tuple(place for place, one in enumerate(samples_of(dataset)) if one.name in card.held_out) or None
    return with_context(dataset, card.context), held


def score_isbi(
    label: str | Path,
    probability: str | Path,
    *,
    membrane: bool = False,
    scale: float | None = None,
    warping: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a stack of probabilities against a stack of labels as the challenge's own evaluator does.

    Args:
        label: an image file, a page a slice: interior > 0, membrane 0.
        probability: as many pages of the same size: the probability of interior, in [0, 1].
        membrane: the probability is that of membrane: 1 - p is scored, of stored whole numbers (scale - p) / scale.
        scale: the stored value that means 1, such as 255 in an 8-bit map; None: values are probabilities as they stand.
        warping: whether to compute the warping error too; it takes longer than everything else.
        progress: follows the work.

    Raises:
        DataError, UsageError: pages or sizes differ, values are no probabilities, or an impossible scale.

    Example:
        >>> unetkit.score_isbi("train-labels.tif", "probability.tif").scores["v_rand_thinned"]
    """
    if scale is not None and not scale > 0:
        raise UsageError(f"--scale {scale:g}: expected the stored value that means 1, such as 255")
    truth, predicted = _open(label, "mask"), _open(probability, "image")
    for what, ours, theirs in (
        ("pages", truth.count, predicted.count),
        ("pixels (height x width)", f"{truth.height} x {truth.width}", f"{predicted.height} x {predicted.width}"),
    ):
        if ours != theirs:
            raise DataError(
                f"{predicted.source}: has {theirs} {what}, but {truth.source} has {ours}; "
                "give two stacks of the same slices, or two single slices"
            )
    classes, metrics, sums = ("membrane", "interior"), Metrics(("isbi",), warping=warping), np.zeros((2, 2))

    def answered() -> Iterator[Answer]:
        for page in range(truth.count):
            interior = truth.read(page)[0] > 0
            p = _probability(predicted.read(page)[0], f"{probability}, page {page}", membrane=membrane, scale=scale)
            sums[:] += [[p[interior].sum(), interior.sum()], [p[~interior].sum(), (~interior).sum()]]
            name = f"{Path(label).stem}[{page:02d}]"
            both = np.stack([1 - p, p])
            yield Answer(Prediction(name, classes, interior.astype(np.uint8), both, both), {"": page})

    images = score(answered(), metrics, total=truth.count, progress=progress)[""]
    (inside, interior), (outside, border) = sums.tolist()
    notes: list[str] = []
    if interior and border and inside / interior < outside / border:
        notes.append(
            f"the mean probability is {inside / interior:.2f} in the labels' interior and {outside / border:.2f} on "
            "their membrane: if this is a map of membranes, give --membrane"
        )
    return summarise(images, metrics, classes, notes=notes)


def _open(path: str | Path, role: Role) -> Image:
    pages = open_image(Path(path), role)
    if pages.channels != 1:
        raise DataError(f"{path}: has {pages.channels} channels; a grey stack was expected, a page a slice")
    return pages


def _probability(stored: NDArray[Any], source: str, *, membrane: bool, scale: float | None) -> NDArray[np.float64]:
    """Return the probability of interior; whole numbers are inverted before they are divided, so that nothing rounds.

    A float map is inverted in its own precision, as image programs do.
    """
    high = float(stored.max())
    if scale is None and stored.dtype.kind in "iu" and high > 1:
        raise DataError(
            f"{source}: whole numbers up to {high:g} are no probabilities, and nothing is rescaled by itself; give "
            f"--scale {2 ** (8 * stored.dtype.itemsize) - 1} if that value means 1, or a float map from 0 to 1"
        )
    if scale is not None and high > scale:
        raise DataError(f"{source}: holds {high:g}, above --scale {scale:g}; give the stored value that means 1")
    whole = stored.astype(np.float64) if stored.dtype.kind in "biu" else stored
    one = whole.dtype.type(1 if scale is None else scale)
    return ((one - whole if membrane else whole) / one).astype(np.float64)
