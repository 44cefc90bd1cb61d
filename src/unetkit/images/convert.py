"""One image from one form into another: any file that is read, or a folder of sections, to OME-Zarr or TIFF.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from unetkit.errors import DataError, UsageError
from unetkit.images import image_path, is_folder, is_image_name, natural, open_image
from unetkit.images.image import Image, stacked
from unetkit.images.omewrite import SHARD, ome_zarr
from unetkit.images.write import Form, Output, tiff_stack
from unetkit.progress import NoProgress, Progress

Writer = Callable[[Path, Form], AbstractContextManager[Output]]


def image_writer(out: Path) -> Writer | None:
    """Return what writes images of any size under a name: OME-Zarr, also as labels of an image, or TIFF."""
    if out.suffix == ".zarr" or (out.parent.name == "labels" and out.parents[1].suffix == ".zarr"):
        return ome_zarr
    return tiff_stack if out.suffix.lower() in (".tif", ".tiff") else None


def _opened(path: Path, companions: bool) -> Image:
    """Open an image, or the image files of a folder as the slices of one."""
    if not is_folder(path):
        return open_image(path, companions=companions)
    files = (file.name for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    names = [name for name in files if is_image_name(name)]
    if not names:
        raise DataError(f"{path}: is a folder without image files; give an image, or a folder of sections")
    return stacked([open_image(path / name) for name in sorted(names, key=natural)])


def convert_image(
    source: str | Path,
    out: str | Path,
    *,
    labels: bool = False,
    version: Literal["0.4", "0.5"] = "0.5",
    companions: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an image, stack or volume in another form, with its axes, its channels and its pixel size.

    Args:
        source: any image that is read, or a folder of sections, which are taken in the order of their numbers; nothing
            but the block at hand is in memory, where its format allows it.
        out: a name with .zarr (OME-Zarr), `IMAGE.zarr/labels/NAME`, or a name with .tif.
        labels: the values are labels: smaller levels take the nearest one, not the mean.
        version: of OME-Zarr.
        companions: the image is one file of an OME-TIFF set, of which all lie in its folder: write the whole.
        progress: follows the blocks.

    Raises:
        DataError: an image that cannot be read.
        UsageError: a name that says no form, or that is taken.
        StorageError: the disk did not take it.

    Example:
        >>> convert_image("volume.tif", "volume.ome.zarr")
    """
    target, progress = Path(out), progress or NoProgress()
    image, writer = _opened(image_path(source), companions), image_writer(target)
    if writer is None:
        raise UsageError(f"{target}: its ending says no form of images; choose a name with .ome.zarr or .tif")
    if target.is_file():
        raise UsageError(f"{target}: is there already, and nothing is overwritten; choose another --out")
    names = tuple(map(str, range(image.channels))) if image.channels > 1 else ()
    dtype = np.dtype(np.uint8) if image.dtype == np.bool_ else image.dtype.newbyteorder("=")
    form = replace(Form.like(image, dtype, names, None), version=version)
    if labels or target.parent.name == "labels":
        form = replace(form, labels=("background",))
    blocks = list(product(range(image.count), range(0, image.height, SHARD), range(0, image.width, SHARD)))
    with writer(target, form) as output:
        for done, (page, top, left) in enumerate(blocks, 1):
            values = image.read(page, slice(top, top + SHARD), slice(left, left + SHARD))
            output.put(page, top, left, values * np.uint8(255) if values.dtype == np.bool_ else values)
            progress.update(done, len(blocks), {})
    return target
