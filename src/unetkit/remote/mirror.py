"""A folder on this machine and its image in object storage: a run is written here and sent there as it grows.

Only what changed is sent. `config.yaml` goes first, so that the image is a run from the start, and what is gone here is
deleted there last, so that there is a whole checkpoint at every moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from unetkit.errors import RemoteError
from unetkit.remote.copies import alone_in, cache_folder
from unetkit.remote.places import Place, place_of

_Known = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Mirror:
    """The pair.

    Attributes:
        folder: here.
        place: there.
        known: size and time of every file when it was last sent or brought.
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
        """Bring what is there, unless the folder here is further on, as after a connection that was lost.

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
        """Send what changed, and delete there what is gone here.

        Raises:
            RemoteError: the storage did not take something; the next push sends it again.
        """
        here = _files(self.folder)
        for name in sorted(here, key=_order):
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


def _order(name: str) -> tuple[bool, bool, str]:
    return name != "config.yaml", not name.startswith("checkpoints/"), name


def _newest(names: Iterable[str]) -> str:
    return max((name for name in names if name.startswith("checkpoints/")), default="")
