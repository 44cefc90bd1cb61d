import time
from collections.abc import Callable

import pytest
from torch import Tensor

from unetkit.errors import ModelFileError
from unetkit.timing import Contender, Opened, Timing, as_json, picture, table, time_contenders


def quick() -> Opened:
    return (lambda x_NCHW: x_NCHW), (2, 8, 16), "float32"


def slow() -> Opened:
    def network(x_NCHW: Tensor) -> Tensor:
        time.sleep(0.05 * len(x_NCHW))
        return x_NCHW

    return network, (2, 8, 16), "int8, bfloat16"


def missing() -> Opened:
    raise ModelFileError("net.onnx: no network is there")


@pytest.mark.parametrize("opens", [(quick, slow)])
def test_contenders_take_turns(opens: tuple[Callable[[], Opened], ...]) -> None:
    timings = time_contenders([Contender(open.__name__, open) for open in opens], batches=(1, 2), rounds=3)
    assert [timing.name for timing in timings] == ["quick", "slow"]
    assert all(len(times) == 3 for timing in timings for times in timing.seconds.values())
    assert [timing.numbers for timing in timings] == ["float32", "int8, bfloat16"]
    assert {timing.pixels for timing in timings} == {128}
    assert min(timings[1].seconds[2]) >= 0.1
    assert timings[0].peak_bytes > 10e6


def test_what_cannot_be_loaded_is_said() -> None:
    with pytest.raises(ModelFileError, match="no network is there"):
        time_contenders([Contender("quick", quick), Contender("missing", missing)], rounds=1)


TWO = [
    Timing("torch", "float32", 0.5, 400_000_000, 1_000_000, {1: (0.2, 0.2, 0.4), 2: (0.3, 0.3, 0.3)}),
    Timing("fast", "bfloat16", 0.1, 300_000_000, 1_000_000, {1: (0.1, 0.1, 0.1), 2: (0.3, 0.3, 0.3)}),
]


def test_speeds_and_ratios_are_of_the_best_batches() -> None:
    torch, fast = TWO
    assert (torch.best_batch, fast.best_batch) == (2, 1)
    assert torch.speed(2) == pytest.approx(2e6 / 0.3)
    assert fast.times_faster(torch) == pytest.approx([1.5, 1.5, 1.5])
    assert as_json(TWO)[1]["times_the_first"] == pytest.approx(1.5)


def test_the_table_names_what_it_shows() -> None:
    lines = table(TWO).splitlines()
    assert lines[0].split()[:2] == ["model", "numbers"]
    assert [line.split()[1] for line in lines[1:3]] == ["float32", "bfloat16"]
    assert "200.0 (200.0 to 400.0)" in lines[1]
    assert lines[2].endswith("1.50 (1.50 to 1.50)")


def test_the_picture_is_a_png() -> None:
    assert picture(TWO).startswith(b"\x89PNG")
