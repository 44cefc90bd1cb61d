"""How the weights move: the optimizer, the course of its learning rate, and the running average of the weights.

Muon: momentum whose matrix is made orthogonal before it moves the weights (Jordan et al. 2024), for convolutions.

A convolution's kernel counts as the matrix [outputs, inputs * height * width]. The nearest orthogonal matrix is found
by a few steps of Newton and Schulz's iteration with a quintic polynomial, as published, in bfloat16. It is for kernels
inside the network; biases, norms and the last layer belong to AdamW. PyTorch's own takes matrices alone.
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


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Make the optimizers: one, or two for muon.

    Weight decay spares norms, and biases too unless `optimizer.decay_params` says otherwise. A weight with factor 0 is
    frozen.

    Raises:
        ConfigError: a pattern of `optimizer.lr_factors` matches no weight, or all weights are frozen.
    """
    factors = _factors(config.lr_factors, [name for name, _ in model.named_parameters()])
    spared = _spared(config, model)
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        weight.requires_grad_(factors[name] > 0)
        if weight.requires_grad:
            inner = config.name == "muon" and weight.ndim > 1 and not name.startswith("head")
            decay = 0.0 if id(weight) in spared else config.weight_decay
            groups.setdefault((inner, factors[name], decay), []).append(weight)
    if not groups:
        raise ConfigError("optimizer.lr_factors: freezes every weight; leave some to train")
    return [
        build(
            config,
            [
                {"params": weights, "rate": factor * rate, "weight_decay": decay}
                for (inner, factor, decay), weights in groups.items()
                if inner == wanted
            ],
        )
        for wanted, rate, build in _parts(config)
        if any(inner == wanted for inner, _, _ in groups)
    ]


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that have weights of their own, all of them frozen."""
    owned = [(module, list(module.parameters(recurse=False))) for module in model.modules()]
    return [module for module, weights in owned if weights and not any(weight.requires_grad for weight in weights)]


def set_learning_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Give every group its share of its highest rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share


def _spared(config: OptimizerConfig, model: nn.Module) -> set[int]:
    """Return the ids of the weights that do not decay: of norms, and of biases where only kernels decay."""
    of_norms = [module for module in model.modules() if getattr(getattr(module, "weight", None), "ndim", 0) == 1]
    spared = [weight for norm in of_norms for weight in norm.parameters(recurse=False)]
    if config.decay_params == "kernels":
        spared += [weight for weight in model.parameters() if weight.ndim == 1]
    return {id(weight) for weight in spared}


def _factors(patterns: dict[str, float], names: list[str]) -> dict[str, float]:
    for pattern in patterns:
        require_match(pattern, names, "optimizer.lr_factors")
    return {
        name: next((factor for pattern, factor in patterns.items() if fnmatchcase(name, pattern)), 1.0)
        for name in names
    }


def require_match(pattern: str, names: list[str], key: str) -> None:
    """Make sure that a pattern matches a name.

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
    course = (step - warmup) / max(1.0, steps - warmup)
    return config.final_lr_factor + (1 - config.final_lr_factor) * _SCHEDULES[config.schedule](course)


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


Groups = list[dict[str, Any]]
Build = Callable[[OptimizerConfig, Groups], torch.optim.Optimizer]


def _adamw(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    fused = config.eps_form == "torch"
    return _in_form(config, torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused))


def _adam(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    fused = config.eps_form == "torch"
    return _in_form(config, torch.optim.Adam(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused))


def _in_form(config: OptimizerConfig, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Add epsilon where TensorFlow does: to the root of the second moment before its start is corrected.

    PyTorch adds it after the correction by sqrt(1 - beta2^t), so that it has to be larger by as much at step t. The
    fused form counts steps on the device, where reading them would make each step wait; the other counts on the CPU.
    """

    def enlarge(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            states = [optimizer.state[weight] for weight in group["params"] if weight in optimizer.state]
            step = 1 + max((int(state["step"]) for state in states), default=0)
            group["eps"] = config.eps / math.sqrt(1 - config.betas[1] ** step)

    if config.eps_form == "tensorflow":
        optimizer.register_step_pre_hook(enlarge)
    return optimizer


def _sgd(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def _muon(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    return Muon(groups, lr=config.lr, momentum=config.momentum)


_OPTIMIZERS: dict[str, Build] = {"adamw": _adamw, "adam": _adam, "sgd": _sgd}


def _parts(config: OptimizerConfig) -> list[tuple[bool, float, Build]]:
    """Return for inner kernels, where they are apart, and for all else: the highest rate and the optimizer."""
    if config.name == "muon":
        return [(True, config.lr, _muon), (False, config.adamw_lr, _adamw)]
    return [(False, config.lr, _OPTIMIZERS[config.name])]


_SCHEDULES: dict[str, Callable[[float], float]] = {
    "one-cycle": lambda course: (1 + math.cos(math.pi * course)) / 2,
    "linear": lambda course: 1 - course,
    "constant": lambda course: 1.0,
}
