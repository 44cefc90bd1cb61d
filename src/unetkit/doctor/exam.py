"""A data set as the checks see it: the facts of every image that could be read, the split, and what was unreadable."""

from collections import Counter
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from unetkit.config import Config
from unetkit.data.complaints import complaints_of
from unetkit.data.items import ItemDataset
from unetkit.data.pages import decoding
from unetkit.data.sample import Dataset
from unetkit.data.split import split_dataset
from unetkit.doctor.facts import Facts, look
from unetkit.doctor.twins import Twins, twins_among
from unetkit.errors import ConfigError, DataError
from unetkit.progress import Reporter, Silence

_NAMED_CLASSES = 6

Palette = tuple[bytes, ...]
"""The colours of a palette, three bytes each."""


@dataclass(frozen=True)
class Exam:
    """What is known of a data set.

    Attributes:
        classes: their names, index 0 first.
        facts: of every image that could be read, in order.
        complaints: about every file that could not.
        config: what it is to be trained with.
        train: indices of the images to train on; all where there is no split.
        held_out: indices of those held out.
        palettes: of the mask files that have one, by the sample's name.
    """

    classes: tuple[str, ...]
    facts: tuple[Facts, ...]
    complaints: tuple[str, ...]
    config: Config
    train: frozenset[int]
    held_out: frozenset[int]
    palettes: dict[str, Palette]

    @cached_property
    def class_shares(self) -> tuple[float, ...]:
        """The share of each class in all labelled pixels; empty without labels."""
        counts = [one.class_counts for one in self.facts if one.class_counts is not None]
        total = np.sum(counts, axis=0, dtype=np.float64) if counts else np.zeros(0)
        return tuple((total / max(total.sum(), 1.0)).tolist())

    def under(self, config: Config, dataset: Dataset) -> "Exam":
        """Return what was seen of the data set for another configuration: with its split."""
        train, held_out = _split(dataset, config)
        return replace(self, config=config, train=train, held_out=held_out)

    def classes_in(self, indices: Set[int]) -> frozenset[int]:
        """Return the classes that occur in the images of these indices."""
        return frozenset[int]().union(*(one.classes for one in self.facts if one.index in indices))

    @cached_property
    def twins(self) -> tuple[Twins, ...]:
        """The groups of images that are alike."""
        return tuple(twins_among(self.facts))

    @cached_property
    def areas(self) -> np.ndarray:
        """The pixels of every object."""
        found = [one.objects.areas for one in self.facts if one.objects is not None]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def words(self) -> dict[str, str]:
        """Describe the set in a few words, by what they are about."""
        if not self.facts:
            return {}
        sizes = Counter("x".join(map(str, one.shape)) for one in self.facts).most_common()
        shown = "; ".join(f"{count} of {size}" for size, count in sizes[:4])
        low, high = min(one.grey.low for one in self.facts), max(one.grey.high for one in self.facts)
        mean = float(np.mean([one.grey.mean for one in self.facts]))
        dtypes = ", ".join(sorted({one.dtype for one in self.facts}))
        shares = sorted(zip(self.class_shares, self.classes, strict=False), reverse=True)
        present = [f"{name} {100 * share:.3g} %" for share, name in shares if share]
        rest = f" and {len(present) - _NAMED_CLASSES} more" if len(present) > _NAMED_CLASSES else ""
        split = self.config.data.split
        return {
            "sizes": f"{shown}{' and others' if len(sizes) > 4 else ''} (channels x rows x columns)",
            "values": f"{dtypes}, {low:.5g} to {high:.5g}, mean {mean:.4g}",
            "classes": f"{', '.join(present[:_NAMED_CLASSES])}{rest}" or "no labels",
            "split": f"{len(self.train)} to train on, {len(self.held_out)} held out ({split.method})",
        }


def examine(
    dataset: Dataset,
    config: Config,
    *,
    closely: bool = True,
    aligned: int | None = None,
    reporter: Reporter | None = None,
) -> Exam:
    """Look at every image once.

    Args:
        dataset: what a reader gave.
        config: what it is to be trained with.
        closely: look for what needs more than the pixels' values.
        aligned: how many images, evenly spread, to compare labels and edges of; None: all.
        reporter: hears about the course.
    """
    from unetkit.devices import available_cores  # it loads torch, which readers do without

    count, complaints, facts = len(dataset), list(complaints_of(dataset)), list[Facts]()
    compared = set(np.linspace(0, count - 1, count if aligned is None else min(aligned, count)).round().astype(int))

    def seen(index: int) -> Facts | DataError:
        try:
            align = closely and index in compared
            return look(index, dataset[index], classes=len(dataset.classes), closely=closely, align=align)
        except DataError as error:
            return error

    with ThreadPoolExecutor(available_cores()) as pool:
        for done, one in enumerate(pool.map(seen, range(count)), 1):
            (reporter or Silence()).advance(done, count, {})
            complaints += [str(one)] if isinstance(one, DataError) else []
            facts += [one] if isinstance(one, Facts) else []
    train, held_out = _split(dataset, config)
    palettes = _palettes(dataset) if closely else {}
    return Exam(dataset.classes, tuple(facts), tuple(complaints), config, train, held_out, palettes)


def _split(dataset: Dataset, config: Config) -> tuple[frozenset[int], frozenset[int]]:
    try:
        split = split_dataset(dataset, config.data.split)
    except (ConfigError, DataError):  # too few images, or one that is complained about already
        return frozenset(range(len(dataset))), frozenset()
    return frozenset(split.train), frozenset(split.validation)


def _palettes(dataset: Dataset) -> dict[str, Palette]:
    """Read the palettes of mask files; what is no such file is passed over: readers have told what is wrong with it."""
    if not isinstance(dataset, ItemDataset) or dataset.mask_map is None or dataset.mask_map.table is not None:
        return {}
    found = {item.name: _palette(Path(item.mask_source)) for item in dataset.items if item.mask_source}
    return {name: palette for name, palette in found.items() if palette}


def _palette(path: Path) -> Palette:
    if path.suffix.lower() not in (".png", ".bmp"):
        return ()
    values: Sequence[int] = []
    with suppress(DataError), decoding(str(path)), Image.open(path) as image:
        values = (image.getpalette("RGB") or []) if image.mode == "P" else []
    colours = np.array(values, np.uint8).reshape(-1, 3)
    return () if (colours == colours[:, :1]).all() else tuple(colour.tobytes() for colour in colours)
