"""export: a network into a file for another runtime; check: is such a file still what it should be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.data import Dataset
from unetkit.devices import cpu_threads
from unetkit.errors import DataError, ModelFileError, ParityError, UsageError
from unetkit.evaluation.evaluate import labelled
from unetkit.evaluation.score import score_predictor
from unetkit.exporting.int8 import MAX_DROP, Demand, Gain, Scored, export_in_integers
from unetkit.exporting.parity import Parity, compare, real_inputs
from unetkit.exporting.write import Exported, export_network, make_job, pipeline_of
from unetkit.formats import FORMATS, ExportCard, ExportedNetwork
from unetkit.formats.job import ExportJob, ExportOptions, Image
from unetkit.modelfile.card import StoredNetwork
from unetkit.prediction import Predictor
from unetkit.prediction.load import Model, load, of_stored, read_members, run_of, with_head
from unetkit.progress import NoProgress, Progress
from unetkit.run import Run

_REAL_IMAGES = 2
_CALIBRATION_IMAGES = 16
_METRICS = {"logits": "soft_dice_two_class", "softmax": "soft_dice_two_class", "argmax": "mean_dice"}
_METRIC_BOUNDS = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-3, "int8": 1.0}


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of an exported file.

    Attributes:
        path: of the file.
        files: the file and what belongs to it.
        card: what it says of itself.
        parity: how it compares with PyTorch; None where there is no network to compare with.
        scored: on labelled data; None where none was given.
        gain: what int8 costs and gives; None for other numbers.
    """

    path: Path
    files: tuple[Path, ...]
    card: ExportCard
    parity: Parity | None
    scored: Scored | None
    gain: Gain | None = None

    @classmethod
    def of(cls, written: Exported, scored: Scored | None = None, gain: Gain | None = None) -> "Checked":
        """Join what was measured of a file that was just written."""
        return cls(written.path, written.files, written.card, written.parity, scored, gain)


def export(
    model: Model,
    *,
    to: str,
    out: str | Path,
    data: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Write a network into a file for another runtime, and keep the file if it computes the same there.

    It is compared with PyTorch on noise and, where data is given or the run's own is still there, on real images.

    Args:
        model: as `load` takes it, but no exported file.
        to: the format, a key of `unetkit.exporting.FORMATS`.
        out: where to.
        data: labelled images on which a score through the file must be the network's own.
        options: fields of `ExportOptions`, `head` of a UNet++, and `max_drop` of the score in int8 (0.005); with
            preprocessing, softmax is the default output.
        progress: follows the work.

    Raises:
        UsageError, ParityError, ModelFileError, DataError, StorageError: nothing is left half-written.

    Example:
        >>> unetkit.export("runs/first", to="onnx", out="first.onnx", data="data/isbi2012")
    """
    given, run = dict(options or {}), run_of(model)
    predictor, stored = _in_torch(model, given.get("head"))
    max_drop = given.pop("max_drop", None)
    images, chosen = _images(data, predictor, run), _options(to, given)
    job = make_job(predictor, chosen, stored=stored, images=_some(images), eight_bit=_eight_bit(run))
    score = _scorer(predictor, images, job.card, progress or NoProgress())
    with cpu_threads(None):
        if job.options.int8:
            drop = MAX_DROP if max_drop is None else max_drop
            demand = Demand(_calibration(job.card, images, run), score, drop, progress or NoProgress())
            return Checked.of(*export_in_integers(job, to, Path(out), demand))
        return _in_floats(job, to, Path(out), score=None if data is None else score)


def check(
    model: str | Path,
    *,
    data: str | Path | None = None,
    against: Model | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Compare an exported file with the network that it was made from, in outputs and in a score.

    Args:
        model: the exported file.
        data: labelled images; None: noise alone.
        against: what it was made from; None: the run in whose folder it lies, where it does.
        options: `runtime`, `threads` and `precision`, as of `load`, and `head` of a UNet++ that it is compared with.
        progress: follows the work.

    Raises:
        ModelFileError: not an exported file, or a damaged one.
        ParityError: it computes something else.
        UsageError: there is nothing to check it with.

    Example:
        >>> unetkit.check("first.onnx", data="data/isbi2012", against="runs/first").parity.absolute
    """
    exported, network = _exported(model, options)
    source = against if against is not None else run_of(model)
    if source is None and data is None:
        raise UsageError(f"{model}: there is nothing to check it with; give --data DIR or --against RUN")
    reference = None if source is None else _in_torch(source, (options or {}).get("head"))[0]
    images = _images(data, exported, None if source is None else run_of(source))
    with cpu_threads((options or {}).get("threads")):
        parity = None if reference is None else compare(network, pipeline_of(reference, network.card), _some(images))
        if data is not None:
            (progress or NoProgress()).log(f"scoring {Path(model).name} on {data}")
        scored = None if data is None else _score(exported, reference, images, card=network.card)
    return Checked(Path(model), (Path(model),), network.card, parity, scored)


def _exported(model: str | Path, options: Mapping[str, Any] | None) -> tuple[Predictor, ExportedNetwork]:
    predictor = load(model, options={**(options or {}), "head": None})
    if not isinstance(predictor.network, ExportedNetwork):
        raise ModelFileError(f"{model}: not an exported file; to score a run or a checkpoint use unetkit evaluate")
    return predictor, predictor.network


def _options(to: str, chosen: Mapping[str, Any]) -> ExportOptions:
    known = sorted(("head", *(field.name for field in fields(ExportOptions))))
    if unknown := sorted(chosen.keys() - set(known)):
        raise UsageError(f"there is no option {unknown[0]!r} of an export; there are: {', '.join(known)}")
    soft = chosen.get("preprocessing") or (to in FORMATS and FORMATS[to].output == "softmax")
    given: dict[str, Any] = {"output": "softmax"} if soft else {}
    return ExportOptions(**given | {key: value for key, value in chosen.items() if value is not None and key != "head"})


@dataclass(frozen=True, slots=True)
class _Images:
    """Images to compare on.

    Attributes:
        dataset: all of them.
        chosen: which are scored; None: all.
    """

    dataset: Dataset
    chosen: Sequence[int] | None

    @property
    def indices(self) -> Sequence[int]:
        return range(len(self.dataset)) if self.chosen is None else self.chosen


def _in_torch(model: Model, head: int | None) -> tuple[Predictor, StoredNetwork | None]:
    if isinstance(model, Predictor):
        return model, None
    stored, *more = read_members(model)
    if more:
        return of_stored(stored, *more, device="cpu", head=head), None
    if head is not None:
        stored = replace(stored, model=with_head(stored.model, head))
    return of_stored(stored, device="cpu"), stored


def _eight_bit(run: Run | None) -> bool:
    """Tell whether a run was trained on images of 8 bits; so is taken for granted of what is no run."""
    known = None if run is None else run.read_json("data.json")
    return known is None or known["dtype"] == "uint8"


def _images(data: str | Path | None, predictor: Predictor, run: Run | None) -> _Images | None:
    """Open the data that is given, or else the run's own where it still can be opened."""
    if data is None and (run is None or run.config.data.path is None):
        return None
    try:
        return _Images(*labelled(data, predictor.data_classes, run))
    except DataError:
        if data is not None:
            raise
        return None


def _calibration(card: ExportCard, images: _Images | None, run: Run | None) -> tuple[NDArray[Any], ...]:
    """Return images to calibrate on: of those that the run was trained on where it is known, evenly spread.

    Raises:
        UsageError: there are none.
    """
    if images is None:
        raise UsageError("int8 is calibrated and scored on labelled images; give --data DIR")
    held_out = set(images.indices if run is not None and images.chosen is not None else ())
    trained = [index for index in range(len(images.dataset)) if index not in held_out]
    chosen = trained[:: max(1, len(trained) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
    samples = (images.dataset[index] for index in chosen)
    return tuple(x.numpy() for _, x in real_inputs(card, [(sample.name, sample.pixels) for sample in samples]))


def _some(images: _Images | None) -> list[Image]:
    """Return a few images with their names."""
    if images is None:
        return []
    samples = (images.dataset[index] for index in images.indices[:_REAL_IMAGES])
    return [(sample.name, sample.pixels) for sample in samples]


def _in_floats(job: ExportJob, to: str, out: Path, *, score: Callable[[Path], Scored] | None) -> Checked:
    seen = list[Scored]()

    def accept(draft: Path) -> None:
        seen.extend([] if score is None else [score(draft)])

    written = export_network(job, to, out, accept=accept)
    return Checked.of(written, next(iter(seen), None))


def _scorer(
    predictor: Predictor, images: _Images | None, card: ExportCard, progress: Progress
) -> Callable[[Path], Scored]:
    """Return what scores a draft beside PyTorch."""

    def score(draft: Path) -> Scored:
        progress.log(f"scoring {draft.name} and PyTorch on the same images")
        return _score(load(draft, device="cpu"), predictor, images, card=card)

    return score


def _score(file: Predictor, torch: Predictor | None, images: _Images | None, *, card: ExportCard) -> Scored:
    """Score the file, and the network in PyTorch, on the same images.

    Raises:
        ParityError: the scores differ by more than the numbers that the file computes with explain.
    """
    assert images is not None
    numbers = file.network.numbers if isinstance(file.network, ExportedNetwork) else (card.numbers,)
    metric, bound = _METRICS[card.output], max(_METRIC_BOUNDS[name] for name in numbers)
    found, expected = (
        None if one is None else score_predictor(one, images.dataset, indices=images.chosen).scores[metric]
        for one in (file, torch)
    )
    assert found is not None
    if expected is not None and not abs(found - expected) <= bound:
        raise ParityError(
            f"{metric} is {found:.7f} through the file and {expected:.7f} in PyTorch; {bound:g} apart is allowed"
        )
    return Scored(metric, found, expected, len(images.indices))
