"""A older system's own training steps, done again by our network, loss and optimizer, and held against its numbers.

The fixture holds the batches, and the weights, moments and moving statistics after three steps; MindSpore's losses are
not in it. What differs is rounding: Adam divides a gradient by its own size, so that a weight whose gradient all but
vanishes moves by a rounding error times the rate. In double precision one weight of 121,724 is 1.5e-5 off, MindSpore's
own rounding; in single precision a handful more, others with each way to compute a convolution.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unetkit.config import LossConfig, load_config
from unetkit.data.dataset import InMemory, Sample
from unetkit.data.normalize import Normalization
from unetkit.distributed import World
from unetkit.legacy.checkpoints import LegacyNetwork, read_legacy
from unetkit.models import build_model
from unetkit.training.losses import WeightedLoss
from unetkit.training.patches import PixelStore
from unetkit.training.prepare import start_from
from unetkit.training.step import Batch, TrainStep

OPTIMIZER = {
    "name": "adam",
    "lr": 1e-3,
    "weight_decay": 5e-2,
    "decay_params": "all-but-norms",
    "eps_form": "tensorflow",
    "schedule": "constant",
    "warmup": 0.0,
}


def _read(path: Path) -> LegacyNetwork:
    network = read_legacy(path)
    assert network is not None
    return network


def _train_step(network: LegacyNetwork, **init: object) -> TrainStep:
    config = load_config(
        {
            "model": network.network.model_dump(mode="json"),
            "loss": {"dice": 0},
            "optimizer": OPTIMIZER,
            "train": {"batch": 2, "patch": 32, "precision": "float32", "steps": 100},
            "init": init,
        }
    )
    return TrainStep(config, _any_store(), torch.float32, World())


def _any_store() -> PixelStore:
    sample = Sample("any", np.zeros((1, 32, 32), np.uint8), np.zeros((32, 32), np.uint8))
    return PixelStore.of(InMemory((sample,), ("a", "b")), Normalization((0.0,), (1.0,)), torch.device("cpu"))


def _errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> Tensor:
    return torch.cat([(found[name].double() - expected[name].double()).abs().flatten() for name in expected])


@pytest.mark.parametrize(
    ("dtype", "above", "highest"), [(torch.float64, 1, 1.6e-5), (torch.float32, 12, 5e-5)], ids=["double", "single"]
)
def test_three_steps_of_mindspore(
    shared: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, above: int, highest: float
) -> None:
    seeds = shared / "fixtures" / "seeds"
    before, after = _read(seeds / "ms_small_simple_fs16.ckpt"), _read(seeds / "ms_trainstep_after.ckpt")
    batches = np.load(seeds / "ms_trainstep_io.npz")
    pixels, labels = torch.from_numpy(batches["x"]).to(dtype), torch.from_numpy(batches["y"]).argmax(2)
    train_step = _train_step(before)
    train_step.model.to(dtype)
    train_step.set_weights(before.state)
    monkeypatch.setattr(train_step, "batch", lambda step: Batch(pixels[step], labels[step], None))
    for step in range(3):
        train_step(step)

    trained = {name: weight.detach() for name, weight in train_step.model.named_parameters()}
    errors = _errors(trained, {name: after.state[name] for name in trained})
    assert len(errors) == 121_724
    assert int((errors > 1e-5).sum()) <= above
    assert float(errors.max()) < highest
    statistics = {name: value for name, value in train_step.model.state_dict().items() if "running" in name}
    assert float(_errors(statistics, {name: after.state[name] for name in statistics}).max()) < 1e-5
    assert after.moments is not None
    for name, weight in train_step.model.named_parameters():
        state = train_step.optimizers[0].state[weight]
        assert int(state["step"]) == after.moments.step == 3
        for found, expected in (
            (state["exp_avg"], after.moments.first[name]),
            (state["exp_avg_sq"], after.moments.second[name]),
        ):
            assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max()), name


def test_losses_of_tensorflow(shared: Path) -> None:
    """TensorFlow summed its Dice in single precision: 3e-5 from the exact value, which the tolerance allows for."""
    seeds = shared / "fixtures" / "seeds"
    network, reference = _read(seeds / "tf115_w4_step3"), np.load(seeds / "tf115_w4_ref.npz")
    model = build_model(network.network).eval()
    model.load_state_dict(network.state)
    pixels = np.random.RandomState(11).rand(1, 572, 572, 1) * 2 - 1
    labels = torch.from_numpy(np.random.RandomState(12).rand(1, 388, 388) > 0.7).long()
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2))
    total, terms = WeightedLoss(LossConfig(dice_form="per-class"))(logits, labels)
    assert float(terms["cross_entropy"]) == pytest.approx(float(reference["ce"]), abs=1e-6)
    assert float(terms["dice_loss"]) == pytest.approx(float(reference["dice"]), abs=1e-4)
    assert float(total) == pytest.approx(float(reference["ce"] + reference["dice"]), abs=1e-4)


@pytest.mark.parametrize("wanted", [True, False])
def test_adam_goes_on_from_founding_moments_unless_it_should_not(shared: Path, wanted: bool) -> None:
    path = shared / "fixtures" / "seeds" / "ms_trainstep_after.ckpt"
    network = _read(path)
    train_step = _train_step(network, path=str(path), moments=wanted)
    notes = start_from(train_step, train_step.config.init)
    assert ("Adam goes on from its moments at step 3" in notes) == wanted
    train_step(0)
    optimizer = train_step.optimizers[0]
    step = 4 if wanted else 1
    assert {int(state["step"]) for state in optimizer.state.values()} == {step}
    assert optimizer.param_groups[0]["eps"] == pytest.approx(1e-8 / (1 - 0.999**step) ** 0.5)
