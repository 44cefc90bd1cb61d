"""The course of the learning rate, which weights decay, and the running average."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from unetkit.config import OptimizerConfig, load_config
from unetkit.errors import ConfigError
from unetkit.models.blocks import GroupNorm
from unetkit.training import optim
from unetkit.training.optim import Muon, WeightAverage, build_optimizers, frozen_modules, rate_share, set_learning_rates


@pytest.mark.parametrize("schedule", ["one-cycle", "linear"])
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(schedule: str) -> None:
    config = OptimizerConfig(warmup=0.25, final_lr_factor=0.01, schedule=schedule)
    rates = [rate_share(config, step, 100) for step in range(100)]
    assert rates[:25] == sorted(rates[:25])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert max(rates) == 1.0
    assert 0 < rates[0] < 0.1
    assert 0.01 <= rates[-1] < 0.03


def test_a_constant_rate_is_constant() -> None:
    config = OptimizerConfig(warmup=0.0, schedule="constant")
    assert {rate_share(config, step, 10) for step in range(10)} == {1.0}


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_very_short_trainings_have_a_rate(steps: int, warmup: float) -> None:
    config = OptimizerConfig(warmup=warmup)
    assert all(0 < rate_share(config, step, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_norms_and_biases_do_not_decay(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    config = OptimizerConfig(name=name, weight_decay=0.3)
    (optimizer,) = build_optimizers(config, model)
    groups = optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert groups[0]["params"] == [model[0].weight]
    assert len(groups[1]["params"]) == 3


def test_all_but_norms_lets_biases_of_convolutions_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), GroupNorm(2, 1))
    (optimizer,) = build_optimizers(OptimizerConfig(name="adam", weight_decay=0.3, decay="all-but-norms"), model)
    decays = {id(weight): group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
    assert [decays[id(weight)] for weight in model.parameters()] == [0.3, 0.3, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_tensorflows_adam_adds_epsilon_before_the_correction(name: str) -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64))
    config = OptimizerConfig(name=name, lr=0.1, eps=1e-3, weight_decay=0.01, eps_form="tensorflow")
    (optimizer,) = build_optimizers(config, nn.ParameterList([weight]))
    w, m, v = weight.detach().numpy().copy(), np.zeros((1, 3)), np.zeros((1, 3))
    for step in range(1, 6):
        gradient = np.array([[0.1, -1e-5, 3.0]]) * step
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        if name == "adam":
            gradient = gradient + 0.01 * w
        else:
            w *= 1 - 0.1 * 0.01
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w -= 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-3)
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-9)


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_the_form_of_epsilon_is_adams(name: str) -> None:
    with pytest.raises(ConfigError, match=f"eps_form tensorflow is a form of adam and adamw; the optimizer is {name}"):
        load_config({"optimizer": {"name": name, "eps_form": "tensorflow"}})


def test_frozen_modules_are_those_without_a_weight_to_train() -> None:
    model = _Net()
    build_optimizers(OptimizerConfig(lr_factors={"encoder.*": 0.0, "norm.weight": 0.0}), model)
    assert frozen_modules(model) == [model.encoder]
    build_optimizers(OptimizerConfig(lr_factors={"norm.*": 0.0}), model)
    assert frozen_modules(model) == [model.norm]


def test_the_average_follows_its_formula() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    mirror = copy.deepcopy(model)
    average = WeightAverage(model, mirror, decay=0.5)
    expected = model[0].weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
            model[1].num_batches_tracked.fill_(step)
        average.update(step)
        expected = expected + (1 - min(0.5, (1 + step) / (10 + step))) * (step - expected)
    torch.testing.assert_close(mirror[0].weight.detach(), expected)
    assert int(mirror[1].num_batches_tracked) == 29


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(2, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 2, 1)


def test_muon_moves_the_inner_kernels_and_adamw_the_rest() -> None:
    model = _Net()
    muon, adamw = build_optimizers(OptimizerConfig(name="muon", lr=0.04, adamw_lr=0.003), model)
    assert [weight for group in muon.param_groups for weight in group["params"]] == [model.encoder.weight]
    assert sum(len(group["params"]) for group in adamw.param_groups) == 5
    set_learning_rates([muon, adamw], 0.5)
    assert {group["lr"] for group in muon.param_groups} == {0.02}
    assert {group["lr"] for group in adamw.param_groups} == {0.0015}


@pytest.mark.parametrize("in_hardware", [True, False])
def test_a_step_of_muon_is_nearly_orthogonal(monkeypatch: pytest.MonkeyPatch, in_hardware: bool) -> None:
    monkeypatch.setattr(optim, "multiplies_bfloat16", lambda _: in_hardware)
    kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
    optimizer = Muon([{"params": [kernel]}], lr=1.0, momentum=0.95)
    kernel.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    values = torch.linalg.svdvals(kernel.detach().flatten(1))
    assert values.min() > 0.5
    assert values.max() < 1.4
    assert float((kernel.detach() * kernel.grad).sum()) < 0


def test_factors_slow_and_freeze_weights() -> None:
    model = _Net()
    config = OptimizerConfig(lr=0.1, lr_factors={"encoder.*": 0.0, "norm.weight": 0.5})
    optimizers = build_optimizers(config, model)
    set_learning_rates(optimizers, 1.0)
    rates = {id(weight): group["lr"] for group in optimizers[0].param_groups for weight in group["params"]}
    assert not model.encoder.weight.requires_grad
    assert id(model.encoder.weight) not in rates
    assert rates[id(model.norm.weight)] == 0.05
    assert rates[id(model.norm.bias)] == 0.1


@pytest.mark.parametrize(
    ("factors", "complaint"),
    [({"encodr.*": 0.0}, "matches no weight; names are such as"), ({"*": 0.0}, "freezes every")],
)
def test_patterns_that_make_no_sense_are_refused(factors: dict[str, float], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_optimizers(OptimizerConfig(lr_factors=factors), _Net())
