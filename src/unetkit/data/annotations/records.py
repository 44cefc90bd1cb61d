"""What every annotation file comes to: the images that it is about, and the shapes of their objects.

JSON is read by pydantic, which bounds its depth, and only fields that are needed are looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from unetkit.data.outlines import Shape
from unetkit.errors import DataError

BOM = b"\xef\xbb\xbf"
"""With which some editors begin a text in UTF-8."""

LONGEST_SIDE = 2**27

Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE)]
"""Rows or columns of an image."""

Point = tuple[FiniteFloat, FiniteFloat]

Model = TypeVar("Model", bound="Record")


class Record(BaseModel):
    """A part of a JSON file of which only some fields are needed."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """What an annotation file says of an image.

    Attributes:
        name: the image, as the file names it; empty where the file is about the image that shares its own name.
        shapes: the objects in the file's order.
        size: rows and columns, where the file says them.
        left_out: kind -> number of the marks that have no area, such as points and lines.
    """

    name: str
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    left_out: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class AnnotationFormat:
    """A format of annotation files.

    Attributes:
        name: for messages and the documentation.
        suffixes: of its files, in lower case.
        recognises: tells by the content of a file.
        read: content, name for messages -> what the file says; raises `DataError`.
        one_image: a file is about one image, which shares its name; else it names its images.
        numbered: classes are numbers, whose names stand in another file.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, str], list[AnnotatedImage]]
    one_image: bool = True
    numbered: bool = False


def parsed(model: type[Model], content: bytes, source: str, expected: str) -> Model:
    """Return what a JSON file says.

    Raises:
        DataError: no JSON, or a field that is missing or of a wrong type; the message names the place.
    """
    try:
        return model.model_validate_json(content.removeprefix(BOM))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        what = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise DataError(f"{source}: {what}; {expected} was expected") from error
