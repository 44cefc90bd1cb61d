import numpy as np
import pytest

from unetkit.errors import UsageError
from unetkit.metrics import paired_bootstrap


@pytest.mark.parametrize(("count", "least"), [(6, 0.90), (30, 0.93)])
def test_the_interval_covers_the_true_difference_nearly_as_often_as_it_says(count: int, least: float) -> None:
    rng, covered, trials = np.random.default_rng(0), 0, 400
    for seed in range(trials):
        hard = rng.normal(0.9, 0.05, count)  # what is hard for one network is hard for the other
        first, second = hard + rng.normal(0.01, 0.02, count), hard + rng.normal(0.0, 0.02, count)
        one = paired_bootstrap(first[None], second[None], seed=seed, resamples=1000)
        covered += one.low <= 0.01 <= one.high
    assert least <= covered / trials <= 0.97, covered / trials


def test_dependent_neighbours_need_blocks() -> None:
    rng, covered, trials = np.random.default_rng(0), {1: 0, 6: 0}, 200
    for seed in range(trials):
        smooth = np.convolve(rng.normal(size=65), np.ones(6) / 6, "valid")  # each like its five neighbours
        for block in covered:
            one = paired_bootstrap(smooth[None], np.zeros((1, 60)), block=block, seed=seed, resamples=500)
            covered[block] += one.low <= 0 <= one.high
    assert covered[1] / trials < 0.75
    assert covered[6] / trials > 0.8, "ten blocks are few, but far better"


def test_a_plain_difference_is_that_of_the_means_and_has_a_sign() -> None:
    first, second = np.array([[0.9, 0.8, 0.95, 0.85]]), np.array([[0.8, 0.7, 0.8, 0.8]])
    higher = paired_bootstrap(first, second)
    assert higher.value == pytest.approx(0.1)
    assert (higher.share, higher.images) == (1.0, 4)
    assert higher.low < 0.1 < higher.high
    assert paired_bootstrap(first, second, better="lower").share == 0.0
    assert paired_bootstrap(second, first).value == pytest.approx(-0.1)
    same = paired_bootstrap(first, first)
    assert (same.value, same.low, same.high, same.share) == (0, 0, 0, 0.5)


def test_the_threshold_is_chosen_anew_in_every_resample() -> None:
    # Two thresholds, each good for half of the images: whichever half is drawn more often decides.
    first = np.array([[1.0, 1, 1, 0, 0, 0], [0.0, 0, 0, 1, 1, 1]])
    one = paired_bootstrap(first, np.full((1, 6), 0.5))
    assert one.value == 0
    rounding = 1e-12
    assert one.low >= -rounding, "the better of the two halves never falls below one half"
    lowest = paired_bootstrap(first, np.full((1, 6), 0.5), better="lower")
    assert lowest.high <= rounding


def test_a_seed_gives_its_interval_again() -> None:
    values = np.random.default_rng(1).random((2, 1, 12))
    assert paired_bootstrap(*values, seed=3) == paired_bootstrap(*values, seed=3)
    assert paired_bootstrap(*values, seed=3) != paired_bootstrap(*values, seed=4)


@pytest.mark.parametrize(("count", "block"), [(1, 1), (5, 3), (5, 0)])
def test_too_few_blocks_are_refused(count: int, block: int) -> None:
    with pytest.raises(UsageError, match="at least two blocks"):
        paired_bootstrap(np.zeros((1, count)), np.ones((1, count)), block=block)
