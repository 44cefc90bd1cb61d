"""The legacy networks: how each is recognised, which configuration of ours it is, and what its modules are called.

A network is recognised by the name of one tensor that no other network has. Its configuration follows from the shapes.
Its modules are listed in the order in which the older system writes them. The other way, `to_mindspore` gives our
networks as MindSpore's model zoo knows them, where they are one of its three.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any, Literal

import torch
from torch import Tensor

from unetkit.config import ModelConfig
from unetkit.errors import UsageError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
NormalizationKind = Literal["minus-one-to-one", "zero-to-one", "none"]

_TORCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LEAVES: dict[str, dict[str, dict[str, str]]] = {
    "mindspore": {
        "norm": {"running_mean": "moving_mean", "running_var": "moving_variance", "weight": "gamma", "bias": "beta"},
        "conv": {"weight": "weight", "bias": "bias"},
    },
    "tensorflow": {"conv": {"weight": "kernel", "bias": "bias"}},
    "torch": {"norm": {leaf: leaf for leaf in _TORCH_NORM}, "conv": {"weight": "weight", "bias": "bias"}},
}


class Unknown(Exception):
    """The tensors are not what the network's name promises."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One legacy network.

    Attributes:
        name: as its system calls it.
        marker: the tensor that it is recognised by.
        style: how the leaves of its modules are called.
        fixed: what is always so, as options of ours.
        choices: which values its other options may have.
        measure: gives the open options, channels and classes from the shapes of its tensors.
        modules: gives our and its name of every module with weights, in its order, for a depth.
    """

    name: str
    marker: str
    style: Literal["mindspore", "tensorflow", "torch"]
    fixed: Mapping[str, Any]
    choices: Mapping[str, tuple[Any, ...]]
    measure: Callable[[Shapes], dict[str, Any]]
    modules: Callable[[int], Iterator[tuple[str, str]]]

    def configure(self, shapes: Shapes) -> ModelConfig:
        """Return our configuration of a network with these tensors.

        Raises:
            Unknown: a tensor that decides is missing or is not a convolution's.
            ValidationError: channels or levels that no configuration has.
        """
        return ModelConfig(**{**self.fixed, **self.measure(shapes)})

    def names(self, depth: int) -> dict[str, str]:
        """Return its name of every tensor that a network of this kind can have, by our name, in its order."""
        separator = "/" if self.style == "tensorflow" else "."
        return {
            f"{ours}.{leaf}": f"{legacy_name}{separator}{legacy_leaf}"
            for ours, legacy_name in self.modules(depth)
            for leaf, legacy_leaf in _LEAVES[self.style]["norm" if "norm" in ours else "conv"].items()
        }


def depth_of(config: ModelConfig) -> int:
    """Return how many times the network halves the image."""
    return config.depth if config.widths is None else len(config.widths) - 1


# How the open options follow from the shapes, and what the modules are called, network by network.


def _widths(shapes: Shapes, names: list[str], axis: int = 0) -> dict[str, Any]:
    """Return the widths as a configuration has them: by the first one where each level has twice as many."""
    widths = [_side(shapes, name, axis) for name in names]
    if widths == [widths[0] << level for level in range(len(widths))]:
        return {"width": widths[0], "depth": len(widths) - 1}
    return {"widths": tuple(widths)}


def _count(shapes: Shapes, name: str, *, start: int = 0) -> int:
    """Return how many numbers in a row, from `start`, make a name that is there."""
    return sum(1 for _ in takewhile(lambda number: name.format(number) in shapes, count(start)))


def _side(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes.get(name)
    if shape is None:
        raise Unknown(f"{name} is missing")
    if len(shape) != 4 or 0 in shape:  # an empty tensor could claim any number of channels
        raise Unknown(f"{name} has the shape {shape}, which is not a convolution's")
    return shape[axis]


def _block(ours: str, legacy_name: str, numbers: tuple[str, str, str, str]) -> Iterator[tuple[str, str]]:
    for part, number in zip(("conv1", "norm1", "conv2", "norm2"), numbers, strict=True):
        yield f"{ours}.{part}", f"{legacy_name}.{number}"


def measure_medical(shapes: Shapes) -> dict[str, Any]:
    """Return widths, channels and classes of unet_medical, and of milesial's network, which has the same names."""
    down = "down{}.maxpool_conv.1.double_conv.0.weight"
    levels = [down.format(number) for number in range(1, _count(shapes, down, start=1) + 1)]
    return {
        **_widths(shapes, ["inc.double_conv.0.weight", *levels]),
        "in_channels": _side(shapes, "inc.double_conv.0.weight", 1),
        "num_classes": _side(shapes, "outc.conv.weight", 0),
    }


def measure_milesial(shapes: Shapes) -> dict[str, Any]:
    """Return the same, and whether convolutions have a bias."""
    if "up1.up.weight" not in shapes:
        raise Unknown("it upsamples by interpolation (bilinear=True); only bilinear=False is known here")
    return {**measure_medical(shapes), "conv_bias": "inc.double_conv.0.bias" in shapes}


def modules_by(numbers: tuple[str, str, str, str]) -> Callable[[int], Iterator[tuple[str, str]]]:
    """Return the modules of both, with the numbers of two convolutions and their norms in a block."""

    def modules(depth: int) -> Iterator[tuple[str, str]]:
        for level in range(depth + 1):
            legacy_name = f"down{level}.maxpool_conv.1.double_conv" if level else "inc.double_conv"
            yield from _block(f"encoder.{level}", legacy_name, numbers)
        for number in range(1, depth + 1):
            ours = f"decoder.{depth - number}"
            yield from _block(f"{ours}.block", f"up{number}.conv.double_conv", numbers)
            yield f"{ours}.up.conv", f"up{number}.up"
        yield "head", "outc.conv"

    return modules


_ZOO_BLOCK = ("convs.0.0", "convs.0.1", "convs.1.0", "convs.1.1")


def _measure_zoo(shapes: Shapes, level: str, *, up: str, head: str) -> dict[str, Any]:
    """Return what MindSpore's model zoo leaves open in the simple and the nested network."""
    names = [level.format(number) for number in range(_count(shapes, f"{level}.convs.0.0.weight"))]
    return {
        **_widths(shapes, [f"{name}.convs.0.0.weight" for name in names]),
        "in_channels": _side(shapes, f"{names[0]}.convs.0.0.weight", 1),
        "num_classes": _side(shapes, f"{head.format(len(names) - 1)}.weight", 0),
        "norm": "batch" if f"{names[0]}.convs.0.1.gamma" in shapes else "none",
        "up": "deconv" if _side(shapes, f"{up}.up_conv.weight", 3) == 2 else "bilinear-legacy",
    }


def measure_simple(shapes: Shapes) -> dict[str, Any]:
    """Return widths, channels, classes, norm and upsampling of unet_simple."""
    return _measure_zoo(shapes, "conv{}", up="up_concat1", head="final")


def measure_nested(shapes: Shapes) -> dict[str, Any]:
    """Return the same of unet_nested, and whether it has all heads: an exported graph may have the last one alone."""
    found = _measure_zoo(shapes, "conv{}0", up="up_concat01", head="final{}")
    return {**found, "deep_supervision": "final1.weight" in shapes}


def modules_simple(depth: int) -> Iterator[tuple[str, str]]:
    """Yield the modules of unet_simple."""
    for level in range(depth + 1):
        yield from _block(f"encoder.{level}", f"conv{level}", _ZOO_BLOCK)
    for level in range(depth):
        yield from _block(f"decoder.{level}.block", f"up_concat{level + 1}.conv", _ZOO_BLOCK)
        yield f"decoder.{level}.up.conv", f"up_concat{level + 1}.up_conv"
    yield "head", "final"


def modules_nested(depth: int) -> Iterator[tuple[str, str]]:
    """Yield the modules of unet_nested."""
    for level in range(depth + 1):
        yield from _block(f"encoder.{level}", f"conv{level}0", _ZOO_BLOCK)
    for column in range(1, depth + 1):
        for level in range(depth + 1 - column):
            ours, legacy_name = f"nodes.{level}_{column}", f"up_concat{level}{column}"
            yield from _block(f"{ours}.block", f"{legacy_name}.conv", _ZOO_BLOCK)
            yield f"{ours}.up.conv", f"{legacy_name}.up_conv"
    for column in range(1, depth + 1):
        yield f"heads.{column}", f"final{column}"


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def measure_nvidia(shapes: Shapes) -> dict[str, Any]:
    """Return widths, channels and classes of NVIDIA's UNet_Medical."""
    depth = _count(shapes, "conv2d_transpose_{}/kernel", start=1) + 1
    return {
        **_widths(shapes, [f"{_numbered('conv2d', 2 * level)}/kernel" for level in range(depth + 1)], axis=3),
        "in_channels": _side(shapes, "conv2d/kernel", 2),
        "num_classes": _side(shapes, f"{_numbered('conv2d', 4 * depth + 2)}/kernel", 3),
    }


def modules_nvidia(depth: int) -> Iterator[tuple[str, str]]:
    """Yield the modules of NVIDIA's UNet_Medical."""
    blocks = [f"encoder.{level}" for level in range(depth + 1)]
    blocks += [f"decoder.{level}.block" for level in reversed(range(depth))]
    for number, block in enumerate(blocks):
        yield f"{block}.conv1", _numbered("conv2d", 2 * number)
        yield f"{block}.conv2", _numbered("conv2d", 2 * number + 1)
    for number in range(depth):
        yield f"decoder.{depth - 1 - number}.up.conv", _numbered("conv2d_transpose", number)
    yield "head", _numbered("conv2d", 2 * len(blocks))


_VALID = {"padding": "valid", "norm": "none", "conv_bias": True, "up_relu": True, "concat": "up-skip"}
_ZOO = {
    "decoder_norm": "none",
    "conv_bias": False,
    "up_bias": False,
    "concat": "up-skip",
    "head_bias": False,
    "init": "mindspore-normal",
}
_ZOO_CHOICES = {"norm": ("batch", "none"), "up": ("deconv", "bilinear-legacy")}

MEDICAL = Architecture(
    name="unet_medical",
    marker="inc.double_conv.2.weight",
    style="mindspore",
    fixed={**_VALID, "up_bias": False, "init": "mindspore-medical"},
    choices={},
    measure=measure_medical,
    modules=modules_by(("0", "1", "2", "3")),
)
SIMPLE = Architecture(
    name="unet_simple",
    marker="conv0.convs.0.0.weight",
    style="mindspore",
    fixed=_ZOO,
    choices=_ZOO_CHOICES,
    measure=measure_simple,
    modules=modules_simple,
)
NESTED = Architecture(
    name="unet_nested",
    marker="conv00.convs.0.0.weight",
    style="mindspore",
    fixed={**_ZOO, "name": "unetpp", "deep_supervision": True},
    choices=_ZOO_CHOICES,
    measure=measure_nested,
    modules=modules_nested,
)
NVIDIA = Architecture(
    name="UNet_Medical",
    marker="conv2d/kernel",
    style="tensorflow",
    fixed={**_VALID, "up_kernel": 3, "dropout": 0.5, "init": "glorot"},
    choices={},
    measure=measure_nvidia,
    modules=modules_nvidia,
)
MILESIAL = Architecture(
    name="UNet",
    marker="inc.double_conv.3.weight",
    style="torch",
    fixed={"odd_sizes": "zeros", "norm": "batch", "init": "torch"},
    choices={"conv_bias": (True, False)},
    measure=measure_milesial,
    modules=modules_by(("0", "1", "3", "4")),
)
ARCHITECTURES = (MEDICAL, SIMPLE, NESTED, NVIDIA, MILESIAL)

_TO_MINDSPORE = (MEDICAL, SIMPLE, NESTED)
_FREE = {
    "in_channels",
    "num_classes",
    "width",
    "widths",
    "depth",
    "init",
    "dropout",
    "odd_sizes",
    "deep_supervision",
    "head",
}
"""Options that the tensors show or that do not act on what a trained network predicts there."""


def to_mindspore(network: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's weights, by our names, as MindSpore's model zoo names them, in its order.

    Colour images have the channels R, G, B for our networks and B, G, R for MindSpore's, so the first convolution is
    flipped. Heads that a UNet++ was built without become zeros; MindSpore predicts with the last one.

    Raises:
        UsageError: it is none of unet_medical, unet_simple and unet_nested.
    """
    candidates = [(_clashes(legacy, network), legacy) for legacy in _TO_MINDSPORE]
    clashes, legacy = min(candidates, key=lambda pair: len(pair[0]))
    if clashes:
        raise UsageError(
            f"this network is none of MindSpore's: for {legacy.name}, {'; '.join(clashes)}; "
            "train one of the presets mindspore-unet-*, or export to ONNX or MindIR"
        )
    depth, tensors = depth_of(network), dict[str, Tensor]()
    for ours, legacy_name in legacy.names(depth).items():
        if ours in state:
            tensors[legacy_name] = state[ours].detach().float()
        elif ours.startswith("heads.") and ours.endswith(".weight"):
            tensors[legacy_name] = torch.zeros_like(state[f"heads.{depth}.weight"], dtype=torch.float32)
    if network.in_channels == 3:
        first = next(iter(tensors))
        tensors[first] = tensors[first].flip(1)
    return tensors


def mindspore_names(network: ModelConfig) -> dict[str, str]:
    """Return what MindSpore's model zoo calls the tensors of a network, by our names; nothing for none of its three."""
    for legacy in _TO_MINDSPORE:
        if not _clashes(legacy, network):
            return legacy.names(depth_of(network))
    return {}


def _clashes(legacy: Architecture, network: ModelConfig) -> list[str]:
    """Return what of the configuration the legacy network does not have, a phrase each."""
    found, plain = _settled(network), _settled(ModelConfig(**dict(legacy.fixed)))
    wanted = {option: legacy.choices.get(option, (value,)) for option, value in plain.items()}
    wanted["up_kernel"] = (2,) if network.up == "deconv" else (1,)
    one = ["num_classes should be 2 or more, for a softmax, and is 1"] if network.num_classes == 1 else []
    return one + [
        f"{option} should be {' or '.join(str(value) for value in wanted[option])} and is {value}"
        for option, value in found.items()
        if value not in wanted[option]
    ]


def _settled(network: ModelConfig) -> dict[str, Any]:
    """Return the options that decide, with null replaced by what it means."""
    options = network.model_dump(exclude=_FREE)
    norms = {options["norm"], options["decoder_norm"] or options["norm"]}
    options["decoder_norm"] = options["decoder_norm"] or options["norm"]
    if options["conv_bias"] is None and len({norm == "none" for norm in norms}) == 1:
        options["conv_bias"] = "none" in norms
    options["up_kernel"] = options["up_kernel"] or (2 if options["up"] == "deconv" else 1)
    return options
