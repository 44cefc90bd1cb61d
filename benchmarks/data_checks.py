"""How often the checks find labels that were misaligned and copies that were slipped in, and how often they are wrong.

    python benchmarks/checks.py DATA [--every 1]

Every n-th image of a data set is judged as it is, then with its labels shifted by 4, 6, 8 and 16 px in a random
direction, flipped and turned in every way its shape allows, and exchanged with another image's of the same size. Every
n-th image is compared with changed copies of itself. Prints what was flagged; what is flagged of the data as it is
counts as a false alarm.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from unetkit.checks.alignment import AS_IT_IS, SYMMETRIES, Correction, agreement
from unetkit.checks.facts import ImageFacts, find_duplicates, image_facts
from unetkit.data import InMemory, Sample, in_memory, open_dataset
from unetkit.data.targets import instances_of

SHIFTS = (4, 6, 8, 16)
RNG = np.random.default_rng(0)
COPIES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "the same pixels": lambda x: x,
    "1.3 times as bright": lambda x: x * 1.3,
    "noise of 10 grey values": lambda x: x + RNG.normal(0, 10, x.shape).astype(np.float32),
    "mirrored": lambda x: x[:, :, ::-1],
    "drifted by 6 and 5 px": lambda x: np.roll(x, (6, 5), (1, 2)),
    "cut by 6 px on each side": lambda x: x[:, 6:-6, 6:-6],
}


def main() -> None:
    """Measure a data set and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--every", type=int, default=1)
    words = parser.parse_args()
    dataset = in_memory(open_dataset(words.data))
    samples = dataset.samples[:: words.every]
    print(f"{words.data}: {len(samples)} of {len(dataset)} images\n\nlabels                      judged  flagged")
    flagged: defaultdict[str, list[bool]] = defaultdict(list)
    for name, found in misaligned(samples):
        flagged[name].append(found)
    for name, found in flagged.items():
        print(f"{name:<26}{len(found):>8}{100 * np.mean(found):>8.1f}%")
    print("\ncopies                        made    found")
    known = [facts(place, sample) for place, sample in enumerate(dataset.samples)]
    print(f"{'none (pairs among all)':<26}{'':>8}{sum(1 for _ in find_duplicates(known)):>8}")
    for name, change in COPIES.items():
        found = [copy_found(known, place, change, dataset) for place in range(0, len(known), words.every)]
        print(f"{name:<26}{len(found):>8}{100 * np.mean(found):>8.1f}%")


def misaligned(samples: tuple[Sample, ...]) -> Iterator[tuple[str, bool]]:
    """Yield what was done to the labels of an image, and whether they were flagged."""
    for place, sample in enumerate(samples):
        ids = instances_of(sample)
        yield "as they are", is_flagged(sample, ids)
        for pixels in SHIFTS:
            angle = RNG.uniform(0, 2 * np.pi)
            down, right = round(pixels * np.sin(angle)), round(pixels * np.cos(angle))
            yield f"shifted by {pixels} px", is_flagged(sample, Correction(AS_IT_IS, down, right).apply(ids))
        for turn in list(SYMMETRIES.values())[1:]:
            if turn(ids).shape == ids.shape:
                yield "flipped or turned", is_flagged(sample, np.ascontiguousarray(turn(ids)))
        others = [one for one in samples[place + 1 :] if one.pixels.shape == sample.pixels.shape]
        if others:
            yield "another image's (misfit)", is_flagged(sample, instances_of(others[0]), misfit=True)


def is_flagged(sample: Sample, ids: NDArray[np.int32], *, misfit: bool = False) -> bool:
    """Tell whether the checks would name a correction; or, of a misfit, would say that labels do not fit."""
    found = agreement(sample.pixels, ids)
    return found is not None and (not found.fits if misfit else found.correction is not None)


def facts(place: int, sample: Sample) -> ImageFacts:
    """Look at an image without its labels."""
    return image_facts(place, Sample(sample.name, sample.pixels), classes=0, closely=True, align=False)


def copy_found(
    known: list[ImageFacts], place: int, change: Callable[[NDArray[np.float32]], NDArray[np.float32]], dataset: InMemory
) -> bool:
    """Tell whether a changed copy of an image is found to be its duplicate."""
    stored = dataset[place].pixels
    pixels = change(stored.astype(np.float32)).clip(0, np.iinfo(stored.dtype).max).round().astype(stored.dtype)
    copy = facts(len(known), Sample("copy", pixels))
    return any(True for _ in find_duplicates([known[place], copy]))


if __name__ == "__main__":
    main()
