"""MindIR, AIR and checkpoints for MindSpore: every network that they can hold computes the same there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unetkit import export
from unetkit.config import ModelConfig, load_config
from unetkit.data.normalize import Normalization
from unetkit.errors import ModelFileError, UsageError
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.formats import RuntimeOptions, open_exported
from unetkit.formats.job import ExportJob
from unetkit.legacy.checkpoints import read_legacy, to_mindspore
from unetkit.legacy.graphs import read_graph
from unetkit.legacy.networks import MEDICAL, MILESIAL, NESTED, NVIDIA, SIMPLE, Architecture
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor
from unetkit.prediction.load import read_network

ZOO = Normalization((127.5,), (127.5,))


def config(**options: Any) -> ModelConfig:
    return ModelConfig(**{"in_channels": 1, "num_classes": 2, "width": 2, "depth": 2, **options, "init": "he"})


def legacy(network: Architecture, **options: Any) -> ModelConfig:
    return config(**{**network.fixed, **options})


ISBI = load_config("isbi").model.model_dump(exclude_none=True)
NETWORKS = {
    "isbi": config(**{**ISBI, "widths": (4, 8, 8)}),
    "group norms, residual, interpolated": config(norm="group", residual=True, up="bilinear", conv_bias=True),
    "instance norms, 3x3 after interpolation": config(
        norm="instance", up="bilinear", up_kernel=3, downscale=4, depth=1
    ),
    "zeros at odd sizes": config(norm="none", odd_sizes="zeros", up_kernel=3, num_classes=3),
    "one logit": config(num_classes=1, name="unetpp"),
    "unet_medical": legacy(MEDICAL),
    "unet_simple": legacy(SIMPLE),
    "unet_nested": legacy(NESTED),
    "unet_nested, head 1": legacy(NESTED, head=1, norm="none"),
    "unet_nested, resized": legacy(NESTED, up="bilinear-legacy", in_channels=3, num_classes=4),
    "UNet_Medical of TensorFlow": legacy(NVIDIA),
    "UNet of OneFlow": legacy(MILESIAL),
}
OUTPUTS = ("softmax", "argmax", "logits")


def job_of(model: ModelConfig, options: FileOptions, normalization: Normalization | None = None) -> ExportJob:
    torch.manual_seed(0)
    network = build_model(model).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    channels, classes = model.in_channels or 1, max(model.num_classes or 1, 2)
    shift = normalization or Normalization((100.0,) * channels, (40.0,) * channels)
    names = tuple(f"class {index}" for index in range(classes))
    card = ModelCard(model=model, classes=names, mean=shift.mean, std=shift.std)
    return make_job(Predictor(network, network.geometry, card, torch.device("cpu")), options)


def options_for(name: str, **options: Any) -> FileOptions:
    place = list(NETWORKS).index(name)
    size = (60, 76) if NETWORKS[name].padding == "valid" else (37, 41)
    return FileOptions(output=OUTPUTS[place % 3], size=size, preprocessing=place % 2 == 0, **options)


@pytest.mark.parametrize("kind", ["mindir", "mindir-lite", "air"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_computes_the_same(tmp_path: Path, name: str, kind: str) -> None:
    out = tmp_path / f"net{'.air' if kind == 'air' else '.mindir'}"
    written = export_network(job_of(NETWORKS[name], options_for(name, batch=2, layout="nchw-nhwc")), kind, out)
    assert written.parity.relative < 1e-5
    assert (written.card.batch, written.card.size) == (2, options_for(name).size)
    assert written.card.model == NETWORKS[name]


@pytest.mark.parametrize(
    ("kind", "spelling"), [("mindir", "ResizeBilinearV2"), ("mindir-lite", "ResizeBilinear"), ("air", "ResizeBilinear")]
)
def test_both_spellings_of_resizing(tmp_path: Path, kind: str, spelling: str) -> None:
    name = "unet_nested, resized"
    out = tmp_path / f"net{'.air' if kind == 'air' else '.mindir'}"
    graph = read_graph(export_network(job_of(NETWORKS[name], options_for(name)), kind, out).path)
    assert graph is not None
    assert {node.op for node in graph.nodes if "Resize" in node.op} == {spelling}


@pytest.mark.parametrize("name", ["unet_medical", "unet_simple", "unet_nested"])
def test_weights_have_the_names_of_the_model_zoo(tmp_path: Path, name: str) -> None:
    job = job_of(NETWORKS[name], FileOptions(size=(60, 60), output="softmax", layout="nchw-nhwc"), ZOO)
    graph = read_graph(export_network(job, "mindir", tmp_path / "net.mindir").path)
    assert graph is not None
    expected = to_mindspore(job.stored().model, job.stored().state)
    unused = {f"net.final{head}.weight" for head in (1,) if name == "unet_nested"}
    assert set(graph.weights) == {f"net.{theirs}" for theirs in expected} - unused
    assert all(torch.equal(weight, expected[key.removeprefix("net.")]) for key, weight in graph.weights.items())


def test_the_file_of_a_checkpoint_is_the_checkpoint(shared: Path, tmp_path: Path) -> None:
    for name in ("medical_w4_ms200", "ms_small_nested_fs16_ds_bn_deconv", "ms_small_simple_fs16"):
        original = shared / "fixtures" / "seeds" / f"{name}.ckpt"
        written = export(original, to="mindspore-ckpt", out=tmp_path / "again.ckpt").path
        assert written.read_bytes() == original.read_bytes()
        assert written.stat().st_mode & 0o777 == 0o400


def test_a_checkpoint_goes_back_with_what_mindspore_shows_it(tmp_path: Path) -> None:
    job = job_of(NETWORKS["unet_simple"], FileOptions(), ZOO)
    legacy = read_legacy(export_network(job, "mindspore-ckpt", tmp_path / "net.ckpt").path)
    assert legacy is not None
    assert all(torch.equal(legacy.state[name], value) for name, value in job.stored().state.items())


@pytest.mark.parametrize(
    ("kind", "name", "options", "complaint"),
    [
        ("mindir", "isbi", {}, "mindir takes images of one size; give it as --size H W"),
        ("mindir", "isbi", {"size": (40, 40), "half": True}, "mindir cannot express the option half"),
        ("mindspore-ckpt", "isbi", {}, "none of MindSpore's: .* downscale should be 1 and is 2"),
        ("mindspore-ckpt", "unet_simple", {}, r"sees \(x - 100\) / 40, and MindSpore's programs .* x / 127.5"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, kind: str, name: str, options: dict[str, Any], complaint: str) -> None:
    out = tmp_path / ("net.ckpt" if kind == "mindspore-ckpt" else "net.mindir")
    with pytest.raises(UsageError, match=complaint):
        export_network(job_of(NETWORKS[name], FileOptions(**options)), kind, out)
    assert not any(tmp_path.iterdir())


def test_an_operation_that_mindspore_does_not_have(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x_NCHW).real

    job = job_of(NETWORKS["isbi"], FileOptions(size=(40, 40)))
    job.reference.network = Odd()
    with pytest.raises(UsageError, match="the network computes fft_fft, which is written to no file of MindSpore's"):
        export_network(job, "mindir", tmp_path / "net.mindir")


@pytest.mark.parametrize("name", NETWORKS)
def test_mindspore_itself_computes_the_same(tmp_path: Path, name: str) -> None:
    pytest.importorskip("mindspore", reason="2.8 GB; scripts/prove_mindir.sh installs it for once")
    for output in OUTPUTS:
        options = replace(options_for(name, batch=2, layout="nchw-nhwc"), output=output)
        job = job_of(NETWORKS[name], options)
        path = export_network(job, "mindir", tmp_path / f"{output}.mindir").path
        exported = open_exported(path, RuntimeOptions(runtime="mindspore"))
        assert exported is not None
        images = job.example()
        with torch.inference_mode():
            found, expected = exported.runtime.run(images), job.reference(images)
        assert found.dtype == expected.dtype
        largest = max(float(expected.abs().max()), 1e-30)  # of class indices, all may be 0
        difference = float((found.double() - expected.double()).abs().max()) / largest
        print(f"{name}, {output}: {difference:.1e} relative")
        assert difference < 1e-5


@pytest.mark.parametrize("kind", ["mindir", "air"])
@pytest.mark.parametrize("name", ["isbi", "unet_medical", "unet_nested", "group norms, residual, interpolated"])
def test_a_graph_is_a_network_to_start_from(tmp_path: Path, name: str, kind: str) -> None:
    job = job_of(NETWORKS[name], FileOptions(size=(60, 60), preprocessing=True))
    stored = read_network(export_network(job, kind, tmp_path / f"net.{kind}").path)
    model = build_model(stored.model)
    model.load_state_dict(stored.state)
    images = torch.randn(1, 1, 60, 76)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), job.reference.network(images))
    assert stored.card.normalization == Normalization((100.0,), (40.0,))


def test_a_graph_of_a_low_head_is_no_whole_network(tmp_path: Path) -> None:
    job = job_of(NETWORKS["unet_nested, head 1"], FileOptions(size=(40, 40)))
    written = export_network(job, "mindir", tmp_path / "net.mindir").path
    with pytest.raises(ModelFileError, match=r"holds a part of the network, without encoder\.2\.conv1\.weight and"):
        read_network(written)
