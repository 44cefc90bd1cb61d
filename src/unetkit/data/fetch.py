"""Public data sets, downloaded from their official places and checked pixel by pixel.

`isbi2012` is the stack of the ISBI-2012 segmentation challenge (Cardona et al. 2010; Arganda-Carreras et al. 2015),
free for non-commercial use with citation. The challenge's server is switched off; its page at imagej.net links to an
archive of the data, which is tried first, then the three files where the server once had them. What counts is the
checksum of the decoded pixels, so that it does not matter how a copy is packed. Nothing is written before all of it is
verified.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetkit.errors import DataError, UsageError, known_names
from unetkit.images import open_image
from unetkit.progress import NoProgress, Progress
from unetkit.storage.atomic import atomic_path, make_folder, temporary_folder
from unetkit.storage.tree import ZIP_DAMAGE

_LARGEST_DOWNLOAD = 2**28
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PublicData:
    """A data set that can be fetched.

    Attributes:
        page: where a person finds it.
        urls: places that are tried in order; one that ends in .zip is an archive, any other a folder of the files.
        pixels: file name -> SHA-256 of its decoded pixels in order, 8 bits each.
    """

    page: str
    urls: tuple[str, ...]
    pixels: Mapping[str, str]


ISBI2012 = PublicData(
    page="https://imagej.net/events/isbi-2012-segmentation-challenge",
    urls=(
        "https://downloads.imagej.net/ISBI-2012-challenge.zip",
        "http://brainiac2.mit.edu/isbi_challenge/sites/default/files/",
    ),
    pixels={
        "train-volume.tif": "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
        "train-labels.tif": "a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
        "test-volume.tif": "1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
    },
)
KNOWN: Mapping[str, PublicData] = {"isbi2012": ISBI2012}


def fetch(
    name: str,
    out: str | Path,
    *,
    source: str | Path | None = None,
    known: Mapping[str, PublicData] = KNOWN,
    progress: Progress | None = None,
) -> Path:
    """Download a public data set into a folder and return the folder; what is there and whole is left as it is.

    Args:
        name: `isbi2012`.
        out: the folder.
        source: a folder or a .zip that holds the files, instead of the network.
        known: the data sets and their places.
        progress: reports how many bytes have come.

    Raises:
        UsageError: a name that is not known.
        DataError: no place answered, or what it gave, or what lies in the folder already, is not the data set.
        StorageError: the folder cannot be written to.

    Example:
        >>> fetch("isbi2012", "data/isbi2012")
    """
    if name not in known:
        raise UsageError(f"{name}: not a public data set that is known; {known_names(name, known)}")
    data, folder = known[name], Path(out)
    present = [file for file in data.pixels if (folder / file).exists()]
    for file in present:
        _require_pixels(folder / file, data.pixels[file], "move it away, so that nothing is overwritten")
    missing = [file for file in data.pixels if file not in present]
    if missing:
        make_folder(folder)
        with temporary_folder() as scratch:
            if source is None:
                found = _download_all(data, missing, scratch, progress or NoProgress())
            else:
                found = _verified(data, _files_in(Path(source), missing, scratch))
            for file, path in found.items():
                with atomic_path(folder / file) as temporary:
                    shutil.copyfile(path, temporary)
    return folder


def pixel_checksum(path: Path) -> str:
    """Return the SHA-256 of a stack's decoded pixels, page after page, as hexadecimal digits.

    Raises:
        DataError: no readable image, or not of 8 bits.
    """
    pages = open_image(path)
    digest = hashlib.sha256()
    for number in range(pages.count):
        page = pages.read(number)
        if page.dtype != np.uint8:
            raise DataError(f"{path}: pixels of type {page.dtype}; 8 bits were expected")
        digest.update(page.tobytes())
    return digest.hexdigest()


def _download_all(data: PublicData, files: Sequence[str], scratch: Path, progress: Progress) -> dict[str, Path]:
    """Return where the verified files are, from the first URL that gives all of them."""
    failures: list[str] = []
    for url in data.urls:
        try:
            if url.endswith(".zip"):
                archive = _download(url, scratch / "archive.zip", progress)
                return _verified(data, _unpacked(archive, files, scratch, url))
            return _verified(data, {file: _download(f"{url}{file}", scratch / file, progress) for file in files})
        except DataError as error:
            failures.append(str(error))
    raise DataError(
        f"{'; '.join(failures)}; by hand: get the data from {data.page}, then run this command again "
        "with --from and the archive or the folder"
    )


def _files_in(source: Path, files: Sequence[str], scratch: Path) -> dict[str, Path]:
    """Return where the files are, of a folder or an archive on this machine."""
    if source.is_dir():
        absent = next((file for file in files if not (source / file).is_file()), None)
        if absent:
            raise DataError(f"{source}: holds no {absent}; a folder or a .zip with {', '.join(files)} was expected")
        return {file: source / file for file in files}
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    return _unpacked(source, files, scratch, str(source))


def _verified(data: PublicData, found: dict[str, Path]) -> dict[str, Path]:
    for file, path in found.items():
        _require_pixels(path, data.pixels[file], f"get {file} again from {data.page}")
    return found


def _require_pixels(path: Path, expected: str, advice: str) -> None:
    found = pixel_checksum(path)
    if found != expected:
        raise DataError(
            f"{path}: other pixels than the data set's (SHA-256 {found[:12]}..., expected {expected[:12]}...); {advice}"
        )


def _unpacked(archive: Path, files: Sequence[str], scratch: Path, origin: str) -> dict[str, Path]:
    """Take the files out of an archive, in whatever folder of it they are, without trusting its names or sizes."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(info.filename).name: info for info in reversed(opened.infolist())}
            absent = next((file for file in files if file not in members), None)
            if absent:
                raise DataError(f"{origin}: the archive holds no {absent}")
            contents: dict[str, bytes] = {}
            for file in files:
                with opened.open(members[file]) as packed:
                    contents[file] = packed.read(_LARGEST_DOWNLOAD)
    except ZIP_DAMAGE as error:
        raise DataError(f"{origin}: not a whole .zip archive ({error})") from error
    for file, content in contents.items():
        (scratch / file).write_bytes(content)
    return {file: scratch / file for file in files}


def _download(url: str, target: Path, progress: Progress) -> Path:
    import pooch  # pyright: ignore[reportMissingTypeStubs] - it has none; it brings an HTTP client that is slow to import

    watch: Any = _Watch(url, progress)
    downloader: Any = pooch.HTTPDownloader(progressbar=watch, chunk_size=2**16, timeout=_SECONDS)
    try:
        downloader(url, str(target), None)
    except OSError as error:  # the HTTP client's errors are among these
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = f"status {status}" if status else type(error).__name__
        raise DataError(f"{url}: no whole answer ({reason})") from error
    return target


class _Watch:
    """What pooch takes for a progress bar: it updates our progress and stops an answer that has no end."""

    def __init__(self, url: str, progress: Progress) -> None:
        self.total, self._url, self._progress, self._done = 0, url, progress, 0

    def update(self, count: int) -> None:
        self._done += count
        if self._done > _LARGEST_DOWNLOAD:
            raise DataError(f"{self._url}: more than {_LARGEST_DOWNLOAD:,} bytes; this is not the data set")
        self._progress.update(min(self._done, self.total or self._done), self.total, {})

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing is held."""
