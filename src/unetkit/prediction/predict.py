"""predict, predict_file, predict_objects: a network on pixels without labels.

`predict_file` writes masks or probabilities of an image, a stack or a folder. Masks of two classes are 0 and 255, as
labels are; those of more classes hold class indices. Probabilities are float32: of the second class where there are
two, of every class otherwise, one channel a class, the border class among them; in masks it counts as the object that
it belongs to. `predict_objects` writes labels as TIFF, COCO JSON, or outlines drawn on the images; the objects of a
page are made of all its probabilities at once, which are held in memory, four bytes a class and pixel.

What can be refused is refused before the first pixel is predicted, and an output is there whole or not at all: a
folder, too.

Legend of shapes: C channels, K classes or channels of a page, H height, W width, N objects.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.devices import cpu_threads
from unetkit.errors import UsageError
from unetkit.formats.runtime import required
from unetkit.images import has_pages, image_path, is_folder
from unetkit.images.convert import Writer, image_writer
from unetkit.images.image import ALL
from unetkit.images.omewrite import SHARD, form_at, ome_zarr, require_place
from unetkit.images.write import Form, png_image, tiff_stack
from unetkit.objects import ObjectMap, method_for
from unetkit.objects.find import border_index, colour_of
from unetkit.prediction.blocks import reason_against, values_of
from unetkit.prediction.crops import prefetch
from unetkit.prediction.engine import Work, predict_in_blocks
from unetkit.prediction.labels import TABLES, table_of
from unetkit.prediction.load import LoadOptions, Model, load, members
from unetkit.prediction.object_files import (
    Found,
    Sink,
    coco_file,
    geojson_file,
    imagej_file,
    labels,
    outlines,
    table_file,
)
from unetkit.prediction.predictor import Part, Predictor, require_probabilities
from unetkit.prediction.sources import (
    Region,
    names_for,
    open_fitting,
    open_region,
    other_units,
    parts_within,
    regions_for,
    require_empty,
    require_free,
    require_not_source,
    sections_around,
)
from unetkit.prediction.uncertainty import MEASURES, answers_to, uncertainty
from unetkit.progress import NoProgress, Progress
from unetkit.storage import is_remote, url_of
from unetkit.storage.atomic import atomic_folder, make_folder

Answers = Callable[[int], NDArray[np.float32]]
"""Gives the probabilities [K, H, W] of a page by its number."""


@dataclass(frozen=True, slots=True)
class PredictedFile:
    """One image file that was predicted.

    Attributes:
        source: the image file.
        pages: how many it has.
        height: of a page in pixels.
        width: of a page in pixels.
        objects: how many were found in all its pages; None where objects were not looked for.
    """

    source: Path
    pages: int
    height: int
    width: int
    objects: int | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a prediction has written.

    Attributes:
        written: the files of masks; of objects the files and folders, as they were named.
        images: what was predicted.
        seconds: that it took, reading and writing included, the loading of the network not.
        notes: sentences about where the result may differ from an untiled prediction, and how masks are decided.
    """

    written: tuple[Path, ...]
    images: tuple[PredictedFile, ...]
    seconds: float
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        content = asdict(self) | {"written": list(map(url_of, self.written)), "notes": list(self.notes)}
        content["images"] = [asdict(one) | {"source": url_of(one.source)} for one in self.images]
        return content


def predict(
    model: Model, image: NDArray[Any], *, probabilities: bool = False, **options: Unpack[LoadOptions]
) -> NDArray[Any]:
    """Segment one image of any size.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        image: [H, W], or [C, H, W] with the channels of the training images, in the units that it was trained in.
        probabilities: return the probabilities of the classes instead.
        options: keys of the `predict` section, such as tta=True, and those of `load`.

    Returns:
        Class indices [H, W], or probabilities [K, H, W] float32.

    Raises:
        DataError: another number of channels or dimensions.
        UsageError: an exported file that has no probabilities to give.

    Example:
        >>> mask = unetkit.predict("runs/first", image, tta=True)
    """
    predictor = load(model, options=options).folded()
    if probabilities:
        require_probabilities(predictor)
    pixels = image[None] if image.ndim == 2 else image
    with cpu_threads(options.get("threads")):
        return predictor.probabilities(pixels) if probabilities else predictor.labels(pixels)


def predict_file(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    roi: str | Path | None = None,
    options: LoadOptions | None = None,
    device: str = "auto",
    workers: int = 1,
    dask: str | None = None,
    memory: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Segment an image file, a stack, or a folder of images into files of the same sizes and page counts.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        source: what to segment.
        out: the file or folder to write.
        probabilities: write probabilities instead of masks.
        uncertainty: write how uncertain they are instead: entropy and mutual information of the answers to all flips
            and turns, of all members where the model is the folder of a cross-validation.
        roi: a mask, or a folder of masks with names like the images', nonzero where something may be found.
        options: keys of the `predict` section, such as {"tta": True}, and those of `load`.
        device: auto, cpu, cuda or mps.
        workers: processes on this machine that predict blocks of a large image or volume.
        dask: the address of a dask scheduler whose workers do that instead, such as "tcp://host:8786".
        memory: gigabytes that each process may hold in all; None: half of what is free, for all of them together.
        resume: go on with an output that the same call began and did not finish.
        overwrite: replace an output that is there, finished or not.
        progress: follows the work.

    Returns:
        What was predicted and written, with notes on where it may differ from an untiled prediction.

    Raises:
        DataError, UsageError, StorageError: nothing is left half-written, but for blocks that `resume` goes on with.
        FailedBlocksError: some blocks failed; the others are kept for `resume`.

    Example:
        >>> unetkit.predict_file("runs/first", "stack.tif", "masks.tif")
    """
    predictor = load(model, device=device, options=options).folded()
    uncertain = members(model, predictor, device=device, options=options) if uncertainty else ()
    work = Work(workers, dask, memory, resume, overwrite, model, device, options or {})
    with cpu_threads((options or {}).get("threads")):
        return predict_to_file(
            predictor,
            source,
            out,
            probabilities=probabilities,
            uncertain=uncertain,
            roi=None if roi is None else image_path(roi),
            work=work,
            progress=progress,
        )


def predict_objects(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    outlines: bool = False,
    through_depth: bool = False,
    roi: str | Path | None = None,
    options: LoadOptions | None = None,
    device: str = "auto",
    workers: int = 1,
    dask: str | None = None,
    memory: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Find the objects of an image file, a stack, or a folder of images, and write them.

    The objects of a page are made of all its probabilities at once: four bytes a class and pixel are held in memory.
    Those of an OME-Zarr, and of a table with `memory` or `workers`, are made block by block, at any size.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        source: where to look for objects; each page by itself.
        out: a .tif of labels (a folder of them for a folder of images), a .json in COCO's form, a .zip of ImageJ's
            regions, a .geojson for QuPath, or with `outlines` a .png that shows them; an .ome.zarr of labels, with a
            table of the objects beside it, NAME.csv.
        outlines: draw the objects on the images: beside `out`, or as `out` where that is a .png.
        through_depth: objects of an OME-Zarr go through the slices of a volume; else each slice has its own.
        roi: a mask, or a folder of masks with names like the images', nonzero where something may be found.
        options: keys of the `predict` section, those of `objects` such as {"objects.threshold": 0.6}, and those of
            `load`.
        device: auto, cpu, cuda or mps.
        workers: of an OME-Zarr, as `predict_file` has them, and so all that follow.
        dask: the address of a scheduler.
        memory: gigabytes that each process may hold.
        resume: go on with an unfinished output.
        overwrite: replace an output that is there.
        progress: follows the work.

    Returns:
        What was predicted and written, with notes on where it may differ from an untiled prediction.

    Raises:
        DataError, ConfigError, UsageError, StorageError: nothing is left half-written.
        FailedBlocksError: some blocks failed; the others are kept for `resume`.

    Example:
        >>> unetkit.predict_objects("runs/nuclei", "cells.png", "cells.json", outlines=True)
    """
    predictor = load(model, device=device, options=options).folded()
    work = Work(workers, dask, memory, resume, overwrite, model, device, options or {})
    within = None if roi is None else image_path(roi)
    with cpu_threads((options or {}).get("threads")):
        table, large = Path(out).suffix.lower() in TABLES, work.in_blocks or through_depth
        if image_writer(Path(out)) is ome_zarr or (table and large):
            if outlines:
                raise UsageError(f"{out}: outlines are drawn on single images; leave --outlines out")
            return objects_in_blocks(
                predictor, source, out, through_depth=through_depth, roi=within, work=work, progress=progress
            )
        if large:
            raise UsageError(
                f"{out}: --workers, --dask, --memory, --resume and --through-depth are for objects of any size; choose "
                "a name with .ome.zarr, .csv or .parquet"
            )
        return objects_to_file(predictor, source, out, outlines=outlines, roi=within, progress=progress)


def predict_to_file(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    probabilities: bool = False,
    uncertain: Sequence[Predictor] = (),
    roi: Path | None = None,
    work: Work | None = None,
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Segment an image, a stack or a folder of images, and write as many pages of the same sizes.

    Args:
        predictor: the network.
        source: an image file, or a folder whose image files are all segmented.
        out: the file to write, .tif or .png, or a folder that takes the source's name; for a
            folder of images, a new or empty folder.
        probabilities: write probabilities instead of masks.
        uncertain: write how uncertain these are instead, an ensemble's members or the predictor alone.
        roi: a mask, or a folder of masks, of where something may be found; None: everywhere.
        work: who computes the blocks of a large output, and what becomes of an earlier one; None: this process.
        answers: what the network gave to the pages of one image before; None: it is asked.
        progress: follows the work.

    Returns:
        What was predicted and written, with notes on where tiles may differ from an untiled prediction.

    Raises:
        DataError: an image that cannot be read, or that the network does not take.
        UsageError: an output that cannot hold the result, or that would overwrite the images.
        StorageError: the disk did not take the output.
        FailedBlocksError: some blocks of a large output failed; the others are kept.
    """
    begun, source, out, work = time.monotonic(), image_path(source), Path(out), work or Work()
    writing = _Writing(predictor, probabilities, tuple(uncertain), progress or NoProgress(), answers)
    writing.require_fractions()

    def name_for(image: Path) -> str:
        return f"{image.stem}{'.tif' if writing.fractions or has_pages(image) else '.png'}"

    if is_folder(source):
        if work.in_blocks:
            raise UsageError(
                f"{source}: a folder of images is predicted by this process, image by image; --workers, --dask, "
                "--memory and --resume are for one image or volume"
            )
        require_empty(out)
        named = names_for(predictor, source, name_for, writing.progress)
        around = sections_around(predictor, list(named))
        regions = regions_for(list(named), roi)
        tasks = [writing.planned(image, Path(name), around[image], regions[image]) for image, name in named.items()]
        with atomic_folder(out) as temporary:
            writing.carry_out([replace(task, out=temporary / task.out) for task in tasks])
        return writing.predicted(tasks, out, time.monotonic() - begun)
    if is_folder(out):
        out /= name_for(source)
    task = writing.planned(source, out, region=regions_for([source], roi)[source])
    require_not_source(out, source)
    require_free(out, overwrite=work.overwrite, resume=work.resume)
    reason = writing.reason_against_blocks(task)
    if work.in_blocks and reason is not None:
        raise UsageError(
            f"{out}: cannot be made in blocks, as --workers, --dask, --memory and --resume ask for: {reason}"
        )
    if (
        reason is None
        and answers is None
        and (task.writer is not tiff_stack or work.in_blocks or task.form.longest > SHARD)
    ):
        task = writing.in_blocks(task, work)
    else:
        make_folder(out.parent)
        writing.carry_out([task])
    return writing.predicted([task], out, time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class _Task:
    """One file to be predicted, whose headers have been read; `sections` are the files that it is seen with."""

    source: Path
    sections: tuple[Path, ...]
    region: Region | None
    out: Path
    writer: Writer
    form: Form
    parts: int
    note: str | None


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is common to all files of a prediction."""

    predictor: Predictor
    probabilities: bool
    uncertain: tuple[Predictor, ...]
    progress: Progress
    answers: Answers | None

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

    def planned(self, source: Path, out: Path, sections: tuple[Path, ...] = (), region: Path | None = None) -> _Task:
        """Read the headers of a file and refuse what cannot be done.

        Raises:
            DataError, UsageError: as `predict_to_file`.
        """
        pages = open_fitting(self.predictor, source, sections)
        writer = png_image if out.suffix.lower() == ".png" else image_writer(out)
        if writer is None:
            raise UsageError(
                f"{out}: its ending says no form that is written; choose a name with .tif, .png or .ome.zarr"
            )
        if out.suffix.lower() == ".png" and (self.fractions or pages.count > 1):
            found = f"{source} has {pages.count} pages, which are"
            if self.fractions:
                found = "uncertainty maps are" if self.uncertain else "probabilities are"
            raise UsageError(f"{out}: {found} too much for a PNG file; choose a name with .tif")
        classes = self.predictor.classes if self.probabilities else self.predictor.data_classes
        two = len(classes) == 2
        form = Form.like(
            pages,
            dtype=np.float32 if self.fractions else self.predictor.label_type,
            channels=MEASURES if self.uncertain else classes if self.probabilities and not two else (),
            white=1.0 if self.fractions else 255.0 if two else len(classes) - 1.0,
        )
        shown = form.channels and not self.uncertain
        form = replace(form, colours=(_GREY, *map(colour_of, range(1, len(classes)))) if shown else ())
        if writer not in (tiff_stack, png_image):  # OME-Zarr has places for more
            require_place(out)
            card = self.predictor.card.model_dump(mode="json")
            form = form_at(out, replace(form, labels=() if self.fractions else classes, card=card))
        plan = self.predictor.plan(pages.height, pages.width)
        parts = 1 if self.uncertain else plan.parts
        return _Task(source, sections, open_region(region, pages), out, writer, form, parts * pages.count, plan.note)

    def reason_against_blocks(self, task: _Task) -> str | None:
        """Say what keeps a file from being made in blocks; None: nothing."""
        if self.uncertain:
            return "uncertainty is measured on whole images"
        if task.writer is png_image:
            return "a PNG is written whole"
        return "it is sent whole to object storage" if is_remote(task.out) else reason_against(self.predictor)

    def in_blocks(self, task: _Task, work: Work) -> _Task:
        """Make a file block by block, and return what was done.

        Raises:
            UsageError, FailedBlocksError, StorageError: as `predict_in_blocks`.
        """
        made = predict_in_blocks(
            self.predictor,
            task.source,
            task.out,
            task.form,
            tiff=task.writer is tiff_stack,
            result="probabilities" if self.probabilities else "masks",
            work=work,
            region=None if task.region is None else task.region.path,
            progress=self.progress,
        )
        return replace(task, note=made.note)

    def predicted(self, tasks: list[_Task], out: Path, seconds: float) -> Predicted:
        """Say what was written."""
        notes = (*other_units(self.predictor, tasks[0].source, tasks[0].sections), *(task.note for task in tasks))
        decided = "" if self.fractions else self.predictor.decision
        images = tuple(PredictedFile(one.source, one.form.pages, one.form.height, one.form.width) for one in tasks)
        written = tuple(dict.fromkeys(out / task.out if out != task.out else out for task in tasks))
        return Predicted(written, images, seconds, _said(*self.predictor.notes, *notes, decided))

    def carry_out(self, tasks: list[_Task]) -> None:
        """Predict and write every file."""
        done, total, started, written = 0, sum(task.parts for task in tasks), time.monotonic(), 0
        self.progress.update(done, total, {})
        for task in tasks:
            with task.writer(task.out, task.form) as output:
                for page, part in prefetch(parts_within(task.region, self._parts(task), background=not self.uncertain)):
                    p_KHW, wanted = part.probabilities_KHW, self.probabilities
                    values_KHW = (
                        p_KHW.numpy()
                        if self.uncertain
                        else values_of(self.predictor, p_KHW, task.form, probabilities=wanted)
                    )
                    output.put(page, part.rows.start, part.columns.start, values_KHW)
                    done, written = done + 1, written + values_KHW[0].size
                    speed = written / 1e6 / (time.monotonic() - started)
                    self.progress.update(done, total, {"Mpx/s": f"{speed:.2f}"})

    def _parts(self, task: _Task) -> Iterator[tuple[int, Part]]:
        """Yield the parts of every page with the page's index; a part's pixels are read when its turn comes."""
        image = open_fitting(self.predictor, task.source, task.sections)
        for page in range(image.count):
            pixels = image.page(page)
            if self.answers is not None and not self.uncertain:
                known_KHW = self.answers(page)
                for top in range(0, image.height, SHARD):
                    rows = slice(top, min(top + SHARD, image.height))
                    yield page, Part(rows, slice(0, image.width), torch.from_numpy(np.array(known_KHW[:, rows])))
            elif not self.uncertain:
                yield from ((page, part) for part in self.predictor.parts(pixels))
            else:
                measured = torch.from_numpy(uncertainty(answers_to(pixels[ALL, ALL, ALL], self.uncertain)))
                yield page, Part(slice(0, image.height), slice(0, image.width), measured)


_GREY = (96, 96, 96)
"""The colour of the background's probability."""

_TIFF = (".tif", ".tiff")

_LISTS: dict[str, Callable[[Path, Predictor], AbstractContextManager[Sink]]] = {
    ".json": lambda path, one: coco_file(path, one.classes, one.object_config),
    ".zip": lambda path, one: imagej_file(path, one.classes),
    ".geojson": lambda path, one: geojson_file(path, one.classes),
    ".csv": lambda path, one: table_file(path, one.classes),
    ".parquet": lambda path, one: table_file(path, one.classes),
}
"""Files that list objects, by their endings."""

_OF_ONE_IMAGE = (*_TIFF, ".zip", ".geojson")
"""Endings of files whose objects are those of one image."""


def objects_to_file(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    outlines: bool = False,
    roi: Path | None = None,
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Find the objects of an image, a stack or a folder of images, and write them.

    Args:
        predictor: the network, and how objects are made of its probabilities.
        source: an image file, or a folder whose image files are all taken.
        out: .tif: labels, 16 bits up to 65535 objects a page, else 32; .json: COCO; .zip: ImageJ; .geojson: QuPath;
            .png, with `outlines`: the picture of one page; a folder takes the source's name; for a folder of images, a
            .json or a new or empty folder.
        outlines: draw the objects on the images, as `out` or beside it: NAME-outlines.png, a folder for several pages.
        roi: as of `predict_to_file`.
        answers: what the network gave to the pages of one image before; None: it is asked.
        progress: follows the work.

    Returns:
        As `predict_to_file`.

    Raises:
        DataError, UsageError, StorageError: as `predict_to_file`.
        ConfigError: its classes and the section `objects` do not go together.
    """
    begun, source, out, progress = time.monotonic(), image_path(source), Path(out), progress or NoProgress()
    require_probabilities(predictor)
    method_for(predictor.classes, predictor.object_config)
    images = list(names_for(predictor, source, lambda image: image.stem, progress)) if is_folder(source) else [source]
    around = sections_around(predictor, images) if is_folder(source) else {source: ()}
    opened = {image: open_fitting(predictor, image, around[image]) for image in images}
    regions = {image: open_region(path, opened[image]) for image, path in regions_for(images, roi).items()}
    if is_folder(out) and not is_folder(source):
        out /= f"{source.stem}.tif"
    places = _places(out, source, several=sum(pages.count for pages in opened.values()) > 1, outlines=outlines)
    make_folder(out.parent)
    with ExitStack() as stack:
        sinks = [stack.enter_context(place.sink(predictor)) for place in places]
        done, counts = 0, dict.fromkeys(opened, 0)
        total = sum(pages.count for pages in opened.values())
        progress.update(done, total, {})
        for image in opened:
            pages = open_fitting(predictor, image, around[image])
            for page in range(pages.count):
                pixels_CHW = pages.page(page)[ALL, ALL, ALL]
                p_KHW = predictor.probabilities(pixels_CHW) if answers is None else np.array(answers(page))
                if (region := regions[image]) is not None:
                    p_KHW = region.within(torch.from_numpy(p_KHW), page, ALL, ALL).numpy()
                objects, scores = scored_objects(predictor, p_KHW)
                shown_CHW = pixels_CHW[predictor.card.own_channels]
                found = Found(image, page, pages, shown_CHW, objects, scores)
                for sink in sinks:
                    sink(found)
                done, counts[image] = done + 1, counts[image] + len(objects)
                progress.update(done, total, {"objects": str(sum(counts.values()))})
    planned = (predictor.plan(pages.height, pages.width).note for pages in opened.values())
    notes = _said(*predictor.notes, *other_units(predictor, images[0], around[images[0]]), *planned)
    found = tuple(PredictedFile(at, of.count, of.height, of.width, counts[at]) for at, of in opened.items())
    return Predicted(tuple(place.path for place in places), found, time.monotonic() - begun, notes)


def _said(*notes: str | None) -> tuple[str, ...]:
    """Return what there is to say, each once."""
    return tuple(dict.fromkeys(note for note in notes if note))


def objects_in_blocks(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    through_depth: bool = False,
    roi: Path | None = None,
    work: Work | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Find the objects of an image or a volume of any size, block by block; write labels and a table, or it alone.

    Args:
        predictor: the network, and how objects are made of its probabilities.
        source: an image file.
        out: an OME-Zarr, beside which the table is, NAME.csv; or a .csv or .parquet, the table alone.
        through_depth: objects go through the slices of a volume; else each slice has its own.
        roi: as of `predict_to_file`.
        work: who computes the blocks, and what becomes of an earlier output; None: this process.
        progress: follows the work.

    Raises:
        DataError, UsageError, StorageError, FailedBlocksError: as `predict_to_file`.
        ConfigError: its classes and the section `objects` do not go together.
    """
    begun, source, out, work = time.monotonic(), image_path(source), Path(out), work or Work()
    require_probabilities(predictor)
    asked, bordered = predictor.object_config.method, border_index(predictor.classes) is not None
    method = method_for(predictor.classes, predictor.object_config)
    if through_depth and method != "components" and (asked != "auto" or bordered):
        raise UsageError(
            f"{out}: objects.method={asked} would cut what goes through slices; give objects.method=components"
        )
    reason = "a folder is no volume" if is_folder(source) else reason_against(predictor)
    if reason is not None or is_remote(out):
        raise UsageError(f"{out}: objects cannot be made in blocks: {reason or 'they are written on this machine'}")
    image, table = open_fitting(predictor, source), table_of(out)
    if table != out:
        require_place(out)
    elif table.suffix.lower() == ".parquet":
        required("pyarrow.parquet", "parquet")
    for path in (out, table):
        require_free(path, overwrite=work.overwrite, resume=work.resume)
    card = predictor.card.model_dump(mode="json")
    form = replace(Form.like(image, np.uint32, (), None), labels=("background",), card=card)
    made = predict_in_blocks(
        predictor,
        source,
        out,
        form_at(out, form),
        tiff=False,
        result="volumes" if through_depth else "objects",
        work=work,
        region=regions_for([source], roi)[source],
        progress=progress or NoProgress(),
    )
    regions = "objects are connected regions: those that touch are one, and holes are left" if through_depth else ""
    notes = _said(*predictor.notes, *other_units(predictor, source), regions, made.note)
    found = PredictedFile(source, image.count, image.height, image.width, made.objects)
    return Predicted((out,) if table == out else (out, table), (found,), time.monotonic() - begun, notes)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder to be written, and whether it shows outlines."""

    path: Path
    folder: bool
    outlines: bool

    def sink(self, predictor: Predictor) -> AbstractContextManager[Sink]:
        if self.outlines:
            return outlines(self.path, folder=self.folder)
        ending = self.path.suffix.lower()
        if not self.folder and ending in _LISTS:
            return _LISTS[ending](self.path, predictor)
        return labels(self.path, folder=self.folder)


def _places(out: Path, source: Path, *, several: bool, outlines: bool) -> list[_Place]:
    """Return what is to be written, and refuse what cannot be.

    Raises:
        UsageError: as `objects_to_file`.
    """
    ending, many = out.suffix.lower(), is_folder(source)
    if ending == ".png" and not outlines:
        raise UsageError(f"{out}: labels of objects are no PNG; choose .tif or .json, or add --outlines for a picture")
    if ending == ".png" and (several or many):
        raise UsageError(f"{out}: {source} is more than one picture; choose .tif, .json or a folder")
    if not many and ending not in (*_TIFF, *_LISTS, ".png"):
        known = ", ".join([".tif", *_LISTS])
        raise UsageError(f"{out}: its ending says no form of objects; choose {known}, or .png with --outlines")
    if many and ending in _OF_ONE_IMAGE:
        raise UsageError(f"{out}: {source} is a folder, and such a file is of one image; choose a folder or .json")
    places = [_Place(out, many and ending not in _LISTS, ending == ".png")]
    if outlines and ending != ".png":
        folder = several or many
        beside = f"{out.name if places[0].folder else out.stem}-outlines{'' if folder else '.png'}"
        places.append(_Place(out.with_name(beside), folder, True))
    for place in places:
        require_empty(place.path) if place.folder else require_not_source(place.path, source)
    return places


def scored_objects(predictor: Predictor, p_KHW: NDArray[np.float32]) -> tuple[ObjectMap, NDArray[np.float64]]:
    """Return the objects of an image, and the mean probability [N] of each one's class over its pixels."""
    objects = predictor.objects_in(p_KHW)
    classes_HW = np.append(0, objects.classes)[objects.ids]
    data_KHW = predictor.of_data(torch.from_numpy(p_KHW)).numpy()
    chosen_HW = np.take_along_axis(data_KHW, classes_HW[None], axis=0)[0]
    return objects, np.bincount(objects.ids.ravel(), chosen_HW.ravel(), len(objects) + 1)[1:] / objects.sizes()
