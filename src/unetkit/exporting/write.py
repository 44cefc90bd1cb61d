"""The one way to an exported file: write it under a temporary name, load it, compare it, and only then rename it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from unetkit.errors import UsageError
from unetkit.exporting.parity import Parity, compare
from unetkit.formats import ExportedNetwork, RuntimeOptions, format_for, open_exported
from unetkit.formats.fingerprint import add_fingerprint
from unetkit.formats.job import ExportJob, FileOptions, Half, Image, Pipeline
from unetkit.formats.pt2 import TorchModule
from unetkit.modelfile.card import LAYOUTS, OUTPUTS, ExportCard
from unetkit.models import fuse_batch_norm
from unetkit.prediction import Predictor
from unetkit.prediction.load import build, read_network
from unetkit.prediction.tiling import bytes_per_pixel
from unetkit.storage import is_remote, send_file
from unetkit.storage.atomic import flush, folder_for, temporary_folder
from unetkit.version import __version__


def make_job(
    predictor: Predictor, options: FileOptions, *, images: Sequence[Image] = (), eight_bit: bool = True
) -> ExportJob:
    """Prepare an export.

    Args:
        predictor: a torch network with its card, on the CPU.
        options: what the file takes and gives.
        images: real ones, to compare on.
        eight_bit: with preprocessing, the file takes uint8 pixels, unless images are resized before the network, which
            gives fractions; False: float32 in stored units.

    Raises:
        UsageError: the network is not a torch module, or the options contradict it or each other.
    """
    geometry, predict = predictor.geometry, predictor.config
    if options.half and options.int8:
        raise UsageError("float16 and int8 were both asked for; choose one")
    for name, value, known in (("output", options.output, OUTPUTS), ("layout", options.layout, LAYOUTS)):
        if value not in known:
            raise UsageError(f"{name}: found {value!r}; expected one of {', '.join(known)}")
    least = geometry.fitting_input_size(geometry.multiple)
    if options.size and min(options.size) < least:
        found = " x ".join(map(str, options.size))
        raise UsageError(f"size {found} is too small for the network; give sides of {least} or more")
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"batch {options.batch}: at least one image goes into a file")
    if options.preprocessing:
        # No stored pixel need mean 0 after normalisation, so that whoever runs the file could not give it one.
        predict = predict.model_copy(update={"padding_mode": "reflect"})
    of_file = {
        "unetkit": __version__,
        "predict": predict,
        "preprocessing": options.preprocessing,
        "input": "uint8" if options.preprocessing and eight_bit and predict.size is None else "float32",
        "output": options.output,
        "layout": options.layout,
        "size": options.size,
        "batch": options.batch,
        "geometry": replace(geometry, fixed=options.size),
        "dtype": "int8" if options.int8 else "float16" if options.half else "float32",
        "bytes_per_pixel": bytes_per_pixel(
            predictor.network, geometry, channels=predictor.card.channels, device=predictor.device
        ),
    }
    card = ExportCard.model_validate({**dict(predictor.card), **of_file})
    reference = pipeline_of(predictor, card)
    folded = fuse_batch_norm(reference.network)
    graph = Pipeline(Half(folded) if options.half else folded, card).eval()
    return ExportJob(graph, reference, card, options, tuple(images))


def pipeline_of(predictor: Predictor, card: ExportCard) -> Pipeline:
    """Return what a file with this card should compute, in PyTorch.

    Raises:
        UsageError: the network is not a torch module.
    """
    if not isinstance(predictor.network, nn.Module):
        raise UsageError("this is an exported file already; give the run or the checkpoint that it was made from")
    return Pipeline(predictor.network, card).eval()


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and how near it is to the network.

    Attributes:
        path: of the file.
        files: all that was written: the file, and what belongs to it.
        card: that it carries.
        parity: how it compares with PyTorch.
    """

    path: Path
    files: tuple[Path, ...]
    card: ExportCard
    parity: Parity


def export_network(job: ExportJob, to: str, out: Path, *, accept: Callable[[Path], object] | None = None) -> Exported:
    """Write a network in a format, and keep the file if it computes the same.

    Args:
        job: what to write.
        to: name of the format, a key of `FORMATS`.
        out: the file or, of a format of several files, the folder to write; an older one is replaced.
        accept: looks at the file before it gets its name, and raises what is against it.

    Raises:
        UsageError: a format, or an option that it cannot express.
        ParityError: the file computes something else; it is not kept.
        StorageError: the disk did not take it, or the key of this user's exports.
    """
    chosen = format_for(to, out, job.options)
    if is_remote(out):
        with temporary_folder() as folder:
            here = export_network(job, to, folder / out.name, accept=accept)
            there = {file: out.parent / file.relative_to(folder) for file in here.files}
            for file in reversed(here.files):
                send_file(file, there[file])
            return replace(here, path=there[here.path], files=tuple(there.values()))
    final = out / chosen.main if chosen.main else out
    with folder_for(final.parent), temporary_folder(final) as folder:
        draft = folder / final.name
        chosen.write(job, draft)
        if chosen.runs_code:
            add_fingerprint(draft)
        exported = open_exported(draft, RuntimeOptions(device="cpu"))
        if exported is None:  # a file of weights, which PyTorch itself runs
            network = build(read_network(draft)).eval()
            exported = ExportedNetwork(TorchModule(network, torch.device("cpu")), job.card)
        parity = compare(exported, job.reference, job.images)
        if accept is not None:
            accept(draft)
        # The file gets its final name after all that belongs to it.
        files = [draft, *sorted((one for one in folder.iterdir() if one != draft), reverse=True)]
        for file in reversed(files):
            flush(file)
            file.replace(final.parent / file.name)
        flush(final.parent)
    return Exported(final, tuple(final.parent / file.name for file in files), exported.card, parity)
