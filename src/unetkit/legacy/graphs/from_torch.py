"""PyTorch's operations in MindSpore's: one function an operation, by PyTorch's name, and the builder of the graph.

Only operations that MindSpore has had since 1.0 are used, in the form of release 2.0: what it takes as attributes are
attributes. Lengths are fixed, so that padding by copies, folding pixels and group norms become slices, reshapes and
means.

Legend of shapes: N batch, C channels, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, fx

from unetkit.errors import UsageError
from unetkit.legacy.graphs.graph import Constant, Node, Value


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """A result or a weight: its name in the graph, its shape and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, node: fx.Node, name: str) -> Self:
        """Return what torch.export knows of a node, under a name."""
        value: Tensor = node.meta["val"]
        return cls(name, tuple(value.shape), value.dtype)


@dataclass(slots=True)
class GraphBuilder:
    """The graph in the making.

    Attributes:
        resize: the name of the bilinear resizing.
        nodes: written so far.
        tensors: all weights that there are, by name.
        weights: those that nodes read.
    """

    resize: str
    nodes: list[Node] = field(default_factory=list[Node])
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def add(self, op: str, *inputs: str | Constant | Tensor, **attributes: Value) -> str:
        """Write a node and return its name; a tensor among the inputs becomes a weight."""
        name, named = f"{op}{len(self.nodes)}", list[str | Constant]()
        self.weights |= {item: self.tensors[item] for item in inputs if isinstance(item, str) and item in self.tensors}
        for place, item in enumerate(inputs):
            named.append(f"{name}.value{place}" if isinstance(item, Tensor) else item)
            if isinstance(item, Tensor):
                self.weights[f"{name}.value{place}"] = item
        self.nodes.append(Node(name, op, tuple(named), attributes))
        return name

    def concat(self, parts: Sequence[str | Tensor], axis: int) -> str:
        """Write the concatenation of results and fixed values."""
        return self.add("Concat", self.add("MakeTuple", *parts), axis=axis, N=len(parts), inputNums=len(parts))

    def slice(self, name: str, begin: tuple[int, ...], size: tuple[int, ...]) -> str:
        """Write the part of a result that begins somewhere and has a size."""
        return self.add("Slice", name, Constant(begin), Constant(size))

    def reshape(self, name: str, shape: tuple[int, ...]) -> str:
        """Write a result in another shape."""
        return self.add("Reshape", name, Constant(shape))

    def transpose(self, name: str, axes: tuple[int, ...]) -> str:
        """Write a result with its axes in another order."""
        return self.add("Transpose", name, Constant(axes))


Given = dict[str, Any]
"""The arguments of one of PyTorch's operations by name, results and weights as `ValueInfo`."""


class Translation(Protocol):
    """Writes one of PyTorch's operations as MindSpore's."""

    def __call__(self, builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
        """Write nodes and return the name of the last; `result` has the form of what PyTorch's operation returns."""
        ...


def conv2d(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a convolution, and its bias as an operation of its own."""
    weight, bias, groups = given["weight"], given["bias"], given["groups"]
    kernel = weight.shape[2:]
    strides, (above, left), spread = (_pair(given[key]) for key in ("stride", "padding", "dilation"))
    pads = (above, above, left, left)
    same = strides == spread == (1, 1) and kernel == (2 * above + 1, 2 * left + 1)
    mode = "valid" if pads == (0, 0, 0, 0) else "same" if same else "pad"
    name = builder.add(
        "Conv2D",
        given["input"].name,
        weight.name,
        out_channel=weight.shape[0],
        **_window(kernel, strides, spread=spread, groups=groups),
        pad_mode=mode,
        pad=pads if mode == "pad" else (0, 0, 0, 0),
        pad_list=pads,
    )
    return _biased(builder, name, bias)


def conv_transpose2d(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a transposed convolution, and its bias as an operation of its own."""
    weight, strides = given["weight"], _pair(given["stride"])
    kernel = weight.shape[2:]
    if _pair(given["padding"]) != (0, 0) or _pair(given["output_padding"]) != (0, 0) or given["groups"] != 1:
        raise UsageError("the network has a transposed convolution with padding or groups; export it to onnx")
    name = builder.add(
        "Conv2DTranspose",
        given["input"].name,
        weight.name,
        Constant(result.shape),
        out_channel=weight.shape[0],
        **_window(kernel, strides, spread=(1, 1), groups=1),
        pad_mode="SAME" if kernel == strides else "VALID",
        pad=(0, 0, 0, 0),
        pad_list=(0, 0, 0, 0),
    )
    return _biased(builder, name, given["bias"])


def _window(
    kernel: tuple[int, int], strides: tuple[int, int], *, spread: tuple[int, int], groups: int
) -> dict[str, Value]:
    return {
        "kernel_size": kernel,
        "mode": 1,
        "stride": (1, 1, *strides),
        "dilation": (1, 1, *spread),
        "group": groups,
        "groups": groups,
        "format": "NCHW",
    }


def _biased(builder: GraphBuilder, name: str, bias: ValueInfo | None) -> str:
    if bias is None:
        return name
    return builder.add("BiasAdd", name, bias.name, format="NCHW", data_format="NCHW")


def batch_norm(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a batch norm with its running statistics."""
    named = [given[key].name for key in ("input", "weight", "bias", "running_mean", "running_var")]
    epsilon, momentum = given["eps"], given["momentum"]
    norm = builder.add("BatchNorm", *named, is_training=False, epsilon=epsilon, momentum=momentum, format="NCHW")
    return builder.add("TupleGetItem", norm, Constant(0))


def group_norm(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a group norm by means over fixed lengths."""
    count, channels, height, width = result.shape
    groups = given["num_groups"]
    flat = builder.reshape(given["input"].name, (count, groups, channels // groups * height * width))
    centred = builder.add("Sub", flat, builder.add("ReduceMean", flat, Constant((2,)), keep_dims=True))
    spread = builder.add("ReduceMean", builder.add("Mul", centred, centred), Constant((2,)), keep_dims=True)
    scale = builder.add("Rsqrt", builder.add("Add", spread, torch.tensor([given["eps"]])))
    name = builder.reshape(builder.add("Mul", centred, scale), result.shape)
    for op, key in (("Mul", "weight"), ("Add", "bias")):
        name = builder.add(op, name, builder.reshape(given[key].name, (1, channels, 1, 1)))
    return name


def max_pool2d(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write the largest value of every window."""
    kernel, strides = _pair(given["kernel_size"]), _pair(given["stride"] or given["kernel_size"])
    window: dict[str, Value] = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides)}
    return builder.add("MaxPool", given["self"].name, **window, pad_mode="VALID", format="NCHW")


def pad(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write padding at the ends of height and width: copies of the last row and column, zeros, or negative."""
    mode, sides = given["mode"], [*given["pad"], 0, 0][:4]
    left, right, top, below = sides
    if left or top or mode not in ("replicate", "constant") or given["value"]:
        raise UsageError(f"the network pads by {sides} ({mode}), which is written to no file of MindSpore's")
    name, shape = given["self"].name, list(given["self"].shape)
    for axis, more in ((2, below), (3, right)):
        edge = [*shape[:axis], abs(more), *shape[axis + 1 :]]
        shape[axis] += more
        if more < 0:
            name = builder.slice(name, (0, 0, 0, 0), tuple(shape))
        elif more and mode == "constant":
            name = builder.concat([name, torch.zeros(edge)], axis)
        elif more:
            edge[axis], begin = 1, [0, 0, 0, 0]
            begin[axis] = shape[axis] - more - 1
            name = builder.concat([name, *[builder.slice(name, tuple(begin), tuple(edge))] * more], axis)
    return name


def slice_axis(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a slice along one axis."""
    if given["step"] != 1:
        raise UsageError("the network leaves out rows, which is written to no file of MindSpore's")
    shape, axis = given["self"].shape, given["dim"]
    start = given["start"] or 0
    begin = tuple(start % shape[axis] if place == axis else 0 for place in range(len(shape)))
    return given["self"].name if result.shape == shape else builder.slice(given["self"].name, begin, result.shape)


def select(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write one position of an axis, which is left out."""
    shape, axis = given["self"].shape, given["dim"]
    begin = tuple(given["index"] % shape[axis] if place == axis else 0 for place in range(len(shape)))
    size = tuple(1 if place == axis else side for place, side in enumerate(shape))
    return builder.reshape(builder.slice(given["self"].name, begin, size), result.shape)


def pixel_unshuffle(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write pixel_unshuffle: blocks of pixels become channels."""
    (count, channels, height, width), side = given["self"].shape, given["downscale_factor"]
    name = builder.reshape(given["self"].name, (count, channels, height // side, side, width // side, side))
    return builder.reshape(builder.transpose(name, (0, 1, 3, 5, 2, 4)), result.shape)


def pixel_shuffle(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write pixel_shuffle: channels become blocks of pixels."""
    (count, _, height, width), side = given["self"].shape, given["upscale_factor"]
    name = builder.reshape(given["self"].name, (count, result.shape[1], side, side, height, width))
    return builder.reshape(builder.transpose(name, (0, 1, 4, 2, 5, 3)), result.shape)


def resize_bilinear(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write bilinear resizing; `legacy_bilinear` is the one whose arguments do not speak of corners."""
    corners = bool(given.get("align_corners"))
    legacy = "align_corners" not in given
    size, way = result.shape[2:], {"align_corners": corners, "half_pixel_centers": not (corners or legacy)}
    source = (given["x_NCHW"] if legacy else given["input"]).name
    if builder.resize == "ResizeBilinear":
        return builder.add(builder.resize, source, size=size, **way)
    return builder.add(builder.resize, source, Constant(size), **way)


def argmax(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write the position of the largest value along an axis."""
    largest = builder.add("ArgMaxWithValue", given["self"].name, axis=given["dim"], keep_dims=given["keepdim"])
    return builder.add("TupleGetItem", largest, Constant(0))


def cast(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write another type, as an attribute: releases differ in it as an input."""
    return builder.add("Cast", given["self"].name, dst_type=result.dtype)


def cat(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write a concatenation."""
    return builder.concat([part.name for part in given["tensors"]], given["dim"] % len(result.shape))


def softmax(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write the softmax along an axis."""
    return builder.add("Softmax", given["self"].name, axis=(given["dim"],))


def identity(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write nothing: what changes nothing at prediction."""
    if given.get("train"):
        raise UsageError("the network is in training mode; call network.eval() first")
    return next(iter(given.values())).name


def _plain(op: str) -> Translation:
    """Return the translation of an operation on one map."""

    def translate(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
        return builder.add(op, given["self"].name)

    return translate


def _pairwise(op: str, *, swapped: bool = False) -> Translation:
    """Return the translation of an operation on two maps, or on a map and a number; with the two swapped for rsub."""

    def translate(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
        sides = [
            side.name if isinstance(side, ValueInfo) else torch.tensor([float(side)])
            for side in (given["self"], given["other"])
        ]
        return builder.add(op, *(reversed(sides) if swapped else sides))

    return translate


def permute(builder: GraphBuilder, given: Given, result: ValueInfo) -> str:
    """Write axes in another order."""
    return builder.transpose(given["self"].name, tuple(given["dims"]))


def _pair(value: Any) -> tuple[int, int]:
    """Return height and width of what is given as one number or two."""
    height, width = value if len(value) == 2 else (*value, *value)
    return height, width


TRANSLATIONS: dict[str, Translation] = {
    "_to_copy": cast,
    "add": _pairwise("Add"),
    "alias": identity,
    "argmax": argmax,
    "batch_norm": batch_norm,
    "cat": cat,
    "contiguous": identity,
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "div": _pairwise("RealDiv"),
    "dropout": identity,
    "group_norm": group_norm,
    "gt": _pairwise("Greater"),
    "legacy_bilinear": resize_bilinear,
    "max_pool2d": max_pool2d,
    "mul": _pairwise("Mul"),
    "pad": pad,
    "permute": permute,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "relu": _plain("ReLU"),
    "rsub": _pairwise("Sub", swapped=True),
    "select": select,
    "sigmoid": _plain("Sigmoid"),
    "slice": slice_axis,
    "softmax": softmax,
    "sub": _pairwise("Sub"),
    "to": cast,
    "upsample_bilinear2d": resize_bilinear,
}
"""By PyTorch's names."""
