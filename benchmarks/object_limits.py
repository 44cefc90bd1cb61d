"""What limits the scores of objects: each kind of image by itself, and with the truth in the place of one part.

    python benchmarks/object_limits.py RUN [--append-record]

The held-out images of a run are predicted once, and their objects made in four ways: as they come; with the true
foreground, so that only the separation is the network's; with one seed inside every true object, so that only the
foreground is; and with the threshold of the foreground that is best for each image, as if one knew how generously its
labels were drawn. What the truth does not mend, the other part or the labels limit. Kinds are told by the pixels:
colour, grey with bright objects (fluorescence), grey with dark ones. Means over images, as the Data Science Bowl scores
them.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import unetkit
from measure import append_record, circumstances
from nuclei import held_out
from unetkit.data import Sample, samples_of
from unetkit.devices import cpu_threads
from unetkit.metrics.objects import Overlaps, mean_precision, object_scores
from unetkit.objects import ObjectMap, find_objects, true_objects
from unetkit.objects.find import grown, renumbered
from unetkit.prediction import Predictor
from unetkit.run import open_run

SHOWN = ("mean_precision", "ap_50", "ap_75", "sq", "aji")
_COLOURED = 0.03  # mean difference of channels, of the largest value
_INNER = 0.7  # of an object's depth: what is deeper is its seed

Make = Callable[[Predictor, NDArray[np.float32], ObjectMap], ObjectMap]


def kind_of(sample: Sample) -> str:
    """Return the kind of an image [C, H, W] by its colours, and by which of object and background is brighter."""
    pixels = sample.pixels.astype(np.float32)
    if (pixels.max(axis=0) - pixels.min(axis=0)).mean() > _COLOURED * pixels.max():
        return "colour"
    inside, grey = sample.labels > 0, pixels.mean(axis=0)
    return "grey, bright objects" if grey[inside].mean() > grey[~inside].mean() else "grey, dark objects"


def as_they_come(predictor: Predictor, probabilities: NDArray[np.float32], true: ObjectMap) -> ObjectMap:
    """Return objects as `predict` makes them."""
    return find_objects(probabilities, predictor.classes, predictor.object_config)


def on_true_foreground(predictor: Predictor, probabilities: NDArray[np.float32], true: ObjectMap) -> ObjectMap:
    """Return objects of probabilities [K, H, W] whose background is the true one."""
    limit = 1 - predictor.object_config.threshold
    background = np.where(
        true.ids > 0, probabilities[:1].clip(max=limit - 0.1), probabilities[:1].clip(min=limit + 0.1)
    )
    others = probabilities[1:] * ((1 - background) / probabilities[1:].sum(axis=0, keepdims=True).clip(1e-6))
    return find_objects(np.concatenate([background, others]), predictor.classes, predictor.object_config)


def of_true_seeds(predictor: Predictor, probabilities: NDArray[np.float32], true: ObjectMap) -> ObjectMap:
    """Return objects that grow from the inner parts of the true ones over the network's foreground."""
    foreground = 1 - probabilities[0]
    mask, seeds = foreground > predictor.object_config.threshold, np.zeros_like(true.ids)
    for number, place in enumerate(ndimage.find_objects(true.ids), 1):
        depth = ndimage.distance_transform_edt(np.pad(true.ids[place] == number, 1))[1:-1, 1:-1]
        seeds[place][depth >= _INNER * depth.max()] = number
    ids = grown(mask, seeds * mask, foreground)
    small = np.bincount(ids.ravel()) < predictor.object_config.min_size
    numbers, first = renumbered(np.where(small[ids], 0, ids))
    return ObjectMap(numbers, np.ones(len(first), np.int64), np.ones(len(first), np.float32))


def at_the_best_threshold(predictor: Predictor, probabilities: NDArray[np.float32], true: ObjectMap) -> ObjectMap:
    """Return the objects at whichever of eight thresholds gives them the highest mean precision."""
    config = predictor.object_config
    tries = [
        find_objects(probabilities, predictor.classes, config.model_copy(update={"threshold": tenths / 10}))
        for tenths in range(1, 9)
    ]
    return max(tries, key=lambda found: mean_precision(Overlaps.of(true, found)))


WAYS: dict[str, Make] = {
    "as they come": as_they_come,
    "true foreground": on_true_foreground,
    "true seeds": of_true_seeds,
    "best threshold": at_the_best_threshold,
}


def table(path: Path) -> Iterator[str]:
    """Yield a line for every kind of image and every way."""
    run = open_run(path)
    predictor = unetkit.load(run)
    found: dict[str, dict[str, list[list[float]]]] = {}
    with cpu_threads(None):
        for sample in samples_of(held_out(run)):
            probabilities = predictor.probabilities(sample.pixels)
            true = true_objects(sample.labels, sample.instances, predictor.data_classes)
            for kind in ("all", kind_of(sample)):
                for way, make in WAYS.items():
                    scores = object_scores(Overlaps.of(true, make(predictor, probabilities, true)).count())
                    values = [scores.get(name, 0.0) for name in SHOWN]
                    found.setdefault(kind, {}).setdefault(way, []).append(values)
    yield f"{'images':20} {'count':>5}  {'objects':17}" + "".join(f"{name:>16}" for name in SHOWN)
    for kind, ways in found.items():
        for way, values in ways.items():
            means = "".join(f"{mean:16.4f}" for mean in np.mean(values, axis=0))
            yield f"{kind:20} {len(values):5}  {way:17}{means}"


def main() -> None:
    """Predict, count, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description="what limits the scores of objects")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--append-record", action="store_true", help="add the result to benchmarks/RECORDS.md")
    options = parser.parse_args()
    around = circumstances([], torch.device("cpu"))
    lines = list(table(options.run))
    print("\n".join(lines))
    if options.append_record:
        append_record("What limits objects", around, lines)


if __name__ == "__main__":
    main()
