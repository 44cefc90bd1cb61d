"""Scores of objects against definitions written out pair by pair, and against COCO's own evaluation."""

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage, spatial

from unetkit.errors import DataError
from unetkit.metrics import DEFINITIONS, definition_of
from unetkit.metrics.objects import (
    ObjectCounts,
    Overlaps,
    added,
    counting,
    hausdorff_sums,
    object_scores,
    pool_objects,
)
from unetkit.objects import ObjectMap, true_objects

TWO = ("background", "cell")
THRESHOLDS = [Fraction(k, 20) for k in range(10, 20)]


def objects_of(ids: NDArray[Any], kinds: dict[int, int] | None = None) -> ObjectMap:
    labels = np.zeros_like(ids) if kinds is None else np.vectorize(lambda i: kinds.get(i, 0))(ids)
    classes = TWO if kinds is None else ("background", *(f"class {kind}" for kind in range(1, 4)))
    return true_objects(labels, ids.astype(np.int32), classes)


def count(true: NDArray[Any], found: NDArray[Any]) -> ObjectCounts:
    return Overlaps.of(objects_of(true), objects_of(found)).count()


def masks_of(objects: ObjectMap) -> list[tuple[set[int], int]]:
    """Return every object as the set of its pixels, and its class."""
    flat = objects.ids.ravel()
    return [(set(np.flatnonzero(flat == n + 1).tolist()), int(objects.classes[n])) for n in range(len(objects))]


def written_out(true: ObjectMap, found: ObjectMap) -> dict[str, float]:
    """Every score by its definition, with exact fractions, pair by pair."""
    truth, predicted = masks_of(true), masks_of(found)

    def iou(g: tuple[set[int], int], s: tuple[set[int], int]) -> Fraction:
        return Fraction(len(g[0] & s[0]), len(g[0] | s[0])) if g[1] == s[1] else Fraction(0)

    if not truth and not predicted:
        return {}
    precision = []
    for t in THRESHOLDS:
        tp = sum(iou(g, s) > t for g in truth for s in predicted)
        precision.append(Fraction(tp, len(truth) + len(predicted) - tp))
    pairs = [value for g in truth for s in predicted if (value := iou(g, s)) > Fraction(1, 2)]
    fp, fn = len(predicted) - len(pairs), len(truth) - len(pairs)
    scores = {
        "mean_precision": sum(precision) / 10,
        "ap_50": precision[0],
        "ap_75": precision[5],
        "f1_50": Fraction(2 * len(pairs), 2 * len(pairs) + fp + fn),
        "pq": sum(pairs, Fraction(0)) / (len(pairs) + Fraction(fp, 2) + Fraction(fn, 2)),
        "rq": len(pairs) / (len(pairs) + Fraction(fp, 2) + Fraction(fn, 2)),
        **({"sq": sum(pairs, Fraction(0)) / len(pairs)} if pairs else {}),
    }
    shared, joined, used = 0, 0, set[int]()
    for g in truth:
        best = max(range(len(predicted)), key=lambda n: (iou(g, predicted[n]), -n), default=None)
        if best is None or iou(g, predicted[best]) == 0:
            joined += len(g[0])
            continue
        shared += len(g[0] & predicted[best][0])
        joined += len(g[0] | predicted[best][0])
        used.add(best)
    joined += sum(len(s[0]) for n, s in enumerate(predicted) if n not in used)
    scores |= {"aji": Fraction(shared, joined), "object_dice": object_dice(truth, predicted)}
    return {name: float(value) for name, value in scores.items()}


def object_dice(truth: list[tuple[set[int], int]], predicted: list[tuple[set[int], int]]) -> Fraction:
    """Every object's Dice with the one that shares most pixels with it, weighted by its pixels."""

    def of_side(ours: list[tuple[set[int], int]], others: list[tuple[set[int], int]]) -> Fraction:
        total = Fraction(0)
        for pixels, kind in ours:
            best: set[int] = max((o for o, k in others if k == kind), key=lambda o: len(o & pixels), default=set())
            total += len(pixels) * Fraction(2 * len(best & pixels), len(best) + len(pixels))
        return total / sum(len(pixels) for pixels, _ in ours)

    sides = [of_side(*pair) for pair in ((truth, predicted), (predicted, truth)) if pair[0]]
    return sum(sides, Fraction(0)) / len(sides)


SIZE = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
PAIR = SIZE.flatmap(lambda size: st.tuples(*[hnp.arrays(np.int32, size, elements=st.integers(0, 4))] * 2))


@settings(max_examples=200, deadline=None)
@given(PAIR)
def test_scores_are_the_definitions_written_out(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    true, found = map(objects_of, pair)
    assert object_scores(Overlaps.of(true, found).count()) == pytest.approx(written_out(true, found), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(PAIR, st.lists(st.integers(1, 3), min_size=10, max_size=10))
def test_a_pair_of_different_classes_is_no_pair(pair: tuple[NDArray[Any], NDArray[Any]], kinds: list[int]) -> None:
    true = objects_of(pair[0], dict(zip(range(1, 5), kinds, strict=False)))
    found = objects_of(pair[1], dict(zip(range(1, 5), kinds[5:], strict=False)))
    assert object_scores(Overlaps.of(true, found).count()) == pytest.approx(written_out(true, found), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(PAIR, st.sets(st.integers(1, 4)))
def test_dropping_predicted_objects_is_like_never_having_found_them(
    pair: tuple[NDArray[Any], NDArray[Any]], dropped: set[int]
) -> None:
    true, found = map(objects_of, pair)
    gone = np.array([number + 1 in dropped for number in range(len(found))], bool)
    left = objects_of(np.where(np.isin(found.ids, list(dropped)), 0, found.ids))
    ours, fresh = Overlaps.of(true, found).without(gone).count(), Overlaps.of(true, left).count()
    assert ours.as_json() == fresh.as_json()
    assert object_scores(ours) == pytest.approx(object_scores(fresh))


def test_the_example_of_the_competition() -> None:
    """One object of three is outlined at IoU .7 (a hit up to .65), one at .54, one is missed, one is invented."""
    true, found = np.zeros((4, 100), int), np.zeros((4, 100), int)
    true[0, :100], found[0, :70] = 1, 1
    true[1, :100], found[1, :54] = 2, 2
    true[2, :10], found[3, :10] = 3, 3
    scores = object_scores(count(true, found))
    # TP 2, FN 1, FP 1 at .5; TP 1, FN 2, FP 2 at .55 .. .65; IoU above the threshold, so .7 itself is no hit.
    assert scores["mean_precision"] == pytest.approx((2 / 4 + 3 * 1 / 5) / 10)
    assert scores["ap_50"] == 0.5
    assert scores["sq"] == pytest.approx((0.7 + 0.54) / 2)


def test_equal_to_the_threshold_is_no_hit() -> None:
    true, found = np.ones((1, 20), int), np.zeros((1, 20), int)
    for pixels, hits in ((10, 0), (11, 1), (12, 2), (15, 5), (19, 9), (20, 10)):
        found[0, :pixels] = 1
        assert count(true, found).matched.sum() == hits


def test_the_best_partner_of_aji_may_be_used_twice() -> None:
    true, found = np.array([[1, 1, 1, 2, 2, 2]]), np.array([[1, 1, 1, 1, 1, 1]])
    assert object_scores(count(true, found))["aji"] == pytest.approx((3 + 3) / (6 + 6))


def test_splits_and_merges_are_counted() -> None:
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 3, 3, 0, 4, 4]])
    found = np.array([[1, 1, 2, 2, 0, 3, 3, 3, 3, 0, 4, 4]])
    counts = count(true, found).as_json()
    assert counts == {"true": 4, "predicted": 4, "matched_50": 1, "split": 1, "merged": 1}


def test_images_without_objects() -> None:
    none, some = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert object_scores(count(none, none)) == {}
    for true, found in ((none, some), (some, none)):
        scores = object_scores(count(true, found))
        assert set(scores) == {"mean_precision", "ap_50", "ap_75", "f1_50", "pq", "rq", "aji", "object_dice"}
        assert set(scores.values()) == {0.0}
    perfect = object_scores(count(some, some))
    assert set(perfect.values()) == {1.0}
    images = [count(none, none), count(none, some), count(some, some)]
    pooled = pool_objects(images)
    assert pooled["mean_precision"] == pooled["aji"] == pooled["pq_per_image"] == 0.5  # the empty image is left out
    assert pooled["f1_50"] == pytest.approx(2 / 3)
    assert pooled["sq_per_image"] == pooled["sq"] == 1.0
    assert pool_objects([count(none, none)]) == {}


def test_sets_are_pooled_by_counts_and_by_images() -> None:
    easy, hard = np.arange(1, 10).reshape(3, 3), np.ones((3, 3), int)
    images = [count(easy, easy), count(hard, easy)]
    pooled = pool_objects(images)
    assert pooled["mean_precision"] == pytest.approx((1 + 0) / 2)
    assert pooled["ap_50"] == pytest.approx(9 / (9 + 9 + 1))
    assert pooled["ap_50_per_image"] == pytest.approx((1 + 0) / 2)
    assert added(images).as_json()["true"] == 10


def test_every_score_has_a_card() -> None:
    ids = ndimage.label(np.random.default_rng(0).random((20, 20)) > 0.6)[0]
    pooled = pool_objects([count(ids, ids)])
    for name, value in pooled.items():
        card = definition_of(name)
        assert card.name == name
        assert card.low <= value <= card.high
        assert json.loads(json.dumps(asdict(card)))["formula"]
        assert ("mean over images" in card.averaging) == (name in ("mean_precision", "aji") or "_per_image" in name)
    assert set(pooled) <= set(DEFINITIONS)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match=r"objects in \(3, 3\) pixels and true ones in \(2, 3\)"):
        count(np.ones((2, 3), int), np.ones((3, 3), int))


def test_hits_are_those_of_the_evaluation_of_coco() -> None:
    coco_module, eval_module = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    pairs = [_disturbed(seed) for seed in (1, 3, 4, 5)]
    truth, results = _as_coco([true for true, _ in pairs]), _as_coco([found for _, found in pairs])
    coco = coco_module.COCO()
    coco.dataset = truth
    coco.createIndex()
    scored = [one | {"score": 1 / (1 + place)} for place, one in enumerate(results["annotations"])]
    evaluation = eval_module.COCOeval(coco, coco.loadRes(scored), "segm")
    evaluation.params.areaRng = [[0, 1e9]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [1000]
    evaluation.evaluate()
    for image, (true, found) in zip(evaluation.evalImgs, pairs, strict=True):
        ours = count(true, found)
        assert (image["dtMatches"] > 0).sum(axis=1).tolist() == ours.matched.tolist()
        assert len(image["gtIds"]) == ours.true
        assert len(image["dtIds"]) == ours.predicted
        assert 0 < ours.matched[2] < ours.matched[0] < ours.true


def _disturbed(seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return objects, and the same with moved edges, some missing.

    They are large enough that no IoU is just a threshold, which COCO's evaluation takes for a hit.
    """
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((2, 160, 190)), (0, 5, 5))
    drawn = [ndimage.label(each > 0.015)[0] for each in (field[0], field[0] + 0.4 * field[1])]
    true, found = (np.where(np.bincount(ids.ravel())[ids] > 40, ids, 0) for ids in drawn)
    return true, found


def _as_coco(images: list[NDArray[Any]]) -> dict[str, Any]:
    mask = pytest.importorskip("pycocotools.mask")
    annotations: list[dict[str, Any]] = []
    for image, ids in enumerate(images, 1):
        for number in np.unique(ids[ids > 0]):
            runs = mask.encode(np.asfortranarray(ids == number).astype(np.uint8))
            about = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            annotations.append(about | {"segmentation": runs, "area": int(mask.area(runs)), "bbox": [0, 0, 1, 1]})
    listed = [{"id": n, "height": ids.shape[0], "width": ids.shape[1]} for n, ids in enumerate(images, 1)]
    return {"images": listed, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}], "info": {}}


@pytest.mark.parametrize("seed", range(8))
def test_object_hausdorff_is_its_definition_written_out(seed: int) -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((2, 40, 50)), (0, 2.5, 2.5))
    ids = [ndimage.label(one > 0.06 + 0.03 * (seed % 3))[0] for one in (field[0], field[0] + 0.2 * seed * field[1])]
    true, found = map(objects_of, ids)
    places = [[np.argwhere(one.ids == n + 1) for n in range(len(one))] for one in (true, found)]

    def of_side(ours: list[NDArray[Any]], others: list[NDArray[Any]]) -> float:
        total = 0.0
        for one in ours:
            mine = set(map(tuple, one))
            common = [len(mine & set(map(tuple, other))) for other in others]
            far = [max(spatial.distance.directed_hausdorff(*pair)[0] for pair in ((one, o), (o, one))) for o in others]
            total += len(one) * (far[int(np.argmax(common))] if max(common) else min(far))
        return total / sum(map(len, ours))

    overlaps = Overlaps.of(true, found)
    score = object_scores(overlaps.count(hausdorff_sums(true, found, overlaps)))["object_hausdorff"]
    assert score == pytest.approx((of_side(places[0], places[1]) + of_side(places[1], places[0])) / 2)


def test_objects_without_another_side_are_as_far_as_the_image_is_large() -> None:
    none, some = objects_of(np.zeros((4, 5), int)), objects_of(np.eye(4, 5, dtype=int))
    for true, found in ((none, some), (some, none)):
        overlaps = Overlaps.of(true, found)
        assert object_scores(overlaps.count(hausdorff_sums(true, found, overlaps)))["object_hausdorff"] == 5


def test_objects_at_the_edge_of_a_region_are_cut_or_left_out_on_both_sides() -> None:
    valid = np.zeros((3, 20), bool)
    valid[:, 10:] = True
    true, found = np.zeros((3, 20), int), np.zeros((3, 20), int)
    true[0, 8:16], found[0, 4:16] = 1, 1  # mostly inside: cut, and equal inside
    true[1, 10:12], found[1, 2:12] = 2, 2  # the truth ends at the edge, the prediction lies mostly beyond: no miss
    found[2, 0:9] = 3  # wholly outside
    true[2, 15:18] = 3
    counts = Overlaps.of(*counting(objects_of(true), objects_of(found), valid)).count()
    assert (counts.true, counts.predicted) == (2, 1)
    assert counts.matched.tolist() == [1] * 10
