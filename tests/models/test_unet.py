import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.config import load_config
from unetkit.errors import UsageError
from unetkit.models import Options, UNet, build_model, count_parameters
from unetkit.models.blocks import Upsample, UpStyle, legacy_bilinear

PAPER = {"in_channels": 1, "num_classes": 2, "width": 64, "padding": "valid", "norm": "none"}


def convolutions(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]


def test_paper_preset_is_the_network_of_the_paper() -> None:
    config = load_config("paper-unet").model.model_copy(update={"in_channels": 1, "num_classes": 2})
    with torch.device("meta"):
        network = build_model(config)
        assert network(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert len(convolutions(network)) == 23
    assert [block.conv2.out_channels for block in network.encoder] == [64, 128, 256, 512, 1024]
    assert count_parameters(network) == 31_030_658


def test_valid_network_refuses_an_image_that_it_uses_up() -> None:
    network = UNet(Options(**PAPER | {"width": 1}))
    with pytest.raises(UsageError, match="found an image 184 pixels"):
        network(torch.zeros(1, 1, 572, 184))


def test_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="widht"):
        UNet(Options(in_channels=1, num_classes=2, widht=16))


@torch.no_grad()
def test_sides_beyond_a_multiple_see_the_last_row_and_column_repeated() -> None:
    network = UNet(Options(in_channels=1, num_classes=2, width=4, depth=2)).eval()
    pixels = torch.randn(1, 1, 9, 14)
    repeated = F.pad(pixels, (0, 2, 0, 3), mode="replicate")
    torch.testing.assert_close(network(pixels), network(repeated)[:, :, :9, :14])


@torch.no_grad()
def test_odd_sizes_change_nothing_at_multiples() -> None:
    torch.manual_seed(0)
    network = UNet(Options(in_channels=1, num_classes=2, width=4, depth=2, odd_sizes="zeros")).eval()
    other = UNet(Options(in_channels=1, num_classes=2, width=4, depth=2)).eval()
    other.load_state_dict(network.state_dict())
    even, odd = torch.randn(1, 1, 12, 8), torch.randn(1, 1, 13, 8)
    assert torch.equal(network(even), other(even))
    assert not torch.allclose(network(odd), other(odd))


@torch.no_grad()
@pytest.mark.parametrize("concat", ["skip-up", "up-skip"])
def test_concat_sets_the_order_of_the_joined_channels(concat: str) -> None:
    network = UNet(Options(in_channels=1, num_classes=2, width=4, depth=1, concat=concat, up_bias=False)).eval()
    pixels = torch.randn(1, 1, 8, 8)
    expected = network(pixels)
    first = network.decoder[0].block.conv1.weight
    half = slice(4, 8) if concat == "skip-up" else slice(0, 4)
    first[:, half] = 0
    without_low = network(pixels)
    network.encoder[1].conv1.weight.zero_()
    assert torch.equal(network(pixels), without_low)
    assert not torch.allclose(expected, without_low)


@torch.no_grad()
def test_up_relu_cuts_the_enlarged_map() -> None:
    for up in ("deconv", "bilinear"):
        torch.manual_seed(0)
        network = UNet(Options(in_channels=1, num_classes=2, width=4, depth=1, up=up, up_relu=True)).eval()
        seen: list[Tensor] = []
        network.decoder[0].up.register_forward_hook(lambda _module, _given, answer, seen=seen: seen.append(answer))
        network(torch.randn(1, 1, 8, 8))
        assert seen[0].min() == 0
        assert seen[0].max() > 0


@torch.no_grad()
def test_legacy_bilinear_samples_at_half_the_target() -> None:
    map_NCHW = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    enlarged = legacy_bilinear(map_NCHW)
    assert enlarged.shape == (2, 3, 8, 10)
    for row in range(8):
        for column in range(10):
            rows = (map_NCHW[:, :, row // 2], map_NCHW[:, :, min((row + 1) // 2, 3)])
            between = (rows[0] + rows[1]) / 2
            expected = (between[..., column // 2] + between[..., min((column + 1) // 2, 4)]) / 2
            torch.testing.assert_close(enlarged[:, :, row, column], expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bilinear", "bilinear-legacy"])
def test_convolving_before_interpolating_is_the_same(kind: str) -> None:
    enlarge = Upsample(6, 3, UpStyle(kind, kernel=1, bias=True, relu=False, valid=False))
    map_NCHW = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(enlarge(map_NCHW), enlarge.conv(enlarge.interpolate(map_NCHW)))


@torch.no_grad()
def test_deconv_of_three_is_tensorflows_same_form() -> None:
    network = UNet(Options(in_channels=1, num_classes=2, width=2, depth=1, up_kernel=3)).eval()
    below = torch.randn(1, 4, 3, 3)
    up = network.decoder[0].up
    expected = torch.zeros(1, 2, 8, 8) + up.conv.bias[:, None, None]
    for row in range(3):
        for column in range(3):
            stamp = torch.einsum("i,iokl->okl", below[0, :, row, column], up.conv.weight)
            expected[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += stamp
    torch.testing.assert_close(up(below), expected[:, :, :6, :6])


@torch.no_grad()
def test_residual_block_adds_its_input() -> None:
    network = UNet(Options(in_channels=4, num_classes=2, width=4, depth=1, residual=True, norm="none")).eval()
    block = network.encoder[0]
    assert isinstance(block.shortcut, nn.Identity)
    assert isinstance(network.encoder[1].shortcut, nn.Conv2d)
    for conv in (block.conv1, block.conv2):
        conv.weight.zero_()
    pixels = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(pixels), pixels.relu())
