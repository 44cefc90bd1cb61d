"""Progress of long work: a bar with the figures that matter on a terminal or in a notebook, plain lines on a pipe."""

import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_REDRAW = 0.2  # seconds


class Progress(Protocol):
    """What follows long work."""

    def log(self, text: str) -> None:
        """Take a line that is worth keeping."""
        ...

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Take the state of the work: how much is done, and the figures of the moment."""
        ...


class NoProgress:
    """Progress that nobody sees: the library's default."""

    def log(self, text: str) -> None:
        """Say nothing."""

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Say nothing."""


class ProgressLines:
    """Progress for pipes and log files: every line, and the state of the work every few seconds."""

    def __init__(self, title: str, seconds: float = 5.0) -> None:
        """Say who works, and how often the state is worth a line."""
        self._title, self._seconds, self._last = title, seconds, 0.0

    def log(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Print the state when the last one is old enough, and at the end."""
        if done == total or time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            self.log(f"{self._title} {done}/{total}  {_joined(figures)}".rstrip())


class ProgressFile:
    """Progress that also writes its lines into a file."""

    def __init__(self, progress: Progress, file: TextIO) -> None:
        """Pass everything on to another progress."""
        self._progress, self._file = progress, file

    def log(self, text: str) -> None:
        """Write a line at once, so that a process that dies has written it."""
        print(text, file=self._file, flush=True)
        self._progress.log(text)

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Pass the state on."""
        self._progress.update(done, total, figures)


class ProgressBar:
    """Progress on a terminal: one live bar, lines above it."""

    def __init__(self, progress: RichProgress, title: str) -> None:
        """Draw on a rich progress display."""
        self._progress = progress
        self._task = progress.add_task(title, total=None, figures="")

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, figures=_joined(figures))


class ProgressCell:
    """Progress in a notebook: one bar in the cell's output that is drawn anew, lines above it."""

    def __init__(self, title: str) -> None:
        """Put an empty bar into the output."""
        shown: Any = import_module("IPython.display")  # a notebook runs on it
        self._title, self._lines, self._html = title, list[str](), shown.HTML
        self._bar, self._last = "", 0.0
        self._handle: Any = shown.display(shown.HTML(""), display_id=True)

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        self._lines.append(text)
        self._draw()

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Move the bar, some times a second."""
        if done == total or time.monotonic() - self._last > _REDRAW:
            self._last = time.monotonic()
            state = escape(f"{done}/{total}  {_joined(figures)}")
            bar = f'<progress value="{done}" max="{total}"></progress>'
            self._bar = f"<div>{escape(self._title)} {bar} {state}</div>"
            self._draw()

    def _draw(self) -> None:
        lines = f"<pre>{escape(chr(10).join(self._lines))}</pre>" if self._lines else ""
        self._handle.update(self._html(lines + self._bar))


def in_notebook() -> bool:
    """Tell whether a notebook shows what is displayed here."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def show_progress(title: str) -> Generator[Progress]:
    """Give the progress that fits: a bar in a notebook or on a terminal, lines elsewhere.

    Example:
        >>> with unetkit.show_progress("training") as progress:
        ...     run = unetkit.train("isbi", data="sample", out="runs/first", progress=progress)
    """
    if in_notebook():
        yield ProgressCell(title)
        return
    if not sys.stdout.isatty():
        yield ProgressLines(title)
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
    with RichProgress(*columns, console=Console(), transient=True) as progress:
        yield ProgressBar(progress, title)


def _joined(figures: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in figures.items())
