import threading
import time
from collections.abc import Iterator

import pytest

from unetkit.prediction.crops import prefetch


def test_items_come_whole_and_in_order() -> None:
    assert list(prefetch(iter(range(20)))) == list(range(20))
    assert list(prefetch(iter([]))) == []
    assert list(prefetch(iter([None, None]))) == [None, None]


def test_the_next_item_is_made_while_one_is_used() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    items_made = prefetch(items())
    assert next(items_made) == 0
    assert second.wait(10)
    time.sleep(0.05)
    assert made == [0, 1], "no more than one is made ahead"


def test_an_error_is_raised_in_the_items_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items_made = prefetch(items())
    assert next(items_made) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items_made)


def test_an_early_end_leaves_no_thread() -> None:
    before = threading.active_count()
    items_made = prefetch(iter(range(100)))
    next(items_made)
    items_made.close()
    assert threading.active_count() == before
