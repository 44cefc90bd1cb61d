"""From a configuration to everything a training starts from: data read and checked, split, normalised and described."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unetkit.config import Config, DataConfig
from unetkit.data import (
    SAMPLE,
    Dataset,
    Normalization,
    Sample,
    Split,
    fingerprint,
    in_memory,
    open_dataset,
    split_dataset,
)
from unetkit.data.resize import Resized
from unetkit.data.targets import WithBorders
from unetkit.data.weights import PixelWeights
from unetkit.doctor import Diagnosis, before_training
from unetkit.errors import ConfigError
from unetkit.evaluation import objects_of
from unetkit.metrics import objects, overlap, size_suffix
from unetkit.metrics.definitions import CLASS, SIZE
from unetkit.remote import is_remote, url_of

_SINGLE = (("dice", ""), ("dice", "_per_image"), ("iou", ""), ("iou", "_per_image"))
"""The scores of a single class."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training starts from.

    Attributes:
        config: the configuration with nothing left open: path, channels and classes are filled in.
        dataset: all samples, with the classes of the data.
        classes: of the network: those of the data, and the border where it is one.
        training: the samples to train on, labelled with these classes and as large as they are trained on.
        split: which of them are trained on and which are held out.
        normalization: found on the training samples alone.
        weights: how much each of their pixels counts; None: all alike.
        description: what the data is, for data.json.
        notes: what the user should know before training starts, as lines that begin with `note:` or `warning:`.
    """

    config: Config
    dataset: Dataset
    classes: tuple[str, ...]
    training: tuple[Sample, ...]
    split: Split
    normalization: Normalization
    weights: PixelWeights | None
    description: dict[str, Any]
    notes: tuple[str, ...]


def prepare(config: Config, *, diagnosed: bool = False) -> Prepared:
    """Open the data of a configuration, check it, and fill in what the configuration leaves to the data.

    Args:
        config: of the training.
        diagnosed: the doctor has seen this data before.

    Raises:
        ConfigError: no data is named, or the configuration contradicts the data.
        DataError: the data cannot be trained on.
    """
    if config.data.path is None:
        raise ConfigError("no data is named; give --data DIR (or data.path in the configuration), or --data sample")
    dataset = in_memory(open_dataset(config.data.path, config=config.data))
    diagnosis = None if diagnosed else before_training(dataset, config)
    split = split_dataset(dataset, config.data.split)
    targets = _targets(dataset, config.data)
    training = tuple(targets[index] for index in split.train)
    # Of the pixels as stored: how they are normalised may follow from their type, which resizing changes.
    normalization = Normalization.fit(config.data.normalization, (dataset[index] for index in split.train))
    resolved = _resolved(config, dataset, channels=training[0].pixels.shape[0], classes=len(targets.classes))
    _require_metric(resolved, dataset.classes)
    _require_sought(config.train.best_metric, [dataset[index] for index in split.validation], dataset.classes)
    border = len(dataset.classes) if config.data.border_class else None
    weights = PixelWeights.of(config.loss, training, classes=len(targets.classes), border=border)
    description = _description(dataset, split, normalization)
    if diagnosis is not None:
        description |= {"findings": diagnosis.as_json()["findings"]}
    if weights is not None:
        description |= {"class_weights": dict(zip(targets.classes, weights.classes, strict=True))}
    notes = tuple(_notes(resolved, diagnosis, description))
    return Prepared(resolved, dataset, targets.classes, training, split, normalization, weights, description, notes)


def _targets(dataset: Dataset, config: DataConfig) -> Dataset:
    """Return the data set as it is trained on: first resized, then with a border class."""
    resized = dataset if config.size is None else Resized(dataset, config.size, config.resize)
    return WithBorders(resized, config.border_class, config.border_touching) if config.border_class else resized


def _notes(config: Config, diagnosis: Diagnosis | None, description: Mapping[str, Any]) -> Iterator[str]:
    if diagnosis is not None:
        yield from diagnosis.lines()
    if config.loss.class_weights == "balanced":
        weights = ", ".join(f"{name} {weight:.3g}" for name, weight in description["class_weights"].items())
        yield f"note: loss.class_weights=balanced: {weights}"


def _require_metric(config: Config, classes: tuple[str, ...]) -> None:
    name, size = config.train.best_metric, config.predict.size
    cards = [card for card in overlap.DEFINITIONS if SIZE not in card]
    if size is not None:
        cards += [card.replace(f"_{SIZE}", size_suffix(*size)) for card in overlap.DEFINITIONS if SIZE in card]
    known = {card.replace(CLASS, label) for card in cards for label in overlap.class_labels(classes)}
    known |= {card for card in objects.DEFINITIONS if not card.startswith("sq")}  # which is no number without a pair
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or sorted(known)[:3]
        raise ConfigError(f"train.best_metric: {name!r} is no score of a validation; near it are {', '.join(near)}")


def _require_sought(metric: str, held_out: Sequence[Sample], classes: tuple[str, ...]) -> None:
    """Make sure that held-out images, if there are any, hold what the score that chooses the weights looks at."""
    single = [f"{kind}_{label}{end}" for label in overlap.class_labels(classes) for kind, end in _SINGLE]
    if metric in objects.DEFINITIONS:
        what, there = "an object", any(len(objects_of(one, classes)) for one in held_out)
    elif metric in single:
        index = single.index(metric) // len(_SINGLE)
        what, there = f"the class {classes[index]}", any((one.labels == index).any() for one in held_out)
    else:
        return
    if held_out and not there:
        raise ConfigError(
            f"train.best_metric={metric}: none of the {len(held_out)} held-out images holds {what}, so that it cannot "
            "choose the best weights; hold out other images (data.split.fold or .seed), or choose by another score"
        )


def _resolved(config: Config, dataset: Dataset, *, channels: int, classes: int) -> Config:
    one_logit = config.model.num_classes == 1 and classes == 2  # is enough to tell two classes apart
    found = {"in_channels": channels, "num_classes": 1 if one_logit else classes}
    for key, value in found.items():
        asked = getattr(config.model, key)
        if asked not in (None, value):
            raise ConfigError(
                f"model.{key}: found {asked}, but the data has {value}; set it to {value} or leave it out"
            )
    model = config.model.model_copy(update=found)
    path = _lasting(str(config.data.path))
    data = config.data.model_copy(update={"classes": dataset.classes, "path": path})
    as_trained = {"size": data.size, "resize": data.resize, "outside": data.outside}
    wanted = {key: value for key, value in as_trained.items() if getattr(config.predict, key) is None}
    predict = config.predict.model_copy(update=wanted)
    return config.model_copy(update={"model": model, "data": data, "predict": predict})


def _lasting(path: str) -> str:
    """Return a data path that means the same from any folder."""
    if path == SAMPLE:
        return path
    return url_of(path) if is_remote(path) else str(Path(path).resolve())


def _description(dataset: Dataset, split: Split, normalization: Normalization) -> dict[str, Any]:
    return fingerprint(dataset).to_json() | {
        "train": [dataset[index].name for index in split.train],
        "validation": [dataset[index].name for index in split.validation],
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
