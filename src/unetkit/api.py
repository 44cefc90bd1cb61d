"""The functions behind the verbs: each takes what a user has in hand, a path or an array, and does the whole job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit import evaluate as evaluation_room
from unetkit import train as training_room
from unetkit.checkpoints import Checkpoint
from unetkit.config import ConfigSource, DataConfig
from unetkit.data import Normalization, fingerprint, open_dataset, split_dataset
from unetkit.devices import choose_device
from unetkit.errors import UsageError
from unetkit.evaluate import Evaluation
from unetkit.models import build_model
from unetkit.predict import Predictor
from unetkit.progress import Reporter
from unetkit.runs import Run, open_run

Model = Run | Predictor | str | Path


def load(model: Model, *, device: str = "auto", options: Mapping[str, Any] | None = None) -> Predictor:
    """Read whatever holds a network and make it ready to predict.

    Args:
        model: a run or its folder (its best weights), or a network file.
        device: auto, cpu, cuda or mps.
        options: keys of the `predict` section that go before the file's own; None values are passed over.

    Raises:
        ModelFileError: no network is there, or its file is damaged.
        DeviceError: the device is not there.

    Example:
        >>> predictor = unetkit.load("runs/first")
    """
    if isinstance(model, Predictor):
        return model.with_options(options or {})
    checkpoint = Checkpoint.load(_weights_of(model))
    card, place = checkpoint.card, choose_device(device)
    network = build_model(card.model)
    network.load_state_dict(checkpoint.weights())
    predictor = Predictor(
        network=network.eval().to(place),
        geometry=network.geometry,
        normalization=Normalization(card.mean, card.std),
        classes=card.classes,
        config=card.predict,
        device=place,
    )
    return predictor.with_options(options or {})


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> Run:
    """Train a network, score it on what was held out, and write the report; see `unetkit.train.train`."""
    return _finish(training_room.train(source, data=data, out=out, overrides=overrides, reporter=reporter))


def resume(path: str | Path, *, reporter: Reporter | None = None) -> Run:
    """Go on with a run exactly where it stopped; see `unetkit.train.resume`."""
    return _finish(training_room.resume(path, reporter=reporter))


def extend(path: str | Path, *, overrides: Sequence[str], reporter: Reporter | None = None) -> Run:
    """Give a run more steps; see `unetkit.train.extend`."""
    return _finish(training_room.extend(path, overrides=overrides, reporter=reporter))


def evaluate(
    model: Model,
    *,
    data: str | Path | None = None,
    everything: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a network on labelled images.

    A run that is given the data it was trained on is scored on the images that it held out, unless `everything` is asked.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        data: the data set; None: the run's own.
        everything: score the images that the run was trained on, too.
        options: keys of the `predict` section, such as {"tta": True}.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        DataError: no labels, or labels that the network has no class for.
        ModelFileError: no network is there.

    Example:
        >>> unetkit.evaluate("runs/first").scores["mean_iou"]
    """
    predictor, run = load(model, device=device, options=options), _run_of(model)
    config = (run.config.data if run else DataConfig()).model_copy(update={"classes": predictor.classes})
    path = data if data is not None else config.path
    if path is None:
        raise UsageError("no data is named; give --data DIR with images and labels")
    dataset = open_dataset(path, config=config)
    held_out = None
    if run is not None and not everything and _trained_on(run, fingerprint(dataset).sha256_pixels):
        held_out = split_dataset(dataset, run.config.data.split).validation or None
    return evaluation_room.evaluate(predictor, dataset, indices=held_out, founding_protocol=True, reporter=reporter)


def predict(model: Model, image: NDArray[Any], *, probabilities: bool = False, **options: Any) -> NDArray[Any]:
    """Segment one image of any size.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        image: [H, W], or [C, H, W] with the channels of the training images, in the units that it was trained in.
        probabilities: return the probabilities of the classes instead.
        options: keys of the `predict` section, such as tta=True.

    Returns:
        Class indices [H, W], or probabilities [K, H, W] float32.

    Raises:
        DataError: another number of channels or dimensions.
    """
    predictor = load(model, options=options)
    pixels = image[None] if image.ndim == 2 else image
    return predictor.probabilities(pixels) if probabilities else predictor.labels(pixels)


def report(path: Run | str | Path) -> Path:
    """Score the best weights of a run on what was held out, and write its pictures and report.html."""
    run = path if isinstance(path, Run) else open_run(Path(path))
    _finish(run)
    return run.report
