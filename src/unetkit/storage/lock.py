"""One process at a time: by a lock on a file, or by a file of its owner where the file system has no locks.

A lock is gone with its process, also on another machine. A file system without locks, such as some network and object
file systems, has but names that are made once, and so Windows is treated: there FILE.owner names the process that is at
work; when it was killed, the next process of the same machine takes its place, and from another machine a person has to
delete the file.
"""

import errno
import os
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from unetkit.storage.atomic import owner_is_gone, owner_name

_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
_SECONDS = 0.2


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Generator[None]:
    """Keep other processes from the same lock until the end of the block.

    Args:
        path: of the file that is locked; it stays.
        wait: for another process that has the lock.

    Raises:
        BlockingIOError: another process has it, and nobody waits.
        OSError: the file cannot be written.
    """
    with path.open("a") as file, ExitStack() as held:
        try:
            _lock(file, wait=wait)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            held.enter_context(_owned(path.with_name(f"{path.name}.owner"), wait=wait))
        yield


def _lock(file: IO[str], *, wait: bool) -> None:
    """Lock a file until it is closed; `OSError`: another process has the lock, or there are none."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "no locks that end with their process")
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_locked(path: Path) -> bool:
    """Tell whether another process has a lock; it is taken for a moment to see."""
    if not path.exists():
        return False
    try:
        with locked(path):
            return False
    except BlockingIOError:
        return True
    except OSError:  # nobody can lock it, as on a disk that is read only
        return False


@contextmanager
def _owned(path: Path, *, wait: bool) -> Generator[None]:
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                if owner_is_gone(path.read_text(encoding="utf-8")):
                    path.unlink()
                    continue
            if not wait:
                raise BlockingIOError(errno.EAGAIN, f"{path} names its owner") from None
            time.sleep(_SECONDS)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(owner_name())
        yield
    finally:
        path.unlink(missing_ok=True)
