"""How often the checks of data find what was planted, and how often they are wrong, over every kind of data at hand.

    python benchmarks/data_checks.py [SHARED] [--images 8] [--sets NAME ...] [--keep FOLDER] [--write PAGE]

Each set is checked as it is, which gives the false alarms, and then with one defect in one of its images at a time: the
labels shifted, turned, exchanged, inverted; the image thresholded, saturated, flattened; copies of it put into the set.
A defect is found where its check names the image. The sets are those that lie in SHARED/data and the generated ones of
`stand_ins.py`. At the end the limits that matter most are chosen anew without each set in turn, as those that
find most without a false alarm in the others, and tried on it. Seeded; one thread.
"""

import argparse
import io
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stand_ins import KINDS, stand_in
from unetkit.checks import alignment, checks, duplicates
from unetkit.checks.alignment import AS_IT_IS, SYMMETRIES, Correction
from unetkit.checks.checks import CHECKS
from unetkit.checks.facts import ImageFacts, find_duplicates, image_facts
from unetkit.checks.findings import DatasetFacts
from unetkit.config import load_config
from unetkit.data import InMemory, Sample, in_memory, open_dataset
from unetkit.data.dataset import Account
from unetkit.data.split import Split
from unetkit.storage.atomic import atomic_write

REAL = ("isbi2012", "dsb2018/stage1_train.zip", "drive", "usiigaci", "drosophila_vnc", "coco_tiny")
BEGIN, END = "<!-- tables of benchmarks/data_checks.py -->", "<!-- end of the tables -->"
CONFIG = load_config({}, ["data.split.method=none", "train.patch=64"])
NOT_WRONG = (
    "small",
    "absent classes",
    "rare classes",
    "neighbours",
    "touching",
    "object sizes",
    "empty",
    "narrow",
    "saturated",
)
"""Checks that state facts, which cannot be false alarms."""

Pixels = NDArray[Any]
Random = np.random.Generator


def main() -> None:
    """Measure every set and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--keep", type=Path, help="a folder for what was measured of each set, which is not done again")
    parser.add_argument("--write", type=Path, help="the page whose tables are replaced")
    words = parser.parse_args()
    trials: list[Trial] = []
    for name, opened in sets_of(words.shared).items():
        if not words.sets or name in words.sets:
            kept = words.keep and words.keep / f"{name} {words.images}.pickle"
            if kept and kept.exists():
                trials.append(pickle.loads(kept.read_bytes()))
            else:
                trials.append(Trial.of(name, opened(), words.images))
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    atomic_write(kept, pickle.dumps(trials[-1]))
            print(f"{name}: {len(trials[-1].data.images)} images, {len(trials[-1].planted)} defects", flush=True)
    tables = [*table(trials), "", *left_out(trials)]
    print("\n" + "\n".join(tables))
    if words.write:
        before, _, rest = words.write.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        words.write.write_text("\n".join([before + BEGIN, "", *tables, "", END + after]))


def sets_of(shared: Path | None) -> dict[str, Callable[[], InMemory]]:
    """Return what opens every set, by its name."""
    folders = () if shared is None else [shared / "data" / folder for folder in REAL]
    return {
        **{one.partition("/")[0]: partial(opened, at) for one, at in zip(REAL, folders, strict=False)},
        "sample": partial(opened, "sample"),
        **{kind: partial(stand_in, kind) for kind in KINDS},
    }


def opened(path: Path | str) -> InMemory:
    """Open a set, and read all of it."""
    return in_memory(open_dataset(path))


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A defect: what was done, the check that has to find it, and what is seen of the image then."""

    what: str
    check: str
    facts: ImageFacts


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A set as it is, and with defects."""

    name: str
    data: DatasetFacts
    planted: list[Planted]

    @classmethod
    def of(cls, name: str, dataset: InMemory, most: int) -> "Trial":
        """Look at every image of a set, and plant every defect in a few of them, evenly spread."""
        classes = len(dataset.classes)
        serial = dataset.division.serial
        facts = [look(place, sample, classes, serial=serial) for place, sample in enumerate(dataset.samples)]
        split = Split(tuple(range(len(facts))), ())
        data = DatasetFacts(dataset.classes, tuple(facts), (), CONFIG, split, Account(), {})
        planted: list[Planted] = []
        rng = np.random.default_rng(0)
        for place in np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int):
            sample = dataset[place]
            if sample.labels is None or not sample.labels.any():
                continue
            others = [one for one in dataset.samples if one.pixels.shape == sample.pixels.shape and one is not sample]
            for what, (check, change) in DEFECTS.items():
                if serial and check == "stray":
                    continue  # those of a section near by fit in part
                changed = change(rng, sample, others)
                if changed is not None:
                    index = len(dataset) if check == "duplicates" else int(place)
                    planted.append(Planted(what, check, look(index, changed, classes)))
        return cls(name, data, planted)

    def with_planted(self, one: Planted) -> DatasetFacts:
        """Return the set with a defect in it."""
        images = list(self.data.images)
        images[one.facts.index : one.facts.index + 1] = [one.facts]
        if one.check == "duplicates":  # compared with some others: what all share has to be known
            near = one.facts.name.removesuffix(" copy")
            images = [image for place, image in enumerate(images) if place % (1 + len(images) // 24) == 0]
            images += [image for image in self.data.images if image.name == near and image not in images]
            images += [one.facts] if one.facts not in images else []
        return replace(self.data, images=tuple(images))

    def finds(self, one: Planted) -> bool:
        """Whether the check of a planted defect names the image."""
        if one.check == "duplicates":
            return similarities(self, one).get(one.facts.name, 0) >= duplicates.ALIKE
        return any(one.facts.name in finding.images for finding in CHECKS[one.check](self.with_planted(one)))

    def false_alarms(self, check: str) -> int:
        """Return how many images a check names in the set as it is."""
        if check == "duplicates":
            return sum(value >= duplicates.ALIKE for value in similarities(self, None).values())
        return len({name for finding in CHECKS[check](replace(self.data)) for name in finding.images})


@cache
def similarities(trial: Trial, planted: Planted | None) -> dict[str, float]:
    """Return how alike those images are that another one is like, however little, with a defect or as they are."""
    data = trial.data if planted is None else trial.with_planted(planted)
    with patch.object(duplicates, "ALIKE", min(LIMITS["duplicates"][2])):
        return {image.name: group.similarity for group in find_duplicates(data.images) for image in group.images}


def look(place: int, sample: Sample, classes: int, *, serial: bool = False) -> ImageFacts:
    """Look at a sample as the checks do."""
    return image_facts(place, sample, classes=classes, closely=True, align=True, serial=serial)


Change = Callable[[Random, Sample, list[Sample]], Sample | None]


def relabelled(change: Callable[[Random, Pixels], Pixels]) -> Change:
    """Change labels and objects alike."""

    def changed(rng: Random, sample: Sample, _: list[Sample]) -> Sample:
        state = rng.integers(2**32)
        labels, ids = (
            None if values is None else np.ascontiguousarray(change(np.random.default_rng(state), values))
            for values in (sample.labels, sample.instances)
        )
        return replace(sample, labels=labels, instances=ids)

    return changed


def repainted(change: Callable[[Random, NDArray[np.float32], float], Pixels], *, copy: bool = False) -> Change:
    """Change the pixels, given the highest value that they can have; or put a changed copy into the set."""

    def changed(rng: Random, sample: Sample, _: list[Sample]) -> Sample | None:
        top, state = float(np.iinfo(sample.pixels.dtype).max), int(rng.integers(2**32))
        values = change(np.random.default_rng(state), sample.pixels.astype(np.float32), top)
        pixels = np.ascontiguousarray(values.round().clip(0, top).astype(sample.pixels.dtype))
        if not copy:
            return replace(sample, pixels=pixels)
        valid = sample.valid
        if valid is not None and change not in (darkened, recompressed):
            moved = change(np.random.default_rng(state), valid[None].astype(np.float32), 1.0)
            valid = np.ascontiguousarray(moved[0] > 0.5)
        return Sample(f"{sample.name} copy", pixels, valid=valid)

    return changed


def shifted(pixels: int) -> Change:
    """Move labels in a random direction."""

    def change(rng: Random, values: Pixels) -> Pixels:
        angle = rng.uniform(0, 2 * np.pi)
        return Correction(AS_IT_IS, round(pixels * np.sin(angle)), round(pixels * np.cos(angle))).apply(values)

    return relabelled(change)


def turned(rng: Random, sample: Sample, others: list[Sample]) -> Sample | None:
    """Flip or turn labels, in a way that their shape allows."""
    ways = [turn for turn in list(SYMMETRIES.values())[1:] if turn(sample.pixels[0]).shape == sample.pixels[0].shape]
    way = ways[int(rng.integers(len(ways)))]
    return relabelled(lambda _, values: way(values))(rng, sample, others)


def exchanged(rng: Random, sample: Sample, others: list[Sample]) -> Sample | None:
    """Take the labels of another image."""
    labelled = [one for one in others if one.labels is not None and one.labels.any()]
    if not labelled:
        return None
    other = labelled[int(rng.integers(len(labelled)))]
    return replace(sample, labels=other.labels, instances=other.instances)


def inverted(_: Random, sample: Sample, __: list[Sample]) -> Sample | None:
    """Exchange the two most frequent classes."""
    assert sample.labels is not None
    counts = np.bincount(sample.labels.ravel())
    first, second = np.argsort(-counts)[:2]
    table = np.arange(len(counts))
    table[first], table[second] = second, first
    labels = table[sample.labels].astype(sample.labels.dtype)
    if sample.valid is not None:
        labels[~sample.valid] = 0
    return replace(sample, labels=labels, instances=None)


def speckled(rng: Random, sample: Sample, _: list[Sample]) -> Sample | None:
    """Put three dots of 1 to 4 px where nothing is within 8 px."""
    assert sample.labels is not None
    labels, ids = sample.labels.copy(), None if sample.instances is None else sample.instances.copy()
    free = ndimage.maximum_filter((labels > 0).astype(np.uint8), 19) == 0
    free[:9], free[-9:], free[:, :9], free[:, -9:] = False, False, False, False
    if sample.valid is not None:
        free &= ndimage.binary_erosion(sample.valid, iterations=9)
    places = np.argwhere(free)
    if not len(places):
        return None
    for row, column in places[rng.choice(len(places), 3)]:
        dot = (slice(row, row + int(rng.integers(1, 3))), slice(column, column + int(rng.integers(1, 3))))
        labels[dot] = 1
        if ids is not None:
            ids[dot] = ids.max() + 1
    return replace(sample, labels=labels, instances=ids)


def smoothed(_: Random, sample: Sample, __: list[Sample]) -> Sample | None:
    """Enlarge labels of 0 and 2 by interpolation, so that a class 1 lies between them."""
    if sample.labels is None or int(sample.labels.max()) != 2:
        return None
    two = np.where(sample.labels == 2, 2.0, 0.0)
    half: Pixels = ndimage.zoom(two[::2, ::2], 2, order=1)
    labels = np.zeros_like(sample.labels)
    labels[: half.shape[0], : half.shape[1]] = half.round()[: labels.shape[0], : labels.shape[1]]
    return replace(sample, labels=labels)


def recompressed(_: Random, values: NDArray[np.float32], top: float) -> Pixels:
    """Store as JPEG and read again."""
    channels = [Image.fromarray((channel * (255 / top)).clip(0, 255).astype(np.uint8)) for channel in values]
    read: list[Pixels] = []
    for channel in channels:
        buffer = io.BytesIO()
        channel.save(buffer, "JPEG", quality=50)
        read.append(np.asarray(Image.open(buffer)) * (top / 255))
    return np.stack(read)


def darkened(rng: Random, values: NDArray[np.float32], _: float) -> Pixels:
    """Make an image darker, and noisy."""
    return 0.7 * values + rng.normal(0, 0.1 * values.std(), values.shape)


def flipped(rng: Random, values: NDArray[np.float32], _: float) -> Pixels:
    """Flip or turn an image."""
    turn = list(SYMMETRIES.values())[int(rng.integers(1, 8))]
    return np.stack([turn(channel) for channel in values])


def cropped(share: float) -> Callable[[Random, NDArray[np.float32], float], Pixels]:
    """Cut a share of the sides off on each side."""

    def change(_: Random, values: NDArray[np.float32], __: float) -> Pixels:
        rows, columns = (round(share * side) for side in values.shape[1:])
        return values[:, rows : values.shape[1] - rows, columns : values.shape[2] - columns]

    return change


DEFECTS: dict[str, tuple[str, Change]] = {
    "labels shifted by 5 px": ("misaligned", shifted(5)),
    "labels shifted by 10 px": ("misaligned", shifted(10)),
    "labels shifted by 20 px": ("misaligned", shifted(20)),
    "labels flipped or turned": ("misaligned", turned),
    "another image's labels": ("stray", exchanged),
    "two classes swapped, or inverted": ("swapped", inverted),
    "mask enlarged by interpolation": ("blurred", smoothed),
    "nothing labelled": ("empty", relabelled(lambda _, values: values * 0)),
    "three slips of the pen": ("specks", speckled),
    "image thresholded": ("two-valued", repainted(lambda _, x, top: (x > x.mean()) * top)),
    "reduced to 16 levels": ("few levels", repainted(lambda _, x, top: x // (top / 16) * (top / 16))),
    "a tenth saturated": ("saturated", repainted(lambda _, x, __: x.clip(0, np.quantile(x, 0.9)))),
    "contrast a thirtieth": ("flat", repainted(lambda _, x, __: x.mean() + (x - x.mean()) / 30)),
    "the same pixels again": ("duplicates", repainted(lambda _, x, __: x, copy=True)),
    "stored as JPEG": ("duplicates", repainted(recompressed, copy=True)),
    "0.7 times as bright, noisy": ("duplicates", repainted(darkened, copy=True)),
    "flipped or turned": ("duplicates", repainted(flipped, copy=True)),
    "cropped by 5 % a side": ("duplicates", repainted(cropped(0.05), copy=True)),
    "cropped by 12 % a side": ("duplicates", repainted(cropped(0.12), copy=True)),
}
"""What is planted: the check that has to find it, and how it is done."""


def table(trials: list[Trial]) -> Iterator[str]:
    """Yield the lines of the table: the share found of every defect in every set, and the false alarms."""
    yield "| planted (check) | " + " | ".join(trial.name for trial in trials) + " |"
    yield "|---|" + "---|" * len(trials)
    for what, (check, _) in DEFECTS.items():
        cells: list[str] = []
        for trial in trials:
            found = [trial.finds(one) for one in trial.planted if one.what == what]
            cells.append(f"{100 * np.mean(found):.0f} %" if found else "–")
        yield f"| {what} ({check}) | {' | '.join(cells)} |"
    images = [len(trial.data.images) for trial in trials]
    yield f"| images as they are | {' | '.join(map(str, images))} |"
    total = 0
    for check in CHECKS:
        alarms = [trial.false_alarms(check) for trial in trials]
        if any(alarms) and check not in NOT_WRONG:
            total += sum(alarms)
            yield f"| of them named by {check} | {' | '.join(map(str, alarms))} |"
    yield ""
    yield f"{total} alarms in {sum(images)} images as they are; facts are left aside ({', '.join(NOT_WRONG)})."


LIMITS: dict[str, tuple[Any, str, tuple[float, ...]]] = {
    "stray": (checks, "_STRAY", (3.0, 5.0, 7.0, 10.0, 15.0)),
    "swapped": (checks, "_SWAP", (2.0, 2.5, 4.0, 6.0, 8.0)),
    "flat": (checks, "_FLAT", (0.05, 0.1, 0.2)),
    "duplicates": (duplicates, "ALIKE", (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)),
    "misaligned": (alignment, "CERTAIN", (30.0, 35.0, 40.0, 60.0)),
}
"""Limits that are chosen without a set, and tried on it; that of misaligned labels from the measured one upwards."""


def left_out(trials: list[Trial]) -> Iterator[str]:
    """Yield the lines of a table: what each limit would be without a set, and what it gives there."""
    yield "| check | " + " | ".join(trial.name for trial in trials) + " |"
    yield "|---|" + "---|" * len(trials)
    for check, (module, name, values) in LIMITS.items():
        measured: dict[str, dict[float, tuple[int, int, int]]] = defaultdict(dict)
        for value in values:
            for trial in trials:
                with patch.object(module, name, value):
                    planted = [one for one in trial.planted if one.check == check]
                    if check == "misaligned":
                        found = sum(is_certain(one.facts, value) for one in planted)
                        alarms = sum(is_certain(one, value) for one in trial.data.images)
                    else:
                        found, alarms = sum(trial.finds(one) for one in planted), trial.false_alarms(check)
                measured[trial.name][value] = (found, len(planted), alarms)
        cells: list[str] = []
        for left in measured:
            others = [measured[name] for name in measured if name != left]
            best = max(
                values, key=lambda value: (-sum(one[value][2] for one in others), sum(one[value][0] for one in others))
            )
            found, count, alarms = measured[left][best]
            named = f", {alarms} named" if alarms else ""
            cells.append(f"{best:g}: {100 * found / count:.0f} %{named}" if count else "–")
        yield f"| {check} | {' | '.join(cells)} |"


def is_certain(one: ImageFacts, limit: float) -> bool:
    """Whether labels would be called misaligned at a limit."""
    return one.agreement is not None and one.agreement.correction is not None and one.agreement.best >= limit


if __name__ == "__main__":
    main()
