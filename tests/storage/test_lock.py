"""One process at a time, also on a file system without locks."""

import errno
import fcntl
import multiprocessing
from pathlib import Path

import pytest

from unetkit.storage.atomic import owner_name
from unetkit.storage.lock import locked


@pytest.fixture(params=["with locks", "without locks"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "without locks":

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return tmp_path / ".lock"


def test_a_second_one_is_refused_and_a_later_one_is_not(file: Path) -> None:
    with locked(file), pytest.raises(BlockingIOError), locked(file):
        pytest.fail("two at once")
    with locked(file):
        pass
    assert [path.name for path in file.parent.iterdir()] == [".lock"]


def _hold_and_die(file: Path) -> None:
    with locked(file):
        multiprocessing.current_process().kill()


def test_a_lock_ends_with_its_process(file: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=(file,))
    process.start()
    process.join()
    with locked(file):
        pass


def test_an_owner_on_another_machine_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _, pid, started = owner_name().split("-")
    (tmp_path / ".lock.owner").write_text(f"00000000-{pid}-{started}")
    with pytest.raises(BlockingIOError), locked(tmp_path / ".lock"):
        pytest.fail("two at once")
