"""U-Net (Ronneberger, Fischer and Brox 2015), with the options that its descendants differ in.

Every option is a setting of the one network, the founding systems' among them. The lowest level is an encoder block as
the others. Names in a state dict, levels counted from 0 at full size:

    encoder.<level>.conv1|norm1|conv2|norm2|shortcut      level 0 to depth
    decoder.<level>.up.conv                               from level + 1 to level, level 0 to depth - 1
    decoder.<level>.block.conv1|norm1|conv2|norm2|shortcut
    head                                                  1x1 convolution

Any size goes in. Padded networks repeat the last row and column up to a multiple and cut the result back, or, with
`odd_sizes="zeros"`, halve odd sides downwards and fill the enlarged map with zeros. Valid networks give back
2 * geometry.margin pixels less on each axis.

Legend of shapes: N batch, C channels, K classes, H height, W width.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.models.blocks import (
    WHOLE_IMAGE_NORMS,
    Block,
    BlockStyle,
    Join,
    JoinStyle,
    Norm,
    UpStyle,
    fold_pixels,
    level_widths,
    pad_end,
    unfold_pixels,
)
from unetkit.models.geometry import Layout, Up, unet_geometry
from unetkit.models.initialise import Rule, initialise


class UNet(nn.Module):
    """The network. `geometry` says what prediction has to know about its sizes."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 32,
        depth: int = 4,
        widths: tuple[int, ...] | None = None,
        padding: Literal["same", "valid"] = "same",
        odd_sizes: Literal["replicate", "zeros"] = "replicate",
        norm: Norm = "batch",
        decoder_norm: Norm | None = None,
        conv_bias: bool | None = None,
        decoder_convs: int = 2,
        residual: bool = False,
        up: Up = "deconv",
        up_kernel: int | None = None,
        up_bias: bool = True,
        up_relu: bool = False,
        concat: Literal["skip-up", "up-skip"] = "skip-up",
        head_bias: bool = True,
        dropout: float = 0.0,
        stem: int = 1,
        init: Rule = "he",
    ) -> None:
        """Build the network; every option is described where `ModelConfig` declares it."""
        super().__init__()
        widths = level_widths(width, depth, widths)
        self.depth, self.stem, self.dropout, valid = len(widths) - 1, stem, dropout, padding == "valid"
        block = BlockStyle(norm, conv_bias, residual, valid)
        join = JoinStyle(
            up=UpStyle(up, up_kernel, up_bias, up_relu, valid),
            block=replace(block, norm=decoder_norm or norm, convs=decoder_convs),
            up_first=concat == "up-skip",
            fill=odd_sizes == "zeros",
        )
        layout = Layout(depth=self.depth, stem=stem, valid=valid, up=up, up_kernel=join.up.side, decoder_convs=decoder_convs)
        self.geometry = unet_geometry(layout, whole_image=not WHOLE_IMAGE_NORMS.isdisjoint((norm, join.block.norm)))
        self.floors_odd_sizes = odd_sizes == "zeros"
        self.encoder = nn.ModuleList(
            Block(channels_in, channels, block) for channels_in, channels in pairwise((in_channels * stem**2, *widths))
        )
        self.decoder = nn.ModuleList(
            Join(below, channels, join, cut=layout.crop(level))
            for level, (channels, below) in enumerate(pairwise(widths))
        )
        self.head = nn.Conv2d(widths[0], num_classes * stem**2, 1, bias=head_bias)
        initialise(self, init)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits [N, K, H, W], or [N, K, H - 2 margin, W - 2 margin] from valid convolutions.

        Raises:
            UsageError: valid convolutions use the whole input up.
        """
        height, width = (self.geometry.valid_output_size(size) for size in x_NCHW.shape[2:])
        x_NCHW = pad_end(x_NCHW, *(self._fitting(size) for size in x_NCHW.shape[2:]), mode="replicate")
        x_NCHW = fold_pixels(x_NCHW, self.stem)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x_NCHW = block(F.max_pool2d(x_NCHW, 2) if level else x_NCHW)
            skips.append(x_NCHW)
        x_NCHW = F.dropout(skips.pop(), self.dropout, self.training)
        for join in reversed(self.decoder):
            x_NCHW = join(x_NCHW, skips.pop())
        return unfold_pixels(self.head(x_NCHW), self.stem)[:, :, :height, :width]

    def _fitting(self, size: int) -> int:
        if self.floors_odd_sizes:
            return max(self.geometry.multiple, size + -size % self.stem)
        return self.geometry.padded_size(size)
