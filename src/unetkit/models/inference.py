"""Networks for prediction: several as one, batch norms fused into convolutions, and weights of a smaller dtype.

An ensemble gives the mean of its members' probabilities, as logits, so that it stands wherever a network stands. Every
member sees the pixels through its own normalisation, which is part of it here: the ensemble itself takes pixels as they
are stored. Assumes members of one build.

At prediction a batch norm is one scale and one shift per channel, which a convolution can carry: the copy without them
gives the same logits to rounding, predicts faster, and cannot be trained on. Weights are converted to a smaller dtype
once; autocast would convert them in every call. What follows the logits, such as softmax, blending, and the mean over
an ensemble, stays in float32. Does not know files.

Legend of shapes: M members, N batch, C channels, K classes, H height, W width.
"""

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unetkit.models.blocks import Block
from unetkit.models.geometry import Geometry


class Ensemble(nn.Module):
    """The mean of the members' probabilities: softmax(output) is the mean of softmax(member's output)."""

    def __init__(
        self, members: Sequence[nn.Module], geometry: Geometry, statistics: Sequence[tuple[Sequence[float], ...]]
    ) -> None:
        """Bind the members.

        Args:
            members: networks of one build, each float32 [N, C, H, W] -> logits [N, K, H', W'] or [N, 1, H', W'].
            geometry: theirs.
            statistics: for each member what it takes from each channel, in stored units, and what it divides it by.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.geometry = geometry
        mean_MC, std_MC = (torch.tensor(values, dtype=torch.float32) for values in zip(*statistics, strict=True))
        self.register_buffer("mean", mean_MC[:, :, None, None])
        self.register_buffer("std", std_MC[:, :, None, None])

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logarithm [N, K, H', W'] of the mean probabilities for pixels [N, C, H, W] as stored.

        One logit a pixel, of the second of two classes, counts as two.
        """
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        # In this order and in float32, as `Normalization.apply` computes it.
        shares = [log_probabilities(member((x_NCHW - mean[m]) / std[m])) for m, member in enumerate(self.members)]
        return torch.logsumexp(torch.stack(shares), 0) - math.log(len(shares))


def log_probabilities(logits_NKHW: Tensor) -> Tensor:
    """Return the logarithms of the probabilities, [N, K, H, W]; of one logit those of both classes."""
    if logits_NKHW.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits_NKHW), F.logsigmoid(logits_NKHW)], 1)
    return logits_NKHW.log_softmax(1)


Network = TypeVar("Network", bound=nn.Module)


def fuse_batch_norm(network: Network) -> Network:
    """Return a copy in evaluation mode whose batch norms are folded into the convolutions before them."""
    fused = copy.deepcopy(network).eval()
    for block in fused.modules():
        if isinstance(block, Block):
            block.conv1, block.norm1 = _fused(block.conv1, block.norm1)
            if block.conv2 is not None and block.norm2 is not None:
                block.conv2, block.norm2 = _fused(block.conv2, block.norm2)
    return fused


def _fused(conv: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    return (fuse_conv_bn_eval(conv, norm), nn.Identity()) if isinstance(norm, nn.BatchNorm2d) else (conv, norm)


class _Converted(nn.Module):
    """A network with weights and maps of a dtype: float32 goes in, and float32 logits come out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = fuse_batch_norm(network).to(dtype)  # in this order: what is fused was not rounded before
        self.dtype = dtype

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network(x_NCHW.to(self.dtype)).float()


def to_dtype(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy in evaluation mode with weights and maps, of an ensemble its members', of another dtype."""
    if not isinstance(network, Ensemble):
        return _Converted(network, dtype).eval()
    ensemble = copy.deepcopy(network)
    ensemble.members = nn.ModuleList(_Converted(member, dtype) for member in network.members)
    return ensemble.eval()
