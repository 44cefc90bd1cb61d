"""Whatever happens to a checkpoint, reading it ends soon, takes little memory, and raises errors of ours or none."""

import io
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from unetkit.errors import ModelFileError
from unetkit.legacy.checkpoints import read_legacy
from unetkit.legacy.checkpoints.mindspore import write_checkpoint
from unetkit.legacy.graphs.air import encode as encode_air
from unetkit.legacy.graphs.graph import Graph, Node
from unetkit.legacy.graphs.mindir import encode as encode_mindir
from unetkit.legacy.networks import MEDICAL, MILESIAL, NVIDIA, SIMPLE
from unetkit.storage.protobuf import field


def write_mindspore(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    tensors = example(MEDICAL, width=1, depth=1).tensors
    moments = {f"moment{k}.{name}": tensor for k in (1, 2) for name, tensor in tensors.items()}
    write_checkpoint(folder / "net.ckpt", tensors | moments | {"global_step": torch.tensor([3]), "note": "text"})
    return folder / "net.ckpt", [folder / "net.ckpt"]


def write_safetensors(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    save_file(example(SIMPLE, width=1, depth=1).tensors, folder / "net.safetensors", {"format": "ms"})
    return folder / "net.safetensors", [folder / "net.safetensors"]


def write_tensorflow(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    prefix = write_bundle(folder / "model", example(NVIDIA, width=1, depth=1).tensors, shards=2)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\n')
    return folder, [folder / "checkpoint", *sorted(folder.glob(f"{prefix.name}.*"))]


def oneflow_state(tensors: dict[str, Tensor], folder: Path | None) -> bytes:
    """Return the pickle of a state; the tensors lie in the folder, or in the pickle where there is none."""
    module = types.ModuleType("oneflow")
    module.Tensor = type("Tensor", (), {"__module__": "oneflow", "__getstate__": lambda self: self.state})
    state = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        state[name] = module.Tensor()
        if folder is None:
            state[name].state = {"data": tensor.numpy(), "device": "cpu"}
            continue
        place = folder / f"tensor_{number}"
        place.mkdir()
        kind = "kFloat" if tensor.is_floating_point() else "kInt64"
        (place / "meta").write_text(
            "shape { " + "".join(f"dim: {side} " for side in tensor.shape) + f"}} data_type: {kind}"
        )
        (place / "out").write_bytes(tensor.numpy().tobytes())
        state[name].state = {"path": place.name}
    sys.modules["oneflow"] = module
    try:
        return pickle.dumps({"protocol_version": 1, "data": {"net": state, "epoch": 1}}, protocol=3)
    finally:
        del sys.modules["oneflow"]


def write_oneflow(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    tensors = example(MILESIAL, width=1, depth=1).tensors
    (folder / "pickled_data").write_bytes(oneflow_state(tensors, folder))
    return folder, [folder / "pickled_data", folder / "tensor_0" / "meta", folder / "tensor_3" / "out"]


def write_oneflow_file(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    (folder / "model").write_bytes(oneflow_state(example(MILESIAL, width=1, depth=1).tensors, None))
    return folder / "model", [folder / "model"]


def write_pytorch(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    torch.save(example(MILESIAL, width=1, depth=1).tensors, folder / "net.pth")
    return folder / "net.pth", [folder / "net.pth"]


def write_old_pytorch(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    tensors = example(MILESIAL, width=1, depth=1).tensors
    torch.save(tensors, folder / "net.pth", _use_new_zipfile_serialization=False)
    return folder / "net.pth", [folder / "net.pth"]


def write_graph(encode: Callable[[Graph], bytes], folder: Path, example: Callable) -> tuple[Path, list[Path]]:
    """Write a graph that holds a network's weights and computes next to nothing."""
    weights = {f"net.{name}": tensor for name, tensor in example(MEDICAL, width=1, depth=1).tensors.items()}
    graph = Graph("x", (1, 1, 4, 4), torch.float32, (Node("y", "ReLU", ("x",)),), weights, "y")
    path = folder / "net.graph"
    path.write_bytes(encode(graph))
    return path, [path]


def write_mindir(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    return write_graph(lambda graph: encode_mindir(graph, version="0"), folder, example)


def write_air(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    return write_graph(encode_air, folder, example)


def write_onnx(folder: Path, example: Callable, write_bundle: Callable) -> tuple[Path, list[Path]]:
    tensors = [
        b"".join(field(1, side) for side in tensor.shape)
        + field(2, 1)
        + field(8, name.encode())
        + field(9, tensor.numpy().tobytes())
        for name, tensor in example(MEDICAL, width=1, depth=1).tensors.items()
    ]
    graph = b"".join(field(5, tensor) for tensor in tensors)
    (folder / "net.onnx").write_bytes(field(1, 4) + field(2, b"MindSpore") + field(7, graph))
    return folder / "net.onnx", [folder / "net.onnx"]


WRITERS = (
    write_mindspore,
    write_safetensors,
    write_tensorflow,
    write_oneflow,
    write_oneflow_file,
    write_pytorch,
    write_old_pytorch,
    write_mindir,
    write_air,
    write_onnx,
)


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw how a file is damaged: cut, with flipped bits, with bytes that are set, doubled or lost."""
    kind = draw(st.sampled_from(["cut", "flip", "set", "insert", "lose"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
    values = draw(st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255), min_size=4, max_size=4))

    def apply(content: bytes) -> bytes:
        result = bytearray(content)
        for place, value in zip(places, values, strict=False):
            at = int(place * len(result))
            match kind:
                case "cut":
                    del result[at:]
                case "flip":
                    result[at : at + 1] = bytes(byte ^ 1 << value % 8 for byte in result[at : at + 1])
                case "set":
                    result[at : at + 1] = bytes([value]) * len(result[at : at + 1])
                case "insert":
                    result[at:at] = bytes([value]) * 4
                case _:
                    del result[at : at + 1 + value % 16]
        return bytes(result)

    return apply


@pytest.fixture(scope="module", params=WRITERS, ids=lambda write: write.__name__)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, example: Callable, write_bundle: Callable
) -> tuple[Path, dict[Path, bytes]]:
    path, files = request.param(tmp_path_factory.mktemp("damage"), example, write_bundle)
    assert read_legacy(path) is not None
    return path, {file: file.read_bytes() for file in files}


def complaint_about(path: Path) -> str | None:
    try:
        read_legacy(path)
    except ModelFileError as error:
        return str(error)
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 99), damage=damages())
def test_damaged_files(
    checkpoint: tuple[Path, dict[Path, bytes]], which: int, damage: Callable[[bytes], bytes]
) -> None:
    path, contents = checkpoint
    file = list(contents)[which % len(contents)]
    try:
        file.write_bytes(damage(contents[file]))
        complaint = complaint_about(path)
    finally:
        file.write_bytes(contents[file])
    assert complaint is None or (str(path) in complaint and "\n" not in complaint)


HOSTILE = {
    "length.ckpt": b"\x0a\xff\xff\xff\xff\xff\xff\x7f\x0a\x01a" + bytes(100),
    "inner.ckpt": b"\x0a\x14\x0a\x01a\x12\x0f\x08\xff\xff\xff\xff\x7f\x12\x07Float32",
    "memo": b"\x80\x02}X\x10\x00\x00\x00protocol_versionr\xff\xff\xff\x7fNs.",
    "bytes": b"\x80\x04}\x8c\x10protocol_version\x8e\x00\x00\x00\x00\x10\x00\x00\x00xs.",
    "text": b"\x80\x04}\x8c\x10protocol_version\x8d\x00\x00\x00\x00\x10\x00\x00\x00xs.",
    "frame": b"\x80\x04\x95\x00\x00\x00\x00\x10\x00\x00\x00}\x8c\x10protocol_version",
}
READ = """
import resource, sys
from unetkit.errors import ModelFileError
from unetkit.legacy.checkpoints import read_legacy

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_legacy(path)
    except ModelFileError as error:
        assert path.removesuffix(".index") in str(error), error
    else:
        raise AssertionError(path)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_what_a_file_announces_is_not_allocated(tmp_path: Path, write_table: Callable) -> None:
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    entry = field(1, 1) + field(2, field(2, field(1, 1 << 40))) + field(5, 1 << 42)
    (tmp_path / "m.index").write_bytes(write_table({"conv2d/kernel": entry}))
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"")
    old = io.BytesIO()
    torch.save({"inc.double_conv.3.weight": torch.zeros(200)}, old, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(old.getvalue().replace(b"K\xc8", b"\x8a\x05\x00\x00\x00\x00\x20"))
    (tmp_path / "bytes.pth").write_bytes(old.getvalue()[:15] + b"\x96" + (1 << 44).to_bytes(8, "little") + bytes(9))
    paths = [str(tmp_path / name) for name in (*HOSTILE, "m.index", "old.pth", "bytes.pth")]
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100  # MiB
