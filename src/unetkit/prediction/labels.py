"""Objects by blocks: those of images and volumes of any size, numbered as one.

Every block is divided into its parts, with what is summed up over them. Then every block looks at its borders with the
next column, row and, where objects go through depth, slice. The graph of what touches gives every part the number of
its object; objects that are too small or too uncertain have none. At last every block writes those numbers.

Connected regions are parts as they are. Where regions are cut, parts depend on what lies around a block
(`objects.parts` says what, and how exact that is). Every block is then predicted first, once; of its probabilities is
kept what objects are made of, one to three numbers a pixel, on the disk, until every block has read its window from
there. To predict the halo again instead would cost the network 1.56 times the work with a halo of 128 pixels, and 1.27
times with 64. Holes are regions of background that one object alone touches, whatever their size.

Legend of shapes: K classes, E kinds of evidence, H height, W width, N parts, M objects, L pixels of a border.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetkit.config import ObjectsConfig
from unetkit.images.blocks import Block, Blocks, Target, checksum, create_target, open_target
from unetkit.images.write import Form
from unetkit.machine import release_freed_memory
from unetkit.objects.find import Evidence, Heights
from unetkit.objects.parts import Contact, Graph, Pieces, View, across, needs_halo, pieces_of, touching, united
from unetkit.prediction.blocks import OF_PART, Job, keep, kept_pair, open_form, probabilities_of, require_room
from unetkit.prediction.crops import Crop
from unetkit.prediction.predictor import Predictor
from unetkit.storage.atomic import atomic_path, make_folder

EVIDENCE, PARTS, NUMBERS = "evidence", "parts", "numbers.npy"
"""In the folder of an unfinished prediction: what parts are made of, those of every block, and the object of each."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is known of parts or objects, each [N].

    Attributes:
        kinds: indices of their classes.
        sizes: in pixels.
        certain: sums of the probability that a pixel is not background.
        pages: sums of the numbers of pages.
        rows: sums of the rows.
        columns: sums of the columns.
        low: [N, 3] first page, row, column.
        high: [N, 3] last page, row, column.
    """

    kinds: NDArray[np.int64]
    sizes: NDArray[np.float64]
    certain: NDArray[np.float64]
    pages: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.kinds)


def summed_up(ids: NDArray[Any], kinds: NDArray[np.int64], block: Block, foreground: NDArray[Any] | None) -> Parts:
    """Return what is known of parts [H, W] of a block, numbered from 1; without probabilities they are certain."""
    flat, corner = ids.ravel(), np.array([block.page, block.rows.start, block.columns.start])
    rows, columns = (index.ravel() + start for index, start in zip(np.indices(ids.shape), corner[1:], strict=True))

    def summed(values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        return np.bincount(flat, values, len(kinds) + 1)[1:].astype(np.float64)

    sizes, boxes = summed(), ndimage.find_objects(ids)
    low = [[0, *(part.start for part in box)] for box in boxes]
    high = [[0, *(part.stop - 1 for part in box)] for box in boxes]
    box = [np.array(ends, np.int64).reshape(-1, 3) + corner for ends in (low, high)]
    certain = sizes if foreground is None else summed(foreground.ravel())
    return Parts(kinds, sizes, certain, sizes * block.page, summed(rows), summed(columns), *box)


@dataclass(frozen=True, slots=True)
class Rule:
    """How objects are made of probabilities.

    Attributes:
        classes: the names of the network's classes.
        config: the method and its numbers.
        through_depth: whether objects go on in the next slice: as connected regions, whose holes are left.
    """

    classes: tuple[str, ...]
    config: ObjectsConfig
    through_depth: bool

    @classmethod
    def of(cls, predictor: Predictor, *, through_depth: bool) -> "Rule":
        """Return how a predictor's objects are made."""
        regions = {"method": "components", "fill_holes": False} if through_depth else {}
        return cls(predictor.classes, predictor.object_config.model_copy(update=regions), through_depth)

    @property
    def halo(self) -> int:
        """The pixels around a block that its parts depend on."""
        return self.config.halo if needs_halo(self.classes, self.config) else 0

    def evidence(self, form: Form) -> Form:
        """Return the form of what is kept of the probabilities of an image until it is split."""
        planes = len(Evidence.of(np.ones((len(self.classes), 1, 1), np.float32), self.classes).planes(self.classes))
        channels = tuple(map(str, range(planes))) if planes > 1 else ()
        return open_form(form, channels)


@dataclass(frozen=True, slots=True)
class Labels:
    """How objects are made of a job's probabilities; can be sent to other processes.

    Attributes:
        job: it predicts the blocks.
        path: the parts of all blocks; beside it lies what else belongs to an unfinished prediction.
        form: of the output.
        rule: how objects are made.
    """

    job: Job
    path: Path
    form: Form
    rule: Rule

    def create(self) -> None:
        """Make what parts are written to.

        Raises:
            StorageError: the disk did not take it.
        """
        create_target(self.path, self.form, tiff=False)
        make_folder(self.path.with_name("known"))

    def predict(self, number: int, crops: list[Crop]) -> NDArray[np.float32]:
        """Predict a block and return its evidence [E, H, W]."""
        return self._evidence(number, crops).planes(self.rule.classes)

    def label(self, number: int, crops: list[Crop]) -> tuple[Pieces, Parts]:
        """Predict a block and return its parts, which depend on nothing around it."""
        return self._parts(number, self._evidence(number, crops))

    def seen(self, number: int) -> NDArray[np.float32]:
        """Return the evidence [E, H, W] of the window around a block."""
        block = Blocks(self.form)[number]
        return open_target(self.job.path, self.job.form, tiff=False).get(block.page, *self._view(block).window)

    def split(self, number: int, planes: NDArray[np.float32]) -> tuple[Pieces, Parts]:
        """Return the parts of a block by the evidence of its window."""
        release_freed_memory()  # what the network leaves does not fit
        return self._parts(number, Evidence.stored(planes, self.rule.classes))

    def write(self, number: int, found: tuple[Pieces, Parts]) -> str:
        """Write the parts of a block, and next to them what is known of them; return the parts' checksum.

        Raises:
            StorageError: the disk did not take it.
        """
        pieces, parts = found
        known = {one.name: getattr(of, one.name) for of in (pieces.graph, parts) for one in fields(of)}
        known |= {"right": pieces.right, "below": pieces.below}
        with atomic_path(self._file(number)) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **known)
        ids_1HW = pieces.ids[None].astype(self.form.dtype)
        self._target("parts").put(Blocks(self.form)[number], ids_1HW)
        return checksum(ids_1HW)

    def written(self, number: int) -> str:
        """Return the checksum of the parts of a block that were written.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        return checksum(self._get(Blocks(self.form)[number]))

    def touching(self, number: int) -> list[Contact]:
        """Return what touches across the borders of a block with those after it."""
        blocks, form = Blocks(self.form), self.form
        block, found = blocks[number], list[Contact]()
        page, rows, columns = block.page, block.rows, block.columns
        (low, lower), (left, right) = (
            (slice(part.stop - 1, part.stop), slice(part.stop, part.stop + 1)) for part in (rows, columns)
        )

        def levels(side: str) -> list[Heights] | list[None]:
            return self._known(number, side) if self.rule.halo else [None]

        if columns.stop < form.width:
            here, there = (self._get(Block(page, rows, part)).ravel() for part in (left, right))
            found += across(number + 1, here, there, *levels("right"))
        if rows.stop < form.height:
            here, there = (self._get(Block(page, part, columns)).ravel() for part in (low, lower))
            found += across(number + blocks.across, here, there, *levels("below"))
            sides = [(1, left, right)] if columns.stop < form.width else []
            start = columns.start
            sides += [(-1, slice(start, start + 1), slice(start - 1, start))] if start else []
            for step, own, beyond in sides:
                pairs = touching(self._get(Block(page, low, own)), self._get(Block(page, lower, beyond)))
                found.append(Contact(number + blocks.across + step, pairs, None, edge=False))
        deep = dict(form.page_axes).get("z", 1)
        if self.rule.through_depth and page % deep + 1 < deep:
            pairs = touching(self._get(block), self._get(Block(page + 1, rows, columns)))
            found.append(Contact(number + blocks.across * blocks.down, pairs, None, edge=True))
        return found

    def relabel(self, number: int) -> str:
        """Write the numbers of the objects of a block; return their checksum."""
        block = Blocks(self.form)[number]
        offsets, numbers = kept_pair(self.path.with_name(NUMBERS))
        own = np.append(0, numbers[offsets[number] + 1 : offsets[number + 1] + 1]).astype(self.form.dtype)
        values = own[self._get(block)]
        self._target("output").put(block, values)
        return checksum(values)

    def merge(self, contacts: Iterable[tuple[int, list[Contact]]], *, allowed: float) -> Parts:
        """Make objects of the parts of all blocks, keep the number of every part in a file, and return the objects.

        Every block comes with what `touching` said of it. This process may hold `allowed` bytes.

        Raises:
            UsageError: joining the parts takes more.
            StorageError: the disk did not take it.
        """
        count, names = len(Blocks(self.form)), [one.name for one in fields(Parts)]
        known = (self._known(number, "kinds")[0] for number in range(count))
        require_room(sum(map(len, known)), OF_PART, "parts of objects", allowed)
        each = [Parts(*self._known(number, *names)) for number in range(count)]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in each])])
        parts = Parts(*(np.concatenate([getattr(one, name) for one in each]) for name in names))
        graphs = [Graph(*self._known(number, *(one.name for one in fields(Graph)))) for number in range(count)]
        objects = united(graphs, contacts, self.rule.config.min_width)
        merged = _merged(parts, objects[1:] - 1, int(objects.max(initial=0)))
        sure = (merged.certain / merged.sizes).astype(np.float32) >= self.rule.config.min_confidence
        kept = (merged.kinds > 0) & (merged.sizes >= self.rule.config.min_size) & sure
        numbers = np.append(0, np.where(kept, np.cumsum(kept), 0))[objects]
        keep(self.path.with_name(NUMBERS), offsets, numbers)
        return Parts(*(getattr(merged, name)[kept] for name in names))

    def _evidence(self, number: int, crops: list[Crop]) -> Evidence:
        return Evidence.of(probabilities_of(self.job, number, crops).numpy(), self.rule.classes)

    def _parts(self, number: int, evidence: Evidence) -> tuple[Pieces, Parts]:
        block = Blocks(self.form)[number]
        view = self._view(block)
        pieces = pieces_of(evidence, view, self.rule.classes, self.rule.config)
        return pieces, summed_up(pieces.ids, pieces.graph.kinds, block, evidence.foreground[view.own])

    def _view(self, block: Block) -> View:
        return View(block.page, block.rows, block.columns, (self.form.height, self.form.width), self.rule.halo)

    def _file(self, number: int) -> Path:
        return self.path.with_name("known") / f"{number}.npz"

    def _known(self, number: int, *names: str) -> list[NDArray[Any]]:
        with np.load(self._file(number)) as file:
            return [file[name] for name in names]

    def _target(self, name: str) -> Target:
        return open_target(self.path.with_name(name), self.form, tiff=False)

    def _get(self, block: Block) -> NDArray[Any]:
        return self._target("parts").get(block.page, block.rows, block.columns)


def _merged(parts: Parts, objects: NDArray[np.int64], count: int) -> Parts:
    """Return what is known of objects from their parts; `objects` [N] is the object of each part, from 0."""

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(objects, values, count).astype(np.float64)

    kinds = np.zeros(count, np.int64)
    np.maximum.at(kinds, objects, parts.kinds)  # one for all parts of an object, but for its holes
    low, high = np.full((count, 3), np.iinfo(np.int64).max), np.zeros((count, 3), np.int64)
    np.minimum.at(low, objects, parts.low)
    np.maximum.at(high, objects, parts.high)
    return Parts(
        kinds,
        summed(parts.sizes),
        summed(parts.certain),
        summed(parts.pages),
        summed(parts.rows),
        summed(parts.columns),
        low,
        high,
    )


TABLES = (".csv", ".parquet")
"""Endings of tables."""


def table_of(out: Path) -> Path:
    """Return where the table of an output's objects is: `cells.csv` beside `cells.ome.zarr`; of a table, itself."""
    if out.suffix.lower() in TABLES:
        return out
    name = out.name.removesuffix(".zarr").removesuffix(".ome")
    folder = out.parents[2] if out.parent.name == "labels" else out.parent
    return folder / f"{name}.csv"
