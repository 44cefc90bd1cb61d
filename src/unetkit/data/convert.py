"""Any data set with labels, written as multi-class folders: ID/image.png and ID/mask.png, as the legacy zoo did.

Data that is divided by its makers becomes train/ and val/. Two classes are written as 0 and 255, more as class indices.
Float images, which PNG cannot hold, are written as TIFF. The folder is there whole or not at all. Objects are not kept:
the layout has no place for them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.data.dataset import Dataset, division_of
from unetkit.errors import DataError, UsageError
from unetkit.progress import NoProgress, Progress
from unetkit.storage.atomic import atomic_folder, is_taken


def convert(dataset: Dataset, out: str | Path, *, progress: Progress | None = None) -> Path:
    """Write a data set as multi-class folders and return the folder.

    Args:
        dataset: what `open_dataset` gives.
        out: a folder that does not exist or is empty.
        progress: reports how many samples are written.

    Raises:
        UsageError: the folder holds something.
        DataError: a sample that cannot be read, or that has no labels.
        StorageError: the folder cannot be written to.

    Example:
        >>> convert(open_dataset("stage1_train.zip"), "nuclei")
    """
    folder, progress = Path(out), progress or NoProgress()
    if is_taken(folder):
        raise UsageError(f"{folder}: is not empty; choose a folder that does not exist yet")
    division = division_of(dataset)
    part_of = {**dict.fromkeys(division.held_out, "val"), **dict.fromkeys(division.test, "test")}
    with atomic_folder(folder) as whole:
        for index in range(len(dataset)):
            sample = dataset[index]
            if sample.labels is None:
                name = sample.source or sample.name
                raise DataError(f"{name}: has no labels; only images with masks are converted")
            part = part_of.get(index, "train") if part_of else ""
            inside = whole / part / sample.name
            inside.mkdir(parents=True)
            factor = sample.labels.dtype.type(255 if len(dataset.classes) == 2 else 1)
            _write_png(inside / "mask.png", sample.labels * factor)
            pixels = sample.pixels[0] if len(sample.pixels) == 1 else np.moveaxis(sample.pixels, 0, 2)
            if pixels.dtype == np.float32:
                kind = "rgb" if pixels.ndim == 3 else "minisblack"
                tifffile.imwrite(inside / "image.tif", np.ascontiguousarray(pixels), photometric=kind)
            else:
                _write_png(inside / "image.png", np.ascontiguousarray(pixels))
            progress.update(index + 1, len(dataset), {})
    return folder


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    from imagecodecs import png_encode  # slow to import; Pillow writes no sixteen-bit colours

    path.write_bytes(png_encode(pixels, level=6))
