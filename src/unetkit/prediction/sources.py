"""What is predicted and where results go, looked at before the first pixel: images that fit, names, free places.

Does not know what is written.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from unetkit.data.folders import IMAGE_FOLDERS, find_folder, image_files, is_mask_name
from unetkit.data.images import SUFFIXES, open_pages
from unetkit.data.pages import Pages
from unetkit.errors import DataError, StorageError, UsageError
from unetkit.prediction.predictor import Predictor
from unetkit.remote import is_remote, place_of, send_folder, url_of
from unetkit.storage import make_folder


def open_fitting(predictor: Predictor, source: Path) -> Pages:
    """Open an image file whose channels are those that the network takes; no pixels are read.

    Raises:
        DataError: other channels, or as `open_pages`.
    """
    pages, wanted = open_pages(source), len(predictor.normalization.mean)
    if pages.channels != wanted:
        raise DataError(
            f"{source}: has {pages.channels} channels, but the network was trained on images with {wanted}; "
            "give images like those of the training"
        )
    return pages


def names_for(folder: Path, name_for: Callable[[Path], str]) -> dict[Path, str]:
    """Return the image files of a folder, or of its folder `images`, and the names of what is written for them.

    Raises:
        DataError: no images, or two whose results would have one name.
    """
    inner = find_folder(folder, IMAGE_FOLDERS)
    images = image_files(inner) if inner else [path for path in image_files(folder) if not is_mask_name(path)]
    if not images:
        raise DataError(f"{folder}: holds no image files; expected {', '.join(sorted(SUFFIXES))}")
    taken: dict[str, Path] = {}
    for image in images:
        twin = taken.setdefault(name_for(image), image)
        if twin != image:
            raise DataError(f"{image}: its mask would have the name of that for {twin.name}; rename one of them")
    return {image: name for name, image in taken.items()}


def require_not_source(out: Path, source: Path) -> None:
    """Make sure that a file to be written is not the image itself.

    Raises:
        UsageError: it is.
    """
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out}: is the image itself; choose another --out, so that it is not overwritten")


def require_empty(folder: Path) -> None:
    """Make sure that a folder to be written is empty or not there.

    Raises:
        UsageError: it is not.
        RemoteError: object storage does not tell.
    """
    if is_remote(folder):
        taken = bool(place_of(folder).list())
    else:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise UsageError(f"{url_of(folder)}: is not an empty folder; nothing is overwritten: choose another --out")


@contextmanager
def folder_whole(folder: Path) -> Generator[Path]:
    """Make a folder under a temporary name; on success it becomes `folder`, on any failure nothing is left of it.

    Raises:
        StorageError: the disk did not take it.
    """
    make_folder(folder.parent)
    above = Path(tempfile.gettempdir()) if is_remote(folder) else folder.parent
    temporary = above / f".{folder.name}.{os.getpid()}.part"
    make_folder(temporary)
    try:
        yield temporary
        if is_remote(folder):
            send_folder(temporary, folder)
        else:
            temporary.replace(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
