"""Muon: momentum whose matrix is made orthogonal before it moves the weights (Jordan et al. 2024), for convolutions.

A convolution's kernel counts as the matrix [outputs, inputs * height * width]. The nearest orthogonal matrix is found
by a few steps of Newton and Schulz's iteration with a quintic polynomial, as published, in bfloat16. It is for kernels
inside the network; biases, norms and the last layer belong to AdamW. PyTorch's own takes matrices alone.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 4


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal."""

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        """Take groups of kernels with their weight decay, the rate, and the share of the past in the momentum."""
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] no closure is ever given
        """Move every kernel that has a gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                ahead = torch.lerp(kernel.grad, state["momentum"], group["momentum"])
                kernel.mul_(1 - group["lr"] * group["weight_decay"])
                kernel.add_(_orthogonal(ahead), alpha=-group["lr"])


def _orthogonal(kernel: Tensor) -> Tensor:
    """Return the nearly orthogonal matrix nearest to a kernel; tall ones are scaled to move as far as wide ones."""
    matrix = F.normalize(kernel.flatten().bfloat16(), dim=0, eps=1e-7).view(len(kernel), -1)
    rows, columns = matrix.shape
    matrix = matrix.T if rows > columns else matrix
    linear, cubic, quintic = _QUINTIC
    for _ in range(_ITERATIONS):
        square = torch.mm(matrix, matrix.T)
        polynomial = torch.addmm(square, square, square, beta=cubic, alpha=quintic)
        matrix = torch.addmm(matrix, polynomial, matrix, beta=linear)
    matrix = matrix.T if rows > columns else matrix
    return matrix.reshape(kernel.shape).to(kernel.dtype) * max(1.0, rows / columns) ** 0.5
