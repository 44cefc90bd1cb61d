"""The networks: `build_model` makes one from the configuration, `geometry` says which pixels an output depends on."""

from collections.abc import Callable

import torch
from torch import nn

from unetkit.config import ModelConfig
from unetkit.errors import ConfigError
from unetkit.models.geometry import Geometry
from unetkit.models.inference import (
    Ensemble,
    decide,
    foreground_share,
    fuse_batch_norm,
    to_dtype,
    without_border,
)
from unetkit.models.options import Options
from unetkit.models.unet import UNet
from unetkit.models.unetpp import UNetPlusPlus

__all__ = [
    "Ensemble",
    "Geometry",
    "NETWORKS",
    "Network",
    "Options",
    "UNet",
    "UNetPlusPlus",
    "build_model",
    "build_outline",
    "count_parameters",
    "decide",
    "foreground_share",
    "fuse_batch_norm",
    "to_dtype",
    "without_border",
]


Network = UNet | UNetPlusPlus


NETWORKS: dict[str, Callable[[ModelConfig, Options], Network]] = {
    "unet": lambda config, options: UNet(options),
    "unetpp": lambda config, options: UNetPlusPlus(options, deep_supervision=config.deep_supervision, head=config.head),
}


def build_model(config: ModelConfig) -> Network:
    """Make the network of a configuration, its weights drawn from PyTorch's global generator.

    The network takes float32 [N, C, H, W] with any H and W of at least 1 (valid convolutions: more than 2 * margin) and
    gives logits [N, K, H, W]; its `geometry` says what one output pixel depends on.

    Args:
        config: with `in_channels` and `num_classes` filled in.

    Raises:
        ConfigError: channels or classes are open.
    """
    for key in ("in_channels", "num_classes"):
        if getattr(config, key) is None:
            raise ConfigError(f"model.{key}: found null, and no data to take it from; set it to a number")
    of_others = {"name", "context", "deep_supervision", "head"}
    return NETWORKS[config.name](config, Options(**config.model_dump(exclude=of_others)))


def build_outline(config: ModelConfig) -> Network:
    """Make the network of a configuration without memory for its weights: names, shapes and numbers of them.

    Raises:
        ConfigError: channels or classes are open.
    """
    with torch.device("meta"):
        return build_model(config.model_copy(update={"init": "torch"}))  # other rules take seconds without memory


def count_parameters(*modules: nn.Module) -> int:
    """Return the number of trainable values, each counted once."""
    weights = {id(weight): weight for module in modules for weight in module.parameters() if weight.requires_grad}
    return sum(weight.numel() for weight in weights.values())
