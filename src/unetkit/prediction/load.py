"""load: whatever holds a network, ready to predict.

Whatever holds a network, read by its content: a run, a checkpoint of ours, a older system's file or folder.

The folder of a cross-validation holds several, its members: `read_members`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unetkit.config import ModelConfig, PredictConfig
from unetkit.devices import choose_device, dtype
from unetkit.errors import ModelFileError, RunFolderError, UsageError
from unetkit.formats import ExportedNetwork, RuntimeOptions, kind_of, open_exported
from unetkit.formats.mindspore import read_own_graph
from unetkit.legacy.checkpoints import LegacyNetwork, read_legacy
from unetkit.modelfile.card import ModelCard, StoredNetwork
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import Ensemble, Network, build_model, to_dtype
from unetkit.prediction.predictor import Predictor
from unetkit.run import Run, open_run
from unetkit.storage import local_copy

CROSSVAL = "crossval.json"
"""The file that makes a folder that of a cross-validation: its configuration and the names of its members."""

LAST = "last.safetensors"


def read_network(source: Run | str | Path) -> StoredNetwork:
    """Read a network from a run (its best weights), a checkpoint, or a older system's file or folder.

    Raises:
        ModelFileError: no network is there, its file is damaged, or it was exported for a runtime.
        RunFolderError: a run without weights yet.
    """
    if isinstance(source, Run):
        return Checkpoint.load(source.weights()).network
    path = local_copy(source)
    if (path / "config.yaml").is_file():
        return read_network(open_run(path))
    legacy = read_legacy(path)
    if legacy is not None:
        return _of_legacy(legacy.for_rgb())
    own = read_own_graph(path)
    if own is not None:
        return own
    if not path.is_file():
        raise ModelFileError(f"{path}: no network is there; expected a run folder, or a file such as best.safetensors")
    if kind_of(path) is not None:
        raise ModelFileError(
            f"{source}: was exported for a runtime, its weights are not read back; "
            "give the run or the checkpoint that it was made from"
        )
    return Checkpoint.load(path).network


def read_members(source: Run | str | Path) -> tuple[StoredNetwork, ...]:
    """Read the networks of all folds of a cross-validation, or the one network that anything else holds.

    The members are those of the last step: nothing was chosen on the images that they were scored on.

    Raises:
        ModelFileError, RunFolderError: as `read_network`, or a fold is not trained yet.
    """
    members = None if isinstance(source, Run) else member_folders(local_copy(source))
    if members is None:
        return (read_network(source),)
    missing = [path.name for path in members if not (path / LAST).is_file()]
    if missing:
        raise RunFolderError(
            f"{source}: {len(missing)} of {len(members)} trainings are not finished ({missing[0]}); run the same "
            "crossval command again to go on with it"
        )
    return tuple(_uncalibrated(Checkpoint.load(path / LAST).network) for path in members)


def _uncalibrated(stored: StoredNetwork) -> StoredNetwork:
    """Return a member of a cross-validation as it is used: whatever its configuration says, it has no temperature."""
    predict = stored.card.predict.model_copy(update={"calibrate": False})
    return replace(stored, card=stored.card.model_copy(update={"predict": predict}))


def member_folders(path: Path) -> tuple[Path, ...] | None:
    """Return the run folders of a cross-validation; None where `path` is not the folder of one.

    Raises:
        RunFolderError: its list of members is damaged.
    """
    file = path / CROSSVAL
    if not file.is_file():
        return None
    try:
        return tuple(path / str(name) for name in json.loads(file.read_text(encoding="utf-8"))["members"])
    except (ValueError, KeyError, TypeError):
        raise RunFolderError(f"{file}: is not what `unetkit crossval` wrote; bring it back") from None


# What each older system did to 8-bit pixels: subtracted, and divided by.
_EIGHT_BIT = {"minus-one-to-one": (127.5, 127.5), "zero-to-one": (0.0, 255.0), "none": (0.0, 1.0)}


def _of_legacy(legacy: LegacyNetwork) -> StoredNetwork:
    channels, classes = legacy.network.in_channels, legacy.network.num_classes
    assert channels is not None
    assert classes is not None
    mean, std = _EIGHT_BIT[legacy.normalization]
    names = ("background", "foreground") if classes <= 2 else tuple(f"class {index}" for index in range(classes))
    # Beyond an image all of them saw zeros. Which size they resized it to is not in the file.
    predict = PredictConfig(outside="zeros", resize="asymmetric" if legacy.system == "TensorFlow" else "half-pixel")
    card = ModelCard(
        model=legacy.network, classes=names, mean=(mean,) * channels, std=(std,) * channels, predict=predict
    )
    return StoredNetwork(card, legacy.state, legacy.moments, legacy.notes)


Model = Run | Predictor | str | Path

_OF_NETWORKS = ("head", "runtime", "threads", "precision")
"""The options that are no keys of `predict` or `objects`."""


def load(model: Model, *, device: str = "auto", options: Mapping[str, Any] | None = None) -> Predictor:
    """Read whatever holds a network and make it ready to predict.

    Args:
        model: a run or its folder (its best weights), a network file, an exported file, a older system's checkpoint,
            or the folder of a cross-validation (the mean of its trainings' probabilities).
        device: auto, cpu, cuda or mps; for an exported file one that its runtime has.
        options: keys of the `predict` section that go before the file's own, and of `objects` by their whole names
            (`objects.threshold`); `head` of a UNet++ (1 is the fastest, its depth the most accurate); `runtime` and
            `threads` of an exported file; `precision`, in which the network computes: float32 (default), bfloat16 or
            float16, faster where the processor has it. None values are passed over.

    Returns:
        The predictor; `predictor.network` is the torch.nn.Module, or the `ExportedNetwork` of an exported file.

    Raises:
        ModelFileError: no network is there, or its file is damaged.
        UsageError: a head, a runtime or a precision that it does not have.
        DeviceError: the device is not there, or has no such precision.

    Example:
        >>> predictor = unetkit.load("runs/first")
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    head, runtime, threads, precision = (given.pop(key, None) for key in _OF_NETWORKS)
    dtype(precision := precision or "float32")
    if isinstance(model, Predictor):
        return reduced(model, precision).with_options(given)
    chosen = RuntimeOptions(runtime, threads, device, precision)
    exported = None if isinstance(model, Run) else open_exported(model, chosen)
    if exported is not None:
        return _of_exported(exported, head).with_options(given)
    if runtime not in (None, "torch"):
        raise UsageError(f"{model}: not an exported file, so {runtime} does not run it; use unetkit export first")
    return reduced(of_stored(*read_members(model), device=device, head=head), precision).with_options(given)


def members(
    model: Model, whole: Predictor, *, device: str = "auto", options: Mapping[str, Any] | None = None
) -> tuple[Predictor, ...]:
    """Return the predictors that an ensemble is made of; of any other model, `whole`, the model as it was loaded."""
    if isinstance(model, Run | Predictor) or not isinstance(whole.network, nn.Module):
        return (whole,)
    stored = read_members(model)
    if len(stored) == 1:
        return (whole,)
    given = {key: value for key, value in (options or {}).items() if key not in _OF_NETWORKS}
    head, precision = (options or {}).get("head"), (options or {}).get("precision") or "float32"
    loaded = (of_stored(one, device=device, head=head).with_options(given) for one in stored)
    return tuple(reduced(one, precision).folded() for one in loaded)


def of_stored(*members: StoredNetwork, device: str = "auto", head: int | None = None) -> Predictor:
    """Build a network that was read, or the ensemble of several, and make it ready to predict.

    Raises:
        UsageError: a head that it does not have.
        DeviceError: the device is not there.
    """
    place = choose_device(device)
    networks = [build_model(with_head(member.model, head)) for member in members]
    for network, member in zip(networks, members, strict=True):
        network.load_state_dict(member.state)
    if len(members) == 1:
        whole, card = networks[0], members[0].card.model_copy(update={"model": with_head(members[0].model, head)})
    else:
        whole, card = _ensemble(networks, [member.card for member in members])
    return Predictor(whole.eval().to(place), networks[0].geometry, card, place)


def reduced(predictor: Predictor, precision: str) -> Predictor:
    """Return the predictor of a network in PyTorch that computes in another precision; float32 changes nothing.

    Raises:
        UsageError: an exported file, loaded already, or no such precision.
    """
    numbers = dtype(precision)
    if numbers == torch.float32:
        return predictor
    if not isinstance(predictor.network, nn.Module):
        raise UsageError(f"precision {precision} of an exported file is chosen where it is loaded")
    # The copy has other weights than the card's configuration describes.
    card = predictor.card.model_copy(update={"model": None})
    return replace(predictor, network=to_dtype(predictor.network, numbers), card=card)


def _ensemble(networks: Sequence[Network], cards: Sequence[ModelCard]) -> tuple[Ensemble, ModelCard]:
    """Return the networks as one, and its card.

    Where the members' normalisations differ it takes pixels as they are stored, and each member normalises them itself.
    A member's scores and temperature are not the ensemble's.
    """
    first, geometry = cards[0], networks[0].geometry
    card = first.model_copy(update={"model": None, "scores": {}, "temperature": None})
    as_stored = {"mean": (0.0,) * first.channels, "std": (1.0,) * first.channels}
    if all(one.normalization == first.normalization for one in cards):
        same = [(as_stored["mean"], as_stored["std"])] * len(cards)
        return Ensemble(networks, geometry, same), card
    if first.predict.outside == "zeros":
        raise UsageError(
            "the members see zeros beyond an image, each in units of its own normalisation, so that they do not make "
            "one network; train with data.outside=mirror, or with a fixed data.normalization"
        )
    return Ensemble(networks, geometry, [(one.mean, one.std) for one in cards]), card.model_copy(update=as_stored)


def _of_exported(exported: ExportedNetwork, head: int | None) -> Predictor:
    if head is not None:
        raise UsageError(f"head {head} was asked for, but an exported file has the one that it was exported with")
    return Predictor(exported, exported.card.geometry, exported.card, torch.device("cpu"))


def with_head(model: ModelConfig, head: int | None) -> ModelConfig:
    """Return the configuration of the same network that predicts with another of its heads; None: with its own.

    Raises:
        UsageError: the network has no heads to choose.
    """
    if head is None:
        return model
    if model.name != "unetpp":
        raise UsageError(
            f"head {head} was asked for, but the network is a {model.name}; only unetpp has heads to choose"
        )
    return model.model_copy(update={"head": head})


def run_of(model: Model) -> Run | None:
    """Return the run that a model belongs to: itself, its folder, or the folder that the file lies in."""
    if isinstance(model, Run):
        return model
    if isinstance(model, Predictor):
        return None
    path = local_copy(model)
    places = [path, path.parent, path.parent.parent]
    return next((open_run(place) for place in places if (place / "config.yaml").is_file()), None)
