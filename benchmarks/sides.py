"""The two sides of a race: unetkit's preset, and MONAI's BasicUNet on the same batches.

Assumes that MONAI is installed where the peer is asked for. Does not know clocks, scores or tables.
"""

import contextlib
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unetkit.devices import choose_precision
from unetkit.distributed import World
from unetkit.modelfile.card import ModelCard
from unetkit.models import Geometry
from unetkit.prediction import Predictor
from unetkit.training.optim import WeightAverage, build_optimizers, rate_share, set_learning_rates
from unetkit.training.patches import PixelStore
from unetkit.training.prepare import Prepared
from unetkit.training.step import TrainStep


@dataclass(frozen=True, slots=True)
class Track:
    """What both sides have in common: the data, and where to compute."""

    prepared: Prepared
    store: PixelStore
    device: torch.device

    @property
    def steps(self) -> int:
        """The length of every training."""
        return self.prepared.config.train.steps

    def train_step(self, seed: int) -> TrainStep:
        """Return the preset's training with a seed: our side, and where the peer's batches and loss come from."""
        config = self.prepared.config
        seeded = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        return TrainStep(seeded, self.store, choose_precision(config.train.precision, self.device), World())

    def predictor(self, side: "Side") -> Predictor:
        """Return what takes images through a side's network: whole, whatever memory that takes."""
        prepared = self.prepared
        largest = max(max(prepared.dataset[index].pixels.shape[1:]) for index in prepared.split.validation)
        whole = {"tile": side.geometry.fitting_input_size(largest), "overlap": 0}
        card = ModelCard(
            classes=prepared.config.data.classes or (),
            mean=prepared.normalization.mean,
            std=prepared.normalization.std,
            predict=prepared.config.predict.model_copy(update=whole),
        )
        return Predictor(side.network, side.geometry, card, self.device)


@dataclass(frozen=True, slots=True)
class Side:
    """A training that can be raced: `step` updates once and returns the loss, `network` is what predicts."""

    name: str
    step: Callable[[int], Tensor]
    network: nn.Module
    geometry: Geometry


def ours(track: Track, seed: int) -> Side:
    """Start the preset."""
    step = track.train_step(seed)
    return Side("unetkit isbi", lambda number: step(number).loss, step.predicting, step.model.geometry)


def peer(track: Track, seed: int, *, rate: float, tuned: bool) -> Side:
    """Start MONAI's BasicUNet, on the batches that the preset would get with this seed."""
    feed = track.train_step(seed)
    recipe = feed.config.optimizer.model_copy(update={"name": "adamw", "lr": rate})
    layout = torch.channels_last if tuned else torch.contiguous_format
    torch.manual_seed(seed)
    network: nn.Module = _basic_unet(track).to(track.device)
    network.to(memory_format=layout)  # pyright: ignore[reportCallIssue] torch's stubs leave this form out
    optimizers = build_optimizers(recipe, network)
    predicting = copy.deepcopy(network) if tuned else network
    average = WeightAverage(network, predicting, feed.config.train.ema) if tuned else None

    def step(number: int) -> Tensor:
        set_learning_rates(optimizers, rate_share(recipe, number, track.steps))
        network.train()
        network.zero_grad(set_to_none=True)
        batch = feed.batch(number)
        with torch.autocast(track.device.type, feed.precision, enabled=tuned and feed.precision != torch.float32):
            logits = network(batch.pixels.contiguous(memory_format=layout))
        loss, _ = feed.loss(logits, batch.labels, batch.weights, batch.valid)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        if average is not None:
            average.update(number)
        return loss.detach()

    # Four poolings; instance norm averages over the whole image, so no halo is enough.
    geometry = Geometry(multiple=16, offset=0, halo=None, margin=0)
    return Side(f"BasicUNet{' tuned' if tuned else ''} {rate:g}", step, predicting, geometry)


def _basic_unet(track: Track) -> nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet  # the peer is no dependency of the project

    channels, classes = len(track.store.pixels_CP), len(track.prepared.config.data.classes or ())
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its widths
        return BasicUNet(spatial_dims=2, in_channels=channels, out_channels=classes)
