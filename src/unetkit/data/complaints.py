"""What a reader has against single files while the rest of a data set can be used: kept, and told all together.

A reader keeps its complaints in the data set that it gives. `open_dataset` refuses a set that has any; who examines
data reads the rest.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from unetkit.data.sample import Dataset
from unetkit.errors import DataError


@runtime_checkable
class PartlyUsable(Protocol):
    """A data set from which unusable files were left out."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """A sentence about each file that was left out."""
        ...


def complaints_of(dataset: Dataset) -> tuple[str, ...]:
    """Return a sentence about each file that was left out of a data set."""
    return dataset.complaints if isinstance(dataset, PartlyUsable) else ()


@contextmanager
def kept(complaints: list[str]) -> Generator[None]:
    """Keep what is wrong with one file, so that the next one is looked at too."""
    try:
        yield
    except DataError as error:
        complaints.append(str(error))


def refuse(complaints: Sequence[str]) -> None:
    """Raise `DataError` with the first complaint and the number of the others, where there are any."""
    if complaints:
        others = f" ({len(complaints) - 1} more files are wrong)" if len(complaints) > 1 else ""
        raise DataError(f"{complaints[0]}{others}")
