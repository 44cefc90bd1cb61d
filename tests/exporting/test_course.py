"""Exporting from end to end, in the format that is written fastest: what is kept, and what is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unetkit import load
from unetkit.config import ModelConfig
from unetkit.errors import DataError, ParityError, UsageError
from unetkit.exporting import FORMATS, FileOptions, export_network, make_job
from unetkit.formats import format_for, open_exported
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

Make = Callable[..., Predictor]


@pytest.fixture(scope="module")
def make() -> Make:
    def predictor(*, classes: int = 2, channels: int = 1, **model: Any) -> Predictor:
        torch.manual_seed(3)
        network = build_model(
            ModelConfig(in_channels=channels, **{"num_classes": classes, "width": 4, "depth": 2, **model})
        ).eval()
        names = tuple(f"class {index}" for index in range(max(classes, 2)))
        card = ModelCard(classes=names, mean=(120.0,) * channels, std=(40.0,) * channels)
        return Predictor(network, network.geometry, card, torch.device("cpu"))

    return predictor


def written(predictor: Predictor, out: Path, to: str = "torchscript", **options: Any) -> Path:
    return export_network(make_job(predictor, FileOptions(**options)), to, out).path


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (1, height, width), np.uint8)


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("preprocessing", [False, True])
def test_probabilities_are_those_of_the_network(
    make: Make, tmp_path: Path, classes: int, layout: str, preprocessing: bool
) -> None:
    predictor = make(classes=classes)
    image = pixels(21, 30)
    expected = predictor.probabilities(image)
    for output in ("logits", "softmax", "argmax"):
        out = written(predictor, tmp_path / f"{output}.pt", output=output, layout=layout, preprocessing=preprocessing)
        loaded = load(out)
        assert loaded.card.outputs_labels == (output == "argmax")
        assert np.array_equal(loaded.labels(image), predictor.labels(image))
        if output != "argmax":
            np.testing.assert_allclose(loaded.probabilities(image), expected, rtol=0, atol=1e-5)


def test_a_file_of_one_size_tiles_larger_images_exactly(make: Make, tmp_path: Path) -> None:
    predictor = make(depth=1)
    overlap = predictor.geometry.overlap
    assert overlap is not None
    side = 4 * overlap
    loaded = load(written(predictor, tmp_path / "fixed.pt", size=(side, side + 4), batch=2))
    for height, width in ((side, side + 4), (side - 1, side + 3), (2 * side + 7, 3 * side + 1)):
        image = pixels(height, width)
        assert loaded.plan(height, width).note is None
        np.testing.assert_allclose(loaded.probabilities(image), predictor.probabilities(image), rtol=0, atol=1e-5)
    assert "takes" in str(loaded.plan(side // 2, side).note)
    assert loaded.probabilities(pixels(side // 2, side)).shape == (2, side // 2, side)


def test_a_file_of_a_valid_network_gives_what_the_network_gives(make: Make, tmp_path: Path) -> None:
    predictor = make(padding="valid", norm="none", depth=1)
    side = predictor.geometry.fitting_input_size(8)
    loaded = load(written(predictor, tmp_path / "valid.pt", size=(side, side)))
    for height, width in ((5, 7), (20, 33)):
        image = pixels(height, width)
        np.testing.assert_allclose(loaded.probabilities(image), predictor.probabilities(image), rtol=0, atol=1e-5)


def test_a_file_of_8_bits_refuses_other_pixels(make: Make, tmp_path: Path) -> None:
    loaded = load(written(make(), tmp_path / "raw.pt", preprocessing=True))
    for image in (pixels(8, 8) + 0.5, pixels(8, 8).astype(np.uint16) + 300):
        with pytest.raises(DataError, match="8 bits"):
            loaded.labels(image)


def test_a_file_that_computes_something_else_is_not_kept(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "net.pt"
    out.write_bytes(b"older")
    other = make_job(make(init="torch"), FileOptions())
    right = FORMATS["torchscript"]
    wrong = replace(right, write=lambda job, path: right.write(other, path))
    monkeypatch.setitem(FORMATS, "torchscript", wrong)
    with pytest.raises(ParityError, match="something else"):
        written(make(), out)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]
    assert out.read_bytes() == b"older"


def test_a_file_that_is_not_accepted_is_not_kept(make: Make, tmp_path: Path) -> None:
    def refuse(draft: Path) -> None:
        assert draft.is_file()
        raise ParityError("its score is another")

    with pytest.raises(ParityError, match="another"):
        export_network(make_job(make(), FileOptions()), "torchscript", tmp_path / "net.pt", accept=refuse)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("to", "name", "options", "complaint"),
    [
        ("onxx", "net.onnx", {}, "there is no format 'onxx'"),
        ("onnx", "net.pt2", {}, "called FILE.onnx"),
        ("safetensors", "net.safetensors", {"layout": "nhwc"}, "cannot express the option layout"),
        ("pt2", "net.pt2", {"half": True}, "onnx, openvino can"),
        ("openvino", "net.xml", {"opset": 18}, "cannot express the option opset"),
    ],
)
def test_what_a_format_cannot_express_is_refused(to: str, name: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        format_for(to, Path(name), FileOptions(**options))


@pytest.mark.parametrize("options", [{"size": (2, 64)}, {"batch": 0}])
def test_impossible_sizes_are_refused(make: Make, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="give sides of|at least one"):
        make_job(make(), FileOptions(**options))


@pytest.mark.parametrize("opset", [3, 99])
def test_an_unknown_opset_is_refused(make: Make, tmp_path: Path, opset: int) -> None:
    with pytest.raises(UsageError, match="there is no opset"):
        written(make(), tmp_path / "net.onnx", "onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_opset_11_is_a_plain_graph_that_mindspore_lite_takes(make: Make, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    out = written(make(), tmp_path / "net.onnx", "onnx", opset=11, size=(32, 48), batch=1, output="softmax")
    graph = onnx.load(out).graph
    plain = {"Conv", "Relu", "MaxPool", "ConvTranspose", "Concat", "Softmax", "Transpose", "Identity"}
    assert {node.op_type for node in graph.node} <= plain
    pools = [node for node in graph.node if node.op_type == "MaxPool"]
    assert not any(attribute.name == "dilations" for node in pools for attribute in node.attribute)
    assert onnx.load(out).opset_import[0].version == 11


def test_weights_alone_are_a_network_file(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights of one network"):
        written(make(), tmp_path / "net.safetensors", "safetensors")


def test_an_exported_file_is_not_exported_again(make: Make, tmp_path: Path) -> None:
    loaded = load(written(make(), tmp_path / "net.pt"))
    with pytest.raises(UsageError, match="exported file already"):
        make_job(loaded, FileOptions())


def test_what_is_no_exported_file_is_left_to_others(tmp_path: Path) -> None:
    contents = {"a.onnx": b"", "b.pt2": b"PK\3\4", "c.xml": b"<?xml version='1.0'?><x/>", "d": b"\x09\x07"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert open_exported(tmp_path / name) is None
    assert open_exported(tmp_path / "nowhere.onnx") is None
