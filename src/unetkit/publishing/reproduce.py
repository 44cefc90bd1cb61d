"""reproduce: train again by a research object, and say whether the result is the same and, if not, where they part.

The data is compared first, image by image, by its checksums. Then the packed configuration trains again, with its
seed, its threads and its device. On the same kind of machine (processor, device, precision, versions of torch, and the
number of cores where the configuration leaves the threads to the machine) weights and scores have to be the same bit
for bit. Elsewhere sums are rounded in another order, the weights drift apart, and it is enough that every score that
decides and lies between 0 and 1 is within `TOLERANCE`.

A crate is somebody else's file: only members that are asked for by name are read, with bounds, each by its checksum.
Nothing in it is run: a loss and metrics of its user's own are given again in Python, and recognised by their source.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ValidationError

from unetkit.config.io import first_complaint
from unetkit.data import Fingerprint, fingerprint, open_dataset
from unetkit.data.dataset import Dataset, name_of
from unetkit.errors import DamagedFileError, DataError, UsageError
from unetkit.metrics import MetricFunction, deciding_scores, definition_of
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.progress import NoProgress, Progress
from unetkit.publishing.pack import METADATA, RESULTS, STARTED_FROM
from unetkit.run import OWN_FUNCTIONS, Record, Run, open_run
from unetkit.storage.atomic import temporary_folder
from unetkit.storage.tree import open_tree
from unetkit.training.losses import LossFunction
from unetkit.training.own import Own
from unetkit.training.train import train

TOLERANCE = 0.02
"""By how much a score may differ on another kind of machine."""

_LARGEST_METADATA = 2**24
_MEMBERS = (*STARTED_FROM, *RESULTS)
_NEEDED = ("config.yaml", "data.json", "environment.json", "log.jsonl", "last.safetensors")
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Parting:
    """Two values that should be the same.

    Attributes:
        what: a tensor, a score, or a step.
        packed: its value in the crate; of a tensor 0.
        again: its value in the new training; of a tensor the largest absolute difference.
    """

    what: str
    packed: float
    again: float


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a training that was done again compares with the packed one.

    Attributes:
        images: of the data, which is the same.
        elsewhere: in what this machine is of another kind, a sentence each; empty: it is not.
        loss: the first step of the log whose loss differs; None: none does.
        last_step: of the packed log.
        tensors: the weights that differ, of all `tensor_count`.
        tensor_count: of both weights files.
        scores: those that differ, of all `score_count`.
        score_count: of the evaluation.
        beyond: the scores that decide and are further apart than `TOLERANCE`.
    """

    images: int
    elsewhere: tuple[str, ...]
    loss: Parting | None
    last_step: int
    tensors: tuple[Parting, ...]
    tensor_count: int
    scores: tuple[Parting, ...]
    score_count: int
    beyond: tuple[Parting, ...]

    @property
    def identical(self) -> bool:
        """Whether losses, weights and scores are the same bit for bit."""
        return self.loss is None and not self.tensors and not self.scores

    @property
    def same(self) -> bool:
        """Whether it is the same as far as the machines let it be."""
        return self.identical or (bool(self.elsewhere) and not self.beyond)


def reproduce(
    crate: str | Path,
    *,
    data: str | Path,
    out: str | Path | None = None,
    loss: LossFunction | None = None,
    metrics: Mapping[str, MetricFunction] | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Train again by a research object that `pack` wrote, and compare the result with the packed one.

    Args:
        crate: the .zip, or the folder that it was unpacked to.
        data: the data set that it was trained on.
        out: the run folder to make; None: the new training is not kept.
        loss: the function of its user's own that it was trained with, if there was one.
        metrics: likewise.
        progress: follows the training.

    Raises:
        DataError: the crate is no whole .zip, or `data` is not what it was trained on: the message names what differs.
        DamagedFileError: a member of the crate is not what was packed.
        UsageError: not a crate of unetkit, or functions of its user's own are missing or changed.
        ConfigError, RunFolderError, DeviceError, DivergedError, StorageError, InterruptedRun: as `train`.

    Example:
        >>> unetkit.reproduce("first.zip", data="data/isbi2012").same
    """
    own, progress = Own.of(loss, metrics), progress or NoProgress()
    with temporary_folder() as folder:
        packed = _unpacked(Path(crate), folder / "packed")
        known = _Known.of(packed)
        functions = {place: function.sha256 for place, function in known.functions.items()}
        if functions != {place: record["sha256"] for place, record in own.records()}:
            raise UsageError(
                f"{crate}: was trained with {', '.join(functions) or 'no functions'} of its user's own; give these, "
                "unchanged, and no others, in Python: unetkit.reproduce(crate, data=..., loss=..., metrics={...})"
            )
        _require_same(open_dataset(data, config=packed.config.data), known.data, f"{data}", f"{crate}")
        progress.log(f"the data is the same: {known.data.samples} images")
        again = folder / "again" if out is None else Path(out)
        run = train(packed.config, data=data, out=again, loss=loss, metrics=metrics, progress=progress)
        return compare_runs(packed, run)


class _Environment(BaseModel):
    processor: str
    cores: int
    device: str
    precision: str
    packages: dict[str, str | None]


class _Line(BaseModel):
    step: int
    loss: float | None = None


class _Function(BaseModel):
    sha256: str


class _Evaluation(BaseModel):
    scores: dict[str, float] = {}


class _Known(BaseModel):
    """What a run's files say, as far as it is compared."""

    data: Fingerprint
    environment: _Environment
    log: list[_Line]
    evaluation: _Evaluation
    functions: dict[str, _Function]

    @classmethod
    def of(cls, run: Run) -> Self:
        """Read the files of a run.

        Raises:
            DamagedFileError: they do not hold what a training writes.
        """
        read: Record = {name: run.read_json(f"{name}.json") or {} for name in ("data", "environment", "evaluation")}
        try:
            return cls.model_validate(read | {"log": run.read_log(), "functions": run.read_json(OWN_FUNCTIONS) or {}})
        except ValidationError as error:
            raise DamagedFileError(
                f"{run.path.name}: its files are not those of a training by this version ({first_complaint(error)}); "
                "train anew, and pack that"
            ) from None


def _unpacked(crate: Path, folder: Path) -> Run:
    """Write the members that are needed into a folder, which is a run then."""
    tree = open_tree(crate)
    if missing := next((name for name in (METADATA, *_NEEDED) if name not in tree.files), None):
        raise UsageError(f"{crate}: has no {missing}; expected a research object that `unetkit pack` wrote")
    described = tree.read(METADATA)
    try:
        if len(described) > _LARGEST_METADATA:
            raise ValueError("too large")
        graph: list[Record] = json.loads(described)["@graph"]
        checksums = {entity["@id"]: str(entity["sha256"]) for entity in graph if "sha256" in entity}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedFileError(f"{tree.source(METADATA)}: is not what `unetkit pack` wrote; get it again") from None
    folder.mkdir()
    for name in _MEMBERS:
        if name not in tree.files:
            continue
        content = tree.read(name)
        if hashlib.sha256(content).hexdigest() != checksums.get(name):
            raise DamagedFileError(
                f"{tree.source(name)}: is not the file that was packed (another SHA-256); get it again"
            )
        (folder / name).write_bytes(content)
    return open_run(folder)


def _require_same(dataset: Dataset, known: Fingerprint, data: str, crate: str) -> None:
    """Require that data is what a crate was trained on.

    Raises:
        DataError: it is not; the first images or labels that differ are named, with their files.
    """
    found = fingerprint(dataset)
    if (found.sha256_pixels, found.sha256_labels) == (known.sha256_pixels, known.sha256_labels):
        return
    before = dict(zip(known.names, zip(known.pixels_of_each, known.labels_of_each, strict=False), strict=False))
    now = dict(zip(found.names, zip(found.pixels_of_each, found.labels_of_each, strict=True), strict=True))
    differing = list[str]()
    for index, (name, checksums) in enumerate(now.items()):
        old, source = before.get(name), name_of(dataset, index)[1]
        where = f"{name} ({source})" if source and source != name else name
        parts = zip(("pixels", "labels"), old or (), checksums, strict=False)
        if old is None:
            differing.append(f"{where} was not there")
        elif changed := " and ".join(part for part, was, is_now in parts if was != is_now):
            differing.append(f"the {changed} of {where} differ")
    differing += [f"{name} is missing" for name in before if name not in now]
    named = "; ".join(differing[:_MOST_NAMED]) or "the images come in another order"
    more = f"; and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
    raise DataError(f"{data}: is not the data that {crate} was trained on: {named}{more}; give that data")


def compare_runs(packed: Run, again: Run) -> Reproduction:
    """Compare two finished runs of one configuration on the same data.

    Raises:
        DamagedFileError: a file of one is not what a training writes.
    """
    tensors, count, known, new = list[Parting](), 0, _Known.of(packed), _Known.of(again)
    for name in ("best.safetensors", "last.safetensors"):
        if not (packed.path / name).is_file():
            continue
        before, now = (Checkpoint.load(run.path / name).weights() for run in (packed, again))
        count += len(before)
        for key, tensor in before.items():
            other = now.get(key)
            if other is None or tensor.shape != other.shape:
                tensors.append(Parting(f"{name}: {key}", 0.0, math.inf))
            elif not torch.equal(tensor, other):
                furthest = float((tensor.double() - other.double()).abs().max())
                tensors.append(Parting(f"{name}: {key}", 0.0, furthest))
    losses, others = ({line.step: line.loss for line in one.log if line.loss is not None} for one in (known, new))
    parted = next((step for step, loss in losses.items() if others.get(step) != loss), None)
    scores, found = known.evaluation.scores, new.evaluation.scores
    pairs = [Parting(name, value, found.get(name, math.inf)) for name, value in scores.items()]
    apart = [one for one in pairs if one.packed != one.again and not (math.isnan(one.packed) and math.isnan(one.again))]
    cards = [definition_of(name) for name in deciding_scores(scores, packed.config.train.best_metric)]
    shares = {card.name for card in cards if (card.low, card.high) == (0.0, 1.0)}
    was, now_is = known.environment, new.environment
    compared = {key: (getattr(was, key), getattr(now_is, key)) for key in ("processor", "device", "precision")}
    compared["torch"] = was.packages.get("torch"), now_is.packages.get("torch")
    if packed.config.train.threads is None:
        compared["cores"] = was.cores, now_is.cores
    return Reproduction(
        images=known.data.samples,
        elsewhere=tuple(f"{key} {new}, was {old}" for key, (old, new) in compared.items() if old != new),
        loss=None if parted is None else Parting(f"step {parted}", losses[parted], others.get(parted, math.nan)),
        last_step=max(losses, default=0),
        tensors=tuple(tensors),
        tensor_count=count,
        scores=tuple(apart),
        score_count=len(scores),
        beyond=tuple(one for one in apart if one.what in shares and not abs(one.packed - one.again) <= TOLERANCE),
    )
