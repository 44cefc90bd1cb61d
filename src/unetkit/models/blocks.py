"""The parts that both networks are made of. They know nothing of levels, heads or configurations.

Names in a state dict, which files and importers rely on:

    Block     conv1, norm1, conv2, norm2, and in residual blocks with another number of channels `shortcut`
    UpConv    conv      [in, out, k, k]
    Upsample  conv      [out, in, k, k]
    UpBlock   up (an UpConv or an Upsample), block (a Block)

In-place operations act only on results that no backward pass needs and that nobody else holds.

Legend of shapes: N batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.models.geometry import Up

Norm = Literal["batch", "group", "instance", "none"]
GROUPS = 8


class GroupNorm(nn.Module):
    """Normalise each image over groups of channels, with a learned scale and shift for every channel.

    PyTorch's own module refuses maps of one pixel, which small images become at the lowest level.
    """

    def __init__(self, channels: int, groups: int) -> None:
        """Make the norm; as many groups as channels is instance normalisation."""
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalised map."""
        return torch.group_norm(x_NCHW, self.groups, self.weight, self.bias, 1e-5)


NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: GroupNorm(channels, math.gcd(channels, GROUPS)),
    "instance": lambda channels: GroupNorm(channels, channels),
    "none": lambda channels: nn.Identity(),
}

WHOLE_IMAGE_NORMS: frozenset[Norm] = frozenset(("group", "instance"))


@dataclass(frozen=True, slots=True)
class BlockStyle:
    """How a block is made; the fields are those of `ModelConfig`, and `bias` None means: where no norm follows."""

    norm: Norm
    bias: bool | None
    residual: bool
    valid: bool
    convs: int = 2


@dataclass(frozen=True, slots=True)
class UpStyle:
    """How maps are enlarged; the fields are those of `ModelConfig` without their prefix."""

    kind: Up
    kernel: int
    bias: bool
    relu: bool
    valid: bool


@dataclass(frozen=True, slots=True)
class UpBlockStyle:
    """How maps are enlarged and joined.

    Attributes:
        up: how a map is enlarged.
        block: how the block after it is made.
        up_first: the enlarged map's channels come before those of the skips.
        fill: the enlarged map gets rows and columns of zeros at its end where a skip is larger.
    """

    up: UpStyle
    block: BlockStyle
    up_first: bool
    fill: bool = False


class Block(nn.Module):
    """One or two 3x3 convolutions, each followed by its norm and a ReLU; a residual one adds its input before the last.

    Where the numbers of channels differ, the input is added through a 1x1 convolution without bias.
    """

    def __init__(self, channels_in: int, channels: int, style: BlockStyle) -> None:
        """Make a block from `channels_in` to `channels` channels."""
        super().__init__()
        padding = 0 if style.valid else 1
        bias = style.norm == "none" if style.bias is None else style.bias
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=padding, bias=bias)
        self.norm1 = NORMS[style.norm](channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=padding, bias=bias) if style.convs == 2 else None
        self.norm2 = NORMS[style.norm](channels) if style.convs == 2 else None
        self.residual, self.loss = style.residual, style.convs if style.valid else 0
        project = style.residual and channels_in != channels
        self.shortcut = nn.Conv2d(channels_in, channels, 1, bias=False) if project else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return [N, channels, H, W]; H and W are 2 less for every valid convolution."""
        y_NCHW = self.norm1(self.conv1(x_NCHW))
        if self.conv2 is not None and self.norm2 is not None:
            y_NCHW = self.norm2(self.conv2(F.relu(y_NCHW, inplace=True)))
        if self.residual:
            y_NCHW = y_NCHW.add_(self.shortcut(crop(x_NCHW, self.loss)))
        return F.relu(y_NCHW, inplace=True)


class UpConv(nn.Module):
    """Double height and width by a transposed convolution with stride 2; a kernel of 3 is TensorFlow's SAME form.

    With a kernel of 3 the result has one row and one column too many at the end, and they are cut.
    """

    def __init__(self, channels_in: int, channels: int, style: UpStyle) -> None:
        """Make the step from `channels_in` to `channels` channels."""
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels_in, channels, style.kernel, stride=2, bias=style.bias)
        self.relu, self.surplus = style.relu, style.kernel - 2

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return [N, channels, 2H, 2W]."""
        y_NCHW = self.conv(x_NCHW)
        if self.relu:
            y_NCHW = F.relu(y_NCHW, inplace=True)
        return y_NCHW[:, :, : -self.surplus, : -self.surplus] if self.surplus else y_NCHW


class Upsample(nn.Module):
    """Double height and width by bilinear interpolation, and change the channels by a convolution.

    A 1x1 convolution goes first: the two commute, because the weights of the interpolation sum to 1, and it costs a
    quarter there. A 3x3 convolution goes last.
    """

    def __init__(self, channels_in: int, channels: int, style: UpStyle) -> None:
        """Make the step from `channels_in` to `channels` channels."""
        super().__init__()
        padding = 0 if style.valid else style.kernel // 2
        self.conv = nn.Conv2d(channels_in, channels, style.kernel, padding=padding, bias=style.bias)
        self.relu, self.conv_first = style.relu, style.kernel == 1
        self.interpolate = legacy_bilinear if style.kind == "bilinear-legacy" else bilinear

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return [N, channels, 2H, 2W]; 2H - 2 and 2W - 2 after a valid 3x3 convolution."""
        y_NCHW = self.interpolate(self.conv(x_NCHW)) if self.conv_first else self.conv(self.interpolate(x_NCHW))
        return F.relu(y_NCHW, inplace=True) if self.relu else y_NCHW


UPS: dict[Up, Callable[[int, int, UpStyle], nn.Module]] = {
    "deconv": UpConv,
    "bilinear": Upsample,
    "bilinear-legacy": Upsample,
}


class UpBlock(nn.Module):
    """Upsample a map, join it to the skips of its level, and pass all through a block."""

    def __init__(
        self, channels_below: int, channels: int, style: UpBlockStyle, *, skips: int = 1, cut: int = 0
    ) -> None:
        """Make the step from a level with `channels_below` channels to the one above it.

        Args:
            channels_below: of the map to enlarge.
            channels: of the enlarged map, of every skip and of the result.
            style: of the step.
            skips: how many skips there are.
            cut: what to cut from each side of the skips, in their pixels.
        """
        super().__init__()
        self.up = UPS[style.up.kind](channels_below, channels, style.up)
        self.block = Block((skips + 1) * channels, channels, style.block)
        self.up_first, self.fill, self.cut = style.up_first, style.fill, cut

    def forward(self, below_NCHW: Tensor, *skips_NCHW: Tensor) -> Tensor:
        """Return [N, channels, H, W] from the map below and the skips in the order of their columns."""
        up_NCHW = self.up(below_NCHW)
        skips = [crop(skip_NCHW, self.cut) for skip_NCHW in skips_NCHW]
        if self.fill:
            up_NCHW = pad_end(up_NCHW, skips[0].shape[2], skips[0].shape[3], "constant")
        return self.block(torch.cat([up_NCHW, *skips] if self.up_first else [*skips, up_NCHW], 1))


def crop(x_NCHW: Tensor, cut: int) -> Tensor:
    """Return the map without `cut` pixels on each side, as a view."""
    return x_NCHW[:, :, cut:-cut, cut:-cut] if cut else x_NCHW


def pad_end(x_NCHW: Tensor, height: int, width: int, mode: Literal["constant", "replicate"]) -> Tensor:
    """Return the map with rows and columns added at its end, zeros or copies of the last one, up to a size.

    Where sizes are open, as in an export, the padding is recorded even if it may be nothing: a question about the size
    would bind the exported network to the answer.
    """
    below, right = height - x_NCHW.shape[2], width - x_NCHW.shape[3]
    if _is_known(below) and _is_known(right) and below == right == 0:
        return x_NCHW
    return F.pad(x_NCHW, (0, right, 0, below), mode=mode)


def cut_end(x_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Return the map without the rows and columns beyond a size, as a view; a negative padding where sizes are open."""
    below, right = height - x_NCHW.shape[2], width - x_NCHW.shape[3]
    if _is_known(below) and _is_known(right):
        return x_NCHW[:, :, :height, :width]
    return F.pad(x_NCHW, (0, right, 0, below))


def at_least(least: int, size: int) -> int:
    """Return the larger of two sizes; where a network is traced, and sizes are tensors, as a part of the trace."""
    return cast("int", size.clamp(min=least)) if isinstance(size, Tensor) else max(least, size)


def _is_known(size: int) -> bool:
    return type(size) is int  # an open size is a torch.SymInt


def fold_pixels(x_NCHW: Tensor, side: int) -> Tensor:
    """Return [N, C * side * side, H / side, W / side]: every block of pixels as one pixel's channels."""
    return F.pixel_unshuffle(x_NCHW, side) if side > 1 else x_NCHW


def unfold_pixels(x_NCHW: Tensor, side: int) -> Tensor:
    """Return [N, C / side / side, H * side, W * side]: the inverse of `fold_pixels`."""
    return F.pixel_shuffle(x_NCHW, side) if side > 1 else x_NCHW


def bilinear(x_NCHW: Tensor) -> Tensor:
    """Return the map with both sides doubled; pixels are areas: source = (target + 1/2) / 2 - 1/2."""
    return F.interpolate(x_NCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def legacy_bilinear(x_NCHW: Tensor) -> Tensor:
    """Return the map with both sides doubled as TensorFlow 1 and MindSpore do: source = target / 2, clamped.

    The same as interpolating from n + 1 points, the last one doubled, to 2n + 1 with corners aligned, without the last.
    """
    height, width = x_NCHW.shape[2:]
    wider_NCHW = F.pad(x_NCHW, (0, 1, 0, 1), mode="replicate")
    y_NCHW = F.interpolate(wider_NCHW, size=(2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return y_NCHW[:, :, :-1, :-1]
