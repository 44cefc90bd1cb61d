"""Are regions joined better by a learned score of their boundary than by its mean, as `predict.close_gaps` joins them?

    python benchmarks/boundaries.py --data ISBI FOLDER [FOLDER ...] [--append-record]

FOLDER is a cross-validation with `predict.close_gaps=false`, of several the maps are averaged; all have the same folds.
Each slice's probability is cut into the basins that `close_gaps` begins with. Every contour between two basins is
described by what lies along it and by its two regions, in probability and in the image, and a logistic regression,
fitted on the slices of all other folds, tells whether it separates two true objects. Regions are joined in the order of
their mean score along the contour (average linkage). Contours of the joined regions at three levels are examples, too.

The rows are V_Rand and V_Info over all slices: at the best threshold, at that of the other folds, and the difference to
`close_gaps` by the paired bootstrap over blocks of three slices. The first rows tell apart what else changes: membranes
drawn as lines, and how far basins allow to go, joined by the truth. The maps of the other folds come from networks that
were trained on the slices of this one, as is usual where predictions are learned from.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from measure import append_record, circumstances
from unetkit.metrics import IsbiScores, paired_bootstrap, scores_chosen_elsewhere
from unetkit.metrics.isbi import pool_slices, score_slice
from unetkit.objects.contours import basins_of, close_gaps, joining_strengths
from unetkit.objects.find import NEIGHBOURS

LEVELS = (0.15, 0.3, 0.45)
"""Strengths up to which regions are joined to give further examples."""

GROUPS: dict[str, tuple[str, ...]] = {
    "membrane along the contour": ("along membrane",),
    "+ appearance of both regions": ("along membrane", "inside"),
    "+ image along the contour": ("along membrane", "inside", "along image"),
    "+ size and shape": ("along membrane", "inside", "along image", "shape"),
}
"""What rows of the table learn from: the groups of `features`."""

_Values = NDArray[np.float64]
_Truths = Sequence[tuple[NDArray[np.bool_], _Values]]


class Graph:
    """The regions of a slice and the contours between them.

    Attributes:
        regions: [H, W] from 0 without gaps.
        count: how many regions there are.
        pixels: [2, P] pixels on both sides of a contour.
        of_pair: [P] the contour that they belong to.
        sides: [2, E] the two regions that each contour separates.
        lengths: [E] in pairs of pixels.
    """

    def __init__(self, regions: NDArray[np.integer]) -> None:
        """Find the contours of regions [H, W]."""
        self.regions = np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
        self.count = int(self.regions.max()) + 1
        places = np.arange(regions.size).reshape(regions.shape)
        differ = [(one, other, self.regions[one] != self.regions[other]) for one, other in NEIGHBOURS]
        self.pixels = np.concatenate(
            [np.stack([places[one][apart], places[other][apart]]) for one, other, apart in differ], axis=1
        )
        low_P, high_P = np.sort(self.regions.ravel()[self.pixels], axis=0)
        keys, self.of_pair = np.unique(low_P * self.count + high_P, return_inverse=True)
        self.sides = np.stack(np.divmod(keys, self.count))
        self.lengths = np.bincount(self.of_pair)

    def along(self, plane: NDArray[np.floating], shares: Sequence[float], take: np.ufunc = np.maximum) -> list[_Values]:
        """Return the mean [E] along each contour, and the quantiles, of the higher one (or `take`) of both pixels."""
        values_P = take(*plane.ravel()[self.pixels]).astype(np.float64)
        mean_E = np.bincount(self.of_pair, values_P) / self.lengths
        ordered = values_P[np.lexsort((values_P, self.of_pair))]
        starts = np.cumsum(self.lengths) - self.lengths
        return [mean_E, *(ordered[starts + np.round(share * (self.lengths - 1)).astype(int)] for share in shares)]

    def joined(self, strengths: _Values, level: float) -> "Graph":
        """Return the graph of regions that are one up to a strength."""
        ones, others = self.sides[:, strengths < level]
        joins = coo_array((np.ones(len(ones)), (ones, others)), (self.count, self.count))
        return Graph(connected_components(joins, directed=False)[1][self.regions])

    def strengths(self, heights: _Values) -> _Values:
        """Return the strength [E] at which both sides of each contour become one, by mean heights [E]."""
        return joining_strengths(self.sides, heights * self.lengths, self.lengths)


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice with what is known of it.

    Attributes:
        fold: that holds it out.
        image: [H, W] with mean 0 and standard deviation 1.
        walls: [H, W] the probability of membrane, out of fold.
        truth: [H, W] true objects from 1, 0 membrane.
        basins: the graph that joining begins with.
    """

    fold: int
    image: NDArray[np.float32]
    walls: NDArray[np.float32]
    truth: NDArray[np.int32]
    basins: Graph

    def examples(self) -> list[Graph]:
        """Return the basins, and what they are joined to at each of the `LEVELS` by the membrane's mean."""
        strengths = self.basins.strengths(self.basins.along(self.walls, ())[0])
        return [self.basins, *(self.basins.joined(strengths, level) for level in LEVELS)]

    def lines(self, heights: _Values) -> NDArray[np.float32]:
        """Return the probability of interior [H, W]: 1, and on each contour of basins 1 less its strength."""
        pixels, walls = self.basins.pixels, ndimage.gaussian_filter(self.walls, 1).ravel()
        drawn = np.zeros(walls.shape, np.float32)
        places = np.where(walls[pixels[0]] >= walls[pixels[1]], *pixels)
        np.maximum.at(drawn, places, self.basins.strengths(heights)[self.basins.of_pair].astype(np.float32))
        return (1 - drawn.reshape(self.walls.shape)).clip(0, 1)


def slices_of(data: Path, folders: Sequence[Path]) -> list[Slice]:
    """Read the stack, and the mean of the maps of cross-validations."""
    images, labels = (tifffile.imread(data / f"train-{name}.tif") for name in ("volume", "labels"))
    interior = np.mean([tifffile.imread(folder / "out-of-fold.tif") for folder in folders], axis=0, dtype=np.float32)
    held_out: list[list[int]] = json.loads((folders[0] / "crossval.json").read_text())["held_out"]
    fold_of = {index: fold for fold, held in enumerate(held_out) for index in held}
    found = list[Slice]()
    for index, (image, label, inside) in enumerate(zip(images, labels, interior, strict=True)):
        walls, truth = 1 - inside, ndimage.label(label > 0)[0]
        basins = Graph(basins_of(ndimage.gaussian_filter(walls, 2)))
        found.append(Slice(fold_of[index], (image - image.mean()) / image.std(), walls, truth, basins))
    return found


def features(graph: Graph, one: Slice) -> dict[str, list[_Values]]:
    """Return what describes each contour [E], by the groups that `GROUPS` names."""
    areas = np.bincount(graph.regions.ravel()).astype(np.float64)

    def inside(plane: NDArray[np.floating]) -> _Values:
        return np.bincount(graph.regions.ravel(), plane.ravel()) / areas

    def both(values: _Values) -> list[_Values]:
        """Return the lower and the higher value of the two regions of each contour."""
        return list(np.sort(values[graph.sides], axis=0))

    wide, smooth = ndimage.gaussian_filter(one.walls, 4), ndimage.gaussian_filter(one.image, 1)
    around = np.bincount(graph.sides.ravel(), np.tile(graph.lengths, 2))
    dark = graph.along(smooth, (0.1, 0.5, 0.9), np.minimum)
    means, spreads = inside(one.image), np.sqrt(inside(one.image**2) - inside(one.image) ** 2)
    logits = np.log((one.walls + 1e-3) / (1 - one.walls + 1e-3))
    return {
        "along membrane": [
            *graph.along(one.walls, (0.1, 0.25, 0.5, 0.75, 0.9)),
            *graph.along(logits, ()),
            *graph.along(wide, (0.0,)),
        ],
        "inside": [
            *both(inside(one.walls)),
            *both(means),
            abs(np.subtract(*means[graph.sides])),
            abs(np.subtract(*spreads[graph.sides])),
            dark[0] - both(means)[0],
        ],
        "along image": dark,
        "shape": [
            np.log(graph.lengths),
            *both(np.log(areas)),
            *np.sort(graph.lengths / around[graph.sides], axis=0),
        ],
    }


def truth_of(graph: Graph, one: Slice) -> tuple[NDArray[np.bool_], _Values]:
    """Return whether each contour separates two true objects [E], and the weight [E] of that as an example.

    A region is of the object that most of its pixels are of. It counts less where these are not all, and nothing where
    it is membrane nearly as a whole; large regions count more than small ones.
    """
    width = int(one.truth.max()) + 1
    codes = graph.regions.ravel() * width + one.truth.ravel()
    table = np.bincount(codes, minlength=graph.count * width).reshape(graph.count, width)
    inside, areas = table[:, 1:].sum(1), table.sum(1)
    purity = np.where(inside > 0.2 * areas, table[:, 1:].max(1) / np.maximum(1, inside), 0)
    owner = table[:, 1:].argmax(1)
    apart = owner[graph.sides[0]] != owner[graph.sides[1]]
    return apart, purity[graph.sides].prod(0) * np.sqrt(inside[graph.sides].min(0))


def learned(folds: Sequence[int], truths: Sequence[_Truths], described: Sequence[Sequence[_Values]]) -> list[_Values]:
    """Return the score [E] of the contours of each slice's basins, learned on the slices of all other folds.

    Args:
        folds: the fold of each slice.
        truths: of each slice, for each of its `examples`.
        described: likewise, [E, F].
    """
    models = dict[int, Any]()
    for fold in set(folds):
        others = [index for index, its in enumerate(folds) if its != fold]
        inputs = np.concatenate([rows for index in others for rows in described[index]])
        apart, weights = (np.concatenate([pair[k] for index in others for pair in truths[index]]) for k in (0, 1))
        used = weights > 0
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        share = weights[used] / weights[used].mean()
        models[fold] = model.fit(inputs[used], apart[used], logisticregression__sample_weight=share)
    return [models[fold].predict_proba(rows[0])[:, 1] for fold, rows in zip(folds, described, strict=True)]


def table(slices: Sequence[Slice]) -> list[str]:
    """Return the rows of the table in Markdown."""
    rows = [
        "| | V_Rand | V_Info | V_Rand - that of close_gaps | V_Info - that of close_gaps |",
        "|---|---|---|---|---|",
    ]
    folds, shown = [one.fold for one in slices], list[IsbiScores]()  # the first is that of close_gaps

    def add(name: str, interior: Callable[[int, Slice], NDArray[np.float32]]) -> None:
        parts = [score_slice(one.truth, interior(index, one), warping=False) for index, one in enumerate(slices)]
        scores, elsewhere = pool_slices(parts), scores_chosen_elsewhere(parts, folds)
        cells = list[str]()
        for metric in ("v_rand_thinned", "v_info_thinned"):
            best = scores.chosen()[metric]
            other = elsewhere[f"{metric}_other_folds"]
            cells.append(f"{best.value:.4f} at {best.threshold:.1f}, {other:.4f} by other folds")
        for metric in ("v_rand_thinned", "v_info_thinned") if shown else ():
            ours, theirs = (each.chosen()[metric].slices for each in (scores, shown[0]))
            gain = paired_bootstrap(ours, theirs, block=3)
            cells.append(f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
        cells += [""] * (4 - len(cells))
        rows.append(f"| {name} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
        shown.append(scores)

    add("close_gaps", lambda _, one: (1 - close_gaps(one.walls)).clip(0, 1))
    add("gaps open", lambda _, one: 1 - one.walls)
    add("close_gaps, lines alone", lambda _, one: one.lines(one.basins.along(one.walls, ())[0]))
    add("basins joined by the truth", lambda _, one: one.lines(truth_of(one.basins, one)[0].astype(np.float64)))
    graphs = [one.examples() for one in slices]
    truths = [[truth_of(graph, one) for graph in its] for its, one in zip(graphs, slices, strict=True)]
    described = [[features(graph, one) for graph in its] for its, one in zip(graphs, slices, strict=True)]
    for name, groups in GROUPS.items():
        inputs = [
            [np.stack([row for group in groups for row in found[group]], 1) for found in its] for its in described
        ]
        scores = learned(folds, truths, inputs)
        add(f"learned: {name}", lambda index, one, scores=scores: one.lines(scores[index]))
    return rows


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--append-record", action="store_true")
    asked = parser.parse_args()
    around = circumstances(("torch", "numpy", "scipy", "scikit-learn"), torch.device("cpu"))
    rows = table(slices_of(asked.data, asked.folders))
    if asked.append_record:
        maps = " and ".join(folder.name for folder in asked.folders)
        append_record(f"Boundaries learned on the maps of {maps}", around, rows)


if __name__ == "__main__":
    main()
