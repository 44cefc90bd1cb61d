"""How long work is told about: a bar with the figures that matter on a terminal, plain lines on a pipe."""

import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Reporter(Protocol):
    """Whoever wants to hear about the course of long work."""

    def line(self, text: str) -> None:
        """Take a line that is worth keeping."""
        ...

    def advance(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Take the state of the work: how much is done, and the figures of the moment."""
        ...


class Silence:
    """A reporter that says nothing: the library's default."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Say nothing."""


class PlainLines:
    """A reporter for pipes and log files: every line, and the state of the work every few seconds."""

    def __init__(self, title: str, seconds: float = 5.0) -> None:
        """Say who works, and how often the state is worth a line."""
        self._title, self._seconds, self._last = title, seconds, 0.0

    def line(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def advance(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Print the state when the last one is old enough, and at the end."""
        if done == total or time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            self.line(f"{self._title} {done}/{total}  {_joined(figures)}".rstrip())


class Bar:
    """A reporter for a terminal: one live bar, lines above it."""

    def __init__(self, progress: Progress, title: str) -> None:
        """Draw on a rich progress display."""
        self._progress = progress
        self._task = progress.add_task(title, total=None, figures="")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def advance(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, figures=_joined(figures))


@contextmanager
def reporter(title: str) -> Generator[Reporter]:
    """Give the reporter that fits standard output."""
    if not sys.stdout.isatty():
        yield PlainLines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(), transient=True) as progress:
        yield Bar(progress, title)


def _joined(figures: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in figures.items())
