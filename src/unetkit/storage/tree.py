"""Files below a folder or inside a .zip archive, under one set of names.

Assumes that the archive does not change while it is read. A name that would lead out of the archive is refused, and so
is an entry that promises more than `LARGEST_FILE` bytes; nothing is ever unpacked to the disk.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock

from unetkit.errors import DataError

LARGEST_FILE = 2**30
"""Bytes of the largest file that is read from an archive."""

_UNSAFE = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|[\\\x00-\x1f]")
"""An absolute name, a drive, a step upwards, a backslash or a control character."""

_LINK = 0o120000


@dataclass(frozen=True, slots=True)
class Tree:
    """Named files.

    Attributes:
        root: the folder or the archive, for messages.
        files: relative names with forward slashes, sorted; hidden files are left out.
        read: name -> content; raises `DataError` for what cannot be read.
    """

    root: Path
    files: tuple[str, ...]
    read: Callable[[str], bytes]

    def source(self, name: str) -> str:
        """Return a file's name for messages."""
        return f"{self.root}/{name}"


def is_archive(path: Path) -> bool:
    """Tell whether a path is a .zip archive, by its content."""
    return path.is_file() and zipfile.is_zipfile(path)


def open_tree(path: Path) -> Tree:
    """List the files of a folder or of a .zip archive.

    Raises:
        DataError: an archive that is damaged or holds unsafe names.
    """
    return _open_archive(path) if path.is_file() else _open_folder(path)


def require_safe(name: str, source: str) -> PurePosixPath:
    """Return a relative file name from somebody else's file, or refuse it.

    Raises:
        DataError: absolute, with a drive, a backslash, a control character or a step upwards.
    """
    path = PurePosixPath(name)
    if _UNSAFE.search(name) or not path.parts:
        raise DataError(f"{source}: holds the unsafe file name {name[:80]!r}; names below its own folder were expected")
    return path


def _open_folder(root: Path) -> Tree:
    found: list[str] = []
    for folder, _, names in os.walk(root):
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [str(below / name) for name in names]

    def read(name: str) -> bytes:
        try:
            return (root / name).read_bytes()
        except OSError as error:
            raise DataError(f"{root / name}: cannot be read: {error.strerror}") from error

    return Tree(root, _visible(found), read)


def _open_archive(path: Path) -> Tree:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a whole .zip archive ({error}); fetch it again") from error
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = str(require_safe(entry.orig_filename, str(path)))
        if entry.is_dir():
            continue
        if (entry.external_attr >> 16) & 0o170000 == _LINK:
            raise DataError(f"{path}: holds the link {name}; plain files were expected")
        if name in entries:
            raise DataError(f"{path}: holds {name} twice; every name was expected once")
        entries[name] = entry

    one_at_a_time = Lock()

    def read(name: str) -> bytes:
        entry = entries[name]
        if entry.file_size > LARGEST_FILE:
            raise DataError(f"{path}/{name}: promises {entry.file_size:,} bytes; at most {LARGEST_FILE:,} are read")
        try:
            with one_at_a_time:
                return archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{path}/{name}: damaged in the archive ({error}); fetch it again") from error

    return Tree(path, _visible(entries), read)


def _visible(names: list[str] | dict[str, zipfile.ZipInfo]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if not _is_hidden(name)))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
