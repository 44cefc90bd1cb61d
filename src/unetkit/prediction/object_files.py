"""Files of objects, page by page, each whole or not at all: labels, outlines, COCO, ImageJ, QuPath, tables.

Labels of a stack have one dtype, which its last page may decide; until then they are kept compressed, in about a
hundredth of their size. In ImageJ's set of regions of interest (.zip) and in GeoJSON as QuPath imports it an object is
the polygon along its pixels' corners, holes and separate parts included, in pixels of the image: (0, 0) is the upper
left corner, in both programs. Pages of a stack are ImageJ's positions and QuPath's planes.

A table, as CSV or Parquet, has a row for each object, with its class, size, certainty and place. `page`, `row` and
`column` are means over an object's pixels, the other places its first and last ones; all count from 0. `probability` is
the mean that its pixels are not background. Where the image tells the size of its pixels, the means follow in that
unit, and the area, or for objects through slices the volume: `x_micrometer`, `area_micrometer2`.

Legend of shapes: C channels, H height, W width, N objects.
"""

import csv
import json
import zipfile
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import ObjectsConfig
from unetkit.data.outlines import coco_masks, pack_runs
from unetkit.formats.runtime import required
from unetkit.images.blocks import Block
from unetkit.images.image import Image
from unetkit.images.write import Form, tiff_stack
from unetkit.objects import ObjectMap, describe, object_classes
from unetkit.objects.find import Polygon, colour_of, outlined, polygons
from unetkit.prediction.labels import Parts, summed_up
from unetkit.storage.atomic import atomic_folder, atomic_path, atomic_write

if TYPE_CHECKING:
    from roifile import ImagejRoi


_LARGEST_UINT16 = 65535


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of one page.

    Attributes:
        image: its file.
        page: its index in the file.
        opened: the file as it was opened, with the network's channels.
        pixels_CHW: as stored.
        objects: what was found.
        scores: [N] mean probability of each object's class in it.
    """

    image: Path
    page: int
    opened: Image
    pixels_CHW: NDArray[Any]
    objects: ObjectMap
    scores: NDArray[np.float64]

    @property
    def pages(self) -> int:
        """How many pages the file has."""
        return self.opened.count

    @property
    def form(self) -> Form:
        """A file of as many pages with a value a pixel: its axes and its pixel size."""
        return Form.like(self.opened, np.uint16, (), None)


Sink = Callable[[Found], None]
"""Takes pages, those of a file one after the other."""


@contextmanager
def labels(out: Path, *, folder: bool) -> Generator[Sink]:
    """Give what writes the labels of one file, or those of many to a folder, each under its image's name.

    Raises:
        StorageError: the disk did not take it.
    """
    with _whole(out, folder=folder) as place:
        packed, counts = list[bytes](), list[int]()

        def put(found: Found) -> None:
            ids_HW = found.objects.ids
            packed.append(zlib.compress(ids_HW.tobytes(), 1))
            counts.append(len(found.objects))
            if found.page + 1 < found.pages:
                return
            most = max(counts)
            dtype = np.uint16 if most <= _LARGEST_UINT16 else np.uint32
            form = replace(found.form, dtype=dtype, white=float(most))
            with tiff_stack(place / f"{found.image.stem}.tif" if folder else place, form) as output:
                for page, content in enumerate(packed):
                    output.put(page, 0, 0, np.frombuffer(zlib.decompress(content), np.int32).reshape(1, *ids_HW.shape))
            packed.clear()
            counts.clear()

        yield put


@contextmanager
def outlines(out: Path, *, folder: bool) -> Generator[Sink]:
    """Give what draws a single page, or many pages to files of a folder; those of a stack are numbered.

    Raises:
        StorageError: the disk did not take it.
    """
    from PIL import Image as Pillow  # needed for PNG alone

    with _whole(out, folder=folder) as place:

        def put(found: Found) -> None:
            numbered = found.image.stem if found.pages == 1 else f"{found.image.stem}-{found.page:04}"
            with atomic_path(place / f"{numbered}.png" if folder else place) as temporary:
                Pillow.fromarray(outlined(found.pixels_CHW, found.objects)).save(temporary, format="PNG")

        yield put


def _whole(out: Path, *, folder: bool) -> AbstractContextManager[Path]:
    """Give the place to write to: a file is made whole by what writes it, a folder here."""
    return atomic_folder(out) if folder else nullcontext(out)


@contextmanager
def coco_file(path: Path, classes: Sequence[str], config: ObjectsConfig) -> Generator[Sink]:
    """Give what collects objects in COCO's form; ids of images and annotations count from 1, categories are classes.

    Raises:
        UsageError: pycocotools is not installed.
        StorageError: the disk did not take it.
    """
    coco_masks()
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()

    def put(found: Found) -> None:
        objects, number = found.objects, len(images) + 1
        height, width = objects.ids.shape
        image = {"id": number, "file_name": found.image.name, "height": height, "width": width}
        images.append(image | ({"page": found.page} if found.pages > 1 else {}))
        for index, (rows, columns) in enumerate(ndimage.find_objects(objects.ids)):
            inside = objects.ids[rows, columns] == index + 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(objects.classes[index]),
                    "segmentation": pack_runs(inside, rows.start, columns.start, (height, width)),
                    "bbox": [columns.start, rows.start, *inside.shape[::-1]],
                    "area": int(inside.sum()),
                    "iscrowd": 0,
                    "score": float(found.scores[index]),
                }
            )

    yield put
    content = {
        "info": {"description": f"objects found by unetkit: {describe(classes, config)}"},
        "images": images,
        "categories": [{"id": index, "name": classes[index]} for index in object_classes(classes)],
        "annotations": annotations,
    }
    atomic_write(path, json.dumps(content))


_MOVE, _LINE, _CLOSE = 0, 1, 4
"""What a point does in the path of ImageJ's composite regions."""

_MICROMETERS = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "angstrom": 1e-4}


@contextmanager
def imagej_file(path: Path, classes: Sequence[str]) -> Generator[Sink]:
    """Give what collects objects as a .zip for ImageJ's ROI Manager, named CLASS-NUMBER, those of stacks PAGE first.

    Raises:
        UsageError: roifile is not installed.
        StorageError: the disk did not take it.
    """
    required("roifile", "imagej")

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:

        def put(found: Found) -> None:
            pages, objects = found.opened.count, found.objects
            page = f"{found.page + 1:0{len(str(pages))}}-" if pages > 1 else ""
            digits, place = len(str(len(objects))), _place(found)
            for index, parts in enumerate(polygons(objects.ids)):
                kind = int(objects.classes[index])
                name = f"{page}{classes[kind].replace('/', '_')}-{index + 1:0{digits}}"
                roi = _region(parts)
                roi.name, roi.stroke_color = name, bytes((255, *colour_of(kind)))
                if len(place) == 1 and len(found.pixels_CHW) == 1:
                    roi.position = found.page + 1
                elif place:  # a hyperstack: the object is in all its channels
                    roi.z_position, roi.t_position = place.get("z", 0) + 1, place.get("t", 0) + 1
                file.writestr(zipfile.ZipInfo(f"{name}.roi"), roi.tobytes(), zipfile.ZIP_DEFLATED)

        yield put


def _region(parts: Sequence[Polygon]) -> "ImagejRoi":
    """Return a traced region, or ImageJ's composite one where there are holes or several parts."""
    from roifile import ROI_TYPE, ImagejRoi

    rings = [ring for part in parts for ring in part]
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0], name="")
        roi.roitype = ROI_TYPE.TRACED
        return roi
    corners = np.concatenate(rings)
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    path = list[int]()
    for ring in rings:
        for number, point in enumerate(ring.tolist()):
            path += [_LINE if number else _MOVE, *point]
        path.append(_CLOSE)
    coordinates = np.array(path, np.float32)
    return ImagejRoi(
        version=226,
        roitype=ROI_TYPE.RECT,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        shape_roi_size=len(path),
        multi_coordinates=coordinates,
    )


@contextmanager
def geojson_file(path: Path, classes: Sequence[str]) -> Generator[Sink]:
    """Give what collects objects as QuPath's detections, each with its class, colour and measurements.

    Raises:
        StorageError: the disk did not take it.
    """
    features = list[dict[str, Any]]()

    def put(found: Found) -> None:
        objects, place, steps = found.objects, _place(found), found.form.pixel_size
        sizes = objects.sizes()
        area = 0.0  # of a pixel, in square micrometers
        if all(axis in steps and steps[axis].unit in _MICROMETERS for axis in "xy"):
            area = float(np.prod([steps[axis].size * _MICROMETERS[steps[axis].unit] for axis in "xy"]))
        for index, parts in enumerate(polygons(objects.ids)):
            kind = int(objects.classes[index])
            rings = [[[*ring.tolist(), ring[0].tolist()] for ring in part] for part in parts]
            geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": rings}
            if len(rings) == 1:
                geometry = {"type": "Polygon", "coordinates": rings[0]}
            if place:
                geometry["plane"] = {"c": -1, "z": place.get("z", 0), "t": place.get("t", 0)}
            measured = {"Area px": float(sizes[index]), "Score": float(found.scores[index])}
            measured |= {"Area µm^2": float(sizes[index]) * area} if area else {}
            properties = {
                "objectType": "detection",
                "classification": {"name": classes[kind], "color": list(colour_of(kind))},
                "measurements": measured,
            }
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})

    yield put
    atomic_write(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _place(found: Found) -> dict[str, int]:
    """Return the index of a page along the axes t and z that its file has, from 0; empty for a single page."""
    axes = found.form.page_axes if found.pages > 1 else ()
    indices = np.unravel_index(found.page, [length for _, length in axes]) if axes else ()
    return {axis: int(index) for (axis, _), index in zip(axes, indices, strict=True)}


Table = dict[str, list[Any]]

_WORDS = ("image", "class")
_WHOLE = ("label", "pixels", "first_page", "last_page", "top", "bottom", "left", "right")
"""The columns of whole numbers; what is in neither holds floats."""


def table(objects: Parts, classes: Sequence[str], form: Form, *, through_depth: bool = False) -> Table:
    """Return the columns of a table of objects, which are numbered in their order."""
    sizes, means = objects.sizes, (objects.pages, objects.rows, objects.columns)
    places: dict[str, NDArray[np.float64]] = {
        name: sums / objects.sizes for name, sums in zip(("page", "row", "column"), means, strict=True)
    }
    found: Table = {
        "label": list(range(1, len(objects) + 1)),
        "class": [classes[kind] for kind in objects.kinds],
        "pixels": sizes.astype(np.int64).tolist(),
        "probability": (objects.certain / sizes).round(4).tolist(),
    } | {name: place.round(4).tolist() for name, place in places.items()}
    for number, (first, last) in enumerate((("first_page", "last_page"), ("top", "bottom"), ("left", "right"))):
        found |= {first: objects.low[:, number].tolist(), last: objects.high[:, number].tolist()}
    step = {axis: size for axis, size in form.pixel_size.items() if size.unit}
    known = [axis for axis in ("yx" if [axis for axis, _ in form.page_axes] != ["z"] else "zyx") if axis in step]
    for axis in known:
        place = places[{"z": "page", "y": "row", "x": "column"}[axis]]
        found[f"{axis}_{step[axis].unit}"] = (place * step[axis].size).tolist()
    spread = "zyx" if through_depth else "yx"
    if set(spread) <= set(known) and len({step[axis].unit for axis in spread}) == 1:
        name = f"{'volume' if through_depth else 'area'}_{step['x'].unit}{len(spread)}"
        found[name] = (sizes * np.prod([step[axis].size for axis in spread])).tolist()
    return found


def write_table(path: Path, columns: Table) -> None:
    """Write a table, as Parquet where the ending says so, else as CSV.

    Raises:
        UsageError: pyarrow is not installed.
        StorageError: the disk did not take it.
    """
    if path.suffix.lower() == ".parquet":
        arrow, parquet = required("pyarrow", "parquet"), required("pyarrow.parquet", "parquet")
        # The types are named, because those of a table without objects cannot be found from its values.
        types = dict.fromkeys(columns, arrow.float64()) | dict.fromkeys(_WORDS, arrow.string())
        types |= dict.fromkeys(_WHOLE, arrow.int64())
        schema = arrow.schema([(name, types[name]) for name in columns])
        with atomic_path(path) as temporary:
            parquet.write_table(arrow.table(columns, schema=schema), temporary)
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@contextmanager
def table_file(path: Path, classes: Sequence[str]) -> Generator[Sink]:
    """Give what collects the objects of images in a table, whose first column is the image's file.

    Raises:
        UsageError: pyarrow is not installed, and a Parquet file is asked for.
        StorageError: the disk did not take it.
    """
    if path.suffix.lower() == ".parquet":
        required("pyarrow.parquet", "parquet")
    pages = list[Table]()

    def put(found: Found) -> None:
        objects, (height, width) = found.objects, found.objects.ids.shape
        block = Block(found.page, slice(0, height), slice(0, width))
        parts = summed_up(objects.ids, objects.classes, block, None)
        parts = replace(parts, certain=parts.sizes * objects.confidences)
        pages.append({"image": [found.image.name] * len(parts)} | table(parts, classes, found.form))

    yield put
    names = dict.fromkeys(name for page in pages for name in page)
    rows = [len(page["label"]) for page in pages]
    columns = {
        name: [value for page, count in zip(pages, rows, strict=True) for value in page.get(name, [None] * count)]
        for name in names
    }
    write_table(path, columns | {"label": [number for count in rows for number in range(1, count + 1)]})
