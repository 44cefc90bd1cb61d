"""The options of the networks as one frozen value, and what follows from them for the parts.

`ModelConfig` describes every option to users; here stand the types and the defaults for those who build networks in
Python. Options that contradict each other are the configuration's to refuse.
"""

from dataclasses import dataclass
from typing import Literal

from unetkit.models.blocks import WHOLE_IMAGE_NORMS, BlockStyle, JoinStyle, Norm, UpStyle
from unetkit.models.geometry import Layout, Up
from unetkit.models.initialise import Rule


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
    stem: Literal[1, 2, 4] = 1
    init: Rule = "he"

    @property
    def levels(self) -> tuple[int, ...]:
        """Return the channels of every level: `widths` where given, or `width` doubled at each halving."""
        return self.widths or tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of what the first level sees, and then of every level."""
        return (self.in_channels * self.stem**2, *self.levels)

    @property
    def encoder_block(self) -> BlockStyle:
        """Return how the encoder's blocks are made."""
        return BlockStyle(self.norm, self.conv_bias, self.residual, self.padding == "valid")

    @property
    def join(self) -> JoinStyle:
        """Return how maps are enlarged and joined."""
        valid, norm = self.padding == "valid", self.decoder_norm or self.norm
        return JoinStyle(
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
            stem=self.stem,
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
