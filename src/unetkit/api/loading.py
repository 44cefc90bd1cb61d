"""load: whatever holds a network, ready to predict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unetkit.config import ModelConfig
from unetkit.devices import choose_device
from unetkit.errors import UsageError
from unetkit.models import build_model
from unetkit.networks import read_network
from unetkit.prediction import Predictor
from unetkit.remote import local_copy
from unetkit.runs import Run, open_run

Model = Run | Predictor | str | Path


def load(model: Model, *, device: str = "auto", options: Mapping[str, Any] | None = None) -> Predictor:
    """Read whatever holds a network and make it ready to predict.

    Args:
        model: a run or its folder (its best weights), a network file, or a founding system's checkpoint.
        device: auto, cpu, cuda or mps.
        options: keys of the `predict` section that go before the file's own, and `head` of a UNet++ (1 is the fastest,
            its depth the most accurate); None values are passed over.

    Returns:
        The predictor; `predictor.network` is the torch.nn.Module.

    Raises:
        ModelFileError: no network is there, or its file is damaged.
        DeviceError: the device is not there.

    Example:
        >>> predictor = unetkit.load("runs/first")
    """
    if isinstance(model, Predictor):
        return model.with_options(options or {})
    stored, place = read_network(model), choose_device(device)
    chosen = {key: value for key, value in (options or {}).items() if key != "head"}
    network = build_model(_with_head(stored.model, (options or {}).get("head")))
    network.load_state_dict(stored.state)
    predictor = Predictor(
        network=network.eval().to(place),
        geometry=network.geometry,
        normalization=stored.normalization,
        classes=stored.classes,
        config=stored.predict,
        device=place,
        border=stored.border,
    )
    return predictor.with_options(chosen)


def _with_head(model: ModelConfig, head: int | None) -> ModelConfig:
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
