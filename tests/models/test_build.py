import dataclasses
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from unetkit.config import ModelConfig
from unetkit.errors import ConfigError
from unetkit.models import NETWORKS, build_model, count_parameters
from unetkit.models.options import Options

ZOO: dict[str, Any] = {
    "width": 32,
    "decoder_norm": "none",
    "conv_bias": False,
    "up_bias": False,
    "concat": "up-skip",
    "head_bias": False,
    "num_classes": 2,
}
ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "MindSpore UNetMedical": (
        {"width": 64, "padding": "valid", "norm": "none", "up_bias": False, "up_relu": True, "concat": "up-skip"},
        31_029_698,
    ),
    "MindSpore unet_simple": (ZOO | {"in_channels": 1}, 7_764_064),
    "MindSpore unet_nested": (ZOO | {"name": "unetpp", "in_channels": 3, "deep_supervision": True}, 9_045_856),
    "TensorFlow UNet_Medical": (
        {"width": 64, "padding": "valid", "norm": "none", "up_kernel": 3, "up_relu": True, "concat": "up-skip"},
        34_512_258,
    ),
    "OneFlow UNet": ({"width": 64, "num_classes": 1, "conv_bias": True, "odd_sizes": "zeros"}, 31_042_369),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_founding_networks_have_their_number_of_values(name: str) -> None:
    options, expected = ARCHITECTURES[name]
    with torch.device("meta"):
        network = build_model(ModelConfig(**{"in_channels": 1, "num_classes": 2} | options))
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    with_statistics = sum(value.numel() for value in state.values())
    assert expected == (with_statistics if name.startswith("MindSpore unet") else count_parameters(network))
    assert len(state) == {"MindSpore UNetMedical": 42, "MindSpore unet_simple": 63, "MindSpore unet_nested": 84}.get(
        name, len(state)
    )


def test_table_holds_every_name_of_the_configuration() -> None:
    assert set(NETWORKS) == set(ModelConfig.model_json_schema()["properties"]["name"]["enum"])


def test_options_are_those_of_the_configuration() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Options)}
    described = {name: field.default for name, field in ModelConfig.model_fields.items()}
    assert set(described) - set(fields) == {"name", "context", "deep_supervision", "head"}
    assert {name for name, value in fields.items() if value != described[name]} == {"in_channels", "num_classes"}


@pytest.mark.parametrize("key", ["in_channels", "num_classes"])
def test_open_channels_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"model.{key}: found null"):
        build_model(ModelConfig(**{"in_channels": 1, "num_classes": 2} | {key: None}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"up_kernel": 1}, "up_kernel 1 does not go with up deconv"),
        ({"up": "bilinear", "up_kernel": 2}, "up_kernel 2 does not go with up bilinear"),
        ({"name": "unetpp", "padding": "valid"}, "padding valid is for unet"),
        ({"name": "unetpp", "odd_sizes": "zeros"}, "odd_sizes zeros is for a padded unet"),
        ({"padding": "valid", "odd_sizes": "zeros"}, "odd_sizes zeros is for a padded unet"),
        ({"deep_supervision": True}, "deep_supervision and head are for unetpp"),
        ({"head": 1}, "deep_supervision and head are for unetpp"),
        ({"name": "unetpp", "deep_supervision": True, "head": 5}, "head 5 does not exist: the last one is 4"),
        ({"name": "unetpp", "head": 3}, "head 3 needs deep_supervision"),
        ({"widths": (8,)}, "at least 2 items"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**options)


def test_parameters_are_counted_once_and_frozen_ones_not_at_all() -> None:
    layer = nn.Linear(3, 2)
    assert count_parameters(layer, layer) == 8
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6
