"""What was predicted for every image out of fold, as files: probabilities, and objects where they were looked for.

One stack with a page an image, in the order of the data; a folder of files where the images differ in size.

Legend of shapes: K classes, H height, W width, N objects.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetkit.data import Dataset, samples_of
from unetkit.objects import ObjectMap, object_classes
from unetkit.objects.labelled import renumbered
from unetkit.prediction.outputs import Form, Output, tiff_stack
from unetkit.storage import make_folder

OUT_OF_FOLD, OBJECTS = "out-of-fold", "out-of-fold-objects"

Put = Callable[[int, NDArray[Any], ObjectMap | None], None]
"""Takes the probabilities [K, H, W] of the data's classes and the objects of the image at an index."""

_Size = tuple[int, ...]


@contextmanager
def written(folder: Path, dataset: Dataset) -> Generator[Put]:
    """Give a function that takes what was predicted for an image to its place: a page, or a file where sizes differ.

    Two classes are written as the probability of the second, more as one channel a class; objects as labels.

    Raises:
        StorageError: the disk did not take them.
    """
    samples = {index: (one.name, one.pixels.shape[1:]) for index, one in enumerate(samples_of(dataset))}
    channels = () if len(dataset.classes) == 2 else dataset.classes
    with ExitStack() as stack:
        probabilities = _Pages(folder / OUT_OF_FOLD, samples, stack, np.float32, channels, white=1.0)
        objects = _Pages(folder / OBJECTS, samples, stack, np.uint32, white=255.0)

        def put(index: int, probabilities_KHW: NDArray[Any], found: ObjectMap | None) -> None:
            probabilities.put(index, probabilities_KHW[1:] if len(probabilities_KHW) == 2 else probabilities_KHW)
            if found is not None:
                objects.put(index, found.ids[None])

        yield put


@dataclass
class _Pages:
    """A page an image: of one file that is begun by the first, or each in a file of its own where sizes differ."""

    place: Path
    samples: dict[int, tuple[str, _Size]]
    stack: ExitStack
    dtype: type[np.float32] | type[np.uint32]
    channels: tuple[str, ...] = ()
    white: float = field(kw_only=True)
    whole: Output | None = field(default=None, init=False)

    def put(self, index: int, values_KHW: NDArray[Any]) -> None:
        name, size = self.samples[index]
        if len({size for _, size in self.samples.values()}) > 1:
            make_folder(self.place)
            with tiff_stack(self.place / f"{name}.tif", self._form(size, 1)) as output:
                output.put(0, 0, 0, values_KHW)
            return
        if self.whole is None:
            form = self._form(size, len(self.samples))
            self.whole = self.stack.enter_context(tiff_stack(self.place.with_suffix(".tif"), form))
        self.whole.put(index, 0, 0, values_KHW)

    def _form(self, size: _Size, pages: int) -> Form:
        return Form(self.dtype, size[0], size[1], pages, self.channels, self.white)


def read_predictions(folder: Path, dataset: Dataset, index: int) -> NDArray[np.float32]:
    """Return the probabilities [K, H, W] that were written for an image."""
    count = 1 if len(dataset.classes) == 2 else len(dataset.classes)
    stored_KHW = _read(folder / OUT_OF_FOLD, dataset, index, count)
    return np.concatenate([1 - stored_KHW, stored_KHW]) if count == 1 else stored_KHW


def read_objects(folder: Path, dataset: Dataset, index: int) -> ObjectMap:
    """Return the objects that were written for an image; their classes are found as when they were made."""
    ids_HW, first_N = renumbered(_read(folder / OBJECTS, dataset, index, 1)[0])
    sought = object_classes(dataset.classes)
    kinds_HW = np.array(sought)[read_predictions(folder, dataset, index)[sought].argmax(0)]
    return ObjectMap(ids_HW, kinds_HW.ravel()[first_N], np.ones(len(first_N), np.float32))


def _read(place: Path, dataset: Dataset, index: int, count: int) -> NDArray[Any]:
    whole = place.with_suffix(".tif")
    if whole.is_file():
        return np.stack([tifffile.imread(whole, key=index * count + channel) for channel in range(count)])
    stored = tifffile.imread(place / f"{dataset[index].name}.tif")
    return stored.reshape(count, *stored.shape[-2:])
