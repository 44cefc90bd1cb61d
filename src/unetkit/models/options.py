"""The options of the networks as one frozen value, what follows from them for the parts, and how weights start.

`ModelConfig` describes every option to users; here stand the types and the defaults for those who build networks in
Python. Options that contradict each other are the configuration's to refuse. Weights are drawn from PyTorch's global
generator, as modules do; norms start as the identity and biases at zero in all rules but PyTorch's own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from unetkit.models.blocks import WHOLE_IMAGE_NORMS, BlockStyle, Norm, UpBlockStyle, UpStyle
from unetkit.models.geometry import Layout, Up

Rule = Literal["he", "torch", "mindspore-medical", "mindspore-normal", "glorot"]
Layer = nn.Conv2d | nn.ConvTranspose2d


def initialise(network: nn.Module, rule: Rule) -> None:
    """Draw all convolution weights of a network afresh.

    Args:
        network: changed in place.
        rule: "he": normal with variance 2 / fan-in (He et al. 2015; the U-Net paper's rule), the fan-in of a transposed
            convolution being the inputs that meet in one output; "torch": left as PyTorch made them;
            "mindspore-medical": normal with deviation 0.06, cut at two deviations, and 0.01 uncut for transposed
            convolutions; "mindspore-normal": normal with deviation 0.01; "glorot": uniform (Glorot and Bengio 2010).
    """
    if rule == "torch":
        return
    for layer in network.modules():
        if isinstance(layer, Layer):
            RULES[rule](layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def he_normal(layer: Layer) -> None:
    """Draw weights with variance 2 / fan-in; the fan-in of a transposed convolution is what meets in one output."""
    meeting = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
    if isinstance(layer, nn.ConvTranspose2d):
        meeting /= layer.stride[0] * layer.stride[1]
    nn.init.normal_(layer.weight, std=math.sqrt(2 / meeting))


def mindspore_medical(layer: Layer) -> None:
    """Draw weights as MindSpore's medical U-Net does."""
    if isinstance(layer, nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=0.01)
    else:
        nn.init.trunc_normal_(layer.weight, std=0.06, a=-0.12, b=0.12)


RULES: dict[Rule, Callable[[Layer], Tensor | None]] = {
    "he": he_normal,
    "mindspore-medical": mindspore_medical,
    "mindspore-normal": lambda layer: nn.init.normal_(layer.weight, std=0.01),
    "glorot": lambda layer: nn.init.xavier_uniform_(layer.weight),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a network is built; every field is described where `ModelConfig` declares it."""

    in_channels: int
    num_classes: int
    width: int = 32
    depth: int = 4
    widths: tuple[int, ...] | None = None
    padding: Literal["same", "valid"] = "same"
    odd_sizes: Literal["replicate", "zeros"] = "replicate"
    norm: Norm = "batch"
    decoder_norm: Norm | None = None
    decoder_convs: Literal[1, 2] = 2
    conv_bias: bool | None = None
    residual: bool = False
    up: Up = "deconv"
    up_kernel: Literal[1, 2, 3] | None = None
    up_bias: bool = True
    up_relu: bool = False
    concat: Literal["skip-up", "up-skip"] = "skip-up"
    head_bias: bool = True
    dropout: float = 0.0
    downscale: Literal[1, 2, 4] = 1
    init: Rule = "he"

    @property
    def levels(self) -> tuple[int, ...]:
        """Return the channels of every level: `widths` where given, or `width` doubled at each halving."""
        return self.widths or tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of what the first level sees, and then of every level."""
        return (self.in_channels * self.downscale**2, *self.levels)

    @property
    def encoder_block(self) -> BlockStyle:
        """Return how the encoder's blocks are made."""
        return BlockStyle(self.norm, self.conv_bias, self.residual, self.padding == "valid")

    @property
    def up_block(self) -> UpBlockStyle:
        """Return how maps are enlarged and joined."""
        valid, norm = self.padding == "valid", self.decoder_norm or self.norm
        return UpBlockStyle(
            up=UpStyle(self.up, self._up_kernel, self.up_bias, self.up_relu, valid),
            block=BlockStyle(norm, self.conv_bias, self.residual, valid, self.decoder_convs),
            up_first=self.concat == "up-skip",
            fill=self.odd_sizes == "zeros",
        )

    @property
    def layout(self) -> Layout:
        """Return what decides which pixels are seen."""
        return Layout(
            depth=len(self.levels) - 1,
            downscale=self.downscale,
            valid=self.padding == "valid",
            up=self.up,
            up_kernel=self._up_kernel,
            decoder_convs=self.decoder_convs,
        )

    @property
    def whole_image(self) -> bool:
        """Return whether a norm averages over the image, at prediction too."""
        return not WHOLE_IMAGE_NORMS.isdisjoint((self.norm, self.decoder_norm or self.norm))

    @property
    def _up_kernel(self) -> int:
        return self.up_kernel or (2 if self.up == "deconv" else 1)
