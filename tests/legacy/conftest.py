"""Small checkpoints of every older system, written here without any of those systems."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unetkit.config import ModelConfig
from unetkit.legacy.checkpoints.tensorflow import masked_crc32c
from unetkit.legacy.networks import NVIDIA, Architecture, depth_of
from unetkit.models import build_model
from unetkit.storage.protobuf import field, varint


@dataclass(frozen=True)
class Example:
    """A legacy network with random weights, under our names and under its own."""

    network: ModelConfig
    state: dict[str, Tensor]
    tensors: dict[str, Tensor]


@pytest.fixture(scope="session")
def example() -> Callable[..., Example]:
    def make(legacy: Architecture, **options: object) -> Example:
        settings = {"in_channels": 1, "num_classes": 2, "width": 2, "depth": 2, **legacy.fixed, **options}
        network = ModelConfig(**settings)
        generator = torch.Generator().manual_seed(1)
        state = {
            name: torch.rand(tensor.shape, generator=generator)
            if tensor.is_floating_point()
            else torch.zeros_like(tensor)
            for name, tensor in build_model(network).state_dict().items()
        }
        names = legacy.names(depth_of(network))
        tensors = {theirs: state[ours] for ours, theirs in names.items() if ours in state}
        if legacy is NVIDIA:
            tensors = {name: t.permute(2, 3, 1, 0).contiguous() if t.ndim == 4 else t for name, t in tensors.items()}
        return Example(network, state, tensors)

    return make


@pytest.fixture(scope="session")
def write_bundle() -> Callable[..., Path]:
    """Write a TensorFlow checkpoint; tensor i lies in shard i modulo their number."""
    types = {torch.float32: 1, torch.float64: 2, torch.int32: 3, torch.int64: 9, torch.bfloat16: 14, torch.float16: 19}

    def write(prefix: Path, tensors: dict[str, Tensor], *, shards: int = 1, extra: bytes = b"") -> Path:
        contents = [bytearray() for _ in range(shards)]
        table = {"": field(1, shards) + field(2, 0) + field(3, field(1, 1))}
        for number, name in enumerate(sorted(tensors)):
            content = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            shard = number % shards
            shape = b"".join(field(2, field(1, side)) for side in tensors[name].shape)
            table[name] = (
                field(1, types[tensors[name].dtype])
                + field(2, shape)
                + field(3, shard)
                + field(4, len(contents[shard]))
                + field(5, len(content))
                + varint(6 << 3 | 5)
                + masked_crc32c(content).to_bytes(4, "little")
                + extra
            )
            contents[shard] += content
        for shard, content in enumerate(contents):
            prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
        prefix.with_name(f"{prefix.name}.index").write_bytes(table_file(table))
        return prefix

    return write


def table_file(table: dict[str, bytes], *, kind: int = 0) -> bytes:
    """Return a LevelDB table with two data blocks, as TensorFlow writes it."""
    names = sorted(table)
    result, index = bytearray(), {}
    for part in (names[: len(names) // 2], names[len(names) // 2 :]):
        if part:
            index[part[-1]] = handle(result, block({name: table[name] for name in part}), kind)
    meta = handle(result, block({}), kind)
    root = handle(result, block(index), kind)
    return bytes(result + (meta + root).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"))


def block(entries: dict[str, bytes]) -> bytes:
    result, before = bytearray(), b""
    for name, value in entries.items():
        key = name.encode()
        shared = next(
            (i for i, pair in enumerate(zip(key, before, strict=False)) if pair[0] != pair[1]),
            min(len(key), len(before)),
        )
        result += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return bytes(result) + np.array([0, 1], "<u4").tobytes()


def handle(file: bytearray, content: bytes, kind: int) -> bytes:
    start = len(file)
    file += content + bytes([kind]) + masked_crc32c(content + bytes([kind])).to_bytes(4, "little")
    return varint(start) + varint(len(content))


@pytest.fixture(scope="session")
def write_table() -> Callable[..., bytes]:
    return table_file
