"""Files and folders that are there whole or not at all: written next to their place, flushed, then renamed.

What is not whole yet is called `.NAME.HOST-PID-START-RANDOM.part`, by the process that writes it. It is removed when
that process ends in whatever way Python hears of; what a kill or a power cut left is removed by the next process that
writes into the same folder on the same machine, when its owner is gone. What belongs in object storage is written to a
temporary folder and sent from there. Assumes a file system that renames atomically, and no more.
"""

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from unetkit.errors import StorageError
from unetkit.storage.remote import is_remote, send_file, send_folder

_PART = re.compile(r"\..*\.([0-9a-f]{8}-[0-9]+-[0-9]+)-[0-9a-f]{8}\.part", re.DOTALL)
_LONGEST = 100
"""Bytes of a name that its temporary one has, which would else be too long where the name itself is not."""


def part_of(path: Path) -> Path:
    """Return a new temporary path next to another, with this process as its owner."""
    _remove_abandoned(path.parent)
    start = path.name.encode()[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{start}.{owner_name()}-{secrets.token_hex(4)}.part")


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on any failure nothing is left of it.

    Raises:
        StorageError: the disk is full or the folder cannot be written to; an older file at `path` is untouched.
        RemoteError: object storage did not take it.
    """
    if is_remote(path):
        with temporary_folder() as folder:
            yield folder / path.name
            send_file(folder / path.name, path)
        return
    temporary = part_of(path)
    try:
        with written_to(path):
            yield temporary
            mask = os.umask(0o022)  # it can only be read by setting it
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
    finally:
        with suppress(OSError):  # a name that is too long, or a folder that is gone
            temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file so that its name never holds half of it.

    Raises:
        StorageError: as `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people to read, so that the file's name never holds half of it.

    Raises:
        StorageError: as `atomic_path`.
    """
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def atomic_folder(folder: Path) -> Generator[Path]:
    """Make a folder under a temporary name; on success it becomes `folder`, on any failure nothing is left of it.

    `folder` is not there yet, or is empty; those above it are made.

    Raises:
        StorageError: the disk did not take it.
        RemoteError: object storage did not take it.
    """
    if is_remote(folder):
        with temporary_folder() as temporary:
            yield temporary
            send_folder(temporary, folder)
        return
    make_folder(folder.parent)
    with temporary_folder(folder) as temporary:
        yield temporary
        if sys.platform == "win32" and folder.exists():  # an empty folder is not replaced there
            folder.rmdir()
        temporary.replace(folder)
        flush(folder.parent)


@contextmanager
def temporary_folder(path: Path | None = None) -> Generator[Path]:
    """Make a temporary folder next to a path, or where this system keeps such; it is gone at the end.

    Raises:
        StorageError: it cannot be made there, or the disk does not take what the block writes.
    """
    folder = part_of(path or Path(tempfile.gettempdir()) / "unetkit")
    try:
        with written_to(path or folder):
            folder.mkdir(mode=0o777 if path else 0o700)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_ADVICE = {
    errno.ENOENT: "its folder is not there (any more)",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTEMPTY: "something was written there meanwhile; look at it, or choose another place",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a part of this path is a file, not a folder; choose another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose another place"),
}


@contextmanager
def written_to(path: Path) -> Generator[None]:
    """Write to a file or folder that is there.

    Raises:
        StorageError: the disk did not take it.
    """
    try:
        yield
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> StorageError:
    """Return the error for a path that the disk did not take."""
    advice = _ADVICE.get(error.errno or 0, "free space or choose another place")
    return StorageError(f"{path}: cannot be written ({error.strerror or error}); {advice}")


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the system offers that."""
    if sys.platform == "win32":  # a file that is only read cannot be flushed there, a folder not be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_taken(folder: Path, but: tuple[str, ...] = ()) -> bool:
    """Tell whether something stands where a folder is to be made: a file, or a folder that is not empty.

    Args:
        folder: to be made.
        but: how names begin that do not count, of what a start that was killed has left of itself.
    """
    return folder.exists() and (not folder.is_dir() or not all(one.name.startswith(but) for one in folder.iterdir()))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing; object storage needs none.

    Raises:
        StorageError: it cannot be made there.
    """
    if is_remote(folder):
        return
    with written_to(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def folder_for(folder: Path) -> Generator[None]:
    """Make a folder for what the block writes, as `make_folder`; where it writes nothing, what was made is gone.

    Raises:
        StorageError: it cannot be made there.
    """
    missing = [] if is_remote(folder) else [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        make_folder(folder)
        yield
    except BaseException:
        for one in missing:
            with suppress(OSError):  # another process has written there
                one.rmdir()
        raise


def owner_name() -> str:
    """Return a name of this process, which no other has or had: MACHINE-PID-START."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}"


def owner_is_gone(owner: str) -> bool:
    """Return whether a process was one of this machine and has ended; by its `owner_name`."""
    machine, _, process = owner.partition("-")
    pid, _, started = process.partition("-")
    if machine != _machine() or not pid.isdecimal() or sys.platform == "win32":  # nobody tells there without harm
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's
        pass
    return _started(int(pid)) not in (started, "0")


@cache  # once a folder in a process: some get thousands of files
def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files and folders whose owner was a process of this machine that is gone."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = _PART.fullmatch(entry.name)
            if found is None or not owner_is_gone(found[1]):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Return what tells this machine, and this container with processes of its own, from others."""
    name = platform.node()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _started(pid: int) -> str:
    """Return when a process began, in ticks since this machine did, which no other of its number has; 0: not known."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "ended" if state in "ZX" else numbers[18]  # killed, but nobody has asked how it ended
    except (OSError, ValueError, IndexError):
        return "0"
