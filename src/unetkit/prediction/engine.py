"""A prediction made block by block, by one process or many: begun, resumed after any end, finished under its name.

`predict_in_blocks` refuses what cannot be done before anything is written, keeps a journal next to the output, gives
the blocks that are not done to whoever works, and gives the output its name when all are. Its bytes depend on the job
and on what was chosen at its beginning (tiles, threads), not on who computed what, nor when. Does not know networks.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from unetkit.errors import FailedBlocksError, StorageError, UsageError
from unetkit.images import Image
from unetkit.images.blocks import Blocks, create_target, finish_target
from unetkit.images.omewrite import image_of, register
from unetkit.images.write import Form
from unetkit.machine import available_cores, threads_of
from unetkit.prediction.blocks import (
    OBJECTS,
    Job,
    Result,
    Tiles,
    allowed_memory,
    choose_tiles,
    input_checksum,
    kept_pair,
    network_checksum,
    open_form,
    opened,
    plan_of,
    predict_block,
    read_block,
    read_pixels,
    with_gaps,
    with_memory,
    write_block,
)
from unetkit.prediction.gaps import BASINS, GAP_HALO, OPEN, Gaps
from unetkit.prediction.journal import Journal, finish, open_journal
from unetkit.prediction.labels import EVIDENCE, PARTS, Labels, Rule, table_of
from unetkit.prediction.load import LoadOptions, Model
from unetkit.prediction.object_files import table, write_table
from unetkit.prediction.predictor import Predictor
from unetkit.prediction.schedule import TRIES, Crew, Staged, crew_of
from unetkit.prediction.sources import open_fitting, open_region
from unetkit.progress import Progress
from unetkit.storage import is_remote
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

    `form` and `result` say what it will hold; `region` is the mask of where something may be found.

    Raises:
        UsageError: it cannot be begun, or not be resumed.
        FailedBlocksError: some blocks failed; the others are kept.
        StorageError: the disk did not take it; what is there is kept.
    """
    work.require_possible(out, tiff=tiff)
    image = open_fitting(predictor, source)
    predictor.require_usable(image.shape[-3:])
    rule = Rule.of(predictor, through_depth=result == "volumes") if result in OBJECTS else None
    closing, stored = predictor.config.close_gaps, rule is not None and (rule.halo > 0 or predictor.config.close_gaps)
    held = rule.evidence(form) if rule and stored else form
    kept = open_form(form, predictor.classes) if closing else held
    fills = rule is None or table_of(out) != out
    blocks, asked = Blocks(form), _identity(predictor, image, source, form, result, work)
    if (within := open_region(region, image)) is not None:
        asked |= {"region": input_checksum(within.mask, within.path)}
    with open_journal(out, asked, resume=work.resume, overwrite=work.overwrite) as journal:
        choose = partial(choose_tiles, with_gaps(predictor), kept, image, side=blocks.side, workers=work.workers)
        halo = max(rule.halo if rule else 0, GAP_HALO if closing else 0)
        choose = partial(choose, objects=rule is not None, halo=halo, closing=closing)
        chosen = _chosen(journal, choose, work, len(blocks) if predictor.apart and not work.several else 1, progress)
        folder = journal.folder.absolute()
        target = folder / (journal.output.name if rule is None else EVIDENCE if stored else PARTS)
        job = Job(
            hashlib.sha256(json.dumps([asked, chosen, str(out.absolute())]).encode()).hexdigest(),
            predictor if not work.several else _absolute(work.model),
            work.device,
            work.options,
            source.absolute() if not is_remote(source) else source,
            folder / OPEN if closing else target,
            kept,
            tiff and not closing,
            result,
            *chosen,
            region if region is None or is_remote(region) else region.absolute(),
        )
        gaps = Gaps(job, folder / BASINS, target, held, tiff, result) if closing else None
        labels = Labels(replace(job, path=target, form=held), folder / PARTS, form, rule) if rule else None
        if not journal.chosen:
            if fills:
                create_target(journal.output, form, tiff=tiff)
            if stored:
                create_target(target, held, tiff=False)
            for one in (gaps, labels):
                if one is not None:
                    one.create()
            journal.begin({"tiles": list(job.tiles), "threads": job.threads, "lanes": job.lanes})
        try:
            with crew_of(work.workers, work.dask) as crew:
                allowed = allowed_memory(predictor.device, work.memory, work.workers)
                _carry_out(_stages(job, labels, gaps), journal, blocks, crew, progress, allowed)
                found = _finish_objects(labels, out, crew, journal, progress, allowed) if labels else None
            if fills:
                finish_target(journal.output, form, out, tiff=tiff)
            finish(journal, out)
        except StorageError as error:
            raise StorageError(f"{error}; what is done is kept: go on by --resume") from error
        finally:
            opened.cache_clear()
            kept_pair.cache_clear()
    if not tiff and image_of(out) is not None:
        register(out, form.version)
    planned = with_gaps(with_memory(predictor, job.tiles.memory))
    return Made(plan_of(planned, form, job.tiles.step, side=blocks.side).note, found)


class _Stage(NamedTuple):
    """What is done for every block before the next stage begins.

    Attributes:
        name: for people.
        step: what is done.
        check: reads back the checksum of what it wrote.
        gaps: what is joined when all blocks are done.
    """

    name: str
    step: Staged
    check: Callable[[int], str]
    gaps: Gaps | None = None


def _stages(job: Job, labels: Labels | None, gaps: Gaps | None) -> list[_Stage]:
    read, write, check = partial(read_pixels, job), partial(write_block, job), partial(read_block, job)
    stages = list[_Stage]()
    if gaps is not None:
        stages += [
            _Stage("predicting", Staged(read, gaps.predict, write, job.lanes), check),
            _Stage("finding basins", Staged(gaps.seen, gaps.find, gaps.write), gaps.written, gaps),
            _Stage("closing gaps", Staged(gaps.around, gaps.close, gaps.put), gaps.filled),
        ]
    elif labels is None:
        stages.append(_Stage("predicting", Staged(read, partial(predict_block, job), write, job.lanes), check))
    elif labels.rule.halo:
        stages.append(_Stage("predicting", Staged(read, labels.predict, write, job.lanes), check))
    else:
        return [_Stage("predicting", Staged(read, labels.label, labels.write, job.lanes), labels.written)]
    if labels is not None:
        stages.append(_Stage("splitting objects", Staged(labels.seen, labels.split, labels.write), labels.written))
    return stages


def _carry_out(
    stages: list[_Stage], journal: Journal, blocks: Blocks, crew: Crew, progress: Progress, allowed: float
) -> None:
    """Do one stage after the other, as far as the journal does not have it.

    Raises:
        FailedBlocksError: of some blocks a stage failed every time.
        UsageError: joining takes more than the bytes that are allowed.
    """
    for number, stage in enumerate(stages):
        _verify(journal, blocks, crew, stage.check, number)
    for number, (name, step, _, gaps) in enumerate(stages):
        if number:
            progress.log(name)
        carry_out(journal, blocks, crew, step, progress, number)
        for page in range(blocks.form.pages if gaps else 0):
            assert gaps is not None
            gaps.number(page)
            contours = crew(gaps.contours, blocks.of_page(page))
            gaps.join(page, (_whole(blocks, one) for one in contours), allowed=allowed)


def _finish_objects(labels: Labels, out: Path, crew: Crew, journal: Journal, progress: Progress, allowed: float) -> int:
    """Make objects of the parts of all blocks, write their numbers and their table; return how many there are.

    Raises:
        UsageError: joining the parts takes more than the bytes that are allowed.
        FailedBlocksError: of some blocks the numbers could not be written.
    """
    blocks, rule, place = Blocks(labels.form), labels.rule, table_of(out)
    progress.log("joining objects across blocks")
    contacts = crew(labels.touching, range(len(blocks)))
    objects = labels.merge((_whole(blocks, contact) for contact in contacts), allowed=allowed)
    columns = table(objects, rule.classes, labels.form, through_depth=rule.through_depth)
    if place != out:
        for one in crew(labels.relabel, range(len(blocks))):
            _whole(blocks, one)
        write_table(place, columns)
        return len(objects)
    if not rule.through_depth:  # every page numbers its own; they follow each other
        pages = objects.low[:, 0]
        columns["label"] = (np.arange(len(pages)) - np.searchsorted(pages, pages) + 1).tolist()
    write_table(journal.folder / out.name, {"image": [labels.job.source.name] * len(objects)} | columns)
    (journal.folder / out.name).replace(journal.output)
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
        "network": network_checksum(predictor, work.model),
        "input": input_checksum(image, source),
        "result": result,
        "predict": predictor.config.model_dump(mode="json"),
        "objects": predictor.object_config.model_dump(mode="json")
        if result not in ("masks", "probabilities")
        else None,
        "device": predictor.device.type,
        "form": f"{form.dtype}, {form.pages} pages of {form.planes} x {form.height} x {form.width}, {form.version}",
    }


def _chosen(
    journal: Journal, choose: Callable[..., Tiles], work: Work, lanes: int, progress: Progress
) -> tuple[Tiles, int, int]:
    """Return tiles, threads of a call, and lanes, at most so many: those that the journal has, or new ones.

    Raises:
        UsageError: more memory is needed, or other threads are asked for than the journal has.
    """
    threads, tiles = work.options.get("threads"), None
    if journal.chosen:
        (step, memory), known, lanes = (journal.chosen[name] for name in ("tiles", "threads", "lanes"))
        tiles = Tiles(None if step is None else (step[0], step[1]), memory)
        if threads is not None and threads // lanes != known:
            raise UsageError(
                f"{journal.folder}: was begun with {known * lanes} threads in a process, and {threads} may give other "
                f"bytes; give --threads {known * lanes} or leave it out"
            )
        threads = known * lanes
    elif threads is None:
        here = torch.get_num_threads() if work.workers == 1 else max(1, available_cores() // work.workers)
        threads = 1 if work.dask is not None else here
    lanes = min(lanes, threads_of(threads))
    while lanes > 1 and tiles is None:
        with suppress(UsageError):
            tiles = choose(memory=work.memory, lanes=lanes)
            break
        lanes //= 2
    tiles = choose(memory=work.memory, lanes=lanes, chosen=tiles)
    if work.memory is None and not journal.chosen and tiles != choose(memory=float("inf"), lanes=lanes):
        progress.log("note: little memory is free, tiles are smaller than usual: the same result up to rounding")
    return tiles, threads_of(threads) // lanes, lanes


def _verify(journal: Journal, blocks: Blocks, crew: Crew, check: Callable[[int], str], stage: int) -> None:
    """Forget those blocks that are not as the journal has them: the disk may have lost them with the machine."""
    done, first = journal.done, stage * len(blocks)
    for number, found in crew(check, [entry - first for entry in done if 0 <= entry - first < len(blocks)]):
        if found != done[first + number]:
            del done[first + number]


def carry_out(
    journal: Journal,
    blocks: Blocks,
    crew: Crew,
    step: Callable[[int], str],
    progress: Progress,
    stage: int = 0,
) -> None:
    """Do the step of every block that is not done, and note each: block n of a stage is entry n + stage * blocks.

    Raises:
        FailedBlocksError: of some blocks it failed every time.
    """
    first, failed, pixels = stage * len(blocks), dict[int, Exception](), 0
    left = [number for number in range(len(blocks)) if first + number not in journal.done]
    done, started = len(blocks) - len(left), time.monotonic()
    if done:
        progress.log(f"resumed: {done} of {len(blocks)} blocks are there")
    progress.update(done, len(blocks), {})
    for number, made in crew(step, left):
        if isinstance(made, Exception):
            failed[number] = made
            continue
        journal.add(first + number, made)
        block, done = blocks[number], done + 1
        pixels += (block.rows.stop - block.rows.start) * (block.columns.stop - block.columns.start)
        seconds = time.monotonic() - started
        remaining = seconds / (done - len(blocks) + len(left)) * (len(blocks) - done)
        figures = {"Mpx/s": f"{pixels / 1e6 / seconds:.2f}", "left": _clock(remaining)}
        progress.update(done, len(blocks), figures)
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
