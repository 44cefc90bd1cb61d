"""Which input pixels an output pixel sees, and which sizes fit: integers only, no tensors.

The intervals are propagated backwards through the network, one axis at a time, as if the image had no border, and for
every position of an output pixel within a period of `multiple`; so the halo is exact, not estimated. It assumes that
all norms are affine maps at prediction; those that look at the whole image make the halo infinite, and the caller says
so. Nothing here knows how an image is cut into tiles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from unetkit.errors import UsageError

Up = Literal["deconv", "bilinear", "bilinear-legacy"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What prediction has to know about the sizes of a network.

    Attributes:
        multiple: pixels; where the input is cut or begins at a multiple of it, pooling falls into step with the whole
            image, and input sides that are `offset` more than a multiple of it fit without padding inside the network.
        offset: pixels, 0 for padded networks; 12 for the paper's (572 = 35 * 16 + 12).
        halo: pixels; the farthest that any output pixel sees to either side, counted from its own place in the input
            (output place + margin). None: the whole image, because of norms that average over it.
        margin: pixels that valid convolutions lose on each side; 0 for padded networks.
        disturbed: pixels; how many pixels of output on each side of a tile, one that fits and begins at a multiple, can
            differ from the whole image's. Less than `halo` - `margin`, because pooling is in step. None: not known.
        fixed: pixels; the only height and width that go in, of an exported file; None: any.
    """

    multiple: int
    offset: int
    halo: int | None
    margin: int
    disturbed: int | None = None
    fixed: tuple[int, int] | None = None

    @property
    def overlap(self) -> int | None:
        """Return the pixels to give up on each side of a tile's output, as a multiple, to make it equal to the whole.

        For tiles that fit and begin at multiples. 0: all that a valid network gives is as in the whole image. None: no
        overlap makes them equal.
        """
        if self.halo is None:
            return None
        disturbed = max(0, self.halo - self.margin) if self.disturbed is None else self.disturbed
        return -(disturbed // -self.multiple) * self.multiple

    def padded_size(self, size: int) -> int:
        """Return the smallest side, in pixels, that fits the network and is not below `size`."""
        return size + (self.offset - size) % self.multiple

    def valid_output_size(self, size: int) -> int:
        """Return the output's side for an input's side, both in pixels: 388 for 572 in the paper's network.

        Raises:
            UsageError: valid convolutions use the whole input up.
        """
        if size <= 2 * self.margin:
            raise UsageError(
                f"found an image {size} pixels wide or high, but this network's unpadded convolutions use up "
                f"{2 * self.margin}; mirror the image's borders outwards, or train with model.padding=same"
            )
        return size - 2 * self.margin

    def fitting_input_size(self, size: int) -> int:
        """Return the smallest input side that fits and whose output covers `size`: 572 for 388 in the paper's net."""
        return self.padded_size(size + 2 * self.margin)


@dataclass(frozen=True, slots=True)
class Layout:
    """What in the build of a network decides which pixels it sees.

    Attributes:
        depth: how many times the image is halved.
        downscale: side of the pixel blocks that the first level sees as channels.
        valid: 3x3 convolutions are not padded.
        up: how maps are enlarged.
        up_kernel: side of the convolution that enlarges (deconv) or that follows or precedes the interpolation.
        decoder_convs: 3x3 convolutions in a block of the decoder; the encoder's have two.
    """

    depth: int
    downscale: int = 1
    valid: bool = False
    up: Up = "deconv"
    up_kernel: int = 2
    decoder_convs: int = 2

    @property
    def block_loss(self) -> int:
        """Return the pixels that a block of the encoder loses on each side."""
        return 2 if self.valid else 0

    @property
    def multiple(self) -> int:
        """Return the side, in pixels, of what becomes one pixel of the lowest level."""
        return self.downscale * 2**self.depth

    def margin(self, level: int) -> int:
        """Return what a level and all below it lose on each side, in pixels of that level."""
        if level == self.depth:
            return self.block_loss
        return self.block_loss + (self.decoder_convs if self.valid else 0) + self.crop(level)

    def crop(self, level: int) -> int:
        """Return what is cut from each side of a level's skip before it is joined, in pixels of that level."""
        lost_in_up = 1 if self.valid and self.up != "deconv" and self.up_kernel == 3 else 0
        return 2 * self.margin(level + 1) + lost_in_up


def unet_geometry(layout: Layout, *, whole_image: bool) -> Geometry:
    """Return the geometry of a U-Net; `whole_image`: a norm averages over the image, at prediction too."""

    def decoder(span: Span, level: int = 0) -> Span:
        if level == layout.depth:
            return _encoder(layout, span, level)
        span = _block(layout, span, layout.decoder_convs)
        skip = (span[0] + layout.crop(level), span[1] + layout.crop(level))
        return _hull(_encoder(layout, skip, level), decoder(_up(layout, span), level + 1))

    return _geometry(layout, decoder, whole_image)


def unetpp_geometry(layout: Layout, *, head: int, whole_image: bool) -> Geometry:
    """Return the geometry of a UNet++ that predicts with one of its heads, from 1 to depth.

    The layout's multiple holds for every head, so that all see the same padded image. `whole_image`: a norm averages
    over the image, at prediction too.
    """

    def node(span: Span, level: int = 0, column: int = head) -> Span:
        if column == 0:
            return _encoder(layout, span, level)
        span = _block(layout, span, layout.decoder_convs)
        # Nodes further left in the row see less than the left neighbour: it has them among its inputs.
        return _hull(node(span, level, column - 1), node(_up(layout, span), level + 1, column - 1))

    return _geometry(layout, node, whole_image)


def _geometry(layout: Layout, seen_by: Callable[[Span], Span], whole_image: bool) -> Geometry:
    multiple, downscale, margin = layout.multiple, layout.downscale, layout.downscale * layout.margin(0)
    cells = [seen_by((cell, cell)) for cell in range(multiple // downscale)]
    spans = [(low * downscale, high * downscale + downscale - 1) for low, high in cells for _ in range(downscale)]
    places = range(margin, margin + multiple)
    reach = max(max(place - low, high - place) for place, (low, high) in zip(places, spans, strict=True))
    offset = -2 * downscale * layout.block_loss % multiple
    # The outputs of a large tile whose spans begin before it, and those whose spans end behind it.
    size = 3 * multiple * (1 + max(high - low for low, high in spans) // multiple) + offset
    lows, highs = zip(*spans, strict=True)
    before = sum(lows[pixel % multiple] + pixel - pixel % multiple < 0 for pixel in range(size - 2 * margin))
    behind = sum(highs[pixel % multiple] + pixel - pixel % multiple >= size for pixel in range(size - 2 * margin))
    return Geometry(
        multiple=multiple,
        offset=offset,
        halo=None if whole_image else reach,
        margin=margin,
        disturbed=None if whole_image else max(before, behind),
    )


def _encoder(layout: Layout, span: Span, level: int) -> Span:
    for _ in range(level):
        low, high = _block(layout, span)
        span = (2 * low, 2 * high + 1)
    return _block(layout, span)


def _block(layout: Layout, span: Span, convs: int = 2) -> Span:
    return (span[0], span[1] + 2 * convs) if layout.valid else (span[0] - convs, span[1] + convs)


def _up(layout: Layout, span: Span) -> Span:
    low, high = span
    if layout.up == "deconv":
        return (low + 2 - layout.up_kernel) // 2, high // 2
    if layout.up_kernel == 3:
        low, high = (low, high + 2) if layout.valid else (low - 1, high + 1)
    return (low - 1 if layout.up == "bilinear" else low) // 2, (high + 1) // 2


def _hull(one: Span, other: Span) -> Span:
    return min(one[0], other[0]), max(one[1], other[1])
