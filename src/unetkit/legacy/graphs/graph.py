"""A network as a graph of MindSpore's operations, which its files and Ascend's hold, and its execution by PyTorch.

A node's name is also the name of its result. Nodes are in an order in which they can be computed.

An operation is a function with MindSpore's names: inputs by position, attributes by keyword. Releases from 2.3 on give
as inputs what others give as attributes; both bind to the same parameters, and attributes that do not change the result
are passed over. Only inference is known, and only channels-first layout.

Legend of shapes: N batch, C channels, H height, W width.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Value: TypeAlias = "bool | int | float | str | None | torch.dtype | Tensor | tuple[Value, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An input that is written in the graph itself: a number, numbers, a type; None for what only orders effects."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: of the node and its result.
        op: MindSpore's name of the operation.
        inputs: names of the graph's input, of weights or of nodes before it, and constants.
        attributes: what else decides the result.
    """

    name: str
    op: str
    inputs: tuple[str | Constant, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network with one input and one output.

    Attributes:
        input: the name of the input.
        shape: of the input.
        dtype: of the input.
        nodes: in an order in which they can be computed.
        weights: by name.
        output: the name of the node or input that is returned.
        notes: texts that the file carries next to the graph, such as unetkit's card.
    """

    input: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]
    output: str
    notes: Mapping[str, str] = field(default_factory=dict[str, str])


Lengths = int | tuple[int, ...]

LARGEST = 1 << 31
"""Values in one result; more are no image's, but a damaged file's."""

_TYPES = {
    30: torch.bool,
    32: torch.int8,
    34: torch.int32,
    35: torch.int64,
    37: torch.uint8,
    42: torch.float16,
    43: torch.float32,
    44: torch.float64,
}
"""MindSpore's numbers of types, which releases from 2.3 on write where others write a type."""


class GraphError(Exception):
    """A graph that cannot be computed: a reader turns it into a line that names its file."""


def execute(graph: Graph, images: Tensor) -> Tensor:
    """Return the output of the graph for an input.

    Raises:
        GraphError: an operation that is not known, or one that does not fit its inputs.
    """
    result = images
    for name, value in steps(graph, images):
        if name == graph.output:
            result = value
    if not isinstance(result, Tensor):
        raise GraphError("its output is not a tensor")
    return result


def results(graph: Graph) -> dict[str, Any]:
    """Return the result of every node as tensors without memory, for an input of the graph's own shape.

    Raises:
        GraphError: as `execute`.
    """
    try:
        images = torch.empty(graph.shape, dtype=graph.dtype, device="meta")
    except RuntimeError as error:
        raise GraphError(f"an input of shape {graph.shape}: {error}") from None
    return dict(steps(graph, images))


def steps(
    graph: Graph,
    images: Any,
    operations: Mapping[str, Callable[..., Any]] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Compute node by node and yield names and results; a result is forgotten after its last use.

    Args:
        graph: to compute.
        images: its input.
        operations: of another library, with the arguments of `OPERATIONS`; None: PyTorch's.
        weights: as that library's values; None: the graph's own.

    Raises:
        GraphError: as `execute`.
    """
    operations = OPERATIONS if operations is None else operations
    values: dict[str, Any] = dict(weights or {})
    if weights is None:
        values = {name: weight.to(images.device) for name, weight in graph.weights.items()}
    values[graph.input] = images
    reads = [[item for item in node.inputs if isinstance(item, str)] for node in graph.nodes]
    last = {name: place for place, names in enumerate(reads) for name in names}
    for place, node in enumerate(graph.nodes):
        try:
            inputs = [item.value if isinstance(item, Constant) else values[item] for item in node.inputs]
        except KeyError as error:
            raise GraphError(f"{node.op} reads {error.args[0]}, which nothing before it gives") from None
        function = operations.get(node.op)
        if function is None:
            raise GraphError(f"the operation {node.op} is not known here")
        # Of the attributes, those that the function asks for and that its inputs have not given.
        parameters = inspect.signature(function).parameters.values()
        taken = {item.name for item in list(parameters)[: len(inputs)] if item.kind is not item.KEYWORD_ONLY}
        asked = {item.name for item in parameters if item.kind is not item.VAR_POSITIONAL} - taken
        try:
            result = function(*inputs, **{name: node.attributes[name] for name in asked if name in node.attributes})
        except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, AttributeError, KeyError) as error:
            raise GraphError(f"{node.op} does not fit its inputs: {error}") from None
        if isinstance(result, Tensor) and result.numel() > LARGEST:
            raise GraphError(f"{node.op} gives {result.numel():,} values")
        yield node.name, result
        values[node.name] = result
        for name in {name for name in (*reads[place], node.name) if last.get(name, place) == place}:
            del values[name]


def conv2d(
    x_NCHW: Tensor,
    weight: Tensor,
    *,
    stride: Lengths = 1,
    pad_mode: str = "valid",
    pad_list: Lengths = (0, 0, 0, 0),
    dilation: Lengths = 1,
    group: int = 1,
) -> Tensor:
    """Return the convolution."""
    strides, dilations = pair_of(stride), pair_of(dilation)
    kernel = [(side - 1) * spread + 1 for side, spread in zip(weight.shape[2:], dilations, strict=True)]
    sides = padding_of(pad_mode, x_NCHW.shape[2:], kernel, strides, pad_list)
    return F.conv2d(_padded(x_NCHW, sides), weight, None, strides, 0, dilations, group)


def conv2d_transpose(
    x_NCHW: Tensor,
    weight: Tensor,
    size: tuple[int, ...],
    *,
    stride: Lengths = 1,
    pad_mode: str = "valid",
    pad_list: Lengths = (0, 0, 0, 0),
) -> Tensor:
    """Return the transposed convolution, cut to the size as the padding of the convolution it belongs to says."""
    height, width = size[2:]
    left, _, top, _ = padding_of(pad_mode, (height, width), weight.shape[2:], pair_of(stride), pad_list)
    full_NCHW = F.conv_transpose2d(x_NCHW, weight, None, pair_of(stride))
    below, right = top + height - full_NCHW.shape[2], left + width - full_NCHW.shape[3]
    return _padded(full_NCHW, [-left, right, -top, below])


def max_pool(x_NCHW: Tensor, kernel_size: Lengths, strides: Lengths, pad_mode: str = "valid") -> Tensor:
    """Return the largest value of every window."""
    sides = padding_of(pad_mode, x_NCHW.shape[2:], pair_of(kernel_size), pair_of(strides), (0, 0, 0, 0))
    return F.max_pool2d(_padded(x_NCHW, sides, float("-inf")), pair_of(kernel_size), pair_of(strides))


def _padded(x_NCHW: Tensor, sides: list[int], value: float = 0.0) -> Tensor:
    """Return the map with borders added, or cut where they are negative; itself where there are none."""
    return F.pad(x_NCHW, sides, value=value) if any(sides) else x_NCHW


def padding_of(
    mode: str, sides: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pad: Lengths
) -> list[int]:
    """Return what is added to the left, right, top and bottom."""
    if mode.lower() == "valid":
        return [0, 0, 0, 0]
    if mode.lower() == "pad":
        top, bottom, left, right = (pad,) * 4 if isinstance(pad, int) else pad
        return [left, right, top, bottom]
    if mode.lower() != "same":
        raise ValueError(f"its pad_mode is {mode}")
    result: list[int] = []
    for side, reach, stride in zip(reversed(sides), reversed(kernel), reversed(strides), strict=True):
        total = max((-(-side // stride) - 1) * stride + reach - side, 0)
        result += [total // 2, total - total // 2]
    return result


def pair_of(value: Lengths) -> tuple[int, int]:
    """Return height and width of what is given as one number, as two, or for all four axes."""
    if isinstance(value, int):
        return value, value
    height, width = value[-2:]
    return height, width


def batch_norm(x_NCHW: Tensor, *given: Any, is_training: bool = False, epsilon: float = 1e-5) -> tuple[Tensor, ...]:
    """Return the normalised map, and the statistics as MindSpore returns them."""
    scale, offset, mean, variance, *others = given
    is_training, epsilon = others[:2] if len(others) > 1 else (is_training, epsilon)
    if is_training:
        raise ValueError("it is in training mode")
    return F.batch_norm(x_NCHW, mean, variance, scale, offset, eps=epsilon), mean, variance, mean, variance


def resize_bilinear(x_NCHW: Tensor, size: Any, align_corners: bool = False, half_pixel_centers: bool = False) -> Tensor:
    """Return the map at another size; without either flag it is sampled at target * scale, clamped (legacy corners)."""
    if align_corners or half_pixel_centers:
        return F.interpolate(x_NCHW, tuple(size), mode="bilinear", align_corners=align_corners)
    for axis, target in zip((2, 3), size, strict=True):
        side = x_NCHW.shape[axis]
        source = torch.arange(target, device=x_NCHW.device, dtype=torch.float32) * (side / target)
        low = source.floor().long().clamp(max=side - 1)
        share = (source - low).reshape(-1, *(1,) * (x_NCHW.ndim - axis - 1))
        first, second = x_NCHW.index_select(axis, low), x_NCHW.index_select(axis, (low + 1).clamp(max=side - 1))
        x_NCHW = first + (second - first) * share
    return x_NCHW


def slice_window(x: Tensor, begin: Any, size: Any) -> Tensor:
    """Return the part that begins somewhere and has a size."""
    if any(start < 0 or length < 0 for start, length in zip(begin, size, strict=True)):
        raise ValueError(f"it begins at {begin} and has the size {size}")
    for axis, (start, length) in enumerate(zip(begin, size, strict=True)):
        x = x.narrow(axis, start, length)
    return x


def pad(x: Tensor, paddings: Any) -> Tensor:
    """Return the map with zeros before and after each axis."""
    return F.pad(x, [side for pair in reversed(paddings) for side in pair])


def argmax_with_value(x: Tensor, axis: int = 0, keep_dims: bool = False) -> tuple[Tensor, Tensor]:
    """Return where the largest value along an axis is, and that value."""
    values, places = x.max(axis, keepdim=keep_dims)
    return places.int(), values


def softmax(x: Tensor, axis: Lengths = -1) -> Tensor:
    """Return the softmax along one axis."""
    (only,) = (axis,) if isinstance(axis, int) else axis
    return x.softmax(only)


def reduce_mean(x: Tensor, axis: Any = (), keep_dims: bool = False) -> Tensor:
    """Return the mean over axes."""
    return x.mean(axis, keepdim=keep_dims)


def bias_add(x_NCHW: Tensor, bias: Tensor) -> Tensor:
    """Return the map with one number added to each channel."""
    return x_NCHW + bias.reshape(-1, 1, 1)


def cast(x: Tensor, dst_type: Any) -> Tensor:
    """Return the values in another type."""
    return x.to(dst_type if isinstance(dst_type, torch.dtype) else _TYPES[dst_type])


def concat(tensors: tuple[Tensor, ...], axis: int = 0) -> Tensor:
    """Return the tensors joined along an axis."""
    return torch.cat(tensors, axis)


def transpose(x: Tensor, perm: tuple[int, ...]) -> Tensor:
    """Return the axes in another order."""
    return x.permute(perm)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the values in another shape."""
    return x.reshape(shape)


def make_tuple(*values: Any) -> tuple[Any, ...]:
    """Return the inputs as one value."""
    return values


def tuple_get_item(values: tuple[Any, ...], index: int) -> Any:
    """Return one of several values."""
    return values[index]


def first_input(x: Any, *_: Any) -> Any:
    """Return the first input: the others order effects, of which inference has none."""
    return x


def _plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an operation that has no attributes."""

    def compute(*inputs: Tensor) -> Tensor:
        return function(*inputs)

    return compute


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": _plain(torch.add),
    "ArgMaxWithValue": argmax_with_value,
    "BatchNorm": batch_norm,
    "BiasAdd": bias_add,
    "Cast": cast,
    "Concat": concat,
    "Conv2D": conv2d,
    "Conv2DTranspose": conv2d_transpose,
    "Depend": first_input,
    "Greater": _plain(torch.gt),
    "Load": first_input,
    "MakeTuple": make_tuple,
    "MaxPool": max_pool,
    "Mul": _plain(torch.mul),
    "Pad": pad,
    "RealDiv": _plain(torch.div),
    "ReduceMean": reduce_mean,
    "ReLU": _plain(torch.relu),
    "Reshape": reshape,
    "ResizeBilinear": resize_bilinear,
    "ResizeBilinearV2": resize_bilinear,
    "Rsqrt": _plain(torch.rsqrt),
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": slice_window,
    "Softmax": softmax,
    "Sub": _plain(torch.sub),
    "Transpose": transpose,
    "TupleGetItem": tuple_get_item,
    "UpdateState": first_input,
}
"""By MindSpore's names."""
