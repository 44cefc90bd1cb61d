"""export: a network into a file for another runtime; check: is such a file still what it should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from unetkit.data import Dataset
from unetkit.devices import cpu_threads
from unetkit.errors import DataError, ModelFileError, ParityError, UsageError
from unetkit.evaluation.evaluate import labelled
from unetkit.evaluation.score import score_predictor
from unetkit.exporting.int8 import MAX_DROP, Gain, Scored, export_int8
from unetkit.exporting.parity import Parity, compare, real_inputs
from unetkit.exporting.write import export_network, make_job, pipeline_of
from unetkit.formats import FORMATS, ExportedNetwork, Reproduced, reproduce
from unetkit.formats.job import FileOptions, Image
from unetkit.modelfile.about import About, read_about
from unetkit.modelfile.card import ExportCard, Layout, Output
from unetkit.prediction import Predictor
from unetkit.prediction.load import LoadOptions, Model, load, of_stored, read_members, run_of, runtime_options
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
        gain: what int8 costs and gives; None for other types.
        reproduced: how a package of bioimage.io compares with its own test tensors.
    """

    path: Path
    files: tuple[Path, ...]
    card: ExportCard
    parity: Parity | None
    scored: Scored | None
    gain: Gain | None = None
    reproduced: tuple[Reproduced, ...] = ()


class ExportOptions(TypedDict, total=False):
    """What a file takes and gives, as the fields of `FileOptions`, and these; None is as left out.

    `head` of a UNet++. `max_drop` of the score that int8 may cost (0.005). `about` may also be the path of a YAML file.
    """

    output: Output | None
    layout: Layout | None
    preprocessing: bool | None
    size: tuple[int, int] | None
    batch: int | None
    opset: int | None
    half: bool | None
    int8: bool | None
    head: int | None
    max_drop: float | None
    about: About | str | Path | None


def export(
    model: Model,
    *,
    to: str,
    out: str | Path,
    data: str | Path | None = None,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Write a network into a file for another runtime, and keep the file if it computes the same there.

    It is compared with PyTorch on noise and, where data is given or the run's own is still there, on real images.

    Args:
        model: as `load` takes it, but no exported file.
        to: the format, a key of `unetkit.exporting.FORMATS` in any case: onnx, openvino, pt2, aoti, torchscript,
            bioimageio, savedmodel, mindir, mindir-lite, air, mindspore-ckpt, safetensors, or web.
        out: the file to write, of web the folder; an older one is replaced.
        data: labelled images on which a score through the file must be the network's own.
        options: what the file takes and gives: `output` (logits, softmax: probabilities, argmax: classes; with
            preprocessing, softmax is the default), `layout` (nchw, nhwc, nchw-nhwc), `preprocessing` inside the file,
            the only `size` (height, width) and `batch` that go in, `opset` of ONNX, weights in `half` or `int8`. `head`
            of a UNet++, `max_drop` of the score in int8 (0.005), and for packages of bioimage.io `about`: authors,
            licence and what else only people know. None values are passed over.
        progress: follows the work.

    Returns:
        The files that were written, their card, and how they compare with PyTorch.

    Raises:
        UsageError: no such format or option, options that contradict each other, a package that is not installed, or
            a network that the format does not hold.
        ParityError: the file computes something else than the network; it is not kept.
        ModelFileError: no network is there, or it was exported already.
        DataError: the data has no labels for its classes.
        StorageError: the disk did not take it; nothing is left half-written.

    Example:
        >>> unetkit.export("runs/first", to="onnx", out="first.onnx", data="data/isbi2012")
    """
    asked: ExportOptions = options or {}
    known = ExportOptions.__annotations__
    if unknown := sorted(asked.keys() - known.keys()):
        raise UsageError(f"there is no option {unknown[0]!r} of an export; there are: {', '.join(sorted(known))}")
    to, progress, run = to.lower(), progress or NoProgress(), run_of(model)
    predictor = _in_torch(model, asked.get("head"))
    images = _images(data, predictor, run)
    soft = asked.get("preprocessing") or (to in FORMATS and FORMATS[to].output == "softmax")
    given: dict[str, Any] = {"output": "softmax" if soft else "logits"}
    given |= {key: value for key, value in asked.items() if value is not None and key not in ("head", "max_drop")}
    given["about"] = about = read_about(asked.get("about"))
    if to == "bioimageio" and (missing := about.missing_for_zoo()):
        progress.log(f"note: for an upload the BioImage Model Zoo also wants {', '.join(missing)}; give --about FILE")
    # What is not a run is taken for trained on images of 8 bits.
    described = None if run is None else run.read_json("data.json")
    eight_bit = described is None or described["dtype"] == "uint8"
    job = make_job(predictor, FileOptions(**given), images=_few(images), eight_bit=eight_bit)
    scored = list[Scored]()

    def score(draft: Path) -> Scored:
        progress.log(f"scoring {draft.name} and PyTorch on the same images")
        scored.append(_score(load(draft, device="cpu"), predictor, images, card=job.card))
        return scored[-1]

    with cpu_threads(None):
        if not job.options.int8:
            written = export_network(job, to, Path(out), accept=None if data is None else score)
            last = scored[-1] if scored else None
            return Checked(written.path, written.files, written.card, written.parity, last)
        if images is None:
            raise UsageError("int8 is calibrated and scored on labelled images; give --data DIR")
        # Calibrated on what the run was trained on, where that is known, evenly spread.
        held_out = set(images.indices if run is not None and images.chosen is not None else ())
        trained = [index for index in range(len(images.dataset)) if index not in held_out]
        spread = trained[:: max(1, len(trained) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
        real = [(sample.name, sample.input) for sample in (images.dataset[index] for index in spread)]
        max_drop = asked.get("max_drop")
        written, best, gain = export_int8(
            job,
            to,
            Path(out),
            inputs=tuple(x.numpy() for _, x in real_inputs(job.card, real)),
            score=score,
            max_drop=MAX_DROP if max_drop is None else max_drop,
            progress=progress,
        )
        return Checked(written.path, written.files, written.card, written.parity, best, gain)


def check(
    model: str | Path,
    *,
    data: str | Path | None = None,
    against: Model | None = None,
    options: LoadOptions | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Compare an exported file with the network that it was made from, in outputs and in a score.

    A package of bioimage.io, anybody's, is also run on the test tensors that lie in it.

    Args:
        model: the exported file.
        data: labelled images; None: noise alone, and images of the run where they are still there.
        against: what it was made from; None: the run in whose folder it lies, where it does.
        options: `runtime`, `threads` and `precision`, as of `load`, and `head` of a UNet++ that it is compared with.
        progress: follows the work.

    Returns:
        The file, its card, and how it compares with PyTorch.

    Raises:
        ModelFileError: not an exported file, or a damaged one.
        ParityError: it computes something else.
        UsageError: there is nothing to check it with, or a runtime that does not run it.
        DataError: the data has no labels for its classes.

    Example:
        >>> unetkit.check("first.onnx", data="data/isbi2012", against="runs/first").parity.absolute
    """
    asked: LoadOptions = options or {}
    file = load(model, options={**asked, "head": None})
    if not isinstance(file.network, ExportedNetwork):
        raise ModelFileError(f"{model}: not an exported file; to score a run or a checkpoint use unetkit evaluate")
    exported, source = file.network, against if against is not None else run_of(model)
    reproduced = reproduce(model, runtime_options(asked, "cpu")) or ()
    if failed := next((one for one in reproduced if not one.mismatched <= one.allowed[2]), None):
        raise ParityError(
            f"{model}: {failed.output} differs from its test tensor by {failed.absolute:.2g} at most, and by more than "
            f"is allowed in {failed.mismatched:.0f} values of a million; {failed.allowed[2]:g} are allowed"
        )
    if source is None and data is None and not reproduced:
        raise UsageError(f"{model}: there is nothing to check it with; give --data DIR or --against RUN")
    reference = None if source is None else _in_torch(source, asked.get("head"))
    images = _images(data, file, None if source is None else run_of(source))
    with cpu_threads(asked.get("threads")):
        parity = None if reference is None else compare(exported, pipeline_of(reference, exported.card), _few(images))
        scored = None
        if data is not None:
            (progress or NoProgress()).log(f"scoring {Path(model).name} on {data}")
            scored = _score(file, reference, images, card=exported.card)
        return Checked(Path(model), (Path(model),), exported.card, parity, scored, reproduced=reproduced)


def _in_torch(model: Model, head: int | None) -> Predictor:
    return model if isinstance(model, Predictor) else of_stored(*read_members(model), device="cpu", head=head)


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


def _images(data: str | Path | None, predictor: Predictor, run: Run | None) -> _Images | None:
    """Open the data that is given, or else the run's own where it still can be opened."""
    if data is None and (run is None or run.config.data.path is None):
        return None
    try:
        return _Images(*labelled(data, predictor.card, run))
    except DataError:
        if data is not None:
            raise
        return None


def _few(images: _Images | None) -> list[Image]:
    """Return a few images with their names."""
    if images is None:
        return []
    samples = (images.dataset[index] for index in images.indices[:_REAL_IMAGES])
    return [(sample.name, sample.input) for sample in samples]


def _score(file: Predictor, torch: Predictor | None, images: _Images | None, *, card: ExportCard) -> Scored:
    """Score the file and the network in PyTorch on the same images; refuse scores that its types do not explain."""
    assert images is not None
    dtypes = file.network.dtypes if isinstance(file.network, ExportedNetwork) else (card.dtype,)
    metric, bound = _METRICS[card.output], max(_METRIC_BOUNDS[name] for name in dtypes)
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
