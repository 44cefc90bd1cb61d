"""What a set of samples was, in numbers small enough to keep with a run: sizes, range, class shares, checksums.

Assumes that the samples can be read twice with the same result. Does not judge the data: `check` does.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.dataset import Dataset, Sample


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The numbers of a set.

    Attributes:
        samples: how many there are.
        sizes: '[C, H, W]' of the pixels -> how many samples have it.
        dtype: the types of the pixels, such as 'uint8'.
        minimum: lowest stored value.
        maximum: highest stored value.
        mean: mean over all pixels and channels, stored units.
        classes: the names of the classes.
        class_shares: share of the labelled pixels that count in each class; empty without labels.
        sha256_pixels: checksum of all pixels in order, little-endian; for a grey stack that of its decoded bytes.
        sha256_labels: checksum of all class indices in order, and of which pixels count where not all do; empty without
            labels.
        names: the samples in order.
        pixels_of_each: the first 16 digits of the checksum of each sample's pixels: enough to say which one differs.
        labels_of_each: likewise of its labels; empty for a sample without labels.
    """

    samples: int
    sizes: dict[str, int]
    dtype: str
    minimum: float
    maximum: float
    mean: float
    classes: tuple[str, ...]
    class_shares: tuple[float, ...]
    sha256_pixels: str
    sha256_labels: str
    names: tuple[str, ...]
    pixels_of_each: tuple[str, ...]
    labels_of_each: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain values that `json` writes."""
        return asdict(self)


def fingerprint(dataset: Dataset, *, indices: Sequence[int] | None = None) -> Fingerprint:
    """Measure a data set, or the part of it that `indices` names.

    Raises:
        DataError: a sample that cannot be read.
    """
    seen = _Seen(len(dataset.classes))
    for index in range(len(dataset)) if indices is None else indices:
        sample = dataset[index]
        seen.add(sample)
    labelled = int(seen.class_counts.sum())
    return Fingerprint(
        samples=len(seen.names),
        sizes={str(list(shape)): count for shape, count in seen.sizes.items()},
        dtype=", ".join(sorted(seen.dtypes)),
        minimum=seen.minimum if seen.names else 0.0,
        maximum=seen.maximum if seen.names else 0.0,
        mean=seen.total / max(seen.pixels, 1),
        classes=tuple(dataset.classes),
        class_shares=tuple(float(count) / labelled for count in seen.class_counts) if labelled else (),
        sha256_pixels=seen.pixel_hash.hexdigest(),
        sha256_labels=seen.label_hash.hexdigest() if labelled else "",
        names=tuple(seen.names),
        pixels_of_each=tuple(seen.pixels_of_each),
        labels_of_each=tuple(seen.labels_of_each),
    )


@dataclass(slots=True)
class _Seen:
    """What has been counted so far."""

    num_classes: int
    names: list[str] = field(default_factory=list[str])
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter[tuple[int, ...]])
    dtypes: set[str] = field(default_factory=set[str])
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0
    pixels: int = 0
    pixel_hash: Any = field(default_factory=hashlib.sha256)
    label_hash: Any = field(default_factory=hashlib.sha256)
    pixels_of_each: list[str] = field(default_factory=list[str])
    labels_of_each: list[str] = field(default_factory=list[str])
    class_counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.class_counts = np.zeros(self.num_classes, np.int64)

    def add(self, sample: Sample) -> None:
        pixels, labels = sample.pixels, sample.labels
        self.names.append(sample.name)
        self.sizes[pixels.shape] += 1
        self.dtypes.add(str(pixels.dtype))
        self.minimum = min(self.minimum, float(pixels.min()))
        self.maximum = max(self.maximum, float(pixels.max()))
        self.total += float(pixels.sum(dtype=np.float64))
        self.pixels += pixels.size
        stored = _little_endian(pixels)
        self.pixel_hash.update(stored)
        self.pixels_of_each.append(_short(stored))
        if labels is None:
            self.labels_of_each.append("")
            return
        parts = [_little_endian(labels)]
        if sample.valid is not None:
            parts = [np.ascontiguousarray(sample.valid), _little_endian(np.where(sample.valid, labels, 0))]
        for part in parts:
            self.label_hash.update(part)
        self.labels_of_each.append(_short(*parts))
        counted = labels.ravel() if sample.valid is None else labels[sample.valid]
        self.class_counts += np.bincount(counted, minlength=self.num_classes)


def _short(*parts: NDArray[Any]) -> str:
    digest: Any = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _little_endian(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
