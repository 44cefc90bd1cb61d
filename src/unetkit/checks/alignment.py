"""Whether labels lie on their image: do the borders between them follow the edges in it, or would they elsewhere?

The borders of the labels are moved over the edges of the image in every direction, in each of the eight flips and
turns, and the agreement is measured everywhere at once. By chance it has a spread of 1; labels that fit reach 20 to 60
at their place and nothing elsewhere. So labels are misaligned where the agreement is high elsewhere and low at home.
Outlines that are drawn too wide agree best next to their place, with one side of every object; the regions that they
enclose agree at home all the same, and clear them.

Does not know classes: a border is where the label changes. Says nothing about images without borders or edges, nor
about shifts below 3 px.

Legend of shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Floats = NDArray[np.float32]

CERTAIN = 7.0
"""Agreement, in standard deviations, from which labels are said to fit: chance reaches 5.6 in ten thousand places."""

_WORK_SIDE = 384  # larger images are reduced to it: shifts of whole pixels are still seen in its fractions
_LARGEST_SIDE = 4 * _WORK_SIDE  # of larger ones the middle is looked at, which flips and turns keep in its place
_SMALLEST_SIDE = 16
_REACH = 24  # how far labels are moved, in reduced pixels
_REACH_TURNED = 6  # how far in the other flips and turns: those turn about the middle
_SHIFT = 3.0  # px: smaller shifts are left to the labellers
_HOME_SHARE = 0.85  # misaligned labels have at most this share of their best agreement at home

AS_IT_IS = "as they are"
SYMMETRIES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    AS_IT_IS: lambda x: x,
    "mirrored left to right": lambda x: x[:, ::-1],
    "mirrored top to bottom": lambda x: x[::-1],
    "turned by 180 degrees": lambda x: x[::-1, ::-1],
    "turned by 90 degrees anticlockwise": np.rot90,
    "turned by 90 degrees clockwise": lambda x: np.rot90(x, -1),
    "with rows and columns swapped": lambda x: x.T,
    "mirrored along the rising diagonal": lambda x: x[::-1, ::-1].T,
}
_SWAPPING = frozenset(list(SYMMETRIES)[4:])


@dataclass(frozen=True, slots=True)
class Correction:
    """What would put labels right: one of `SYMMETRIES`, then a move down and to the right in pixels."""

    symmetry: str = AS_IT_IS
    down: int = 0
    right: int = 0

    def __str__(self) -> str:
        """The correction in words, to follow 'when they are'."""
        moves = [
            f"{abs(pixels)} px {words[pixels > 0]}"
            for pixels, words in ((self.down, ("up", "down")), (self.right, ("to the left", "to the right")))
            if pixels
        ]
        turned = [] if self.symmetry == AS_IT_IS else [self.symmetry]
        return " and ".join([*turned, *([f"moved {' and '.join(moves)}"] if moves else [])]) or AS_IT_IS

    def apply(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return labels [H, W] put right; what comes in from outside is 0."""
        turned = SYMMETRIES[self.symmetry](labels)
        moved = np.zeros_like(turned)
        height, width = turned.shape
        down, right = self.down, self.right
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = turned[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        return moved


@dataclass(frozen=True, slots=True)
class Agreement:
    """How labels agree with the edges of their image, in standard deviations of chance.

    Attributes:
        best: of their borders, at the best place of all.
        correction: what would bring them there; None where they lie well, or fit nowhere.
        fits: they lie well, by their borders or by the regions that they enclose.
        polarity: correlation of the regions with the image's brightness where they lie: negative where the first class
            is the brighter one.
    """

    best: float
    correction: Correction | None
    fits: bool
    polarity: float


def agreement(pixels: NDArray[Any], regions: NDArray[Any]) -> Agreement | None:
    """Measure how the borders of regions [H, W] agree with the edges of pixels [C, H, W].

    Returns:
        None where there is nothing to measure: no borders, no edges, or sides below 16 px.
    """
    square = regions.shape[0] == regions.shape[1]
    pixels, regions = _middle(pixels), _middle(regions)
    factor = -(-max(regions.shape) // _WORK_SIDE)
    reduced = _reduced(pixels, factor)
    if min(reduced.shape[1:]) < _SMALLEST_SIDE:
        return None
    edges, borders = _edges(reduced), _borders(regions, factor)
    if not borders.any() or not edges.any():
        return None
    # The agreement of every flip and turn at every shift; [0, 0] is at home, shifts go round the end.
    spectrum = fft.rfft2(edges)
    maps = {
        name: fft.irfft2(spectrum * np.conj(fft.rfft2(turn(borders))), s=edges.shape).astype(np.float32)
        for name, turn in SYMMETRIES.items()
        if square or name not in _SWAPPING
    }
    spread = float(np.sqrt(np.mean([np.mean(np.square(one)) for one in maps.values()])))
    best, correction = max((_peak(one, name, factor) for name, one in maps.items()), key=lambda peak: peak[0])
    certain = best >= CERTAIN * spread
    moved = correction.symmetry != AS_IT_IS or bool(np.hypot(correction.down, correction.right) >= _SHIFT)
    misaligned = certain and moved and float(maps[AS_IT_IS][0, 0]) < _HOME_SHARE * best
    brightness, inside = _contrast(reduced.mean(0)), _contrast(_reduced(regions[None] > 0, factor)[0])
    fits = not misaligned
    if misaligned and correction.symmetry == AS_IT_IS or not certain:
        # Does the brightness of the regions, dark or bright, fit best within 2.5 px of where they lie?
        fit = np.abs(fft.irfft2(fft.rfft2(brightness) * np.conj(fft.rfft2(inside)), s=brightness.shape))
        value, nearest = _peak(fit, AS_IT_IS, factor)
        fits = value >= CERTAIN * float(np.sqrt(np.mean(np.square(fit))))
        fits = fits and bool(np.hypot(nearest.down, nearest.right) < _SHIFT - 0.5)
        misaligned = misaligned and not fits
    return Agreement(best / spread, correction if misaligned else None, fits, float(np.mean(brightness * inside)))


def _peak(values: Floats, name: str, factor: int) -> tuple[float, Correction]:
    """Return the best agreement near home, and what brings labels there, to a fraction of a reduced pixel."""
    reach = _REACH if name == AS_IT_IS else _REACH_TURNED
    rows, columns = (min(reach, (side - 1) // 2) for side in values.shape)
    near = np.roll(values, (rows, columns), (0, 1))[: 2 * rows + 1, : 2 * columns + 1]
    place = np.unravel_index(int(near.argmax()), near.shape)
    shift: list[int] = []
    for axis in (0, 1):
        fraction = 0.0
        if 0 < place[axis] < near.shape[axis] - 1:  # the top of the parabola through the peak and its neighbours
            line = np.moveaxis(near, axis, 0)[place[axis] - 1 : place[axis] + 2, place[1 - axis]].astype(float)
            bend = line[0] - 2 * line[1] + line[2]
            fraction = float(0.5 * (line[0] - line[2]) / bend) if bend < 0 else 0.0
        shift.append(round((place[axis] - near.shape[axis] // 2 + fraction) * factor))
    return float(near[place]), Correction(name, *shift)


def _middle(values: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of [..., H, W], at most `_LARGEST_SIDE` on a side and as even or odd as the whole."""
    cuts = [max(0, side - _LARGEST_SIDE + 1) // 2 for side in values.shape[-2:]]
    rows, columns = (slice(cut, side - cut) for cut, side in zip(cuts, values.shape[-2:], strict=True))
    return values[..., rows, columns]


def _reduced(values: NDArray[Any], factor: int) -> Floats:
    """Return the means of squares of `factor` pixels of [C, H, W]; rows and columns that fill none are left out."""
    if factor == 1:
        return values.astype(np.float32)
    channels, height, width = values.shape[0], values.shape[1] // factor, values.shape[2] // factor
    squares = values[:, : height * factor, : width * factor].reshape(channels, height, factor, width, factor)
    return squares.mean((2, 4), dtype=np.float32)


def _edges(pixels: Floats) -> Floats:
    """Return the root of the steepest channel's slope, less its mean around: faint edges count, too."""
    steepest = np.zeros(pixels.shape[1:], np.float32)
    grey = all(np.array_equal(pixels[0], channel) for channel in pixels[1:])
    for channel in pixels[:1] if grey else pixels:
        smooth = ndimage.gaussian_filter(channel, 1, truncate=3)
        down, right = smooth[2:, 1:-1] - smooth[:-2, 1:-1], smooth[1:-1, 2:] - smooth[1:-1, :-2]
        steepest[1:-1, 1:-1] = np.maximum(steepest[1:-1, 1:-1], down**2 + right**2)
    inner = steepest[1:-1, 1:-1] ** 0.25
    return np.pad((inner - ndimage.uniform_filter(inner, 17)).astype(np.float32), 1)


def _borders(regions: NDArray[Any], factor: int) -> Floats:
    """Return where regions meet, as reduced as the pixels, less its mean around."""
    border = np.zeros(regions.shape, bool)
    for axis in (0, 1):
        lines, marks = np.moveaxis(regions, axis, 0), np.moveaxis(border, axis, 0)
        differs = lines[1:] != lines[:-1]
        marks[1:] |= differs
        marks[:-1] |= differs
    smooth = ndimage.gaussian_filter(_reduced(border[None], factor)[0], 1, truncate=3)
    return smooth - ndimage.uniform_filter(smooth, 17)


def _contrast(values: Floats) -> Floats:
    """Return values [H, W] against their surroundings, at mean 0 and deviation 1, without outliers."""
    against = ndimage.uniform_filter(values, 3) - ndimage.uniform_filter(values, 25)
    spread = float(against.std())
    if spread == 0:
        return np.zeros_like(against)
    clipped = (against / spread).clip(-3, 3)
    return (clipped - clipped.mean()) / max(float(clipped.std()), 1e-6)
