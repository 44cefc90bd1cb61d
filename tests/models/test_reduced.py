import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from unetkit.config import ModelConfig
from unetkit.models import Ensemble, Network, build_model, fuse_batch_norm, to_dtype
from unetkit.prediction.tiling import bytes_per_pixel

NEAR = {torch.bfloat16: 0.06, torch.float16: 0.01}  # of the largest logit


def made(**options: object) -> Network:
    torch.manual_seed(0)
    return build_model(ModelConfig.model_validate({"width": 8, "depth": 2, "in_channels": 2, **options})).eval()


@pytest.mark.parametrize("numbers", NEAR)
@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 2, "norm": "batch"},
        {"num_classes": 1, "norm": "group", "up": "bilinear"},
        {"num_classes": 3, "name": "unetpp", "norm": "instance", "up": "bilinear-legacy"},
        {"num_classes": 2, "norm": "none", "residual": True, "downscale": 2},
    ],
)
def test_the_logits_are_near_and_in_float32(options: dict[str, object], numbers: torch.dtype) -> None:
    network = made(**options)
    before = copy.deepcopy(network.state_dict())
    short, x_NCHW = to_dtype(network, numbers), torch.randn(2, 2, 13, 22)
    with torch.inference_mode():
        found, expected = short(x_NCHW), network(x_NCHW)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < NEAR[numbers] * expected.abs().max()
    assert {weight.dtype for weight in short.parameters()} == {numbers}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_ensemble_normalises_and_averages_in_float32() -> None:
    members = [made(num_classes=2) for _ in range(2)]
    ensemble = Ensemble(members, members[0].geometry, [((30000.0,) * 2, (10.0,) * 2)] * 2).eval()
    x_NCHW = torch.from_numpy(np.random.default_rng(0).normal(30000, 10, (1, 2, 16, 16)).round().astype(np.float32))
    with torch.inference_mode():  # in bfloat16, neighbours of 30000 are 128 apart
        found, expected = to_dtype(ensemble, torch.bfloat16)(x_NCHW), ensemble(x_NCHW)
    torch.testing.assert_close(found.exp(), expected.exp(), rtol=0, atol=0.05)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 16, 16), rtol=0, atol=1e-6)


PLAIN = [((0.0, 0.0), (1.0, 1.0))]
WRAPPED = [lambda network: network, lambda network: Ensemble([network], network.geometry, PLAIN)]


@pytest.mark.parametrize("wrapped", WRAPPED, ids=["alone", "ensemble"])
def test_its_memory_is_measured(wrapped: Callable[[Network], torch.nn.Module]) -> None:
    network = made(num_classes=2, width=16)
    whole = wrapped(network).eval()
    needed = [
        bytes_per_pixel(one, network.geometry, channels=2, device=torch.device("cpu"))
        for one in (fuse_batch_norm(whole), to_dtype(whole, torch.bfloat16))
    ]
    assert 0.5 < needed[1] / needed[0] < 0.6
