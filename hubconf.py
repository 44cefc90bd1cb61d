"""The networks for torch.hub, without an installation of unetkit: `torch.hub.load(REPO, "unet", source="local", ...)`.

REPO is this folder, or owner/name of a copy on GitHub (then without `source`; `torch.hub.help` shows the entries). What
unetkit stands on has to be installed: the packages named in `dependencies`.
"""

import sys as _sys
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Unpack as _Unpack

from torch import nn as _nn

dependencies = ["torch", "numpy", "PIL", "imagecodecs", "pydantic", "safetensors", "scipy", "tifffile", "yaml"]

_sources = str(_Path(__file__).resolve().parent / "src")
_sys.path.insert(0, _sources)  # a package of the same name that is installed would hide the one beside this file
try:
    import unetkit as _unetkit
finally:
    _sys.path.remove(_sources)

if _TYPE_CHECKING:
    from unetkit.prediction import Predictor as _Predictor
    from unetkit.prediction.load import LoadOptions as _LoadOptions


def unet(start: str | None = None, **options: object) -> _nn.Module:
    """Make a U-Net, float32 [N, C, H, W] -> logits [N, K, H, W]; any H and W go in.

    Args:
        start: None: fresh weights, by `options` alone; a preset: fresh weights, by its `model` section and `options`; a
            run folder, a checkpoint or a legacy system's file: its weights, in evaluation mode, without `options`.
        **options: keys of the `model` section, such as width=32, depth=4; `in_channels` is 1 and `num_classes` 2 where
            nothing says otherwise.

    Raises:
        UnetkitError: an unknown key, a file without a network, or one with a UNet++.

    Example:
        >>> network = torch.hub.load("unetkit", "unet", source="local", in_channels=3, num_classes=5, width=16)
        >>> trained = torch.hub.load("unetkit", "unet", "runs/first", source="local")
    """
    return _network("unet", start, options)


def unetpp(start: str | None = None, **options: object) -> _nn.Module:
    """Make a UNet++; as `unet`, and with deep_supervision=True a head at every depth, the last of which predicts.

    Example:
        >>> network = torch.hub.load("unetkit", "unetpp", source="local", width=16, deep_supervision=True)
    """
    return _network("unetpp", start, options)


def unet2d(start: str | None = None, **options: object) -> _nn.Module:
    """Make the model zoo's `create_network("unet2d")`: its unet_medical, 572 x 572 pixels -> 388 x 388.

    Example:
        >>> network = torch.hub.load("unetkit", "unet2d", source="local", in_channels=1, num_classes=2)
    """
    return unet("mindspore-unet-medical" if start is None else start, **options)


def create_network(name: str, *start: str, **options: object) -> _nn.Module:
    """Make the network of a name, as the model zoo's hub entry of this name does.

    Args:
        name: unet2d, unet or unetpp.
        *start: where its weights come from; nothing: fresh ones.
        **options: as of the entry of that name.

    Raises:
        UnetkitError: no such name; as `unet`.

    Example:
        >>> network = torch.hub.load("unetkit", "create_network", "unet2d", source="local")
    """
    from unetkit.errors import UsageError

    entries = {"unet2d": unet2d, "unet": unet, "unetpp": unetpp}
    if name not in entries:
        raise UsageError(f"there is no network {name!r}; there are: {', '.join(entries)}")
    return entries[name](*start, **options)


def predictor(model: str, device: str = "auto", **options: "_Unpack[_LoadOptions]") -> "_Predictor":
    """Read whatever holds a network, with its preprocessing and its tiling: unetkit.load.

    Args:
        model: a run folder, a checkpoint or a legacy system's file.
        device: auto, cpu, cuda or mps.
        **options: keys of the `predict` section, and `head`, `precision`, `runtime`, `threads` and `overrides`.

    Example:
        >>> predictor = torch.hub.load("unetkit", "predictor", "runs/first", source="local")
        >>> mask = predictor.labels(image[None])
    """
    return _unetkit.load(model, device=device, options=options)


def _network(name: str, start: str | None, options: dict[str, object]) -> _nn.Module:
    from unetkit.config import load_config, preset_names
    from unetkit.errors import UsageError
    from unetkit.prediction.load import build, read_network

    stored = None if start is None or start in preset_names() else read_network(start)
    if stored is not None and options:
        raise UsageError(f"{', '.join(options)}: {start} says how its network is built; leave the options out")
    if stored is not None:
        model = stored.model
    else:
        preset = {"name": name} if start is None else load_config(start).model.model_dump(exclude_none=True)
        model = load_config({"model": {"in_channels": 1, "num_classes": 2, **preset, **options}}).model
    if model.name != name:
        raise UsageError(f"{start}: is a {model.name}, not a {name}; load it with the entry {model.name}")
    return _unetkit.build_model(model) if stored is None else build(stored).eval()
