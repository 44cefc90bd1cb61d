import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from unetkit.errors import ConfigError, DataError
from unetkit.metrics import DEFINITIONS, better, definition_of, legacy_scores, pool, score_image, soft_dice
from unetkit.metrics.definitions import CLASS, find_definition, means_of_each
from unetkit.metrics.overlap import class_labels, hard_scores

TWO = ("membrane", "interior")
THREE = ("background", "cell", "border")


def draw(seed: int, classes: int, size: tuple[int, int] = (13, 17)) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(classes, *size)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(0)
    return probabilities.astype(np.float32), generator.integers(0, classes, size).astype(np.uint8)


def one_hot(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    return np.stack([labels == k for k in range(classes)]).astype(np.float32)


@pytest.mark.parametrize("classes", [TWO, THREE])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hard_scores_of_an_image_agree_with_scikit_learn(classes: tuple[str, ...], seed: int) -> None:
    probabilities, labels = draw(seed, len(classes))
    scores = score_image(probabilities, labels, classes=classes).scores
    truth, found = labels.ravel(), probabilities.argmax(0).ravel()
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(truth, found), abs=1e-12)
    for kind, oracle in (("dice", f1_score), ("iou", jaccard_score)):
        each = oracle(truth, found, average=None)
        assert [scores[f"{kind}_{name}"] for name in classes] == pytest.approx(list(each), abs=1e-12)
        assert scores[f"mean_{kind}"] == pytest.approx(oracle(truth, found, average="macro"), abs=1e-12)


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_pooled_scores_agree_with_torchmetrics_on_all_pixels_together(classes: tuple[str, ...]) -> None:
    drawn = [draw(seed, len(classes), (5 + seed, 9)) for seed in range(4)]
    scores = pool([score_image(p, y, classes=classes) for p, y in drawn], classes)
    found = torch.cat([torch.from_numpy(p.argmax(0).ravel()) for p, _ in drawn])
    truth = torch.cat([torch.from_numpy(y.ravel().astype(np.int64)) for _, y in drawn])
    k = len(classes)
    assert scores["pixel_accuracy"] == pytest.approx(float(multiclass_accuracy(found, truth, k, average="micro")))
    assert scores["mean_dice"] == pytest.approx(float(multiclass_f1_score(found, truth, k, average="macro")))
    assert scores["mean_iou"] == pytest.approx(float(multiclass_jaccard_index(found, truth, k, average="macro")))


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_counts_have_truth_in_rows_and_prediction_in_columns(classes: tuple[str, ...]) -> None:
    probabilities, labels = draw(7, len(classes))
    counts = score_image(probabilities, labels, classes=classes).confusion
    found = probabilities.argmax(0)
    assert counts.tolist() == confusion_matrix(labels.ravel(), found.ravel()).tolist()
    oracle = multiclass_confusion_matrix(torch.from_numpy(found), torch.from_numpy(labels).long(), len(classes))
    assert counts.tolist() == oracle.tolist()


def test_scores_of_the_set_and_means_over_images_are_two_things() -> None:
    large, small = np.zeros((10, 10), np.uint8), np.zeros((1, 2), np.uint8)
    small[0, 0] = 1
    images = [
        score_image(one_hot(large, 2), large, classes=TWO),  # all right, 100 pixels
        score_image(one_hot(1 - small, 2), small, classes=TWO),  # all wrong, 2 pixels
    ]
    scores = pool(images, TWO)
    assert scores["pixel_accuracy"] == pytest.approx(100 / 102)
    assert scores["pixel_accuracy_per_image"] == pytest.approx(0.5)
    assert scores["dice_membrane"] == pytest.approx(200 / 202)
    assert scores["dice_membrane_per_image"] == pytest.approx(0.5)
    assert scores["iou_membrane"] == pytest.approx(100 / 102)
    # Only the small image has interior, and the large one's mean is over the class that it has.
    assert scores["dice_interior_per_image"] == 0.0
    assert scores["mean_dice_per_image"] == pytest.approx((1.0 + 0.0) / 2)
    assert scores["mean_dice"] == pytest.approx((200 / 202 + 0.0) / 2)


def test_a_class_that_is_nowhere_is_left_out_and_one_only_predicted_scores_zero() -> None:
    labels = np.zeros((4, 4), np.uint8)
    labels[0] = 1
    nowhere = score_image(one_hot(labels, 3), labels, classes=THREE).scores
    assert "dice_border" not in nowhere
    assert "iou_border" not in nowhere
    assert nowhere["mean_dice"] == nowhere["mean_iou"] == 1.0
    found = labels.copy()
    found[3, 3] = 2
    predicted = score_image(one_hot(found, 3), labels, classes=THREE).scores
    assert predicted["dice_border"] == predicted["iou_border"] == 0.0
    assert predicted["mean_iou"] == pytest.approx((11 / 12 + 1 + 0) / 3)
    # scikit-learn and torchmetrics follow the same rule for the mean.
    assert predicted["mean_iou"] == pytest.approx(jaccard_score(labels.ravel(), found.ravel(), average="macro"))


def test_absent_class_rule_of_the_mean_agrees_with_torchmetrics() -> None:
    labels = np.array([[0, 0, 1, 1]], np.uint8)
    found = np.array([[0, 1, 1, 1]], np.uint8)
    oracle = multiclass_jaccard_index(torch.from_numpy(found), torch.from_numpy(labels).long(), 3, average="macro")
    assert score_image(one_hot(found, 3), labels, classes=THREE).scores["mean_iou"] == pytest.approx(float(oracle))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_soft_dice_is_the_founding_formula_written_out(classes: int) -> None:
    p, labels = draw(classes, classes)
    y = one_hot(labels, classes).astype(np.float64)
    exact = p.astype(np.float64)
    expected = 2 * (exact * y).sum() / ((exact**2).sum() + (y**2).sum() + 1e-6)
    assert soft_dice(p, labels) == pytest.approx(expected, abs=1e-14)
    both = legacy_scores(p, labels, suffix="_388")
    assert both["soft_dice_two_class_388"] == pytest.approx(expected, abs=1e-14)
    intersection = (exact * y).sum()
    assert both["soft_iou_two_class_388"] == pytest.approx(
        intersection / ((exact**2).sum() + (y**2).sum() - intersection), abs=1e-6
    )


def test_soft_dice_accumulates_in_double_precision() -> None:
    p = np.full((2, 2048, 2048), 0.1, np.float32)
    labels = np.zeros((2048, 2048), np.uint8)
    tenth = float(np.float32(0.1))
    assert soft_dice(p, labels) == pytest.approx(2 * tenth / (2 * tenth**2 + 1), abs=1e-10)


def test_scores_that_do_not_follow_from_counts_are_averaged_over_the_images_that_have_them() -> None:
    images = [score_image(*draw(seed, 2), classes=TWO, name=str(seed)) for seed in range(3)]
    scores = pool(images, TWO)
    assert means_of_each([{"soft_dice_two_class_388": 0.5}, {}, {}]) == {"soft_dice_two_class_388": 0.5}
    assert scores["soft_dice_two_class"] == pytest.approx(np.mean([i.scores["soft_dice_two_class"] for i in images]))
    assert "soft_dice_two_class_per_image" not in scores
    assert "soft_dice_two_class_388" not in images[0].scores


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 6), st.integers(1, 6))
def test_every_score_has_a_card_and_lies_in_its_range(seed: int, k: int, height: int, width: int) -> None:
    classes = THREE[:k] if k <= 3 else (*THREE, "nucleus")
    p, labels = draw(seed, k, (height, width))
    scores = pool([score_image(p, labels, classes=classes)], classes) | legacy_scores(p, labels)
    for name, value in scores.items():
        card = definition_of(name)
        assert card.name == name
        assert card.low <= value <= card.high
    perfect = pool([score_image(one_hot(labels, k), labels, classes=classes)], classes)
    perfect |= legacy_scores(one_hot(labels, k), labels)
    # The legacy formula has nothing to divide by where an image has no foreground.
    assert perfect.pop("soft_cross_entropy") == 0.0
    expected = {name: 1.0 if labels.any() or "foreground" not in name else 0.0 for name in perfect}
    assert perfect == pytest.approx(expected, abs=1e-5)


def test_the_first_of_equal_probabilities_wins() -> None:
    for k in (2, 3):
        labels = np.zeros((3, 3), np.uint8)
        equal = np.full((k, 3, 3), 1 / k, np.float32)
        assert score_image(equal, labels, classes=THREE[:k]).scores["pixel_accuracy"] == 1.0


def test_one_class_only_in_the_set() -> None:
    assert hard_scores(np.array([[4, 0], [0, 0]]), TWO) == {
        "pixel_accuracy": 1.0,
        "mean_dice": 1.0,
        "dice_membrane": 1.0,
        "mean_iou": 1.0,
        "iou_membrane": 1.0,
    }


@pytest.mark.parametrize(
    ("shape", "label_shape", "highest", "expected"),
    [
        ((2, 4, 4), (4, 5), 1, r"cell_3: probabilities of shape \(2, 4, 4\) do not fit 2 classes"),
        ((3, 4, 4), (4, 4), 1, r"cell_3: probabilities of shape \(3, 4, 4\) do not fit 2 classes"),
        ((2, 4, 4), (4, 4), 255, r"cell_3: labels from 0 to 255, but there are 2 classes; give indices from 0 to 1"),
    ],
)
def test_misfits_are_refused_in_one_line(
    shape: tuple[int, ...], label_shape: tuple[int, ...], highest: int, expected: str
) -> None:
    labels = np.zeros(label_shape, np.uint8)
    labels[-1, -1] = highest
    with pytest.raises(DataError, match=expected) as caught:
        score_image(np.full(shape, 0.5, np.float32), labels, classes=TWO, name="cell_3")
    assert "\n" not in str(caught.value)


def test_class_names_become_unambiguous_parts_of_score_names() -> None:
    assert class_labels(["membrane", "traffic light", "a-b", "a b", "/"]) == [
        "membrane",
        "traffic_light",
        "a_b_2",
        "a_b_3",
        "_4",
    ]


def test_cards_are_complete_and_machine_readable() -> None:
    for name, card in DEFINITIONS.items():
        filled = definition_of(name.replace(CLASS, "nucleus"))
        assert filled.name == name.replace(CLASS, "nucleus")
        fields = asdict(filled)
        assert json.loads(json.dumps(fields)) == fields
        assert all(value != "" and CLASS not in str(value) for value in fields.values())
        assert card.better in ("higher", "lower")


def test_per_image_cards_are_not_mistaken_for_a_class_of_that_name() -> None:
    assert definition_of("dice_nucleus_per_image").averaging.endswith("mean over images")
    assert definition_of("dice_nucleus").averaging == "counts summed over all pixels of the set"


def test_unknown_scores_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'soft_dice_two_class'"):
        find_definition("soft_dice_twoclass", DEFINITIONS)


def test_better_follows_the_direction_of_the_score() -> None:
    assert better("mean_dice", 0.9, 0.8)
    assert not better("mean_dice", 0.8, 0.8)
    assert not better("mean_dice", math.nan, 0.0)
    assert better("mean_dice", 0.0, math.nan)
