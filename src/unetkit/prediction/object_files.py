"""From image files to files of objects: labels as TIFF, COCO JSON, outlines drawn on the images.

Every page is taken by itself, and its objects are made of all its probabilities at once: they are held in memory, four
bytes a class and pixel. What can be refused is refused before the first pixel is predicted; each file and each folder
is there whole or not at all.

Legend of shapes: C channels, K classes, H height, W width, N objects.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.data.images import open_pages
from unetkit.data.pages import Pages, as_pixels
from unetkit.errors import UsageError
from unetkit.objects import ObjectMap, find_objects, method_for
from unetkit.prediction.files import require_probabilities
from unetkit.prediction.object_outputs import Found, Sink, coco_file, labels, outlines
from unetkit.prediction.predictor import Predictor
from unetkit.prediction.sources import names_for, open_fitting, require_empty, require_not_source
from unetkit.progress import Reporter, Silence
from unetkit.remote import local_copy
from unetkit.storage import make_folder

_TIFF = (".tif", ".tiff")


def objects_to_file(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    outlines: bool = False,
    reporter: Reporter | None = None,
) -> tuple[str, ...]:
    """Find the objects of an image, a stack or a folder of images, and write them.

    Args:
        predictor: the network, and how objects are made of its probabilities.
        source: an image file, or a folder whose image files are all taken.
        out: .tif: labels, 16 bits up to 65535 objects a page, else 32; .json: COCO; .png, with `outlines`: the picture
            of one page; a folder takes the source's name; for a folder of images, a .json or a new or empty folder.
        outlines: draw the objects on the images, as `out` or beside it: NAME-outlines.png, a folder for several pages.
        reporter: hears about the course.

    Returns:
        Sentences as those of `predict_to_file`.

    Raises:
        DataError, UsageError, StorageError: as `predict_to_file`.
        ConfigError: its classes and the section `objects` do not go together.
    """
    source, out = local_copy(source), Path(out)
    require_probabilities(predictor)
    method_for(predictor.classes, predictor.object_config)
    images = list(names_for(source, lambda image: image.stem)) if source.is_dir() else [source]
    opened = {image: open_fitting(predictor, image) for image in images}
    if out.is_dir() and not source.is_dir():
        out /= f"{source.stem}.tif"
    places = _places(out, source, several=sum(pages.count for pages in opened.values()) > 1, outlines=outlines)
    make_folder(out.parent)
    with ExitStack() as stack:
        sinks = [stack.enter_context(place.sink(predictor)) for place in places]
        _carry_out(predictor, opened, sinks, reporter or Silence())
    notes = (predictor.plan(pages.height, pages.width).note for pages in opened.values())
    return tuple(dict.fromkeys(note for note in notes if note))


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder to be written, and whether it shows outlines."""

    path: Path
    folder: bool
    outlines: bool

    def sink(self, predictor: Predictor) -> AbstractContextManager[Sink]:
        if self.outlines:
            return outlines(self.path, folder=self.folder)
        if self.path.suffix.lower() == ".json":
            return coco_file(self.path, predictor.classes, predictor.object_config)
        return labels(self.path, folder=self.folder)


def _places(out: Path, source: Path, *, several: bool, outlines: bool) -> list[_Place]:
    """Return what is to be written, and refuse what cannot be.

    Raises:
        UsageError: as `objects_to_file`.
    """
    ending, many = out.suffix.lower(), source.is_dir()
    if ending == ".png" and not outlines:
        raise UsageError(f"{out}: labels of objects are no PNG; choose .tif or .json, or add --outlines for a picture")
    if ending == ".png" and (several or many):
        raise UsageError(f"{out}: {source} is more than one picture; choose .tif, .json or a folder")
    if not many and ending not in (*_TIFF, ".json", ".png"):
        raise UsageError(f"{out}: its ending says no form of objects; choose .tif, .json, or .png with --outlines")
    if many and ending in _TIFF:
        raise UsageError(f"{out}: {source} is a folder, whose labels are as many files; choose a folder or .json")
    places = [_Place(out, many and ending != ".json", ending == ".png")]
    if outlines and ending != ".png":
        folder = several or many
        beside = f"{out.name if places[0].folder else out.stem}-outlines{'' if folder else '.png'}"
        places.append(_Place(out.with_name(beside), folder, True))
    for place in places:
        require_empty(place.path) if place.folder else require_not_source(place.path, source)
    return places


def _carry_out(predictor: Predictor, opened: dict[Path, Pages], sinks: Sequence[Sink], reporter: Reporter) -> None:
    total, count = sum(pages.count for pages in opened.values()), 0
    reporter.advance(0, total, {})
    for done, found in enumerate((found for image in opened for found in _found(predictor, image)), 1):
        for sink in sinks:
            sink.put(found)
        count += len(found.objects)
        reporter.advance(done, total, {"objects": str(count)})


def _found(predictor: Predictor, image: Path) -> Iterator[Found]:
    pages = open_pages(image)
    for page in range(pages.count):
        pixels_CHW = as_pixels(pages.read(page), f"{image}, page {page}")
        probabilities_KHW = predictor.probabilities(pixels_CHW)
        objects = find_objects(probabilities_KHW, predictor.classes, predictor.object_config)
        data_KHW = predictor.of_data(torch.from_numpy(probabilities_KHW)).numpy()
        yield Found(image, page, pages.count, pixels_CHW, objects, scores_of(objects, data_KHW))


def scores_of(objects: ObjectMap, probabilities_KHW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean probability [N] of each object's class over its pixels."""
    classes_HW = np.append(0, objects.classes)[objects.ids]
    chosen_HW = np.take_along_axis(probabilities_KHW, classes_HW[None], axis=0)[0]
    return np.bincount(objects.ids.ravel(), chosen_HW.ravel(), len(objects) + 1)[1:] / objects.sizes()
