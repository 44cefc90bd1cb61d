"""This machine's side of object storage: this user's cache, copies of remote files, and folders that are mirrored.

A copy is downloaded once and used again while the listing's tags and sizes and the copy's own SHA-256 are what they
were. A mirrored folder, such as a run, is written here and sent as it grows; only what changed is sent. Processes of
one machine wait for each other. Old copies are not thrown away: the cache may be deleted at any time.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unetkit.errors import RemoteError, StorageError, UsageError
from unetkit.storage.lock import locked
from unetkit.storage.remote import Place, Stored, is_remote, place_of


def user_cache(purpose: str) -> Path:
    """Return the folder for files of one purpose: below XDG_CACHE_HOME, ~/.cache, or /tmp; it need not exist."""
    home = os.path.expanduser("~")
    usual = Path(home, ".cache") if home != "~" else Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "unetkit" / purpose


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
        UsageError: the path is empty.
        RemoteError: nothing is there, or the storage cannot be reached.
        StorageError: the copy cannot be written here.
    """
    if path == "":
        raise UsageError("found an empty path; give a file or a folder ('.' is the current one)")
    if not is_remote(path):
        return Path(path)
    place = place_of(path)
    name = place.key.rpartition("/")[2]
    folder, cut = cache_folder("copies", place.url), len(place.key) - len(name)
    with alone_in(folder):
        one = place.stored()
        stem, family = name.removesuffix(".xml"), list[Stored]()  # OpenVINO's weights lie next to its graph
        if one is None or stem != name:
            above = Place(place.key.rpartition("/")[0], place.scheme, place.files)
            family = [other for other in above.list() if other.key.startswith(f"{above.key}/{stem}.")]
        wanted = [one, *(other for other in family if other != one)] if one is not None else place.list() or family
        if not wanted:
            raise RemoteError(f"{place.url}: nothing is there; look at the bucket and the key")
        _download(place, wanted, folder, cut)
    return folder / name


def _download(place: Place, wanted: list[Stored], folder: Path, cut: int) -> None:
    """Make the folder hold the wanted objects, by their keys from `cut` on, and nothing else."""
    index = Index()
    try:
        known: Index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    for stored in wanted:
        name = stored.key[cut:]
        if ".." in name.split("/") or name.startswith("/"):
            raise RemoteError(f"{place.scheme}://{stored.key}: its name leads out of the folder; rename the object")
        path, entry = folder / name, known.get(name)
        same = entry == {"etag": stored.etag, "size": stored.size, "sha256": _sha256(path) if path.is_file() else ""}
        if not same:
            place.bring(stored, path)
        index[name] = {"etag": stored.etag, "size": stored.size, "sha256": _sha256(path)}
    for name in known.keys() - index.keys():
        (folder / name).unlink(missing_ok=True)
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """Let one process at a time download into a folder.

    Raises:
        StorageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".bringing", wait=True):
            yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); free space, or set "
            "XDG_CACHE_HOME to another place"
        ) from error


_Known = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder on this machine and its image in object storage.

    Attributes:
        folder: on this machine.
        place: of the image.
        known: size and time of every file when it was last uploaded or downloaded.
    """

    folder: Path
    place: Place
    known: _Known = field(default_factory=_Known)

    @classmethod
    def of(cls, url: str | Path) -> "Mirror":
        """Pair a place with a folder of this user that belongs to it."""
        place = place_of(url)
        return cls(cache_folder("runs", place.url), place)

    def is_new(self) -> bool:
        """Tell whether nothing is there yet.

        Raises:
            RemoteError: the storage cannot be reached.
        """
        return not self.place.list()

    def pull(self) -> None:
        """Download the image, unless the folder here is further on, as after a connection that was lost.

        Raises:
            RemoteError: nothing is there, or the storage cannot be reached.
        """
        stored = {one.key.removeprefix(f"{self.place.key}/"): one for one in self.place.list()}
        if not stored:
            raise RemoteError(f"{self.place.url}: nothing is there; look at the bucket and the key")
        with alone_in(self.folder):
            here = _files(self.folder)
            if _newest(here) > _newest(stored):
                return
            for name in here.keys() - stored.keys():
                (self.folder / name).unlink()
            for name, one in stored.items():
                self.place.bring(one, self.folder / name)
            self.known.update(_files(self.folder))

    def push(self) -> None:
        """Send what changed, and delete from the image what is gone here.

        `config.yaml` goes first, so that the image is a run from the start, then checkpoints; deletions come last, so
        that there is a whole checkpoint at every moment.

        Raises:
            RemoteError: the storage did not take something; the next push sends it again.
        """
        here = _files(self.folder)
        for name in sorted(here, key=lambda name: (name != "config.yaml", not name.startswith("checkpoints/"), name)):
            if self.known.get(name) != here[name]:
                self.place.below(name).send(self.folder / name)
                self.known[name] = here[name]
        gone = [name for name in self.known if name not in here]
        self.place.remove(self.place.below(name).key for name in gone)
        for name in gone:
            del self.known[name]


def _files(folder: Path) -> _Known:
    """Return size and time of the files of a folder; hidden ones, which are locks and halves, do not count."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    stats = [(path, path.stat()) for path in found]
    return {path.relative_to(folder).as_posix(): (stat.st_size, stat.st_mtime_ns) for path, stat in stats}


def _newest(names: Iterable[str]) -> str:
    return max((name for name in names if name.startswith("checkpoints/")), default="")
