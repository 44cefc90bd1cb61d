"""Predictions within a region of interest: what lies outside a mask is background.

A region is a mask of an image's size, nonzero where something may be found: of one page for all pages of the image, or
of as many as it has. Regions of a folder of images are paired with them by their names, as images with masks are.

Legend of shapes: K classes or measures, H height, W width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unetkit.data.layouts.mask_files import image_files
from unetkit.data.layouts.matcher import pair
from unetkit.data.layouts.names import Group, Name
from unetkit.errors import DataError
from unetkit.images import is_folder, open_image
from unetkit.images.image import ALL, Image
from unetkit.prediction.predictor import Part


@dataclass(frozen=True, slots=True)
class Region:
    """Where something may be found in an image: the file of a mask, and the mask."""

    path: Path
    mask: Image

    def within(self, values_KHW: Tensor, page: int, rows: slice, columns: slice, *, background: bool = True) -> Tensor:
        """Return the values of a window with all outside the region 0, and with `background` the first of them 1."""
        mask_CHW = self.mask.page(page if self.mask.count > 1 else 0)[ALL, rows, columns]
        outside = torch.from_numpy(~mask_CHW.any(axis=0)).to(values_KHW.device)
        kept = values_KHW.masked_fill(outside, 0)
        if background:
            kept[0].masked_fill_(outside, 1)
        return kept


def parts_within(
    region: Region | None, parts: Iterator[tuple[int, Part]], *, background: bool
) -> Iterator[tuple[int, Part]]:
    """Yield the parts of pages as `Region.within` gives them."""
    if region is None:
        yield from parts
        return
    for page, part in parts:
        kept_KHW = region.within(part.probabilities_KHW, page, part.rows, part.columns, background=background)
        yield page, Part(part.rows, part.columns, kept_KHW)


def open_region(path: Path | None, image: Image) -> Region | None:
    """Open the mask of an image's region; None: there is none.

    Raises:
        DataError: it cannot be read, or is of another size or number of pages.
    """
    if path is None:
        return None
    mask = open_image(path, "mask")
    if (mask.height, mask.width) != (image.height, image.width) or mask.count not in (1, image.count):
        raise DataError(
            f"{path}: {mask.count} pages of {mask.height} x {mask.width}, but {image.source} has {image.count} of "
            f"{image.height} x {image.width}; give a region of the image's size, of one page or as many"
        )
    return Region(path, mask)


def regions_for(images: Sequence[Path], roi: Path | None) -> dict[Path, Path | None]:
    """Return the mask of each image's region: the one that is given, or those of a folder by their names.

    Raises:
        DataError: an image without one in the folder, or with several.
    """
    if roi is None or not is_folder(roi):
        return dict.fromkeys(images, roi)
    by_name, masks = (Group.of(Name.of(path.name) for path in files) for files in (images, image_files(roi)))
    found, regions = pair(by_name, masks).masks, dict[Path, Path | None]()
    for image in images:
        mine = found.get(image.name, ())
        if len(mine) != 1:
            what = f"{len(mine)} regions ({mine[0].path}, ...)" if mine else "no region"
            raise DataError(f"{image}: has {what} in {roi}; one with a name like the image's was expected")
        regions[image] = roi / mine[0].path
    return regions
