"""tune_objects: the numbers with which objects are made, chosen on images that a network was not trained on."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from unetkit.api.loading import Model, load, run_of
from unetkit.api.scoring import folder_of, labelled
from unetkit.checkpoints import Checkpoint
from unetkit.config import ObjectsConfig
from unetkit.data import Dataset, fingerprint
from unetkit.devices import cpu_threads
from unetkit.errors import UsageError
from unetkit.progress import Reporter
from unetkit.remote import is_remote
from unetkit.runs import Run, open_run
from unetkit.tuning import Tuning, tune


def tune_objects(
    model: Model,
    *,
    data: str | Path | None = None,
    keep: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Tuning:
    """Choose the numbers of the section `objects` by mean precision, and score the choice on images it was not made on.

    A run that is given the data it was trained on chooses on what it held out. Any other data has to be images that the
    network was not trained on.

    Args:
        model: a run, its folder, a network file, or a Predictor.
        data: the data set; None: the run's own.
        keep: write the choice into the run's configuration and weights, or into the network file, so that predictions
            make objects by it.
        options: as of `load`; the method and `fill_holes` are taken, the numbers are chosen.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Raises:
        UsageError: the run held nothing out, or there is no file of ours to keep the choice in.
        DataError: fewer than two images, or images without labels.

    Example:
        >>> unetkit.tune_objects("runs/nuclei", keep=True).chosen.threshold
    """
    predictor, run = load(model, device=device, options=options), _run_of(model)
    files = _files_of(model, run) if keep else []
    dataset, held = labelled(data, predictor.data_classes, run)
    sha256 = fingerprint(dataset).sha256_pixels
    indices = _untrained(run, dataset, held, sha256)
    with cpu_threads((options or {}).get("threads")):
        tuning = tune(predictor, dataset, indices, sha256=sha256, reporter=reporter)
    if keep:
        _keep(tuning.chosen, files, run)
    return tuning


def _run_of(model: Model) -> Run | None:
    """Return the run that a model belongs to; one in object storage with its image there, which a choice is sent to."""
    if folder_of(model) is not None:
        raise UsageError("the networks of a cross-validation together have seen all images; tune one of its runs")
    if isinstance(model, (str, Path)) and is_remote(model):
        return open_run(Path(model))
    return run_of(model)


def _untrained(run: Run | None, dataset: Dataset, held: Sequence[int] | None, sha256: str) -> Sequence[int]:
    if held is not None:
        return held
    known = None if run is None else run.read_json("data.json")
    if known is not None and known["sha256_pixels"] == sha256:
        raise UsageError("the run was trained on all of this data; give images that it has not seen with --data DIR")
    return range(len(dataset))


def _files_of(model: Model, run: Run | None) -> list[Path]:
    """Return the network files that a choice is kept in."""
    if run is not None:
        return [path for path in (run.best, run.last) if path.is_file()] or [run.weights()]
    if isinstance(model, (str, Path)) and Path(model).suffix == ".safetensors":
        return [Path(model)]
    raise UsageError("the choice can be kept in a run or in a .safetensors file of unetkit; leave --keep out")


def _keep(chosen: ObjectsConfig, files: Sequence[Path], run: Run | None) -> None:
    with run.held() if run is not None else nullcontext():
        for path in files:
            Checkpoint.load(path).with_objects(chosen).save(path)
        if run is not None:
            run.with_config(run.config.model_copy(update={"objects": chosen})).send()
