"""What MindSpore's operations are called by Ascend: one rule an operation, read both ways.

Ascend takes as attributes what MindSpore takes as constant inputs. Does not know files.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from unetkit.interop.graphs.graph import Value

TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.float16,
    3: torch.int8,
    4: torch.uint8,
    5: torch.int16,
    6: torch.uint16,
    7: torch.int32,
    8: torch.int64,
    11: torch.bool,
    12: torch.float64,
}
"""The numbers of ge.proto.DataType that have a torch type."""

NUMBERS = {dtype: number for number, dtype in TYPES.items()}
CAST_NUMBERS = {torch.float32: 0, torch.float16: 1, torch.int8: 2, torch.int32: 3, torch.uint8: 4, torch.int64: 9}
"""The numbers of ge::DataType, which are others; the attribute of a Cast has them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one of MindSpore's operations is called by Ascend.

    Attributes:
        op: MindSpore's name.
        kind: Ascend's name.
        inputs: Ascend's names of the inputs, in its order.
        order: the places of those among MindSpore's inputs; empty: the same.
        constants: Ascend's names of the attributes that are constant inputs of MindSpore's, after its other inputs.
        attributes: Ascend's names of attributes, and MindSpore's.
        added: attributes that Ascend has beside.
        read: attributes that MindSpore's has beside.
        outputs: Ascend's names of the results.
    """

    op: str
    kind: str
    inputs: tuple[str, ...] = ("x",)
    order: tuple[int, ...] = ()
    constants: tuple[str, ...] = ()
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    added: Mapping[str, Value] = dataclasses.field(default_factory=dict[str, Value])
    read: Mapping[str, Value] = dataclasses.field(default_factory=dict[str, Value])
    outputs: tuple[str, ...] = ("y",)


_FIRST = {"data_format": "NCHW"}
_CONV = {"data_format": "NCHW", "offset_x": 0}
_WINDOW = {"strides": "stride", "pads": "pad_list", "dilations": "dilation", "groups": "group"}
_PAIR = ("x1", "x2")
_SAMPLING = {"align_corners": "align_corners", "half_pixel_centers": "half_pixel_centers"}

RULES = (
    Rule("Add", "Add", _PAIR),
    Rule("Sub", "Sub", _PAIR),
    Rule("Mul", "Mul", _PAIR),
    Rule("RealDiv", "RealDiv", _PAIR),
    Rule("Greater", "Greater", _PAIR),
    Rule("ReLU", "Relu"),
    Rule("Sigmoid", "Sigmoid"),
    Rule("Rsqrt", "Rsqrt"),
    Rule("BiasAdd", "BiasAdd", ("x", "bias"), added=_FIRST),
    Rule("Cast", "Cast", attributes={"dst_type": "dst_type"}),
    Rule("Softmax", "SoftmaxV2", attributes={"axes": "axis"}),
    Rule("Concat", "ConcatD", ("x",), attributes={"concat_dim": "axis", "N": "N"}),
    Rule("Transpose", "TransposeD", constants=("perm",)),
    Rule("Slice", "SliceD", constants=("offsets", "size")),
    Rule("ReduceMean", "ReduceMeanD", constants=("axes",), attributes={"keep_dims": "keep_dims"}),
    Rule("Reshape", "Reshape", ("x", "shape"), added={"axis": 0, "num_axes": -1}),
    Rule("ResizeBilinear", "ResizeBilinearV2D", attributes={"size": "size", **_SAMPLING}),
    Rule("ResizeBilinearV2", "ResizeBilinearV2", ("x", "size"), attributes=_SAMPLING),
    Rule("Conv2D", "Conv2D", ("x", "filter"), attributes=_WINDOW, added=_CONV, read={"pad_mode": "pad"}),
    Rule(
        "Conv2DTranspose",
        "Conv2DBackpropInput",
        ("input_size", "filter", "out_backprop"),
        order=(2, 1, 0),
        attributes=_WINDOW,
        added=_FIRST,
        read={"pad_mode": "pad"},
    ),
    Rule(
        "MaxPool",
        "MaxPool",
        attributes={"ksize": "kernel_size", "strides": "strides", "padding": "pad_mode"},
        added=_FIRST,
    ),
    Rule(
        "BatchNorm",
        "BatchNorm",
        ("x", "scale", "offset", "mean", "variance"),
        attributes={"epsilon": "epsilon", "is_training": "is_training"},
        added=_FIRST,
        outputs=("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    ),
    Rule(
        "ArgMaxWithValue",
        "ArgMaxWithValue",
        attributes={"dimension": "axis", "keep_dims": "keep_dims"},
        outputs=("indice", "values"),
    ),
)
BY_OP = {rule.op: rule for rule in RULES}
BY_KIND = {rule.kind: rule for rule in RULES}
