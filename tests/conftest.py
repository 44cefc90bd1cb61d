"""What every test may ask for."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Give each of several test processes a core of its own, so that their threads do not wait for each other.

    Where the tests were started in the background, the commands that they start must hear signals all the same.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, _end)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})


def _end(*_: object) -> None:
    raise SystemExit(129)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that start processes for a minute, so that no core waits for another one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache and key out of the tests, and the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


class Ended(NamedTuple):
    """What a command gave: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `unetkit` with words as a shell does, but in this process: to start another one takes seconds."""
    from unetkit import cli
    from unetkit.serving.server import Kept

    def run(*words: object) -> Ended:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        capsys.readouterr()
        code = 0
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["unetkit", *map(str, words)])
            patched.setattr("unetkit.serving.server.keep_serving", Kept)  # the copy would go on with the tests
            try:
                cli.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return Ended(code, *capsys.readouterr())

    return run


_BLANK = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
    ),
}


@pytest.fixture(scope="session", autouse=True)
def _blank_figures() -> Iterator[Callable[..., bytes]]:
    """Write blank pictures for figures, which take five times as long as all else in a small training; give the writer.

    Tests that ask for `drawn` have the real ones, and so have all in the room of reports and every process of its own.
    """
    from unetkit.reporting import plots

    with pytest.MonkeyPatch.context() as patch:
        real = plots._file
        patch.setattr(plots, "_file", lambda figure, kind: _BLANK[kind])
        yield real


@pytest.fixture
def drawn(_blank_figures: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures of a test."""
    monkeypatch.setattr("unetkit.reporting.plots._file", _blank_figures)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk in memory with options such as size=700k or ro; skip where there is no right to."""
    disk = tmp_path / "disk"
    disks: list[Path] = []

    def mount(options: str) -> Path:
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True).returncode:
            pytest.skip("no right to mount a disk here")
        disks.append(disk)
        return disk

    yield mount
    for one in disks:
        subprocess.run(["umount", str(one)], check=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and fixtures beside the repository; what needs it is skipped where it is not."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real data of ../shared")
    return folder
