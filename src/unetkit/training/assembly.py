"""The parts of a training put together: images on the device, the session that learns, the predictor that is scored."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.checkpoints import Card
from unetkit.config import Config
from unetkit.data.store import PixelStore
from unetkit.devices import choose_device, choose_precision
from unetkit.distributed import World
from unetkit.evaluation import Evaluation, evaluate
from unetkit.metrics import objects
from unetkit.prediction import Predictor
from unetkit.progress import Reporter
from unetkit.runs import Run
from unetkit.training.loop import Loop
from unetkit.training.prepare import Prepared
from unetkit.training.session import Session
from unetkit.version import __version__


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process computes, and with whom."""

    device: torch.device
    world: World


def place_of(config: Config, world: World) -> Place:
    """Choose the device of this process; every process of a machine has a CUDA device of its own.

    Raises:
        DeviceError: the device is not there.
    """
    device = choose_device(config.train.device)
    if device.type == "cuda" and world.size > 1:
        device = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(device)
    return Place(device, world)


def assemble(run: Run, prepared: Prepared, place: Place, reporter: Reporter) -> Loop:
    """Return the training of a run, at its first step."""
    config, device, world = run.config, place.device, place.world
    weights, outside = _weights(prepared, world), config.data.outside
    store = PixelStore.of(prepared.training, prepared.normalization, device, weights=weights, outside=outside)
    session = Session(config, store, choose_precision(config.train.precision, device), world)
    predictor = Predictor(
        network=session.predicting,
        geometry=session.model.geometry,
        normalization=prepared.normalization,
        classes=prepared.classes,
        config=config.predict.model_copy(update={"tta": False, "calibrate": False}),
        device=device,
        border=config.data.border_class > 0,
        object_config=config.objects,
    )

    families = ("objects",) if config.train.best_metric in objects.DEFINITIONS else ()

    def validate() -> Evaluation:
        session.predicting.eval()
        world.same_buffers(session.predicting)
        return evaluate(predictor, prepared.dataset, indices=prepared.split.validation, families=families, world=world)

    card = _card(config, prepared)
    return Loop(run, session, card=card, validate=validate if prepared.split.validation else None, reporter=reporter)


def _weights(prepared: Prepared, world: World) -> list[NDArray[np.float32]] | None:
    """Return the weights of all training pixels; a process makes its share first and finds the rest in the cache."""
    if prepared.weights is None:
        return None
    count, samples = len(prepared.training), prepared.training
    order = dict.fromkeys((*world.share(count), *range(count)))
    made = {index: prepared.weights.of_sample(samples[index]) for index in order}
    return [made[index] for index in range(count)]


def _card(config: Config, prepared: Prepared) -> Card:
    return Card(
        model=config.model,
        classes=prepared.classes,
        border=config.data.border_class > 0,
        mean=prepared.normalization.mean,
        std=prepared.normalization.std,
        predict=config.predict,
        objects=config.objects,
        step=0,
        train_seconds=0.0,
        data_sha256=prepared.description["sha256_pixels"],
        unetkit=__version__,
    )
