"""The functions behind the verbs: each takes what a user has in hand, a path or an array, and does the whole job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from unetkit import evaluation, reporting, training
from unetkit.config import ConfigSource, DataConfig, ModelConfig
from unetkit.data import Dataset, fingerprint, open_dataset, split_dataset
from unetkit.devices import choose_device, cpu_threads
from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.evaluation import Evaluation
from unetkit.heads import measure_heads
from unetkit.models import build_model, count_parameters
from unetkit.networks import read_network
from unetkit.prediction import Predictor, predict_to_file
from unetkit.progress import Reporter
from unetkit.runs import Run, open_run

Model = Run | Predictor | str | Path


def load(model: Model, *, device: str = "auto", options: Mapping[str, Any] | None = None) -> Predictor:
    """Read whatever holds a network and make it ready to predict.

    Args:
        model: a run or its folder (its best weights), a network file, or a founding system's checkpoint.
        device: auto, cpu, cuda or mps.
        options: keys of the `predict` section that go before the file's own, and `head` of a UNet++ (1 is the fastest,
            its depth the most accurate); None values are passed over.

    Returns:
        The predictor; `predictor.network` is the torch.nn.Module.

    Raises:
        ModelFileError: no network is there, or its file is damaged.
        DeviceError: the device is not there.

    Example:
        >>> predictor = unetkit.load("runs/first")
    """
    if isinstance(model, Predictor):
        return model.with_options(options or {})
    stored, place = read_network(model), choose_device(device)
    chosen = {key: value for key, value in (options or {}).items() if key != "head"}
    network = build_model(_with_head(stored.model, (options or {}).get("head")))
    network.load_state_dict(stored.state)
    predictor = Predictor(
        network=network.eval().to(place),
        geometry=network.geometry,
        normalization=stored.normalization,
        classes=stored.classes,
        config=stored.predict,
        device=place,
    )
    return predictor.with_options(chosen)


def train(
    source: ConfigSource,
    *,
    data: str | Path | None = None,
    out: str | Path,
    overrides: Sequence[str] = (),
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a network, score it on what was held out, and write its report.

    Args:
        source: a preset's name, a YAML file, a dict, or a Config.
        data: the data set; goes before `data.path` of the configuration.
        out: the run folder to make; it must be new or empty.
        overrides: `key=value` texts that go before the configuration.
        spent: seconds spent before the call, by what on, to be told beside the training time.
        reporter: hears about the course; None: nobody does.

    Returns:
        The finished run.

    Raises:
        ConfigError, DataError, RunFolderError, DeviceError: the training cannot start; nothing was written.
        DivergedError, StorageError, InterruptedRun: it ended early; the run folder holds the last good checkpoint.

    Example:
        >>> run = unetkit.train("isbi", data="sample", out="runs/first", overrides=["train.steps=50"])
    """
    return _finish(training.train(source, data=data, out=out, overrides=overrides, spent=spent, reporter=reporter))


def resume(path: str | Path, *, spent: Mapping[str, float] | None = None, reporter: Reporter | None = None) -> Run:
    """Go on with a run exactly where its newest whole checkpoint stands; a finished run keeps its weights.

    Raises:
        RunFolderError: not a run folder, or all its checkpoints are damaged.
        DataError: the data is not what the run was trained on.
        DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> unetkit.resume("runs/first")
    """
    return _finish(training.resume(path, spent=spent, reporter=reporter))


def extend(
    path: str | Path,
    *,
    overrides: Sequence[str],
    spent: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Give a run more steps: change `train.steps` (and other keys of train, loss or optimizer) and go on.

    Raises:
        ConfigError: a key that a run cannot change on its way.
        RunFolderError, DataError, DivergedError, StorageError, InterruptedRun: as `resume`.

    Example:
        >>> unetkit.extend("runs/first", overrides=["train.steps=800"])
    """
    return _finish(training.extend(path, overrides=overrides, spent=spent, reporter=reporter))


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

    A run that is given the data it was trained on is scored on the images that it held out, unless `everything` is
    asked for.

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
        raise UsageError("no data is named; give --data DIR with images and their masks")
    dataset = open_dataset(path, config=config)
    held_out = None if everything or run is None else _held_out(run, dataset)
    with cpu_threads(None):
        return evaluation.evaluate(predictor, dataset, indices=held_out, founding_protocol=True, reporter=reporter)


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

    Example:
        >>> mask = unetkit.predict("runs/first", image, tta=True)
    """
    predictor = load(model, options=options)
    pixels = image[None] if image.ndim == 2 else image
    with cpu_threads(None):
        return predictor.probabilities(pixels) if probabilities else predictor.labels(pixels)


def predict_file(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    probabilities: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> tuple[str, ...]:
    """Segment an image file, a stack, or a folder of images into files of the same sizes and page counts.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        source: what to segment.
        out: the file or folder to write.
        probabilities: write probabilities instead of masks.
        options: keys of the `predict` section, such as {"tta": True}.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Returns:
        Sentences about where the result may differ from an untiled prediction.

    Raises:
        DataError, UsageError, StorageError: nothing is left half-written.

    Example:
        >>> unetkit.predict_file("runs/first", "stack.tif", "masks.tif")
    """
    predictor = load(model, device=device, options=options)
    with cpu_threads(None):
        return predict_to_file(predictor, source, out, probabilities=probabilities, reporter=reporter)


def report(run: Run | str | Path) -> Path:
    """Score the best weights of a run on what was held out, and write its pictures and report.html.

    Example:
        >>> unetkit.report("runs/first")
    """
    return _finish(run if isinstance(run, Run) else open_run(Path(run))).report


def _finish(run: Run) -> Run:
    """Write the scores and the report of a run; one process of a training does it."""
    if not launched_world().leads:
        return run
    predictor = load(run)
    dataset = open_dataset(str(run.config.data.path), config=run.config.data)
    held_out = split_dataset(dataset, run.config.data.split).validation
    with cpu_threads(run.config.train.threads):
        scored = evaluation.evaluate(predictor, dataset, indices=held_out, founding_protocol=True) if held_out else None
        if scored is not None:
            heads = [head.as_json() for head in measure_heads(predictor, dataset, held_out)]
            run.write_json("evaluation.json", scored.as_json() | ({"heads": heads} if heads else {}))
        reporting.write_report(run, scored, _look(predictor, dataset, held_out), extra=_facts(predictor))
    return run


def _with_head(model: ModelConfig, head: int | None) -> ModelConfig:
    if head is None:
        return model
    if model.name != "unetpp":
        raise UsageError(
            f"head {head} was asked for, but the network is a {model.name}; only unetpp has heads to choose"
        )
    return model.model_copy(update={"head": head})


def _look(predictor: Predictor, dataset: Dataset, held_out: Sequence[int]) -> reporting.Look:
    places = {dataset[index].name: index for index in held_out}

    def look(name: str) -> reporting.Exhibit:
        sample = dataset[places[name]]
        assert sample.labels is not None
        return reporting.Exhibit(name, sample.pixels, sample.labels, predictor.probabilities(sample.pixels))

    return look


def _facts(predictor: Predictor) -> dict[str, str]:
    assert isinstance(predictor.network, nn.Module)
    return {"Parameters": f"{count_parameters(predictor.network):,}"}


def _run_of(model: Model) -> Run | None:
    """Return the run that a model belongs to: itself, its folder, or the folder that the file lies in."""
    if isinstance(model, Run):
        return model
    if isinstance(model, Predictor):
        return None
    places = [Path(model), Path(model).parent, Path(model).parent.parent]
    return next((open_run(place) for place in places if (place / "config.yaml").is_file()), None)


def _held_out(run: Run, dataset: Dataset) -> Sequence[int] | None:
    known = run.read_json("data.json")
    if known is None or known["sha256_pixels"] != fingerprint(dataset).sha256_pixels:
        return None
    return split_dataset(dataset, run.config.data.split).validation or None
