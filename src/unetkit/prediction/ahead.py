"""Items made ahead: while one is used, the next one is being made in another thread.

Assumes that making an item does not depend on what becomes of the one before.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """Yield the items in their order, each while the next one is being made; two are alive at a time.

    What is raised while an item is made is raised here, in the item's place.
    """
    end = object()
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = maker.submit(next, items, end)
            yield item  # pyright: ignore[reportReturnType] - it is not the end, which alone is no Item
