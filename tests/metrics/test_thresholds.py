import numpy as np
import pytest

from unetkit.metrics import definition_of, pool_slices, score_slice, scores_chosen_elsewhere
from unetkit.metrics.isbi import IsbiSlice


def slices(seed: int, count: int) -> list[IsbiSlice]:
    rng = np.random.default_rng(seed)
    made: list[IsbiSlice] = []
    for number in range(count):
        label = np.ones((40, 40), np.uint8)
        label[::9] = label[:, ::9] = 0
        noisy = 0.2 + 0.6 * label + rng.normal(size=label.shape) * (0.15 + 0.05 * (number % 3))
        made.append(score_slice(label, np.clip(noisy, 0, 1), warping=False))
    return made


def test_a_threshold_of_other_slices_never_beats_the_best_and_names_have_cards() -> None:
    parts = slices(0, 6)
    official, honest = pool_slices(parts), scores_chosen_elsewhere(parts, [0, 1, 2, 0, 1, 2])
    for name, value in honest.items():
        best = getattr(official, name.removesuffix("_other_folds"))
        assert value <= best.value + 1e-12 if definition_of(name).better == "higher" else value >= best.value - 1e-12
        assert "other folds" in definition_of(name).threshold


def test_each_fold_is_scored_at_the_threshold_of_the_others() -> None:
    parts, folds = slices(1, 4), [0, 0, 1, 1]
    first, second = pool_slices(parts[:2]), pool_slices(parts[2:])
    honest = scores_chosen_elsewhere(parts, folds)
    expected = [
        *first.v_rand_thinned.slices[first.v_rand_thinned.thresholds.index(second.v_rand_thinned.threshold)],
        *second.v_rand_thinned.slices[second.v_rand_thinned.thresholds.index(first.v_rand_thinned.threshold)],
    ]
    assert honest["v_rand_thinned_other_folds"] == pytest.approx(np.mean(expected), abs=1e-15)


def test_where_all_folds_agree_the_numbers_are_the_official_ones() -> None:
    (part,) = slices(2, 1)
    official, honest = pool_slices([part] * 3).scores(), scores_chosen_elsewhere([part] * 3, [0, 1, 2])
    assert {f"{name}_other_folds": value for name, value in official.items()} == pytest.approx(honest, abs=1e-15)


def test_slices_of_several_sizes_are_pooled() -> None:
    rng = np.random.default_rng(3)
    parts = [score_slice(rng.random((side, side)) > 0.2, rng.random((side, side))) for side in (20, 30)]
    whole = pool_slices(parts)
    assert whole.splits is not None
    assert whole.mergers is not None
    assert whole.warping_error is not None
    errors = (whole.splits + whole.mergers).sum(1) / (20**2 + 30**2)
    np.testing.assert_allclose(whole.warping_error.curve, errors)
