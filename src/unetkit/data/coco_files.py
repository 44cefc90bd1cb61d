"""COCO annotation files, read and checked: nothing of them is believed that the reader relies on.

Assumes that the whole file fits into memory several times (the 450 MB of COCO 2017 take about 4 GB). Fields that the
reader does not need are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from unetkit.data.pages import LARGEST_PAGE
from unetkit.data.tree import require_safe
from unetkit.errors import DataError

_Side = Annotated[int, Field(ge=1, le=LARGEST_PAGE)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RunLengths(_Record):
    """An outline as run lengths."""

    counts: str | list[int]
    size: tuple[_Side, _Side]


class Annotation(_Record):
    """One object of an image."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int = 0
    segmentation: list[list[FiniteFloat]] | RunLengths = []


class Picture(_Record):
    """One image."""

    id: int
    file_name: str
    height: _Side
    width: _Side


class Category(_Record):
    """One class of objects."""

    id: int
    name: str


class _Content(_Record):
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


def read_annotations(content: bytes, source: str) -> AnnotationFile:
    """Read the content of an annotation file.

    Raises:
        DataError: no JSON, a field that is missing or of a wrong type, an id that leads nowhere, an unsafe file name.
    """
    try:
        read = _Content.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{source}: {_first_fault(error)}; COCO's instances_*.json was expected") from error
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


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
