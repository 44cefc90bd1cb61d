"""Several networks as one: the mean of their probabilities, as logits, so that it stands wherever a network stands.

Every member sees the pixels through its own normalisation, which is part of it here: the ensemble itself takes pixels
as they are stored. Assumes members of one build. Does not know files.

Legend of shapes: M members, N batch, C channels, K classes, H height, W width.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
