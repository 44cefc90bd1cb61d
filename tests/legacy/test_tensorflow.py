import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.checkpoints import read_legacy
from unetkit.legacy.networks import NVIDIA
from unetkit.models import build_model
from unetkit.storage.protobuf import field

Write = Callable[..., Path]


@pytest.fixture
def tensors(example: Callable) -> dict[str, Tensor]:
    return example(NVIDIA).tensors


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("scope", ["", "UNet/"])
def test_shards_scopes_and_slots(
    tmp_path: Path, example: Callable, write_bundle: Write, shards: int, scope: str
) -> None:
    made = example(NVIDIA)
    values = {scope + name: tensor for name, tensor in made.tensors.items()}
    values |= {f"{name}/Adam": tensor * 2 for name, tensor in values.items()} | {
        f"{name}/Adam_1": tensor * 3 for name, tensor in values.items()
    }
    values |= {"beta1_power": torch.tensor(0.1), "beta2_power": torch.tensor(0.1), "global_step": torch.tensor(640)}
    prefix = write_bundle(tmp_path / "model.ckpt-640", values, shards=shards)
    legacy = read_legacy(prefix)
    assert legacy is not None
    assert legacy.network == made.network
    assert all(torch.equal(legacy.state[name], tensor) for name, tensor in made.state.items())
    assert legacy.moments is not None
    assert legacy.moments.step == 640
    assert legacy.moments.first.keys() == dict(build_model(made.network).named_parameters()).keys()
    assert all(torch.equal(moment, made.state[name] * 2) for name, moment in legacy.moments.first.items())
    assert all(torch.equal(moment, made.state[name] * 3) for name, moment in legacy.moments.second.items())
    assert not any(note.startswith("left out") for note in legacy.notes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_become_single(
    tmp_path: Path, tensors: dict[str, Tensor], write_bundle: Write, dtype: torch.dtype
) -> None:
    legacy = read_legacy(write_bundle(tmp_path / "m", {name: tensor.to(dtype) for name, tensor in tensors.items()}))
    assert legacy is not None
    assert legacy.moments is None
    assert torch.equal(legacy.state["head.bias"], tensors["conv2d_10/bias"].to(dtype).float())


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ('model_checkpoint_path: "model.ckpt-3"\nall_model_checkpoint_paths: "model.ckpt-3"\n', True),
        ('model_checkpoint_path: "/elsewhere/results/model.ckpt-3"\n', True),
        ('model_checkpoint_path: "../model.ckpt-3"\n', True),
        ('model_checkpoint_path: ".."\n', False),
        ('model_checkpoint_path: "model.ckpt-9"\n', False),
        ("something else", False),
    ],
)
def test_the_pointer_beside_it(
    tmp_path: Path, tensors: dict[str, Tensor], write_bundle: Write, pointer: str, found: bool
) -> None:
    folder = tmp_path / "model_checkpoint"
    folder.mkdir()
    write_bundle(folder / "model.ckpt-3", tensors)
    (folder / "checkpoint").write_text(pointer)
    assert (read_legacy(tmp_path) is not None) is found
    assert (read_legacy(folder / "checkpoint") is not None) is found


def test_a_folder_with_one_bundle_needs_no_pointer(
    tmp_path: Path, tensors: dict[str, Tensor], write_bundle: Write
) -> None:
    write_bundle(tmp_path / "model.ckpt-3", tensors)
    assert read_legacy(tmp_path) is not None
    write_bundle(tmp_path / "model.ckpt-6", tensors)
    assert read_legacy(tmp_path) is None


def test_every_changed_byte_is_noticed(tmp_path: Path, write_bundle: Write, tensors: dict[str, Tensor]) -> None:
    prefix = write_bundle(tmp_path / "m", tensors)
    shard = tmp_path / "m.data-00000-of-00001"
    content = shard.read_bytes()
    for place in range(0, len(content), 97):
        shard.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(
            DamagedFileError, match=r"m\.data-00000-of-00001: damaged: conv2d.* does not match its checksum"
        ):
            read_legacy(prefix)


def test_a_shard_that_is_short_or_gone(tmp_path: Path, write_bundle: Write, tensors: dict[str, Tensor]) -> None:
    prefix = write_bundle(tmp_path / "m", tensors, shards=2)
    shard = tmp_path / "m.data-00001-of-00002"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"m\.data-00001-of-00002: cut short"):
        read_legacy(prefix)
    shard.unlink()
    with pytest.raises(ModelFileError, match=r"m\.data-00001-of-00002: cannot be read .* copy all 2 data files"):
        read_legacy(prefix)


def test_a_shard_that_is_a_pipe(tmp_path: Path, write_bundle: Write) -> None:
    # What is written last counts: no byte is asked for.
    prefix = write_bundle(tmp_path / "m", {"a": torch.ones(2)}, extra=field(4, 0) + field(5, 0))
    shard = tmp_path / "m.data-00000-of-00001"
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(ModelFileError, match=r"m\.data-00000-of-00001: cut short"):
        read_legacy(prefix)


def test_partitioned_variables_are_refused(tmp_path: Path, write_bundle: Write, tensors: dict[str, Tensor]) -> None:
    with pytest.raises(ModelFileError, match=r"m\.index: .*is partitioned; save it whole"):
        read_legacy(write_bundle(tmp_path / "m", tensors, extra=field(7, b"")))


def test_overlapping_tensors_are_refused(tmp_path: Path, write_bundle: Write) -> None:
    # The offset that is written last counts: all tensors begin at byte 0.
    with pytest.raises(ModelFileError, match=r"m\.index: .*its tensors overlap"):
        read_legacy(write_bundle(tmp_path / "m", {"a": torch.ones(2), "b": torch.ones(2)}, extra=field(4, 0)))


def test_an_index_that_is_damaged(tmp_path: Path, write_bundle: Write, tensors: dict[str, Tensor]) -> None:
    prefix = write_bundle(tmp_path / "m", tensors)
    index = tmp_path / "m.index"
    content = index.read_bytes()
    index.write_bytes(content[:30] + bytes([content[30] ^ 1]) + content[31:])
    with pytest.raises(DamagedFileError, match=r"m\.index: damaged: a block"):
        read_legacy(prefix)
    index.write_bytes(content[100:])
    with pytest.raises(ModelFileError, match=r"m\.index"):
        read_legacy(prefix)
    index.write_bytes(content[:-1])
    assert read_legacy(prefix) is None


def test_compressed_blocks_are_refused(tmp_path: Path, write_table: Callable) -> None:
    (tmp_path / "m.index").write_bytes(write_table({"a": b""}, kind=1))
    with pytest.raises(ModelFileError, match="a compressed block"):
        read_legacy(tmp_path / "m")


def test_a_layer_that_is_missing(tmp_path: Path, write_bundle: Write, tensors: dict[str, Tensor]) -> None:
    del tensors["conv2d_10/bias"]
    with pytest.raises(
        ModelFileError, match="a TensorFlow checkpoint like UNet_Medical, but conv2d_10/bias is missing"
    ):
        read_legacy(write_bundle(tmp_path / "m", tensors))
