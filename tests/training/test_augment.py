"""Augmentation: what is drawn is what is configured, one sampling composes it all, and a seed decides it."""

import numpy as np
import pytest
import torch

from unetkit.config import AugmentConfig, load_config
from unetkit.errors import ConfigError
from unetkit.training import augment

STILL = AugmentConfig(flip=False, rotate90=False)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _centres(batch: int) -> torch.Tensor:
    return torch.full((batch, 2), 20.5)


def _moved(config: AugmentConfig, batch: int, side: int) -> torch.Tensor:
    moved, still = (augment.places(each, _centres(batch), (side, side), _rng()) for each in (config, STILL))
    return moved - still


def test_nothing_configured_moves_nothing() -> None:
    places = augment.places(STILL, _centres(1), (4, 4), _rng())
    rows = torch.tensor([19.0, 20.0, 21.0, 22.0])
    assert torch.equal(places[0, 0], rows.view(4, 1).expand(4, 4))
    assert torch.equal(places[0, 1], rows.expand(4, 4))


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (STILL, 1),
        (AugmentConfig(flip=True, rotate90=False), 4),
        (AugmentConfig(flip=False, rotate90=True), 4),
        (AugmentConfig(flip=True, rotate90=True), 8),
    ],
)
def test_flips_and_turns_are_the_whole_group_and_stay_on_the_grid(config: AugmentConfig, count: int) -> None:
    assert augment.keeps_grid(config)
    places = augment.places(config, _centres(400), (6, 6), _rng())
    assert torch.equal(places, places.round())
    kinds, numbers = torch.unique(places.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == count
    assert numbers.min() > 0.6 * 400 / count
    for kind in kinds:
        assert len(torch.unique(kind.view(2, -1), dim=1).T) == 36


@pytest.mark.parametrize(("axis", "moved"), [("rows", 0), ("columns", 1)])
def test_flips_of_one_axis_leave_the_other(axis: str, moved: int) -> None:
    config = AugmentConfig(flip=True, flip_axes=axis, rotate90=False)
    places, still = (augment.places(each, _centres(200), (4, 6), _rng()) for each in (config, STILL))
    flipped = (places != still).flatten(1).any(1)
    assert 60 < int(flipped.sum()) < 140
    assert torch.equal(places[:, 1 - moved], still[:, 1 - moved])
    assert torch.equal(places[flipped, moved], still[flipped, moved].flip(1 + moved))


def test_a_crop_is_enlarged_to_the_whole_patch_each_axis_by_itself() -> None:
    config = AugmentConfig(flip=False, rotate90=False, crop=0.3)
    assert not augment.keeps_grid(config)
    places = augment.places(config, _centres(2000), (20, 40), _rng())
    for axis, side in enumerate((20, 40)):
        line = places[:, axis].amax(2 - axis)  # one axis does not change along the other
        assert torch.equal(line, places[:, axis].amin(2 - axis))
        step = line.diff(dim=1)
        kept = step.mean(1)
        torch.testing.assert_close(step, kept[:, None].expand_as(step), atol=1e-4, rtol=0)
        assert 0.4 <= kept.min() < 0.45
        assert 0.95 < kept.max() <= 1
        before = (line[:, 0] - kept / 2 - (20.5 - side / 2)) / side  # from edge to edge
        assert before.min() + 1e-5 >= 0
        assert 0.29 < before.max() <= 0.3 + 1e-5
        assert abs(float(before.mean()) - 0.15) < 0.01
        behind = 1 - kept - before
        assert behind.min() >= -1e-5
        assert 0.29 < behind.max() <= 0.3 + 1e-5


def test_a_stretch_magnifies_a_part_that_lies_anywhere_in_the_patch() -> None:
    config = AugmentConfig(flip=False, rotate90=False, stretch=(1.0, 1.5))
    places = augment.places(config, _centres(2000), (32, 32), _rng())
    magnification = 1 / torch.stack([places[:, 0, 1, 0] - places[:, 0, 0, 0], places[:, 1, 0, 1] - places[:, 1, 0, 0]])
    assert magnification.min() + 1e-4 >= 1
    assert 1.48 < magnification.max() <= 1.5 + 1e-4
    assert float(magnification.mean()) == pytest.approx(1.25, abs=0.01)
    assert abs(float(torch.corrcoef(magnification)[0, 1])) < 0.1
    edge = 4.5 + 1 / 3  # the patch begins at 4.5, and a pixel that is magnified 1.5 times has its middle 1/3 behind
    assert edge <= places.min() + 1e-3 < 5.2
    assert 35.8 < places.max() <= 41 - edge + 1e-3


def test_a_stretch_below_one_shows_more_than_the_patch_about_its_middle() -> None:
    places = augment.places(AugmentConfig(flip=False, rotate90=False, stretch=(0.5, 0.5)), _centres(3), (4, 4), _rng())
    torch.testing.assert_close(places[:, 0, :, 0], torch.tensor([17.5, 19.5, 21.5, 23.5]).expand(3, 4))


def test_pixels_are_clipped_after_all_changes_of_intensity() -> None:
    config = AugmentConfig(brightness=0.2, clip=(-1.0, 1.0))
    changed = augment.change_intensity(config, torch.linspace(-2, 2, 64).view(1, 1, 8, 8), _rng(), batch=1)
    assert float(changed.min()) == -1
    assert float(changed.max()) == 1


@pytest.mark.parametrize("key", ["scale", "stretch", "clip"])
def test_ranges_the_wrong_way_round_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"augment: {key}: found .* expected the lower bound first"):
        load_config({"augment": {key: [1.5, 0.5]}})


def test_rotation_and_scale_keep_within_their_limits() -> None:
    config = AugmentConfig(flip=False, rotate90=False, rotation=30, scale=(0.5, 2.0))
    assert not augment.keeps_grid(config)
    places = augment.places(config, _centres(500), (3, 3), _rng())
    step = places[:, :, 1, 2] - places[:, :, 1, 1]
    angle = torch.rad2deg(torch.atan2(step[:, 0], step[:, 1]))
    assert 25 < angle.abs().max() <= 30.001
    assert 1.8 < step.norm(dim=1).max() <= 2.001
    assert 0.499 <= step.norm(dim=1).min() < 0.6


def test_magnification_above_one_enlarges_what_is_seen() -> None:
    places = augment.places(AugmentConfig(flip=False, rotate90=False, scale=(2.0, 2.0)), _centres(1), (8, 8), _rng())
    assert float(places[0, 1, 0, 7] - places[0, 1, 0, 0]) == pytest.approx(3.5)


def test_elastic_displacements_have_the_stated_size_and_are_smooth() -> None:
    config = AugmentConfig(flip=False, rotate90=False, elastic=10, elastic_spacing=32)
    moved = _moved(config, 200, 65)
    corners = moved[:, :, ::32, ::32]
    assert float(corners.std()) == pytest.approx(10, rel=0.1)
    assert float(moved.diff(dim=3).abs().max()) < 0.1 * float(moved.abs().max())


def test_probability_spares_the_rest() -> None:
    config = AugmentConfig(flip=False, rotate90=False, rotation=45, elastic=5, probability=0.25)
    moved = _moved(config, 1000, 4)
    share = (moved.abs().amax((1, 2, 3)) > 1e-4).float().mean()
    assert float(share) == pytest.approx(0.25, abs=0.05)


def test_the_same_generator_draws_the_same() -> None:
    config = AugmentConfig(rotation=10, scale=(0.8, 1.2), elastic=4, brightness=0.2, contrast=0.2, gamma=0.2, noise=0.1)
    pixels = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (
        (augment.places(config, _centres(3), (8, 8), rng), augment.change_intensity(config, pixels, rng, batch=3))
        for rng in (_rng(5), _rng(5))
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], augment.change_intensity(config, pixels, _rng(6), batch=3))


@pytest.mark.parametrize("key", ["brightness", "contrast", "gamma", "noise"])
def test_each_intensity_change_does_what_it_says(key: str) -> None:
    pixels = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    changed = augment.change_intensity(AugmentConfig(**{key: 0.3}), pixels, _rng(), batch=64)
    mean_shift = (changed.mean((1, 2, 3)) - pixels.mean((1, 2, 3))).abs()
    spread = changed.std((1, 2, 3)) / pixels.std((1, 2, 3))
    if key == "brightness":
        assert 0.25 < mean_shift.max() <= 0.3001
        torch.testing.assert_close(spread, torch.ones(64))
    if key == "contrast":
        assert mean_shift.max() < 1e-5
        assert 1.2 < spread.max() < 1.3001
    if key == "gamma":
        torch.testing.assert_close(changed.amax((1, 2, 3)), pixels.amax((1, 2, 3)))
        order = pixels[0].flatten().argsort()
        assert bool((changed[0].flatten()[order].diff() >= 0).all())
    if key == "noise":
        assert float((changed - pixels).std()) == pytest.approx(0.3 / 3**0.5, rel=0.1)


def test_nothing_configured_changes_no_pixel() -> None:
    pixels = torch.randn(2, 1, 4, 4)
    assert augment.change_intensity(STILL, pixels, _rng(), batch=2) is pixels


def test_shares_of_a_batch_are_what_the_whole_would_have_been() -> None:
    config = AugmentConfig(brightness=0.2, contrast=0.2, gamma=0.2, noise=0.1)
    pixels = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = augment.change_intensity(config, pixels, _rng(3), batch=6)
    for rank in range(2):
        mine = slice(rank, None, 2)
        assert torch.equal(augment.change_intensity(config, pixels[mine], _rng(3), batch=6, share=mine), whole[mine])
