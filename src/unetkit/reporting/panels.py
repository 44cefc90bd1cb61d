"""The pictures of one image side by side with their titles and legend, and any picture as a PNG file.

Letters that the font does not have are not drawn: such a class is called by its number. The page, which the reader's
own fonts set, names everything.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unetkit.reporting.pictures import Colour, Exhibit, Rgb, legend, scale_note, tiles

_GAP = 12
_FONT_SIZE = 17
_LAST_LETTER = 0x52F  # of Latin, Greek and Cyrillic, which the font has
_LINE = 30
_SWATCH = 14
_SMALL_PALETTE = 32  # up to so many greys take fewer bytes as a palette; more, as grey that PNG predicts


def panel(exhibit: Exhibit, classes: Sequence[str], *, heading: str = "") -> Rgb:
    """Return the pictures of an image, from left to right, as one picture, uint8 [H, W, 3], with a legend.

    Args:
        exhibit: the image with its truth and its probabilities.
        classes: the names of the classes, index 0 first.
        heading: a line above the pictures; the image's name and size where there is none.
    """
    names = [name if _drawable(name) else f"class {index}" for index, name in enumerate(classes)]
    shown = tiles(exhibit, names)
    font = _font()
    widths = [max(tile.pixels.shape[1], int(font.getlength(tile.title)) + 1) for tile in shown]
    height = shown[0].pixels.shape[0]
    entries = legend(names, borders=exhibit.borders is not None, objects=exhibit.objects is not None)
    legend_lines = _legend_lines(entries, sum(widths) + _GAP * (len(widths) - 1), font)
    size = (sum(widths) + _GAP * (len(widths) + 1), height + _LINE * (2 + len(legend_lines)) + 2 * _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), heading if _drawable(heading) and heading else _caption(exhibit), "black", font)
    left = _GAP
    for tile, width in zip(shown, widths, strict=True):
        draw.text((left, _GAP + _LINE), tile.title, "black", font)
        sheet.paste(Image.fromarray(np.ascontiguousarray(tile.pixels)), (left, _GAP + 2 * _LINE))
        left += width + _GAP
    for line, entries in enumerate(legend_lines):
        _draw_legend(draw, entries, height + _LINE * (2 + line) + _GAP + 8, font)
    return np.asarray(sheet)


def png(pixels: Rgb) -> bytes:
    """Return uint8 [H, W, 3] as a PNG file, without loss, as grey or with a palette where that holds all of it."""
    buffer = BytesIO()
    _smallest_form(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _smallest_form(pixels: Rgb) -> Image.Image:
    whole = Image.fromarray(np.ascontiguousarray(pixels))
    counted = whole.getcolors(256)
    grey = bool((pixels == pixels[..., :1]).all())
    if counted is not None and (len(counted) <= _SMALL_PALETTE or not grey):
        return _with_palette(pixels, np.array([colour for _, colour in counted], np.uint8))
    return whole.convert("L") if grey else whole


def _with_palette(pixels: Rgb, colours: Rgb) -> Image.Image:
    codes = _codes(colours)
    order = codes.argsort()
    small = Image.fromarray(np.searchsorted(codes[order], _codes(pixels)).astype(np.uint8)).convert("P")
    small.putpalette(colours[order].tobytes())
    return small


def _codes(colours: Rgb) -> NDArray[np.uint32]:
    """Return one number a colour, from [..., 3]."""
    wide = colours.astype(np.uint32)
    return wide @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _caption(exhibit: Exhibit) -> str:
    return ", ".join([*([exhibit.name] if _drawable(exhibit.name) else []), scale_note(exhibit)])


def _font() -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # its font has the sign × and more alphabets than Pillow's own

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT_SIZE)


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


def _draw_legend(
    draw: ImageDraw.ImageDraw, entries: Sequence[_Entry], top: float, font: ImageFont.FreeTypeFont
) -> None:
    for colour, words, offset in entries:
        left = _GAP + offset
        draw.rectangle((left, top + 3, left + _SWATCH, top + 3 + _SWATCH), fill=colour, outline="black")
        draw.text((left + _SWATCH + 6, top), words, "black", font)
