"""Files that are there whole or not at all: written next to their place, flushed to the disk, then renamed.

What belongs in object storage is written to a temporary folder and sent from there.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from unetkit.errors import StorageError
from unetkit.storage.remote import is_remote, send_file


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on any failure nothing is left of it.

    Raises:
        StorageError: the disk is full or the folder cannot be written to; an older file at `path` is untouched.
        RemoteError: object storage did not take it.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="unetkit-") as folder:
            yield Path(folder) / path.name
            send_file(Path(folder) / path.name, path)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        mask = os.umask(0o022)  # it can only be read by setting it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file so that its name never holds half of it.

    Raises:
        StorageError: as `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing; object storage needs none.

    Raises:
        StorageError: it cannot be made there.
    """
    if is_remote(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: the folder cannot be made ({error.strerror}); choose another place") from error
