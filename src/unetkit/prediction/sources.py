"""What a prediction is given, and where it goes: images that fit the network, regions of interest, free places.

All of it is looked at before the first pixel is predicted. What lies outside a region is background. A region is a mask
of an image's size, nonzero where something may be found: of one page for all pages of the image, or of as many as it
has. Regions of a folder of images are paired with them by their names, as images with masks are.

Legend of shapes: K classes or measures, H height, W width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unetkit.data.channels import in_channels, pages_as_channels
from unetkit.data.layouts.mask_files import (
    IMAGE_FOLDERS,
    SECTIONS,
    are_sections,
    find_folder,
    image_files,
    is_mask_name,
)
from unetkit.data.layouts.matcher import pair
from unetkit.data.layouts.names import Group, Name, files_of_channels, has_word
from unetkit.errors import DataError, UsageError
from unetkit.images import SUFFIXES, is_folder, natural, open_image
from unetkit.images.image import ALL, Image, joined, neighbours
from unetkit.prediction.journal import JOURNAL, unfinished_folder
from unetkit.prediction.predictor import Part, Predictor
from unetkit.progress import Progress
from unetkit.storage import is_remote, place_of, url_of
from unetkit.storage.atomic import is_taken


def open_fitting(predictor: Predictor, source: Path, sections: Sequence[Path] = ()) -> Image:
    """Open an image file whose channels are those that the network takes; no pixels are read.

    Of an image with more channels, or with pages without names that may be channels, those of `predict.channels` are
    taken. Where the network sees the slices around each slice, their channels are the pages' too; `sections` are the
    files of slices that each are in a file of their own.

    Raises:
        DataError: other channels, a single slice where a stack is needed, or as `open_image`.
    """
    if sections:
        return joined([_of_its_channels(predictor, path) for path in sections])
    return _of_its_channels(predictor, source).with_context(predictor.card.context)


def other_units(predictor: Predictor, source: Path, sections: Sequence[Path] = ()) -> tuple[str, ...]:
    """Say where the middle of an image has values far from all that the network was trained on; () where it has not.

    Of 16 bits given to a network of 8, or the reverse, a mask comes out that means nothing. Networks whose
    normalisation is not known, or is no matter of mean and deviation, are left out.
    """
    image, card = open_fitting(predictor, source, sections), predictor.card
    mean, std = np.array(card.mean)[:, None], np.array(card.std)[:, None]
    if predictor.prepare is not None or (not mean.any() and (std == 1).all()):
        return ()
    rows, columns = (slice(max(0, side // 2 - _SEEN), side // 2 + _SEEN) for side in (image.height, image.width))
    seen = image.page(0)[:, rows, columns].reshape(len(mean), -1)
    span = std.max() / _FAR
    narrow = 0 < np.ptp(seen) < span if image.dtype.kind == "f" else np.iinfo(image.dtype).max < mean.max()
    if not narrow and (abs(np.median(seen, axis=1, keepdims=True) - mean) <= _FAR * std).any():
        return ()
    return (
        f"{source}: has values from {seen.min():.5g} to {seen.max():.5g} ({image.dtype}), but the network was trained "
        f"on images with a mean of {mean.max():.5g} and a standard deviation of {std[mean.argmax(), 0]:.3g}: if its "
        "unit is another one, the result means nothing; give images in the unit of the training",
    )


_SEEN = 128
"""Pixels on each side of the middle that are looked at."""

_FAR = 20.0
"""So many standard deviations are no change of light."""


def sections_around(predictor: Predictor, files: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return the files of the slices that each image of a folder is seen with; () where its own pages are those.

    Raises:
        DataError: single images that are no sections of a stack, where the network needs one.
    """
    alone = dict.fromkeys(files, ())
    if not predictor.card.context:
        return alone
    ordered = sorted(files, key=lambda path: natural(path.name))
    images = [open_image(path) for path in ordered]
    if any(image.count > 1 for image in images):
        return alone
    if not are_sections(images):
        raise DataError(
            f"{files[0].parent}: {len(files)} single images, but the network sees each slice of a stack with its "
            f"neighbours (model.context={predictor.card.context}); give stacks, or at least {SECTIONS} sections of one "
            "size that are numbered without a gap and look alike"
        )
    around: list[list[int]] = neighbours([np.arange(len(ordered))], predictor.card.context).tolist()
    return {path: tuple(ordered[index] for index in row) for path, row in zip(ordered, around, strict=True)}


def _of_its_channels(predictor: Predictor, source: Path) -> Image:
    image, wanted, chosen = open_image(source), predictor.card.image_channels, predictor.config.channels
    words = predictor.config.channel_files
    if words and image.channels == 1:
        image = in_channels([open_image(path) for path in files_of_channels(source, words)])
    if image.times == wanted > image.channels:
        image = pages_as_channels(image, image.count // image.times)
    if predictor.takes(image.channels * predictor.card.slices):
        return image
    several = pages_as_channels(image)
    if chosen is not None and len(chosen) == wanted and max(chosen) < several.channels:
        return several.with_channels(chosen)
    remedy = "give images like those of the training"
    if several.channels >= wanted:
        pages = "" if several is image else f"if its {image.count} pages are channels, "
        remedy = f"{pages}choose {wanted} of {several.channels} by predict.channels={[*range(wanted)]}"
    raise DataError(
        f"{source}: has {image.channels} channels, but the network was trained on images with {wanted}; {remedy}"
    )


def names_for(
    predictor: Predictor, folder: Path, name_for: Callable[[Path], str], progress: Progress
) -> dict[Path, str]:
    """Return the image files of a folder, or of its folder `images`, and the names of what is written for them.

    Where each channel of an image has a file of its own, the one of the first stands for it. What is left out is said:
    masks, and files that are no images.

    Raises:
        DataError: no images, or two whose results would have one name.
    """
    inner = find_folder(folder, IMAGE_FOLDERS)
    images = image_files(inner) if inner else [path for path in image_files(folder) if not is_mask_name(path)]
    if not images:
        raise DataError(f"{folder}: holds no image files; expected {', '.join(sorted(SUFFIXES))}")
    there = {path for path in (inner or folder).iterdir() if path.is_file() and not path.name.startswith(".")}
    if others := sorted(path.name for path in there.difference(images)):
        shown = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        progress.log(f"note: {len(others)} files of {folder} are left out, as masks or as no images: {shown}")
    words = predictor.config.channel_files or ()
    images = [path for path in images if has_word(path, words[0])] or images if words else images
    taken: dict[str, Path] = {}
    for image in images:
        duplicate = taken.setdefault(name_for(image), image)
        if duplicate != image:
            raise DataError(f"{image}: its mask would have the name of that for {duplicate.name}; rename one of them")
    return {image: name for name, image in taken.items()}


def require_not_source(out: Path, source: Path) -> None:
    """Make sure that a file to be written is not the image itself.

    Raises:
        UsageError: it is.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out}: is the image itself; choose another --out, so that it is not overwritten")


def require_free(out: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Make sure that an output is not there yet, or may be replaced.

    Raises:
        UsageError: it is there.
    """
    if is_remote(out) or overwrite or not is_taken(out):
        return
    if resume and (unfinished_folder(out) / JOURNAL).exists():
        return
    finished = " and finished" if resume else ""
    raise UsageError(f"{out}: is there already{finished}; choose another --out, or replace it by --overwrite")


def require_empty(folder: Path) -> None:
    """Make sure that a folder to be written is empty or not there.

    Raises:
        UsageError: it is not.
        RemoteError: object storage does not tell.
    """
    if bool(place_of(folder).list()) if is_remote(folder) else is_taken(folder):
        raise UsageError(f"{url_of(folder)}: is not an empty folder; nothing is overwritten: choose another --out")


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
