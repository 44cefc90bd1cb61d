"""Gaps in contours, closed by blocks: the contours of all blocks are one graph, so that nothing ends with a block.

Every block is predicted, and its probabilities are kept on the disk. By a window around it the basins of its pixels
are found, which are known in every window by their lowest place. The heights and lengths of contours, block by block
and across their borders, are added up in the order of blocks; regions are joined on that graph as in an image that is
held whole. At last every block raises its own pixels. Where basins, and those that water flows over from, reach no
further than `GAP_HALO` less 8 pixels out of a block, the result is that of the whole page, up to the order in which
float64 numbers are added up. Pages are joined one after the other; the process that joins holds all contours of one.

Legend of shapes: K classes, H height, W width, N basins, E contours.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.images.blocks import Block, Blocks, checksum, create_target, open_target
from unetkit.images.write import Form
from unetkit.machine import release_freed_memory
from unetkit.objects.contours import Contours, contours_of, own_basins, raised, strengths_of, with_background
from unetkit.objects.find import Evidence
from unetkit.objects.parts import View
from unetkit.prediction.blocks import (
    OF_CONTOUR,
    Job,
    Result,
    keep,
    kept_pair,
    open_form,
    opened,
    probabilities_of,
    require_room,
    values_of,
)
from unetkit.prediction.crops import Crop
from unetkit.prediction.tiling import shifted
from unetkit.storage.atomic import make_folder

OPEN, BASINS = "open", "basins"
"""In the folder of an unfinished prediction: probabilities with their gaps, and basins."""

GAP_HALO = 64
"""Pixels around a block that basins are found by."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """How the gaps of a job's probabilities are closed; can be sent to other processes.

    Attributes:
        job: it predicts the blocks.
        path: the basins of all blocks.
        target: what is filled.
        form: what that holds.
        tiff: whether it is a TIFF.
        result: what its values are; objects: what they are made of.
    """

    job: Job
    path: Path
    target: Path
    form: Form
    tiff: bool
    result: Result

    def create(self) -> None:
        """Make what probabilities and basins are written to.

        Raises:
            StorageError: the disk did not take it.
        """
        for path, form in ((self.job.path, self.job.form), (self.path, self._basins)):
            create_target(path, form, tiff=False)
        make_folder(self._folder)

    def predict(self, number: int, crops: list[Crop]) -> NDArray[np.float32]:
        """Predict a block, [K, H, W]."""
        return probabilities_of(self.job, number, crops).numpy()

    def seen(self, number: int) -> NDArray[np.float32]:
        """Return the probability of the background [H, W] in the window around a block."""
        return self._open(self._view(number, GAP_HALO))[0]

    def find(self, number: int, walls_HW: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the basins [H, W] of a block, and their lowest places [N]."""
        release_freed_memory()  # what the network leaves does not fit
        return own_basins(walls_HW, self._view(number, GAP_HALO))

    def write(self, number: int, found: tuple[NDArray[np.int32], NDArray[np.int64]]) -> str:
        """Write the basins of a block; return their checksum.

        Raises:
            StorageError: the disk did not take it.
        """
        ids_1HW, places = found[0][None].astype(np.uint32), found[1]
        keep(self._folder / f"{number}.npy", places)
        open_target(self.path, self._basins, tiff=False).put(self._blocks[number], ids_1HW)
        return checksum(ids_1HW)

    def written(self, number: int) -> str:
        """Return the checksum of the basins of a block that were written.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        return checksum(self._ids(self._blocks[number])[None])

    def number(self, page: int) -> None:
        """Number the basins of a page by their lowest places, and keep that in a file.

        Raises:
            StorageError: the disk did not take it.
        """
        each = [np.load(self._folder / f"{number}.npy") for number in self._blocks.of_page(page)]
        offsets = np.cumsum([0, *map(len, each)])
        _, nodes = np.unique(np.concatenate(each), return_inverse=True)
        keep(self._numbers(page), offsets, nodes + 1)

    def contours(self, number: int) -> Contours:
        """Return the contours of a block, and those to the blocks before it."""
        view = self._view(number, 1)
        own, walls_HW = view.own, self._open(view)[0]
        seen = slice(own[0].stop), slice(own[1].stop)
        return contours_of(self._nodes(view)[seen], walls_HW[seen], own)

    def join(self, page: int, contours: Iterable[tuple[int, Contours]], *, allowed: float) -> None:
        """Join regions of a page on the graph of its blocks' contours, and keep their strengths in a file.

        Raises:
            UsageError: joining them takes more.
            StorageError: the disk did not take it.
        """
        each = [one for _, one in sorted(contours, key=lambda pair: pair[0])]
        require_room(sum(len(one.lengths) for one in each), OF_CONTOUR, f"contours of page {page}", allowed)
        sides, strengths = strengths_of(each)
        keep(self._strengths(page), sides, strengths)

    def around(self, number: int) -> NDArray[np.float32]:
        """Return the probabilities [K, H, W] of a block and the pixels next to it."""
        return self._open(self._view(number, 1))

    def close(self, number: int, planes: NDArray[np.float32]) -> NDArray[Any]:
        """Return the values [K, H, W] of a block by its probabilities with closed gaps."""
        view, predictor = self._view(number, 1), opened(self.job).predictor
        walls_HW = raised(self._nodes(view), planes[0], *kept_pair(self._strengths(view.page)))
        closed_KHW = with_background(planes[:, *view.own], walls_HW[view.own])
        if self.result in ("masks", "probabilities"):
            wanted = self.result == "probabilities"
            return values_of(predictor, torch.from_numpy(closed_KHW), self.form, probabilities=wanted)
        return Evidence.of(closed_KHW, predictor.classes).planes(predictor.classes)

    def put(self, number: int, values_KHW: NDArray[Any]) -> str:
        """Write the values of a block; return their checksum.

        Raises:
            StorageError: the disk did not take it.
        """
        open_target(self.target, self.form, tiff=self.tiff).put(self._blocks[number], values_KHW)
        return checksum(values_KHW)

    def filled(self, number: int) -> str:
        """Return the checksum of the values of a block that were written.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        block = self._blocks[number]
        return checksum(open_target(self.target, self.form, tiff=self.tiff).get(block.page, block.rows, block.columns))

    @property
    def _blocks(self) -> Blocks:
        return Blocks(self.form)

    @property
    def _folder(self) -> Path:
        return self.path.with_name("places")

    @property
    def _basins(self) -> Form:
        return replace(open_form(self.form, ()), dtype=np.uint32)

    def _numbers(self, page: int) -> Path:
        return self._folder / f"nodes-{page}.npy"

    def _strengths(self, page: int) -> Path:
        return self._folder / f"strengths-{page}.npy"

    def _view(self, number: int, halo: int) -> View:
        block = self._blocks[number]
        return View(block.page, block.rows, block.columns, (self.form.height, self.form.width), halo)

    def _open(self, view: View) -> NDArray[np.float32]:
        """Return the probabilities [K, H, W] of a window, with their gaps."""
        return open_target(self.job.path, self.job.form, tiff=False).get(view.page, *view.window)

    def _ids(self, block: Block) -> NDArray[np.uint32]:
        return open_target(self.path, self._basins, tiff=False).get(block.page, block.rows, block.columns)[0]

    def _nodes(self, view: View) -> NDArray[np.int64]:
        """Return the basins [H, W] of a window, as they are numbered over its page."""
        (offsets, nodes), blocks = kept_pair(self._numbers(view.page)), self._blocks
        found = np.empty([part.stop - part.start for part in view.window], np.int64)
        downs, acrosses = (range(part.start // blocks.side, -(-part.stop // blocks.side)) for part in view.window)
        for down, across in product(downs, acrosses):
            number = down * blocks.across + across
            block = blocks[blocks.of_page(view.page)[number]]
            parts = [
                slice(max(own.start, seen.start), min(own.stop, seen.stop))
                for own, seen in zip((block.rows, block.columns), view.window, strict=True)
            ]
            place = [shifted(part, seen.start) for part, seen in zip(parts, view.window, strict=True)]
            found[*place] = nodes[offsets[number] + self._ids(Block(view.page, *parts)) - 1]
        return found
