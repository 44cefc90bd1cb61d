"""JSON of annotation tools and services.

Of LabelMe, VGG Image Annotator (VIA), QuPath (GeoJSON), Supervisely, Label Studio (tasks) and V7 (Darwin JSON). Fields
are checked as they are needed. Marks without an outline, such as points and V7's boxes, are counted and left out.
"""

import math
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast
from urllib.parse import unquote
from zlib import decompressobj
from zlib import error as ZlibError

import numpy as np
from pydantic import Field, FiniteFloat, field_validator

from unetkit.data.annotations.records import BOM, AnnotatedImage, Point, Record, Side, parsed
from unetkit.data.outlines import Bitmap, Outline, Polygons, Ring, Shape, ellipse, rectangle
from unetkit.errors import DataError
from unetkit.images import decode_single
from unetkit.limits import MOST_PIXELS

_CLASS_KEYS = ("class", "label", "category", "type", "name")
"""Of an attribute that names the class of a region, in the order of preference."""


class _LabelMeShape(Record):
    label: str
    points: list[Point] = []
    shape_type: str | None = "polygon"
    mask: str | None = None


class _LabelMe(Record):
    shapes: list[_LabelMeShape]
    imagePath: str = ""  # noqa: N815 the name in the file
    imageHeight: Side | None = None  # noqa: N815 the name in the file
    imageWidth: Side | None = None  # noqa: N815 the name in the file


def read_labelme(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the shapes of one image: polygons, rectangles, circles and masks.

    Raises:
        DataError: not LabelMe's JSON, or a shape with too few points.
    """
    read = parsed(_LabelMe, content, source, "LabelMe's JSON")
    shapes: list[Shape] = []
    left_out = Counter[str]()
    for number, one in enumerate(read.shapes):
        kind, place = one.shape_type or "polygon", f"shapes.{number} ({one.label})"
        outline: Outline | None = None
        if kind in ("rectangle", "circle", "mask") and len(one.points) < 2:
            raise DataError(f"{source}: {place}: a {kind} of {len(one.points)} points; two were expected")
        if kind == "polygon":
            outline = Polygons([[_ring(one.points)]])
        elif kind == "rectangle":
            outline = _box(one.points)
        elif kind == "circle":
            radius = math.dist(one.points[0], one.points[1])
            outline = ellipse(*one.points[0], radius, radius)
        elif kind == "mask":
            (left, top), _ = one.points[:2]
            outline = _bitmap(one.mask or "", int(left), int(top), f"{source}: {place}")
        if outline is None:
            left_out[kind] += 1
        else:
            shapes.append(Shape(one.label, outline, place))
    size = (read.imageHeight, read.imageWidth) if read.imageHeight and read.imageWidth else None
    return [AnnotatedImage(read.imagePath, tuple(shapes), size, dict(left_out))]


def _ring(points: Sequence[Point]) -> Ring:
    return [value for point in points for value in point]


def _box(points: Sequence[Point]) -> Polygons:
    columns, rows = zip(*points, strict=True)
    return rectangle(min(columns), min(rows), max(columns), max(rows))


def _bitmap(text: str, left: int, top: int, source: str, *, packed: bool = False) -> Bitmap:
    """Return a mask that is a PNG file in base64, perhaps deflated once more."""
    try:
        content = b64decode(text, validate=True)
        content = decompressobj().decompress(content, MOST_PIXELS.value) if packed else content
    except (Base64Error, ZlibError) as error:
        raise DataError(f"{source}: a mask that is not base64 of a PNG file ({error}); export it again") from error
    return Bitmap(top, left, (decode_single(content, f"{source}: its mask", "mask") != 0).any(axis=0))


class _ViaShape(Record):
    name: str | None = None
    all_points_x: list[FiniteFloat] = []
    all_points_y: list[FiniteFloat] = []
    x: FiniteFloat = math.nan
    y: FiniteFloat = math.nan
    width: FiniteFloat = math.nan
    height: FiniteFloat = math.nan
    cx: FiniteFloat = math.nan
    cy: FiniteFloat = math.nan
    r: FiniteFloat = math.nan
    rx: FiniteFloat = math.nan
    ry: FiniteFloat = math.nan
    theta: FiniteFloat = 0


class _ViaRegion(Record):
    shape_attributes: _ViaShape
    region_attributes: dict[str, object] = {}


class _ViaImage(Record):
    filename: str
    regions: list[_ViaRegion] = []

    @field_validator("regions", mode="before")
    @classmethod
    def _of_version_1(cls, value: object) -> object:
        return [*cast(dict[str, object], value).values()] if isinstance(value, dict) else value


class _ViaProject(Record):
    images: dict[str, _ViaImage] = Field(alias="_via_img_metadata")


def read_via(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the regions of a project, or of the annotations that it exports as JSON, in version 1 or 2.

    Raises:
        DataError: not VIA's JSON, or a region whose numbers are none.
    """
    if b'"_via_img_metadata"' not in content:
        content = b'{"_via_img_metadata":' + content.removeprefix(BOM) + b"}"
    read = parsed(_ViaProject, content, source, "VGG Image Annotator's JSON")
    images: list[AnnotatedImage] = []
    for image in read.images.values():
        shapes: list[Shape] = []
        left_out = Counter[str]()
        for number, region in enumerate(image.regions):
            place, its = f"{image.filename}, region {number}", region.shape_attributes
            outline: Outline | None = None
            if its.name == "polygon":
                if len(its.all_points_x) != len(its.all_points_y):
                    raise DataError(f"{source}: {place}: a polygon without as many all_points_x as all_points_y")
                outline = Polygons([[_ring([*zip(its.all_points_x, its.all_points_y, strict=True)])]])
            elif its.name == "rect":
                outline = rectangle(its.x, its.y, its.x + its.width, its.y + its.height)
            elif its.name == "circle":
                outline = ellipse(its.cx, its.cy, its.r, its.r)
            elif its.name == "ellipse":
                outline = ellipse(its.cx, its.cy, its.rx, its.ry, its.theta)
            if outline is None:
                left_out[str(its.name)] += 1
            else:
                shapes.append(Shape(_class_in(region.region_attributes), outline, place))
        images.append(AnnotatedImage(image.filename, tuple(shapes), None, dict(left_out)))
    return images


def _class_in(attributes: Mapping[str, object]) -> str:
    """Return the class that the attributes of a region name; nothing where they name none."""
    for key in sorted(attributes, key=lambda key: [key.lower() != word for word in _CLASS_KEYS]):
        value = attributes[key]
        if isinstance(value, dict):  # boxes that are ticked
            ticked = [name for name, is_set in cast(dict[str, object], value).items() if is_set]
            value = ticked[0] if len(ticked) == 1 else ""
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


class _Plane(Record):
    z: int = 0
    t: int = 0


class _Geometry(Record):
    type: str
    coordinates: Any = None
    plane: _Plane | None = None


class _Feature(Record):
    geometry: _Geometry | None = None
    properties: dict[str, object] | None = None


class _Features(Record):
    features: list[_Feature]


def read_geojson(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the polygons of a collection of features, of a list of them, or of a single one, as QuPath writes them.

    Raises:
        DataError: not GeoJSON, or a polygon that is none.
    """
    export = content.removeprefix(BOM).lstrip()
    if export.startswith(b"["):
        export = b'{"features":' + export + b"}"
    elif b'"FeatureCollection"' not in export:
        export = b'{"features":[' + export + b"]}"
    read = parsed(_Features, export, source, "GeoJSON with features")
    shapes: list[Shape] = []
    left_out = Counter[str]()
    for number, feature in enumerate(read.features):
        place, geometry = f"features.{number}", feature.geometry
        if geometry is None or geometry.type not in ("Polygon", "MultiPolygon"):
            left_out[geometry.type if geometry else "nothing"] += 1
            continue
        parts = [geometry.coordinates] if geometry.type == "Polygon" else geometry.coordinates
        try:
            rings = [[[float(value) for x, y, *_ in ring for value in (x, y)] for ring in part] for part in parts]
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: {place}: coordinates that are no {geometry.type}; write it again") from error
        named = feature.properties or {}
        kind = named.get("classification")
        name = cast(dict[str, object], kind).get("name") if isinstance(kind, dict) else kind
        plane = geometry.plane
        page = None if plane is None or (plane.z and plane.t) else plane.z or plane.t
        shapes.append(Shape(name if isinstance(name, str) else _class_in(named), Polygons(rings), place, page=page))
    return [AnnotatedImage("", tuple(shapes), None, dict(left_out))]


class _Size(Record):
    height: Side
    width: Side


class _SlyPoints(Record):
    exterior: list[Point] = []
    interior: list[list[Point]] = []


class _SlyBitmap(Record):
    data: str
    origin: tuple[int, int]


class _SlyObject(Record):
    classTitle: str = ""  # noqa: N815 the name in the file
    geometryType: str  # noqa: N815 the name in the file
    points: _SlyPoints | None = None
    bitmap: _SlyBitmap | None = None


class _Supervisely(Record):
    size: _Size
    objects: list[_SlyObject]


def read_supervisely(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the objects of one image: polygons, rectangles and bitmaps.

    Raises:
        DataError: not Supervisely's JSON, or an object without what its kind needs.
    """
    read = parsed(_Supervisely, content, source, "Supervisely's JSON")
    shapes: list[Shape] = []
    left_out = Counter[str]()
    for number, one in enumerate(read.objects):
        place, points = f"objects.{number} ({one.classTitle})", one.points
        if one.geometryType == "polygon" and points is not None:
            outline: Outline = Polygons([[_ring(points.exterior), *map(_ring, points.interior)]])
        elif one.geometryType == "rectangle" and points is not None and len(points.exterior) == 2:
            outline = _box(points.exterior)
        elif one.geometryType == "bitmap" and one.bitmap is not None:
            outline = _bitmap(one.bitmap.data, *one.bitmap.origin, f"{source}: {place}", packed=True)
        elif one.geometryType in ("polygon", "rectangle", "bitmap"):
            raise DataError(f"{source}: {place}: a {one.geometryType} without its points; export it again")
        else:
            left_out[one.geometryType] += 1
            continue
        shapes.append(Shape(one.classTitle, outline, place))
    return [AnnotatedImage("", tuple(shapes), (read.size.height, read.size.width), dict(left_out))]


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
                outline = Polygons([[_ring([(x * across, y * down) for x, y in value.points])]])
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
        outline = Polygons([[_ring([(corner.x, corner.y) for corner in ring]) for ring in rings]])
        shapes.append(Shape(one.name, outline, f"annotations.{number} ({one.name})"))
    return [AnnotatedImage("", tuple(shapes), None, {"marks without polygons": left_out} if left_out else {})]
