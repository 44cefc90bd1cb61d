"""From a configuration to what a training starts from: data read, checked, split and normalised, and the first weights.

What the configuration leaves to the data (path, channels, classes) is filled in. The weights start at random, or from a
network that was trained before. Does not know how a step is computed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unetkit.checks.check import before_training
from unetkit.config import Config, InitConfig
from unetkit.data import (
    SAMPLE,
    Dataset,
    InMemory,
    Normalization,
    Split,
    fingerprint,
    in_memory,
    open_dataset,
    samples_of,
    split_dataset,
)
from unetkit.data.context import around_each, context_note, with_context
from unetkit.data.dataset import Subset, account_of, channel_files_of, division_of, mask_map_of, name_of
from unetkit.data.layouts.mask_files import pinned
from unetkit.data.resize import resized
from unetkit.data.split import with_method
from unetkit.data.targets import PixelWeights, with_borders
from unetkit.devices import free_memory
from unetkit.distributed import World
from unetkit.errors import ConfigError, DataError
from unetkit.evaluation.score import objects_of
from unetkit.metrics import binary, legacy, objects, overlap, size_suffix, surface
from unetkit.metrics.definitions import CLASS, SIZE
from unetkit.prediction.load import read_network
from unetkit.progress import Progress
from unetkit.storage import is_remote, url_of
from unetkit.storage.cache import user_cache
from unetkit.training.optim import require_match
from unetkit.training.patches import PixelStore, Slices, StoreLayout
from unetkit.training.step import TrainStep

_SHARE_OF_FREE = 0.7  # of the memory, for images; the rest is for the network and other programs
_LOOKED_AT = 8  # images by which it is judged what all take


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training starts from.

    Attributes:
        config: the configuration with nothing left open: path, channels and classes are filled in.
        dataset: all samples, with the classes of the data, and with the slices that the network sees them with.
        classes: of the network: those of the data, and the border where it is one.
        training: the samples to train on, labelled with these classes and as large as they are trained on; each holds a
            pixel that counts.
        split: which of them are trained on and which are held out.
        slices: what the training samples are seen with; None: each is seen by itself.
        normalization: of an image's channels, found on the training samples alone.
        weights: how much each of their pixels counts; None: all alike.
        description: what the data is, for data.json.
        notes: what the user should know before training starts, as lines that begin with `note:` or `warning:`.
    """

    config: Config
    dataset: Dataset
    classes: tuple[str, ...]
    training: Dataset
    split: Split
    slices: Slices | None
    normalization: Normalization
    weights: PixelWeights | None
    description: dict[str, Any]
    notes: tuple[str, ...]

    def fill(self, device: torch.device, world: World, progress: Progress) -> PixelStore:
        """Lay the training images out where there is room for them, and say what they take.

        A process makes the weights of its share first, and then finds most of the others' in the cache.

        Raises:
            StorageError: they need a file that the disk does not take.
        """
        weights = None if self.weights is None else self.weights.of_sample
        layout = StoreLayout.of(self.training, weighted=weights is not None, slices=self.slices)
        limit = images_limit(self.config, device)
        folder = user_cache("pixels") if layout.bytes > limit else None
        if folder is not None or not isinstance(self.training, InMemory):
            where = f"a mapped file in {folder}" if folder is not None else f"the memory of {device.type}"
            progress.log(
                f"note: {len(self.training)} training images take {layout.bytes / 1e9:.3g} GB as {layout.dtype}, in "
                f"{where}; {limit / 1e9:.3g} GB are allowed (train.memory)"
            )
        count = len(self.training)
        return PixelStore.of(
            self.training,
            self.normalization,
            device,
            layout=layout,
            weights=weights,
            padding_mode=self.config.data.padding_mode,
            order=list(dict.fromkeys((*world.share(count), *range(count)))),
            folder=folder,
            slices=self.slices,
        )


def images_limit(config: Config, device: torch.device) -> float:
    """Return the bytes that the images of a training may take on a device."""
    memory = config.train.memory
    return _SHARE_OF_FREE * free_memory(device) if memory is None else memory * 1e9


def _opened(config: Config, path: str) -> Dataset:
    """Open a data set, and hold it in memory where there is room for it and for what a training draws from."""
    dataset = open_dataset(path, config=config.data)
    count = len(dataset)
    taken = 0.0
    for index in np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int):
        sample = dataset[int(index)]
        parts = (sample.pixels, sample.labels, sample.instances, sample.valid)
        taken += sum(part.nbytes for part in parts if part is not None) + sample.pixels.nbytes
    fits = taken / max(min(count, _LOOKED_AT), 1) * count <= images_limit(config, torch.device("cpu"))
    return in_memory(dataset) if fits else dataset


def prepare(
    config: Config,
    *,
    checked: bool = False,
    own_split: bool = False,
    own_metrics: Collection[str] = (),
    searching: bool = False,
) -> Prepared:
    """Open the data of a configuration, check it, and fill in what the configuration leaves to the data.

    Args:
        config: of the training.
        checked: this data has been checked before.
        own_split: nobody asked for the configuration's split: data that is divided by its makers keeps their division.
        own_metrics: names of the user's own metrics, which may choose the best weights.
        searching: it is the first of many that are compared, none of which scores the test set.

    Raises:
        ConfigError: no data is named, or the configuration contradicts the data.
        DataError: the data cannot be trained on.
    """
    data = config.data
    if data.path is None:
        raise ConfigError("no data is named; give --data DIR (or data.path in the configuration), or --data sample")
    dataset = _opened(config, data.path)
    notes = [f"note: {words}" for words in account_of(dataset).unsure]
    if own_split and division_of(dataset).held_out and data.split.method not in ("given", "none"):
        data = data.model_copy(update={"split": data.split.model_copy(update={"method": "given"})})
        config = config.model_copy(update={"data": data})
        notes.append("note: the images that the data itself holds out are held out (data.split.method=given)")
    config = with_method(config, dataset)
    data, around = config.data, around_each(dataset, config.model.context)
    report = None if checked else before_training(dataset, config)
    split = split_dataset(dataset, data.split)
    sized = dataset if data.size is None else resized(dataset, data.size, data.resize)
    targets = with_borders(sized, data.border_width, data.border_touching) if data.border_width else sized
    counting = tuple(index for index in split.train if (valid := dataset[index].valid) is None or valid.any())
    if not counting:
        raise DataError(f"{data.path}: no pixel of the {len(split.train)} training images counts; check the regions")
    training: Dataset = Subset(targets, counting)
    if isinstance(dataset, InMemory):  # what is made of the samples is made once
        training = InMemory(tuple(samples_of(training)), training.classes)
    # Of the pixels as stored: how they are normalised may follow from their type, which resizing changes.
    normalization = Normalization.fit(data.normalization, (dataset[index] for index in counting))
    channels = training[0].pixels.shape[0] * config.model.slices
    resolved = _resolved(config, dataset, channels=channels, classes=len(targets.classes))
    if config.train.best_metric not in own_metrics:
        _require_metric(resolved, Subset(dataset, split.validation))
    border = len(dataset.classes) if data.border_width else None
    weights = PixelWeights.of(config.loss, training, classes=len(targets.classes), border=border)
    description: dict[str, Any] = fingerprint(dataset).to_json() | {
        "train": [name_of(dataset, index)[0] for index in split.train],
        "validation": [name_of(dataset, index)[0] for index in split.validation],
        "test": [name_of(dataset, index)[0] for index in split.test],
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
    if split.test and searching:
        notes.append("note: the test set takes no part in the search")
    elif split.test:
        notes.append(f"note: test set of {len(split.test)}: scored once at the end and used for nothing else")
    notes += context_note(split, around)
    if report is not None:
        description["findings"] = report.as_json()["findings"]
        notes += report.lines()
    if weights is not None:
        by_class = dict(zip(targets.classes, weights.classes, strict=True))
        description["class_weights"] = by_class
        if config.loss.class_weights == "balanced":
            shown = ", ".join(f"{name} {weight:.3g}" for name, weight in by_class.items())
            notes.append(f"note: loss.class_weights=balanced: {shown}; probabilities of rare classes come out too high")
    slices = Slices.of(sized, counting, around) if config.model.context else None
    dataset = with_context(dataset, config.model.context)
    found = targets.classes, training, split, slices, normalization, weights, description, tuple(notes)
    return Prepared(resolved, dataset, *found)


def absolute_data_path(path: str | Path) -> str:
    """Return a data path that means the same from any folder."""
    if str(path) == SAMPLE:
        return SAMPLE
    return url_of(path) if is_remote(path) else str(Path(path).resolve())


def _resolved(config: Config, dataset: Dataset, *, channels: int, classes: int) -> Config:
    """Fill in what the configuration leaves to the data."""
    one_logit = config.model.num_classes == 1 and classes == 2  # is enough to tell two classes apart
    found = {"in_channels": channels, "num_classes": 1 if one_logit else classes}
    several = f" in {config.model.slices} slices (model.context)" if config.model.context else ""
    for key, value in found.items():
        asked = getattr(config.model, key)
        if asked not in (None, value):
            words = f"{value}{several if key == 'in_channels' else ''}"
            raise ConfigError(
                f"model.{key}: found {asked}, but the data has {words}; set it to {value} or leave it out"
            )
    model = config.model.model_copy(update=found)
    path = absolute_data_path(str(config.data.path))
    found_values = {**pinned(mask_map_of(dataset)), "classes": dataset.classes, "path": path}
    data = config.data.model_copy(update=found_values)
    as_trained = {key: getattr(data, key) for key in ("size", "resize", "padding_mode", "channels")}
    as_trained["channel_files"] = channel_files_of(dataset) or None
    wanted = {key: value for key, value in as_trained.items() if getattr(config.predict, key) is None}
    predict = config.predict.model_copy(update=wanted)
    return config.model_copy(update={"model": model, "data": data, "predict": predict})


def _require_metric(config: Config, held_out: Dataset) -> None:
    """Require that `train.best_metric` is a score of a validation, and that held-out images hold what it looks at."""
    metric, size, classes = config.train.best_metric, config.predict.size, held_out.classes
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
        what, there = "an object", any(len(objects_of(one, classes)) for one in samples_of(held_out))
    elif metric in of_class:
        index = of_class[metric]
        what, there = f"the class {classes[index]}", any((one.labels == index).any() for one in samples_of(held_out))
    elif metric in of_foreground:
        what, there = f"any class but {classes[0]}", any((one.labels != 0).any() for one in samples_of(held_out))
    else:
        return
    if len(held_out) and not there:
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
