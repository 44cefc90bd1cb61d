"""Small networks with random weights, ready to predict."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from unetkit.config import ModelConfig, PredictConfig
from unetkit.modelfile.card import ModelCard
from unetkit.models import UNet, build_model
from unetkit.models.geometry import Geometry
from unetkit.prediction import Predictor

CPU = torch.device("cpu")


@cache
def _network(channels: int, classes: int, **model: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model(ModelConfig(in_channels=channels, num_classes=classes, **model))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        network.eval()
        if isinstance(network, UNet) and network.downscale == 1:
            with torch.inference_mode():
                logits = network(torch.randn(1, channels, 200, 200))
            network.head.bias.data -= logits.mean((0, 2, 3)).clone()  # so that every class is predicted somewhere
    return network


@pytest.fixture(scope="session")
def make_predictor() -> Callable[..., Predictor]:
    """Make a predictor of a small U-Net; keywords of the model, and `predict` for the configuration's section."""

    def make(*, channels: int = 1, classes: int = 2, predict: dict[str, Any] | None = None, **model: Any) -> Predictor:
        network = _network(channels, classes, **{"width": 4, "depth": 2, **model})
        names = tuple(f"class {number}" for number in range(max(classes, 2)))
        card = ModelCard(
            classes=names, mean=(127.0,) * channels, std=(64.0,) * channels, predict=PredictConfig(**(predict or {}))
        )
        return Predictor(network, network.geometry, card, CPU)

    return make


@pytest.fixture(scope="session")
def around() -> Callable[..., Predictor]:
    """Make a predictor of any function from [N, C, H, W] to logits, one channel in, which sees its own pixel alone."""

    def make(
        network: Callable[[torch.Tensor], torch.Tensor],
        *,
        geometry: Geometry | None = None,
        classes: int = 2,
        **predict: Any,
    ) -> Predictor:
        names = tuple(f"class {number}" for number in range(classes))
        given = geometry or Geometry(multiple=1, offset=0, halo=0, margin=0)
        card = ModelCard(classes=names, mean=(0.0,), std=(1.0,), predict=PredictConfig(**predict))
        return Predictor(network, given, card, CPU)

    return make


@pytest.fixture(scope="session")
def draw() -> Callable[..., NDArray[Any]]:
    """Draw an 8-bit image of noise, [C, H, W]."""

    def image(height: int, width: int, channels: int = 1) -> NDArray[Any]:
        return np.random.default_rng(height * 1000 + width).integers(0, 256, (channels, height, width), np.uint8)

    return image
