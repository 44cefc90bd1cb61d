"""How the weights move: the optimizers, the schedule of the learning rate, and the running average of the weights.

Muon is momentum whose matrix is made orthogonal before it moves the weights (Jordan et al. 2024), for convolutions. A
kernel counts as the matrix [outputs, inputs * height * width]; the nearest orthogonal matrix is found by a few steps of
Newton and Schulz's iteration with a quintic polynomial, as published, in bfloat16, or in float32 where the device only
imitates bfloat16: that took half of a step. It is for kernels inside the network; biases, norms and the last layer
belong to AdamW. PyTorch's own Muon takes matrices alone.
"""

import math
from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from unetkit.config import OptimizerConfig
from unetkit.devices import multiplies_bfloat16
from unetkit.errors import ConfigError

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
                direction = torch.lerp(kernel.grad, state["momentum"], group["momentum"])
                kernel.mul_(1 - group["lr"] * group["weight_decay"])
                kernel.add_(_orthogonal(direction), alpha=-group["lr"])


def _orthogonal(kernel: Tensor) -> Tensor:
    """Return the nearly orthogonal matrix nearest to a kernel; tall ones are scaled to move as far as wide ones."""
    dtype = torch.bfloat16 if multiplies_bfloat16(kernel.device) else torch.float32
    matrix = F.normalize(kernel.flatten().to(dtype), dim=0, eps=1e-7).view(len(kernel), -1)
    rows, columns = matrix.shape
    matrix = matrix.T if rows > columns else matrix
    linear, cubic, quintic = _QUINTIC
    for _ in range(_ITERATIONS):
        square = torch.mm(matrix, matrix.T)
        polynomial = torch.addmm(square, square, square, beta=cubic, alpha=quintic)
        matrix = torch.addmm(matrix, polynomial, matrix, beta=linear)
    matrix = matrix.T if rows > columns else matrix
    return matrix.reshape(kernel.shape).to(kernel.dtype) * max(1.0, rows / columns) ** 0.5


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Make the optimizers: one, or two for muon.

    Weight decay spares norms, and biases too unless `optimizer.decay` says otherwise. A weight with factor 0 is frozen.

    Raises:
        ConfigError: a pattern of `optimizer.lr_factors` matches no weight, or all weights are frozen.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in config.lr_factors:
        require_match(pattern, names, "optimizer.lr_factors")
    norms = [module for module in model.modules() if getattr(getattr(module, "weight", None), "ndim", 0) == 1]
    undecayed = {id(weight) for norm in norms for weight in norm.parameters(recurse=False)}
    if config.decay_params == "kernels":
        undecayed |= {id(weight) for weight in model.parameters() if weight.ndim == 1}
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        factor = next((factor for pattern, factor in config.lr_factors.items() if fnmatchcase(name, pattern)), 1.0)
        weight.requires_grad_(factor > 0)
        if weight.requires_grad:
            inner = config.name == "muon" and weight.ndim > 1 and not name.startswith("head")
            decay = 0.0 if id(weight) in undecayed else config.weight_decay
            groups.setdefault((inner, factor, decay), []).append(weight)
    if not groups:
        raise ConfigError("optimizer.lr_factors: freezes every weight; leave some to train")
    parts = [(False, config.name, config.lr)]
    if config.name == "muon":
        parts = [(True, "muon", config.lr), (False, "adamw", config.adamw_lr)]
    optimizers: list[torch.optim.Optimizer] = []
    for part, name, rate in parts:
        chosen = [
            {"params": weights, "rate": factor * rate, "weight_decay": decay}
            for (inner, factor, decay), weights in groups.items()
            if inner == part
        ]
        if chosen:
            optimizers.append(_build(name, config, chosen))
    return optimizers


def _build(name: str, config: OptimizerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if name == "muon":
        return Muon(groups, lr=config.lr, momentum=config.momentum)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    fused = config.eps_form == "torch"
    form = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    optimizer = form(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)

    def enlarge(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Add epsilon where TensorFlow does: to the root of the second moment before its start is corrected.

        PyTorch adds it after the correction by sqrt(1 - beta2^t), so that it has to be larger by as much at step t.
        The fused form counts steps on the device, where reading them would make each step wait; the other counts on
        the CPU.
        """
        for group in optimizer.param_groups:
            states = [optimizer.state[weight] for weight in group["params"] if weight in optimizer.state]
            step = 1 + max((int(state["step"]) for state in states), default=0)
            group["eps"] = config.eps / math.sqrt(1 - config.betas[1] ** step)

    if not fused:
        optimizer.register_step_pre_hook(enlarge)
    return optimizer


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that have weights of their own, all of them frozen."""
    owned = [(module, list(module.parameters(recurse=False))) for module in model.modules()]
    return [module for module, weights in owned if weights and not any(weight.requires_grad for weight in weights)]


def set_learning_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Give every group its share of its highest rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share


def require_match(pattern: str, names: list[str], key: str) -> None:
    """Require that a pattern matches a name.

    Raises:
        ConfigError: it matches none; near names are listed.
    """
    if not any(fnmatchcase(name, pattern) for name in names):
        near = get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
        raise ConfigError(f"{key}: {pattern!r} matches no weight; names are such as {', '.join(near)}")


def rate_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return a step's share of the highest learning rate, step from 0: a linear rise, then the schedule's fall."""
    warmup = config.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, steps - warmup)
    return config.final_lr_factor + (1 - config.final_lr_factor) * SCHEDULES[config.schedule](progress)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one-cycle": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "linear": lambda progress: 1 - progress,
    "constant": lambda progress: 1.0,
}
"""The share of the highest rate that is left, by the share of the steps after the warmup that is done."""


class WeightAverage:
    """An exponential running average of a model's weights and buffers, held in a second model that predicts.

    The decay rises as (1 + t) / (10 + t) up to its limit, so that the first averages do not lag behind.
    """

    def __init__(self, model: nn.Module, average: nn.Module, decay: float) -> None:
        """Pair the model with the one that holds the average; the two start equal."""
        average.load_state_dict(model.state_dict())
        self.decay = decay
        pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
        self._means = [mean for mean, _ in pairs if mean.is_floating_point()]
        self._values = [value for _, value in pairs if value.is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the model after the update of a step, from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(self._means, self._values, 0)
        for mean, value in self._counters:
            mean.copy_(value)
