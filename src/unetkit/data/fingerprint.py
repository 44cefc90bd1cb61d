"""What a set of samples was, in numbers small enough to keep with a run: sizes, range, class shares, checksums.

Assumes that the samples can be read twice with the same result. Does not judge the data: `check` does.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.data.dataset import Dataset


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
    names, sizes, dtypes = list[str](), Counter[tuple[int, ...]](), set[str]()
    low, high, total, count = np.inf, -np.inf, 0.0, 0
    class_counts = np.zeros(len(dataset.classes), np.int64)
    pixel_hash: Any = hashlib.sha256()
    label_hash: Any = hashlib.sha256()
    pixels_of_each, labels_of_each = list[str](), list[str]()
    for index in range(len(dataset)) if indices is None else indices:
        sample = dataset[index]
        pixels, labels, valid = sample.pixels, sample.labels, sample.valid
        names.append(sample.name)
        sizes[pixels.shape] += 1
        dtypes.add(str(pixels.dtype))
        low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        total += float(pixels.sum(dtype=np.float64))
        count += pixels.size
        stored = _little_endian(pixels)
        pixel_hash.update(stored)
        pixels_of_each.append(_short(stored))
        if labels is None:
            labels_of_each.append("")
            continue
        parts = [_little_endian(labels)]
        if valid is not None:
            parts = [np.ascontiguousarray(valid), _little_endian(np.where(valid, labels, 0))]
        for part in parts:
            label_hash.update(part)
        labels_of_each.append(_short(*parts))
        counted = labels.ravel() if valid is None else labels[valid]
        class_counts += np.bincount(counted, minlength=len(class_counts))
    labelled = int(class_counts.sum())
    return Fingerprint(
        samples=len(names),
        sizes={str(list(shape)): number for shape, number in sizes.items()},
        dtype=", ".join(sorted(dtypes)),
        minimum=low if names else 0.0,
        maximum=high if names else 0.0,
        mean=total / max(count, 1),
        classes=tuple(dataset.classes),
        class_shares=tuple(float(number) / labelled for number in class_counts) if labelled else (),
        sha256_pixels=pixel_hash.hexdigest(),
        sha256_labels=label_hash.hexdigest() if labelled else "",
        names=tuple(names),
        pixels_of_each=tuple(pixels_of_each),
        labels_of_each=tuple(labels_of_each),
    )


def _short(*parts: NDArray[Any]) -> str:
    digest: Any = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _little_endian(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
