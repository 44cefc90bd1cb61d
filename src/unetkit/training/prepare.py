"""From a configuration to what a training starts from: data read, checked, split and normalised, and the first weights.

What the configuration leaves to the data (path, channels, classes) is filled in. The weights start at random, or from a
network that was trained before. Does not know how a step is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.checks.check import before_training
from unetkit.config import Config, InitConfig
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
from unetkit.data.targets import PixelWeights, WithBorders
from unetkit.distributed import World
from unetkit.errors import ConfigError
from unetkit.evaluation.score import objects_of
from unetkit.metrics import binary, legacy, objects, overlap, size_suffix, surface
from unetkit.metrics.definitions import CLASS, SIZE
from unetkit.prediction.load import read_network
from unetkit.storage import is_remote, url_of
from unetkit.training.optim import require_match
from unetkit.training.step import TrainStep


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

    def pixel_weights(self, world: World) -> list[NDArray[np.float32]] | None:
        """Return the weights [H, W] of each training sample; None where all pixels count alike.

        A process makes its share first, and then finds most of the others' in the cache.
        """
        if self.weights is None:
            return None
        count = len(self.training)
        order = dict.fromkeys((*world.share(count), *range(count)))
        made = {index: self.weights.of_sample(self.training[index]) for index in order}
        return [made[index] for index in range(count)]


def prepare(config: Config, *, checked: bool = False) -> Prepared:
    """Open the data of a configuration, check it, and fill in what the configuration leaves to the data.

    Args:
        config: of the training.
        checked: this data has been checked before.

    Raises:
        ConfigError: no data is named, or the configuration contradicts the data.
        DataError: the data cannot be trained on.
    """
    data = config.data
    if data.path is None:
        raise ConfigError("no data is named; give --data DIR (or data.path in the configuration), or --data sample")
    dataset = in_memory(open_dataset(data.path, config=data))
    report = None if checked else before_training(dataset, config)
    split = split_dataset(dataset, data.split)
    targets = dataset if data.size is None else Resized(dataset, data.size, data.resize)
    targets = WithBorders(targets, data.border_width, data.border_touching) if data.border_width else targets
    training = tuple(targets[index] for index in split.train)
    # Of the pixels as stored: how they are normalised may follow from their type, which resizing changes.
    normalization = Normalization.fit(data.normalization, (dataset[index] for index in split.train))
    resolved = _resolved(config, dataset, channels=training[0].pixels.shape[0], classes=len(targets.classes))
    _require_metric(resolved, [dataset[index] for index in split.validation], dataset.classes)
    border = len(dataset.classes) if data.border_width else None
    weights = PixelWeights.of(config.loss, training, classes=len(targets.classes), border=border)
    description: dict[str, Any] = fingerprint(dataset).to_json() | {
        "train": [dataset[index].name for index in split.train],
        "validation": [dataset[index].name for index in split.validation],
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
    notes: list[str] = []
    if report is not None:
        description["findings"] = report.as_json()["findings"]
        notes += report.lines()
    if weights is not None:
        by_class = dict(zip(targets.classes, weights.classes, strict=True))
        description["class_weights"] = by_class
        if config.loss.class_weights == "balanced":
            shown = ", ".join(f"{name} {weight:.3g}" for name, weight in by_class.items())
            notes.append(f"note: loss.class_weights=balanced: {shown}")
    return Prepared(
        resolved, dataset, targets.classes, training, split, normalization, weights, description, tuple(notes)
    )


def absolute_data_path(path: str | Path) -> str:
    """Return a data path that means the same from any folder."""
    if str(path) == SAMPLE:
        return SAMPLE
    return url_of(path) if is_remote(path) else str(Path(path).resolve())


def _resolved(config: Config, dataset: Dataset, *, channels: int, classes: int) -> Config:
    """Fill in what the configuration leaves to the data."""
    one_logit = config.model.num_classes == 1 and classes == 2  # is enough to tell two classes apart
    found = {"in_channels": channels, "num_classes": 1 if one_logit else classes}
    for key, value in found.items():
        asked = getattr(config.model, key)
        if asked not in (None, value):
            raise ConfigError(
                f"model.{key}: found {asked}, but the data has {value}; set it to {value} or leave it out"
            )
    model = config.model.model_copy(update=found)
    path = absolute_data_path(str(config.data.path))
    data = config.data.model_copy(update={"classes": dataset.classes, "path": path})
    as_trained = {"size": data.size, "resize": data.resize, "padding_mode": data.padding_mode}
    wanted = {key: value for key, value in as_trained.items() if getattr(config.predict, key) is None}
    predict = config.predict.model_copy(update=wanted)
    return config.model_copy(update={"model": model, "data": data, "predict": predict})


def _require_metric(config: Config, held_out: Sequence[Sample], classes: tuple[str, ...]) -> None:
    """Require that `train.best_metric` is a score of a validation, and that held-out images hold what it looks at."""
    metric, size = config.train.best_metric, config.predict.size
    config.predict.thresholds(classes)  # refuses names of no class
    labels = overlap.class_labels(classes)
    pixels = (*overlap.DEFINITIONS, *legacy.DEFINITIONS, *binary.DEFINITIONS, *surface.DEFINITIONS)
    cards = [card for card in pixels if SIZE not in card]
    if size is not None:
        cards += [card.replace(f"_{SIZE}", size_suffix(*size)) for card in legacy.DEFINITIONS if SIZE in card]
    known = {card.replace(CLASS, label) for card in cards for label in labels}
    known |= {card for card in objects.DEFINITIONS if not card.startswith("sq")}  # undefined without a matched pair
    if metric not in known:
        near = get_close_matches(metric, known, n=3, cutoff=0.3) or sorted(known)[:3]
        raise ConfigError(f"train.best_metric: {metric!r} is no score of a validation; near it are {', '.join(near)}")
    of_class = {
        card.replace(CLASS, label): index for card in cards if CLASS in card for index, label in enumerate(labels)
    }
    of_foreground = {"foreground_dice", "foreground_dice_per_image", *binary.DEFINITIONS, *surface.DEFINITIONS}
    if metric in objects.DEFINITIONS:
        what, there = "an object", any(len(objects_of(one, classes)) for one in held_out)
    elif metric in of_class:
        index = of_class[metric]
        what, there = f"the class {classes[index]}", any((one.labels == index).any() for one in held_out)
    elif metric in of_foreground:
        what, there = f"any class but {classes[0]}", any((one.labels != 0).any() for one in held_out)
    else:
        return
    if held_out and not there:
        raise ConfigError(
            f"train.best_metric={metric}: none of the {len(held_out)} held-out images holds {what}, so that it cannot "
            "choose the best weights; hold out other images (data.split.fold or .seed), or choose by another score"
        )


def start_from(step: TrainStep, config: InitConfig) -> tuple[str, ...]:
    """Give a training the weights of a stored network, all but the excluded; return what was done, a line each.

    Where it trains with Adam or AdamW and nothing is excluded, an older system's moments are taken over, unless
    `init.moments` is false.

    Raises:
        ModelFileError: no network is there.
        ConfigError: a pattern matches nothing, or weights that are not excluded do not fit.
    """
    if config.path is None:
        return ()
    stored = read_network(config.path)
    state = step.model.state_dict()
    for pattern in config.exclude:
        require_match(pattern, list(state), "init.exclude")
    wanted = {name for name in state if not any(fnmatchcase(name, pattern) for pattern in config.exclude)}
    for name in sorted(wanted):
        found = "none" if name not in stored.state else tuple(stored.state[name].shape)
        if found != tuple(state[name].shape):
            raise ConfigError(
                f"init: {config.path} has {found} for {name}, this network has {tuple(state[name].shape)}; "
                f"set the same network, or init.exclude=['{name.split('.')[0]}.*'] to start that part at random"
            )
    step.set_weights(state | {name: stored.state[name] for name in wanted})
    notes = [*stored.notes, f"{len(wanted)} of {len(state)} tensors start from {config.path}"]
    moments = stored.moments if config.moments and not config.exclude else None
    if moments is not None and step.config.optimizer.name in ("adam", "adamw"):
        names = {id(weight): name for name, weight in step.model.named_parameters()}
        weights = [weight for group in step.optimizers[0].param_groups for weight in group["params"]]
        placed: dict[str, torch.Tensor] = {}  # by the names under which a checkpoint keeps them
        for index, name in enumerate(names[id(weight)] for weight in weights):
            placed[f"0.{index}.step"] = torch.tensor(float(moments.step))
            placed[f"0.{index}.exp_avg"] = moments.first[name]
            placed[f"0.{index}.exp_avg_sq"] = moments.second[name]
        step.set_moments(placed)
        notes.append(f"Adam goes on from its moments at step {moments.step}")
    return tuple(notes)
