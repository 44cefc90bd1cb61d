"""Each of PyTorch's operations in MindSpore's: one function an operation, by PyTorch's name, and what they write on.

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
class Known:
    """A result or a weight: its name in the graph, its shape and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, node: fx.Node, name: str) -> Self:
        """Return what torch.export found out about a node."""
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
        name = f"{op}{len(self.nodes)}"
        for item in inputs:
            if isinstance(item, str) and item in self.tensors:
                self.weights[item] = self.tensors[item]
        named = tuple(
            self._kept(f"{name}.value{place}", item) if isinstance(item, Tensor) else item
            for place, item in enumerate(inputs)
        )
        self.nodes.append(Node(name, op, named, attributes))
        return name

    def _kept(self, name: str, tensor: Tensor) -> str:
        self.weights[name] = tensor
        return name

    def joined(self, parts: Sequence[str | Tensor], axis: int) -> str:
        """Write the concatenation of results and fixed values."""
        return self.add("Concat", self.add("MakeTuple", *parts), axis=axis, N=len(parts), inputNums=len(parts))

    def cut(self, name: str, begin: tuple[int, ...], size: tuple[int, ...]) -> str:
        """Write the part of a result that begins somewhere and has a size."""
        return self.add("Slice", name, Constant(begin), Constant(size))

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """Write a result in another shape."""
        return self.add("Reshape", name, Constant(shape))

    def turned(self, name: str, axes: tuple[int, ...]) -> str:
        """Write a result with its axes in another order."""
        return self.add("Transpose", name, Constant(axes))


Given = dict[str, Any]
"""The arguments of one of PyTorch's operations by name, results and weights as `Known`."""


class Translation(Protocol):
    """Puts an operation on the sheet."""

    def __call__(self, sheet: GraphBuilder, *, given: Given, result: Known) -> str:
        """Write nodes and return the name of the last; `result` is what PyTorch's operation gives."""
        ...


def _conv2d(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    weight, bias, groups = given["weight"], given["bias"], given["groups"]
    kernel = weight.shape[2:]
    strides, (above, left), spread = (_pair(given[key]) for key in ("stride", "padding", "dilation"))
    pads = (above, above, left, left)
    same = strides == spread == (1, 1) and kernel == (2 * above + 1, 2 * left + 1)
    mode = "valid" if pads == (0, 0, 0, 0) else "same" if same else "pad"
    name = sheet.add(
        "Conv2D",
        given["input"].name,
        weight.name,
        out_channel=weight.shape[0],
        **_window(kernel, strides, spread=spread, groups=groups),
        pad_mode=mode,
        pad=pads if mode == "pad" else (0, 0, 0, 0),
        pad_list=pads,
    )
    return _biased(sheet, name, bias)


def _conv_transpose2d(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    weight, strides = given["weight"], _pair(given["stride"])
    kernel = weight.shape[2:]
    if _pair(given["padding"]) != (0, 0) or _pair(given["output_padding"]) != (0, 0) or given["groups"] != 1:
        raise UsageError("the network has a transposed convolution with padding or groups; export it to onnx")
    name = sheet.add(
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
    return _biased(sheet, name, given["bias"])


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


def _biased(sheet: GraphBuilder, name: str, bias: Known | None) -> str:
    if bias is None:
        return name
    return sheet.add("BiasAdd", name, bias.name, format="NCHW", data_format="NCHW")


def _batch_norm(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    named = [given[key].name for key in ("input", "weight", "bias", "running_mean", "running_var")]
    epsilon, momentum = given["eps"], given["momentum"]
    norm = sheet.add("BatchNorm", *named, is_training=False, epsilon=epsilon, momentum=momentum, format="NCHW")
    return sheet.add("TupleGetItem", norm, Constant(0))


def _group_norm(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    count, channels, height, width = result.shape
    groups = given["num_groups"]
    flat = sheet.reshaped(given["input"].name, (count, groups, channels // groups * height * width))
    centred = sheet.add("Sub", flat, sheet.add("ReduceMean", flat, Constant((2,)), keep_dims=True))
    spread = sheet.add("ReduceMean", sheet.add("Mul", centred, centred), Constant((2,)), keep_dims=True)
    scale = sheet.add("Rsqrt", sheet.add("Add", spread, torch.tensor([given["eps"]])))
    name = sheet.reshaped(sheet.add("Mul", centred, scale), result.shape)
    for op, key in (("Mul", "weight"), ("Add", "bias")):
        name = sheet.add(op, name, sheet.reshaped(given[key].name, (1, channels, 1, 1)))
    return name


def _max_pool2d(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    kernel, strides = _pair(given["kernel_size"]), _pair(given["stride"] or given["kernel_size"])
    window: dict[str, Value] = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides)}
    return sheet.add("MaxPool", given["self"].name, **window, pad_mode="VALID", format="NCHW")


def _pad(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
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
            name = sheet.cut(name, (0, 0, 0, 0), tuple(shape))
        elif more and mode == "constant":
            name = sheet.joined([name, torch.zeros(edge)], axis)
        elif more:
            edge[axis], begin = 1, [0, 0, 0, 0]
            begin[axis] = shape[axis] - more - 1
            name = sheet.joined([name, *[sheet.cut(name, tuple(begin), tuple(edge))] * more], axis)
    return name


def _slice(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    if given["step"] != 1:
        raise UsageError("the network leaves out rows, which is written to no file of MindSpore's")
    shape, axis = given["self"].shape, given["dim"]
    start = given["start"] or 0
    begin = tuple(start % shape[axis] if place == axis else 0 for place in range(len(shape)))
    return given["self"].name if result.shape == shape else sheet.cut(given["self"].name, begin, result.shape)


def _select(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    shape, axis = given["self"].shape, given["dim"]
    begin = tuple(given["index"] % shape[axis] if place == axis else 0 for place in range(len(shape)))
    size = tuple(1 if place == axis else side for place, side in enumerate(shape))
    return sheet.reshaped(sheet.cut(given["self"].name, begin, size), result.shape)


def _fold(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    """Write pixel_unshuffle: blocks of pixels become channels."""
    (count, channels, height, width), side = given["self"].shape, given["downscale_factor"]
    name = sheet.reshaped(given["self"].name, (count, channels, height // side, side, width // side, side))
    return sheet.reshaped(sheet.turned(name, (0, 1, 3, 5, 2, 4)), result.shape)


def _unfold(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    """Write pixel_shuffle: channels become blocks of pixels."""
    (count, _, height, width), side = given["self"].shape, given["upscale_factor"]
    name = sheet.reshaped(given["self"].name, (count, result.shape[1], side, side, height, width))
    return sheet.reshaped(sheet.turned(name, (0, 1, 4, 2, 5, 3)), result.shape)


def _resize(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    corners = bool(given.get("align_corners"))
    legacy = "align_corners" not in given
    size, way = result.shape[2:], {"align_corners": corners, "half_pixel_centers": not (corners or legacy)}
    source = (given["x_NCHW"] if legacy else given["input"]).name
    if sheet.resize == "ResizeBilinear":
        return sheet.add(sheet.resize, source, size=size, **way)
    return sheet.add(sheet.resize, source, Constant(size), **way)


def _argmax(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    largest = sheet.add("ArgMaxWithValue", given["self"].name, axis=given["dim"], keep_dims=given["keepdim"])
    return sheet.add("TupleGetItem", largest, Constant(0))


def _cast(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    return sheet.add("Cast", given["self"].name, dst_type=result.dtype)  # as an input, releases differ in it


def _cat(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    return sheet.joined([part.name for part in given["tensors"]], given["dim"] % len(result.shape))


def _softmax(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    return sheet.add("Softmax", given["self"].name, axis=(given["dim"],))


def _same(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    """Write nothing: what changes nothing at prediction."""
    if given.get("train"):
        raise UsageError("the network is in training mode; call network.eval() first")
    return next(iter(given.values())).name


def _plain(op: str) -> Translation:
    """Return the translation of an operation on one map."""

    def translate(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
        return sheet.add(op, given["self"].name)

    return translate


def _pairwise(op: str, *, turned: bool = False) -> Translation:
    """Return the translation of an operation on two maps, or on a map and a number."""

    def translate(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
        sides = [
            side.name if isinstance(side, Known) else torch.tensor([float(side)])
            for side in (given["self"], given["other"])
        ]
        return sheet.add(op, *(reversed(sides) if turned else sides))

    return translate


def _permute(sheet: GraphBuilder, *, given: Given, result: Known) -> str:
    return sheet.turned(given["self"].name, tuple(given["dims"]))


def _pair(value: Any) -> tuple[int, int]:
    """Return height and width of what is given as one number or two."""
    height, width = value if len(value) == 2 else (*value, *value)
    return height, width


TRANSLATIONS: dict[str, Translation] = {
    "_to_copy": _cast,
    "add": _pairwise("Add"),
    "alias": _same,
    "argmax": _argmax,
    "batch_norm": _batch_norm,
    "cat": _cat,
    "contiguous": _same,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "div": _pairwise("RealDiv"),
    "dropout": _same,
    "group_norm": _group_norm,
    "gt": _pairwise("Greater"),
    "legacy_bilinear": _resize,
    "max_pool2d": _max_pool2d,
    "mul": _pairwise("Mul"),
    "pad": _pad,
    "permute": _permute,
    "pixel_shuffle": _unfold,
    "pixel_unshuffle": _fold,
    "relu": _plain("ReLU"),
    "rsub": _pairwise("Sub", turned=True),
    "select": _select,
    "sigmoid": _plain("Sigmoid"),
    "slice": _slice,
    "softmax": _softmax,
    "sub": _pairwise("Sub"),
    "to": _cast,
    "upsample_bilinear2d": _resize,
}
"""By PyTorch's names."""
