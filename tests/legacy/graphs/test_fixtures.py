"""MindSpore's own files, computed here, give what MindSpore gave; and its operations are what PyTorch's are."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unetkit.legacy.graphs import read_graph
from unetkit.legacy.graphs.graph import Constant, Graph, GraphError, Node, execute, results


@pytest.fixture(scope="module")
def seeds(shared: Path) -> Path:
    return shared / "fixtures" / "seeds"


def test_unet_medical_by_mindspore_2_0(seeds: Path) -> None:
    graph = read_graph(seeds / "medical_w4_ms200.mindir")
    assert graph is not None
    x_NCHW = np.random.RandomState(11).rand(1, 1, 572, 572) * 2 - 1
    y_NHWK = execute(graph, torch.from_numpy(x_NCHW.astype(np.float32))).numpy()
    assert y_NHWK.shape == (1, 388, 388, 2)
    expected = np.load(seeds / "medical_w4_ms200_eval_ref.npz")["p_sub"]
    assert np.abs(y_NHWK[:, ::8, ::8] - expected).max() < 1e-6


def test_unet_nested_by_mindspore_2_10(seeds: Path) -> None:
    graph = read_graph(seeds / "ms_small_nested_fs16_ds_bn_deconv_ms210.mindir")
    assert graph is not None
    example = np.load(seeds / "ms_small_nested_fs16_ds_bn_deconv_ms210_eval_io.npz")
    y_NHWK = execute(graph, torch.from_numpy(example["x"])).numpy()
    assert np.abs(y_NHWK - example["y"]).max() < 2e-6


def test_unet_simple_as_air(seeds: Path) -> None:
    graph = read_graph(seeds / "hand_simple_fs16.air")
    assert graph is not None
    example = np.load(seeds / "ms_small_simple_fs16_io.npz")
    y_NHWK = execute(graph, torch.from_numpy(example["x"][:1]))
    expected_NHWK = torch.from_numpy(example["y"][:1]).softmax(1).permute(0, 2, 3, 1)
    torch.testing.assert_close(y_NHWK, expected_NHWK, rtol=1e-5, atol=2e-6)


def computed(op: str, *inputs: torch.Tensor | Constant, **attributes: object) -> torch.Tensor:
    """Return what a graph of one operation gives for its first input."""
    first = inputs[0]
    assert isinstance(first, torch.Tensor)
    names = [item if isinstance(item, Constant) else f"w{place}" for place, item in enumerate(inputs[1:])]
    weights = {f"w{place}": item for place, item in enumerate(inputs[1:]) if isinstance(item, torch.Tensor)}
    node = Node("y", op, ("x", *names), attributes)
    graph = Graph("x", tuple(first.shape), first.dtype, (node,), weights, "y")
    result = execute(graph, first)
    assert results(graph)["y"].shape == result.shape
    return result


sides = st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(height=sides, width=sides, kernel=st.sampled_from([1, 2, 3]), stride=st.sampled_from([1, 2]))
def test_same_is_as_many_outputs_as_strides(height: int, width: int, kernel: int, stride: int) -> None:
    x_NCHW, weight = torch.rand(1, 2, height, width), torch.rand(3, 2, kernel, kernel)
    found = computed("Conv2D", x_NCHW, weight, pad_mode="same", stride=(1, 1, stride, stride), dilation=(1, 1, 1, 1))
    assert found.shape == (1, 3, -(-height // stride), -(-width // stride))
    if stride == 1 and kernel % 2:
        torch.testing.assert_close(found, F.conv2d(x_NCHW, weight, padding="same"))
    window = {"kernel_size": (1, 1, 2, 2), "strides": (1, 1, 2, 2)}
    pooled = computed("MaxPool", x_NCHW, pad_mode="SAME", **window)
    torch.testing.assert_close(pooled, F.max_pool2d(x_NCHW, 2, ceil_mode=True))


@pytest.mark.parametrize(("mode", "side", "cut"), [("SAME", 8, slice(0, 8)), ("VALID", 9, slice(None))])
def test_transposed_convolutions(mode: str, side: int, cut: slice) -> None:
    x_NCHW, weight = torch.rand(2, 3, 4, 4), torch.rand(3, 5, 3, 3)
    full = F.conv_transpose2d(x_NCHW, weight, stride=2)
    size = Constant((2, 5, side, side))
    found = computed("Conv2DTranspose", x_NCHW, weight, size, pad_mode=mode, stride=(1, 1, 2, 2))
    torch.testing.assert_close(found, full[:, :, cut, cut])


def test_explicit_pads_and_resizing() -> None:
    x_NCHW, weight = torch.rand(1, 1, 5, 6), torch.rand(1, 1, 3, 3)
    found = computed("Conv2D", x_NCHW, weight, pad_mode="pad", pad_list=(1, 0, 2, 1), stride=1)
    torch.testing.assert_close(found, F.conv2d(F.pad(x_NCHW, (2, 1, 1, 0)), weight))
    half = computed("ResizeBilinearV2", x_NCHW, Constant((7, 9)), half_pixel_centers=True)
    torch.testing.assert_close(half, F.interpolate(x_NCHW, (7, 9), mode="bilinear"))
    corners = computed("ResizeBilinear", x_NCHW, size=(7, 9), align_corners=True)
    torch.testing.assert_close(corners, F.interpolate(x_NCHW, (7, 9), mode="bilinear", align_corners=True))
    row = torch.tensor([[[[0.0, 1.0, 4.0]]]])
    legacy = computed("ResizeBilinear", row, size=(1, 6))
    assert legacy.flatten().tolist() == [0, 0.5, 1, 2.5, 4, 4]  # source = target / 2, clamped
    padded = computed("Pad", row, paddings=((0, 0), (0, 0), (0, 1), (2, 0)))
    torch.testing.assert_close(padded, F.pad(row, (2, 0, 0, 1)))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "complaint"),
    [
        ("Conv3D", (), {}, "the operation Conv3D is not known here"),
        ("Conv2D", (torch.rand(3, 4, 3, 3),), {"pad_mode": "valid"}, "Conv2D does not fit its inputs"),
        ("Conv2D", (torch.rand(3, 2, 3, 3),), {"pad_mode": "mirror"}, "pad_mode is mirror"),
        ("Slice", (Constant((0, -1, 0, 0)), Constant((1, 1, 1, 1))), {}, "Slice does not fit"),
        ("BatchNorm", (torch.ones(2),) * 4, {"is_training": True}, "training mode"),
        ("TupleGetItem", (), {"index": "first"}, "TupleGetItem does not fit"),
        ("MakeTuple", (), {}, "its output is not a tensor"),
    ],
)
def test_what_cannot_be_computed(op: str, inputs: tuple, attributes: dict, complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        computed(op, torch.rand(1, 2, 4, 4), *inputs, **attributes)


def test_results_of_any_size_are_not_computed() -> None:
    node = Node("y", "ResizeBilinear", ("x",), {"size": (1 << 20, 1 << 20)})
    with pytest.raises(GraphError, match="ResizeBilinear gives 2,199,023,255,552 values"):
        results(Graph("x", (1, 2, 4, 4), torch.float32, (node,), {}, "y"))
    with pytest.raises(GraphError, match="an input of shape"):
        results(Graph("x", (1, -2), torch.float32, (), {}, "x"))


def test_what_reads_what_is_not_there() -> None:
    graph = Graph("x", (1,), torch.float32, (Node("y", "ReLU", ("z",)),), {}, "y")
    with pytest.raises(GraphError, match="ReLU reads z, which nothing before it gives"):
        execute(graph, torch.zeros(1))
