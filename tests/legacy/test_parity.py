"""Networks read from the older systems' own files give those systems' own outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from unetkit.legacy.checkpoints import LegacyNetwork, read_legacy
from unetkit.legacy.checkpoints.mindspore import read_checkpoint
from unetkit.models import build_model

RELATIVE = 1e-5


@pytest.fixture(scope="module")
def seeds(shared: Path) -> Path:
    return shared / "fixtures" / "seeds"


def load(path: Path) -> tuple[LegacyNetwork, nn.Module]:
    legacy = read_legacy(path)
    assert legacy is not None
    model = build_model(legacy.network)
    model.load_state_dict(legacy.state)
    return legacy, model.eval()


@torch.no_grad()
def run(model: nn.Module, x_NCHW: NDArray[np.float32]) -> NDArray[np.float32]:
    return model(torch.from_numpy(np.ascontiguousarray(x_NCHW, np.float32))).numpy()


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= RELATIVE * np.abs(expected).max()


def random(*shape: int) -> NDArray[np.float64]:
    """Return what the fixtures' recipes ask for."""
    return np.random.RandomState(11).rand(*shape)


def test_unet_medical(seeds: Path) -> None:
    legacy, model = load(seeds / "medical_w4_ms200.ckpt")
    y_NKHW = run(model, random(1, 1, 572, 572) * 2 - 1)
    reference = np.load(seeds / "medical_w4_ms200_ref.npz")
    assert y_NKHW.shape == (1, 2, 388, 388)
    assert_close(y_NKHW[:, :, ::8, ::8], reference["y_sub"])
    assert_close(y_NKHW.mean((0, 2, 3)), reference["mean"])
    assert_close(y_NKHW.std((0, 2, 3)), reference["std"])
    softmax = torch.from_numpy(y_NKHW).softmax(1).permute(0, 2, 3, 1).numpy()
    assert_close(softmax[:, ::8, ::8], np.load(seeds / "medical_w4_ms200_eval_ref.npz")["p_sub"])
    assert (legacy.system, legacy.normalization, legacy.moments) == ("MindSpore", "minus-one-to-one", None)


@pytest.mark.parametrize("head", [1, 2, 3, 4])
def test_unet_nested_with_every_head(seeds: Path, head: int) -> None:
    legacy, model = load(seeds / "ms_small_nested_fs16_ds_bn_deconv.ckpt")
    example = np.load(seeds / "ms_small_nested_fs16_ds_bn_deconv_io.npz")
    model.choose_head(head)
    assert_close(run(model, example["x"]), example["y"][head - 1])
    assert legacy.channels == "bgr"


def test_unet_nested_by_mindspore_2_10(seeds: Path) -> None:
    _, model = load(seeds / "ms_small_nested_fs16_ds_bn_deconv.ckpt")
    example = np.load(seeds / "ms_small_nested_fs16_ds_bn_deconv_ms210_eval_io.npz")
    softmax = torch.from_numpy(run(model, example["x"])).softmax(1).permute(0, 2, 3, 1).numpy()
    assert_close(softmax, example["y"])


@pytest.mark.parametrize("form", [".ckpt", ".safetensors", "_crc.ckpt", "_append.ckpt"])
def test_unet_simple_in_every_form(seeds: Path, form: str) -> None:
    legacy, model = load(seeds / f"ms_small_simple_fs16{form}")
    example = np.load(seeds / "ms_small_simple_fs16_io.npz")
    assert_close(run(model, example["x"]), example["y"])
    assert any("note" in note and "lr" in note for note in legacy.notes) == (form == "_append.ckpt")


def test_unet_medical_of_tensorflow(seeds: Path) -> None:
    legacy, model = load(seeds / "tf115_w4_step3")
    x_NHWC = random(1, 572, 572, 1) * 2 - 1
    y_NKHW = run(model, x_NHWC.transpose(0, 3, 1, 2))
    assert_close(y_NKHW.transpose(0, 2, 3, 1)[:, ::8, ::8], np.load(seeds / "tf115_w4_ref.npz")["y_sub"])
    assert (legacy.system, legacy.network.dropout) == ("TensorFlow", 0.5)
    assert legacy.moments is not None
    assert legacy.moments.step == 3


@pytest.mark.parametrize(
    "name", ["", "checkpoint", "model.ckpt-3", "model.ckpt-3.index", "model.ckpt-3.data-00000-of-00001"]
)
def test_a_tensorflow_bundle_by_every_name(seeds: Path, name: str) -> None:
    legacy = read_legacy(seeds / "tf115_w4_step3" / name)
    assert legacy is not None
    assert legacy.network.width == 4


def test_unet_of_oneflow(seeds: Path) -> None:
    legacy, model = load(seeds / "of080_w4_checkpoints")
    reference = np.load(seeds / "of080_w4_ref.npz")
    assert_close(run(model, random(2, 1, 65, 97) * 255), reference["y"])
    assert (legacy.network.num_classes, legacy.normalization) == (1, "none")
    assert legacy.moments is not None
    assert legacy.moments.step == 3
    assert read_legacy(seeds / "of080_w4_checkpoints" / "pickled_data") is not None


@pytest.mark.parametrize("name", ["ms_train_nowrap_O0/best.ckpt", "ms_train_nowrap_O0/ckpt_unet_simple_adam-1_2.ckpt"])
def test_moments_of_a_training(seeds: Path, name: str) -> None:
    legacy, model = load(seeds / name)
    values = read_checkpoint(seeds / name)
    assert legacy.moments is not None
    assert legacy.moments.step == 2
    parameters = dict(model.named_parameters())
    for moments, prefix in ((legacy.moments.first, "moment1."), (legacy.moments.second, "moment2.")):
        assert {key: value.shape for key, value in moments.items()} == {k: p.shape for k, p in parameters.items()}
        assert torch.equal(moments["encoder.1.norm2.weight"], values[f"{prefix}conv1.convs.1.1.gamma"])
        assert torch.equal(moments["decoder.3.up.conv.weight"], values[f"{prefix}up_concat4.up_conv.weight"])
        assert torch.equal(moments["head.weight"], values[f"{prefix}final.weight"])
    assert float(values["beta1_power"]) == pytest.approx(0.9**legacy.moments.step)


def test_a_training_continues_where_it_was(seeds: Path) -> None:
    """Three steps of MindSpore's Adam from the fixture's start reach the fixture's end, weights and moments."""
    start, model = load(seeds / "ms_small_simple_fs16.ckpt")
    after, _ = load(seeds / "ms_trainstep_after.ckpt")
    example = np.load(seeds / "ms_trainstep_io.npz")
    assert start.moments is None
    assert after.moments is not None
    first = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    second = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    model.train()
    for step, (x, y) in enumerate(zip(example["x"], example["y"], strict=True), 1):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        rate = 1e-3 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                assert weight.grad is not None
                gradient = weight.grad + (0 if "norm" in name else 5e-2) * weight
                first[name] += 0.1 * (gradient - first[name])
                second[name] += 0.001 * (gradient**2 - second[name])
                weight -= rate * first[name] / (second[name].sqrt() + 1e-8)
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(value, after.state[name], rtol=1e-5, atol=2e-5)
    for name, moment in first.items():
        torch.testing.assert_close(moment, after.moments.first[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["medical_w4_ms200.mindir", "medical_w4_ms200.onnx"])
def test_unet_medical_as_mindspore_exports_it(seeds: Path, name: str) -> None:
    legacy, model = load(seeds / name)
    y_NKHW = run(model, random(1, 1, 572, 572) * 2 - 1)
    assert_close(y_NKHW[:, :, ::8, ::8], np.load(seeds / "medical_w4_ms200_ref.npz")["y_sub"])
    assert (legacy.system, legacy.normalization) == ("MindSpore", "minus-one-to-one")


@pytest.mark.parametrize("form", [".mindir", ".onnx"])
def test_unet_nested_as_mindspore_exports_it(seeds: Path, form: str) -> None:
    legacy, model = load(seeds / f"ms_small_nested_fs16_ds_bn_deconv_ms210{form}")
    example = np.load(seeds / "ms_small_nested_fs16_ds_bn_deconv_ms210_eval_io.npz")
    softmax = torch.from_numpy(run(model, example["x"])).softmax(1).permute(0, 2, 3, 1).numpy()
    assert_close(softmax, example["y"])
    assert legacy.channels == "bgr"
    assert legacy.network.deep_supervision == (form == ".mindir")  # its ONNX has the last head alone


def test_unet_simple_as_air(seeds: Path) -> None:
    _, model = load(seeds / "hand_simple_fs16.air")
    example = np.load(seeds / "ms_small_simple_fs16_io.npz")
    assert_close(run(model, example["x"]), example["y"])


def test_other_files_are_left_to_others(seeds: Path) -> None:
    assert read_legacy(seeds / "tf115_w4_ref.npz") is None
