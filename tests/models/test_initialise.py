import math

import pytest
import torch
from torch import Tensor, nn

from unetkit.models import Options, UNet
from unetkit.models.options import RULES


def network(rule: str) -> UNet:
    torch.manual_seed(0)
    return UNet(Options(in_channels=1, num_classes=2, width=32, depth=2, norm="none", init=rule))


def weights(network: UNet) -> tuple[Tensor, Tensor]:
    """A 3x3 convolution's and a transposed one's, both large."""
    return network.decoder[1].block.conv1.weight.detach(), network.decoder[1].up.conv.weight.detach()


@pytest.mark.parametrize("rule", RULES)
def test_biases_start_at_zero(rule: str) -> None:
    assert not any(bias.any() for name, bias in network(rule).named_parameters() if name.endswith("bias"))


def test_he_keeps_the_size_of_signals() -> None:
    conv, deconv = weights(network("he"))
    assert conv.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
    assert deconv.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.02)


def test_mindspore_medical_cuts_at_two_deviations() -> None:
    conv, deconv = weights(network("mindspore-medical"))
    assert conv.abs().max() <= 0.12
    assert conv.std().item() == pytest.approx(0.06 * 0.8796, rel=0.02)  # deviation of a normal cut at two deviations
    assert deconv.std().item() == pytest.approx(0.01, rel=0.02)


def test_mindspore_normal_has_one_deviation_everywhere() -> None:
    for weight in weights(network("mindspore-normal")):
        assert weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_glorot_is_uniform_between_its_limits() -> None:
    conv, _ = weights(network("glorot"))
    limit = math.sqrt(6 / ((128 + 64) * 9))
    assert 0.99 * limit < conv.abs().max() <= limit
    assert conv.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_torch_leaves_modules_as_they_come() -> None:
    made = network("torch")
    torch.manual_seed(0)
    assert torch.equal(made.encoder[0].conv1.weight, nn.Conv2d(1, 32, 3, padding=1).weight)
