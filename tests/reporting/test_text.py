from collections.abc import Callable

import pytest

from unetkit.errors import ConfigError
from unetkit.evaluation.score import Evaluation
from unetkit.metrics import definition_of, legacy_scores
from unetkit.reporting.pictures import Example
from unetkit.reporting.text import scores_table, shown


@pytest.mark.parametrize(
    "classes", [("membrane", "interior"), ("background", "a class of a very long name indeed, like this one")]
)
def test_the_table_has_every_score_aligned_within_100_columns(
    classes: tuple[str, str], make_exhibits: Callable[..., list[Example]], evaluate_exhibits: Callable[..., Evaluation]
) -> None:
    exhibits = make_exhibits(2)
    scores = evaluate_exhibits(exhibits, classes).scores
    scores |= legacy_scores(exhibits[0].probabilities, exhibits[0].labels, suffix="_388")
    lines = scores_table(scores).splitlines()
    assert max(map(len, lines)) <= 100
    table = dict(line.split()[:2] for line in lines[1 : lines.index("")])
    assert table == {name: f"{value:.4f}" for name, value in scores.items() if not definition_of(name).aside}
    assert all(f"{name} {value:.4f}" in legend_of(lines) for name, value in scores.items() if name not in table)
    assert len({line.index(f"{scores[line.split()[0]]:.4f}") for line in lines[1 : lines.index("")]}) == 1
    legend = legend_of(lines)
    assert "c[i,j] = pixels of true class i predicted as j" in legend
    assert "388 x 388" in legend


def legend_of(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines[lines.index("") :])


def test_a_score_without_a_definition_is_refused() -> None:
    with pytest.raises(ConfigError, match="dise"):
        scores_table({"mean_dise": 0.5})


def test_what_is_no_number_is_a_dash() -> None:
    assert [shown(value) for value in (0.12345, None, float("nan"), float("inf"))] == ["0.1235", "–", "–", "–"]


def test_scores_of_single_classes_are_left_out_where_there_are_many() -> None:
    few = {f"iou_class_{index}": 0.5 for index in range(32)}
    assert "iou_class_31" in scores_table({"mean_iou": 0.5, **few})
    many = scores_table({"mean_iou": 0.5, **few, "iou_one_more": 0.5})
    assert "iou_class" not in many
    assert "mean_iou" in many
    assert "and 33 scores of single classes" in many
