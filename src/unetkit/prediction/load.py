"""load: whatever holds a network, ready to predict.

What a path holds is recognised by its content: a run, a checkpoint or an exported file of unetkit, a legacy system's
file or folder. The folder of a cross-validation holds several networks, its members: together they are an ensemble.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from unetkit.config import ModelConfig, PredictConfig
from unetkit.devices import choose_device, dtype
from unetkit.errors import DataError, ModelFileError, RunFolderError, UsageError
from unetkit.formats import Description, RuntimeOptions, kind_of, open_exported, require_name
from unetkit.formats.mindspore import read_own_graph
from unetkit.formats.runtime import Activation
from unetkit.legacy.checkpoints import read_legacy
from unetkit.modelfile.card import ModelCard, StoredNetwork
from unetkit.modelfile.checkpoint import Checkpoint, read_hub_files
from unetkit.models import Ensemble, Network, build_model, build_outline, to_dtype
from unetkit.prediction.predictor import Predictor, PredictorOptions
from unetkit.run import Run, open_run
from unetkit.storage import local_copy
from unetkit.storage.tree import require_safe

CROSSVAL = "crossval.json"
"""The file that makes a folder that of a cross-validation: its configuration and the names of its members."""

LAST = "last.safetensors"


def read_network(source: Run | str | Path) -> StoredNetwork:
    """Read a network from a run (its best weights), a checkpoint, a hub's folder, or a legacy system's file or folder.

    Raises:
        ModelFileError: no network is there, its file is damaged or has a name of another kind, or it was exported for
            a runtime.
        RunFolderError: a run without weights yet.
    """
    path = source.weights() if isinstance(source, Run) else local_copy(source)
    kind = kind_of(path)
    require_name(path, kind)
    for read in _READERS:
        found = read(path)
        if found is not None:
            _require_weights(found, path)
            return found
    if kind is not None:
        raise ModelFileError(
            f"{source}: a network for runtimes (of the kind {kind}), whose weights are not read back; give the run or "
            "the checkpoint that it was made from"
        )
    if not path.is_file():
        raise ModelFileError(
            f"{path}: no network is there; expected a run folder, a file such as best.safetensors, or a package of "
            "bioimage.io"
        )
    return _checkpoint(path)


def _checkpoint(path: Path) -> StoredNetwork:
    network = Checkpoint.load(path).network
    _require_weights(network, path)
    return network


def _require_weights(stored: StoredNetwork, path: Path) -> None:
    """Make sure that a file holds the weights of the network that its card describes, and no others."""
    expected = build_outline(stored.model).state_dict()  # which takes no memory, however large it is said to be
    for name in dict.fromkeys((*expected, *stored.state)):
        found, wanted = (tuple(state[name].shape) if name in state else "none" for state in (stored.state, expected))
        if found != wanted:
            raise ModelFileError(
                f"{path}: its weights are not those of the network that its card describes (found {found} for {name}, "
                f"expected {wanted}); use another file"
            )


def _run(path: Path) -> StoredNetwork | None:
    return _checkpoint(open_run(path).weights()) if (path / "config.yaml").is_file() else None


def _hub(path: Path) -> StoredNetwork | None:
    checkpoint = read_hub_files(path)
    return None if checkpoint is None else checkpoint.network


# What each legacy system did to 8-bit pixels: subtracted, and divided by.
_EIGHT_BIT = {"minus-one-to-one": (127.5, 127.5), "zero-to-one": (0.0, 255.0), "none": (0.0, 1.0)}


def _legacy(path: Path) -> StoredNetwork | None:
    legacy = read_legacy(path)
    if legacy is None:
        return None
    legacy = legacy.for_rgb()
    channels, classes = legacy.network.in_channels, legacy.network.num_classes
    assert channels is not None
    assert classes is not None
    mean, std = _EIGHT_BIT[legacy.normalization]
    # Outside an image all of them saw zeros. Which size they resized it to is not in the file.
    resize = "asymmetric" if legacy.system == "TensorFlow" else "half-pixel"
    card = ModelCard(
        model=legacy.network,
        classes=("background", "foreground") if classes <= 2 else tuple(f"class {index}" for index in range(classes)),
        mean=(mean,) * channels,
        std=(std,) * channels,
        predict=PredictConfig(padding_mode="zeros", resize=resize),
    )
    return StoredNetwork(card, legacy.state, legacy.moments, legacy.notes)


_READERS: tuple[Callable[[Path], StoredNetwork | None], ...] = (_run, _hub, _legacy, read_own_graph)
"""Each gives the network that a path holds, or None for what is not its kind; what none takes should be a checkpoint.

Those of the legacy systems come before: some of their files could be taken for exported ones.
"""


def build(stored: StoredNetwork, head: int | None = None) -> Network:
    """Build the network that was read, with its weights, to predict with its own head or another.

    Raises:
        UsageError: the network has no such head.
    """
    network = build_model(with_head(stored.model, head))
    network.load_state_dict(stored.state)
    return network


def read_members(source: Run | str | Path) -> tuple[StoredNetwork, ...]:
    """Read the networks of all folds of a cross-validation, or the one network that anything else holds.

    The members are those of the last step: nothing was chosen on the images that they were scored on. So they have no
    temperature, and are not calibrated whatever their configuration says.

    Raises:
        ModelFileError, RunFolderError: as `read_network`, or a fold is not trained yet.
    """
    folders = None if isinstance(source, Run) else member_folders(local_copy(source))
    if folders is None:
        return (read_network(source),)
    missing = [path.name for path in folders if not (path / LAST).is_file()]
    if missing:
        raise RunFolderError(
            f"{source}: {len(missing)} of {len(folders)} trainings are not finished ({missing[0]}); run the same "
            "crossval command again to go on with it"
        )
    found = list[StoredNetwork]()
    for path in folders:
        network = _checkpoint(path / LAST)
        predict = network.card.predict.model_copy(update={"calibrate": False})
        found.append(replace(network, card=network.card.model_copy(update={"predict": predict})))
    return tuple(found)


class _Ensemble(BaseModel):
    members: list[str]


def member_folders(path: Path) -> tuple[Path, ...] | None:
    """Return the run folders of a cross-validation; None where `path` is not the folder of one.

    Raises:
        RunFolderError: its list of members is damaged.
    """
    file = path / CROSSVAL
    if not file.is_file():
        return None
    try:
        names = _Ensemble.model_validate_json(file.read_bytes()).members
        return tuple(path / require_safe(name, str(file)) for name in names)
    except (ValidationError, DataError):
        raise RunFolderError(f"{file}: is not what `unetkit crossval` wrote; bring it back") from None


Model = Run | Predictor | str | Path
"""What holds a network: a run, a predictor, or the path of a run, a cross-validation, a network file or an export."""


class LoadOptions(PredictorOptions, total=False):
    """How a network is loaded and used: keys of `predict` and `objects`, and these; None is as left out.

    `head` of a UNet++: 1 is the fastest, its depth the most accurate. `runtime` and `threads` of an exported file.
    `precision` that the network computes in: float32 (default), bfloat16 or float16. `trust`: open a file that can run
    code (pt2, aoti, torchscript) though it is not an unchanged export of this user. Of other people's files, what they
    do not say: see `Description`, of which `input_size` is the size.
    """

    head: int | None
    runtime: str | None
    threads: int | None
    precision: str | None
    trust: bool | None
    classes: Sequence[str] | None
    normalization: str | None
    multiple: int | None
    input_size: tuple[int, int] | None
    activation: Activation | None
    output: str | None


def load(model: Model, *, device: str = "auto", options: LoadOptions | None = None) -> Predictor:
    """Read whatever holds a network and make it ready to predict.

    Args:
        model: a run or its folder (its best weights), a network file, an exported file, a legacy system's checkpoint,
            or the folder of a cross-validation (the mean of its trainings' probabilities).
        device: auto, cpu, cuda or mps; for an exported file one that its runtime has.
        options: keys of `predict`, which go before the file's own, of `objects` by their whole names, and all that
            `LoadOptions` has besides; None values are passed over.

    Returns:
        The predictor; `predictor.network` is the torch.nn.Module, or the `ExportedNetwork` of an exported file, and
        `predictor.card` all that is known of it.

    Raises:
        ModelFileError: no network is there, its file is damaged, its name contradicts its content, or it can run code
            and is neither this user's export nor trusted.
        UsageError: a head, a runtime or a precision that it does not have.
        ConfigError: an unknown key of `predict` or `objects`, or an impossible value.
        DeviceError: the device is not there, or has no such precision.

    Example:
        >>> predictor = unetkit.load("runs/first")
    """
    given = options or LoadOptions()
    precision, runtime, head = given.get("precision") or "float32", given.get("runtime"), given.get("head")
    dtype(precision)
    if isinstance(model, Predictor):
        return reduced(model, precision).with_options(_of_predictor(given))
    chosen = runtime_options(given, device)
    exported = None if isinstance(model, Run) else open_exported(model, chosen)
    if exported is not None:
        if head is not None:
            raise UsageError(f"head {head} was asked for, but an exported file has the one that it was exported with")
        predictor = Predictor(
            exported,
            exported.card.geometry,
            exported.card,
            torch.device("cpu"),
            prepare=exported.prepare,
            notes=exported.notes,
        )
        return predictor.with_options(_of_predictor(given))
    if chosen.description != Description():
        raise UsageError(
            f"{model}: --classes, --normalization, --multiple, --size, --activation and --output are for ONNX, "
            "TorchScript and packages of other people; leave them out"
        )
    if runtime not in (None, "torch"):
        raise UsageError(f"{model}: not an exported file, so {runtime} does not run it; use unetkit export first")
    predictor = of_stored(*read_members(model), device=device, head=head)
    return reduced(predictor, precision).with_options(_of_predictor(given))


def runtime_options(options: LoadOptions, device: str = "auto") -> RuntimeOptions:
    """Return the options that are of an exported file, or of other people's."""
    size = options.get("input_size")
    said = Description(
        tuple(options.get("classes") or ()),
        options.get("normalization"),
        options.get("multiple"),
        None if size is None else (size[0], size[1]),
        options.get("activation"),
        options.get("output"),
    )
    precision, trust = options.get("precision") or "float32", options.get("trust") or False
    return RuntimeOptions(options.get("runtime"), options.get("threads"), device, precision, trust, said)


def members(
    model: Model, whole: Predictor, *, device: str = "auto", options: LoadOptions | None = None
) -> tuple[Predictor, ...]:
    """Return the predictors that an ensemble is made of; of any other model, `whole`, the model as it was loaded."""
    if isinstance(model, Run | Predictor) or not isinstance(whole.network, nn.Module):
        return (whole,)
    stored, given = read_members(model), options or LoadOptions()
    if len(stored) == 1:
        return (whole,)
    loaded = (of_stored(one, device=device, head=given.get("head")) for one in stored)
    precision = given.get("precision") or "float32"
    return tuple(reduced(one.with_options(_of_predictor(given)), precision).folded() for one in loaded)


def _of_predictor(options: LoadOptions) -> PredictorOptions:
    """Return the options that are keys of `predict` and `objects`."""
    beyond = LoadOptions.__annotations__.keys() - PredictorOptions.__annotations__.keys()
    return cast(PredictorOptions, {key: value for key, value in options.items() if key not in beyond})


def of_stored(*members: StoredNetwork, device: str = "auto", head: int | None = None) -> Predictor:
    """Build a network that was read, or the ensemble of several, and make it ready to predict.

    An ensemble whose members' normalisations differ takes pixels as they are stored, and each member normalises them
    itself. Its card is that of the first without what is a member's own: configuration, scores and temperature.

    Raises:
        UsageError: a head that it does not have, or members that do not make one network.
        DeviceError: the device is not there.
    """
    place, networks = choose_device(device), [build(member, head) for member in members]
    first, geometry = members[0].card, networks[0].geometry
    if len(networks) == 1:
        card = first.model_copy(update={"model": with_head(members[0].model, head)})
        return Predictor(networks[0].eval().to(place), geometry, card, place)
    card = first.model_copy(update={"model": None, "scores": {}, "temperature": None, "held_out": ()})
    statistics = [(member.card.mean, member.card.std) for member in members]
    as_stored = ((0.0,) * first.channels, (1.0,) * first.channels)
    if len(set(statistics)) == 1:
        statistics = [as_stored] * len(members)
    elif first.predict.padding_mode == "zeros":
        raise UsageError(
            "the members see zeros beyond an image, each in units of its own normalisation, so that they do not make "
            "one network; train with data.padding_mode=reflect, or with a fixed data.normalization"
        )
    else:
        card = card.model_copy(update=dict(zip(("mean", "std"), as_stored, strict=True)))
    return Predictor(Ensemble(networks, geometry, statistics).eval().to(place), geometry, card, place)


def reduced(predictor: Predictor, precision: str) -> Predictor:
    """Return the predictor of a network in PyTorch that computes in another precision; float32 changes nothing.

    Raises:
        UsageError: an exported file, loaded already, or no such precision.
    """
    wanted = dtype(precision)
    if wanted == torch.float32:
        return predictor
    if not isinstance(predictor.network, nn.Module):
        raise UsageError(f"precision {precision} of an exported file is chosen where it is loaded")
    # The copy has other weights than the card's configuration describes.
    card = predictor.card.model_copy(update={"model": None})
    return replace(predictor, network=to_dtype(predictor.network, wanted), card=card)


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
