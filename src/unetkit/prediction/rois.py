"""Objects as files of other programs: ImageJ's set of regions of interest (.zip), and GeoJSON as QuPath imports it.

An object is the polygon along its pixels' corners, holes and separate parts included, in pixels of the image: (0, 0) is
the upper left corner, in both programs. Pages of a stack are ImageJ's positions and QuPath's planes.
"""

import json
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unetkit.formats.runtime import required
from unetkit.objects.find import colour_of
from unetkit.objects.polygons import Polygon, polygons
from unetkit.prediction.results import Found, Sink
from unetkit.storage.atomic import atomic_path, atomic_write

if TYPE_CHECKING:
    from roifile import ImagejRoi

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
        yield _ImageJ(file, classes)


@contextmanager
def geojson_file(path: Path, classes: Sequence[str]) -> Generator[Sink]:
    """Give what collects objects as QuPath's detections, each with its class, colour and measurements.

    Raises:
        StorageError: the disk did not take it.
    """
    sink = _GeoJson(classes)
    yield sink
    atomic_write(path, json.dumps({"type": "FeatureCollection", "features": sink.features}))


@dataclass(frozen=True, slots=True)
class _ImageJ:
    file: zipfile.ZipFile
    classes: Sequence[str]

    def put(self, found: Found) -> None:
        pages, objects = found.opened.count, found.objects
        page = f"{found.page + 1:0{len(str(pages))}}-" if pages > 1 else ""
        digits, place = len(str(len(objects))), _place(found)
        for index, parts in enumerate(polygons(objects.ids)):
            kind = int(objects.classes[index])
            name = f"{page}{self.classes[kind].replace('/', '_')}-{index + 1:0{digits}}"
            roi = _region(parts)
            roi.name, roi.stroke_color = name, bytes((255, *colour_of(kind)))
            if len(place) == 1 and len(found.pixels_CHW) == 1:
                roi.position = found.page + 1
            elif place:  # a hyperstack: the object is in all its channels
                roi.z_position, roi.t_position = place.get("z", 0) + 1, place.get("t", 0) + 1
            self.file.writestr(zipfile.ZipInfo(f"{name}.roi"), roi.tobytes(), zipfile.ZIP_DEFLATED)


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


@dataclass(frozen=True, slots=True)
class _GeoJson:
    classes: Sequence[str]
    features: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def put(self, found: Found) -> None:
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
                "classification": {"name": self.classes[kind], "color": list(colour_of(kind))},
                "measurements": measured,
            }
            self.features.append({"type": "Feature", "geometry": geometry, "properties": properties})


def _place(found: Found) -> dict[str, int]:
    """Return the index of a page along the axes t and z that its file has, from 0; empty for a single page."""
    axes = found.form.page_axes if found.pages > 1 else ()
    indices = np.unravel_index(found.page, [length for _, length in axes]) if axes else ()
    return {axis: int(index) for (axis, _), index in zip(axes, indices, strict=True)}
