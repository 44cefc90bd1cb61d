"""A loss and metrics of a user's own: what they are called with, where they are recorded, and when they are refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import unetkit
from unetkit.config import LossConfig
from unetkit.data import write_sample
from unetkit.errors import ConfigError, UsageError
from unetkit.metrics import definition_of
from unetkit.training.losses import WeightedLoss

CONFIG: dict[str, Any] = {
    "model": {"width": 4, "depth": 2},
    "train": {"steps": 4, "batch": 2, "patch": 32, "threads": 1, "log_every": 2, "validate_every": 2},
}


def plain_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return F.cross_entropy(logits, labels)


def interior_share(probabilities: NDArray[np.float32], labels: NDArray[Any]) -> float:
    return float((probabilities.argmax(0) == 1).mean())


def often_nothing(probabilities: NDArray[np.float32], labels: NDArray[Any]) -> float:
    return math.nan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "data"
    write_sample(folder, slices=5, size=64)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return unetkit.train(
        CONFIG,
        data=data,
        out=tmp_path_factory.mktemp("own") / "run",
        overrides=["train.best_metric=interior_share", "train.checkpoint_every=2"],
        loss=plain_entropy,
        metrics={"interior_share": interior_share, "nothing": often_nothing},
    )


def test_a_loss_of_ones_own_trains_as_the_same_configured_loss(run: Any, data: Path, tmp_path: Path) -> None:
    configured = unetkit.train(CONFIG, data=data, out=tmp_path / "run", overrides=["loss.dice=0"])
    ours, theirs = ([line["loss"] for line in one.read_log() if "loss" in line] for one in (run, configured))
    assert ours == theirs
    assert all(line["plain_entropy"] == line["loss"] for line in run.read_log() if "loss" in line)


def test_own_metrics_are_scores_like_any_other(run: Any) -> None:
    validations = [line for line in run.read_log() if "validation_seconds" in line]
    assert all(0 <= line["interior_share"] <= 1 for line in validations)
    summary, evaluation = run.read_json("summary.json"), run.read_json("evaluation.json")
    assert summary["best"]["value"] == max(line["interior_share"] for line in validations)
    assert evaluation["scores"]["interior_share"] == summary["best"]["value"]
    assert "nothing" not in evaluation["scores"]  # no image has a value
    assert "the user's own" in evaluation["definitions"]["interior_share"]["meaning"]
    page = run.report.read_text()
    assert "def plain_entropy" in page
    assert "def interior_share" in page
    each = [image["scores"]["interior_share"] for image in evaluation["images"]]
    assert np.mean(each) == pytest.approx(evaluation["scores"]["interior_share"])


def test_evaluate_and_report_take_the_functions_again(run: Any) -> None:
    own = {"interior_share": interior_share, "nothing": often_nothing}
    assert unetkit.evaluate(run, own=own).scores["interior_share"] == pytest.approx(
        run.read_json("evaluation.json")["scores"]["interior_share"]
    )
    without = unetkit.evaluate(run)
    assert "interior_share" not in without.scores
    assert any("interior_share" in note for note in without.notes)
    unetkit.report(run)
    assert "interior_share" not in run.read_json("evaluation.json")["scores"]
    unetkit.report(run, own=own)


def test_going_on_takes_the_same_functions(run: Any) -> None:
    kept = json.loads((run.path / "functions.json").read_text())
    assert kept["loss"]["source"].startswith("def plain_entropy")
    metrics = {"interior_share": interior_share, "nothing": often_nothing}

    def changed(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        return 2 * F.cross_entropy(logits, labels)

    with pytest.raises(ConfigError, match="was trained with a loss of its own, plain_entropy"):
        unetkit.resume(run.path, metrics=metrics)
    with pytest.raises(ConfigError, match=r"the source of loss \(.*changed\) differs"):
        unetkit.resume(run.path, loss=changed, metrics=metrics)
    with pytest.raises(ConfigError, match=r"trained without metrics\.more"):
        unetkit.resume(run.path, loss=plain_entropy, metrics={**metrics, "more": interior_share})
    longer = unetkit.extend(run.path, overrides=["train.steps=6"], loss=plain_entropy, metrics=metrics)
    assert longer.read_json("summary.json")["step"] == 6


def _not_scalar(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def _no_number(probabilities: NDArray[np.float32], labels: NDArray[Any]) -> Any:
    return None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": _not_scalar}, r"returned a tensor of shape \[2, 32, 32\]; expected a scalar"),
        ({"loss": torch.nn.CrossEntropyLoss()}, "found CrossEntropyLoss; expected a plain function"),
        ({"metrics": {"share": _no_number}}, "share returned NoneType; expected one number"),
        ({"metrics": {"mean_iou": interior_share}}, "mean_iou reads as a score of unetkit's family overlap"),
        ({"metrics": {"dice_gap": interior_share}}, "dice_gap reads as a score .* such as my_dice_gap"),
        ({"metrics": {"loss": interior_share}}, "'loss' cannot name a metric"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_before_anything_is_written(
    given: Any, message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        unetkit.train(CONFIG, data=data, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_metric_that_nobody_gave_chooses_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'interior_share' is no score of a validation"):
        unetkit.train(CONFIG, data=data, out=tmp_path / "run", overrides=["train.best_metric=interior_share"])
    assert definition_of("interior_share").better == "higher"


def test_a_loss_of_ones_own_is_called_for_every_head_with_what_counts() -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    def counting(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        assert weights is not None
        seen.append((tuple(logits.shape), float(weights.sum())))
        return (logits.square().mean(1) * weights).mean()

    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[:, 0] = False
    loss = WeightedLoss(LossConfig(head_weights=(0.0, 1.0, 2.0)), counting)
    total, terms = loss(torch.ones(3, 2, 1, 4, 4, requires_grad=True), torch.zeros(2, 4, 4).long(), None, valid)
    assert seen == [((2, 2, 4, 4), 24.0)] * 3  # one logit arrives as two
    assert float(total.detach()) == pytest.approx(3 * 0.5 * 24 / 32)
    assert list(terms) == ["counting"]


def test_a_run_can_be_looked_at(run: Any) -> None:
    history = run.history
    assert history["step"][:2] == [2, 4]
    assert {"loss", "plain_entropy", "interior_share", "lr"} <= history[0].keys()
    shown = run.show()
    assert "interior_share" in shown.html
    assert shown.html.count("<img") == 2  # the curves, and the one image that is held out
    assert "interior_share" in repr(shown)
    evaluation: Any = unetkit.evaluate(run, own={"interior_share": interior_share, "nothing": often_nothing})
    assert "interior_share" in evaluation._repr_html_()
