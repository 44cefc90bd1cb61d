"""A file is there whole or not at all, also on a full disk."""

import os
from pathlib import Path

import pytest

from unetkit.errors import StorageError
from unetkit.storage.atomic import atomic_path, atomic_write


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
