import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.evaluation.score import Evaluation
from unetkit.metrics import ImageScores
from unetkit.reporting.history import extremes, image_score, ranked, ranking_metric


def evaluation(values: list[float | None]) -> Evaluation:
    images = tuple(
        ImageScores(f"i{place}", {"pixel_accuracy": 0.5} | ({} if value is None else {"dice_cell": value}))
        for place, value in enumerate(values)
    )
    return Evaluation({}, images, ("background", "cell"))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 4))
def test_the_ends_of_the_ranking_hold_no_image_twice(values: list[float], each: int) -> None:
    chosen = extremes(evaluation(values), "dice_cell", each)
    names = [one.image.name for one in chosen]
    assert len(set(names)) == len(names) == min(len(values), 2 * each)
    worst, best = ([one.value for one in chosen if one.end == end] for end in ("worst", "best"))
    assert worst == sorted(values)[: len(worst)]
    assert best == sorted(values, reverse=True)[: len(best)]


def test_one_image_is_the_best_and_not_the_worst() -> None:
    assert [one.title for one in extremes(evaluation([0.3]), "dice_cell", 3)] == ["best"]


def test_places_are_told_in_words() -> None:
    titles = [one.title for one in extremes(evaluation([0.1 * k for k in range(8)]), "dice_cell", 4)]
    assert titles == ["worst", "2nd worst", "3rd worst", "4th worst", "best", "2nd best", "3rd best", "4th best"]


def test_images_without_the_class_are_not_ranked() -> None:
    some = evaluation([0.9, None, 0.2])
    assert [image.name for _, image in ranked(some, "dice_cell")] == ["i2", "i0"]
    assert ranking_metric(some, "dice_cell") == "dice_cell"


def test_where_no_image_has_the_score_accuracy_ranks() -> None:
    assert ranking_metric(evaluation([None, None]), "dice_cell") == "pixel_accuracy"
    assert len(extremes(evaluation([None, None]), "dice_cell", 3)) == 2


@pytest.mark.parametrize("name", ["dice_cell", "dice_cell_per_image"])
def test_a_mean_over_images_ranks_by_the_value_of_each(name: str) -> None:
    assert image_score(evaluation([0.25]).images[0], name) == 0.25
