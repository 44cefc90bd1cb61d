"""The pictures of one image side by side with their titles and legend, and any picture as a PNG file.

Letters that the built-in font does not have are not drawn: such a class is called by its number. The page, which the
reader's own fonts set, names everything.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unetkit.report.pictures import Exhibit, Rgb, legend, scale_note, tiles

_GAP = 12
_FONT_SIZE = 18
_LINE = 30
_SWATCH = 14


def panel(exhibit: Exhibit, classes: Sequence[str], *, heading: str = "") -> Rgb:
    """Return image | truth | prediction | errors | probability as one picture, uint8 [H, W, 3], with a legend.

    Args:
        exhibit: the image with its truth and its probabilities.
        classes: the names of the classes, index 0 first.
        heading: a line above the pictures; the image's name and size where there is none.
    """
    names = [name if _drawable(name) else f"class {index}" for index, name in enumerate(classes)]
    shown = tiles(exhibit, names)
    font = ImageFont.load_default(_FONT_SIZE)
    widths = [max(tile.pixels.shape[1], int(font.getlength(tile.title)) + 1) for tile in shown]
    height = shown[0].pixels.shape[0]
    legend_lines = _legend_lines(names, sum(widths) + _GAP * (len(widths) - 1), font)
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
    _smallest_form(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _smallest_form(pixels: Rgb) -> Image.Image:
    if (pixels == pixels[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    codes = pixels[..., 0].astype(np.uint32) << 16 | pixels[..., 1].astype(np.uint32) << 8 | pixels[..., 2]
    colours, indices = np.unique(codes, return_inverse=True)
    if len(colours) > 256:
        return Image.fromarray(np.ascontiguousarray(pixels))
    small = Image.fromarray(indices.reshape(codes.shape).astype(np.uint8)).convert("P")
    small.putpalette(np.stack((colours >> 16, colours >> 8 & 255, colours & 255), -1).astype(np.uint8).tobytes())
    return small


def _caption(exhibit: Exhibit) -> str:
    return ", ".join([*([exhibit.name] if _drawable(exhibit.name) else []), scale_note(exhibit)])


def _drawable(text: str) -> bool:
    return all(character.isprintable() and ord(character) < 0x250 for character in text)


Entry = tuple[tuple[int, int, int], str, float]


def _legend_lines(classes: Sequence[str], width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[list[Entry]]:
    """Lay the legend's entries out in lines of a width: colour, words, and where each begins."""
    lines: list[list[Entry]] = [[]]
    left = 0.0
    for colour, words in legend(classes):
        length = _SWATCH + 6 + font.getlength(words)
        if left and left + length > width:
            lines.append([])
            left = 0.0
        lines[-1].append((colour, words, left))
        left += length + 24
    return lines


def _draw_legend(
    draw: ImageDraw.ImageDraw, entries: Sequence[Entry], top: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    for colour, words, offset in entries:
        left = _GAP + offset
        draw.rectangle((left, top + 3, left + _SWATCH, top + 3 + _SWATCH), fill=colour, outline="black")
        draw.text((left + _SWATCH + 6, top), words, "black", font)
