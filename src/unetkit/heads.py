"""What each head of a trained UNet++ costs and how well it does, so that its user can choose speed or accuracy."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from unetkit.data import Dataset
from unetkit.evaluation import evaluate
from unetkit.models import UNetPlusPlus, count_parameters
from unetkit.prediction import Predictor


@dataclass(frozen=True, slots=True)
class Head:
    """A head and all that a prediction with it computes.

    Attributes:
        head: its number, from 1.
        parameters: trainable values in what it computes.
        seconds_per_megapixel: of prediction and scoring, on this machine.
        scores: over the images, by name.
    """

    head: int
    parameters: int
    seconds_per_megapixel: float
    scores: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def measure_heads(predictor: Predictor, dataset: Dataset, indices: Sequence[int]) -> list[Head]:
    """Score every head of a network on labelled images; empty for networks without a choice of heads."""
    network = predictor.network
    if not isinstance(network, UNetPlusPlus) or not network.deep_supervision:
        return []
    chosen, heads = network.head, list[Head]()
    for number in range(1, network.depth + 1):
        network.choose_head(number)
        begun = time.perf_counter()
        scores = evaluate(replace(predictor, geometry=network.geometry), dataset, indices=indices).scores
        pixels = sum(dataset[index].pixels[0].size for index in indices)
        seconds = (time.perf_counter() - begun) / pixels * 1e6
        heads.append(Head(number, count_parameters(*network.modules_of_head(number)), seconds, scores))
    network.choose_head(chosen)
    return heads


def heads_table(heads: Sequence[Head], metric: str) -> str:
    """Return the heads as aligned lines for a terminal."""
    lines = [f"head  parameters  s/Mpx  {metric}"]
    for head in heads:
        value = head.scores.get(metric)
        shown = "–" if value is None else f"{value:.4f}"
        lines.append(f"{head.head:>4}  {head.parameters:>10,}  {head.seconds_per_megapixel:>5.2f}  {shown}")
    return "\n".join(lines)
