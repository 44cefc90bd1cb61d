import os
import pickle
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unetkit.errors import ModelFileError
from unetkit.legacy.checkpoints import read_legacy
from unetkit.legacy.networks import MILESIAL
from unetkit.models import build_model

MARK = Path(__file__).with_name("ran")
KINDS = {torch.float32: "kFloat", torch.float16: "kFloat16", torch.float64: "kDouble", torch.int64: "kInt64"}


class Held:
    """Stands for OneFlow's tensor: pickled as `oneflow Tensor` with the state given."""

    __module__ = "oneflow"
    __qualname__ = "Tensor"

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        return self.state


class Dtype:
    """Stands for OneFlow's dtype."""

    __module__ = "oneflow._oneflow_internal"
    __qualname__ = "dtype"

    def __getstate__(self) -> Any:
        return 2

    def __setstate__(self, state: Any) -> None: ...


@pytest.fixture
def oneflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `Held` and `Dtype` pickle under OneFlow's names."""
    for cls in (Held, Dtype):
        module = types.ModuleType(cls.__module__)
        setattr(module, cls.__qualname__, cls)
        monkeypatch.setitem(sys.modules, cls.__module__, module)


@pytest.fixture
def tensors(example: Callable) -> dict[str, Tensor]:
    return example(MILESIAL, num_classes=1).tensors


def write_tensor(folder: Path, tensor: Tensor) -> None:
    folder.mkdir()
    dims = "".join(f"  dim: {side}\n" for side in tensor.shape)
    (folder / "meta").write_text(f"shape {{\n{dims}}}\ndata_type: {KINDS[tensor.dtype]}\n")
    (folder / "out").write_bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def write_folder(folder: Path, tensors: dict[str, Tensor], **beside: Any) -> Path:
    folder.mkdir(exist_ok=True)
    state: OrderedDict[str, Held] = OrderedDict()
    for number, (name, tensor) in enumerate(tensors.items()):
        write_tensor(folder / f"tensor_{number}", tensor)
        state[name] = Held({"path": f"tensor_{number}"})
    content = {"protocol_version": 1, "data": {"net": state, **beside} if beside else state}
    (folder / "pickled_data").write_bytes(pickle.dumps(content, protocol=3))
    return folder


def assert_same(path: Path, tensors: dict[str, Tensor]) -> None:
    legacy = read_legacy(path)
    assert legacy is not None
    names = MILESIAL.names(legacy.network.depth)
    assert all(torch.equal(tensor, tensors[names[name]]) for name, tensor in legacy.state.items())
    assert (legacy.system, legacy.network.num_classes, legacy.normalization) == ("OneFlow", 1, "none")


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize("beside", [{}, {"epoch": 3}])
def test_a_folder(tmp_path: Path, tensors: dict[str, Tensor], beside: dict[str, int]) -> None:
    assert_same(write_folder(tmp_path / "checkpoints", tensors, **beside), tensors)


@pytest.mark.usefixtures("oneflow")
def test_its_moments(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    trained = [name for name in tensors if "running" not in name and "batches" not in name]
    state: dict[Any, Any] = {"step": 12}
    for number, name in enumerate(trained):
        write_tensor(folder / f"global_tensor_{number}", tensors[name] * 2)
        moment = Held({"path": f"global_tensor_{number}"})
        state[number] = {"exp_avg": moment, "exp_avg_sq": moment}
    groups = [{"_options": {"lr": 1e-3}, "params": list(range(len(trained)))}]
    legacy = read_legacy(write_folder(folder, tensors, opt={"state": state, "param_groups": groups}))
    assert legacy is not None
    assert legacy.moments is not None
    assert legacy.moments.step == 12
    assert legacy.moments.first.keys() == dict(build_model(legacy.network).named_parameters()).keys()
    assert all(torch.equal(moment, legacy.state[name] * 2) for name, moment in legacy.moments.first.items())


def test_a_legacy_folder(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "snapshot_done").touch()
    for name, tensor in tensors.items():
        write_tensor(folder / name, tensor)
    assert_same(folder, tensors)


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_single_file(tmp_path: Path, tensors: dict[str, Tensor], protocol: int, order: Any) -> None:
    state = {
        name: Held({"data": np.array(tensor.numpy(), order=order), "dtype": Dtype(), "device": "cpu"})
        for name, tensor in tensors.items()
    }
    content = {"protocol_version": 1, "__oneflow__": None, "data": state}
    (tmp_path / "model").write_bytes(pickle.dumps(content, protocol=protocol))
    assert_same(tmp_path / "model", tensors)


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize(
    "value", [np.array(1.0, "f4"), np.ones(9, ">f4"), np.ones(9, "c8"), np.array(["a", None], object), 5]
)
def test_arrays_that_are_no_weights(tmp_path: Path, tensors: dict[str, Tensor], value: Any) -> None:
    state = {name: Held({"data": tensor.numpy()}) for name, tensor in tensors.items()}
    state["inc.double_conv.0.weight"] = Held({"data": value})
    (tmp_path / "model").write_bytes(pickle.dumps({"protocol_version": 1, "data": state}, protocol=4))
    with pytest.raises(ModelFileError, match="model: a OneFlow checkpoint"):
        read_legacy(tmp_path / "model")


@pytest.mark.usefixtures("oneflow")
def test_a_number_in_fortran_order(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    state = {name: Held({"data": tensor.numpy()}) for name, tensor in tensors.items()}
    content = pickle.dumps({"protocol_version": 1, "data": state}, protocol=3)
    counter = content.index(b"num_batches_tracked")
    flag = content.index(b"\x89C\x08", counter)  # False, then eight bytes
    (tmp_path / "model").write_bytes(content[:flag] + b"\x88" + content[flag + 1 :])
    assert read_legacy(tmp_path / "model") is not None


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize("name", ["../tensor_0", "/etc", "a/b", "a\\b", "..", "", "x" * 300, 5])
def test_tensors_lie_in_the_folder(tmp_path: Path, tensors: dict[str, Tensor], name: Any) -> None:
    folder = write_folder(tmp_path / "c", tensors)
    write_tensor(tmp_path / "tensor_0", torch.ones(2, 1, 3, 3))
    state = {key: Held({"path": name}) for key in tensors}
    (folder / "pickled_data").write_bytes(pickle.dumps({"protocol_version": 1, "data": state}, protocol=3))
    with pytest.raises(ModelFileError, match="a OneFlow checkpoint that cannot be read"):
        read_legacy(folder)


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize(
    ("meta", "out"),
    [
        ("shape { dim: 2 dim: 1 dim: 3 dim: 3 } data_type: kFloat", 71),
        ("shape { dim: 99999999999999999999 } data_type: kFloat", 72),
        ("shape { dim: 0 } data_type: kFloat", 0),
        ("shape { dim: 18 } data_type: kOFRecord", 72),
        ("shape { dim: -18 } data_type: kFloat", 72),
        ("shape { dim: 18 } data_type: kFloat" + " " * 5000, 72),
        ("", 72),
        (None, 72),
    ],
)
def test_tensors_that_contradict_themselves(
    tmp_path: Path, tensors: dict[str, Tensor], meta: str | None, out: int
) -> None:
    folder = write_folder(tmp_path / "c", tensors)
    (folder / "tensor_0" / "out").write_bytes(bytes(out))
    if meta is None:
        (folder / "tensor_0" / "meta").unlink()
    else:
        (folder / "tensor_0" / "meta").write_text(meta)
    with pytest.raises(ModelFileError, match=r"tensor_0.*: a OneFlow checkpoint that cannot be read"):
        read_legacy(folder)


class Evil:
    """Runs a command when it is unpickled by an unwary reader."""

    def __reduce__(self) -> Any:
        return Path.touch, (MARK,)


HOSTILE = {
    "a function": pickle.dumps({"protocol_version": 1, "data": Evil()}, protocol=3),
    "an old function": b"\x80\x02}X\x10\x00\x00\x00protocol_versioncposix\nsystem\nX\x02\x00\x00\x00ls\x85Rs.",
    "a class by its parts": b"\x80\x04}\x8c\x10protocol_version\x8c\x05posix\x8c\x06system\x93s.",
    "an extension": b"\x80\x02}X\x10\x00\x00\x00protocol_version\x82\x01s.",
    "a persistent object": b"\x80\x02}X\x10\x00\x00\x00protocol_versionPx\ns.",
    "a memo place": b"\x80\x02}X\x10\x00\x00\x00protocol_versionr\xff\xff\xff\xffNs.",
    "a long text": b"\x80\x04}\x8c\x10protocol_version\x8d\xff\xff\xff\xff\xff\xff\xff\x7fxs.",
    "long bytes": b"\x80\x04}\x8c\x10protocol_version\x8e\xff\xff\xff\xff\xff\xff\x00\x00xs.",
    "a class that is changed": b"\x80\x02}X\x10\x00\x00\x00protocol_versionccollections\nOrderedDict\n"
    b"N}X\x01\x00\x00\x00aK\x01s\x86bs.",
    "no end": b"\x80\x02}X\x10\x00\x00\x00protocol_version",
    "no dictionary": b"\x80\x02X\x10\x00\x00\x00protocol_version.",
    "no network": b"\x80\x02}(X\x10\x00\x00\x00protocol_versionK\x01X\x04\x00\x00\x00dataNu.",
    "a tensor without a state": b"\x80\x02}(X\x10\x00\x00\x00protocol_versionK\x01X\x04\x00\x00\x00data"
    b"}X\x01\x00\x00\x00aconeflow\nTensor\n)\x81su.",
    "an array without a type": b"\x80\x02}(X\x10\x00\x00\x00protocol_versionK\x01X\x04\x00\x00\x00data"
    b"}X\x01\x00\x00\x00aconeflow\nTensor\n)\x81}X\x04\x00\x00\x00datacnumpy.core.numeric\n_frombuffer\n"
    b"(X\x01\x00\x00\x00bcnumpy\ndtype\n)\x81)X\x01\x00\x00\x00Ct\x81sbsu.",
    "nothing to take": b"\x80\x02protocol_version0.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("folder", [True, False])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, content: bytes, folder: bool) -> None:
    path = tmp_path / "pickled_data" if folder else tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="a OneFlow checkpoint that cannot be read"):
        read_legacy(tmp_path if folder else path)
    assert not MARK.exists()


@pytest.mark.usefixtures("oneflow")
def test_lists_that_hold_each_other_take_no_time(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    deep: list[Any] = []
    for _ in range(30):
        deep = [deep] * 10
    assert read_legacy(write_folder(tmp_path / "c", tensors, deep=deep)) is not None


NETWORK = b"\x80\x02}(X\x10\x00\x00\x00protocol_versionK\x01X\x04\x00\x00\x00data"
DOUBLED = b"X\x01\x00\x00\x00a\x85" + b"".join(b"q%ch%c\x86" % (place, place) for place in range(60))
COSTLY = {
    "a doubled key": NETWORK + b"}" + DOUBLED + b"Nsu.",
    "a name of a file": NETWORK
    + b"}X\x01\x00\x00\x00aconeflow\nTensor\n)\x81}X\x04\x00\x00\x00path"
    + DOUBLED
    + b"sbsu.",
    "a deep key": NETWORK + b"})" + b"\x85" * 100_000 + b"Nsu.",
    "items of a dictionary": NETWORK + b"ccollections\nOrderedDict\n](]\x85NNe\x85Ru.",
}


@pytest.mark.parametrize("content", COSTLY.values(), ids=COSTLY)
def test_keys_that_take_years_to_hash(tmp_path: Path, content: bytes) -> None:
    assert len(content) < 110_000
    (tmp_path / "model").write_bytes(content)
    start = time.monotonic()
    with pytest.raises(ModelFileError, match=r"model: a OneFlow checkpoint that cannot be read: [^\n]*$"):
        read_legacy(tmp_path / "model")
    assert time.monotonic() - start < 20


def test_the_limit_of_tuples_is_said(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(COSTLY["a doubled key"])
    with pytest.raises(ModelFileError, match="a tuple in it holds 1,000 values or more"):
        read_legacy(tmp_path / "model")


@pytest.mark.usefixtures("oneflow")
def test_names_of_dictionaries_cannot_be_changed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = write_folder(tmp_path / "c", tensors, epoch=1)
    state = OrderedDict((name, Held({"path": f"tensor_{number}"})) for number, name in enumerate(tensors))
    state.get = 5  # what a pickle can do, too
    (folder / "pickled_data").write_bytes(pickle.dumps({"protocol_version": 1, "data": state}, protocol=3))
    assert_same(folder, tensors)


@pytest.mark.usefixtures("oneflow")
def test_groups_of_parameters_that_share_a_long_list(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    group = {"params": list(range(20_000))}
    opt = {"state": {}, "param_groups": [group] * 20_000}
    start = time.monotonic()
    legacy = read_legacy(write_folder(tmp_path / "c", tensors, opt=opt))
    assert legacy is not None
    assert legacy.moments is None
    assert time.monotonic() - start < 20


@pytest.mark.usefixtures("oneflow")
@pytest.mark.parametrize("part", ["meta", "out"])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_only_regular_files_are_read(tmp_path: Path, tensors: dict[str, Tensor], part: str, kind: str) -> None:
    folder = write_folder(tmp_path / "c", tensors)
    file = folder / "tensor_0" / part
    file.unlink()
    if kind == "device":
        file.symlink_to("/dev/zero")
    else:
        os.mkfifo(file)
    with pytest.raises(ModelFileError, match=r"tensor_0: a OneFlow checkpoint that cannot be read: .*not a file"):
        read_legacy(folder)
    (folder / "snapshot_done").touch()
    (folder / "pickled_data").unlink()
    (folder / "pickled_data").symlink_to("/dev/zero")
    with pytest.raises(ModelFileError):  # the other folders are not a whole network
        read_legacy(folder)
    assert read_legacy(folder / "pickled_data") is None
