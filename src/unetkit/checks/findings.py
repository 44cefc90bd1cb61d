"""What is known of a data set, and what was found in it: the facts of all images, a finding, a report of all findings.

`examine` looks at every image once. Judges nothing: that is done by the functions in `checks`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from unetkit.checks.alignment import Correction
from unetkit.checks.facts import Duplicates, ImageFacts, find_duplicates, image_facts
from unetkit.config import Config
from unetkit.data.dataset import Account, Dataset, ItemDataset, account_of, complaints_of, division_of
from unetkit.data.split import Split, split_dataset, with_method
from unetkit.errors import ConfigError, DataError, listed
from unetkit.images.image import decoding
from unetkit.machine import available_cores
from unetkit.progress import NoProgress, Progress

_NAMED_CLASSES = 6

Palette = tuple[bytes, ...]
"""The colours of a palette, three bytes each."""


Severity = Literal["error", "warning", "note"]
Show = Literal["nothing", "image", "outlines", "labels"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""An error spoils a training, a warning may spoil what it is worth, a note is worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: error, warning or note.
        found: what was found, and where.
        advice: what to do.
        images: names of the samples that it is about; of pairs, one after the other. Empty: the set as a whole.
        show: what a picture of those images would have to show.
        corrections: what would put the labels of each of the images right; empty where nothing is known.
        each: what was found one by one, where the finding stands for several.
        check: the name in `CHECKS` of the check that found it.
    """

    severity: Severity
    found: str
    advice: str
    images: tuple[str, ...] = ()
    show: Show = "nothing"
    corrections: tuple[Correction, ...] = ()
    each: tuple[str, ...] = ()
    check: str = ""

    def __str__(self) -> str:
        """The finding as one line."""
        return f"{self.found}; {self.advice}" if self.advice else self.found


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that the checks found.

    Attributes:
        path: the data set.
        indices: the index of every image that could be read, by its name.
        summary: the set in a few words, by what they are about.
        account: what the files were taken for.
        findings: the worst first.
        checks: the names of the checks that were made.
    """

    path: str
    indices: Mapping[str, int]
    summary: dict[str, str]
    account: Account
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def count(self) -> str:
        """Return how many findings there are of each severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return ", ".join(f"{counted[name]} {name}{'' if counted[name] == 1 else 's'}" for name in SEVERITIES)

    def require_sound(self) -> None:
        """Refuse a set that cannot be trained on.

        Raises:
            DataError: there are errors; the message is the first of them.
        """
        errors = self.of("error")
        if errors:
            rest = f" ({len(errors) - 1} more errors: unetkit data check {self.path})" if len(errors) > 1 else ""
            raise DataError(f"{next(iter(errors))}{rest}")

    def lines(self, most: int = 6) -> tuple[str, ...]:
        """Return warnings and notes as lines that begin with what they are; of many the first, and how many more."""
        lines = [f"{one.severity}: {one}" for one in self.findings]
        rest = len(lines) - most
        more = (f"note: {rest} more findings: unetkit data check {self.path}",) if rest > 0 else ()
        return (*lines[:most], *more)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "path": self.path,
            "samples": len(self.indices),
            "facts": self.summary,
            "taken": asdict(self.account),
            "errors": len(self.of("error")),
            "warnings": len(self.of("warning")),
            "notes": len(self.of("note")),
            "findings": [asdict(finding) for finding in self.findings],
            "checks": list(self.checks),
        }


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set.

    Attributes:
        classes: their names, index 0 first.
        images: the facts of every image that could be read, in order.
        complaints: about every file that could not.
        config: what it is to be trained with.
        split: the images to train on, all where there is no split, those held out, and the test set.
        account: what the reader took the files for.
        palettes: of the mask files that have one, by the sample's name.
    """

    classes: tuple[str, ...]
    images: tuple[ImageFacts, ...]
    complaints: tuple[str, ...]
    config: Config
    split: Split
    account: Account
    palettes: dict[str, Palette]

    @cached_property
    def train(self) -> frozenset[int]:
        """The indices of the images to train on."""
        return frozenset(self.split.train)

    @cached_property
    def held_out(self) -> frozenset[int]:
        """The indices of those held out."""
        return frozenset(self.split.validation)

    @cached_property
    def class_shares(self) -> tuple[float, ...]:
        """The share of each class in all labelled pixels; empty without labels."""
        counts = [one.class_counts for one in self.images if one.class_counts is not None]
        total = np.sum(counts, axis=0, dtype=np.float64) if counts else np.zeros(0)
        return tuple((total / max(total.sum(), 1.0)).tolist())

    def under(self, config: Config, dataset: Dataset) -> "DatasetFacts":
        """Return what was seen of the data set for another configuration: with its split."""
        config = with_method(config, dataset)
        return replace(self, config=config, split=_split(dataset, config))

    def classes_in(self, indices: Set[int]) -> frozenset[int]:
        """Return the classes that occur in the images of these indices."""
        return frozenset[int]().union(*(one.classes for one in self.images if one.index in indices))

    @cached_property
    def duplicates(self) -> tuple[Duplicates, ...]:
        """The groups of images that are alike."""
        return tuple(find_duplicates(self.images))

    @cached_property
    def areas(self) -> np.ndarray:
        """The pixels of every object."""
        found = [one.objects.areas for one in self.images if one.objects is not None]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def words(self) -> dict[str, str]:
        """Describe the set in a few words, by what they are about."""
        if not self.images:
            return {}
        sizes = Counter("x".join(map(str, one.shape)) for one in self.images).most_common()
        shown = "; ".join(f"{count} of {size}" for size, count in sizes[:4])
        low, high = min(one.grey.low for one in self.images), max(one.grey.high for one in self.images)
        mean = float(np.mean([one.grey.mean for one in self.images]))
        dtypes = ", ".join(sorted({one.dtype for one in self.images}))
        shares = sorted(zip(self.class_shares, self.classes, strict=False), reverse=True)
        present = [f"{name} {100 * share:.3g} %" for share, name in shares if share]
        split = self.config.data.split
        return {
            "sizes": f"{shown}{' and others' if len(sizes) > 4 else ''} (channels x rows x columns)",
            "values": f"{dtypes}, {low:.5g} to {high:.5g}, mean {mean:.5g}",
            "classes": listed(present, _NAMED_CLASSES) or "no labels",
            "split": f"{len(self.train)} to train on, {len(self.held_out)} held out ({split.method}"
            f"{f', the groups {split.group}' if split.group else ''})"
            f"{f', {len(self.split.test)} to test' if self.split.test else ''}",
        }


def examine(
    dataset: Dataset,
    config: Config,
    *,
    closely: bool = True,
    aligned: int | None = None,
    progress: Progress | None = None,
) -> DatasetFacts:
    """Look at every image once.

    Args:
        dataset: what a reader gave.
        config: what it is to be trained with.
        closely: look for what needs more than the pixels' values.
        aligned: how many images, evenly spread, to compare labels and edges of; None: all.
        progress: follows the work.
    """
    count, complaints, images = len(dataset), list(complaints_of(dataset)), list[ImageFacts]()
    compared = set(np.linspace(0, count - 1, count if aligned is None else min(aligned, count)).round().astype(int))

    serial = division_of(dataset).serial

    def seen(index: int) -> ImageFacts | DataError:
        try:
            align = closely and index in compared
            sample, classes = dataset[index], len(dataset.classes)
            return image_facts(index, sample, classes=classes, closely=closely, align=align, serial=serial)
        except DataError as error:
            return error

    with ThreadPoolExecutor(available_cores()) as pool:
        for done, one in enumerate(pool.map(seen, range(count)), 1):
            (progress or NoProgress()).update(done, count, {})
            complaints += [str(one)] if isinstance(one, DataError) else []
            images += [one] if isinstance(one, ImageFacts) else []
    config = with_method(config, dataset)
    palettes: dict[str, Palette] = {}
    if closely and isinstance(dataset, ItemDataset) and dataset.mask_map is not None and dataset.mask_map.table is None:
        found = {item.name: _palette(Path(item.masks[0].source)) for item in dataset.items if item.masks}
        palettes = {name: palette for name, palette in found.items() if palette}
    split, account = _split(dataset, config), account_of(dataset)
    return DatasetFacts(dataset.classes, tuple(images), tuple(complaints), config, split, account, palettes)


def _split(dataset: Dataset, config: Config) -> Split:
    try:
        return split_dataset(dataset, config.data.split)
    except (ConfigError, DataError):  # too few images, or one that is complained about already
        return Split(tuple(range(len(dataset))), ())


def _palette(path: Path) -> Palette:
    """Read the palette of a mask file; empty where there is none, or where readers complain about the file already."""
    if path.suffix.lower() not in (".png", ".bmp"):
        return ()
    values: Sequence[int] = []
    with suppress(DataError), decoding(str(path)), Image.open(path) as image:
        values = (image.getpalette("RGB") or []) if image.mode == "P" else []
    colours = np.array(values, np.uint8).reshape(-1, 3)
    return () if (colours == colours[:, :1]).all() else tuple(colour.tobytes() for colour in colours)
