"""A file is there whole or not at all, also on a full disk, and nothing half-written stays for long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unetkit.errors import StorageError
from unetkit.storage import atomic
from unetkit.storage.atomic import atomic_folder, atomic_path, atomic_write, owner_is_gone, owner_name, part_of


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    atomic_write(file, "old")

    def break_off() -> None:
        with atomic_path(file) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        break_off()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"

    def fill() -> None:
        with atomic_path(file), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(StorageError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        fill()
    assert not file.exists()


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        atomic_write(tmp_path / "nowhere" / "a.txt", "x")


def test_a_long_name_is_no_longer_while_it_is_written(tmp_path: Path) -> None:
    for name in ("x" * 250 + ".txt", "é" * 125 + ".txt"):
        atomic_write(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"
    with pytest.raises(StorageError, match="File name too long.*; choose a shorter name"):
        atomic_write(tmp_path / ("x" * 256), "whole")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def break_off() -> None:
        with atomic_folder(tmp_path / "whole") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        break_off()
    assert not os.listdir(tmp_path)
    with atomic_folder(tmp_path / "a" / "whole") as folder:
        (folder / "file").write_text("whole")
    assert os.listdir(tmp_path / "a") == ["whole"]


def test_a_folder_that_another_process_has_made_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    def make() -> None:
        with atomic_folder(tmp_path / "a"):
            (tmp_path / "a").mkdir()
            (tmp_path / "a" / "theirs").touch()

    with pytest.raises(StorageError, match=r"\(Directory not empty\); something was written there meanwhile"):
        make()
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["theirs"]


LEAVE = """
import os, sys
from pathlib import Path
from unetkit.storage.atomic import part_of
file, folder = part_of(Path(sys.argv[1]) / "file"), part_of(Path(sys.argv[1]) / "folder")
file.write_text("half")
folder.mkdir()
(folder / "inside").write_text("half")
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        left = set(os.listdir(tmp_path))
        assert len(left) == 2
        own = part_of(tmp_path / "own")
        own.touch()
        elsewhere = tmp_path / f".file.{'0' * 8}-1-1-{'0' * 8}.part"
        elsewhere.touch()
        strange = tmp_path / ".thesis.part"
        strange.touch()
        kept = {own.name, elsewhere.name, strange.name}
        atomic._remove_abandoned.cache_clear()
        atomic_write(tmp_path / "file", "whole")
        assert set(os.listdir(tmp_path)) == left | kept | {"file"}
        other.kill()
        # Not asked yet how it ended: it has a number, but is gone.
    atomic._remove_abandoned.cache_clear()
    atomic_write(tmp_path / "file", "whole")
    assert set(os.listdir(tmp_path)) == kept | {"file"}


def test_another_process_of_the_same_number_is_another_owner() -> None:
    machine, pid, started = owner_name().split("-")
    assert not owner_is_gone(f"{machine}-{pid}-{started}")
    assert owner_is_gone(f"{machine}-{pid}-{int(started) + 1}")
    assert owner_is_gone(f"{machine}-{2**22 + 1}-1")
    assert not owner_is_gone(f"{'0' * 8}-{2**22 + 1}-1")
    assert not owner_is_gone("anything")
