"""A training that starts by itself when painting pauses: when it does, and when it does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetkit.labelling import app
from unetkit.labelling.app import PAUSE, Labelling
from unetkit.labelling.strokes import UNCHANGED

from .conftest import Painter

TOLD: list[str] = []


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Desk:
    """The state of a server whose worker only notes what it is told, and a hand that paints."""

    def __init__(self, painter: Painter, folder: Path, clock: Clock) -> None:
        self.painter, self.clock = painter, clock
        self.state = Labelling(painter.project, (), folder)
        self.state.start_worker()
        painter.project.set_automatic(True)

    def paint(self, *classes: int) -> None:
        """Paint a box of each class, too wide to be held out whole."""
        for one in classes:
            labels = np.full((40, 90), UNCHANGED, np.uint8)
            labels[4 * one : 4 * one + 2] = one
            self.painter.box((0, 0), 0, 0, labels)
        self.state.painted_at = self.clock.now

    def told(self, seconds: float = PAUSE) -> list[str]:
        """Let time pass, and give what the worker was told meanwhile."""
        self.clock.now += seconds
        before = len(TOLD)
        self.state.start_after_pause()
        return TOLD[before:]


class Worker:
    """Notes what it is told."""

    alive = True

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def tell(self, **message: Any) -> None:
        TOLD.append(message["do"])

    def close(self) -> None:
        pass


@pytest.fixture
def desk(folder: Path, tmp_path: Path, opened: Callable[..., Painter], monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = Clock()
    monkeypatch.setattr(app, "Worker", Worker)
    monkeypatch.setattr(app, "time", clock)
    return Desk(opened(folder), tmp_path / "tiles", clock)


def test_it_starts_once_a_few_seconds_after_the_last_stroke(desk: Desk) -> None:
    assert desk.told(100.0) == []
    desk.paint(1, 2)
    assert desk.told(PAUSE / 2) == []
    desk.paint(2)
    assert desk.told(PAUSE / 2 + 0.1) == []  # the pause is counted from the last stroke
    assert desk.told(PAUSE / 2) == ["start"]
    assert desk.state.described["started"]
    desk.paint(1)
    assert desk.told() == []  # what trains takes new strokes by itself


def test_one_class_is_not_enough(desk: Desk) -> None:
    desk.paint(1, 1, 1)
    assert desk.told() == []
    desk.paint(2)
    assert desk.told() == ["start"]


def test_a_pause_that_was_asked_for_lasts_until_the_next_stroke(desk: Desk) -> None:
    desk.paint(1, 2)
    assert desk.told() == ["start"]
    desk.paint(1)
    desk.state.train("pause")
    assert desk.told(100.0) == []
    desk.paint(1)
    assert desk.told() == ["start"]


def test_it_is_off_where_the_project_does_not_say_so_and_after_a_failure(desk: Desk) -> None:
    desk.painter.project.set_automatic(False)
    desk.paint(1, 2)
    assert desk.told() == []
    desk.painter.project.set_automatic(True)
    desk.state.training |= {"state": "failed", "error": "no memory"}
    assert desk.told() == []
    desk.state.train("start")
    assert desk.state.training["state"] == "waiting"
    desk.state.train("pause")
    desk.paint(1)
    assert desk.told() == ["start"]


def test_it_is_kept_with_the_project(folder: Path, opened: Callable[..., Painter]) -> None:
    project = opened(folder).project
    assert not project.contents.automatic
    project.set_automatic(True)
    project.set_classes([*project.contents.classes])
    project.close()
    again = opened(folder).project
    assert again.contents.automatic
    again.set_automatic(False)
    again.close()
    assert not opened(folder).project.contents.automatic
