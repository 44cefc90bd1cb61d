"""The losses. Each takes logits [N, K, H, W] and class indices [N, H, W] and gives a scalar.

Weights of pixels are not divided by their sum: a mean over pixels is the same in one process and in many. Pixels that
do not count add nothing to any sum, whatever their labels are.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.config import LossConfig
from unetkit.errors import ConfigError, UsageError


def soft_dice_loss(logits_NKHW: Tensor, labels_NHW: Tensor, valid_NHW: Tensor | None = None) -> Tensor:
    """Return 1 - soft Dice with squared denominator over all classes together, each image by itself, then the mean.

    1 - 2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6) with p = softmax(logits) and one-hot y, sums over classes and pixels:
    the quantity that the metric `soft_dice_two_class` reports (Milletari et al. 2016 for the squared form).
    """
    p_NKHW = _counting(logits_NKHW.float().softmax(1), valid_NHW)
    overlap_N = p_NKHW.gather(1, labels_NHW.unsqueeze(1)).sum((1, 2, 3))
    squares_N = p_NKHW.square().sum((1, 2, 3))
    truth = labels_NHW[0].numel() if valid_NHW is None else valid_NHW.sum((1, 2))
    return (1 - 2 * overlap_N / (squares_N + truth + 1e-6)).mean()


def class_dice_loss(logits_NKHW: Tensor, labels_NHW: Tensor, valid_NHW: Tensor | None = None) -> Tensor:
    """Return the mean over images and classes of 1 - the class's own soft Dice.

    1 - (2 sum(p y) + 1e-6) / (sum(p^2) + sum(y^2) + 1e-6) with p = softmax(logits) and one-hot y, sums over pixels, as
    in TensorFlow's UNet_Medical: one minus the metric `soft_dice_class_mean`.
    """
    p_NKHW = _counting(logits_NKHW.float().softmax(1), valid_NHW)
    y_NKHW = _counting(torch.zeros_like(p_NKHW).scatter_(1, labels_NHW.unsqueeze(1), 1.0), valid_NHW)
    overlap_NK, truth_NK = (p_NKHW * y_NKHW).sum((2, 3)), y_NKHW.sum((2, 3))
    return (1 - (2 * overlap_NK + 1e-6) / (p_NKHW.square().sum((2, 3)) + truth_NK + 1e-6)).mean()


def _counting(values_NKHW: Tensor, valid_NHW: Tensor | None) -> Tensor:
    """Return values that are 0 where a pixel does not count."""
    return values_NKHW if valid_NHW is None else values_NKHW * valid_NHW.unsqueeze(1)


def as_two_classes(logits: Tensor) -> Tensor:
    """Return [..., 2, H, W] whose softmax is the sigmoid of one logit [..., 1, H, W]; more logits as they are.

    The cross entropy of the two is the binary cross entropy of the one.
    """
    return torch.cat([torch.zeros_like(logits), logits], -3) if logits.shape[-3] == 1 else logits


def weighted_cross_entropy(
    logits_NKHW: Tensor, labels_NHW: Tensor, weights_NHW: Tensor | None, *, focal: float = 0.0
) -> Tensor:
    """Return the mean over all pixels of weight times -(1 - p)^focal log p, p = softmax(logits) of the pixel's class.

    `focal` above 0 is the focal loss (Lin et al. 2017, ICCV).
    """
    if weights_NHW is None and not focal:
        return F.cross_entropy(logits_NKHW.float(), labels_NHW)
    each_NHW = F.cross_entropy(logits_NKHW.float(), labels_NHW, reduction="none")
    if focal:
        each_NHW = each_NHW * (1 - torch.exp(-each_NHW)).clamp_min(1e-6) ** focal
    return (each_NHW if weights_NHW is None else each_NHW * weights_NHW).mean()


class LossFunction(Protocol):
    """A loss of a user's own, a plain function."""

    @property
    def __name__(self) -> str:
        """The name of its term in the log."""
        ...

    def __call__(self, logits_NKHW: Tensor, labels_NHW: Tensor, weights_NHW: Tensor | None, /) -> Tensor:
        """Return the scalar to minimise.

        Args:
            logits_NKHW: [N, K, H, W] float32, before softmax; one logit arrives as those of two classes.
            labels_NHW: [N, H, W] int64, class indices.
            weights_NHW: [N, H, W] float32, how much each pixel counts, 0 for one that does not; None: all alike.
        """
        ...


def checked_loss(function: LossFunction, logits_NKHW: Tensor, labels_NHW: Tensor, weights_NHW: Tensor | None) -> Tensor:
    """Return the loss that a user's function gives.

    Raises:
        UsageError: it is not a scalar tensor that depends on the logits.
    """
    loss: Any = function(logits_NKHW.float(), labels_NHW, weights_NHW)
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        found = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        found = "a scalar without gradient" if isinstance(loss, Tensor) and loss.ndim == 0 else found
        raise UsageError(f"loss: {function.__name__} returned {found}; expected a scalar tensor computed of the logits")
    return loss


class WeightedLoss:
    """The configured sum of losses, or a loss of the user's own."""

    def __init__(self, config: LossConfig, own: LossFunction | None = None) -> None:
        """Take the weights of the terms, and what takes their place."""
        self.config, self.own = config, own

    def __call__(
        self,
        logits: Tensor,
        labels_NHW: Tensor,
        weights_NHW: Tensor | None = None,
        valid_NHW: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise and its terms by name, of logits [N, K, H, W] or of the heads' [J, N, K, H, W].

        The cross entropy of every pixel is multiplied by its weight, where weights are given; pixels that are not valid
        add to no term. One logit stands for the second of two classes.

        Raises:
            ConfigError: other than one weight a head.
        """
        logits = as_two_classes(logits)
        if valid_NHW is not None:
            weights_NHW = valid_NHW.float() if weights_NHW is None else weights_NHW * valid_NHW
        if logits.ndim == 4:
            return self._of_head(logits, labels_NHW, weights_NHW, valid_NHW)
        weights = self.config.head_weights or (1.0,) * len(logits)
        if len(weights) != len(logits):
            raise ConfigError(f"loss.head_weights: found {len(weights)} weights; the network has {len(logits)} heads")
        heads = [self._of_head(logits_NKHW, labels_NHW, weights_NHW, valid_NHW) for logits_NKHW in logits]
        total = torch.stack([weight * loss for weight, (loss, _) in zip(weights, heads, strict=True)]).sum()
        return total, heads[-1][1]

    def _of_head(
        self, logits_NKHW: Tensor, labels_NHW: Tensor, weights_NHW: Tensor | None, valid_NHW: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.own is not None:
            loss = checked_loss(self.own, logits_NKHW, labels_NHW, weights_NHW)
            return loss, {self.own.__name__: loss.detach()}
        terms: dict[str, Tensor] = {}
        if self.config.cross_entropy > 0:
            terms["cross_entropy"] = weighted_cross_entropy(
                logits_NKHW, labels_NHW, weights_NHW, focal=self.config.focal
            )
        if self.config.dice > 0:
            terms["dice_loss"] = _DICE[self.config.dice_form](logits_NKHW, labels_NHW, valid_NHW)
        weights = {"cross_entropy": self.config.cross_entropy, "dice_loss": self.config.dice}
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}


_DICE = {"joint": soft_dice_loss, "per-class": class_dice_loss}
