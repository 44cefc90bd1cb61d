"""Object storage: which objects a path names, downloaded with checks and uploaded as files or folders.

Endpoint, region and credentials are found the standard AWS way (environment, ~/.aws, instance role): AWS_ENDPOINT_URL
names another service than Amazon's, such as MinIO or Huawei OBS. Reading is tried again; an object appears whole or
not at all. Does not know what the objects are for.
"""

import hashlib
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetkit.errors import RemoteError

_SCHEME = re.compile(r"^(s3|obs):/+(?=[^/])")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the listing shows it.

    Attributes:
        key: bucket and key.
        size: in bytes.
        etag: changes with the content; the MD5 of objects that were sent in one piece.
    """

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Place:
    """An object, or all objects below a key.

    Attributes:
        key: bucket and key, without a slash at the end.
        scheme: s3 or obs.
        files: the file system of fsspec that speaks the protocol.
    """

    key: str
    scheme: str
    files: Any

    @property
    def url(self) -> str:
        """The place as it was written."""
        return f"{self.scheme}://{self.key}"

    def below(self, name: str) -> "Place":
        """Return the place of a name below this one."""
        return Place(f"{self.key}/{name}" if name else self.key, self.scheme, self.files)

    def stored(self) -> Stored | None:
        """Return the object at this very place; None where there is none."""
        with speaking(self.url):
            try:
                return _stored(self.files.info(self.key))
            except FileNotFoundError:
                return None

    def list(self) -> list[Stored]:
        """Return the objects below this place, by key; none where there are none."""
        with speaking(self.url):
            found = self.files.find(self.key, detail=True).values()
        inside = (stored for stored in map(_stored, found) if stored is not None)
        return sorted((one for one in inside if one.key.startswith(f"{self.key}/")), key=lambda one: one.key)

    def bring(self, stored: Stored, path: Path) -> None:
        """Write an object to a path, whole and with the size and checksum that the listing promised.

        What is there already, with that size and checksum, is left.

        Raises:
            RemoteError: it did not come whole in three tries.
        """
        if path.is_file() and path.stat().st_size == stored.size and _md5(path) == stored.etag:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, before, reason = path.with_name(f".{path.name}.part"), "", ""
        for _ in range(_TRIES):
            try:
                with speaking(f"{self.scheme}://{stored.key}"):
                    self.files.get_file(stored.key, str(temporary))
            except RemoteError as error:
                reason = str(error)
                continue
            checksum, size = _md5(temporary), temporary.stat().st_size
            # Tags of objects that were sent in parts have a hyphen; of encrypted ones they look like checksums and are
            # none: such an object comes the same twice.
            if size == stored.size and ("-" in stored.etag or checksum in (stored.etag, before)):
                temporary.replace(path)
                return
            before, reason = checksum, f"{self.scheme}://{stored.key}: came damaged or cut short"
        temporary.unlink(missing_ok=True)
        raise RemoteError(f"{reason}; {_TRIES} tries were made: look at the connection and try again")

    def send(self, path: Path) -> None:
        """Put a file here.

        Raises:
            RemoteError: the storage did not take it; an older object is untouched.
        """
        with speaking(self.url):
            self.files.put_file(str(path), self.key)

    def remove(self, keys: Iterable[str]) -> None:
        """Delete objects by their keys."""
        with speaking(self.url):
            for key in keys:
                self.files.rm_file(key)


def is_remote(path: str | Path) -> bool:
    """Tell whether a path is in object storage; a `Path`, which folds the two slashes of `s3://` into one, counts."""
    return _SCHEME.match(str(path)) is not None


def url_of(path: str | Path) -> str:
    """Return a remote path as it is written, with both slashes."""
    return _SCHEME.sub(r"\1://", str(path))


def place_of(path: str | Path, *, asynchronous: bool = False) -> Place:
    """Return the place that a path names; `asynchronous` makes a file system for zarr's event loop, not for ours.

    Raises:
        RemoteError: no bucket is named, or the extra `s3` is not installed.
    """
    found = _SCHEME.match(str(path))
    assert found is not None
    key = str(path)[found.end() :].rstrip("/")
    try:
        from s3fs import S3FileSystem  # pyright: ignore[reportMissingTypeStubs] - it ships none
    except ModuleNotFoundError:
        raise RemoteError(f"{path}: object storage needs the extra s3: pip install 'unetkit[s3]'") from None
    # Huawei's service takes the bucket in the host's name alone.
    style = {"s3": {"addressing_style": "virtual"}} if found[1] == "obs" else {}
    with speaking(str(path)):
        files = S3FileSystem(
            use_listings_cache=False, skip_instance_cache=True, config_kwargs=style, asynchronous=asynchronous
        )
    return Place(key, found[1], files)


def _stored(entry: dict[str, Any]) -> Stored | None:
    if entry["type"] != "file" or entry["name"].endswith("/"):
        return None
    return Stored(entry["name"], int(entry["size"]), str(entry.get("ETag", "")).strip('"'))


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def speaking(url: str) -> Generator[None]:
    """Turn what may go wrong on the way into an error of ours; a missing object stays what it is for `stored`."""
    from aiohttp import ClientError as ConnectionFailure
    from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs] - it ships none

    try:
        yield
    except FileNotFoundError as error:
        raise RemoteError(f"{url}: nothing is there ({error}); look at the bucket and the key") from error
    except PermissionError as error:
        raise RemoteError(f"{url}: the storage refuses ({_line(error)}); look at the AWS credentials") from error
    except (OSError, TimeoutError, BotoCoreError, ClientError, ConnectionFailure) as error:
        raise RemoteError(
            f"{url}: cannot be reached ({_line(error)}); look at AWS_ENDPOINT_URL, the credentials and the network"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def send_file(path: Path, url: str | Path) -> None:
    """Put a file to a place in object storage, whole or not at all.

    Raises:
        RemoteError: the storage did not take it.
    """
    place_of(url).send(path)


def send_folder(folder: Path, url: str | Path) -> None:
    """Put the files of a folder below a place in object storage, one after the other.

    Raises:
        RemoteError: the storage did not take one of them; those before it are there.
    """
    place = place_of(url)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place.below(path.relative_to(folder).as_posix()).send(path)
