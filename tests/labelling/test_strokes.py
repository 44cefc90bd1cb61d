"""The journal loses nothing that was answered, and the labels follow from it alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from unetkit.errors import DataError, StorageError, UsageError
from unetkit.images.write import to_png
from unetkit.labelling.strokes import UNCHANGED, WINDOW, Follower, Journal, Painting, Stroke

SIZES = ((64, 160),)


def _stroke(number: int, labels: NDArray[np.uint8], top: int = 0, left: int = 0) -> Stroke:
    return Stroke((0, 0), top, left, to_png(labels), "tab", number)


def _painted(path: Path) -> Painting:
    painting = Painting(SIZES)
    for stroke in Follower(path).new():
        painting.apply(stroke)
    return painting


def test_a_line_cut_at_any_byte_is_dropped_and_the_next_stroke_stands_behind_the_last_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(_stroke(1, np.full((3, 4), 1, np.uint8)))
    whole = path.stat().st_size
    journal.append(_stroke(2, np.full((3, 4), 2, np.uint8), left=8))
    journal.close()
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        again = Journal(path)
        again.append(_stroke(2, np.full((2, 2), 2, np.uint8), top=10))
        again.close()
        painting = _painted(path)
        assert painting.strokes == 2
        assert (painting.at((0, 0)) > 0).sum() == 12 + 4


def test_a_full_disk_is_an_error_that_leaves_the_strokes_before_it_and_takes_those_after_it(
    mounted: Callable[[str], Path],
) -> None:
    journal = Journal(mounted("size=64k") / "journal.jsonl")
    noise = np.random.default_rng(0).integers(0, 3, (64, 160), np.uint8)
    size, count = len(_stroke(1, noise).line()), 0
    while (count + 1) * size < 64 * 1024:
        count += 1
        journal.append(_stroke(count, noise))
    too_much = _stroke(count + 1, noise)
    with pytest.raises(StorageError, match="cannot be written"):
        journal.append(too_much)
    assert _painted(journal.path).strokes == count
    journal.append(_stroke(count + 1, np.ones((1, 1), np.uint8)))
    assert _painted(journal.path).strokes == count + 1
    journal.close()


def test_a_follower_reads_lines_as_they_become_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = (_stroke(number, np.ones((2, 2), np.uint8)).line() for number in (1, 2))
    path.write_bytes(first + second[:20])
    follower = Follower(path)
    assert [stroke.number for stroke in follower.new()] == [1]
    with path.open("ab") as file:
        file.write(second[20:])
    assert [stroke.number for stroke in follower.new()] == [2]
    assert list(follower.new()) == []


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(_stroke(1, np.ones((2, 2), np.uint8)).line() + b'{"image": 0}\n')
    with pytest.raises(DataError, match="line 2"):
        _painted(path)


def test_a_box_leaves_what_it_does_not_say_and_a_box_of_the_earlier_pixels_undoes_it() -> None:
    painting = Painting(SIZES)
    painting.apply(_stroke(1, np.full((8, 8), 1, np.uint8)))
    box = np.full((4, 4), UNCHANGED, np.uint8)
    box[1, 2] = 2
    painting.apply(_stroke(2, box, 2, 2))
    assert painting.at((0, 0))[3, 4] == 2
    assert (painting.at((0, 0))[:8, :8] == 1).sum() == 63
    box[1, 2] = 1
    painting.apply(_stroke(3, box, 2, 2))
    assert (painting.at((0, 0))[:8, :8] == 1).all()


def test_every_fifth_window_of_a_class_is_held_out_for_ever() -> None:
    painting = Painting(((WINDOW, 20 * WINDOW),))
    for place in range(20):
        painting.apply(
            Stroke((0, 0), 0, place * WINDOW, to_png(np.full((3, 3), place % 2 + 1, np.uint8)), "tab", place + 1)
        )
    held = np.flatnonzero(painting.windows[0, 0][0] == 2).tolist()
    assert held == [4, 5, 14, 15]  # the third and the eighth of either class
    assert painting.held_out((0, 0))[:, 4 * WINDOW : 6 * WINDOW].all()
    assert painting.held_out((0, 0)).sum() == 4 * WINDOW**2
    before = painting.windows[0, 0].copy()
    painting.apply(Stroke((0, 0), 0, 0, to_png(np.zeros((WINDOW, 20 * WINDOW), np.uint8)), "tab", 21))
    painting.apply(Stroke((0, 0), 0, 0, to_png(np.full((WINDOW, 20 * WINDOW), 2, np.uint8)), "tab", 22))
    np.testing.assert_array_equal(painting.windows[0, 0], before)
    trained, held_out = (painting.part((0, 0), held_out=which) for which in (False, True))
    assert not (trained & held_out).any()
    assert (trained | held_out).all()


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        (Stroke((0, 0), 60, 0, to_png(np.ones((5, 5), np.uint8)), "tab", 1), "inside the page"),
        (Stroke((0, 0), 0, 0, b"no image", "tab", 1), "PNG"),
        (Stroke((0, 0), 0, 0, to_png(np.ones((5, 5, 3), np.uint8)), "tab", 1), "grey"),
    ],
)
def test_what_is_no_stroke_is_refused(stroke: Stroke, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Painting(SIZES).apply(stroke)
