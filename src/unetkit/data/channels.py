"""Images of one set brought to one form: pages that are channels, chosen channels, grey and RGB together.

Looks at headers; at pixels only where grey and RGB images are mixed. Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from unetkit.data.dataset import Item
from unetkit.errors import DataError
from unetkit.images.image import Image, joined

_MOST_PAGES = 8
"""Image without names that may be channels."""


def pages_as_channels(image: Image, pages: int = 1) -> Image:
    """Return an image with an axis of its pages taken for channels, where its labels have fewer pages.

    That are 2 to 8 pages of one channel, of no name, or the times of a volume, as NIfTI keeps its channels.

    Args:
        image: of any number of pages.
        pages: of its labels.
    """
    if image.count == pages or image.channels > 1:
        return image
    if not image.named and pages == 1 < image.count <= _MOST_PAGES:
        return image.pages_as_channels()
    several = 1 < image.times <= _MOST_PAGES and image.count == pages * image.times
    return image.times_as_channels() if several else image


def in_channels(images: Sequence[Image]) -> Image:
    """Return the image whose channels lie in files of their own, in this order.

    Raises:
        DataError: files of different sizes or numbers of pages.
    """
    first = images[0]
    for other in images[1:]:
        if (*other.shape[:-3], *other.shape[-2:]) != (*first.shape[:-3], *first.shape[-2:]):
            raise DataError(
                f"{other.source}: {other.count} pages of {other.height} x {other.width} pixels (rows x columns), but "
                f"{first.source}, a channel of the same image, has {first.count} of {first.height} x {first.width}"
            )
    return first if len(images) == 1 else replace(joined(images), source=first.source)


def in_one_form(images: Sequence[Image], channels: tuple[int, ...] | None) -> tuple[list[Image], str]:
    """Return the images of a set with the chosen channels, or grey and RGB in one form, and a line that says it.

    Of a set with grey and RGB images, the RGB ones are read as grey if the three channels are equal in all of them;
    otherwise the grey ones are read as RGB. Other mixtures are left as they are.

    Raises:
        DataError: an image without one of the chosen channels.
    """
    if channels is not None:
        return [image.with_channels(channels) for image in images], f"{list(channels)}, by data.channels"
    coloured = [image for image in images if image.channels == 3]
    if {image.channels for image in images} != {1, 3}:
        return list(images), ""
    if any(map(_has_colour, coloured)):
        words = (
            f"RGB: {len(images) - len(coloured)} of {len(images)} images are grey, and are read as RGB like the others"
        )
        return [image if image.channels == 3 else image.with_channels((0, 0, 0)) for image in images], words
    words = f"grey: {len(coloured)} of {len(images)} images are RGB without a colour, and are read as grey"
    return [image if image.channels == 1 else image.with_channels((0,)) for image in images], words


def with_channels(item: Item, channels: tuple[int, ...]) -> Item:
    """Return an image with objects of which some channels are read, counted from 0."""

    def read() -> NDArray[Any]:
        pixels = item.image()
        if max(channels) >= len(pixels):
            raise DataError(
                f"{item.source}: has {len(pixels)} channels (numbered from 0), but data.channels names channel "
                f"{max(channels)}; name channels below {len(pixels)}"
            )
        return pixels[list(channels)]

    return replace(item, image=read)


def _has_colour(image: Image) -> bool:
    for page in range(image.count):
        try:
            pixels = image.read(page)
        except DataError:
            continue  # it is a complaint when it is used
        if (pixels[1:] != pixels[:1]).any():
            return True
    return False
