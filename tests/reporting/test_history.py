import math
from collections.abc import Callable

import pytest

from unetkit.reporting.history import History, best_validation, loss_terms, milestones, read_history, series
from unetkit.run import Run

METRIC = "soft_dice_two_class"


def validation(step: int, value: float) -> dict[str, float]:
    return {"step": step, "train_seconds": step / 10, "validation_seconds": 1.0, METRIC: value}


def test_the_lines_of_a_log_are_told_apart(make_run: Callable[..., Run]) -> None:
    history = read_history(make_run())
    assert (len(history.training), len(history.validations)) == (40, 20)
    assert history.step == 400
    assert history.train_seconds == pytest.approx(48.0)
    assert loss_terms(history) == ["loss", "cross_entropy", "dice_loss"]


def test_a_run_without_a_log_has_an_empty_history(make_run: Callable[..., Run]) -> None:
    run = make_run(steps_done=0)
    history = read_history(run)
    assert history == History((), ())
    assert (history.step, history.train_seconds, loss_terms(history)) == (0, 0.0, [])


def test_a_single_term_is_not_listed_beside_the_loss_that_it_is() -> None:
    line = {"step": 1, "train_seconds": 0.1, "loss": 0.5, "cross_entropy": 0.5, "lr": 1.0, "images_per_second": 9.0}
    assert loss_terms(History((line,), ())) == ["loss"]


def test_values_that_are_no_finite_numbers_are_passed_over() -> None:
    lines = [{"step": 1, "a": math.nan}, {"step": 2, "a": 2}, {"step": 3, "a": "x"}, {}]
    assert series(lines, "step", "a") == ([2.0], [2.0])


def test_the_best_validation_is_the_first_of_equals() -> None:
    lines = tuple(validation(step, value) for step, value in ((1, 0.5), (2, 0.9), (3, 0.9), (4, math.nan), (5, 0.8)))
    best = best_validation(History((), lines), METRIC)
    assert best is not None
    assert best["step"] == 2
    assert best_validation(History((), ()), METRIC) is None


def test_milestones_are_the_first_validations_at_a_level() -> None:
    lines = tuple(validation(step, value) for step, value in ((10, 0.55), (20, 0.91), (30, 0.89), (40, 0.925)))
    found = [(one.level, one.step, one.train_seconds) for one in milestones(History((), lines), METRIC)]
    assert (
        found
        == [
            (0.5, 10, 1.0),
            (0.6, 20, 2.0),
            (0.7, 20, 2.0),
            (0.8, 20, 2.0),
            (0.85, 20, 2.0),
            (0.9, 20, 2.0),
            (0.91, 20, 2.0),
            (0.92, 40, 4.0),
        ][-7:]
    )
    assert milestones(History((), ()), METRIC) == []
