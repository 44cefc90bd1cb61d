import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from unetkit.errors import DataError
from unetkit.metrics import PUBLISHED, better, definition_of, isbi_scores
from unetkit.metrics.isbi import DEFINITIONS, THRESHOLDS, WARPING_THRESHOLDS, IsbiScores

CASES = (
    "b_sigma2_noise",
    "f_checker",
    "f_gt_empty",
    "f_gt_full",
    "f_merge",
    "f_shift",
    "f_split",
    "f_thick",
    "f_thick_even",
    "f_ties_tenths",
)
EXACT = 1e-12


def squares() -> NDArray[np.uint8]:
    label = np.full((64, 64), 255, np.uint8)
    lines = [16, 17, 32, 33, 48, 49]
    label[lines] = label[:, lines] = 0
    return label


def bars(width: int) -> NDArray[np.float32]:
    proposal = np.ones((64, 64), np.float32)
    for k in (16, 32, 48):
        proposal[k : k + width] = proposal[:, k : k + width] = 0
    return proposal


def checker() -> NDArray[np.float32]:
    y, x = np.mgrid[:64, :64]
    return ((x + y) % 2).astype(np.float32)


def noisy(seed: int, slices: int = 3, size: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    label = np.full((slices, size, size), 255, np.uint8)
    label[:, ::9] = label[:, :, ::9] = 0
    blurred = 0.2 + 0.6 * (label > 0) + generator.normal(size=label.shape) * 0.2
    return label, np.clip(blurred, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        (checker(), {"v_rand_thinned": 0.009400586838060637, "v_info_thinned": 0.5085588083418563}),
        (
            bars(5),
            {
                "v_rand_thinned": 0.8997346398485067,
                "v_info_thinned": 0.8978327745318835,
                "rand_error": 0.29933786914251326,
                "pixel_error": 0.1670424978317432,
                "warping_error": 0.0,
            },
        ),
        (
            np.roll(bars(6), (-2, -2), (0, 1)),
            {"v_rand_thinned": 1.0, "v_info_thinned": 1.0, "rand_error": 0.4173245893289188},
        ),
    ],
    ids=["checker", "thick", "thick_even"],
)
def test_the_evaluators_numbers_on_drawn_cases(proposal: NDArray[np.float32], expected: dict[str, float]) -> None:
    result = isbi_scores(squares(), proposal)
    for name, value in expected.items():
        score = getattr(result, name)
        assert score.value == pytest.approx(value, abs=EXACT)
        assert score.curve == pytest.approx(np.full(len(score.curve), value), abs=EXACT), "a binary map: all t alike"


def read_case(shared: Path, name: str) -> tuple[IsbiScores, dict[str, Any]]:
    folder = shared / "fixtures" / "isbi_metrics" / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} of ../shared/fixtures/isbi_metrics")
    result = isbi_scores(tifffile.imread(folder / "label.tif"), tifffile.imread(folder / "proposal.tif"))
    return result, json.loads((folder / "oracle.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_every_threshold_of_every_case_agrees_with_the_challenges_evaluator(shared: Path, name: str) -> None:
    result, oracle = read_case(shared, name)
    assert tuple(oracle["thresholds"]) == THRESHOLDS
    assert tuple(oracle["warping_thresholds"]) == WARPING_THRESHOLDS
    for ours, theirs in (
        (result.v_rand_thinned.curve, "V_Rand_thinned_F"),
        (result.v_rand_thinned.slices, "slice_V_Rand_thinned_F"),
        (result.v_rand_precision, "slice_V_Rand_thinned_precision"),
        (result.v_rand_recall, "slice_V_Rand_thinned_recall"),
        (result.v_info_thinned.curve, "V_Info_thinned_F"),
        (result.v_info_thinned.slices, "slice_V_Info_thinned_F"),
        (1 - result.rand_error.curve, "rand_fg_F"),
        (1 - result.pixel_error.curve, "pixel_F"),
        (result.warping_error.curve if result.warping_error else None, "warping_split_merge"),
        (result.v_rand_thinned.value, "V_Rand_thinned_max"),
        (result.v_info_thinned.value, "V_Info_thinned_max"),
        (result.rand_error.value, "rand_error"),
        (result.pixel_error.value, "pixel_error"),
        (result.scores()["warping_error"], "warping_error"),
    ):
        np.testing.assert_allclose(ours, np.array(oracle[theirs], np.float64), rtol=0, atol=EXACT, err_msg=theirs)
    assert result.splits is not None
    assert result.mergers is not None
    assert result.splits.sum(1).tolist() == oracle["warping_splits"]
    assert result.mergers.sum(1).tolist() == oracle["warping_mergers"]


def test_thresholds_are_sums_of_doubles() -> None:
    assert (
        *(0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7),
        *(0.7999999999999999, 0.8999999999999999, 0.9999999999999999),
    ) == THRESHOLDS
    assert THRESHOLDS[:10] == WARPING_THRESHOLDS


def test_float32_pixels_meet_double_thresholds() -> None:
    # float32(0.1) is above the double 0.1, and float32(0.7) below the double 0.7.
    for tenth, passed in ((0.1, 2), (0.7, 7)):
        curve = isbi_scores(np.full((4, 4), 255, np.uint8), np.full((4, 4), tenth, np.float32)).pixel_error.curve
        assert curve.tolist() == [0.0] * passed + [1.0] * (11 - passed)
        doubles = isbi_scores(np.full((4, 4), 255, np.uint8), np.full((4, 4), tenth, np.float64)).pixel_error.curve
        assert doubles.tolist() == curve.tolist()


def test_slices_of_a_stack_are_scored_as_if_they_were_alone() -> None:
    label, probability = noisy(0)
    stack = isbi_scores(label, probability)
    alone = [isbi_scores(y, p) for y, p in zip(label, probability, strict=True)]
    for name in DEFINITIONS:
        curves = np.stack([getattr(one, name).curve for one in alone], axis=1)
        assert getattr(stack, name).slices == pytest.approx(curves, abs=EXACT)


def test_pooling_differs_between_the_numbers() -> None:
    label, probability = noisy(1)
    label[0, 9:] = 255  # one slice with fewer objects weighs differently in sums and in means
    stack = isbi_scores(label, probability)
    for score in (stack.v_rand_thinned, stack.v_info_thinned, stack.warping_error):
        assert score is not None
        assert score.curve == pytest.approx(score.slices.mean(1), abs=EXACT)
    assert np.abs(stack.rand_error.curve - stack.rand_error.slices.mean(1)).max() > 1e-3
    assert stack.v_rand_thinned.value == stack.v_rand_thinned.curve.max()
    assert stack.rand_error.value == stack.rand_error.curve.min()


def test_a_slice_without_objects_stays_in_the_mean_and_spoils_the_old_rand_error() -> None:
    label, probability = noisy(2)
    label[1] = 0
    stack = isbi_scores(label, probability)
    assert (stack.v_rand_thinned.slices[:, 1] == 0).all()
    assert (stack.v_info_thinned.slices[:, 1] == 0).all()
    assert stack.v_rand_thinned.curve == pytest.approx(stack.v_rand_thinned.slices.sum(1) / 3, abs=EXACT)
    assert stack.rand_error.value == 1.0
    assert stack.rand_error.slices[:, 0].min() < 1.0
    assert stack.pixel_error.value < 1.0
    assert json.loads(json.dumps(stack.as_dict(), allow_nan=False))["v_rand_precision"][0][1] is None


def test_blank_maps_score_alike_and_not_zero() -> None:
    blank, full = (isbi_scores(squares(), np.full((64, 64), value, np.float32)) for value in (0.0, 1.0))
    assert blank.v_rand_thinned.value == full.v_rand_thinned.value > 0
    assert blank.v_info_thinned.value == full.v_info_thinned.value == 0.0


def test_labels_of_0_and_1_and_of_0_and_255_and_booleans_are_the_same() -> None:
    label, probability = noisy(3, slices=1)
    results = [isbi_scores(form, probability).scores() for form in (label, label // 255, label > 0)]
    assert results[0] == results[1] == results[2]


def test_labels_between_are_cut_at_the_same_threshold() -> None:
    label, probability = noisy(4, slices=1)
    half = (label > 0) * np.float32(0.5)
    cut, whole = isbi_scores(half, probability), isbi_scores(label, probability)
    assert cut.v_rand_thinned.curve[:5].tolist() == whole.v_rand_thinned.curve[:5].tolist()
    assert (cut.v_rand_thinned.curve[5:] == 0).all()
    assert cut.pixel_error.curve.tolist() == whole.pixel_error.curve.tolist()


def test_labels_between_are_cut_at_every_threshold_of_a_binary_map_too() -> None:
    curve = isbi_scores((squares() > 0) * np.float32(0.5), bars(5)).v_rand_thinned.curve
    assert curve[:5] == pytest.approx(np.full(5, 0.8997346398485067), abs=EXACT)
    assert (curve[5:] == 0).all()


def test_the_warping_error_can_be_left_out() -> None:
    label, probability = noisy(5, slices=1)
    result = isbi_scores(label, probability, warping=False)
    assert result.warping_error is None
    assert result.splits is None
    assert "warping_error" not in result.scores()
    assert result.as_dict()["warping_error"] is None
    assert result.scores() == {k: v for k, v in isbi_scores(label, probability).scores().items() if "warping" not in k}


def test_everything_can_be_written_as_json() -> None:
    result = isbi_scores(*noisy(6))
    written = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    best = written["v_rand_thinned"]
    assert best["value"] == result.v_rand_thinned.value
    assert best["thresholds"] == list(THRESHOLDS)
    assert best["curve"][best["thresholds"].index(best["threshold"])] == best["value"]
    assert np.shape(best["slices"]) == (11, 3)
    assert np.shape(written["splits"]) == (10, 3)


@pytest.mark.parametrize(
    ("label", "probability", "expected"),
    [
        (np.ones((4, 4)), np.full((4, 5), 0.5), r"shape \(4, 4\) and probabilities of shape \(4, 5\)"),
        (np.ones(4), np.full(4, 0.5), "two slices"),
        (np.ones((0, 4, 4)), np.ones((0, 4, 4)), "two stacks"),
        (np.ones((4, 4)), np.full((4, 4), 200, np.uint8), "between 200 and 200, expected 0 to 1; divide an 8-bit map"),
        (np.ones((4, 4)), np.full((4, 4), -0.1), "expected 0 to 1"),
        (np.ones((4, 4)), np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4), np.inf), np.full((4, 4), 0.5), "labels hold values that are not finite"),
    ],
)
def test_unusable_input_is_refused_in_one_line(label: NDArray[Any], probability: NDArray[Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        isbi_scores(label, probability)
    assert "\n" not in str(caught.value)


def test_every_number_has_a_card_and_a_direction() -> None:
    scores = isbi_scores(*noisy(7, slices=1)).scores()
    assert set(scores) == set(DEFINITIONS)
    for name, value in scores.items():
        card = definition_of(name)
        assert card.low <= value <= card.high
    assert better("v_rand_thinned", 0.97, 0.96)
    assert better("warping_error", 0.0003, 0.0004)
    assert set().union(*PUBLISHED.values()) <= set(DEFINITIONS)
