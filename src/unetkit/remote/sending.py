"""Results sent to object storage: a file, or a folder of files."""

from pathlib import Path

from unetkit.remote.places import place_of


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
