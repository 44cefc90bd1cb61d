"""Pixels that do not count: no loss, no statistics, no patches without a pixel that does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unetkit.config import load_config
from unetkit.data import Dataset, InMemory, Normalization, Sample, fingerprint
from unetkit.data.targets import PixelWeights, with_borders
from unetkit.distributed import World
from unetkit.errors import DataError
from unetkit.training import prepare as preparing
from unetkit.training.losses import class_dice_loss, soft_dice_loss
from unetkit.training.patches import PatchSampler, PixelStore
from unetkit.training.step import TrainStep

CPU = torch.device("cpu")
CLASSES = ("background", "cell")


def _samples(garbage: int, *, region: bool = True) -> list[Sample]:
    """Two images whose pixels outside a region hold labels and ids that follow from `garbage`."""
    rng, made = np.random.default_rng(0), list[Sample]()
    valid = np.zeros((40, 48), bool)
    valid[6:30, 5:33] = True
    for index in range(2):
        pixels = rng.integers(0, 255, (1, 40, 48), np.uint8)
        ids = np.zeros((40, 48), np.int32)
        ids[8:18, 8:20], ids[18:26, 10:20], ids[12:33, 22:40] = 1, 2, 3
        other = np.random.default_rng(garbage)
        labels = np.where(valid, ids > 0, other.integers(0, 9, ids.shape)).astype(np.uint8)
        ids = np.where(valid, ids, other.integers(0, 9, ids.shape)).astype(np.int32)
        made.append(Sample(f"one{index}", pixels, labels, ids, valid=valid if region else None))
    return made


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss.dice=0"],
        ["loss.dice=1"],
        ["loss.dice=1", "loss.dice_form=per-class"],
        ["loss.dice=0", "loss.class_weights=balanced", "loss.border_weight=5"],
        ["loss.dice=0", "data.border_width=1"],
        ["loss.dice=1", "data.border_width=2", "data.border_touching=true", "train.precision=bfloat16"],
        ["model.name=unetpp", "model.deep_supervision=true", "train.accumulate=2"],
    ],
    ids=lambda words: " ".join(words),
)
def test_labels_that_do_not_count_change_nothing(overrides: list[str]) -> None:
    def trained(garbage: int, *, region: bool = True) -> dict[str, torch.Tensor]:
        base = {"model": {"width": 4, "depth": 2}, "train": {"steps": 4, "batch": 4, "patch": 16}}
        config = load_config(base | {"augment": {"rotation": 20.0}}, overrides)
        data: Dataset = InMemory(tuple(_samples(garbage, region=region)), CLASSES)
        border = config.data.border_width
        targets = with_borders(data, border, config.data.border_touching) if border else data
        model = config.model.model_copy(update={"in_channels": 1, "num_classes": len(targets.classes)})
        config = config.model_copy(update={"model": model})
        rule = PixelWeights.of(
            config.loss, targets, classes=len(targets.classes), border=len(CLASSES) if border else None
        )
        normalization = Normalization.fit("standardize", data.samples)
        store = PixelStore.of(targets, normalization, CPU, weights=None if rule is None else rule.of_sample)
        bfloat16 = config.train.precision == "bfloat16"
        step = TrainStep(config, store, torch.bfloat16 if bfloat16 else torch.float32, World())
        for number in range(4):
            step(number)
        return dict(step.model.state_dict())

    first, second = trained(1), trained(2)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_statistics_are_those_of_the_pixels_that_count() -> None:
    samples = _samples(1)
    valid = samples[0].valid
    assert valid is not None
    changed = [replace(one, pixels=np.where(valid, one.pixels, np.uint8(255))) for one in samples]
    assert Normalization.fit("standardize", samples) == Normalization.fit("standardize", changed)
    deep = [replace(one, pixels=one.pixels.astype(np.uint16)) for one in samples]
    inside = np.concatenate([one.pixels[0][valid] for one in samples])
    assert Normalization.fit("standardize", deep).mean == pytest.approx([inside.mean()])
    shares = fingerprint(InMemory(tuple(samples), CLASSES)).class_shares
    assert shares[1] == pytest.approx(np.mean([one.labels[valid].mean() for one in samples if one.labels is not None]))
    other = [replace(one, valid=valid[::-1, ::-1], labels=np.zeros_like(one.labels)) for one in samples]
    hashes = {fingerprint(InMemory(tuple(each), CLASSES)).sha256_labels for each in (samples, other, _samples(2))}
    assert len(hashes) == 2  # another region is another training, other labels outside it are not


def test_every_patch_holds_a_pixel_that_counts() -> None:
    valid = torch.zeros(200, 300, dtype=torch.bool)
    valid[3:9, 250:260] = True
    sizes = torch.tensor([[200, 300], [20, 100]])
    small = torch.zeros(20, 100, dtype=torch.bool)
    small[19, 99] = True
    plain = PatchSampler(sizes, 6, (32, 32), seed=3)
    sampler = PatchSampler(sizes, 6, (32, 32), seed=3, valid=lambda image: (valid, small)[image])
    for step in range(20):
        images, centres = sampler.draw(step)
        assert torch.equal(images, plain.draw(step)[0])
        for place in range(6):
            image, (top, left) = int(images[place]), (int(corner) for corner in (centres[place] - 15.5).long())
            assert (valid, small)[image][max(top, 0) : top + 32, left : left + 32].any()
            assert 0 <= left <= (268, 68)[image]
        assert all(map(torch.equal, sampler.draw(step), sampler.draw(step)))
    everything = PatchSampler(sizes, 6, (32, 32), seed=3, valid=lambda image: torch.ones_like((valid, small)[image]))
    assert torch.equal(everything.draw(5)[1], plain.draw(5)[1])


@pytest.mark.parametrize("loss", [soft_dice_loss, class_dice_loss])
def test_dice_is_that_of_the_valid_part_alone(loss: Callable[..., torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 10, generator=generator)
    labels = torch.randint(0, 3, (2, 8, 10), generator=generator)
    valid = torch.zeros(2, 8, 10, dtype=torch.bool)
    valid[:, :5, 2:9] = True
    assert loss(logits, labels, valid) == pytest.approx(float(loss(logits[:, :, :5, 2:9], labels[:, :5, 2:9])))
    assert torch.isfinite(loss(logits, labels, torch.zeros_like(valid)))


def test_images_without_a_pixel_that_counts_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [replace(one, name=f"{number}") for number in range(4) for one in _samples(1)[:1]]
    empty = np.zeros((40, 48), bool)
    samples[0] = replace(samples[0], valid=empty, labels=np.zeros((40, 48), np.uint8))
    config = load_config({"data": {"path": "x", "split": {"method": "none"}}, "train": {"patch": 16}})

    def opened(path: Path, *, config: object) -> InMemory:
        return InMemory(tuple(samples), CLASSES)

    monkeypatch.setattr(preparing, "open_dataset", opened)
    training = preparing.prepare(config, checked=True).training
    assert [training[index].name for index in range(len(training))] == ["1", "2", "3"]
    samples[:] = [replace(one, valid=empty) for one in samples]
    with pytest.raises(DataError, match="no pixel of the 4 training images counts"):
        preparing.prepare(config, checked=True)
