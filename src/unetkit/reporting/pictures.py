"""Pictures of one image: input, truth, prediction and errors; side by side as one panel, and as PNG files.

Colours are Okabe and Ito's, which colour-blind readers can distinguish. Letters that the panel's font lacks are not
drawn: such a class is called by its number; the page, in the reader's own fonts, names everything. Assumes pixels,
labels and probabilities of one height and width. Does not know runs or pages.

Legend of shapes: C channels, K classes, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unetkit.metrics import Overlaps
from unetkit.objects import ObjectMap
from unetkit.objects.find import outermost

Rgb = NDArray[np.uint8]
Colour = tuple[int, int, int]

LONGEST_SIDE = 600
SHORTEST_SIDE = 240
PERCENTILES = (0.5, 99.5)
BLACK, WHITE, ORANGE, BLUE = (0, 0, 0), (255, 255, 255), (213, 94, 0), (0, 114, 178)
BORDER, GREEN = (86, 180, 233), (0, 158, 115)

_OKABE_ITO = (BLACK, (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), BLUE, ORANGE, (204, 121, 167))
_BACKGROUNDS = frozenset({"background", "bg", "other"})
_FADED = 0.35  # what is left of the image's contrast behind the errors
_GREYS = {"image": 52, "errors": 12, "probability": 21, "reduced": 26}  # more make the files larger and are not seen


@dataclass(frozen=True)
class Example:
    """An image with its truth and what a network says of it.

    Attributes:
        name: the image's name.
        pixels: [C, H, W] as stored; three channels are shown in colour, of any other number the first in grey.
        labels: [H, W] class indices.
        probabilities: [K, H, W] float, summing to one over K.
        borders: where objects have their true and their predicted border, [H, W] each; None: nobody looked for any.
        objects: the true objects and those that were found; None: nobody looked for any.
        decided: [H, W] the classes of the predicted mask; None: the most probable ones.
    """

    name: str
    pixels: NDArray[Any]
    labels: NDArray[Any]
    probabilities: NDArray[Any]
    borders: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    objects: tuple[ObjectMap, ObjectMap] | None = None
    decided: NDArray[Any] | None = None

    @cached_property
    def prediction(self) -> NDArray[Any]:
        """[H, W] the class that each pixel is given: the most probable one, the first of equals, or as decided."""
        return self.probabilities.argmax(0) if self.decided is None else self.decided

    @cached_property
    def stretch(self) -> tuple[float, float]:
        """The stored values that are shown black and white."""
        return _stretch(self.pixels)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of an image: uint8 [H, W, 3] with its title."""

    title: str
    pixels: Rgb


def tiles(example: Example, classes: Sequence[str]) -> tuple[Tile, ...]:
    """Return the five pictures of an image: image, truth, prediction, errors, and probability; and two of its objects.

    With two classes the probability is that of the second, white where it is 1, as that class is white in the truth;
    with more it is that of the class predicted. Sides above 600 pixels are reduced, small images enlarged.
    """
    two = len(classes) == 2
    certain = example.probabilities[1] if two else example.probabilities.max(0)
    pictures = {
        "image": _stretched(example.pixels, example.stretch),
        "truth": _coloured(example.labels, example, 0),
        "prediction": _coloured(example.prediction, example, 1),
        "errors": _errors(example, classes),
        f"probability of {classes[1]}" if two else "probability of the prediction": _grey(
            _rounded(certain, _GREYS["probability"])
        ),
        **_outlined_objects(example),
    }
    return tuple(Tile(title, _fitted(pixels)) for title, pixels in pictures.items())


def class_colours(count: int) -> list[Colour]:
    """Return a colour for every class: black and white for two, Okabe and Ito's up to eight, viridis beyond."""
    if count <= len(_OKABE_ITO):
        return [BLACK, WHITE] if count == 2 else list(_OKABE_ITO[:count])
    from matplotlib import colormaps

    table = (colormaps["viridis"](np.linspace(0, 1, count))[:, :3] * 255).astype(int)
    return [(int(red), int(green), int(blue)) for red, green, blue in table]


def error_names(classes: Sequence[str]) -> tuple[str, str]:
    """Return the names of the two errors between two classes: (orange, blue).

    They are told from the class that is looked for: the first one, or the second where the first is the background.
    """
    sought = _sought(classes)
    return f"false {classes[sought]}", f"missed {classes[sought]}"


def error_shares(example: Example, classes: Sequence[str]) -> tuple[float, float]:
    """Return the shares of all pixels that are a false and a missed pixel of the class looked for, of two classes."""
    false, missed = _wrong_ways(example, classes)
    return float(false.mean()), float(missed.mean())


def legend(classes: Sequence[str], *, borders: bool = False, objects: bool = False) -> list[tuple[Colour, str]]:
    """Return the colours of the pictures and what they mean, in words."""
    outlines = [(GREEN, "object with a partner"), (ORANGE, "object without: missed or false")] if objects else []
    named = list(zip(class_colours(len(classes)), classes, strict=True))
    named += [(BORDER, "border of an object")] if borders else []
    if len(classes) != 2:
        return [*named, *outlines]
    sought = _sought(classes)
    false, missed = error_names(classes)
    other = classes[1 - sought]
    return [*named, (ORANGE, f"{false}: truth is {other}"), (BLUE, f"{missed}: predicted as {other}"), *outlines]


def scale_note(example: Example) -> str:
    """Return how the pictures were resized, or nothing where they were not."""
    height, width = example.labels.shape
    shown_width, shown_height, enlargement = _shown_size(height, width)
    if enlargement > 1:
        return f"{width} × {height} px, shown enlarged {enlargement} times"
    if (shown_height, shown_width) != (height, width):
        return f"{width} × {height} px, shown reduced to {shown_width} × {shown_height}"
    return f"{width} × {height} px"


def stretch_note(example: Example) -> str:
    """Return which stored values are black and white in the image."""
    low, high = example.stretch
    return f"black = {low:.5g}, white = {high:.5g} (percentiles {PERCENTILES[0]} and {PERCENTILES[1]})"


def image_picture(pixels: NDArray[Any]) -> Rgb:
    """Return pixels [C, H, W] as a picture of a fitting size."""
    return _fitted(_stretched(pixels, _stretch(pixels)))


def label_picture(labels: NDArray[Any], *, classes: int) -> Rgb:
    """Return class indices [H, W] in their colours, as a picture of a fitting size."""
    return _fitted(np.array(class_colours(max(classes, 2)), np.uint8)[labels])


def _outlined_objects(example: Example) -> dict[str, Rgb]:
    """Outline objects on the image, coloured by whether an object on the other side has an IoU above one half."""
    if example.objects is None:
        return {}
    true, found = example.objects
    overlaps = Overlaps.of(true, found)
    pairs = 2 * overlaps.shared > overlaps.joined
    pictures: dict[str, Rgb] = {}
    for title, objects, partnered in (("true", true, overlaps.true[pairs]), ("found", found, overlaps.found[pairs])):
        colours = np.full((len(objects) + 1, 3), ORANGE, np.uint8)
        colours[partnered + 1] = GREEN
        picture = _stretched(example.pixels, example.stretch).copy()
        line = _thick(outermost(objects.ids)) & (objects.ids > 0)
        picture[line] = colours[objects.ids[line]]
        pictures[f"{title} objects"] = picture
    return pictures


def outlined_picture(pixels: NDArray[Any], regions: NDArray[Any], colour: Colour) -> Rgb:
    """Return pixels [C, H, W] as a picture of a fitting size, with the borders of regions [H, W] drawn on them."""
    picture = _stretched(pixels, _stretch(pixels)).copy()
    border = np.zeros(regions.shape, bool)
    border[1:] |= regions[1:] != regions[:-1]
    border[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    picture[_thick(border)] = colour
    return _fitted(picture)


def _thick(line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thicken a line of a picture that will be reduced, where a thin one would fade."""
    for reach in range(1, -(-max(line.shape) // LONGEST_SIDE)):
        line[reach:] |= line[:-reach]
        line[:, reach:] |= line[:, :-reach]
    return line


def _stretch(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return percentiles over all pixels and channels."""
    low, high = np.percentile(pixels, PERCENTILES)
    return float(low), float(high)


def _stretched(pixels: NDArray[Any], stretch: tuple[float, float]) -> Rgb:
    low, high = stretch
    channels = pixels if len(pixels) == 3 else pixels[:1]
    flat = high <= low
    shown = np.full(channels.shape, 0.5) if flat else (channels.astype(np.float32) - low) / (high - low)
    bytes_HWC = np.moveaxis(_bytes(_rounded(shown, _GREYS["image"])), 0, -1)
    return np.broadcast_to(bytes_HWC, (*channels.shape[1:], 3))


def _coloured(labels: NDArray[Any], example: Example, which: int) -> Rgb:
    """Paint every class in its colour, and the true (0) or the predicted (1) borders over them."""
    picture = np.array(class_colours(len(example.probabilities)), np.uint8)[labels]
    if example.borders is not None:
        picture[example.borders[which]] = BORDER
    return picture


def _errors(example: Example, classes: Sequence[str]) -> Rgb:
    """Paint what is wrong on a faded image: two classes by the way it is wrong, more by the class predicted."""
    grey = _stretched(example.pixels, example.stretch).mean(-1) / 255
    picture = _grey(1 - _FADED * _rounded(1 - grey, _GREYS["errors"]))
    if len(classes) == 2:
        for wrong, colour in zip(_wrong_ways(example, classes), (ORANGE, BLUE), strict=True):
            picture[wrong] = colour
        return picture
    wrong = example.prediction != example.labels
    picture[wrong] = np.array(class_colours(len(classes)), np.uint8)[example.prediction[wrong]]
    return picture


def _wrong_ways(example: Example, classes: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    predicted, true = example.prediction == _sought(classes), example.labels == _sought(classes)
    return predicted & ~true, true & ~predicted


def _sought(classes: Sequence[str]) -> int:
    return int(classes[0].lower() in _BACKGROUNDS)


def _grey(probability: NDArray[Any]) -> Rgb:
    return np.repeat(_bytes(probability)[..., None], 3, -1)


def _rounded(unit: NDArray[Any], levels: int) -> NDArray[Any]:
    """Round values to `levels` steps from 0 to 1, clipping what lies outside."""
    return np.round(unit.clip(0, 1) * (levels - 1)) / (levels - 1)


def _bytes(unit: NDArray[Any]) -> Rgb:
    return (unit.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _shown_size(height: int, width: int) -> tuple[int, int, int]:
    """Return the width and height that are shown, and by what whole number they are enlarged (1: not)."""
    longest = max(height, width)
    if longest > LONGEST_SIDE:
        return max(1, round(width * LONGEST_SIDE / longest)), max(1, round(height * LONGEST_SIDE / longest)), 1
    enlargement = -(-SHORTEST_SIDE // longest)
    return width * enlargement, height * enlargement, enlargement


def _fitted(pixels: Rgb) -> Rgb:
    width, height, enlargement = _shown_size(*pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    # Areas are averaged when reducing, so that thin lines fade instead of breaking.
    way = Image.Resampling.NEAREST if enlargement > 1 else Image.Resampling.BOX
    resized = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), way))
    return resized if enlargement > 1 else _bytes(_rounded(resized / 255, _GREYS["reduced"]))


_GAP = 12
_FONT_SIZE = 17
_LAST_LETTER = 0x52F  # of Latin, Greek and Cyrillic, which the font has
_LINE = 30
_SWATCH = 14
_SMALL_PALETTE = 32  # up to so many greys take fewer bytes as a palette; more, as grey that PNG predicts


def panel(example: Example, classes: Sequence[str], *, heading: str = "") -> Rgb:
    """Return the pictures of an image, from left to right, as one picture, uint8 [H, W, 3], with heading and legend.

    Without a heading it is the image's name and size.
    """
    from matplotlib import get_data_path  # its font has the sign × and more alphabets than Pillow's own

    font = ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT_SIZE)
    names = [name if _drawable(name) else f"class {index}" for index, name in enumerate(classes)]
    shown = tiles(example, names)
    widths = [max(tile.pixels.shape[1], int(font.getlength(tile.title)) + 1) for tile in shown]
    height = shown[0].pixels.shape[0]
    entries = legend(names, borders=example.borders is not None, objects=example.objects is not None)
    legend_lines = _legend_lines(entries, sum(widths) + _GAP * (len(widths) - 1), font)
    size = (sum(widths) + _GAP * (len(widths) + 1), height + _LINE * (2 + len(legend_lines)) + 2 * _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    if not heading or not _drawable(heading):
        heading = ", ".join([*([example.name] if _drawable(example.name) else []), scale_note(example)])
    draw.text((_GAP, _GAP), heading, "black", font)
    left = _GAP
    for tile, width in zip(shown, widths, strict=True):
        draw.text((left, _GAP + _LINE), tile.title, "black", font)
        sheet.paste(Image.fromarray(np.ascontiguousarray(tile.pixels)), (left, _GAP + 2 * _LINE))
        left += width + _GAP
    for line, entries in enumerate(legend_lines):
        top = height + _LINE * (2 + line) + _GAP + 8
        for colour, words, offset in entries:
            left = _GAP + offset
            draw.rectangle((left, top + 3, left + _SWATCH, top + 3 + _SWATCH), fill=colour, outline="black")
            draw.text((left + _SWATCH + 6, top), words, "black", font)
    return np.asarray(sheet)


def png(pixels: Rgb) -> bytes:
    """Return uint8 [H, W, 3] as a PNG file, without loss, as grey or with a palette where that holds all of it."""
    whole = Image.fromarray(np.ascontiguousarray(pixels))
    counted = whole.getcolors(256)
    grey = bool((pixels == pixels[..., :1]).all())
    if counted is not None and (len(counted) <= _SMALL_PALETTE or not grey):
        colours = np.array([colour for _, colour in counted], np.uint8)
        codes = _codes(colours)
        order = codes.argsort()
        whole = Image.fromarray(np.searchsorted(codes[order], _codes(pixels)).astype(np.uint8)).convert("P")
        whole.putpalette(colours[order].tobytes())
    elif grey:
        whole = whole.convert("L")
    buffer = BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def _codes(colours: Rgb) -> NDArray[np.uint32]:
    """Return one number a colour, from [..., 3]."""
    wide = colours.astype(np.uint32)
    return wide @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _drawable(text: str) -> bool:
    return all(character.isprintable() and ord(character) <= _LAST_LETTER for character in text)


class _Entry(NamedTuple):
    """An entry of the legend, and how far from the left it begins."""

    colour: Colour
    words: str
    offset: float


def _legend_lines(
    entries: Sequence[tuple[Colour, str]], width: int, font: ImageFont.FreeTypeFont
) -> list[list[_Entry]]:
    lines: list[list[_Entry]] = [[]]
    left = 0.0
    for colour, words in entries:
        length = _SWATCH + 6 + font.getlength(words)
        if left and left + length > width:
            lines.append([])
            left = 0.0
        lines[-1].append(_Entry(colour, words, left))
        left += length + 24
    return lines
