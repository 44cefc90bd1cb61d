"""Bare ONNX and TorchScript files that others made: what they lack, and what becomes of their output."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import unetkit
from unetkit.errors import ModelFileError, UsageError
from unetkit.formats.foreign import Meaning, Sizes, meaning_of, normalization, rearranged

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SAID: Any = {"classes": ["cell"], "normalization": "zero-to-one", "multiple": 4}


def graph(
    path: Path, *, axes: list[Any] | None = None, values: int = 1, after: str | None = None, kind: str = "conv"
) -> Path:
    """Write an ONNX file: a 3 x 3 convolution and what follows it, or something that is no map."""
    helper = onnx.helper
    axes = axes or ["n", 1, "h", "w"]
    last = isinstance(axes[-1], int) and axes[-1] < 9
    channels = axes[-1] if last else axes[1]
    kernel = np.random.default_rng(0).normal(size=(values, channels, 3, 3)).astype(np.float32)
    nodes, name = [], "x"

    def add(operator: str, *others: str, **attributes: Any) -> None:
        nonlocal name
        nodes.append(helper.make_node(operator, [name, *others], [f"{name}_"], **attributes))
        name = f"{name}_"

    if last:
        add("Transpose", perm=[0, 3, 1, 2])
    add("Conv", "kernel", pads=[1, 1, 1, 1] if kind == "conv" else [0, 0, 0, 0])
    if after in ("Sigmoid", "ArgMax"):
        add(after, **({"axis": 1, "keepdims": 0} if after == "ArgMax" else {}))
    elif after == "Softmax":
        add(after, axis=1)
    if last and after != "ArgMax":
        add("Transpose", perm=[0, 2, 3, 1])
    if kind == "classifier":
        add("GlobalAveragePool")
        add("Flatten")
    made = onnx.TensorProto.INT64 if after == "ArgMax" else onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, axes)],
            [helper.make_tensor_value_info(name, made, None)],
            [onnx.numpy_helper.from_array(kernel, "kernel")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path.write_bytes(model.SerializeToString())
    return path


PIXELS = np.random.default_rng(1).integers(0, 256, (1, 40, 52), np.uint8)


def logits(values: int) -> Tensor:
    kernel = np.random.default_rng(0).normal(size=(values, 1, 3, 3)).astype(np.float32)
    x_NCHW = torch.from_numpy(PIXELS[None].astype(np.float32) / 255)
    return torch.nn.functional.conv2d(x_NCHW, torch.from_numpy(kernel), padding=1)[0]


def test_what_is_lacking_is_named_with_the_options_that_give_it(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"--classes background,nucleus.*--normalization none.*--multiple 32.*--size"):
        unetkit.load(path)
    with pytest.raises(UsageError) as raised:
        unetkit.load(path, options={"classes": ["a", "b"], "multiple": 4})
    assert "--normalization" in str(raised.value)
    assert "--classes" not in str(raised.value)
    fixed = graph(tmp_path / "fixed.onnx", axes=[1, 1, 32, 32])
    with pytest.raises(UsageError) as raised:
        unetkit.load(fixed)
    assert "--multiple" not in str(raised.value)  # the file says its size itself


def test_options_of_other_peoples_files_are_refused_where_they_say_nothing(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx")
    bad: list[tuple[Any, str]] = [
        ({"normalization": "foo"}, "expected none, zero-to-one"),
        ({"normalization": "1,2/3"}, "1 finite means"),
        ({"normalization": "imagenet"}, "3 channels"),
        ({"activation": "relu"}, "--activation relu: expected none, sigmoid, softmax"),
        ({"output": "y"}, "no output 'y'; its outputs: x_"),
        ({"classes": ["a", "b", "c"]}, "2 different names, or 1 without the background"),
    ]
    for change, message in bad:
        with pytest.raises(UsageError, match=message):
            unetkit.load(path, options=SAID | change)


OUTPUTS: list[tuple[int, str | None, list[str], Callable[[Tensor], Tensor]]] = [
    (1, None, ["cell"], lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()])),
    (1, "Sigmoid", ["cell"], lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()])),
    (3, None, ["a", "b", "c"], lambda z: z.softmax(0)),
    (3, "Softmax", ["a", "b", "c"], lambda z: z.softmax(0)),
]


@pytest.mark.parametrize(("values", "after", "classes", "expected"), OUTPUTS)
def test_logits_and_probabilities_are_told_apart(
    values: int,
    after: str | None,
    classes: list[str],
    expected: Callable[[Tensor], Tensor],
    tmp_path: Path,
) -> None:
    path = graph(tmp_path / "net.onnx", values=values, after=after)
    predictor = unetkit.load(path, options=SAID | {"classes": classes})
    np.testing.assert_allclose(predictor.probabilities(PIXELS), expected(logits(values)).numpy(), atol=1e-5)
    assert any("--activation says otherwise" in note for note in predictor.notes)


def test_the_user_says_what_the_output_is(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", values=2)
    predictor = unetkit.load(path, options=SAID | {"classes": ["a", "b"], "activation": "sigmoid"})
    p_KHW = logits(2).sigmoid()
    total = p_KHW.sum(0)
    assert predictor.classes == ("background", "a", "b")
    found_KHW = predictor.probabilities(PIXELS)
    np.testing.assert_allclose(found_KHW[1:], (p_KHW / total.clamp_min(1)).numpy(), atol=1e-5)
    np.testing.assert_allclose(found_KHW.sum(0), 1, atol=1e-5)


def test_class_indices_are_labels(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", values=3, after="ArgMax")
    predictor = unetkit.load(path, options=SAID | {"classes": ["a", "b", "c"]})
    np.testing.assert_array_equal(predictor.labels(PIXELS), logits(3).argmax(0).numpy())
    with pytest.raises(UsageError, match="no probabilities"):
        unetkit.predict(predictor, PIXELS[0], probabilities=True)


def test_channels_last(tmp_path: Path) -> None:
    last = graph(tmp_path / "last.onnx", axes=["n", "h", "w", 1], values=2)
    first = graph(tmp_path / "first.onnx", values=2)
    one, two = (
        unetkit.load(path, options=SAID | {"classes": ["a", "b"]}).probabilities(PIXELS) for path in (last, first)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_one_size_from_the_file_or_the_user(tmp_path: Path) -> None:
    said: Any = {"classes": ["cell"], "normalization": "zero-to-one"}
    fixed = unetkit.load(graph(tmp_path / "fixed.onnx", axes=[1, 1, 32, 32]), options=said)
    valid = unetkit.load(graph(tmp_path / "valid.onnx", kind="valid"), options=said | {"input_size": (32, 32)})
    assert (valid.geometry.margin, valid.geometry.fixed) == (1, (32, 32))
    expected = logits(1).sigmoid()[0].numpy()
    # How far a padded network sees is not known: where its tiles are blended, their edges have a share.
    for predictor, within in ((fixed, 2e-2), (valid, 1e-5)):
        found_HW = predictor.with_options({"overlap": 2}).probabilities(PIXELS)[1]
        np.testing.assert_allclose(found_HW[1:-1, 1:-1], expected[1:-1, 1:-1], atol=within)


@pytest.mark.parametrize(
    ("kind", "axes", "message"),
    [
        ("classifier", None, "is not a map of the image; expected a network for segmentation"),
        ("conv", ["n", 1, "d", "h", "w"], "only networks on 2D images are run"),
        ("conv", ["n", "c", "h", "w"], "does not say how many channels"),
    ],
)
def test_what_is_no_network_for_segmentation(kind: str, axes: list[Any] | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    if axes is None:
        graph(path, kind=kind)
    else:
        helper, proto = onnx.helper, onnx.TensorProto.FLOAT
        x, y = (helper.make_tensor_value_info(name, proto, axes) for name in "xy")
        nodes = [helper.make_node("Relu", ["x"], ["y"])]
        path.write_bytes(helper.make_model(helper.make_graph(nodes, "net", [x], [y])).SerializeToString())
    with pytest.raises(ModelFileError, match=message):
        unetkit.load(path, options=SAID)


def test_torchscript_is_run_where_it_is_trusted(tmp_path: Path) -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": self.conv(x), "aux": x}

    net = Several().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")  # pyright: ignore[reportUnknownMemberType] untyped
    said = SAID | {"classes": ["a", "b"], "normalization": "10,20,30/2,2,2"}
    with pytest.raises(UsageError, match=r"--classes.*--trust"):
        unetkit.load(tmp_path / "net.pt")
    with pytest.raises(UsageError, match="--trust"):
        unetkit.load(tmp_path / "net.pt", options=said)
    pixels_CHW = np.random.default_rng(1).integers(0, 256, (3, 16, 24), np.uint8)
    found_KHW = unetkit.load(tmp_path / "net.pt", options=said | {"trust": True}).probabilities(pixels_CHW)
    shift = torch.tensor([10.0, 20.0, 30.0])[:, None, None]
    with torch.inference_mode():
        expected = net((torch.from_numpy(pixels_CHW.astype(np.float32)) - shift)[None] / 2)["out"][0].softmax(0)
    np.testing.assert_allclose(found_KHW, expected.numpy(), atol=1e-5)


FORMULAS: list[tuple[str, type[np.generic], Callable[[Any], Any]]] = [
    ("none", np.uint8, lambda x: x),
    ("zero-to-one", np.uint8, lambda x: x / 255),
    ("zero-to-one", np.uint16, lambda x: x / 65535),
    ("zero-to-one", np.float32, lambda x: x),
    ("minus-one-to-one", np.uint8, lambda x: x / 127.5 - 1),
    ("standardize", np.uint8, lambda x: (x - x.mean()) / x.std()),
    ("min-max", np.uint8, lambda x: (x - x.min()) / np.ptp(x)),
    ("50/20", np.uint8, lambda x: (x - 50) / 20),
]


@pytest.mark.parametrize(("name", "dtype", "expected"), FORMULAS)
def test_normalizations(name: str, dtype: type[np.generic], expected: Any) -> None:
    pixels_CHW = PIXELS.astype(dtype)
    np.testing.assert_allclose(
        normalization(name, 1)(pixels_CHW), expected(pixels_CHW.astype(np.float64)), rtol=1e-4, atol=1e-5
    )


@given(st.permutations("bcyx"), st.booleans())
def test_axes_are_rearranged_and_back(axes: list[str], extra: bool) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    wanted = "".join(axes) + ("z" if extra else "")
    np.testing.assert_array_equal(rearranged(rearranged(array, "bcyx", wanted), wanted, "bcyx"), array)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64), st.integers(1, 128))
def test_sizes_that_go_in(height: int, width: int, step: int, least: int) -> None:
    sizes = Sizes((step, step), (least, least))
    fits = sizes.fitting(height, width)
    for side, found in zip((height, width), fits, strict=True):
        assert found >= side
        assert (found - least) % step == 0
        assert found == least or found - step < side


def test_probabilities_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="values from -3 to 2; give --activation"):
        Meaning("none", exclusive=True).probabilities(torch.tensor([-3.0, 2.0]).reshape(1, 2, 1, 1))
    assert meaning_of(torch.full((1, 2, 3, 3), 0.5), None) == Meaning("none", exclusive=True)
    assert meaning_of(torch.full((1, 2, 3, 3), 0.4), None) == Meaning("none", exclusive=False)


def test_runtimes_are_kept_from_reporting_to_their_makers(tmp_path: Path) -> None:
    path, home = graph(tmp_path / "net.onnx"), tmp_path / "home"
    home.mkdir()
    options = [{**SAID, "runtime": runtime} for runtime in ("onnxruntime", "openvino")]
    code = f"import unetkit\nfor options in {options!r}: unetkit.load({str(path)!r}, options=options)"
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    for name in ("ORT_DISABLE_TELEMETRY", "CI", "JENKINS_URL", "TF_BUILD"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(home.rglob("*onnxruntime*"))  # where it would keep the number of this machine
    assert not (home / "intel").exists()  # where OpenVINO would
