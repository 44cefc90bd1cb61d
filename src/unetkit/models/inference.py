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


def without_border(p_NKHW: Tensor) -> Tensor:
    """Return the probabilities of all classes but the last, the border of objects.

    What the border has goes to the most probable class but the background.
    """
    data_NKHW = p_NKHW[:, :-1].clone()
    objects_NKHW = data_NKHW[:, 1:]
    if objects_NKHW.shape[1] == 1:
        objects_NKHW += p_NKHW[:, -1:]
        return data_NKHW
    objects_NKHW.scatter_add_(1, objects_NKHW.max(1, keepdim=True).indices, p_NKHW[:, -1:])
    return data_NKHW


def foreground_share(p_NKHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most probable class but the background, and its probability against the background alone, [N, H, W].

    Of two classes that is the probability of the second. A threshold of 0.5 on it decides as the most probable of all
    classes does.
    """
    if p_NKHW.shape[1] == 2:
        return torch.ones_like(p_NKHW[:, 1], dtype=torch.int64), p_NKHW[:, 1]
    highest_NHW, index_NHW = p_NKHW[:, 1:].max(1)
    return index_NHW + 1, highest_NHW / (highest_NHW + p_NKHW[:, 0])


def decide(p_NKHW: Tensor, thresholds: Sequence[float] | None) -> Tensor:
    """Return the index of the class that each pixel is given, [N, H, W] int64.

    Args:
        p_NKHW: probabilities of the classes.
        thresholds: of every class but the background: a pixel is of its most probable class of these where
            `foreground_share` is above that class's threshold, else background. None: the most probable class, the
            first of equals.
    """
    if p_NKHW.shape[1] == 2:  # the same by a comparison, in a fraction of the time
        limit = p_NKHW[:, 0] if thresholds is None else thresholds[0]
        return (p_NKHW[:, 1] > limit).long()
    if thresholds is None:
        return p_NKHW.max(1).indices  # argmax takes ten times as long on a CPU
    index_NHW, share_NHW = foreground_share(p_NKHW)
    limits = torch.tensor([0.0, *thresholds], dtype=p_NKHW.dtype, device=p_NKHW.device)
    return torch.where(share_NHW > limits[index_NHW], index_NHW, 0)


def decision_scores(log_p_NKHW: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return scores of the classes [N, K, H, W] whose highest is what `decide` gives.

    They are logarithms of probabilities, the background's raised by the logit of the threshold of the class that it
    stands against.
    """
    logits = torch.tensor([0.0, *(math.log(t / (1 - t)) for t in thresholds)], device=log_p_NKHW.device)
    against_NHW = logits[log_p_NKHW[:, 1:].max(1).indices + 1]
    return torch.cat([log_p_NKHW[:, :1] + against_NHW[:, None], log_p_NKHW[:, 1:]], 1)


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
