from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from unetkit.config import load_config
from unetkit.models import Geometry
from unetkit.training.patches import PixelStore
from unetkit.training.prepare import prepare

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__("measure")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__("time_to_dice")


@pytest.fixture
def race(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Race a side whose soft Dice is `values[step]`; gives the course."""

    def run(values: Callable[[int], float], *, steps: int, until: float = float("inf")) -> Any:
        done: list[int] = []

        def step(number: int) -> torch.Tensor:
            assert number == len(done), "every step once and in order"
            done.append(number)
            return torch.zeros(())

        def evaluate(*_: object, **__: object) -> SimpleNamespace:
            return SimpleNamespace(scores={script.METRIC: values(len(done)), script.RESIZED: values(len(done)) - 0.01})

        monkeypatch.setattr(script, "score_predictor", evaluate)
        prepared = SimpleNamespace(dataset=(), split=SimpleNamespace(validation=()))
        track = SimpleNamespace(steps=steps, prepared=prepared, predictor=lambda side: side)
        side = script.Side("a side", step, torch.nn.Conv2d(1, 1, 1), Geometry(1, 0, 0, 0))
        return script.race(track, side, 0, until=until)

    return run


def test_validations_are_fine_until_the_second_goal_and_coarse_after_it(race: Callable[..., Any]) -> None:
    course = race(lambda step: 0.9 + step / 1e4, steps=450)
    assert [point.step for point in course.points] == [*range(20, 201, 20), 300, 400, 450]


def test_a_race_ends_where_it_is_told_to(race: Callable[..., Any]) -> None:
    course = race(lambda step: 0.9 + step / 1e4, steps=450, until=0.9111)
    assert course.points[-1].step == 120


def test_a_goal_is_reached_at_the_first_validation_that_shows_it(race: Callable[..., Any]) -> None:
    course = race(lambda step: {60: 0.915, 80: 0.925}.get(step, 0.9), steps=100)
    assert course.time_to(0.9111) == course.points[2].seconds
    assert course.time_to(0.9111, resized=True) == course.points[3].seconds
    assert course.time_to(0.93) == float("inf")


def test_a_diverged_side_reaches_nothing(race: Callable[..., Any]) -> None:
    assert race(lambda _: float("nan"), steps=40).time_to(0.9111) == float("inf")


def test_ratios_are_taken_seed_by_seed(script: ModuleType) -> None:
    def course(side: str, seed: int, seconds: float) -> Any:
        return script.Result(side, seed, 5, (script.Point(10, seconds, 0.915, 0.912),), 1.0, 1.0)

    times: Iterator[Any] = (course(*told) for told in [("a", 0, 2), ("b", 0, 8), ("a", 1, 4), ("b", 1, 40)])
    lines = list(script.summary(list(times)))
    assert "0.9111: b: 24.0 (8.0 to 40.0) s, 7.0 (4.0 to 10.0) times a" in lines
    assert "0.9111: a: 3.0 (2.0 to 4.0) s" in lines
    assert "0.92: b: reached with 0 of 2 seeds" in lines
    assert "0.9111 at 388 x 388: a: 3.0 (2.0 to 4.0) s" in lines
    assert (
        lines[0]
        == "a: 5 weights, final soft_dice_two_class 0.9150 (0.9150 to 0.9150), at 388 x 388 0.9120 (0.9120 to 0.9120)"
    )


def test_a_record_is_added_at_the_end(measure: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "RECORDS.md"
    path.write_text("# Records\n")
    around = measure.circumstances(["numpy"], torch.device("cpu"))
    measure.append_record("name", around, ["one line", "another"], path=path)
    text = path.read_text()
    assert text.startswith("# Records\n\n## name, 20")
    assert text.endswith("```text\none line\nanother\n```\n")
    assert all(word in text for word in (f"torch {torch.__version__}", "- machine: ", "- command: `python "))


def test_a_spread_names_median_lowest_and_highest(measure: ModuleType) -> None:
    assert measure.spread([3.0, 1.0, 2.5]) == "2.5 (1.0 to 3.0)"
    assert measure.spread([0.12345], 4) == "0.1235 (0.1235 to 0.1235)"


def test_the_peer_trains_on_the_batches_of_the_preset(script: ModuleType) -> None:
    pytest.importorskip("monai")
    sides, config = __import__("sides"), load_config("isbi", ["data.path=sample", "train.steps=2", "train.patch=64"])
    prepared, device = prepare(config), torch.device("cpu")
    store = PixelStore.of(prepared.training, prepared.normalization, device)
    track = sides.Track(prepared, store, device)
    peer = sides.peer(track, 0, rate=1e-3, tuned=True)
    assert torch.isfinite(peer.step(0))
    peer.network.eval()
    assert 0 < track.predictor(peer).bytes_per_pixel < 1e5
