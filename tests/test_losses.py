"""Losses: the formulas that they state, term by term."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import ConfigSource, LossConfig, load_config
from unetkit.errors import ConfigError
from unetkit.losses import WeightedLoss, soft_dice_loss
from unetkit.metrics import soft_dice


def _batch(classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, classes, 7, 5, generator=generator), torch.randint(classes, (3, 7, 5), generator=generator)


@given(st.integers(2, 5), st.integers(0, 1000))
def test_the_dice_loss_is_one_minus_the_metric(classes: int, seed: int) -> None:
    logits, labels = _batch(classes, seed)
    p = logits.double().softmax(1).numpy()
    metric = [soft_dice(p[index], labels[index].numpy()) for index in range(len(p))]
    assert float(soft_dice_loss(logits, labels)) == pytest.approx(1 - sum(metric) / len(metric), abs=1e-6)


def test_terms_are_weighted_and_told() -> None:
    logits, labels = _batch(3)
    total, terms = WeightedLoss(LossConfig(cross_entropy=2.0, dice=0.5), torch.device("cpu"))(logits, labels)
    assert set(terms) == {"cross_entropy", "dice_loss"}
    assert float(total) == pytest.approx(2.0 * float(terms["cross_entropy"]) + 0.5 * float(terms["dice_loss"]))


def test_class_weights_act_as_in_pytorch() -> None:
    logits, labels = _batch(3)
    weights = (1.0, 0.0, 5.0)
    total, _ = WeightedLoss(LossConfig(dice=0.0, class_weights=weights), torch.device("cpu"))(logits, labels)
    expected = torch.nn.functional.cross_entropy(logits, labels, torch.tensor(weights))
    assert torch.equal(total, expected)


def test_half_precision_logits_are_summed_in_single() -> None:
    logits, labels = torch.zeros(1, 2, 512, 512, dtype=torch.bfloat16), torch.zeros(1, 512, 512, dtype=torch.int64)
    assert float(soft_dice_loss(logits, labels)) == pytest.approx(1 - 2 * 0.5 / 1.5, abs=1e-6)


def test_the_losses_of_heads_are_added_by_their_weights() -> None:
    logits, labels = _batch(2)
    heads = torch.stack([logits, 2 * logits, -logits])
    single = WeightedLoss(LossConfig(), torch.device("cpu"))
    alone = [float(single(head, labels)[0]) for head in heads]
    assert float(single(heads, labels)[0]) == pytest.approx(sum(alone))
    weighted = WeightedLoss(LossConfig(head_weights=(0.0, 0.5, 2.0)), torch.device("cpu"))
    assert float(weighted(heads, labels)[0]) == pytest.approx(0.5 * alone[1] + 2 * alone[2])
    with pytest.raises(ConfigError, match="found 3 weights; the network has 2 heads"):
        weighted(heads[:2], labels)


@pytest.mark.parametrize("source", [{"loss": {"cross_entropy": 0, "dice": 0}}])
def test_nothing_to_minimise_is_refused(source: ConfigSource) -> None:
    with pytest.raises(ConfigError, match="nothing is left to minimise"):
        load_config(source)
