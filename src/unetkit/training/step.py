"""Everything that changes while a network is trained, and the one step that changes it.

What a step does depends on the configuration, the data, the state and the step's number alone: every random number is
drawn from generators made for that step. So the state in a checkpoint is the weights, the optimizer's moments, the
running average and a few scalars, and a run that goes on from it is bit-identical to one that never stopped.

Legend of shapes: N batch, C channels, K classes, H height, W width.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unetkit.config import Config
from unetkit.distributed import World
from unetkit.errors import ConfigError
from unetkit.models import build_model
from unetkit.training import augment
from unetkit.training.losses import LossFunction, WeightedLoss
from unetkit.training.optim import WeightAverage, build_optimizers, frozen_modules, rate_share, set_learning_rates
from unetkit.training.patches import PatchSampler, PixelStore, generator

Tensors = dict[str, Tensor]


class Batch(NamedTuple):
    """What a process computes a step on.

    Attributes:
        pixels: augmented patches [N, C, H, W] float32.
        labels: class indices [N, H', W'] int64 of the part that the network answers for.
        weights: of their pixels [N, H', W'] float32; None where all count alike.
        valid: which of them count at all [N, H', W'] bool; None where all do.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor | None
    valid: Tensor | None = None

    def parts(self, count: int) -> Iterator["Batch"]:
        """Divide the batch into so many parts of its patches."""
        fields = ([None] * count if field is None else field.chunk(count) for field in self)
        for pixels, labels, weights, valid in zip(*fields, strict=True):
            assert pixels is not None
            assert labels is not None
            yield Batch(pixels, labels, weights, valid)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step measured, still on the device: reading it would make the step wait.

    Attributes:
        loss: the mean over the process's share of the batch.
        terms: what it is the weighted sum of, by name.
        lr: the learning rate.
        counting: the share of the pixels that count, from 0 to 1; None: all of them.
    """

    loss: Tensor
    terms: Tensors
    lr: float
    counting: Tensor | None = None


class TrainStep:
    """The network in training with all that updates it; calling it with a step's number takes that step."""

    def __init__(
        self,
        config: Config,
        store: PixelStore,
        precision: torch.dtype,
        world: World,
        *,
        loss: LossFunction | None = None,
    ) -> None:
        """Build the network and its optimizer from the configuration's seed, on the device of the training images.

        Channels and classes are numbers in the configuration; `precision` is the dtype of the network's arithmetic.

        Raises:
            ConfigError: the batch cannot be shared evenly or is never full, the patch is too small for the network, or
                a pattern of weights matches none.
        """
        self.config, self.precision, self.world = config, precision, world
        self.device = device = store.device
        train = config.train
        if train.batch % (world.size * train.accumulate):
            raise ConfigError(
                f"train.batch={train.batch} cannot be shared evenly by {world.size} processes in "
                f"{train.accumulate} parts each; choose a multiple of {world.size * train.accumulate}"
            )
        torch.manual_seed(train.seed)
        self.model = build_model(config.model)
        self.model.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] torch's stubs lack it
        self.margin: int = self.model.geometry.margin
        self.optimizers = build_optimizers(config.optimizer, self.model)
        self.frozen = frozen_modules(self.model)
        self.loss = WeightedLoss(config.loss, loss)
        self.scaler = gradient_scaler(train.loss_scale, device, precision)
        self.set_store(store)
        self.predicting = copy.deepcopy(self.model) if train.ema > 0 else self.model
        self.average = WeightAverage(self.model, self.predicting, train.ema) if train.ema > 0 else None
        self._forward: Callable[[Tensor], Tensor] = self.model
        if world.size > 1:
            devices = [device.index] if device.type == "cuda" else None
            self._forward = nn.parallel.DistributedDataParallel(self.model, device_ids=devices)
        if train.compile:
            self._forward = torch.compile(self._forward)

    def set_store(self, store: PixelStore) -> None:
        """Draw patches from these images from now on.

        Raises:
            ConfigError: as for the first ones.
        """
        self.store, train = store, self.config.train
        sizes = store.sizes.cpu()
        rows, columns = (side - 2 * self.margin for side in train.sides)
        if min(rows, columns) < 1:
            raise ConfigError(
                f"train.patch={train.patch}: the network's unpadded convolutions use up {2 * self.margin} pixels; "
                "give more"
            )
        if train.drop_last and train.batch > len(sizes) * train.repeat:
            raise ConfigError(
                f"train.drop_last: an epoch of {len(sizes)} images x train.repeat={train.repeat} does not fill one "
                f"batch of {train.batch}, so that nothing would be trained on; repeat more, or take smaller batches"
            )
        self.sampler = PatchSampler(
            sizes,
            train.batch,
            (rows, columns),
            train.seed,
            repeat=train.repeat,
            drop_last=train.drop_last,
            valid=None if store.valid_P is None else store.valid_of,
        )

    def batch(self, step: int) -> Batch:
        """Return this process's share of the patches of a step."""
        config, seed, batch = self.config.augment, self.config.train.seed, self.config.train.batch
        share = slice(self.world.rank, None, self.world.size)
        image, centre = (drawn.to(self.device, non_blocking=True) for drawn in self.sampler.draw(step))
        rng = generator(seed, "augment", step)
        image, grid = image[share], augment.sampling_grid(config, centre, self.config.train.sides, rng)[share]
        sample = self.store.sample_nearest if augment.keeps_grid(config) else self.store.sample
        pixels = augment.change_intensity(config, sample(image, grid), rng, batch=batch, share=share)
        rows, columns = (slice(self.margin, side - self.margin) for side in self.config.train.sides)
        targets = self.store.targets_at(image, grid[:, :, rows, columns])
        return Batch(pixels.contiguous(memory_format=torch.channels_last), *targets)

    def __call__(self, step: int) -> StepResult:
        """Update the weights once; `step` counts from 0."""
        train, world = self.config.train, self.world
        torch.manual_seed(int(generator(train.seed, f"dropout {world.rank}", step).integers(2**62)))
        share = rate_share(self.config.optimizer, step, train.steps)
        set_learning_rates(self.optimizers, share)
        self.model.train()
        for module in self.frozen:
            module.eval()  # a frozen norm keeps its statistics, too
        self.model.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        terms: list[Tensors] = []
        batch = self.batch(step)
        for part in batch.parts(train.accumulate):
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                logits = self._forward(part.pixels)
            loss, named = self.loss(logits, part.labels, part.weights, part.valid)
            self.scaler.scale(loss / train.accumulate).backward()
            losses.append(loss.detach())
            terms.append(named)
        if train.grad_clip > 0:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), train.grad_clip)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(step)
        means = {name: torch.stack([named[name] for named in terms]).mean() for name in terms[0]}
        counting = None if batch.valid is None else batch.valid.float().mean()
        return StepResult(torch.stack(losses).mean(), means, share * self.config.optimizer.lr, counting)

    def tensors(self) -> Tensors:
        """Return the state as named tensors: the weights to predict with, and the rest under `training/`."""
        tensors: Tensors = dict(self.predicting.state_dict())
        if self.average is not None:
            tensors |= {f"training/weights/{name}": value for name, value in self.model.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                named = {f"training/optimizer/{place}.{index}.{name}": value for name, value in moments.items()}
                tensors |= {name: torch.as_tensor(value) for name, value in named.items() if value is not None}
        return tensors

    def scalars(self) -> dict[str, float]:
        """Return the state of the loss scale; empty where there is none."""
        return dict(self.scaler.state_dict())

    def restore(self, weights: Tensors, training_weights: Tensors, moments: Tensors, scalars: dict[str, float]) -> None:
        """Take over a state that `tensors` and `scalars` gave; moments are named "<optimizer>.<weight>.<name>".

        Without an average there are no `training_weights`: those to predict with are trained.
        """
        self.predicting.load_state_dict(weights)
        if self.average is not None:
            self.model.load_state_dict(training_weights)
        self.set_moments(moments)
        if scalars:
            self.scaler.load_state_dict(scalars)

    def set_weights(self, weights: Tensors) -> None:
        """Start from these weights; the average starts there too."""
        self.model.load_state_dict(weights)
        self.predicting.load_state_dict(weights)

    def set_moments(self, moments: Tensors) -> None:
        """Give the optimizers their moments, by "<optimizer>.<weight>.<name>"."""
        for place, optimizer in enumerate(self.optimizers):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state: dict[int, Tensors] = {}
            for key, value in moments.items():
                owner, index, name = key.split(".")
                if int(owner) == place:
                    # Laid out in memory as its weight, which the fused optimizers expect.
                    laid_out = value if value.ndim == 0 else torch.empty_like(weights[int(index)]).copy_(value)
                    state.setdefault(int(index), {})[name] = laid_out
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def gradient_scaler(fixed: float | None, device: torch.device, precision: torch.dtype) -> torch.amp.GradScaler:
    """Return what scales the loss in float16, where small gradients vanish; elsewhere it does nothing.

    Without a fixed scale it is found, and halved where a step overflows.
    """
    enabled = precision == torch.float16
    if fixed is None:
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.amp.GradScaler(
        device.type, init_scale=fixed, growth_interval=2**31 - 1, backoff_factor=1 - 1e-9, enabled=enabled
    )
