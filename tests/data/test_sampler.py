"""Patches: every image once an epoch, every place inside, every step the same whenever it is drawn."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from unetkit.training.patches import PatchSampler

sizes = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=7)


@given(sizes, st.integers(1, 9), st.integers(1, 40), st.integers(0, 99))
def test_patches_lie_inside_their_image(shapes: list[tuple[int, int]], batch: int, patch: int, step: int) -> None:
    sampler = PatchSampler(torch.tensor(shapes), batch, (patch, patch), seed=3)
    image, centre = sampler.draw(step)
    first, last = centre - (patch - 1) / 2, centre + (patch - 1) / 2
    assert torch.equal(first, first.round())
    for axis in range(2):
        size = sampler.sizes[image, axis]
        fits = size >= patch
        assert bool(((first[:, axis] >= 0) & (last[:, axis] <= size - 1))[fits].all())
        middle_off = (first[:, axis] + last[:, axis] - (size - 1)).abs()
        assert bool((middle_off[~fits] <= 1).all())


@given(sizes, st.integers(1, 9))
def test_an_epoch_uses_every_image_once(shapes: list[tuple[int, int]], batch: int) -> None:
    sampler = PatchSampler(torch.tensor(shapes), batch, (8, 8), seed=5)
    drawn = torch.cat([sampler.draw(step)[0] for step in range(len(shapes))])
    for epoch in drawn[: len(drawn) // len(shapes) * len(shapes)].view(-1, len(shapes)):
        assert sorted(epoch.tolist()) == list(range(len(shapes)))


@given(sizes, st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_an_epoch_shuffles_all_copies_together(
    shapes: list[tuple[int, int]], batch: int, repeat: int, drop_last: bool
) -> None:
    count = len(shapes) * repeat
    if drop_last and batch > count:
        return
    sampler = PatchSampler(torch.tensor(shapes), batch, (8, 8), seed=5, repeat=repeat, drop_last=drop_last)
    used = count // batch * batch if drop_last else count
    drawn = torch.cat([sampler.draw(step)[0] for step in range(-(-3 * used // batch))])
    for epoch in drawn[: len(drawn) // used * used].view(-1, used):
        copies = torch.bincount(epoch, minlength=len(shapes))
        assert int(copies.max()) <= repeat
        assert int(copies.sum()) == used
    assert int(drawn.max()) < len(shapes)


def test_copies_are_not_drawn_one_after_the_other_and_epochs_differ() -> None:
    sampler = PatchSampler(torch.tensor([[8, 8]] * 4), 40, (8, 8), seed=0, repeat=20, drop_last=True)
    first, second = (torch.cat([sampler.draw(2 * epoch + half)[0] for half in range(2)]) for epoch in range(2))
    assert not torch.equal(first, second)
    assert any(len(set(first[place : place + 4].tolist())) < 4 for place in range(0, 80, 4))


def test_a_patch_as_large_as_its_image_is_the_whole_image() -> None:
    image, centre = PatchSampler(torch.tensor([[20, 30]] * 3), 5, (20, 30), seed=0).draw(0)
    assert len(image) == 5
    assert torch.equal(centre, torch.tensor([9.5, 14.5]).expand(5, 2))


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    one, other = (PatchSampler(torch.tensor([[64, 64]] * 5), 4, (16, 16), seed=1) for _ in range(2))
    for step in range(6):
        one.draw(step)
    assert all(torch.equal(left, right) for left, right in zip(one.draw(7), other.draw(7), strict=True))


def test_seeds_differ_and_every_corner_is_reached() -> None:
    sampler = PatchSampler(torch.tensor([[20, 20]]), 64, (16, 16), seed=0)
    corners = torch.cat([sampler.draw(step)[1] for step in range(8)]) - 7.5
    assert corners.amin() == 0
    assert corners.amax() == 4
    assert not torch.equal(sampler.draw(0)[1], PatchSampler(torch.tensor([[20, 20]]), 64, (16, 16), seed=1).draw(0)[1])
