import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import load_config
from unetkit.data import Sample, split_dataset
from unetkit.errors import ConfigError, RunFolderError
from unetkit.evaluation.crossval import divide, read_folder
from unetkit.prediction.load import member_folders


@dataclass
class Images:
    names: list[str]
    classes: tuple[str, ...] = ("membrane", "interior")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Sample:
        return Sample(self.names[index], np.zeros((1, 4, 4), np.uint8), np.zeros((4, 4), np.uint8))


METHODS = ("mindspore", "tensorflow", "shuffled", "interleaved", "blocks", "stacks", "none", "last")


@given(st.integers(2, 40), st.integers(2, 8), st.sampled_from(METHODS), st.integers(0, 5))
def test_every_image_is_held_out_once_and_members_hold_out_what_their_fold_says(
    count: int, folds: int, method: str, seed: int
) -> None:
    config = load_config({"data": {"split": {"method": method, "seed": seed}}})
    dataset = Images([f"volume[{index:02d}]" if method != "stacks" else f"cell-{index}" for index in range(count)])
    if count < folds:
        with pytest.raises(ConfigError):
            divide(config, dataset, folds)
        return
    made = divide(config, dataset, folds)
    assert sorted(index for held in made.held_out for index in held) == list(range(count))
    for member in made.members(seeds=2):
        split = split_dataset(dataset, member.config.data.split)
        assert split.validation == made.held_out[member.fold]
        assert not set(split.train) & set(split.validation)
    assert [(member.fold, member.seed) for member in made.members(2)] == [(f, s) for s in (0, 1) for f in range(folds)]


def test_the_founding_rule_is_kept_where_it_divides_and_replaced_with_a_word_where_it_does_not() -> None:
    config, thirty = load_config("isbi"), Images([f"v[{index}]" for index in range(30)])
    kept, replaced = divide(config, thirty, 5), divide(config, thirty, 4)
    assert (kept.config.data.split.method, kept.notes) == ("mindspore", ())
    assert replaced.config.data.split.method == "shuffled"
    assert "mindspore" in replaced.notes[0]


def test_stacks_stay_together() -> None:
    names = [f"{stack}[{index}]" for stack in "abcdef" for index in range(3)]
    made = divide(load_config({"data": {"split": {"method": "stacks"}}}), Images(names), 3)
    for held in made.held_out:
        stacks = {names[index][0] for index in held}
        assert len(held) == 3 * len(stacks)
    with pytest.raises(ConfigError):
        divide(load_config({"data": {"split": {"method": "stacks"}}}), Images(names), 7)


@pytest.mark.parametrize(
    "changed",
    [
        {"config": 5},
        {"held_out": 5},
        {"held_out": [["a"]]},
        {"seeds": None},
        {"seeds": float("inf")},
        {"seeds": 10**12},
    ],
    ids=str,
)
def test_a_damaged_folder_is_one_line(tmp_path: Path, changed: dict[str, Any]) -> None:
    (tmp_path / "crossval.json").write_text(json.dumps({"config": {}, "held_out": [[0], [1]], "seeds": 1} | changed))
    with pytest.raises(RunFolderError, match=r"crossval\.json: is not what `unetkit crossval` wrote"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 99_999, '{"members": 5}', '{"members": ["../other"]}', '{"members": ["/other"]}']
)
def test_members_lie_in_their_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / "crossval.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"crossval\.json: is not what `unetkit crossval` wrote"):
        member_folders(tmp_path)
