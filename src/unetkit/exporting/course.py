"""The one way to an exported file: write it under a temporary name, load it, compare it, and only then rename it."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from unetkit.errors import StorageError
from unetkit.exporting.formats import format_for
from unetkit.exporting.job import ExportJob
from unetkit.exporting.parity import Parity, compare
from unetkit.models import build_model
from unetkit.networks import read_network
from unetkit.remote import is_remote, send_file
from unetkit.runtimes import ExportCard, ExportedNetwork, RuntimeOptions, TorchModule, open_exported
from unetkit.storage import flush, make_folder


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


def export_network(
    job: ExportJob,
    to: str,
    out: Path,
    *,
    accept: Callable[[Path], None] | None = None,
) -> Exported:
    """Write a network in a format, and keep the file if it computes the same.

    Args:
        job: what to write.
        to: name of the format, a key of `FORMATS`.
        out: the file to write; an older one is replaced.
        accept: has a look at the file before it gets its name, and raises what speaks against it.

    Raises:
        UsageError: a format, or an option that it cannot express.
        ParityError: the file computes something else; it is not kept.
        StorageError: the disk did not take it.
    """
    chosen = format_for(to, out, job.options)
    if is_remote(out):
        with TemporaryDirectory(prefix="unetkit-") as folder:
            here = export_network(job, to, Path(folder) / out.name, accept=accept)
            for file in reversed(here.files):
                send_file(file, out.parent / file.name)
            return replace(here, path=out, files=tuple(out.parent / file.name for file in here.files))
    make_folder(out.parent)
    with _folder_beside(out) as folder:
        draft = folder / out.name
        chosen.write(job, draft)
        exported = _opened(draft, job)
        parity = compare(exported, job.reference, job.images)
        if accept is not None:
            accept(draft)
        files = _moved(draft, out)
    return Exported(out, files, exported.card, parity)


def _opened(draft: Path, job: ExportJob) -> ExportedNetwork:
    exported = open_exported(draft, RuntimeOptions(device="cpu"))
    if exported is not None:
        return exported
    stored = read_network(draft)  # a file of weights, which PyTorch itself runs
    network = build_model(stored.model)
    network.load_state_dict(stored.state)
    return ExportedNetwork(TorchModule(network.eval(), torch.device("cpu")), job.card)


@contextmanager
def _folder_beside(out: Path) -> Generator[Path]:
    folder = out.with_name(f".{out.name}.{os.getpid()}.part")
    make_folder(folder)
    try:
        yield folder
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _moved(draft: Path, out: Path) -> tuple[Path, ...]:
    """Move the file, after all that belongs to it, to its final name."""
    beside = sorted(path for path in draft.parent.iterdir() if path.stem == draft.stem and path != draft)
    files = [*beside, draft]
    for path in files:
        flush(path)
        path.replace(out.parent / path.name)
    flush(out.parent)
    return tuple(out.parent / path.name for path in reversed(files))
