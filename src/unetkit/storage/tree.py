"""Files below a folder or inside a .zip archive, under one set of names.

Assumes that the archive does not change while it is read. A name that would lead out of the archive is refused, and so
is an entry that promises more than `limits.MOST_BYTES`; an entry never becomes more than its directory promises.
Nothing is ever unpacked to the disk.
"""

import os
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import BinaryIO

from unetkit.errors import DataError
from unetkit.limits import MOST_BYTES

ZARR_FILES = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs"})
"""Files that make the folder that holds one of them a zarr."""

_UNSAFE = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|[\\\x00-\x1f]")
"""An absolute name, a drive, a step upwards, a backslash or a control character."""

_LINK = 0o120000
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(OSError, ValueError, OverflowError, NotImplementedError, RuntimeError),
)
"""What zipfile raises for damaged archives."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Named files.

    Attributes:
        root: the folder or the archive, for messages.
        files: relative names with forward slashes, sorted; hidden files are left out, and a zarr is one of them.
        read: name -> content; raises `DataError` for what cannot be read.
        packed: those of the files that lie in archives below the root.
    """

    root: Path
    files: tuple[str, ...]
    read: Callable[[str], bytes]
    packed: frozenset[str] = frozenset()

    def path(self, name: str) -> Path | None:
        """Return where a file lies on the disk; None for one in an archive."""
        return None if name in self.packed or self.root.is_file() else self.root / name

    @property
    def archives(self) -> tuple[str, ...]:
        """The names of .zip archives."""
        return tuple(name for name in self.files if name.lower().endswith(".zip"))

    def unpacked(self) -> "Tree":
        """Return the files with those of the archives among them, each below the archive's name without its ending.

        Raises:
            DataError: an archive that is damaged or holds unsafe names.
        """
        inside: dict[str, tuple[Tree, str]] = {}
        for archive in self.archives:
            path = self.path(archive)
            tree = _open_archive(path or BytesIO(self.read(archive)), Path(self.source(archive)))
            above, folder = posixpath.split(archive[: -len(".zip")])
            for name in tree.files:
                below = name if name.startswith(f"{folder}/") else f"{folder}/{name}"
                inside.setdefault(posixpath.join(above, below), (tree, name))

        def read(name: str) -> bytes:
            tree, inner = inside.get(name, (self, name))
            return tree.read(inner)

        loose = (name for name in self.files if name not in self.archives)
        return Tree(self.root, tuple(sorted({*loose, *inside})), read, frozenset(inside))

    def source(self, name: str) -> str:
        """Return a file's name for messages."""
        return f"{self.root}/{name}"


def is_archive(path: Path) -> bool:
    """Tell whether a path is a .zip archive, by its content."""
    return path.is_file() and zipfile.is_zipfile(path)


def open_tree(path: Path) -> Tree:
    """List the files of a folder or of a .zip archive; a zarr in a folder is one of them.

    Raises:
        DataError: a folder that may not be listed, or an archive that is damaged or holds unsafe names.
    """
    if path.is_file():
        return _open_archive(path, path)
    found: list[str] = []
    for folder, folders, names in os.walk(path, onerror=_raise):
        below = PurePosixPath(Path(folder).relative_to(path).as_posix())
        if ZARR_FILES.isdisjoint(names):
            found += [str(below / name) for name in names]
        else:
            found.append(str(below))
            folders.clear()

    def read(name: str) -> bytes:
        if (path / name).exists() and not (path / name).is_file():
            raise DataError(f"{path / name}: is a pipe or a device; a file was expected")
        try:
            return (path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{path / name}: cannot be read: {error.strerror}") from error

    return Tree(path, _visible(found), read)


def require_safe(name: str, source: str) -> str:
    """Return a relative file name from somebody else's file without needless parts, or refuse it.

    Raises:
        DataError: absolute, with a drive, a backslash, a control character or a step upwards.
    """
    short = posixpath.normpath(name)
    if _UNSAFE.search(name) or short == ".":
        raise DataError(f"{source}: holds the unsafe file name {name[:80]!r}; names below its own folder were expected")
    return short


def _raise(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _open_archive(file: Path | BinaryIO, path: Path) -> Tree:
    try:
        archive = zipfile.ZipFile(file)
    except ZIP_DAMAGE as error:
        raise DataError(f"{path}: not a whole .zip archive ({error}); fetch it again") from error
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = require_safe(entry.orig_filename, str(path))
        if entry.is_dir():
            continue
        if (entry.external_attr >> 16) & 0o170000 == _LINK:
            raise DataError(f"{path}: holds the link {name}; plain files were expected")
        if name in entries:
            raise DataError(f"{path}: holds {name} twice; every name was expected once")
        entries[name] = entry

    one_at_a_time = Lock()

    def read(name: str) -> bytes:
        with one_at_a_time:
            return read_entry(archive, entries[name], f"{path}/{name}")

    return Tree(path, _visible(entries), read)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: str, at_most: int | None = None) -> bytes:
    """Return the content of an archive's file, of no more bytes than its directory promises.

    Raises:
        DataError: it promises more than `at_most` bytes (None: `limits.MOST_BYTES`), is damaged, or packed in a way
            that has no bounds.
    """
    if entry.file_size > (at_most or MOST_BYTES.value):
        more = "" if at_most else f": unpack the archive, or {MOST_BYTES.more}"
        raise DataError(
            f"{source}: promises {entry.file_size:,} bytes; at most {at_most or MOST_BYTES.value:,} are read{more}"
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile inflates others unbounded
        raise DataError(
            f"{source}: packed by method {entry.compress_type} of .zip; only deflate is read: pack it again"
        )
    try:
        with archive.open(entry) as member:
            return member.read(entry.file_size)  # without a size it inflates whatever is there
    except ZIP_DAMAGE as error:
        raise DataError(f"{source}: damaged in the archive ({error}); fetch it again") from error


def _visible(names: Iterable[str]) -> tuple[str, ...]:
    hidden = (".", "__MACOSX")
    return tuple(sorted(name for name in names if not any(part.startswith(hidden) for part in name.split("/"))))
