"""JSON that labelling services export: Label Studio's tasks, and Darwin JSON of V7.

Fields are checked as they are needed. What has no outline, such as boxes of V7 and key points of Label Studio, is
counted and left out.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import unquote

import numpy as np
from pydantic import Field, FiniteFloat

from unetkit.data.annotations.records import BOM, AnnotatedImage, Point, Record, Side, parsed
from unetkit.data.outlines import Bitmap, Outline, Polygons, Shape, ellipse, rectangle
from unetkit.errors import DataError
from unetkit.limits import MOST_PIXELS


class _Value(Record):
    """Coordinates in hundredths of the image's sides."""

    points: list[Point] = []
    x: FiniteFloat = 0.0
    y: FiniteFloat = 0.0
    width: FiniteFloat = 0.0
    height: FiniteFloat = 0.0
    radiusX: FiniteFloat = 0.0  # noqa: N815 the name in the file
    radiusY: FiniteFloat = 0.0  # noqa: N815 the name in the file
    polygonlabels: list[str] = []
    rectanglelabels: list[str] = []
    ellipselabels: list[str] = []
    brushlabels: list[str] = []
    rle: list[Annotated[int, Field(ge=0, le=255)]] = []


class _Result(Record):
    type: str = ""
    value: _Value = _Value()
    original_width: Side = 1
    original_height: Side = 1


class _Answer(Record):
    result: list[_Result] = []
    was_cancelled: bool = False


class _Task(Record):
    data: dict[str, object]
    annotations: list[_Answer] = []


class _Tasks(Record):
    tasks: list[_Task]


def read_label_studio(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the polygons, rectangles, ellipses and brushes of a project's tasks; of several answers the first.

    Raises:
        DataError: not Label Studio's JSON, or a brush that is damaged.
    """
    read = parsed(_Tasks, b'{"tasks":' + content.removeprefix(BOM) + b"}", source, "a list of Label Studio's tasks")
    images: list[AnnotatedImage] = []
    for task in read.tasks:
        named = [unquote(text).rpartition("?d=")[2] for text in task.data.values() if isinstance(text, str)]
        answers = [answer.result for answer in task.annotations if not answer.was_cancelled]
        if not named or not answers:
            continue
        shapes: list[Shape] = []
        left_out = Counter[str]()
        sizes: set[tuple[int, int]] = set()
        for number, one in enumerate(answers[0]):
            across, down, value = one.original_width / 100, one.original_height / 100, one.value
            outline: Outline | None = None
            if one.type == "polygonlabels":
                outline = Polygons([[[side for x, y in value.points for side in (x * across, y * down)]]])
            elif one.type == "rectanglelabels":
                left, top = value.x * across, value.y * down
                outline = rectangle(left, top, left + value.width * across, top + value.height * down)
            elif one.type == "ellipselabels":
                outline = ellipse(value.x * across, value.y * down, value.radiusX * across, value.radiusY * down)
            elif one.type == "brushlabels" and value.rle:
                place = f"{source}: {named[0]}, result {number}"
                outline = _brush(value.rle, (one.original_height, one.original_width), place)
            if outline is None:
                left_out[one.type.removesuffix("labels") or "nothing"] += 1
                continue
            sizes.add((one.original_height, one.original_width))
            labels = [*value.polygonlabels, *value.rectanglelabels, *value.ellipselabels, *value.brushlabels]
            shapes.append(Shape(labels[0] if labels else "", outline, f"{named[0]}, result {number}"))
        size = sizes.pop() if len(sizes) == 1 else None
        images.append(AnnotatedImage(named[0], tuple(shapes), size, dict(left_out)))
    return images


_CHANNELS = 4  # of a brush's picture: red, green, blue and alpha


def _brush(coded: Sequence[int], size: tuple[int, int], source: str) -> Bitmap:
    """Return a mask [H, W] from the run lengths of a picture [H, W, 4] whose alpha it is.

    Their bits are: the number of all values (32), the bits of a value less 1 (5), and four lengths of a number less 1
    (4 each). Then, for each run: whether it is of one value (1), which of the four lengths its number has (2), the
    number of its values less 1, and that value, or each of them.

    Raises:
        DataError: run lengths that end early, or are of another size than the image.
    """
    wanted = size[0] * size[1] * _CHANNELS
    if wanted > _CHANNELS * MOST_PIXELS.value:
        raise DataError(f"{source}: a brush of {size[0]} x {size[1]} pixels is larger than is decoded")
    bits, at = "".join(f"{byte:08b}" for byte in coded), 0

    def number(length: int) -> int:
        nonlocal at
        at += length
        if at > len(bits):
            raise DataError(f"{source}: a brush whose run lengths end early; export it again")
        return int(bits[at - length : at], 2)

    count, length = number(32), number(5) + 1
    lengths = [number(4) + 1 for _ in range(4)]
    if count != wanted:
        raise DataError(
            f"{source}: a brush of {count:,} values; {wanted:,} were expected for {size[0]} x {size[1]} pixels (rows x "
            "columns): export it again"
        )
    values, end = np.zeros(wanted, np.uint8), 0
    while end < count:
        alike, start = number(1), end
        end += 1 + number(lengths[number(2)])
        values[start:end] = number(length) if alike else [number(length) for _ in range(start, end)][: count - start]
    return Bitmap(0, 0, values.reshape(*size, _CHANNELS)[..., -1] > 0)


class _Corner(Record):
    x: FiniteFloat
    y: FiniteFloat


class _Paths(Record):
    path: list[_Corner] = []
    paths: list[list[_Corner]] = []


class _Marked(Record):
    name: str
    polygon: _Paths | None = None
    complex_polygon: _Paths | None = None


class _Darwin(Record):
    annotations: list[_Marked]


def read_darwin(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the polygons of one image, of version 1 or 2; of several rings an odd number is inside.

    Raises:
        DataError: not Darwin JSON.
    """
    read = parsed(_Darwin, content, source, "Darwin JSON")
    shapes: list[Shape] = []
    left_out = 0
    for number, one in enumerate(read.annotations):
        drawn = one.polygon or one.complex_polygon
        rings = [*([drawn.path] if drawn and drawn.path else []), *(drawn.paths if drawn else [])]
        if not rings:
            left_out += 1
            continue
        outline = Polygons([[[side for corner in ring for side in (corner.x, corner.y)] for ring in rings]])
        shapes.append(Shape(one.name, outline, f"annotations.{number} ({one.name})"))
    return [AnnotatedImage("", tuple(shapes), None, {"marks without polygons": left_out} if left_out else {})]
