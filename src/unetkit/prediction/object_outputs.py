"""Files that objects go to, page by page: labels as TIFF, COCO JSON, outlines as PNG; each whole or not at all.

Labels of a stack have one type, which its last page may decide; till then they are kept packed, in about a
hundredth of their size.

Legend of shapes: C channels, H height, W width, N objects.
"""

import json
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import ObjectsConfig
from unetkit.data.outlines import coco_masks, pack_runs
from unetkit.objects import ObjectMap, describe, object_classes
from unetkit.objects.drawing import outlined
from unetkit.prediction.outputs import Form, tiff_stack
from unetkit.prediction.sources import folder_whole
from unetkit.storage import write_whole, written_whole

_LARGEST_UINT16 = 65535


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of one page.

    Attributes:
        image: its file.
        page: its index in the file.
        pages: how many the file has.
        pixels_CHW: as stored.
        objects: what was found.
        scores: [N] mean probability of each object's class in it.
    """

    image: Path
    page: int
    pages: int
    pixels_CHW: NDArray[Any]
    objects: ObjectMap
    scores: NDArray[np.float64]


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
        yield _Outlines(lambda found: place / f"{_page_name(found)}.png" if folder else place)


def _whole(out: Path, *, folder: bool) -> AbstractContextManager[Path]:
    """Give the place to write to: a file is made whole by what writes it, a folder here."""
    return folder_whole(out) if folder else nullcontext(out)


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
    write_whole(path, json.dumps(content))


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
        with tiff_stack(self.place(found.image), Form(dtype, height, width, found.pages, (), float(most))) as output:
            for page, content in enumerate(self.packed):
                output.put(page, 0, 0, np.frombuffer(zlib.decompress(content), np.int32).reshape(1, height, width))
        self.packed.clear()
        self.counts.clear()


@dataclass(frozen=True, slots=True)
class _Outlines:
    place: Callable[[Found], Path]

    def put(self, found: Found) -> None:
        from PIL import Image  # needed for PNG alone

        with written_whole(self.place(found)) as temporary:
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


def _page_name(found: Found) -> str:
    return found.image.stem if found.pages == 1 else f"{found.image.stem}-{found.page:04}"
