"""How many images a training would see: the steps of a founding training are epochs of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from unetkit.config import DataConfig
from unetkit.data import SAMPLE, open_dataset, split_dataset, split_indices
from unetkit.interop.configurations.settings import shown


@dataclass(frozen=True, slots=True)
class FoundingSet:
    """The data that a founding configuration was written for.

    Attributes:
        name: what it is called.
        images: how many it has; of data that is divided into train and val, those of train.
        sides: rows and columns of the first.
    """

    name: str
    images: int
    sides: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Images:
    """How many training images there are, whose they are, and rows and columns of the first."""

    count: int
    said: str
    sides: tuple[int, int]


Count = Callable[[FoundingSet], Images]

ISBI = FoundingSet("ISBI 2012", 30, (512, 512))
NUCLEI = FoundingSet("the nuclei of DSB 2018", 670, (256, 256))
COCO = FoundingSet("COCO 2017", 118_287, (480, 640))


def training_images(data: DataConfig, founding: FoundingSet) -> Images:
    """Count the training images of the data, or of the founding set where no data is named or is not there.

    Raises:
        DataError, ConfigError: the data cannot be opened or split.
    """
    if data.path is not None and _is_there(data.path):
        dataset = open_dataset(data.path, config=data)
        trained = split_dataset(dataset, data.split).train
        rows, columns = dataset[trained[0]].pixels.shape[1:]
        said = f"{len(trained)} training images of the {len(dataset)} in {shown(data.path)}"
        return Images(len(trained), said, (int(rows), int(columns)))
    count = founding.images
    if data.split.method != "given":
        count = len(split_indices(count, data.split).train)
    return Images(count, f"{count} training images of {founding.name}; those of --data are counted", founding.sides)


def _is_there(path: str) -> bool:
    return path == SAMPLE or "://" in path or os.path.exists(path)  # where pathlib raises, this says no
