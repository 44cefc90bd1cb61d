"""A prediction made block by block, by one process or many: begun, resumed after any end, finished under its name.

`predict_in_blocks` refuses what cannot be done before anything is written, keeps a journal next to the output, gives
the blocks that are not done to whoever works, and gives the output its name when all are. Its bytes depend on the job
and on what was chosen at its beginning (tiles, threads), not on who computed what, nor when. Does not know networks.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unetkit.devices import available_cores, threads_of
from unetkit.errors import FailedBlocksError, UsageError
from unetkit.images import Image
from unetkit.images.blocks import Blocks, create_target, finish_target
from unetkit.images.omewrite import image_of, register
from unetkit.images.write import Form
from unetkit.prediction.blocks import (
    OBJECTS,
    Job,
    Result,
    Tiles,
    choose_tiles,
    input_checksum,
    network_checksum,
    opened,
    plan_of,
    predict_block,
    read_block,
    read_pixels,
    with_memory,
    write_block,
)
from unetkit.prediction.journal import Journal, finish, open_journal
from unetkit.prediction.labels import (
    PARTS,
    Labels,
    forget,
    known_folder,
    label_block,
    table_of,
    write_parts,
)
from unetkit.prediction.load import LoadOptions, Model
from unetkit.prediction.predictor import Predictor
from unetkit.prediction.regions import open_region
from unetkit.prediction.results import open_fitting
from unetkit.prediction.schedule import TRIES, Crew, Staged, crew_of
from unetkit.prediction.tables import table, write_table
from unetkit.progress import Progress
from unetkit.storage import is_remote
from unetkit.storage.atomic import make_folder
from unetkit.version import __version__


@dataclass(frozen=True, slots=True)
class Work:
    """Who makes a prediction, with what, and what becomes of an earlier output.

    Attributes:
        workers: processes on this machine.
        dask: the address of a scheduler whose workers make it instead.
        memory: gigabytes that each process may hold; None: half of what is free, for all together.
        resume: go on with an unfinished output of the same job.
        overwrite: replace an output, finished or not.
        model: what other processes load the network from; None: there are none.
        device: where they compute.
        options: they load it with.
    """

    workers: int = 1
    dask: str | None = None
    memory: float | None = None
    resume: bool = False
    overwrite: bool = False
    model: Model | None = None
    device: str = "auto"
    options: LoadOptions = field(default_factory=LoadOptions)

    @property
    def several(self) -> bool:
        """Whether other processes work."""
        return self.workers > 1 or self.dask is not None

    @property
    def in_blocks(self) -> bool:
        """Whether something is asked for that only blocks give."""
        return self.several or self.memory is not None or self.resume

    def require_possible(self, out: Path, *, tiff: bool) -> None:
        """Make sure that the work can be done.

        Raises:
            UsageError: it cannot.
        """
        if self.workers < 1 or (self.memory is not None and not self.memory > 0):
            raise UsageError(f"--workers {self.workers}, --memory {self.memory}: give 1 or more, and more than 0")
        if self.workers > 1 and self.dask is not None:
            raise UsageError("--workers starts processes here, --dask has workers of its own; give one of them")
        if self.resume and self.overwrite:
            raise UsageError("--resume goes on with an output, --overwrite begins it anew; give one of them")
        if self.dask is not None and tiff:
            raise UsageError(
                f"{out}: several machines do not write into one TIFF; choose a name with .ome.zarr, and make a TIFF of "
                "it by unetkit data convert"
            )
        if is_remote(out):
            raise UsageError(
                f"{out}: blocks are written on this machine (--workers, --dask, --memory, --resume); choose a path "
                "here and copy it afterwards"
            )
        if self.several and (self.model is None or isinstance(self.model, Predictor)):
            raise UsageError("other processes load the network themselves; give its path instead of a Predictor")


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be said of a prediction.

    Attributes:
        note: a sentence where the result may differ from an untiled prediction; None where it does not.
        objects: how many there are; None where they were not looked for.
    """

    note: str | None
    objects: int | None


def predict_in_blocks(
    predictor: Predictor,
    source: Path,
    out: Path,
    form: Form,
    *,
    tiff: bool,
    result: Result,
    work: Work,
    region: Path | None = None,
    progress: Progress,
) -> Made:
    """Predict an image block by block, into a file or folder that is there whole or as an unfinished one.

    Args:
        predictor: the network, in this process.
        source: the image.
        out: the output.
        form: what it will hold.
        tiff: whether it is a TIFF.
        result: what its values are.
        work: who makes it.
        region: the mask of where something may be found; None: everywhere.
        progress: follows the blocks.

    Returns:
        What is to be said of it.

    Raises:
        UsageError: it cannot be begun, or not be resumed.
        FailedBlocksError: some blocks failed; the others are kept.
        StorageError: the disk did not take it; what is there is kept.
    """
    work.require_possible(out, tiff=tiff)
    image = open_fitting(predictor, source)
    predictor.require_usable(image.shape[-3:])
    objects = result in OBJECTS
    blocks, asked = Blocks(form), _identity(predictor, image, source, form, result, work)
    if (within := open_region(region, image)) is not None:
        asked |= {"region": input_checksum(within.mask, within.path)}
    with open_journal(out, asked, resume=work.resume, overwrite=work.overwrite) as journal:
        choose = partial(choose_tiles, predictor, form, image, side=blocks.side, objects=objects, workers=work.workers)
        chosen = _chosen(journal, choose, work, progress)
        job = Job(
            hashlib.sha256(json.dumps([asked, chosen, str(out.absolute())]).encode()).hexdigest(),
            predictor if not work.several else _absolute(work.model),
            work.device,
            work.options,
            source.absolute() if not is_remote(source) else source,
            (journal.folder / PARTS if objects else journal.output).absolute(),
            form,
            tiff,
            result,
            *chosen,
            region if region is None or is_remote(region) else region.absolute(),
        )
        if not journal.chosen:
            create_target(job.path, form, tiff=tiff)
            if objects:
                create_target(journal.output, form, tiff=False)
                make_folder(known_folder(job))
            journal.begin({"tiles": list(job.tiles), "threads": job.threads})
        try:
            with crew_of(work.workers, work.dask) as crew:
                _verify(journal, crew, job)
                compute, write = (label_block, write_parts) if objects else (predict_block, write_block)
                step = Staged(partial(read_pixels, job), partial(compute, job), partial(write, job))
                carry_out(journal, blocks, crew, step, progress)
                found = _merge(predictor, job, out, crew, progress) if objects else None
            finish_target(journal.output, form, out, tiff=tiff)
            finish(journal, out)
        finally:
            opened.cache_clear()
            forget()
    if not tiff and image_of(out) is not None:
        register(out, form.version)
    planned = with_memory(predictor, job.tiles.memory)
    return Made(plan_of(planned, form, job.tiles.step, side=blocks.side).note, found)


def _merge(predictor: Predictor, job: Job, out: Path, crew: Crew, progress: Progress) -> int:
    """Make objects of the parts of all blocks, write their numbers and their table; return how many there are.

    Raises:
        FailedBlocksError: of some blocks the numbers could not be written.
    """
    blocks, labels = Blocks(job.form), Labels(job, job.result == "volumes")
    progress.log("joining objects across blocks")
    pairs = crew(labels.touching, range(len(blocks)))
    objects = labels.merge((_whole(blocks, pair) for pair in pairs), predictor.object_config)
    for one in crew(labels.relabel, range(len(blocks))):
        _whole(blocks, one)
    columns = table(objects, predictor.classes, job.form, through_depth=labels.through_depth)
    write_table(table_of(out), columns)
    return len(objects)


def _whole(blocks: Blocks, made: tuple[int, Any]) -> tuple[int, Any]:
    """Return what was made of a block, or say that it failed."""
    number, content = made
    if isinstance(content, Exception):
        raise FailedBlocksError(f"{_described(blocks, number)} failed {TRIES} times: {content}; go on by --resume")
    return made


def _absolute(model: Model | None) -> Model:
    assert model is not None
    assert not isinstance(model, Predictor)
    path = model if isinstance(model, str | Path) else model.path
    return path if is_remote(path) else Path(path).absolute()


def _identity(
    predictor: Predictor, image: Image, source: Path, form: Form, result: Result, work: Work
) -> dict[str, Any]:
    """Return all that the values depend on, but for what is chosen for a job."""
    return {
        "unetkit": __version__,
        "network": network_checksum(predictor, work.model or ""),
        "input": input_checksum(image, source),
        "result": result,
        "predict": predictor.config.model_dump(mode="json"),
        "objects": predictor.object_config.model_dump(mode="json")
        if result not in ("masks", "probabilities")
        else None,
        "device": predictor.device.type,
        "form": f"{form.dtype}, {form.pages} pages of {form.planes} x {form.height} x {form.width}, {form.version}",
    }


def _chosen(journal: Journal, choose: Callable[..., Tiles], work: Work, progress: Progress) -> tuple[Tiles, int]:
    """Return tiles and threads: those that the journal has, or new ones that are chosen.

    Raises:
        UsageError: more memory is needed, or other threads are asked for than the journal has.
    """
    threads, tiles = work.options.get("threads"), None
    if journal.chosen:
        step, memory = journal.chosen["tiles"]
        tiles = Tiles(None if step is None else (step[0], step[1]), memory)
        known = journal.chosen["threads"]
        if threads not in (None, known):
            raise UsageError(
                f"{journal.folder}: was begun with {known} threads in a process, and {threads} may give other bytes; "
                f"give --threads {known} or leave it out"
            )
        threads = known
    elif threads is None:
        here = torch.get_num_threads() if work.workers == 1 else max(1, available_cores() // work.workers)
        threads = 1 if work.dask is not None else here
    tiles = choose(memory=work.memory, chosen=tiles)
    if work.memory is None and tiles != choose(memory=float("inf"), chosen=tiles):
        progress.log("note: little memory is free, tiles are smaller than usual: the same result up to rounding")
    return tiles, threads_of(threads)


def _verify(journal: Journal, crew: Crew, job: Job) -> None:
    """Forget those blocks that are not as the journal has them: the disk may have lost them with the machine."""
    done = journal.done
    for number, found in crew(partial(read_block, job), list(done)):
        if found != done[number]:
            del done[number]


def carry_out(
    journal: Journal,
    blocks: Blocks,
    crew: Crew,
    step: Callable[[int], str],
    progress: Progress,
) -> None:
    """Do the step of every block that is not done, and note each.

    Raises:
        FailedBlocksError: of some blocks it failed every time.
    """
    done, failed, pixels = journal.done, dict[int, Exception](), 0
    left, started = [number for number in range(len(blocks)) if number not in done], time.monotonic()
    if len(left) < len(blocks):
        progress.log(f"resumed: {len(blocks) - len(left)} of {len(blocks)} blocks are there")
    progress.update(len(done), len(blocks), {})
    for number, made in crew(step, left):
        if isinstance(made, Exception):
            failed[number] = made
            continue
        journal.add(number, made)
        block = blocks[number]
        pixels += (block.rows.stop - block.rows.start) * (block.columns.stop - block.columns.start)
        seconds = time.monotonic() - started
        remaining = seconds / (len(done) - len(blocks) + len(left)) * (len(blocks) - len(done))
        figures = {"Mpx/s": f"{pixels / 1e6 / seconds:.2f}", "left": _clock(remaining)}
        progress.update(len(done), len(blocks), figures)
    if failed:
        shown = [f"{_described(blocks, number)}: {error or type(error).__name__}" for number, error in failed.items()]
        more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise FailedBlocksError(
            f"{len(failed)} of {len(blocks)} blocks failed {TRIES} times, the others are kept in {journal.folder}: "
            f"{'; '.join(shown[:3])}{more}; mend that and go on by --resume"
        )


def _described(blocks: Blocks, number: int) -> str:
    block = blocks[number]
    rows, columns = (f"{part.start} to {part.stop - 1}" for part in (block.rows, block.columns))
    return f"block {number} (page {block.page}, rows {rows}, columns {columns})"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
