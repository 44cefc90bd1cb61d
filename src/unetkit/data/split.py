"""Which samples are trained on and which are held out: the older systems' exact rules, and rules of our own.

Assumes nothing about the samples but their number and, for `stacks` and groups, the file that each comes from. The
legacy rules are those of the MindSpore and the TensorFlow system, written out at each function. Does not know what the
samples are used for.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unetkit.config import Config, SplitConfig, SplitMethod
from unetkit.data.dataset import Dataset, division_of, name_of
from unetkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the samples to train on, of those held out, and of the test set, as the rule orders them."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...] = ()


def method_for(dataset: Dataset, config: SplitConfig) -> SplitMethod:
    """Return the method that splits a data set: for `auto`, the one that its own division asks for."""
    if config.method != "auto":
        return config.method
    division = division_of(dataset)
    if division.held_out:
        return "given"
    rest = set(range(len(dataset))) - set(division.test)
    serial = division.serial and any(division.stacks[index] for index in rest)
    if not serial or config.group is not None or division.groups:
        return "shuffled"
    stacks = {stack_of(name_of(dataset, index)[0]) for index in rest}
    return "stacks" if config.folds <= len(stacks) < len(rest) else "blocks"


def with_method(config: Config, dataset: Dataset) -> Config:
    """Return a configuration whose split is the one that `auto` stands for."""
    split = config.data.split.model_copy(update={"method": method_for(dataset, config.data.split)})
    return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})


def split_dataset(dataset: Dataset, config: SplitConfig) -> Split:
    """Split a data set; its samples are not read where their reader knows their names.

    The test set of the data stays out of both sides. Samples of one group stay on one side: the groups are split as
    samples are, in the order in which they first occur.

    Raises:
        ConfigError: the split would leave nothing to train on or nothing to hold out.
    """
    division, method = division_of(dataset), method_for(dataset, config)
    rest = sorted(set(range(len(dataset))) - set(division.test))
    if method == "given":
        if not division.held_out:
            raise ConfigError(
                "data.split.method=given: the data is not divided into train and val; use another method, such as "
                "shuffled"
            )
        return replace(_without(rest, list(division.held_out)), test=division.test)
    config = config.model_copy(update={"method": method})
    if method == "stacks":
        stacks = [stack_of(name_of(dataset, index)[0]) for index in rest]
        split = split_indices(len(rest), config, stacks=stacks)
    elif config.group is not None or division.groups:
        groups = _groups(dataset, rest, config.group) if config.group else [division.groups[index] for index in rest]
        names = list(dict.fromkeys(groups))
        chosen = split_indices(len(names), config)
        held = {names[index] for index in chosen.validation}
        split = _without(list(range(len(rest))), [place for place, group in enumerate(groups) if group in held])
    else:
        split = split_indices(len(rest), config)
    train, validation = (tuple(rest[place] for place in side) for side in (split.train, split.validation))
    return Split(train, validation, division.test)


def _groups(dataset: Dataset, indices: Sequence[int], expression: str) -> list[str]:
    """Return the group of each sample: what an expression finds last in its file's path, or in its name."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"data.split.group: '{expression}' is not a regular expression: {error}") from error
    found: list[str] = []
    for index in indices:
        name, source = name_of(dataset, index)
        match = next(iter([*pattern.finditer(source)][-1:] or [*pattern.finditer(name)][-1:]), None)
        if match is None:
            raise ConfigError(
                f"data.split.group: '{expression}' finds nothing in {source or name}; every sample needs a group"
            )
        found.append(match[1] if pattern.groups and match[1] is not None else match[0])
    return found


def split_indices(count: int, config: SplitConfig, *, stacks: Sequence[str] | None = None) -> Split:
    """Split the numbers 0 .. count-1; `stacks` names the stack of each, for the method of that name.

    The method 'given' needs the data set itself: `split_dataset`.

    Raises:
        ConfigError: the split would leave nothing to train on or nothing to hold out.
    """
    if config.method == "none":
        return Split(tuple(range(count)), ())
    assert config.method != "given"
    # Nothing is known of the samples here, so that `auto` shuffles.
    if config.method == "stacks":
        # Hold out whole stacks: the sorted names are shuffled and divided into `folds` parts.
        stacks = stacks or [str(index) for index in range(count)]
        names = sorted(set(stacks))
        chosen = {names[index] for index in _shuffled(len(names), config.seed)[_block(len(names), config)]}
        split = _without(list(range(count)), [index for index in range(count) if stacks[index] in chosen])
    else:
        split = RULES[config.method](count, config)
    if split.train and split.validation:
        return split
    asked, key = f"into {config.folds} folds with fold {config.fold} held out", "data.split.folds lower"
    if config.method == "last":
        asked, key = f"with a share of {config.share:g} held out", "another data.split.share"
    raise ConfigError(
        f"{count} samples cannot be split by '{config.method}' {asked}: one side would be empty; set {key}, or "
        "data.split.method=none"
    )


def stack_of(name: str) -> str:
    """Return the name of the stack that a sample belongs to: `train-volume` for `train-volume[07]`."""
    return name.rpartition("[")[0] if name.endswith("]") else name


def _shuffled(count: int, seed: int) -> list[int]:
    # numpy's legacy generator: `np.random.seed(0)` followed by `np.random.shuffle` draws exactly these numbers.
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    return order.tolist()


def mindspore_folds(count: int, config: SplitConfig) -> Split:
    """Shuffle, rotate by fold * round(count / folds), and hold out the last round(count / folds).

    The folds are a partition where `folds` divides `count`; elsewhere the rule leaves a few out of every fold or uses
    a few twice, as the older system does. `shuffled` is the same idea without that flaw.
    """
    held = round(count / config.folds)
    order: list[int] = np.roll(_shuffled(count, config.seed), config.fold * held).tolist()
    return Split(tuple(order[: count - held]), tuple(order[count - held :]))


def tensorflow_folds(count: int, config: SplitConfig) -> Split:
    """Shuffle, rotate by fold * int((1 - ratio) * count), and train on the first int(ratio * count).

    The ratio is 1 - 1 / folds in floating point, so that (1 - 0.8) * 30 is 5.999... and the folds of 30 slices rotate
    by 5 and hold out 6: they overlap, and some slices are never validated. Kept to reproduce that system's numbers.
    """
    ratio = 1.0 - 1.0 / config.folds
    order: list[int] = np.roll(_shuffled(count, config.seed), config.fold * int((1.0 - ratio) * count)).tolist()
    trained = int(ratio * count)
    return Split(tuple(order[:trained]), tuple(order[trained:]))


def shuffled_folds(count: int, config: SplitConfig) -> Split:
    """Shuffle, and hold out one of `folds` parts whose sizes differ by one at most: a partition for every count."""
    order = _shuffled(count, config.seed)
    return _without(order, order[_block(count, config)])


def interleaved_folds(count: int, config: SplitConfig) -> Split:
    """Hold out every `folds`-th sample, beginning with number `fold`."""
    return _without(list(range(count)), list(range(config.fold, count, config.folds)))


def block_folds(count: int, config: SplitConfig) -> Split:
    """Hold out one of `folds` runs of neighbours, so that a slice's neighbours are on its own side but for the ends."""
    order = list(range(count))
    return _without(order, order[_block(count, config)])


def last_share(count: int, config: SplitConfig) -> Split:
    """Train on the first int(n * (1 - share)) samples, as MindSpore's model zoo does with sorted folders."""
    trained = int(count * (1 - config.share))
    return Split(tuple(range(trained)), tuple(range(trained, count)))


def _block(count: int, config: SplitConfig) -> slice:
    return slice(config.fold * count // config.folds, (config.fold + 1) * count // config.folds)


def _without(order: list[int], held: list[int]) -> Split:
    chosen = set(held)
    return Split(tuple(index for index in order if index not in chosen), tuple(held))


RULES: dict[str, Callable[[int, SplitConfig], Split]] = {
    "mindspore": mindspore_folds,
    "tensorflow": tensorflow_folds,
    "auto": shuffled_folds,
    "shuffled": shuffled_folds,
    "interleaved": interleaved_folds,
    "blocks": block_folds,
    "last": last_share,
}
