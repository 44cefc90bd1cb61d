"""A copy of a network for prediction, with batch norms folded into the convolutions before them.

At prediction a batch norm is one scale and one shift per channel; a convolution can carry both. The copy gives the same
logits to rounding, predicts faster, and cannot be trained on.
"""

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unetkit.models.blocks import Block

Network = TypeVar("Network", bound=nn.Module)


def fold_norms(network: Network) -> Network:
    """Return a copy in evaluation mode whose batch norms are folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if isinstance(block, Block):
            block.conv1, block.norm1 = _folded(block.conv1, block.norm1)
            if block.conv2 is not None and block.norm2 is not None:
                block.conv2, block.norm2 = _folded(block.conv2, block.norm2)
    return folded


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    return (fuse_conv_bn_eval(conv, norm), nn.Identity()) if isinstance(norm, nn.BatchNorm2d) else (conv, norm)
