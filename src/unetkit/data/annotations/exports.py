"""JSON that labelling services export: Label Studio's tasks, and Darwin JSON of V7.

Fields are checked as they are needed. What has no outline, such as boxes of V7 and brushes of Label Studio, is counted
and left out.
"""

from collections import Counter
from urllib.parse import unquote

from pydantic import FiniteFloat

from unetkit.data.annotations.records import BOM, AnnotatedImage, Point, Record, Side, parsed
from unetkit.data.outlines import Outline, Polygons, Shape, ellipse, rectangle


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
    """Read the polygons, rectangles and ellipses of a project's tasks; of several answers to a task the first.

    Raises:
        DataError: not Label Studio's JSON.
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
            if outline is None:
                left_out[one.type.removesuffix("labels") or "nothing"] += 1
                continue
            sizes.add((one.original_height, one.original_width))
            labels = [*value.polygonlabels, *value.rectanglelabels, *value.ellipselabels]
            shapes.append(Shape(labels[0] if labels else "", outline, f"{named[0]}, result {number}"))
        size = sizes.pop() if len(sizes) == 1 else None
        images.append(AnnotatedImage(named[0], tuple(shapes), size, dict(left_out)))
    return images


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
