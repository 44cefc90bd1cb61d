"""An export in eight-bit integers: as many layers as the score allows, and what it costs and gains."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from unetkit.errors import ParityError
from unetkit.exporting.write import Exported, export_network
from unetkit.formats.job import ExportJob, Quantisation
from unetkit.progress import Progress
from unetkit.timing import bench

MAX_DROP = 0.005
FLOATING = (0, 1, 2, 4)
"""How many convolutions at either end stay in float32: the first that keeps the score is taken."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One score of the same images, through the file and in PyTorch.

    Attributes:
        metric: its name.
        file: through the file.
        torch: in PyTorch; None where there is no network to compare with.
        images: how many there are.
    """

    metric: str
    file: float
    torch: float | None
    images: int


@dataclass(frozen=True, slots=True)
class Gain:
    """What int8 costs and gives.

    Attributes:
        drop: of the score, against PyTorch.
        times_faster: than the same network in float32 in the same runtime: the median of a few rounds.
        floating: convolutions at either end that stayed in float32.
        calibrated_on: number of images.
    """

    drop: float
    times_faster: float
    floating: int
    calibrated_on: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What an export in int8 has to keep.

    Attributes:
        inputs: to calibrate on.
        score: gives the score of a file beside that of PyTorch.
        max_drop: of the score.
        progress: follows the work.
    """

    inputs: tuple[NDArray[Any], ...]
    score: Callable[[Path], Scored]
    max_drop: float
    progress: Progress


def export_in_integers(job: ExportJob, to: str, out: Path, demand: Demand) -> tuple[Exported, Scored, Gain]:
    """Write a network in int8, with more and more layers left in float32 until the score is kept.

    Raises:
        ParityError: the score drops too far even so; no file is kept.
    """
    drops = list[float]()
    for floating in FLOATING:
        scored = list[Scored]()
        quantised = replace(job, quantisation=Quantisation(demand.inputs, floating))
        try:
            written = export_network(quantised, to, out, accept=lambda draft, seen=scored: _accept(draft, seen, demand))
        except ParityError:
            drops.append(_drop(scored[0]))
            demand.progress.log(f"{floating} convolutions at either end in float32: the score drops {drops[-1]:.4f}")
            continue
        gain = Gain(_drop(scored[0]), _times_faster(job, to, out), floating, len(demand.inputs))
        return written, scored[0], gain
    raise ParityError(
        f"int8 costs {min(drops):.4f} of the score with {FLOATING[-1]} convolutions at either end left in float32; at "
        f"most {demand.max_drop:g} is allowed: use --half, leave --int8 out, or give more with --max-drop"
    )


def _accept(draft: Path, seen: list[Scored], demand: Demand) -> None:
    seen.append(demand.score(draft))
    if not _drop(seen[0]) <= demand.max_drop:
        raise ParityError(f"the score drops by {_drop(seen[0]):.4f}")


def _drop(scored: Scored) -> float:
    assert scored.torch is not None
    return scored.torch - scored.file


def _times_faster(job: ExportJob, to: str, out: Path) -> float:
    """Compare with the float32 file of the same job, in turns."""
    plain = replace(
        job, options=replace(job.options, int8=False), card=job.card.model_copy(update={"dtype": "float32"})
    )
    with TemporaryDirectory(prefix="unetkit-") as folder:
        written = export_network(plain, to, Path(folder) / out.name)
        float32, int8 = bench([written.path, out], batches=(1,))
    return statistics.median(int8.times_faster(float32))
