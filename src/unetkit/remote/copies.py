"""Copies of remote files and folders on this machine, brought once and used again as long as they are the same.

A copy is the same when the listing's tags and sizes and the copies' own SHA-256 are what they were. Processes of one
machine wait for each other. Does not throw old copies away: the folder may be deleted at any time.
"""

import fcntl
import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetkit.cache import user_cache
from unetkit.errors import RemoteError, StorageError
from unetkit.remote.places import Place, Stored, is_remote, place_of

_INDEX = ".unetkit-copies.json"
Index = dict[str, dict[str, Any]]


def cache_folder(purpose: str, url: str) -> Path:
    """Return this user's folder for what belongs to a URL."""
    return user_cache(purpose) / hashlib.sha256(url.encode()).hexdigest()[:20]


def local_copy(path: str | Path) -> Path:
    """Return a path on this machine with the same content: the path itself, or a copy of what is in object storage.

    A key without an object of its own stands for all objects below it, or for the files whose names go on after a dot
    (`model.ckpt-3.index`, ...).

    Raises:
        RemoteError: nothing is there, or the storage cannot be reached.
        StorageError: the copy cannot be written here.
    """
    if not is_remote(path):
        return Path(path)
    place = place_of(path)
    name = place.key.rpartition("/")[2]
    folder, cut = cache_folder("copies", place.url), len(place.key) - len(name)
    with alone_in(folder):
        one = place.stored()
        stem = name.removesuffix(".xml")  # OpenVINO's weights lie beside its graph
        beside = _family(place, stem) if one is None or stem != name else []
        wanted = [one, *(other for other in beside if other != one)] if one is not None else place.list() or beside
        if not wanted:
            raise RemoteError(f"{place.url}: nothing is there; look at the bucket and the key")
        _bring(place, wanted, folder, cut)
    return folder / name


def _family(place: Place, name: str) -> list[Stored]:
    above = Place(place.key.rpartition("/")[0], place.scheme, place.files)
    return [stored for stored in above.list() if stored.key.startswith(f"{above.key}/{name}.")]


def _bring(place: Place, wanted: list[Stored], folder: Path, cut: int) -> None:
    """Make the folder hold the wanted objects, by their keys from `cut` on, and nothing else."""
    index, known = Index(), _read_index(folder)
    for stored in wanted:
        name = stored.key[cut:]
        if ".." in name.split("/") or name.startswith("/"):
            raise RemoteError(f"{place.scheme}://{stored.key}: its name leads out of the folder; rename the object")
        path, entry = folder / name, known.get(name)
        if entry is None or entry["etag"] != stored.etag or not _unchanged(path, entry):
            place.bring(stored, path)
        index[name] = {"etag": stored.etag, "size": stored.size, "sha256": _sha256(path)}
    for name in known.keys() - index.keys():
        (folder / name).unlink(missing_ok=True)
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _read_index(folder: Path) -> Index:
    try:
        return json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _unchanged(path: Path, entry: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == entry["size"] and _sha256(path) == entry["sha256"]


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """Let one process at a time bring things into a folder.

    Raises:
        StorageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".bringing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); free space, or set "
            "XDG_CACHE_HOME to another place"
        ) from error
