"""Distances between outlines, next to MONAI's."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.metrics import Metrics, Prediction, definition_of
from unetkit.metrics.surface import of_image, of_set, surface_scores

THREE = ("background", "cell", "wall")


def shapes(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((2, 60, 80)), (0, 4, 4))
    return field[0] > 0.05, field[0] + 0.3 * field[1] > 0.05


def predicted(found: NDArray[Any], true: NDArray[Any], **more: Any) -> Prediction:
    p = np.stack([found == k for k in range(3)]).astype(np.float32)
    return Prediction("a", THREE, true, p, p, **more)


@pytest.mark.parametrize("pixel_size", [(1.0, 1.0), (0.5, 0.3)])
def test_distances_are_those_of_monai(pixel_size: tuple[float, float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of its own deprecations
        metrics = pytest.importorskip("monai.metrics")
        for seed in range(4):
            pair = shapes(seed)
            found, true = (torch.from_numpy(one[None, None].astype(np.float32)) for one in pair)
            how: Any = {"include_background": True, "spacing": pixel_size}
            expected = {
                "hausdorff": metrics.compute_hausdorff_distance(found, true, **how).item(),
                "hd95": metrics.compute_hausdorff_distance(found, true, percentile=95, **how).item(),
                "assd": metrics.compute_average_surface_distance(found, true, symmetric=True, **how).item(),
            }
            assert surface_scores(*pair, pixel_size=pixel_size) == pytest.approx(
                expected, rel=1e-4
            )  # MONAI computes in float32


def test_a_case_by_hand() -> None:
    found, true = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    found[2, 2:5], true[2, 2:8] = True, True  # lines are their own outlines
    scores = surface_scores(found, true)
    assert scores["hausdorff"] == 3
    assert scores["assd"] == pytest.approx((0 + 1 + 2 + 3) / 9)
    assert scores["hd95"] == pytest.approx(np.percentile([0, 0, 0, 1, 2, 3], 95))


def test_a_side_that_is_empty_is_as_far_as_the_image_is_large() -> None:
    none, some = np.zeros((4, 5), bool), np.eye(4, 5, dtype=bool)
    assert surface_scores(none, none) == {}
    for pair in ((none, some), (some, none)):
        assert surface_scores(*pair, pixel_size=(2.0, 1.0)) == dict.fromkeys(("hausdorff", "hd95", "assd"), 52**0.5)


def test_classes_are_averaged_where_they_occur_and_images_after_them() -> None:
    true = np.zeros((2, 20, 20), np.uint8)
    found = true.copy()
    true[0, 5:10, 5:10], found[0, 5:10, 7:12] = 1, 1
    true[1], found[1] = true[0], found[0]
    true[1, 15, 15], found[1, 15, 19] = 2, 2
    images = [of_image(predicted(found[n], true[n]), Metrics()) for n in range(2)]
    pooled = of_set(images, THREE)
    assert pooled.images[0] == pooled.images[0] | {"hausdorff": 2.0, "hausdorff_cell": 2.0}
    assert pooled.images[1]["hausdorff"] == (2 + 4) / 2
    assert pooled.scores["hausdorff"] == (2 + 3) / 2
    assert pooled.scores["hausdorff_wall"] == 4
    assert pooled.details == "pixels"
    assert definition_of("hd95_wall").better == "lower"
    assert definition_of("hd95").high is None


def test_distances_are_in_the_unit_that_all_images_have() -> None:
    found, true = (one.astype(np.uint8) for one in shapes(0))
    known: dict[str, Any] = {"pixel_size": (0.5, 0.5), "unit": "µm"}
    one, other = (of_image(predicted(found, true, **more), Metrics()) for more in (known, {}))
    assert of_set([one, one], THREE).details == "µm"
    assert of_set([one, other], THREE).details == "pixels"
    assert of_set([one], THREE).scores["hausdorff"] == of_set([one, other], THREE).scores["hausdorff"] / 2


def test_pixels_that_do_not_count_have_no_outline() -> None:
    found, true = (one.astype(np.uint8) for one in shapes(1))
    valid = np.zeros(found.shape, bool)
    valid[:, :30] = True
    wild = np.where(valid, found, 1 - found)
    scores = [of_image(predicted(one, true, valid=valid), Metrics()).pixels for one in (found, wild)]
    assert scores[0] == scores[1]
