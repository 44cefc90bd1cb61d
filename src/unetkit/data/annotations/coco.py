"""COCO's annotation files: images, objects and categories in one JSON file.

Files are checked: nothing of them is believed that the reader relies on, and fields that it does not need are not
looked at. Assumes that the whole file fits into memory several times (the 450 MB of COCO 2017 take about 4 GB).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import FiniteFloat

from unetkit.data.annotations.records import AnnotatedImage, Record, Side, parsed
from unetkit.data.outlines import Polygons, Runs, Shape
from unetkit.errors import DataError
from unetkit.storage.tree import require_safe


class RunLengths(Record):
    """An outline as run lengths."""

    counts: str | list[int]
    size: tuple[Side, Side]


class Annotation(Record):
    """One object of an image."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int = 0
    segmentation: list[list[FiniteFloat]] | RunLengths = []


class Picture(Record):
    """One image."""

    id: int
    file_name: str
    height: Side
    width: Side


class Category(Record):
    """One class of objects."""

    id: int
    name: str


class _Content(Record):
    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """What an instances_*.json says.

    Attributes:
        source: the file, for messages.
        part: what follows `instances_` in its name, such as `train2017`.
        pictures: the images in the file's order.
        objects: image id -> annotations in the file's order.
        categories: category id -> name, by rising id.
    """

    source: str
    part: str
    pictures: tuple[Picture, ...]
    objects: Mapping[int, tuple[Annotation, ...]]
    categories: Mapping[int, str]

    def image(self, picture: Picture) -> AnnotatedImage:
        """Return what the file says of one of its images."""
        shapes: list[Shape] = []
        for one in self.objects[picture.id]:
            runs = one.segmentation
            outline = (
                Runs(runs.counts, runs.size) if isinstance(runs, RunLengths) else Polygons([[ring] for ring in runs])
            )
            shapes.append(Shape(self.categories[one.category_id], outline, f"annotation {one.id}", not one.iscrowd))
        return AnnotatedImage(picture.file_name, tuple(shapes), (picture.height, picture.width))


def read_annotations(content: bytes, source: str) -> AnnotationFile:
    """Read the content of an annotation file.

    Raises:
        DataError: no JSON, a field that is missing or of a wrong type, an id that leads nowhere, an unsafe file name.
    """
    read = parsed(_Content, content, source, "COCO's instances_*.json")
    objects: dict[int, list[Annotation]] = {}
    for picture in read.images:
        require_safe(picture.file_name, source)
        if picture.id in objects:
            raise DataError(f"{source}: two images have the id {picture.id}")
        objects[picture.id] = []
    categories = {category.id: category.name for category in sorted(read.categories, key=lambda one: one.id)}
    for annotation in read.annotations:
        for what, key, listed in (
            ("image", annotation.image_id, objects),
            ("category", annotation.category_id, categories),
        ):
            if key not in listed:
                raise DataError(f"{source}: annotation {annotation.id} names the {what} {key}, which is not listed")
        objects[annotation.image_id].append(annotation)
    return AnnotationFile(
        source,
        PurePosixPath(source).stem.removeprefix("instances_"),
        tuple(read.images),
        {key: tuple(value) for key, value in objects.items()},
        categories,
    )


def read_coco(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read an annotation file as the images that it lists.

    Raises:
        DataError: as `read_annotations`.
    """
    file = read_annotations(content, source)
    return [file.image(picture) for picture in file.pictures]
