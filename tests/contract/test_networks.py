"""What every network promises, in one suite over both networks and every option that changes how they are built."""

import copy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim

from unetkit.config import ModelConfig
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.legacy.networks import ARCHITECTURES
from unetkit.modelfile.card import ModelCard
from unetkit.models import Network, build_model, fuse_batch_norm
from unetkit.prediction import Predictor

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "depth 1": {"depth": 1},
    "irregular widths": {"widths": (3, 5, 4, 6)},
    "one decoder conv": {"decoder_convs": 1},
    "one residual decoder conv": {"decoder_convs": 1, "residual": True},
    "group": {"norm": "group"},
    "instance": {"norm": "instance"},
    "no norm": {"norm": "none"},
    "norm in encoder": {"decoder_norm": "none", "conv_bias": False, "up_bias": False, "head_bias": False},
    "residual": {"residual": True},
    "bilinear": {"up": "bilinear"},
    "bilinear 3x3": {"up": "bilinear", "up_kernel": 3, "up_relu": True},
    "legacy bilinear": {"up": "bilinear-legacy", "up_bias": False, "concat": "up-skip"},
    "deconv 3x3": {"up_kernel": 3, "up_relu": True, "concat": "up-skip"},
    "stem 2": {"downscale": 2},
    "stem 4": {"downscale": 4, "depth": 1},
    "valid": {"padding": "valid", "norm": "none"},
    "valid, norm": {"padding": "valid", "conv_bias": True},
    "valid, one decoder conv": {"padding": "valid", "decoder_convs": 1, "residual": True},
    "valid, deconv 3x3": {"padding": "valid", "norm": "none", "up_kernel": 3, "concat": "up-skip"},
    "valid, bilinear 3x3": {"padding": "valid", "up": "bilinear", "up_kernel": 3},
    "valid, stem 2": {"padding": "valid", "downscale": 2, "depth": 1},
    "zeros": {"odd_sizes": "zeros", "conv_bias": True},
    "zeros, stem 2": {"odd_sizes": "zeros", "downscale": 2},
    "nested": {"name": "unetpp"},
    "nested, supervised": {"name": "unetpp", "deep_supervision": True, "depth": 3},
    "nested, head 1": {"name": "unetpp", "deep_supervision": True, "head": 1},
    "nested, legacy": {
        "name": "unetpp",
        "deep_supervision": True,
        "up": "bilinear-legacy",
        "decoder_norm": "none",
        "conv_bias": False,
        "up_bias": False,
        "head_bias": False,
        "concat": "up-skip",
    },
    "nested, residual, stem 2": {"name": "unetpp", "residual": True, "downscale": 2, "decoder_convs": 1},
    "nested, group": {"name": "unetpp", "norm": "group"},
}


@pytest.fixture(params=OPTIONS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return configure(OPTIONS[request.param])


def configure(options: dict[str, Any]) -> ModelConfig:
    return ModelConfig(**{"in_channels": 2, "num_classes": 3, "width": 4, "depth": 2} | options)


def build(config: ModelConfig, seed: int = 0, *, stirred: bool = False) -> Network:
    """A network in evaluation mode; stirred: norms, their statistics and biases are away from where they start."""
    torch.manual_seed(seed)
    network = build_model(config).eval()
    for name, value in network.state_dict().items() if stirred else ():
        if value.is_floating_point() and value.ndim == 1:
            value.copy_(
                torch.rand_like(value) + 0.5 if "var" in name or "weight" in name else 0.1 * torch.randn_like(value)
            )
    return network


def images(network: Network, *, count: int = 2, least: int = 9) -> Tensor:
    """Noise, of a size that is no multiple of anything."""
    side = least + 2 * network.geometry.margin
    return torch.randn(count, 2, side, side + 2, generator=torch.Generator().manual_seed(5))


def training_logits(network: Network, pixels: Tensor) -> Tensor:
    logits = network.train()(pixels)
    return logits if logits.ndim == 4 else logits.flatten(0, 1)


@given(data=st.data())
@settings(max_examples=6, deadline=None)
@pytest.mark.parametrize("name", OPTIONS)
def test_any_size_goes_in_and_the_right_size_comes_out(name: str, data: st.DataObject) -> None:
    network = build(configure(OPTIONS[name]))
    margin = network.geometry.margin
    height, width = (2 * margin + data.draw(st.integers(1, 24)) for _ in range(2))
    with torch.no_grad():
        logits = network(torch.randn(1, 2, height, width))
    assert logits.shape == (1, 3, height - 2 * margin, width - 2 * margin)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@torch.no_grad()
def test_same_seed_gives_the_same_network(config: ModelConfig) -> None:
    one, same, other = build(config), build(config), build(config, seed=1)
    pixels = images(one)
    assert torch.equal(one(pixels), same(pixels))
    assert torch.equal(one(pixels), one(pixels))
    assert not torch.equal(one(pixels), other(pixels))


@torch.no_grad()
def test_prediction_does_not_depend_on_what_else_is_in_the_batch(config: ModelConfig) -> None:
    network = build(config, stirred=True)
    pixels = images(network, count=3)
    alone = torch.cat([network(image[None]) for image in pixels])
    torch.testing.assert_close(network(pixels), alone, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_state_goes_into_another_network(config: ModelConfig) -> None:
    network, other = build(config, stirred=True), build(config, seed=1)
    other.load_state_dict(network.state_dict())
    pixels = images(network)
    assert torch.equal(network(pixels), other(pixels))
    assert torch.equal(network(pixels), copy.deepcopy(network)(pixels))


@torch.no_grad()
def test_memory_layout_changes_nothing(config: ModelConfig) -> None:
    network = build(config, stirred=True)
    pixels = images(network)
    expected = network(pixels)
    network.to(memory_format=torch.channels_last)
    found = network(pixels.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_input_is_left_as_it_was(config: ModelConfig) -> None:
    network = build(config, stirred=True)
    pixels = images(network)
    before = pixels.clone()
    network(pixels)
    assert torch.equal(pixels, before)


@torch.no_grad()
def test_folded_norms_give_the_same_logits(config: ModelConfig) -> None:
    network = build(config, stirred=True)
    before = copy.deepcopy(network.state_dict())
    folded = fuse_batch_norm(network.train())
    assert not folded.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    pixels = images(network)
    torch.testing.assert_close(folded(pixels), network.eval()(pixels), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_gradient_is_right_and_reaches_every_parameter(config: ModelConfig) -> None:
    network = build(config, stirred=True).double()
    pixels = images(network).double()
    aims = torch.randn_like(training_logits(network, pixels))
    (training_logits(network, pixels) * aims).sum().backward()
    directions = {name: torch.randn_like(weight) for name, weight in network.named_parameters()}
    expected = 0.0
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        shifts_only = config.norm != "none" and name.endswith(("conv1.bias", "conv2.bias"))
        assert shifts_only or weight.grad.any(), name
        expected += float((weight.grad * directions[name]).sum())
    slope = 0.0
    with torch.no_grad():
        for sign in (1, -2):
            for name, weight in network.named_parameters():
                weight += sign * 1e-7 * directions[name]
            slope += (1 if sign == 1 else -1) * float((training_logits(network, pixels) * aims).sum()) / 2e-7
    assert slope == pytest.approx(expected, rel=1e-4)


def test_learns_a_tiny_batch_by_heart(config: ModelConfig) -> None:
    network = build(config)
    pixels = images(network)
    labels = torch.randint(0, 3, (2, 9, 11), generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(25):
        logits = training_logits(network, pixels)
        loss = nn.functional.cross_entropy(logits, labels.repeat(len(logits) // 2, 1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@torch.no_grad()
def test_dropout_acts_in_training_only(config: ModelConfig) -> None:
    network = build(config.model_copy(update={"dropout": 0.5, "norm": "none", "decoder_norm": None}))
    pixels = images(network)
    assert torch.equal(network(pixels), network(pixels))
    network.train()
    assert not torch.equal(network(pixels), network(pixels))
    plain = build(
        config.model_copy(update={"norm": "none", "decoder_norm": None, "deep_supervision": False, "head": None})
    )
    expected = plain(pixels)
    assert torch.equal(plain.train()(pixels), expected)


def impulses(network: Network) -> Tensor:
    """Images, dark but for one pixel, which is in the middle and at another place of the cell in each."""
    geometry = network.geometry
    assert geometry.halo is not None
    width = geometry.fitting_input_size(2 * geometry.halo + 3 * geometry.multiple)
    pixels = torch.zeros(geometry.multiple, 2, geometry.fitting_input_size(1), width, dtype=torch.float64)
    first = (width // 2) // geometry.multiple * geometry.multiple
    for place, image in enumerate(pixels):
        image[:, geometry.margin, first + place] = 1
    return pixels


def make_positive(network: Network) -> Network:
    """Give every weight a sign at which nothing that a pixel does can cancel or be cut off."""
    for weight in network.parameters():
        weight.data.abs_()
    return network.double()


@torch.no_grad()
def test_halo_is_how_far_a_pixel_acts(config: ModelConfig) -> None:
    network = build(config)
    if network.geometry.halo is None:
        far = torch.zeros(2, 2, 8, 256)
        far[1, :, :, 0] = 9
        dark, touched = build(config, stirred=True)(far)[..., -1]
        assert not torch.equal(dark, touched)
        return
    pixels = impulses(network)
    answers = make_positive(network)(pixels) - network(torch.zeros_like(pixels[:1]))
    reach = 0
    for answer, image in zip(answers, pixels, strict=True):
        acted = answer.amax((0, 1)).nonzero() + network.geometry.margin - image.amax((0, 1)).nonzero()
        reach = max(reach, int(acted.abs().max()))
    assert reach == network.geometry.halo


@torch.no_grad()
def test_tiles_agree_with_the_whole_inside_their_overlap(config: ModelConfig) -> None:
    network = make_positive(build(config, stirred=True))
    geometry = network.geometry
    if geometry.overlap is None:
        assert geometry.halo is None
        return
    tile = geometry.fitting_input_size(2 * geometry.overlap + geometry.multiple)
    start = 4 * geometry.multiple
    height, width = geometry.fitting_input_size(4), geometry.padded_size(tile + 2 * start)
    pixels = torch.full((1, 2, height, width), 1e6, dtype=torch.float64)
    pixels[..., start : start + tile] = torch.rand(tile, dtype=torch.float64)
    whole = network(pixels)[..., start : start + tile - 2 * geometry.margin]
    part = network(pixels[..., start : start + tile])
    kept = slice(geometry.overlap, whole.shape[-1] - geometry.overlap)
    torch.testing.assert_close(part[..., kept], whole[..., kept], rtol=1e-12, atol=0)
    differs = ((part - whole).abs() > 1e-12 * whole).amax((0, 1, 2)).nonzero().flatten().tolist()
    assert max((min(place + 1, whole.shape[-1] - place) for place in differs), default=0) == geometry.disturbed
    assert 0 <= geometry.overlap - geometry.disturbed < geometry.multiple


def some_of_them(*names: str) -> list[Any]:
    """Return every option, those that are not named as slow tests: to trace a network takes seconds."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in OPTIONS]


@pytest.mark.parametrize("name", some_of_them("plain", "valid"))
def test_exports_with_open_sizes(name: str) -> None:
    network = build(configure(OPTIONS[name]), stirred=True)
    pixels = images(network, least=19)
    exported = torch.export.export(
        network, (pixels,), dynamic_shapes=({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    )
    for least in (16, 17, 32):
        other = images(network, count=1, least=least)
        torch.testing.assert_close(exported.module()(other), network(other))


@pytest.mark.parametrize(
    "name",
    some_of_them(
        *("instance", "group", "residual", "bilinear 3x3", "legacy bilinear", "deconv 3x3"),
        *("valid, stem 2", "zeros, stem 2", "nested, supervised", "nested, residual, stem 2"),
    ),
)
def test_exports_with_a_fixed_size(name: str) -> None:
    network = build(configure(OPTIONS[name]), stirred=True)
    pixels = images(network)
    torch.testing.assert_close(torch.export.export(network, (pixels,)).module()(pixels), network(pixels))


FOUNDING_OPTIONS = {
    f"{legacy.name} {number}": {**legacy.fixed, **dict(zip(legacy.choices, choice, strict=True))}
    for legacy in ARCHITECTURES
    for number, choice in enumerate(product(*legacy.choices.values()))
}


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", [*OPTIONS, *FOUNDING_OPTIONS])
def test_exports_to_onnx_and_openvino(name: str, classes: int, tmp_path: Path) -> None:
    options = OPTIONS.get(name) or FOUNDING_OPTIONS.get(name) or {}
    if classes == 1 and name in OPTIONS:
        pytest.skip("one logit is shown by the legacy networks")
    network = build(configure({**options, "num_classes": classes}), stirred=True)
    card = ModelCard(classes=("a", "b"), mean=(0.0, 1.0), std=(1.0, 2.0))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    for to, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        exported = export_network(make_job(predictor, FileOptions()), to, tmp_path / f"network{suffix}")
        assert exported.parity.relative < 2e-5
