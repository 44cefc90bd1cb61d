import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import SplitConfig
from unetkit.data import split_dataset, split_indices
from unetkit.data.dataset import Item, ItemDataset
from unetkit.data.layouts.synthetic import open_sample
from unetkit.data.split import stack_of
from unetkit.errors import ConfigError

PARTITIONS = ("shuffled", "interleaved", "blocks", "stacks")
METHODS = ("mindspore", "tensorflow", *PARTITIONS)


def config(method: str, folds: int = 5, fold: int = 1, seed: int = 0) -> SplitConfig:
    return SplitConfig.model_validate({"method": method, "folds": folds, "fold": fold, "seed": seed})


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (0, [25, 3, 0, 21, 15, 12]),
        (1, [6, 4, 18, 19, 9, 7]),
        (2, [8, 14, 23, 20, 1, 29]),
        (3, [27, 11, 17, 22, 5, 16]),
        (4, [2, 28, 13, 10, 26, 24]),
    ],
)
def test_mindspore_folds_of_thirty_slices_are_the_founding_ones(fold: int, expected: list[int]) -> None:
    assert list(split_indices(30, config("mindspore", fold=fold)).validation) == expected


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (0, [25, 3, 0, 21, 15, 12]),
        (1, [4, 18, 19, 9, 7, 25]),
        (2, [23, 20, 1, 29, 6, 4]),
        (3, [22, 5, 16, 8, 14, 23]),
        (4, [26, 24, 27, 11, 17, 22]),
    ],
)
def test_tensorflow_folds_of_thirty_slices_are_the_founding_ones(fold: int, expected: list[int]) -> None:
    assert list(split_indices(30, config("tensorflow", fold=fold)).validation) == expected


def test_the_global_generator_of_numpy_is_left_alone() -> None:
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    split_indices(30, config("mindspore"))
    assert np.random.random() == expected


def require_few(count: int, folds: int) -> None:
    """A refusal is only right where a fold can be empty, or, in the legacy rules, where the rounding makes it so."""
    assert count < folds or round(count / folds) == 0


@given(count=st.integers(1, 200), folds=st.integers(2, 12), seed=st.integers(0, 50), method=st.sampled_from(METHODS))
def test_every_fold_divides_the_samples_in_two_disjoint_parts(count: int, folds: int, seed: int, method: str) -> None:
    for fold in range(folds):
        try:
            split = split_indices(count, config(method, folds, fold, seed))
        except ConfigError:
            require_few(count, folds)
            continue
        assert split.train
        assert split.validation
        assert sorted(split.train + split.validation) == list(range(count))


@given(
    folds=st.integers(2, 12), factor=st.integers(1, 12), extra=st.integers(0, 11), method=st.sampled_from(PARTITIONS)
)
def test_our_folds_hold_out_every_sample_once(folds: int, factor: int, extra: int, method: str) -> None:
    count = folds * factor + extra % folds
    held = [index for fold in range(folds) for index in split_indices(count, config(method, folds, fold)).validation]
    assert sorted(held) == list(range(count))


@given(folds=st.integers(2, 12), factor=st.integers(1, 12), seed=st.integers(0, 9))
def test_mindspore_folds_hold_out_every_sample_once_where_they_divide_the_count(
    folds: int, factor: int, seed: int
) -> None:
    count = folds * factor
    held = [i for fold in range(folds) for i in split_indices(count, config("mindspore", folds, fold, seed)).validation]
    assert sorted(held) == list(range(count))


def test_none_trains_on_everything() -> None:
    split = split_indices(7, config("none"))
    assert split.train == tuple(range(7))
    assert split.validation == ()


def test_blocks_are_neighbours_and_interleaved_are_not() -> None:
    assert split_indices(10, config("blocks", 5, 1)).validation == (2, 3)
    assert split_indices(10, config("interleaved", 5, 1)).validation == (1, 6)


def test_stacks_stay_whole() -> None:
    stacks = [name for name, count in (("a", 4), ("b", 1), ("c", 7)) for _ in range(count)]
    split = split_indices(12, config("stacks", 3, 0), stacks=stacks)
    assert {stacks[index] for index in split.train}.isdisjoint({stacks[index] for index in split.validation})
    assert len({stacks[index] for index in split.validation}) == 1


def test_one_stack_cannot_be_split_by_stacks() -> None:
    dataset = open_sample(slices=6, size=32)
    assert stack_of(dataset[0].name) == "sample"
    with pytest.raises(ConfigError, match="6 samples cannot be split by 'stacks'"):
        split_dataset(dataset, config("stacks"))


def test_a_data_set_is_not_read_where_its_length_is_enough() -> None:
    def unread() -> np.ndarray:
        raise AssertionError

    dataset = ItemDataset(tuple(Item(str(number), "", unread) for number in range(10)))
    assert len(split_dataset(dataset, config("mindspore")).validation) == 2


@pytest.mark.parametrize("method", METHODS)
def test_too_few_samples_are_refused_with_what_to_do(method: str) -> None:
    with pytest.raises(ConfigError, match=r"1 samples cannot be split .* data\.split\.method=none"):
        split_indices(1, config(method))


@pytest.mark.parametrize(("count", "trained"), [(670, 536), (599, 479), (40, 32), (5, 4)])
def test_last_holds_out_what_the_model_zoo_holds_out_of_sorted_folders(count: int, trained: int) -> None:
    split = split_indices(count, SplitConfig(method="last"))
    assert split.train == tuple(range(trained))
    assert split.validation == tuple(range(trained, count))
    assert trained == int(count * 0.8)


def test_a_share_that_leaves_nothing_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"5 samples .* a share of 0.9 held out: one side .* data.split.share"):
        split_indices(5, SplitConfig(method="last", share=0.9))
