from collections.abc import Callable

import pytest

from unetkit.evaluation.score import Evaluation
from unetkit.metrics import DEFINITIONS, FAMILIES, deciding_scores, definition_of, legacy_scores
from unetkit.metrics.families import MOST_SCORES
from unetkit.reporting.pictures import Example
from unetkit.reporting.text import evaluation_table, families_text, shown

METRIC = "soft_dice_two_class"


@pytest.mark.parametrize(
    "classes", [("membrane", "interior"), ("background", "a class of a very long name indeed, like this one")]
)
def test_the_table_has_the_numbers_that_decide_aligned_within_100_columns(
    classes: tuple[str, str], make_exhibits: Callable[..., list[Example]], evaluate_exhibits: Callable[..., Evaluation]
) -> None:
    exhibits = make_exhibits(3)
    content = evaluate_exhibits(exhibits, classes).as_json()
    lines = evaluation_table(content, metric=METRIC, page="runs/a/report.html").splitlines()
    assert max(map(len, lines)) <= 100
    rows = [line.split()[:2] for line in lines[1 : lines.index("")]]
    assert rows[0] == [METRIC, f"{content['scores'][METRIC]:.4f}"]
    assert len(rows) <= MOST_SCORES
    assert {"mean_dice", "mean_iou", "pixel_accuracy"} < {name for name, _ in rows}
    assert dict(rows) == {name: f"{content['scores'][name]:.4f}" for name, _ in rows}
    assert len({line.index(f" {content['scores'][line.split()[0]]:.4f}") for line in lines[1 : lines.index("")]}) == 1
    assert lines[1].endswith((f"{definition_of(METRIC).meaning}; chooses the weights", " ..."))
    below = " ".join(" ".join(lines[lines.index("") :]).split())
    worst = min(content["images"], key=lambda image: image["scores"][METRIC])
    assert f"worst {worst['name']}: {METRIC} {worst['scores'][METRIC]:.4f}, of 3 images" in below
    assert f"all {len(content['scores'])} scores, and those of every image: --json FILE, runs/a/report.html" in below
    assert (
        "what they mean: unetkit metrics; further ones: evaluate --metrics objects binary surface isbi legacy" in below
    )


def test_what_is_known_besides_scores_takes_a_line_each() -> None:
    confidence = {
        "temperature": 1.25,
        "expected_calibration_error": 0.0213,
        "class_calibration_error": 0.02,
        "calibrated": {"expected_calibration_error": 0.0085},
    }
    counts = {"true": 12, "predicted": 13, "matched_50": 11, "split": 1, "merged": 0}
    content = {
        "scores": {"mean_iou": 0.5, "mean_precision": 0.4},
        "images": [{"name": "a", "scores": {"mean_iou": 0.5}}],
        "notes": ["gaps in contours are closed"],
        "confidence": confidence,
        "objects": {"counts": counts},
    }
    text = evaluation_table(content)
    assert "image       a\n" in text
    assert "confidence  too sure, off by 2.1 % on average; 0.85 % at temperature 1.25\n" in text
    assert "objects     12 true, 13 predicted, 11 pairs at IoU .5; 1 true split" in text
    assert "note        gaps in contours are closed\n" in text
    assert "evaluate --metrics binary surface isbi legacy" in " ".join(text.split()), "objects are there"


def test_scores_that_were_asked_for_are_among_those_that_decide(
    make_exhibits: Callable[..., list[Example]],
) -> None:
    (exhibit,) = make_exhibits(1)
    usual = {name: 0.5 for name in DEFINITIONS if "{" not in name and name not in FAMILIES["legacy"].definitions}
    legacy = legacy_scores(exhibit.probabilities, exhibit.labels, suffix="_388")
    chosen = deciding_scores(usual | legacy | {"iou_membrane": 0.5}, "soft_iou_two_class")
    assert chosen[0] == "soft_iou_two_class"
    assert len(chosen) == MOST_SCORES
    assert {"soft_dice_two_class_388", "mean_precision", "v_rand_thinned"} < set(chosen)
    many = {f"iou_class_{index}": 0.5 for index in range(9)}
    assert deciding_scores({"mean_iou": 0.5, **many}) == ["mean_iou", *many]
    assert deciding_scores({"mean_iou": 0.5, **many, "iou_one_more": 0.5}) == ["mean_iou"]


def test_a_score_without_a_definition_is_the_users_own_and_decides() -> None:
    many = {name: 0.5 for name in DEFINITIONS if "{" not in name}
    content = {"scores": {**many, "gap": 0.25}, "images": [], "notes": []}
    assert "a metric of the user's own" in evaluation_table(content, metric="mean_iou")


def test_what_is_no_number_is_a_dash() -> None:
    assert [shown(value) for value in (0.12345, None, float("nan"), float("inf"))] == ["0.1235", "–", "–", "–"]


def test_every_family_is_listed_with_the_formulas_of_its_scores() -> None:
    lines = list(families_text())
    text = " ".join(" ".join(lines).split())
    for name, family in FAMILIES.items():
        assert f"{name}: {family.about}" in lines
        for score, card in family.definitions.items():
            rule, _, symbols = card.formula.partition(", ")
            listed = f" {score} {card.meaning} ({card.better} is better) {rule}"
            assert (listed in text) != score.endswith("_per_image"), score
            assert symbols in text, score
    assert max(map(len, lines)) <= 100
