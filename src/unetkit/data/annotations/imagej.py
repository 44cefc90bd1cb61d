"""Regions of ImageJ: a .zip of its ROI Manager, or a single .roi, which belongs to the image of the same name.

A region's class is what its name says in letters: `cell-012` is a cell; the names that ImageJ gives are numbers alone.
"""

import io
import re
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from unetkit.data.annotations.records import AnnotatedImage
from unetkit.data.outlines import Outline, Polygons, Shape, ellipse, rectangle
from unetkit.errors import DataError, UsageError
from unetkit.images.image import decoding
from unetkit.storage.tree import ZIP_DAMAGE, read_entry

if TYPE_CHECKING:
    from roifile import ImagejRoi

_MAGIC = b"Iout"
_LARGEST, _MOST = 2**24, 2**16
"""Bytes of a region, and regions of a file."""

_LONGEST_NAME = 200
_CLASS = re.compile(r"[\d\W_]*([^\W\d_].*?)[\d\W_]*", re.DOTALL)


def holds_regions(content: bytes) -> bool:
    """Tell whether a file is a region, or an archive of regions alone."""
    if content.startswith(_MAGIC):
        return True
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except ZIP_DAMAGE:
        return False
    return bool(names) and all(name.lower().endswith(".roi") for name in names)


def read_regions(content: bytes, source: str) -> list[AnnotatedImage]:
    """Read the regions of one image; points, lines and texts are left out.

    Raises:
        DataError: damaged, or more than is read.
        UsageError: roifile is not installed.
    """
    try:
        from roifile import ROI_TYPE, ImagejRoi  # an extra
    except ImportError as error:
        raise UsageError("ImageJ's regions need roifile; install it with: pip install 'unetkit[imagej]'") from error

    files = {"": content}
    if not content.startswith(_MAGIC):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST:
                raise DataError(f"{source}: holds {len(entries):,} regions; at most {_MOST:,} are read")
            files = {one.filename: read_entry(archive, one, f"{source}/{one.filename}", _LARGEST) for one in entries}
    shapes: list[Shape] = []
    left_out = Counter[str]()
    for file, data in files.items():
        place = file or "the region"
        with decoding(f"{source}: {place}"):
            roi = ImagejRoi.frombytes(data)
            outline: Outline | None = None
            if roi.multi_coordinates is not None:
                outline = Polygons([[one.ravel().tolist() for one in roi.coordinates(multi=True) if len(one) > 2]])
            elif roi.roitype == ROI_TYPE.RECT:
                outline = rectangle(*_sides(roi))
            elif roi.roitype == ROI_TYPE.OVAL:
                left, top, right, bottom = _sides(roi)
                outline = ellipse((left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2)
            elif roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
                outline = Polygons([[np.asarray(roi.coordinates()).ravel().tolist()]])
        if outline is None:
            left_out[roi.roitype.name.lower()] += 1
            continue
        named = _CLASS.fullmatch((roi.name or file.rpartition("/")[2].removesuffix(".roi"))[:_LONGEST_NAME])
        pages = [page for page in (roi.z_position, roi.t_position, roi.position) if page > 0]
        page = pages[0] - 1 if len(set(pages)) == 1 else None
        shapes.append(Shape(named[1] if named else "", outline, place, page=page))
    return [AnnotatedImage("", tuple(shapes), None, dict(left_out))]


def _sides(roi: "ImagejRoi") -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a region, in fractions of pixels where it has them."""
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
    return roi.left, roi.top, roi.right, roi.bottom
