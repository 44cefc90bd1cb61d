"""Which trainings a cross-validation consists of, and that each image is held out by exactly one fold.

Assumes a configuration that says how data is split. Does not know folders that exist, nor how a training is done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unetkit.config import Config, SplitConfig
from unetkit.data import Dataset, split_dataset
from unetkit.errors import ConfigError

_NOT_FOLDS = ("none", "given", "last")


@dataclass(frozen=True, slots=True)
class Member:
    """One training.

    Attributes:
        fold: what it holds out, from 0.
        seed: `train.seed`.
        config: its whole configuration.
    """

    fold: int
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return f"fold-{self.fold}-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Folds:
    """A division of the images.

    Attributes:
        config: the configuration with the method that divides.
        held_out: the indices that each fold holds out; together every image once.
        notes: what the user should know of it.
    """

    config: Config
    held_out: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def members(self, seeds: int) -> Iterator[Member]:
        """Yield every training, seed by seed, so that each fold is trained once before any is trained twice."""
        first = self.config.train.seed
        for seed in range(first, first + seeds):
            train = self.config.train.model_copy(update={"seed": seed})
            for fold in range(len(self.held_out)):
                config = _with_split(self.config, fold=fold)
                yield Member(fold, seed, config.model_copy(update={"train": train}))

    def fold_of(self) -> dict[int, int]:
        """Return the fold that holds each image out, by the image's index."""
        return {index: fold for fold, held in enumerate(self.held_out) for index in held}


def divide(config: Config, dataset: Dataset, count: int) -> Folds:
    """Divide the images into `count` folds by the configured method, or shuffled where that is no partition.

    The founding systems' rules leave images out, or hold some out twice, wherever the folds do not divide the images.

    Raises:
        ConfigError: fewer images, or fewer stacks, than folds.
    """
    method = config.data.split.method
    if method not in _NOT_FOLDS:
        asked = _with_split(config, folds=count, fold=0)
        held_out = _held_out(asked, dataset)
        if _is_partition(held_out, len(dataset)):
            return Folds(asked, held_out)
    shuffled = _with_split(config, method="shuffled", folds=count, fold=0)
    held_out = _held_out(shuffled, dataset)
    note = (
        f"data.split.method={method} does not hold out each of {len(dataset)} images once in {count} folds; "
        "data.split.method=shuffled is used, which does"
    )
    return Folds(shuffled, held_out, (note,))


def _held_out(config: Config, dataset: Dataset) -> tuple[tuple[int, ...], ...]:
    folds = range(config.data.split.folds)
    return tuple(split_dataset(dataset, _with_split(config, fold=fold).data.split).validation for fold in folds)


def _is_partition(held_out: Sequence[Sequence[int]], count: int) -> bool:
    return sorted(index for held in held_out for index in held) == list(range(count))


def _with_split(config: Config, **changes: object) -> Config:
    try:
        split = SplitConfig.model_validate(config.data.split.model_dump() | changes)
    except ValueError as error:
        raise ConfigError(f"--folds: {error}; give 2 or more") from None
    return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})
