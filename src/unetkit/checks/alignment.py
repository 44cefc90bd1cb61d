"""Whether labels lie on their image: does the image change where the labels do, or would it if they were moved?

Two things are looked at: edges of the image below the borders between labels, and brightness and colour that change
together with the classes. Both are whitened first, so that texture and uneven light count little and thin structure
much. The labels are moved over the image in every direction, and at half the resolution or less in each of the eight
flips and turns; the match is measured everywhere at once. By chance it is 1, and up to 24 somewhere; labels that fit
reach 20 to 7,000 at their place. Labels are misaligned where it is high elsewhere and low at home. Outlines that are
drawn too wide or too narrow match better next to their place, but in opposite directions alike: those are no shift.

Says nothing about images without borders or edges, nor about shifts below 4 px, or below 1.5 pixels of images that had
to be reduced.

Legend of shapes: C channels, H height, W width, F features of an image, G of labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Floats = NDArray[np.float32]
Waves = NDArray[np.complex64]

CERTAIN = 30.0
"""Match, in what it is on average, from which labels are said to fit elsewhere: by chance it reaches 24."""

FITS = 7.0
"""Match from which labels are said to fit where they lie."""

_WORK_SIDE = 512  # larger images are reduced to it
_COARSE_SIDE = 160  # to which they are reduced once more; flips and turns need no fine shifts
_LARGEST_SIDE = 4 * _WORK_SIDE  # of larger ones the middle is looked at, which flips and turns keep in its place
_SMALLEST_SIDE = 16
_REACH = 32  # how far labels are moved, in reduced pixels
_REACH_TURNED = 6  # how far in the other flips and turns: those turn about the middle
_HOME, _SHIFT = 3.0, 4.2  # px: matches nearer than the first are at home, and below the second labels are not shifted
_HOME_SHARE = 0.8  # misaligned labels have at most this share of their best match at home, and on the other side of it
_MARGIN = 15.0  # by which the best match is above both
_CONFIRMED = 12.0  # match without reduction from which it confirms a shift that was seen at the coarsest
_MOST_CLASSES = 3

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
    """How labels agree with their image; a match of 1 is what chance gives on average.

    Attributes:
        best: match at the best place of all.
        home: match where they lie.
        correction: what would bring them to the best place; None where they lie well, or fit nowhere.
    """

    best: float
    home: float
    correction: Correction | None

    @property
    def fits(self) -> bool:
        """Whether they lie well."""
        return self.correction is None and max(self.home, self.best - CERTAIN) >= FITS


def agreement(
    pixels: NDArray[Any],
    labels: NDArray[Any],
    *,
    instances: NDArray[np.int32] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> Agreement | None:
    """Measure how labels [H, W], and the borders of their objects [H, W], agree with pixels [C, H, W].

    Args:
        pixels: an image.
        labels: class indices.
        instances: object ids, 0 for none; None where the borders of classes are all that is known.
        valid: the pixels that count; None: all.

    Returns:
        None where there is nothing to measure: no borders, no edges, or sides below 16 px.
    """
    pixels, maps = _middle(pixels), _label_maps(_middle(labels), None if instances is None else _middle(instances))
    inside = None if valid is None else _middle(valid)[None].astype(np.float32)
    scales: list[tuple[Waves, Floats, int]] = []
    # Thin structure is matched finely; large smooth objects stand out from texture when both are reduced further.
    for factor in {-(-max(labels.shape[-2:]) // side): None for side in (_WORK_SIDE, _COARSE_SIDE)}:
        small, drawn = reduced(pixels, factor), reduced(maps, factor)
        if min(small.shape[1:]) < _SMALLEST_SIDE or not drawn[0].any():
            continue
        seen = _image_maps(small, None if inside is None else reduced(inside, factor)[0] > 0.99)
        if seen is None:
            continue
        scales.append((_waves(seen), drawn, factor))
    if not scales:
        return None
    matches = [(_match(waves, drawn), factor) for waves, drawn, factor in scales]
    found = [_shifted(matches[: last + 1]) for last in range(len(matches))]
    turned, correction = _turned(*scales[-1])
    if _is_elsewhere(turned, found[-1].best):
        return Agreement(turned, found[-1].home, correction)
    # The finest certain match decides.
    return next((one for one in found if one.best >= CERTAIN), found[-1])


def _is_elsewhere(best: float, home: float) -> bool:
    return best >= CERTAIN and home <= min(_HOME_SHARE * best, best - _MARGIN)


def _shifted(matches: Sequence[tuple[Floats, int]]) -> Agreement:
    """Judge the matches at every shift [H, W], the last at its reduction; finer ones have to confirm a shift."""
    match, factor = matches[-1]
    near = _near(match, _REACH)
    rows, columns = (side // 2 for side in near.shape)
    distance = factor * np.hypot(*np.ogrid[-rows : rows + 1, -columns : columns + 1])
    at_home = distance < max(_HOME, 1.5 * factor)
    home, elsewhere = float(near[at_home].max()), np.where(at_home, 0, near)
    place = np.unravel_index(int(elsewhere.argmax()), near.shape)
    down, right = int(place[0]) - rows, int(place[1]) - columns
    best = float(elsewhere[place])
    # To a fraction of a reduced pixel, by the centre of mass of the peak.
    peak = _around(match, down, right, 1)
    shift = [factor * (at + of - 1) for at, of in zip((down, right), ndimage.center_of_mass(peak), strict=True)]
    shifted = np.hypot(*shift) >= _SHIFT and _is_elsewhere(
        best, max(home, float(_around(match, -down, -right, 1).max()))
    )
    for finer, its in matches[:-1]:
        reach = math.ceil(0.75 * factor / its)
        there = float(_around(finer, round(down * factor / its), round(right * factor / its), reach).max())
        shifted &= there >= _CONFIRMED and float(_around(finer, 0, 0, reach).max()) <= _HOME_SHARE * there
    correction = Correction(AS_IT_IS, *map(round, shift)) if shifted else None
    return Agreement(max(best, home), home, correction)


def _around(match: Floats, down: int, right: int, reach: int) -> Floats:
    """Return the matches at the shifts within `reach` of a shift."""
    rows, columns = (np.arange(shift - reach, shift + reach + 1) for shift in (down, right))
    return match[np.ix_(rows % match.shape[0], columns % match.shape[1])]


def _turned(waves: Waves, drawn: Floats, factor: int) -> tuple[float, Correction]:
    """Return the best match in the other flips and turns, and the correction that brings labels there."""
    best = (0.0, Correction())
    for name, turn in list(SYMMETRIES.items())[1:]:
        turned = np.stack([turn(one) for one in drawn])
        if turned.shape == drawn.shape:
            match = _near(_match(waves, turned), _REACH_TURNED)
            place = np.unravel_index(int(match.argmax()), match.shape)
            shift = [(int(at) - side // 2) * factor for at, side in zip(place, match.shape, strict=True)]
            best = max(best, (float(match[place]), Correction(name, *shift)), key=lambda one: one[0])
    return best


def _waves(seen: Floats) -> Waves:
    """Return the waves of the maps of an image [F, H, W], whitened, at a size that is fast."""
    size = tuple(fft.next_fast_len(side, real=True) for side in seen.shape[1:])
    waves: Waves = fft.rfft2(seen, s=size)
    power: Floats = ndimage.uniform_filter(waves.real**2 + waves.imag**2, (1, 9, 9), mode="wrap")
    waves /= np.sqrt(power + np.float32(1e-12))
    return waves


def _match(waves: Waves, drawn: Floats) -> Floats:
    """Return how maps of labels [G, H, W] match the waves of an image at every shift; shifts go round the end.

    Borders are to lie on edges; classes are to differ in brightness or colour, whichever is the brighter one.
    """
    size = fft.next_fast_len(drawn.shape[1], real=True), fft.next_fast_len(drawn.shape[2], real=True)
    labels: Waves = np.conj(fft.rfft2(drawn, s=size))
    total = np.zeros(size, np.float32)
    for feature, wave in enumerate(waves):
        for label in labels[:1] if feature == 0 else labels[1:]:
            product: Waves = wave * label
            one: Floats = fft.irfft2(product, s=size)
            spread = max(float(np.vdot(one, one)) / one.size - float(one.mean()) ** 2, 1e-12)
            total += np.square(one.clip(0) if feature == 0 else one) / spread
    return total / max(float(total.mean()), 1e-12)


def _near(match: Floats, reach: int) -> Floats:
    """Return the matches at shifts of up to `reach` pixels, no shift in the middle."""
    rows, columns = (min(reach, (side - 1) // 2) for side in match.shape)
    return np.roll(match, (rows, columns), (0, 1))[: 2 * rows + 1, : 2 * columns + 1]


def _middle(values: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of [..., H, W], at most `_LARGEST_SIDE` on a side and as even or odd as the whole."""
    cuts = [max(0, side - _LARGEST_SIDE + 1) // 2 for side in values.shape[-2:]]
    rows, columns = (slice(cut, side - cut) for cut, side in zip(cuts, values.shape[-2:], strict=True))
    return values[..., rows, columns]


def reduced(values: NDArray[Any], factor: int) -> Floats:
    """Return the means of squares of `factor` pixels of [C, H, W]; rows and columns that fill none are left out."""
    if factor == 1:
        return values.astype(np.float32, copy=False)
    channels, height, width = values.shape[0], values.shape[1] // factor, values.shape[2] // factor
    lines = values[:, : height * factor, : width * factor].reshape(channels, height, factor, width * factor)
    columns = lines.sum(2, dtype=np.float32).reshape(channels, height, width, factor)
    return columns @ np.full(factor, 1 / factor**2, np.float32)  # far faster than a mean of two axes


def _image_maps(pixels: Floats, valid: NDArray[np.bool_] | None) -> Floats | None:
    """Return edges, then uncorrelated channels of brightness and colour [F, H, W]; None for an image without any."""
    counts = np.ones(pixels.shape[1:], bool)
    if valid is not None:  # what lies beyond a region ends at its border: that is no edge
        pixels = np.where(valid, pixels, pixels[:, valid].mean(1)[:, None, None] if valid.any() else 0)
        counts = ndimage.binary_erosion(valid, iterations=5, border_value=1)
    steepest = np.zeros(pixels.shape[1:], np.float32)
    for channel in pixels:
        smooth = ndimage.gaussian_filter(channel, 1, truncate=3)
        down, right = smooth[2:, 1:-1] - smooth[:-2, 1:-1], smooth[1:-1, 2:] - smooth[1:-1, :-2]
        steepest[1:-1, 1:-1] = np.maximum(steepest[1:-1, 1:-1], down**2 + right**2)
    edges = np.sqrt(np.sqrt(steepest))  # the root of the slope: faint edges count, too
    edges = _against(edges, 8) * counts
    if not edges.any():
        return None
    channels = np.stack([_against(channel, 12) * counts for channel in pixels])
    channels /= channels.std((1, 2), keepdims=True) + 1e-6
    flat = channels.clip(-3, 3).reshape(len(channels), -1)
    spread, axes = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    kept = spread > 0.02 * spread[-1]
    flat = axes[:, kept].T @ flat / np.sqrt(spread[kept])[:, None]
    return np.concatenate([edges[None], flat.reshape(-1, *counts.shape)]).astype(np.float32)


def _label_maps(labels: NDArray[Any], instances: NDArray[np.int32] | None) -> Floats:
    """Return the borders of labels, then the most frequent classes but the first of them, [G, H, W]."""
    regions, border = labels if instances is None else instances, np.zeros(labels.shape, bool)
    for axis in (0, 1):
        lines, marks = np.moveaxis(regions, axis, 0), np.moveaxis(border, axis, 0)
        differs = lines[1:] != lines[:-1]
        marks[1:] |= differs
        marks[:-1] |= differs
    counts = np.bincount(labels.ravel())
    frequent = [index for index in np.argsort(-counts)[1 : 1 + _MOST_CLASSES] if counts[index]]
    return np.stack([border, *(labels == index for index in frequent)]).astype(np.float32)


def _against(values: Floats, reach: float) -> Floats:
    """Return values [H, W] against their surroundings."""
    side = int(2 * reach) | 1
    return values - ndimage.uniform_filter(values, side)
