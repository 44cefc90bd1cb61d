"""An export in eight-bit integers: as many layers as the score allows, and what it costs and gains."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.errors import ParityError
from unetkit.exporting.write import Exported, export_network
from unetkit.formats.job import ExportJob, Quantisation
from unetkit.progress import Progress
from unetkit.storage.atomic import temporary_folder
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

    @property
    def drop(self) -> float:
        """How much of the score in PyTorch the file loses."""
        assert self.torch is not None
        return self.torch - self.file


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


def export_int8(
    job: ExportJob,
    to: str,
    out: Path,
    *,
    inputs: tuple[NDArray[Any], ...],
    score: Callable[[Path], Scored],
    max_drop: float,
    progress: Progress,
) -> tuple[Exported, Scored, Gain]:
    """Write a network in int8, with more and more layers left in float32 until the score is kept.

    Args:
        job: what to write.
        to: name of the format.
        out: the file to write.
        inputs: images as the file takes them, to calibrate on.
        score: gives the score of a file and that of PyTorch.
        max_drop: of the score.
        progress: follows the work.

    Raises:
        ParityError: the score drops too far even so; no file is kept.
    """
    drops = list[float]()
    for floating in FLOATING:
        scored = list[Scored]()

        def accept(draft: Path, scored: list[Scored] = scored) -> None:
            scored.append(score(draft))
            if not scored[0].drop <= max_drop:
                raise ParityError(f"the score drops by {scored[0].drop:.4f}")

        try:
            quantised = replace(job, quantisation=Quantisation(inputs, floating))
            written = export_network(quantised, to, out, accept=accept)
        except ParityError:
            if not scored:
                raise
            drops.append(scored[0].drop)
            progress.log(f"{floating} convolutions at either end in float32: the score drops {drops[-1]:.4f}")
            continue
        # Timed in turns with the float32 file of the same job.
        card = job.card.model_copy(update={"dtype": "float32"})
        plain = replace(job, options=replace(job.options, int8=False), card=card)
        with temporary_folder() as folder:
            whole = export_network(plain, to, folder / out.name)
            float32, int8 = bench([whole.path, out], batches=(1,))
        faster = statistics.median(int8.times_faster(float32))
        return written, scored[0], Gain(scored[0].drop, faster, floating, len(inputs))
    raise ParityError(
        f"int8 costs {min(drops):.4f} of the score with {FLOATING[-1]} convolutions at either end left in float32; at "
        f"most {max_drop:g} is allowed: use --half, leave --int8 out, or give more with --max-drop"
    )
