"""Our networks as MindSpore's model zoo knows them, where they are one of its three."""

from typing import Any

import torch
from torch import Tensor

from unetkit.config import ModelConfig
from unetkit.errors import UsageError
from unetkit.interop.networks import MEDICAL, NESTED, SIMPLE, Founding, depth_of

_ZOO = (MEDICAL, SIMPLE, NESTED)
_FREE = (
    "in_channels",
    "num_classes",
    "width",
    "widths",
    "depth",
    "init",
    "dropout",
    "odd_sizes",
    "deep_supervision",
    "head",
)
"""Options that the tensors show or that do not act on what a trained network predicts there."""


def to_mindspore(network: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's weights as MindSpore's model zoo names them, in the order in which it writes them.

    Colour images have the channels R, G, B for our networks and B, G, R for MindSpore's, so the first convolution is
    turned. Heads that a UNet++ was built without become zeros; MindSpore predicts with the last one.

    Args:
        network: its configuration.
        state: its weights by their names in our state dict.

    Raises:
        UsageError: it is none of unet_medical, unet_simple and unet_nested.
    """
    clashes = {founding.name: _clashes(founding, network) for founding in _ZOO}
    for founding in _ZOO:
        if not clashes[founding.name]:
            return _rename(founding, network, state)
    nearest = min(clashes, key=lambda name: len(clashes[name]))
    raise UsageError(
        f"this network is none of MindSpore's: for {nearest}, {'; '.join(clashes[nearest])}; "
        "train one of the presets mindspore-unet-*, or export to ONNX or MindIR"
    )


def mindspore_names(network: ModelConfig) -> dict[str, str]:
    """Return what MindSpore's model zoo calls the tensors of a network, by our names; nothing for none of its three."""
    for founding in _ZOO:
        if not _clashes(founding, network):
            return founding.names(depth_of(network))
    return {}


def _clashes(founding: Founding, network: ModelConfig) -> list[str]:
    """Return what of the configuration the founding network does not have, a phrase each."""
    found, plain = _settled(network), _settled(ModelConfig(**dict(founding.fixed)))
    wanted = {option: founding.choices.get(option, (value,)) for option, value in plain.items()}
    wanted["up_kernel"] = (2,) if network.up == "deconv" else (1,)
    one = ["num_classes should be 2 or more, for a softmax, and is 1"] if network.num_classes == 1 else []
    return one + [
        f"{option} should be {' or '.join(str(value) for value in wanted[option])} and is {value}"
        for option, value in found.items()
        if value not in wanted[option]
    ]


def _settled(network: ModelConfig) -> dict[str, Any]:
    """Return the options that decide, with null replaced by what it means."""
    options = network.model_dump(exclude=set(_FREE))
    norms = {options["norm"], options["decoder_norm"] or options["norm"]}
    options["decoder_norm"] = options["decoder_norm"] or options["norm"]
    if options["conv_bias"] is None and len({norm == "none" for norm in norms}) == 1:
        options["conv_bias"] = "none" in norms
    options["up_kernel"] = options["up_kernel"] or (2 if options["up"] == "deconv" else 1)
    return options


def _rename(founding: Founding, network: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    depth, tensors = depth_of(network), dict[str, Tensor]()
    for ours, theirs in founding.names(depth).items():
        if ours in state:
            tensors[theirs] = state[ours].detach().float()
        elif ours.startswith("heads.") and ours.endswith(".weight"):
            tensors[theirs] = torch.zeros_like(state[f"heads.{depth}.weight"], dtype=torch.float32)
    if network.in_channels == 3:
        first = next(iter(tensors))
        tensors[first] = tensors[first].flip(1)
    return tensors
