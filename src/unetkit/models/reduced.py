"""Networks that compute in a shorter number format, for prediction: float32 goes in, and float32 logits come out.

The weights are converted once; autocast would convert them in every call. What follows the logits, such as softmax,
blending, and the mean over an ensemble, stays in float32.

Legend of shapes: N images, C channels, K classes, H height, W width.
"""

import copy

import torch
from torch import Tensor, nn

from unetkit.models.ensemble import Ensemble
from unetkit.models.folding import fold_norms


class _Reduced(nn.Module):
    def __init__(self, network: nn.Module, numbers: torch.dtype) -> None:
        super().__init__()
        self.network = fold_norms(network).to(numbers)  # in this order: what is folded was not rounded before
        self.numbers = numbers

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network(x_NCHW.to(self.numbers)).float()


def reduce_numbers(network: nn.Module, numbers: torch.dtype) -> nn.Module:
    """Return a copy in evaluation mode with weights and maps, of an ensemble its members', in another number format."""
    if not isinstance(network, Ensemble):
        return _Reduced(network, numbers).eval()
    ensemble = copy.deepcopy(network)
    ensemble.members = nn.ModuleList(_Reduced(member, numbers) for member in network.members)
    return ensemble.eval()
