"""U-Net (Ronneberger, Fischer and Brox 2015), with the options that its descendants differ in.

Every option is a setting of the one network, the older systems' among them. The lowest level is an encoder block as
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

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.models.blocks import Block, UpBlock, at_least, cut_end, fold_pixels, pad_end, unfold_pixels
from unetkit.models.geometry import unet_geometry
from unetkit.models.options import Options, initialise


class UNet(nn.Module):
    """The network. `geometry` says what prediction has to know about its sizes."""

    def __init__(self, options: Options) -> None:
        """Build the network and draw its weights."""
        super().__init__()
        self.downscale, self.dropout = options.downscale, options.dropout
        self.floors_odd_sizes = options.odd_sizes == "zeros"
        self.geometry = unet_geometry(options.layout, whole_image=options.whole_image)
        self.encoder = nn.ModuleList(
            Block(channels_in, channels, options.encoder_block) for channels_in, channels in pairwise(options.channels)
        )
        self.decoder = nn.ModuleList(
            UpBlock(below, channels, options.up_block, cut=options.layout.crop(level))
            for level, (channels, below) in enumerate(pairwise(options.levels))
        )
        self.head = nn.Conv2d(options.levels[0], options.num_classes * options.downscale**2, 1, bias=options.head_bias)
        initialise(self, options.init)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits [N, K, H, W], or [N, K, H - 2 margin, W - 2 margin] from valid convolutions.

        Raises:
            UsageError: valid convolutions use the whole input up.
        """
        height, width = (self.geometry.valid_output_size(size) for size in x_NCHW.shape[2:])
        least, side = self.geometry.multiple, self.downscale
        fitting = [
            at_least(least, size + -size % side) if self.floors_odd_sizes else self.geometry.padded_size(size)
            for size in x_NCHW.shape[2:]
        ]
        x_NCHW = fold_pixels(pad_end(x_NCHW, *fitting, mode="replicate"), side)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x_NCHW = block(F.max_pool2d(x_NCHW, 2) if level else x_NCHW)
            skips.append(x_NCHW)
        x_NCHW = F.dropout(skips.pop(), self.dropout, self.training)
        for up_block in reversed(self.decoder):
            x_NCHW = up_block(x_NCHW, skips.pop())
        return cut_end(unfold_pixels(self.head(x_NCHW), side), height, width)
