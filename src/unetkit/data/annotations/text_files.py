"""Text of annotation tools: YOLO's labels, run lengths in a .csv as Kaggle has them, XML of CVAT and of ImageScope."""

import csv
import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from threading import Lock
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from unetkit.data.annotations.records import BOM, LONGEST_SIDE, AnnotatedImage
from unetkit.data.outlines import Bitmap, Outline, Polygons, Shape, Spans, ellipse, rectangle
from unetkit.errors import DataError
from unetkit.limits import MOST_PIXELS

_IMAGE_COLUMNS = ("imageid", "image_id", "image", "filename", "file_name", "img_id", "img", "id", "imageid_classid")
_RUN_COLUMNS = ("encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "segmentation", "annotation")
_CLASS_COLUMNS = ("classid", "class_id", "class", "label", "category", "cell_type")
_NONE = ("", "-1", "nan", "none")
"""What stands for an image without objects in a column of run lengths."""

_LONGEST_FIELD = 2**30
_FIELD_LIMIT = Lock()


def is_yolo(content: bytes) -> bool:
    """Tell whether the first line is a class and the numbers of a polygon or a box, as shares of the image."""
    words = content.lstrip().partition(b"\n")[0].split()
    if len(words) < 5 or not words[0].isdigit():
        return False
    return all(re.fullmatch(rb"-?[0-9]+(\.[0-9]*)?(e-?[0-9]+)?", word) for word in words[1:])


def read_yolo(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the polygons of one image; classes are their numbers.

    Raises:
        DataError: a line that is none, or boxes alone, which are no outlines.
    """
    shapes: list[Shape] = []
    for number, line in enumerate(_text(content, source).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        place = f"line {number}"
        try:
            kind, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise DataError(
                f"{source}, {place}: '{line[:40]}'; expected a class and the corners x y x y ..."
            ) from error
        if len(values) == 4:
            raise DataError(
                f"{source}, {place}: a box (class, x, y, width, height), but objects need outlines; export polygons"
            )
        if kind < 0 or not all(map(math.isfinite, values)) or not all(-1 <= value <= 2 for value in values):
            raise DataError(f"{source}, {place}: corners are shares of the image from 0 to 1; export it again")
        shapes.append(Shape(str(kind), Polygons([[values]], relative=True), place))
    return [AnnotatedImage("", tuple(shapes))]


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not a text in UTF-8 ({error.reason}); save it as such") from error


def is_runs(content: bytes) -> bool:
    """Tell whether the columns of a .csv name an image and run lengths."""
    head = content.removeprefix(BOM).partition(b"\n")[0].decode("latin-1").strip()
    columns = {word.strip().strip('"').lower() for word in head.split(",")}
    return not columns.isdisjoint(_IMAGE_COLUMNS) and not columns.isdisjoint(_RUN_COLUMNS) and "split" not in columns


def read_runs(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read a .csv with one row an object: pairs of start and length, from 1.

    Columns are found by their names: the image, the run lengths, perhaps a class, and width and height. Pixels are
    numbered column after column, as Kaggle does, unless runs that follow each other lie a width apart, not a height.

    Raises:
        DataError: a row whose runs are no pairs of whole numbers.
    """
    with _FIELD_LIMIT:
        limit = csv.field_size_limit(_LONGEST_FIELD)
        try:
            reader = csv.DictReader(io.StringIO(_text(content, source), newline=""))
            names = {str(name).strip().lower(): str(name) for name in reader.fieldnames or ()}
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise DataError(f"{source}: cannot be read as a .csv ({error})") from error
        finally:
            csv.field_size_limit(limit)

    def column(known: Sequence[str]) -> str | None:
        return next((names[name] for name in known if name in names), None)

    image_column, run_column, class_column = map(column, (_IMAGE_COLUMNS, _RUN_COLUMNS, _CLASS_COLUMNS))
    height, width = column(("height",)), column(("width",))
    assert image_column is not None
    assert run_column is not None
    found: dict[str, list[tuple[str, NDArray[np.int64], str]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    for line, row in rows:
        image, name = (row.get(image_column) or "").strip(), (row.get(class_column or "") or "").strip()
        if image_column.lower() == "imageid_classid":
            image, _, name = image.rpartition("_")
        text, place = (row.get(run_column) or "").strip(), f"line {line}"
        found[image] += [] if text.lower() in _NONE else [(name, _pairs(text, f"{source}, {place}"), place)]
        if size := _size([(row.get(key or "") or "").strip() for key in (height, width)]):
            sizes[image] = size
    every = [pairs for objects in found.values() for _, pairs, _ in objects if len(pairs)]
    from_zero = any(pairs[:, 0].min() == 0 for pairs in every)
    by_rows = _are_rows(
        [(pairs, sizes[image]) for image, its in found.items() if image in sizes for _, pairs, _ in its]
    )
    return [
        AnnotatedImage(
            image,
            tuple(
                Shape(name, Spans(pairs - (0 if from_zero else (1, 0)), by_rows), place) for name, pairs, place in its
            ),
            sizes.get(image),
        )
        for image, its in found.items()
    ]


def _size(sides: Sequence[str]) -> tuple[int, int] | None:
    """Return the height and width of an image; None where they are not said, or are none."""
    height, width = (int(side) if side.isdecimal() and len(side) < 10 else 0 for side in sides)
    return (height, width) if 0 < height <= LONGEST_SIDE and 0 < width <= LONGEST_SIDE else None


def _pairs(text: str, source: str) -> NDArray[np.int64]:
    words = text.split()
    if len(words) % 2 or not all(word.isdecimal() and len(word) < 16 for word in words):
        raise DataError(f"{source}: run lengths '{text[:40]}' that are no pairs of start and length")
    return np.array(words, np.int64).reshape(-1, 2)


def _are_rows(objects: Sequence[tuple[NDArray[np.int64], tuple[int, int]]]) -> bool:
    """Tell whether runs of objects in images of known size [H, W] are rows: most lie a width apart, not a height."""
    rows = columns = 0
    for pairs, (height, width) in objects:
        steps = np.diff(pairs[:, 0])
        columns += int((np.abs(steps - height) < np.abs(steps - width)).sum())
        rows += int((np.abs(steps - height) > np.abs(steps - width)).sum())
    return rows > columns


def is_cvat(content: bytes) -> bool:
    """Tell whether a file is CVAT's XML for images."""
    return b"<annotations" in content[:2000] and b"<image " in content


def read_cvat(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read polygons, boxes, ellipses and masks of all images of an `annotations.xml`.

    Raises:
        DataError: not XML, a document type, or a mark without its numbers.
    """
    images: list[AnnotatedImage] = []
    for image in _xml(content, source, "CVAT's annotations").iter("image"):
        shapes: list[Shape] = []
        left_out = Counter[str]()
        for mark in image.iter():
            if mark.tag in ("polygon", "box", "ellipse", "mask"):
                place = f"{image.get('name')}, {mark.tag} {len(shapes)}"
                try:
                    outline = _cvat_outline(mark.tag, mark.attrib)
                except (KeyError, ValueError) as error:
                    raise DataError(f"{source}: {place}: {error} is missing or no number; export it again") from error
                shapes.append(Shape(mark.get("label", ""), outline, place))
            elif mark.tag in ("polyline", "points", "cuboid", "skeleton"):
                left_out[mark.tag] += 1
        sides = [image.get(key, "") for key in ("height", "width")]
        images.append(AnnotatedImage(image.get("name", ""), tuple(shapes), _size(sides), dict(left_out)))
    return images


def _cvat_outline(kind: str, its: Mapping[str, str]) -> Outline:
    def number(key: str) -> float:
        value = float(its[key])
        if not math.isfinite(value):
            raise ValueError(key)
        return value

    if kind == "polygon":
        return Polygons([[[float(value) for point in its["points"].split(";") for value in point.split(",")]]])
    if kind == "box":
        return rectangle(*(number(key) for key in ("xtl", "ytl", "xbr", "ybr")))
    if kind == "ellipse":
        turned = math.radians(float(its.get("rotation") or 0))
        return ellipse(number("cx"), number("cy"), number("rx"), number("ry"), turned)
    top, left, height, width = (int(its[key]) for key in ("top", "left", "height", "width"))
    counts = [int(word) for word in its["rle"].split(",")]
    if min(counts) < 0 or height < 1 or width < 1 or sum(counts) != height * width or sum(counts) > MOST_PIXELS.value:
        raise ValueError("rle")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return Bitmap(top, left, inside.reshape(height, width))


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree, and refuses a document type, whose entities could fill the memory or name other files."""

    def doctype(self, *_: object) -> None:
        """Refuse it."""
        raise DataError("declares a document type")


def _xml(content: bytes, source: str, expected: str) -> ElementTree.Element:
    """Return the outermost element of an XML file."""
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except ElementTree.ParseError as error:
        raise DataError(f"{source}: not whole XML ({error}); {expected} were expected") from error
    except DataError as error:
        raise DataError(f"{source}: {error}; {expected} have none") from None


def is_imagescope(content: bytes) -> bool:
    """Tell whether a file is ImageScope's XML, which slide scanners of Aperio come with."""
    return b"<Annotations" in content[:2000] and b"<Region" in content


_SCOPE_KINDS = {"0": "outline", "1": "outline", "2": "ellipse", "3": "arrow", "4": "ruler"}


def read_imagescope(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the outlines of one image; the class is the name of their layer, or what its first attribute says.

    Raises:
        DataError: not XML, a document type, or a corner without its numbers.
    """
    shapes: list[Shape] = []
    left_out = Counter[str]()
    for layer in _xml(content, source, "ImageScope's annotations").iter("Annotation"):
        titles = [layer.get("Name", "")]
        for one in layer.iterfind("Attributes/Attribute"):
            titles += [one.get("Value", ""), one.get("Name", "").removeprefix("Description")]
        for region in layer.iter("Region"):
            place, kind = f"region {len(shapes)}", _SCOPE_KINDS.get(region.get("Type", "0"), "other")
            try:
                corners = [float(corner.attrib[key]) for corner in region.iter("Vertex") for key in ("X", "Y")]
            except (KeyError, ValueError) as error:
                raise DataError(f"{source}: {place}: {error} is missing or no number; export it again") from error
            if not all(map(math.isfinite, corners)):
                raise DataError(f"{source}: {place}: a corner that is no number; export it again")
            if region.get("NegativeROA") == "1":
                kind = "hole"
            if kind == "outline" and len(corners) >= 6:
                shapes.append(Shape(next(filter(None, titles), ""), Polygons([[corners]]), place))
            elif corners:
                left_out["point" if kind == "outline" else kind] += 1
    return [AnnotatedImage("", tuple(shapes), left_out=dict(left_out))]
