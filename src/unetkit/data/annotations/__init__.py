"""Files in which people's tools keep outlines of objects: one small reader a format, and the table of them.

A reader gives the shapes of the images that a file is about (`records`); `data.outlines` draws them. Which file belongs
to which image is found in `data.layouts.annotated`.
"""

from collections.abc import Callable, Sequence

from unetkit.data.annotations.coco import read_coco
from unetkit.data.annotations.imagej import holds_regions, read_regions
from unetkit.data.annotations.json_files import (
    read_darwin,
    read_geojson,
    read_label_studio,
    read_labelme,
    read_supervisely,
    read_via,
)
from unetkit.data.annotations.records import AnnotatedImage, AnnotationFormat
from unetkit.data.annotations.text_files import (
    is_cvat,
    is_imagescope,
    is_runs,
    is_yolo,
    read_cvat,
    read_imagescope,
    read_runs,
    read_yolo,
)
from unetkit.errors import DataError, known_names

__all__ = [
    "BACKGROUND",
    "FORMATS",
    "OBJECT",
    "SUFFIXES",
    "AnnotatedImage",
    "AnnotationFormat",
    "chosen_classes",
    "format_of",
]

BACKGROUND, OBJECT = "background", "object"
MOST_CLASSES = 2**16 - 1
"""Classes that labels of 16 bits can tell apart, the background besides."""


def _has(*words: bytes) -> Callable[[bytes], bool]:
    return lambda content: all(word in content for word in words)


FORMATS: tuple[AnnotationFormat, ...] = (
    AnnotationFormat(
        "COCO", (".json",), _has(b'"images"', b'"annotations"', b'"categories"'), read_coco, one_image=False
    ),
    AnnotationFormat(
        "Label Studio", (".json",), _has(b'"original_width"', b'"from_name"'), read_label_studio, one_image=False
    ),
    AnnotationFormat("Darwin", (".json",), _has(b'"annotations"', b'"slot'), read_darwin),
    AnnotationFormat("LabelMe", (".json",), _has(b'"shapes"', b'"imagePath"'), read_labelme),
    AnnotationFormat("VIA", (".json",), _has(b'"regions"', b'"filename"'), read_via, one_image=False),
    AnnotationFormat("GeoJSON", (".geojson", ".json"), _has(b'"Feature'), read_geojson),
    AnnotationFormat("Supervisely", (".json",), _has(b'"objects"', b'"size"', b'"height"'), read_supervisely),
    AnnotationFormat("CVAT", (".xml",), is_cvat, read_cvat, one_image=False),
    AnnotationFormat("ImageScope", (".xml",), is_imagescope, read_imagescope),
    AnnotationFormat("YOLO", (".txt",), is_yolo, read_yolo, numbered=True),
    AnnotationFormat("run lengths", (".csv",), is_runs, read_runs, one_image=False),
    AnnotationFormat("ImageJ regions", (".zip", ".roi"), holds_regions, read_regions),
)
"""The formats of annotation files; the first that recognises a file reads it."""

SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)
"""The endings, in lower case, of files that may be annotations."""


def format_of(name: str, content: bytes) -> AnnotationFormat | None:
    """Return the format of a file; None where it is none of these."""
    return next((form for form in FORMATS if name.lower().endswith(form.suffixes) and form.recognises(content)), None)


def chosen_classes(names: Sequence[str], chosen: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Return the classes of a set: the background and all that a file names, or those of them that are chosen.

    Raises:
        DataError: a chosen class that is not there, or more than labels can tell apart.
    """
    if len(chosen or names) > MOST_CLASSES:
        found = len(chosen or names)
        raise DataError(f"{source}: has {found:,} categories; at most {MOST_CLASSES:,}: name some in data.classes")
    if chosen is None:
        return (BACKGROUND, *(name for name in names if name != BACKGROUND))
    if chosen[0] in names and chosen[0] != BACKGROUND:
        raise DataError(
            f"{source}: data.classes begins with the category '{chosen[0]}'; the first class is what is "
            f"not an object: write {BACKGROUND} before it"
        )
    for name in chosen[1:]:
        if name not in names:
            raise DataError(f"{source}: there is no category '{name}'; {known_names(name, names)}")
    return tuple(chosen)
