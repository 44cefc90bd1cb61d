"""What kind of masks a data set has, told from the values of a sample of them and then held for all.

Two values are two classes: 0 and 255, 0 and 1, or any other two. A few values are a class each, whether they are 0, 1,
2 or 0, 128, 255; 255 above small class indices marks pixels that do not count, as in the VOC challenge. Values that are
one connected piece each are objects where they are many, or more in one mask than in another, or lie elsewhere and are
of another size in each mask. A few colours are a class each,
many are objects; colours of one channel alone are its values. Grey values between 0 and white that lie along edges come
from anti-aliasing or JPEG: the nearer of the two is meant. Other grey values between classes are refused, unless they
are a few stray pixels.

Assumes that all masks of a set are of one kind: what most of a sample say decides, and a mask that says otherwise is
complained about when it is read.

Legend of shapes: C channels, H height, W width.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import DataConfig
from unetkit.data.masks import (
    MaskMap,
    are_channels,
    colour_codes,
    index_values,
    is_small,
    look_at_channels,
    present_values,
)
from unetkit.errors import DataError

BINARY = ("background", "foreground")
OBJECT = "object"

_CLOSELY, _SAMPLED, _SCANNED = 6, 32, 500  # masks
_FEW, _MANY = 16, 40  # values of classes
_CHANNELLED = 8  # masks whose channels are looked at
_VOID = 255
_ONE_PIECE = 0.85  # share of values whose largest piece has most of their pixels
_STRAY = 0.005  # of the pixels of the class
_INSIDE = 0.02  # of the pixels of a value, those with equal neighbours all around
_WHITES = (255, 65535)
_VALUES = 4  # in a mask, from which it is asked whether their sizes follow from them
_BY_SIZE = 0.3  # share of what the sizes differ by that values explain where they are classes
_ABOUT = 0.12  # of a side, by which the places of objects differ between images
_AROUND = 0.75  # share of the masks whose sides have mostly the value of the background
_EDGE = 3  # pixels to both sides of an edge that JPEG and anti-aliasing reach
_NEAR_END = 0.2  # of white: what is nearer to 0 or white is no grey between them
_BLURRED = 0.98  # share of the greys that lie along edges
_BLENDS = 8  # values: more of them are no classes
_CHANNEL_STEPS = (2**16, 2**8, 1)  # what a level of red, green and blue counts in 0xRRGGBB

ReadMask = Callable[[], NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class ClassNames:
    """What a file next to masks says of their values.

    Attributes:
        source: the file.
        values: of each value or colour, written as in `data.mask_values`, its class.
        classes: their names.
    """

    source: str
    values: dict[str, int | Literal["ignore"]]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one mask holds.

    Attributes:
        values: that occur, or 0xRRGGBB where it is coloured.
        counts: how many pixels have each.
        coloured: its channels differ.
        frame: the value that most pixels along its sides have.
        pieces: share of the values above 0 that are one connected piece; None where that was not looked at, or two
            values occur.
        inside: of each value, the share of its pixels with equal neighbours all around; empty where not looked at.
        ordered: the values above 0 rise in the order in which rows or columns meet them, as numbered objects do.
        wide: whole numbers of more than 8 bits, as programs store that number objects.
        places: of each value, the mean row and column of its pixels, as shares of the sides; empty where not looked at.
        edges: share of its greys between 0 and white that lie along edges; None where nothing is blurred, or not seen.
    """

    values: tuple[int, ...]
    counts: tuple[int, ...]
    coloured: bool
    frame: int
    pieces: float | None = None
    inside: tuple[float, ...] = ()
    edges: float | None = None
    ordered: bool = False
    wide: bool = False
    places: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, stored: NDArray[np.generic], source: str, *, closely: bool) -> "_Seen":
        coloured = len(stored) == 3 and not all(np.array_equal(stored[0], channel) for channel in stored[1:])
        values = colour_codes(stored) if coloured else index_values(stored, source)
        present = np.array(present_values(values))
        sides, times = np.unique(
            np.concatenate([values[[0, -1]].ravel(), values[:, [0, -1]].ravel()]), return_counts=True
        )
        frame = int(sides[times.argmax()])
        wide = stored.dtype.kind in "iu" and stored.dtype.itemsize > 1
        if len(present) < 3 and is_small(values):
            counts = np.bincount(values.ravel())[present]
            return cls(tuple(present.tolist()), tuple(counts.tolist()), coloured, frame)
        if is_small(values):
            lookup = np.zeros(int(present[-1]) + 1, np.int32)
            lookup[present] = np.arange(len(present))
            indices = lookup[values]
        else:
            indices = np.searchsorted(present, values).astype(np.int32)
        counts = np.bincount(indices.ravel())
        seen = cls(tuple(present.tolist()), tuple(counts.tolist()), coloured, frame, wide=wide)
        if not closely or len(present) > 2**15:
            return seen
        equal = ndimage.maximum_filter(indices, 3) == ndimage.minimum_filter(indices, 3)
        inside = np.bincount(indices[equal], minlength=len(present)) / counts
        first, several = int(present[0] == 0), indices if len(present) > 2 else indices[:0]
        ordered = any(_rising(one[one >= first]) for one in (several.ravel(), several.T.ravel()))
        shares = [axis / side for axis, side in zip(np.indices(indices.shape, np.float32), indices.shape, strict=True)]
        means = [np.bincount(indices.ravel(), axis.ravel()) / counts for axis in shares]
        return replace(
            seen,
            pieces=_pieces(indices, first) if len(present) > 2 else None,
            inside=tuple(inside.tolist()),
            edges=None if coloured else _along_edges(values),
            ordered=ordered,
            places=tuple(zip(*(one.tolist() for one in means), strict=True)),
        )


def _rising(values: NDArray[np.int32]) -> bool:
    """Tell whether values are met for the first time in rising order, and are several."""
    highest = np.maximum.accumulate(values)
    new = np.flatnonzero(np.diff(highest)) + 1
    return len(new) > 1 and bool((np.diff(highest) <= 1).all()) and int(values[0]) == int(values.min())


def _along_edges(values: NDArray[np.integer[Any]]) -> float | None:
    """Return which share of the greys between 0 and white [H, W] lies along an edge between dark and light.

    None without values next to white, which all that blurs makes, and which class indices below 255 do not have.
    """
    white = next((white for white in _WHITES if values.max() <= white), 0)
    low, high = _NEAR_END * white, (1 - _NEAR_END) * white
    if values.min() > low or not ((values >= high) & (values < white)).any():
        return None
    greys = (values > low) & (values < high)
    light = (values >= white / 2).astype(np.uint8)
    side = 2 * _EDGE + 1
    along = ndimage.maximum_filter(light, side) != ndimage.minimum_filter(light, side)
    return float(along[greys].mean()) if greys.any() else 1.0


def _pieces(indices: NDArray[np.int32], background: int) -> float:
    """Return the share of values whose largest connected piece has nine tenths of their pixels."""
    from skimage import measure  # slow to import

    outside = 0 if background else -1
    regions = np.asarray(measure.label(indices + 1 - background, background=outside, connectivity=2), np.int64)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0 if background else sizes[0]
    value_of = np.zeros(len(sizes), np.int64)
    value_of[regions.ravel()] = indices.ravel()
    largest, total = np.zeros(indices.max() + 1, np.int64), np.zeros(indices.max() + 1, np.int64)
    np.maximum.at(largest, value_of, sizes)
    np.add.at(total, value_of, sizes)
    used = total[background:] > 0
    return float(np.mean(largest[background:][used] >= 0.9 * total[background:][used])) if used.any() else 0.0


def decide(
    masks: Sequence[tuple[str, ReadMask]],
    config: DataConfig,
    *,
    title: str = "",
    objects: bool = False,
    named: ClassNames | None = None,
) -> MaskMap:
    """Return what the values of a set's masks mean.

    Args:
        masks: the source of each mask, for messages, and how to read it.
        config: its `mask_kind`, `mask_values`, `ignore_value` and `classes` are obeyed.
        title: what the data calls what is masked; empty where it does not say.
        objects: the names of the files say that the values are objects.
        named: what a file next to them says; taken where the configuration says nothing and the values fit.

    Raises:
        DataError: masks whose values have no meaning.
        ConfigError: a table that contradicts the classes.
    """
    classes = config.classes
    if config.mask_kind in ("auto", "channels") and (channels := _of_channels(masks, config)) is not None:
        return channels
    given = MaskMap.of(config.mask_values, classes or _names(config))
    ignored = given.ignored | ({config.ignore_value} if config.ignore_value is not None else frozenset[int]())
    if given.table is not None:
        return replace(given, ignored=ignored, words="as data.mask_values says")
    if config.mask_kind == "binary":
        words = "from half of white on one class (data.mask_kind=binary)"
        return MaskMap(classes or ("background", title or "foreground"), kind="binary", ignored=ignored, words=words)
    if config.mask_kind == "instances" and len(classes or ()) > 2 and _channelled(masks):
        return MaskMap(tuple(classes or ()), kind="instances", words=_IDS_AND_CLASSES)
    if config.mask_kind == "instances":
        few = list(_look(masks, _CHANNELLED))
        coloured = 2 * sum(one.coloured for one in few) > len(few)
        return replace(_instances(classes, title, "data.mask_kind=instances", coloured=coloured), ignored=ignored)
    seen = list(_look(masks, _SAMPLED))
    if not seen:
        return MaskMap(classes or BINARY, ignored=ignored)
    remark = ""
    if named is not None and classes is None and config.mask_kind == "auto":
        table = MaskMap.of(named.values, named.classes)
        if _mostly_ignored(seen, table) and "background" not in named.classes:
            values = {key: 0 if index == "ignore" else index + 1 for key, index in named.values.items()}
            named = replace(named, values=values, classes=("background", *named.classes))
            table = MaskMap.of(named.values, named.classes)
        # A grey value is the colour of that grey.
        held = (v if one.coloured or not table.coloured else v * 0x010101 for one in seen for v in one.values)
        coloured = any(one.coloured for one in seen) and not table.coloured
        if not coloured and (frozenset(table.table or ()) | table.ignored).issuperset(held):
            shown = ", ".join(
                f"{value} {named.classes[k] if k != 'ignore' else k}" for value, k in named.values.items()
            )
            return replace(table, ignored=table.ignored | ignored, words=f"as {named.source} says: {shown}")
        if len(named.classes) == 2:  # 0 and 255, or object ids: the name holds
            title = title or named.classes[1]
        else:
            remark = f"{named.source} names other values than the masks hold: its names are not taken"
    if 2 * sum(one.coloured for one in seen) > len(seen):
        found = _of_colours(masks, seen, classes, title, objects=objects)
    else:
        found = _of_values(masks, seen, config, title, ignored, objects=objects)
        found = replace(found, ignored=found.ignored | ignored)
    return replace(found, unsure="; ".join(part for part in (found.unsure, remark) if part))


_IDS_AND_CLASSES = "two channels: object ids, and the class of each object"


def _channelled(masks: Sequence[tuple[str, ReadMask]]) -> list[NDArray[np.generic]]:
    """Return a few masks where most of them have channels of their own meaning; else none."""
    found: list[NDArray[np.generic]] = []
    places: list[int] = np.linspace(0, len(masks) - 1, min(_CHANNELLED, len(masks))).round().astype(int).tolist()
    for place in dict.fromkeys(places):
        with suppress(DataError):
            found.append(masks[place][1]())
    several = [stored for stored in found if are_channels(stored)]
    return several if 2 * len(several) > len(found) else []


def _of_channels(masks: Sequence[tuple[str, ReadMask]], config: DataConfig) -> MaskMap | None:
    """Return the meaning of masks of several channels; None for others."""
    several = _channelled(masks)
    if not several and config.mask_kind == "channels":
        raise DataError(f"{masks[0][0]}: has no channels of their own meaning; leave data.mask_kind=channels out")
    if not several:
        return None
    found = look_at_channels(several)
    if not found.table:
        top = max(int(stored[1].max()) for stored in (read() for _, read in masks[:_SCANNED]))
        return MaskMap(config.classes or _numbered(top), kind="instances", words=_IDS_AND_CLASSES)
    table = dict(found.table)
    if config.mask_values is not None:
        table = MaskMap.of(config.mask_values, config.classes or _names(config)).table or {}
    channels = [channel for channel, index in table.items() if index]
    names = config.classes or ("background", *(f"channel{channel}" for channel in channels))
    if max(table.values(), default=0) >= len(names):
        raise DataError(
            f"{masks[0][0]}: the masks have {len(channels)} channels with a class each, but {len(names)} classes are "
            f"declared with the background ({', '.join(names)})"
        )
    shown = ", ".join(f"{channel} {names[index]}" for channel, index in sorted(table.items()))
    what = "the ids of a class's objects" if found.objects else "a class"
    unsure = "" if config.classes else "the classes are named by their channels; name them in data.classes"
    if found.overlap and config.mask_values is None:
        one, other = found.overlap
        unsure += f"; channels {one} and {other} overlap: for one alone set data.mask_values={{'{one}': 1}}"
    return MaskMap(
        names,
        table,
        kind="channels",
        objects=found.objects,
        words=f"channels, each {what}: {shown}; where they overlap the later class counts",
        unsure=unsure.removeprefix("; "),
    )


def _names(config: DataConfig) -> tuple[str, ...]:
    """Return names for the classes that a table names by their index alone."""
    indices = [index for index in (config.mask_values or {}).values() if index != "ignore"]
    return BINARY if max(indices, default=0) < 2 else _numbered(max(indices))


def _mostly_ignored(seen: Sequence[_Seen], table: MaskMap) -> bool:
    """Tell whether most pixels have values that a file calls void or unlabelled: they are the background then."""
    step = [0x010101 if table.coloured and not one.coloured else 1 for one in seen]
    counts = [
        (value * times in table.ignored, count)
        for one, times in zip(seen, step, strict=True)
        for value, count in zip(one.values, one.counts, strict=True)
    ]
    return 2 * sum(count for ignored, count in counts if ignored) > sum(count for _, count in counts)


def _numbered(top: int) -> tuple[str, ...]:
    return ("background", *(f"class{index}" for index in range(1, top + 1)))


def _look(masks: Sequence[tuple[str, ReadMask]], most: int) -> Iterator[_Seen]:
    """Look at masks that are spread over the set; the reader complains about those that cannot be read."""
    spread: list[int] = np.linspace(0, len(masks) - 1, min(most, len(masks))).round().astype(int).tolist()
    places = dict.fromkeys(spread)
    closely = set(list(places)[:: max(1, -(-len(places) // _CLOSELY))])
    for place in places:
        source, read = masks[place]
        try:
            yield _Seen.of(read(), source, closely=place in closely)
        except DataError:
            continue


def _instances(classes: tuple[str, ...] | None, title: str, why: str, *, coloured: bool = False) -> MaskMap:
    if classes is not None and len(classes) > 2:
        raise DataError(
            f"the masks hold object ids ({why}), which are two classes, but {len(classes)} are declared; declare "
            "two, or set data.mask_kind=classes"
        )
    what = "colours" if coloured else "values"
    return MaskMap(
        classes or ("background", title or OBJECT),
        coloured=coloured,
        kind="instances",
        words=f"object ids: each of the {what} is one object ({why})",
    )


def _of_colours(
    masks: Sequence[tuple[str, ReadMask]],
    seen: Sequence[_Seen],
    classes: tuple[str, ...] | None,
    title: str,
    *,
    objects: bool,
) -> MaskMap:
    """Return the meaning of colours: a few are classes, many are objects."""
    most = max(len(one.values) for one in seen)
    few = classes is None or len(classes) == 2
    if few and _mean_pieces(seen) >= _ONE_PIECE and (most > _MANY or objects):
        return _instances(classes, title, f"up to {most - 1} in an image, each in one piece", coloured=True)
    held = np.unique([value for one in seen for value in one.values])
    step = next((step for step in _CHANNEL_STEPS if not (held % step).any() and held.max() // step < 2**8), 0)
    of_channel = [replace(one, values=tuple(value // step for value in one.values)) for one in seen] if step else []
    if few and step and (why := _objects(of_channel, objects=objects)):
        return _instances(classes, title, f"{why}, in one channel", coloured=True)
    if most > _MANY:
        raise DataError(
            f"{masks[0][0]}: {most} colours, too many for classes and not in one piece each: blurred, a photograph, or "
            "an overlay; give masks of a few colours, or of grey values"
        )
    values = sorted({value for one in _look(masks, _SCANNED) if one.coloured for value in one.values})
    names = classes or tuple("background" if value == 0 else f"{value:06x}" for value in values)
    if len(names) != len(values):
        shown = ", ".join(f"'#{value:06x}'" for value in values[:6])
        raise DataError(
            f"{masks[0][0]}: the masks hold {len(values)} colours ({shown}), but {len(names)} classes are declared; "
            "say in data.mask_values which colour is which class"
        )
    table = {value: index for index, value in enumerate(values)}
    words = f"{len(values)} colours, a class each: {', '.join(f'#{value:06x}' for value in values[:8])}"
    return MaskMap(names, table, coloured=True, words=words, unsure="the classes are named by their colours")


def _of_values(
    masks: Sequence[tuple[str, ReadMask]],
    seen: Sequence[_Seen],
    config: DataConfig,
    title: str,
    ignored: frozenset[int],
    *,
    objects: bool,
) -> MaskMap:
    """Return the meaning of grey values."""
    classes = config.classes
    binary = classes or ("background", title or BINARY[1])
    plain = [one for one in seen if len(frozenset(one.values) - ignored) <= 2]
    values = frozenset(value for one in plain for value in one.values) - ignored
    blurred = all(one.values[-1] in _WHITES or len(one.values) > _MANY for one in seen if one not in plain)
    if 2 * len(plain) > len(seen) and (len(plain) == len(seen) or (blurred and values <= {0, *_WHITES})):
        if len(binary) == 2 and (values <= {0, 1} or values <= {0, 1, *_WHITES}):
            return MaskMap(binary, words=f"two values, {' and '.join(map(str, sorted(values)))}: two classes")
        if len(values) == 2 and len(binary) == 2:
            low, high = sorted(values)
            return MaskMap(binary, {low: 0, high: 1}, words=f"two values, {low} and {high}: two classes")
    if len(binary) == 2 and (share := _stray(seen)) is not None:
        words = f"0 and white, and stray values in {share:.2g} of the pixels, which count to the nearer: two classes"
        return MaskMap(binary, kind="binary", words=words)
    edges = [one.edges for one in seen if one.edges is not None]
    many = max(len(one.values) for one in seen) > _BLENDS
    if len(binary) == 2 and many and edges and min(edges) >= _BLURRED:
        words = "0 and white, blurred along edges (by JPEG or anti-aliasing): from half of white on one class"
        return MaskMap(binary, kind="binary", words=words)
    few = classes is None or len(classes) == 2
    if few and config.mask_kind == "auto" and (why := _objects(seen, objects=objects)):
        found = _instances(classes, title, why)
        return replace(found, unsure="" if objects else "if the values are classes, set data.mask_kind=classes")
    found = _of_classes(masks, classes, ignored)
    if few and not found.unsure and _mean_pieces(seen) >= _ONE_PIECE:
        found = replace(found, unsure="each value is one piece: if they number objects, set data.mask_kind=instances")
    return found


def _stray(seen: Sequence[_Seen]) -> float | None:
    """Return the share of pixels with values other than 0 and white; None where they are many, or others than those."""
    total = between = white = 0
    for one in seen:
        top = one.values[-1]
        if top > 1 and (top < 128 or one.values[0] != 0):
            return None
        total += sum(one.counts)
        between += sum(count for value, count in zip(one.values, one.counts, strict=True) if value not in (0, top))
        white += one.counts[-1]
    return between / total if between <= _STRAY * white else None


def _objects(seen: Sequence[_Seen], *, objects: bool) -> str:
    """Say why values are objects; empty: they are not.

    They are one piece each, and there are many of them, or their names say so, or they lie elsewhere and are of another
    size in each mask, or they are numbered from 1 in every mask while their number differs.
    """
    several = [one for one in seen if len(one.values) > 2]
    if _mean_pieces(several) < _ONE_PIECE:
        return ""
    counts = [len(one.values) - (one.values[0] == 0) for one in several]
    what = f"{min(counts)} to {max(counts)} in an image, each in one piece"
    counted = [count == one.values[-1] for count, one in zip(counts, several, strict=True)]
    if objects or max(counts) > _FEW:
        return what
    held = {value for one in several for value in one.values[one.values[0] == 0 :]}
    if len(held) > (_FEW if all(one.wide for one in several) else _MANY):
        return f"{len(held)} in all, {what}"
    if _are_unlike_classes(several):
        return f"{what}, at other places and of other sizes in each image"
    if all(counted) and _lie_about(several):
        return f"{what}, numbered in the order of their rows or columns, at other places in each image"
    return what if all(counted) and len(set(counts)) >= min(3, len(several)) and len(several) >= 3 else ""


def _are_unlike_classes(several: Sequence[_Seen]) -> bool:
    """Tell whether places and sizes of several values do not follow from the values, as those of classes do."""
    looked_at = [one for one in several if one.places]
    of_value: dict[int, list[tuple[float, float, float]]] = {}
    for one in looked_at:
        for value, count, place in zip(one.values, one.counts, one.places, strict=True):
            if value != one.frame:
                of_value.setdefault(value, []).append((float(np.log(count)), *place))
    common = [np.array(found) for found in of_value.values() if len(found) > 1]
    if len(looked_at) < 3 or len(common) < _VALUES:
        return False
    about = np.mean([found[:, 1:].std(axis=0) for found in common], axis=0)
    sizes = np.concatenate([found[:, 0] for found in common])
    within = sum(float(((found[:, 0] - found[:, 0].mean()) ** 2).sum()) for found in common)
    # Of numbers that say nothing, they explain nothing on average: shares are counted by their degrees of freedom.
    left = within / (len(sizes) - len(common))
    return float(about.max()) >= _ABOUT and 1 - left / max(float(sizes.var(ddof=1)), 1e-9) < _BY_SIZE


def _lie_about(several: Sequence[_Seen]) -> bool:
    """Tell whether values are numbered in the order in which they are met, and lie at other places in each mask.

    Those of classes, such as organs or layers, may be met in one order, but lie at nearly the same places.
    """
    looked_at = [one for one in several if one.places]
    if len(looked_at) < 3 or not all(one.ordered for one in looked_at):
        return False
    common = min(len(one.places) for one in looked_at)
    places = np.array([one.places[1:common] for one in looked_at])
    return float(places.std(axis=0).mean(axis=0).max()) >= _ABOUT


def _mean_pieces(seen: Sequence[_Seen]) -> float:
    return float(np.mean([one.pieces for one in seen if one.pieces is not None] or [0.0]))


def _of_classes(
    masks: Sequence[tuple[str, ReadMask]], classes: tuple[str, ...] | None, ignored: frozenset[int]
) -> MaskMap:
    """Return the meaning of a few values that are a class each."""
    scanned = [one for one in _look(masks, _SCANNED) if not one.coloured]
    values = sorted({value for one in scanned for value in one.values} - ignored)
    small = [value for value in values if value != _VOID]
    void = _VOID in values and len(small) > 1 and small[-1] <= _MANY and (classes is None or small[-1] < len(classes))
    values = small if void else values
    dense = values[-1] <= _MANY and 2 * len(values) > values[-1] and values[0] == 0
    if dense if classes is None else values[-1] < len(classes):
        names = classes or (_numbered(values[-1]) if values[-1] > 1 else BINARY)
        words = f"class indices 0 to {values[-1]}" + (", and 255 where nothing counts" if void else "")
        unsure = "if 255 is a class, name it in data.mask_values" if void else ""
        return MaskMap(names, ignored=frozenset({_VOID} if void else ()), words=words, unsure=unsure)
    if len(values) > (_FEW if len(values) > 3 else 3) or not _have_insides(scanned, values):
        # Refused file by file as it is read, or here where every mask would be.
        shown = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
        source = masks[0][0]
        what = "grey values between the classes: anti-aliased, resized with interpolation, or no masks"
        if source.lower().endswith((".jpg", ".jpeg")):
            what = "JPEG has blurred the masks"
        raise DataError(
            f"{source}: the masks hold {len(values)} values ({shown}): {what}; take masks stored without loss, or set "
            "data.mask_kind=binary (half of white and above is the class) or =instances (every value is an object)"
        )
    frames = Counter(one.frame for one in scanned)
    around = next((value for value, count in frames.items() if count >= _AROUND * len(scanned)), values[0])
    values = [around, *(value for value in values if value != around)]
    names = classes or ("background", *(f"value{value}" for value in values[1:]))
    if len(names) != len(values):
        raise DataError(
            f"{masks[0][0]}: the masks hold {len(values)} values ({', '.join(map(str, values))}), but {len(names)} "
            f"classes are declared ({', '.join(names)}); say in data.mask_values which value is which class"
        )
    words = f"{len(values)} values, a class each: {', '.join(map(str, values))}"
    unsure = "the classes are named by their values; name them in data.classes"
    if around:
        unsure = f"{around}, the value along the images' sides, is taken for the background; {unsure}"
    return MaskMap(
        names, {value: index for index, value in enumerate(values)}, words=words, unsure="" if classes else unsure
    )


def _have_insides(scanned: Sequence[_Seen], values: Sequence[int]) -> bool:
    """Tell whether values between others fill areas, as classes do; three values are believed."""
    if len(values) <= 3:
        return True
    total, inside = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for one in scanned:
        for value, count, share in zip(one.values, one.counts, one.inside, strict=False):
            if value in total:
                total[value] += count
                inside[value] += share * count
    return all(inside[value] >= _INSIDE * total[value] for value in values)
