"""From image files to files of predictions: an image, a stack, or a folder of them.

Masks of two classes are 0 and 255, as labels are; those of more classes hold class indices. Probabilities are float32:
of the second class where there are two, of every class otherwise, one channel a class, the border class among them;
in masks it counts as the object that it belongs to. What can be refused is refused
before the first pixel is predicted, and an output is there whole or not at all: a folder, too.

Legend of shapes: K channels of a page, H height, W width.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.data.images import is_tiff, open_pages
from unetkit.data.pages import Pages, as_pixels
from unetkit.errors import UsageError
from unetkit.prediction.ahead import ahead
from unetkit.prediction.outputs import Form, Output, png_image, tiff_stack
from unetkit.prediction.predictor import Part, Predictor, most_probable
from unetkit.prediction.sources import folder_whole, names_for, open_fitting, require_empty, require_not_source
from unetkit.prediction.uncertainty import MEASURES, answers_to, uncertainty
from unetkit.progress import Reporter, Silence
from unetkit.remote import local_copy
from unetkit.storage import make_folder

_OUTPUTS = {".tif": tiff_stack, ".tiff": tiff_stack, ".png": png_image}


def predict_to_file(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    probabilities: bool = False,
    uncertain: Sequence[Predictor] = (),
    reporter: Reporter | None = None,
) -> tuple[str, ...]:
    """Segment an image, a stack or a folder of images, and write as many pages of the same sizes.

    Args:
        predictor: the network.
        source: an image file, or a folder whose image files are all segmented.
        out: the file to write, .tif or .png, or a folder that takes the source's name; for a
            folder of images, a new or empty folder.
        probabilities: write probabilities instead of masks.
        uncertain: write how uncertain these are instead, an ensemble's members or the predictor alone.
        reporter: hears about the course.

    Returns:
        Sentences that say where tiles may differ from an untiled prediction; none where they do not.

    Raises:
        DataError: an image that cannot be read, or that the network does not take.
        UsageError: an output that cannot hold the result, or that would overwrite the images.
        StorageError: the disk did not take the output.
    """
    source, out = local_copy(source), Path(out)
    writing = _Writing(predictor, probabilities, tuple(uncertain), reporter or Silence())
    writing.require_fractions()
    if source.is_dir():
        return _predict_folder(writing, source, out)
    if out.is_dir():
        out /= _name_for(source, fractions=writing.fractions)
    task = writing.planned(source, out)
    require_not_source(out, source)
    make_folder(out.parent)
    return writing.carry_out([task])


def require_probabilities(predictor: Predictor) -> None:
    """Make sure that a predictor has probabilities to give.

    Raises:
        UsageError: it has not.
    """
    if predictor.hard:
        raise UsageError("this file gives classes alone, no probabilities; export it again with --head softmax")


@dataclass(frozen=True, slots=True)
class _Task:
    """One file to be predicted, whose headers have been read."""

    source: Path
    out: Path
    form: Form
    parts: int
    note: str | None


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is common to all files of a prediction."""

    predictor: Predictor
    probabilities: bool
    uncertain: tuple[Predictor, ...]
    reporter: Reporter

    @property
    def fractions(self) -> bool:
        """Whether values between 0 and 1 are written, not classes."""
        return self.probabilities or len(self.uncertain) > 0

    def require_fractions(self) -> None:
        """Make sure that there is what is asked for.

        Raises:
            UsageError: two things at once, or a file that gives classes alone.
        """
        if self.probabilities and self.uncertain:
            raise UsageError("probabilities and uncertainty were both asked for; a file holds one of them")
        if self.fractions:
            require_probabilities(self.predictor)

    def planned(self, source: Path, out: Path) -> _Task:
        """Read the headers of a file and refuse what cannot be done.

        Raises:
            DataError, UsageError: as `predict_to_file`.
        """
        pages = open_fitting(self.predictor, source)
        if out.suffix.lower() not in _OUTPUTS:
            raise UsageError(f"{out}: its ending says no form that is written; choose a name with .tif or .png")
        if out.suffix.lower() == ".png" and (self.fractions or pages.count > 1):
            found = f"{source} has {pages.count} pages, which are"
            if self.fractions:
                found = "uncertainty maps are" if self.uncertain else "probabilities are"
            raise UsageError(f"{out}: {found} too much for a PNG file; choose a name with .tif")
        plan = self.predictor.plan(pages.height, pages.width)
        parts = 1 if self.uncertain else plan.parts
        return _Task(source, out, self._form(pages), parts * pages.count, plan.note)

    def carry_out(self, tasks: list[_Task]) -> tuple[str, ...]:
        """Predict and write every file, and return their notes."""
        done, total, started, pixels = 0, sum(task.parts for task in tasks), time.monotonic(), 0
        self.reporter.advance(done, total, {})
        for task in tasks:
            with _OUTPUTS[task.out.suffix.lower()](task.out, task.form) as output:
                for size in self._fill(output, task.source):
                    done, pixels = done + 1, pixels + size
                    speed = pixels / 1e6 / (time.monotonic() - started)
                    self.reporter.advance(done, total, {"Mpx/s": f"{speed:.2f}"})
        return tuple(dict.fromkeys(task.note for task in tasks if task.note))

    def _fill(self, output: Output, source: Path) -> Iterator[int]:
        """Predict every page, and yield the number of pixels that each part has brought."""
        pages = open_pages(source)
        images = ((page, as_pixels(pages.read(page), f"{source}, page {page}")) for page in range(pages.count))
        parts = ((page, part) for page, pixels in ahead(images) for part in self._parts(pixels))
        for page, part in ahead(parts):
            values_KHW = self._values(part)
            output.put(page, part.rows.start, part.columns.start, values_KHW)
            yield values_KHW[0].size

    def _parts(self, pixels: NDArray[Any]) -> Iterator[Part]:
        if not self.uncertain:
            return self.predictor.parts(pixels)
        measured = torch.from_numpy(uncertainty(answers_to(pixels, self.uncertain)))
        return iter([Part(slice(0, pixels.shape[1]), slice(0, pixels.shape[2]), measured)])

    def _values(self, part: Part) -> NDArray[Any]:
        if self.uncertain:
            return part.probabilities_KHW.numpy()
        if self.probabilities:
            two = len(self.predictor.classes) == 2
            return (part.probabilities_KHW[1:] if two else part.probabilities_KHW).cpu().numpy()
        labels_HW = most_probable(self.predictor.of_data(part.probabilities_KHW))
        return (labels_HW * np.uint8(255) if len(self.predictor.data_classes) == 2 else labels_HW)[None]

    def _form(self, pages: Pages) -> Form:
        classes = self.predictor.classes if self.probabilities else self.predictor.data_classes
        two = len(classes) == 2
        channels = MEASURES if self.uncertain else classes if self.probabilities and not two else ()
        return Form(
            dtype=np.float32 if self.fractions else self.predictor.label_type,
            height=pages.height,
            width=pages.width,
            pages=pages.count,
            channels=channels,
            white=1.0 if self.fractions else 255.0 if two else len(classes) - 1.0,
        )


def _predict_folder(writing: _Writing, source: Path, out: Path) -> tuple[str, ...]:
    require_empty(out)
    names = names_for(source, partial(_name_for, fractions=writing.fractions))
    tasks = [writing.planned(image, Path(name)) for image, name in names.items()]
    with folder_whole(out) as temporary:
        return writing.carry_out([replace(task, out=temporary / task.out) for task in tasks])


def _name_for(image: Path, *, fractions: bool) -> str:
    return f"{image.stem}{'.tif' if fractions or is_tiff(image) else '.png'}"
