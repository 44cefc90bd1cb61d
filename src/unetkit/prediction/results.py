"""Files of objects, page by page: labels as TIFF, COCO JSON, outlines as PNG; each whole or not at all.

Before the first pixel is predicted, `open_fitting`, `names_for`, `require_not_source` and `require_empty` look at what
is given and where results go. Labels of a stack have one dtype, which its last page may decide; until then they are
kept compressed, in about a hundredth of their size.

Legend of shapes: C channels, H height, W width, N objects.
"""

import json
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import ObjectsConfig
from unetkit.data.channels import in_channels, pages_as_channels
from unetkit.data.layouts.mask_files import (
    IMAGE_FOLDERS,
    SECTIONS,
    are_sections,
    find_folder,
    image_files,
    is_mask_name,
)
from unetkit.data.layouts.names import files_of_channels, has_word
from unetkit.data.outlines import coco_masks, pack_runs
from unetkit.errors import DataError, UsageError
from unetkit.images import SUFFIXES, natural, open_image
from unetkit.images.image import Image, joined, neighbours
from unetkit.images.write import Form, tiff_stack
from unetkit.objects import ObjectMap, describe, object_classes
from unetkit.objects.find import outlined
from unetkit.prediction.journal import JOURNAL, unfinished_folder
from unetkit.prediction.predictor import Predictor
from unetkit.progress import Progress
from unetkit.storage import is_remote, place_of, url_of
from unetkit.storage.atomic import atomic_folder, atomic_path, atomic_write, is_taken


def open_fitting(predictor: Predictor, source: Path, sections: Sequence[Path] = ()) -> Image:
    """Open an image file whose channels are those that the network takes; no pixels are read.

    Of an image with more channels, or with pages without names that may be channels, those of `predict.channels` are
    taken. Where the network sees the slices around each slice, their channels are the pages' too.

    Args:
        predictor: the network.
        source: the image file.
        sections: the files of the slices that it is seen with, where each is in a file of its own.

    Raises:
        DataError: other channels, a single slice where a stack is needed, or as `open_image`.
    """
    if sections:
        return joined([_of_its_channels(predictor, path) for path in sections])
    return _of_its_channels(predictor, source).with_context(predictor.card.context)


def sections_around(predictor: Predictor, files: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return the files of the slices that each image of a folder is seen with; () where its own pages are those.

    Raises:
        DataError: single images that are no sections of a stack, where the network needs one.
    """
    alone = dict.fromkeys(files, ())
    if not predictor.card.context:
        return alone
    ordered = sorted(files, key=lambda path: natural(path.name))
    images = [open_image(path) for path in ordered]
    if any(image.count > 1 for image in images):
        return alone
    if not are_sections(images):
        raise DataError(
            f"{files[0].parent}: {len(files)} single images, but the network sees each slice of a stack with its "
            f"neighbours (model.context={predictor.card.context}); give stacks, or at least {SECTIONS} sections of one "
            "size that are numbered without a gap and look alike"
        )
    around: list[list[int]] = neighbours([np.arange(len(ordered))], predictor.card.context).tolist()
    return {path: tuple(ordered[index] for index in row) for path, row in zip(ordered, around, strict=True)}


def _of_its_channels(predictor: Predictor, source: Path) -> Image:
    image, wanted, chosen = open_image(source), predictor.card.image_channels, predictor.config.channels
    words = predictor.config.channel_files
    if words and image.channels == 1:
        image = in_channels([open_image(path) for path in files_of_channels(source, words)])
    if image.times == wanted > image.channels:
        image = pages_as_channels(image, image.count // image.times)
    if predictor.takes(image.channels * predictor.card.slices):
        return image
    several = pages_as_channels(image)
    if chosen is not None and len(chosen) == wanted and max(chosen) < several.channels:
        return several.with_channels(chosen)
    remedy = "give images like those of the training"
    if several.channels >= wanted:
        pages = "" if several is image else f"if its {image.count} pages are channels, "
        remedy = f"{pages}choose {wanted} of {several.channels} by predict.channels={[*range(wanted)]}"
    raise DataError(
        f"{source}: has {image.channels} channels, but the network was trained on images with {wanted}; {remedy}"
    )


def names_for(
    predictor: Predictor, folder: Path, name_for: Callable[[Path], str], progress: Progress
) -> dict[Path, str]:
    """Return the image files of a folder, or of its folder `images`, and the names of what is written for them.

    Where each channel of an image has a file of its own, the one of the first stands for it. What is left out is said:
    masks, and files that are no images.

    Raises:
        DataError: no images, or two whose results would have one name.
    """
    inner = find_folder(folder, IMAGE_FOLDERS)
    images = image_files(inner) if inner else [path for path in image_files(folder) if not is_mask_name(path)]
    if not images:
        raise DataError(f"{folder}: holds no image files; expected {', '.join(sorted(SUFFIXES))}")
    there = {path for path in (inner or folder).iterdir() if path.is_file() and not path.name.startswith(".")}
    if others := sorted(path.name for path in there.difference(images)):
        shown = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        progress.log(f"note: {len(others)} files of {folder} are left out, as masks or as no images: {shown}")
    words = predictor.config.channel_files or ()
    images = [path for path in images if has_word(path, words[0])] or images if words else images
    taken: dict[str, Path] = {}
    for image in images:
        duplicate = taken.setdefault(name_for(image), image)
        if duplicate != image:
            raise DataError(f"{image}: its mask would have the name of that for {duplicate.name}; rename one of them")
    return {image: name for name, image in taken.items()}


def require_not_source(out: Path, source: Path) -> None:
    """Make sure that a file to be written is not the image itself.

    Raises:
        UsageError: it is.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out}: is the image itself; choose another --out, so that it is not overwritten")


def require_free(out: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Make sure that an output is not there yet, or may be replaced.

    Raises:
        UsageError: it is there.
    """
    if is_remote(out) or overwrite or not is_taken(out):
        return
    if resume and (unfinished_folder(out) / JOURNAL).exists():
        return
    finished = " and finished" if resume else ""
    raise UsageError(f"{out}: is there already{finished}; choose another --out, or replace it by --overwrite")


def require_empty(folder: Path) -> None:
    """Make sure that a folder to be written is empty or not there.

    Raises:
        UsageError: it is not.
        RemoteError: object storage does not tell.
    """
    if bool(place_of(folder).list()) if is_remote(folder) else is_taken(folder):
        raise UsageError(f"{url_of(folder)}: is not an empty folder; nothing is overwritten: choose another --out")


_LARGEST_UINT16 = 65535


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of one page.

    Attributes:
        image: its file.
        page: its index in the file.
        opened: the file as it was opened, with the network's channels.
        pixels_CHW: as stored.
        objects: what was found.
        scores: [N] mean probability of each object's class in it.
    """

    image: Path
    page: int
    opened: Image
    pixels_CHW: NDArray[Any]
    objects: ObjectMap
    scores: NDArray[np.float64]

    @property
    def pages(self) -> int:
        """How many pages the file has."""
        return self.opened.count

    @property
    def form(self) -> Form:
        """A file of as many pages with a value a pixel: its axes and its pixel size."""
        return Form.like(self.opened, np.uint16, (), None)


class Sink(Protocol):
    """What takes pages, those of a file one after the other."""

    def put(self, found: Found) -> None:
        """Take a page."""
        ...


@contextmanager
def labels(out: Path, *, folder: bool) -> Generator[Sink]:
    """Give what writes the labels of one file, or those of many to a folder, each under its image's name.

    Raises:
        StorageError: the disk did not take it.
    """
    with _whole(out, folder=folder) as place:
        yield _Labels(lambda image: place / f"{image.stem}.tif" if folder else place)


@contextmanager
def outlines(out: Path, *, folder: bool) -> Generator[Sink]:
    """Give what draws a single page, or many pages to files of a folder; those of a stack are numbered.

    Raises:
        StorageError: the disk did not take it.
    """
    with _whole(out, folder=folder) as place:
        yield _Outlines(place, folder)


def _whole(out: Path, *, folder: bool) -> AbstractContextManager[Path]:
    """Give the place to write to: a file is made whole by what writes it, a folder here."""
    return atomic_folder(out) if folder else nullcontext(out)


@contextmanager
def coco_file(path: Path, classes: Sequence[str], config: ObjectsConfig) -> Generator[Sink]:
    """Give what collects objects in COCO's form; ids of images and annotations count from 1, categories are classes.

    Raises:
        UsageError: pycocotools is not installed.
        StorageError: the disk did not take it.
    """
    coco_masks()
    sink = _Coco([], [])
    yield sink
    content = {
        "info": {"description": f"objects found by unetkit: {describe(classes, config)}"},
        "images": sink.images,
        "categories": [{"id": index, "name": classes[index]} for index in object_classes(classes)],
        "annotations": sink.annotations,
    }
    atomic_write(path, json.dumps(content))


@dataclass(frozen=True, slots=True)
class _Labels:
    place: Callable[[Path], Path]
    packed: list[bytes] = field(default_factory=list[bytes])
    counts: list[int] = field(default_factory=list[int])

    def put(self, found: Found) -> None:
        ids_HW = found.objects.ids
        self.packed.append(zlib.compress(ids_HW.tobytes(), 1))
        self.counts.append(len(found.objects))
        if found.page + 1 < found.pages:
            return
        most = max(self.counts)
        dtype = np.uint16 if most <= _LARGEST_UINT16 else np.uint32
        height, width = ids_HW.shape
        form = replace(found.form, dtype=dtype, white=float(most))
        with tiff_stack(self.place(found.image), form) as output:
            for page, content in enumerate(self.packed):
                output.put(page, 0, 0, np.frombuffer(zlib.decompress(content), np.int32).reshape(1, height, width))
        self.packed.clear()
        self.counts.clear()


@dataclass(frozen=True, slots=True)
class _Outlines:
    place: Path
    folder: bool

    def put(self, found: Found) -> None:
        from PIL import Image  # needed for PNG alone

        numbered = found.image.stem if found.pages == 1 else f"{found.image.stem}-{found.page:04}"
        with atomic_path(self.place / f"{numbered}.png" if self.folder else self.place) as temporary:
            Image.fromarray(outlined(found.pixels_CHW, found.objects)).save(temporary, format="PNG")


@dataclass(frozen=True, slots=True)
class _Coco:
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]

    def put(self, found: Found) -> None:
        objects, number = found.objects, len(self.images) + 1
        height, width = objects.ids.shape
        image = {"id": number, "file_name": found.image.name, "height": height, "width": width}
        self.images.append(image | ({"page": found.page} if found.pages > 1 else {}))
        for index, (rows, columns) in enumerate(ndimage.find_objects(objects.ids)):
            inside = objects.ids[rows, columns] == index + 1
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": int(objects.classes[index]),
                    "segmentation": pack_runs(inside, rows.start, columns.start, (height, width)),
                    "bbox": [columns.start, rows.start, *inside.shape[::-1]],
                    "area": int(inside.sum()),
                    "iscrowd": 0,
                    "score": float(found.scores[index]),
                }
            )
