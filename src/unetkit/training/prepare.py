"""From a configuration to everything a training starts from: data read and checked, split, normalised and described.

The parts of a training put together: images on the device, the session that learns, the predictor that is scored.

Where the weights start: at random, or from a network that was trained before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.checks.check import before_training
from unetkit.checks.exam import Diagnosis
from unetkit.config import Config, DataConfig, InitConfig
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
from unetkit.devices import choose_device, choose_precision
from unetkit.distributed import World
from unetkit.errors import ConfigError
from unetkit.evaluation.score import Evaluation, evaluate, objects_of
from unetkit.metrics import objects, overlap, size_suffix
from unetkit.metrics.definitions import CLASS, SIZE
from unetkit.modelfile.card import AdamMoments, ModelCard
from unetkit.prediction import Predictor
from unetkit.prediction.load import read_network
from unetkit.progress import Progress
from unetkit.run import Run
from unetkit.storage import is_remote, url_of
from unetkit.training.loop import Trainer
from unetkit.training.optim import require_match
from unetkit.training.patches import PixelStore
from unetkit.training.step import TrainStep
from unetkit.version import __version__

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
        diagnosed: the checks has seen this data before.

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
    border = len(dataset.classes) if config.data.border_width else None
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
    return WithBorders(resized, config.border_width, config.border_touching) if config.border_width else resized


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
    as_trained = {"size": data.size, "resize": data.resize, "padding_mode": data.padding_mode}
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process computes, and with whom."""

    device: torch.device
    world: World


def place_of(config: Config, world: World) -> Place:
    """Choose the device of this process; every process of a machine has a CUDA device of its own.

    Raises:
        DeviceError: the device is not there.
    """
    device = choose_device(config.train.device)
    if device.type == "cuda" and world.size > 1:
        device = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(device)
    return Place(device, world)


def assemble(run: Run, prepared: Prepared, place: Place, progress: Progress) -> Trainer:
    """Return the training of a run, at its first step."""
    config, device, world = run.config, place.device, place.world
    weights, padding_mode = _weights(prepared, world), config.data.padding_mode
    store = PixelStore.of(prepared.training, prepared.normalization, device, weights=weights, padding_mode=padding_mode)
    session = TrainStep(config, store, choose_precision(config.train.precision, device), world)
    card = _card(config, prepared)
    predictor = Predictor(session.predicting, session.model.geometry, card, device)
    predictor = predictor.with_card(predict=config.predict.model_copy(update={"tta": False, "calibrate": False}))

    families = ("objects",) if config.train.best_metric in objects.DEFINITIONS else ()

    def validate() -> Evaluation:
        session.predicting.eval()
        world.same_buffers(session.predicting)
        return evaluate(predictor, prepared.dataset, indices=prepared.split.validation, families=families, world=world)

    return Trainer(run, session, card=card, validate=validate if prepared.split.validation else None, progress=progress)


def _weights(prepared: Prepared, world: World) -> list[NDArray[np.float32]] | None:
    """Return the weights of all training pixels; a process makes its share first and finds the rest in the cache."""
    if prepared.weights is None:
        return None
    count, samples = len(prepared.training), prepared.training
    order = dict.fromkeys((*world.share(count), *range(count)))
    made = {index: prepared.weights.of_sample(samples[index]) for index in order}
    return [made[index] for index in range(count)]


def _card(config: Config, prepared: Prepared) -> ModelCard:
    return ModelCard(
        model=config.model,
        classes=prepared.classes,
        border=config.data.border_width > 0,
        mean=prepared.normalization.mean,
        std=prepared.normalization.std,
        predict=config.predict,
        objects=config.objects,
        step=0,
        train_seconds=0.0,
        data_sha256=prepared.description["sha256_pixels"],
        unetkit=__version__,
    )


def start_from(session: TrainStep, config: InitConfig) -> tuple[str, ...]:
    """Give the session's network the weights of a stored one, all but the excluded; return what was done, a line each.

    Where the session trains with Adam or AdamW and nothing is excluded, a older system's moments are taken over,
    unless `init.moments` is false.

    Raises:
        ModelFileError: no network is there.
        ConfigError: a pattern matches nothing, or weights that are not excluded do not fit.
    """
    if config.path is None:
        return ()
    stored = read_network(config.path)
    state = session.model.state_dict()
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
    session.set_weights(state | {name: stored.state[name] for name in wanted})
    notes = [*stored.notes, f"{len(wanted)} of {len(state)} tensors start from {config.path}"]
    wanted_moments = config.moments and not config.exclude
    if stored.moments is not None and wanted_moments and session.config.optimizer.name in ("adam", "adamw"):
        session.set_moments(_by_place(session, stored.moments))
        notes.append(f"Adam goes on from its moments at step {stored.moments.step}")
    return tuple(notes)


def _by_place(session: TrainStep, moments: AdamMoments) -> dict[str, torch.Tensor]:
    """Return the moments by the names under which a checkpoint keeps them."""
    names = {id(weight): name for name, weight in session.model.named_parameters()}
    weights = [weight for group in session.optimizers[0].param_groups for weight in group["params"]]
    placed: dict[str, torch.Tensor] = {}
    for index, weight in enumerate(weights):
        name = names[id(weight)]
        placed |= {
            f"0.{index}.step": torch.tensor(float(moments.step)),
            f"0.{index}.exp_avg": moments.first[name],
            f"0.{index}.exp_avg_sq": moments.second[name],
        }
    return placed
