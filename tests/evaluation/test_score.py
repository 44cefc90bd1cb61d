"""Which sizes images are scored at: their own, and those of the older systems."""

import numpy as np
import pytest
import torch

from unetkit.data import InMemory, Sample
from unetkit.evaluation.score import evaluate
from unetkit.modelfile.card import ModelCard
from unetkit.models import Geometry
from unetkit.prediction import Predictor


def _threshold(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Take bright pixels for objects."""
    bright_N1HW = x_NCHW.mean(1, keepdim=True) * 20
    return torch.cat([-bright_N1HW, bright_N1HW], 1)


@pytest.mark.parametrize(("channels", "size"), [(1, "388"), (3, "at_96x96")])
def test_images_are_scored_resized_as_the_founding_systems_did(channels: int, size: str) -> None:
    labels = np.zeros((150, 130), np.uint8)
    labels[40:90, 30:100] = 1
    sample = Sample("a", np.repeat(labels[None] * np.uint8(255), channels, 0), labels)
    predictor = Predictor(
        network=_threshold,
        geometry=Geometry(1, 0, 0, 0),
        card=ModelCard(classes=("background", "nucleus"), mean=(127.5,) * channels, std=(127.5,) * channels),
        device=torch.device("cpu"),
    )
    dataset = InMemory((sample,), ("background", "nucleus"))
    scores = evaluate(predictor, dataset, legacy_protocol=True).scores
    assert scores["soft_dice_two_class"] == pytest.approx(1.0, abs=1e-4)
    assert 0.97 < scores[f"soft_dice_two_class_{size}"] < 1.0
    assert not any(name.endswith(f"_{size}") for name in evaluate(predictor, dataset).scores)
