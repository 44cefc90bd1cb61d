"""Losses: the formulas that they state, term by term."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import ConfigSource, LossConfig, load_config
from unetkit.errors import ConfigError
from unetkit.metrics import legacy_scores, soft_dice
from unetkit.training.losses import WeightedLoss, class_dice_loss, soft_dice_loss


def _batch(classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, classes, 7, 5, generator=generator), torch.randint(classes, (3, 7, 5), generator=generator)


@given(st.integers(2, 5), st.integers(0, 1000))
def test_the_dice_loss_is_one_minus_the_metric(classes: int, seed: int) -> None:
    logits, labels = _batch(classes, seed)
    p = logits.double().softmax(1).numpy()
    metric = [soft_dice(p[index], labels[index].numpy()) for index in range(len(p))]
    assert float(soft_dice_loss(logits, labels)) == pytest.approx(1 - sum(metric) / len(metric), abs=1e-6)


@given(st.integers(2, 5), st.integers(0, 1000))
def test_the_dice_loss_by_class_is_one_minus_its_metric(classes: int, seed: int) -> None:
    logits, labels = _batch(classes, seed)
    p = logits.double().softmax(1).numpy()
    metric = [legacy_scores(p[i], labels[i].numpy())["soft_dice_class_mean"] for i in range(len(p))]
    assert float(class_dice_loss(logits, labels)) == pytest.approx(1 - sum(metric) / len(metric), abs=1e-6)
    total, _ = WeightedLoss(LossConfig(cross_entropy=0.0, dice_form="per-class"))(logits, labels)
    assert torch.equal(total, class_dice_loss(logits, labels))


@pytest.mark.parametrize("form", ["joint", "per-class"])
def test_one_logit_means_binary_cross_entropy_and_the_dice_of_two_classes(form: str) -> None:
    logits, labels = _batch(2)
    logits, labels = 20 * logits[:, :1], labels.clamp_max(1)
    weights = torch.rand(labels.shape)
    _, terms = WeightedLoss(LossConfig(dice_form=form))(logits, labels, weights)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float(), weights)
    torch.testing.assert_close(terms["cross_entropy"], expected)
    _, of_two = WeightedLoss(LossConfig(dice_form=form))(torch.cat([-logits / 2, logits / 2], 1), labels)
    torch.testing.assert_close(terms["dice_loss"], of_two["dice_loss"])


def test_terms_are_weighted_and_told() -> None:
    logits, labels = _batch(3)
    total, terms = WeightedLoss(LossConfig(cross_entropy=2.0, dice=0.5))(logits, labels)
    assert set(terms) == {"cross_entropy", "dice_loss"}
    assert float(total) == pytest.approx(2.0 * float(terms["cross_entropy"]) + 0.5 * float(terms["dice_loss"]))


def test_weights_multiply_the_cross_entropy_of_their_pixels() -> None:
    logits, labels = _batch(3)
    each = torch.tensor((1.0, 0.0, 5.0))
    total, _ = WeightedLoss(LossConfig(dice=0.0))(logits, labels, each[labels])
    expected = torch.nn.functional.cross_entropy(logits, labels, each, reduction="sum") / labels.numel()
    torch.testing.assert_close(total, expected)


def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_parts() -> None:
    logits, labels = _batch(3)
    weights = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) * 10
    loss = WeightedLoss(LossConfig())
    parts = [loss(logits[place], labels[place], weights[place])[0] for place in (slice(0, 1), slice(1, 2), slice(2, 3))]
    torch.testing.assert_close(loss(logits, labels, weights)[0], torch.stack(parts).mean())


def test_half_precision_logits_are_summed_in_single() -> None:
    logits, labels = torch.zeros(1, 2, 512, 512, dtype=torch.bfloat16), torch.zeros(1, 512, 512, dtype=torch.int64)
    assert float(soft_dice_loss(logits, labels)) == pytest.approx(1 - 2 * 0.5 / 1.5, abs=1e-6)


def test_the_losses_of_heads_are_added_by_their_weights() -> None:
    logits, labels = _batch(2)
    heads = torch.stack([logits, 2 * logits, -logits])
    single = WeightedLoss(LossConfig())
    alone = [float(single(head, labels)[0]) for head in heads]
    assert float(single(heads, labels)[0]) == pytest.approx(sum(alone))
    weighted = WeightedLoss(LossConfig(head_weights=(0.0, 0.5, 2.0)))
    assert float(weighted(heads, labels)[0]) == pytest.approx(0.5 * alone[1] + 2 * alone[2])
    with pytest.raises(ConfigError, match="found 3 weights; the network has 2 heads"):
        weighted(heads[:2], labels)


@pytest.mark.parametrize("source", [{"loss": {"cross_entropy": 0, "dice": 0}}])
def test_nothing_to_minimise_is_refused(source: ConfigSource) -> None:
    with pytest.raises(ConfigError, match="nothing is left to minimise"):
        load_config(source)
