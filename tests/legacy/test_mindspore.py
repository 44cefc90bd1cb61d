import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from unetkit.config import ModelConfig
from unetkit.errors import DamagedFileError, ModelFileError, UsageError
from unetkit.legacy.checkpoints import mindspore, read_legacy, to_mindspore
from unetkit.legacy.checkpoints.mindspore import TYPES, read_checkpoint, write_checkpoint
from unetkit.legacy.networks import MEDICAL, NESTED, SIMPLE
from unetkit.models import build_model
from unetkit.storage.protobuf import field


def value(tag: str, kind: str, dims: list[int], content: bytes) -> bytes:
    tensor = b"".join(field(1, dim) for dim in dims) + field(2, kind.encode()) + field(3, content)
    return field(1, field(1, tag.encode()) + field(2, tensor))


@pytest.mark.parametrize(
    "name",
    [
        "medical_w4_ms200.ckpt",
        "ms_small_nested_fs16_ds_bn_deconv.ckpt",
        "ms_small_simple_fs16.ckpt",
        "ms_small_simple_fs16_append.ckpt",
        "ms_train_nowrap_O0/best.ckpt",
        "ms_trainstep_after.ckpt",
    ],
)
def test_what_mindspore_wrote_is_written_again_byte_for_byte(shared: Path, tmp_path: Path, name: str) -> None:
    original = shared / "fixtures" / "seeds" / name
    write_checkpoint(tmp_path / "again.ckpt", read_checkpoint(original))
    assert (tmp_path / "again.ckpt").read_bytes() == original.read_bytes()


@pytest.mark.parametrize(
    "name", ["medical_w4_ms200.ckpt", "ms_small_nested_fs16_ds_bn_deconv.ckpt", "ms_small_simple_fs16.ckpt"]
)
def test_a_network_goes_there_and_back_byte_for_byte(shared: Path, tmp_path: Path, name: str) -> None:
    original = shared / "fixtures" / "seeds" / name
    legacy = read_legacy(original)
    assert legacy is not None
    legacy = legacy.for_rgb()
    write_checkpoint(tmp_path / "again.ckpt", to_mindspore(legacy.network, legacy.state))
    assert (tmp_path / "again.ckpt").read_bytes() == original.read_bytes()
    assert (tmp_path / "again.ckpt").stat().st_mode & 0o777 == 0o400
    write_checkpoint(tmp_path / "again.ckpt", {"a": torch.ones(1)})
    assert list(read_checkpoint(tmp_path / "again.ckpt")) == ["a"]


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_all_types_and_shapes(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.arange(24).reshape(2, 3, 4)
    written = {
        "cube": (values % 2 == 0) if dtype is torch.bool else values.to(dtype),
        "scalar": torch.tensor(1).to(dtype),
        "row": torch.ones(1).to(dtype),
    }
    write_checkpoint(tmp_path / "types.ckpt", written)
    found = read_checkpoint(tmp_path / "types.ckpt")
    assert list(found) == list(written)
    for tag, tensor in written.items():
        assert (found[tag].dtype, found[tag].shape) == (dtype, tensor.shape)
        assert torch.equal(
            found[tag].view(torch.uint8) if tensor.ndim else found[tag],
            tensor.view(torch.uint8) if tensor.ndim else tensor,
        )


def test_texts_packed_numbers_and_unknown_types(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    content = value("text", "str", [0], "über".encode("utf-32-le")) + value("packed", "Int4", [8], b"\x12\x34\x56\x78")
    content += value("seed", "random_op", [0], b"12") + field(1, field(1, b"table") + field(3, b""))
    path.write_bytes(content + value("old scalar", "Float32", [0], np.float32(2.5).tobytes()))
    found = read_checkpoint(path)
    assert found["text"] == "über"
    assert found["packed"].tolist() == [0x12, 0x34, 0x56, 0x78]
    assert found["old scalar"].shape == ()
    assert float(found["old scalar"]) == 2.5
    assert isinstance(found["seed"], str)
    assert isinstance(found["table"], str)


def test_a_tensor_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mindspore, "_SLICE", 16)
    written: dict[str, Tensor | str] = {"a": torch.arange(30.0).reshape(5, 6), "b": torch.ones(2)}
    write_checkpoint(tmp_path / "parts.ckpt", written)
    assert (tmp_path / "parts.ckpt").read_bytes().count(b"Float32") == 9
    found = read_checkpoint(tmp_path / "parts.ckpt")
    assert all(torch.equal(found[tag], tensor) for tag, tensor in written.items())


def test_a_checksum_at_the_end_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "crc.ckpt"
    write_checkpoint(path, {"a": torch.ones(3)})
    plain = path.read_bytes()
    path.write_bytes(plain + b"crc_num" + zlib.crc32(plain).to_bytes(10, "big"))
    assert read_checkpoint(path)["a"].tolist() == [1, 1, 1]
    path.write_bytes(plain[:-1] + b"\0" + b"crc_num" + zlib.crc32(plain).to_bytes(10, "big"))
    with pytest.raises(DamagedFileError, match=r"crc\.ckpt: damaged.*checksum"):
        read_checkpoint(path)


@pytest.mark.parametrize("legacy", [MEDICAL, SIMPLE, NESTED], ids=lambda legacy: legacy.name)
@pytest.mark.parametrize("prefix", ["", "net.", "network.backbone."])
def test_prefixes_are_taken_off(tmp_path: Path, example: Callable, legacy: object, prefix: str) -> None:
    made = example(legacy)
    moments = {f"moment{k}.{name}": t * k for k in (1, 2) for name, t in made.tensors.items() if "moving" not in name}
    values = {prefix + name: tensor for name, tensor in made.tensors.items()} | moments
    write_checkpoint(tmp_path / "net.ckpt", values | {"global_step": torch.tensor([7], dtype=torch.int32)})
    legacy = read_legacy(tmp_path / "net.ckpt")
    assert legacy is not None
    assert legacy.network == made.network
    assert all(torch.equal(legacy.state[name], tensor) for name, tensor in made.state.items())
    assert legacy.moments is not None
    assert legacy.moments.step == 7
    parameters = dict(build_model(made.network).named_parameters())
    assert legacy.moments.second.keys() == parameters.keys()
    assert all(torch.equal(moment, made.state[name] * 2) for name, moment in legacy.moments.second.items())


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none"},
        {"up": "bilinear-legacy"},
        {"in_channels": 3, "num_classes": 81},
        {"depth": 4},
        {"widths": (3, 5, 4)},
    ],
    ids=str,
)
@pytest.mark.parametrize("legacy", [SIMPLE, NESTED], ids=lambda legacy: legacy.name)
def test_the_configuration_is_read_from_the_shapes(
    tmp_path: Path, example: Callable, legacy: object, options: dict[str, object]
) -> None:
    made = example(legacy, **options)
    write_checkpoint(tmp_path / "net.ckpt", made.tensors)
    legacy = read_legacy(tmp_path / "net.ckpt")
    assert legacy is not None
    expected = made.network
    assert legacy.network == (expected.model_copy(update={"width": 32, "depth": 4}) if expected.widths else expected)


def test_half_precision_becomes_single(tmp_path: Path, example: Callable) -> None:
    made = example(MEDICAL)
    write_checkpoint(tmp_path / "half.ckpt", {name: tensor.half() for name, tensor in made.tensors.items()})
    legacy = read_legacy(tmp_path / "half.ckpt")
    assert legacy is not None
    assert all(tensor.dtype is torch.float32 for tensor in legacy.state.values())
    assert "float16 weights became float32" in legacy.notes


def test_colour_networks_are_turned_to_rgb(tmp_path: Path, example: Callable) -> None:
    made = example(NESTED, in_channels=3)
    moments = {f"moment{k}.{name}": t * k for k in (1, 2) for name, t in made.tensors.items()}
    write_checkpoint(tmp_path / "colour.ckpt", made.tensors | moments | {"global_step": torch.tensor(1)})
    legacy = read_legacy(tmp_path / "colour.ckpt")
    assert legacy is not None
    assert legacy.channels == "bgr"
    theirs, ours = build_model(legacy.network).eval(), build_model(legacy.network).eval()
    theirs.load_state_dict(legacy.state)
    ours.load_state_dict(legacy.for_rgb().state)
    rgb = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(ours(rgb), theirs(rgb.flip(1)))
    turned = legacy.for_rgb()
    assert turned.for_rgb() is turned
    assert turned.moments is not None
    assert torch.equal(turned.moments.second["encoder.0.conv1.weight"], 2 * turned.state["encoder.0.conv1.weight"])


@pytest.mark.parametrize("metadata", [{"format": "ms"}, {"crc_num": "1"}])
def test_its_safetensors(tmp_path: Path, example: Callable, metadata: dict[str, str]) -> None:
    made = example(SIMPLE)
    save_file(made.tensors, tmp_path / "net.safetensors", metadata)
    legacy = read_legacy(tmp_path / "net.safetensors")
    assert legacy is not None
    assert all(torch.equal(legacy.state[name], tensor) for name, tensor in made.state.items())


@pytest.mark.parametrize("shape", [(1 << 40, 0, 3, 3), (0, 0, 3, 3)])
def test_empty_tensors_are_no_layers(tmp_path: Path, example: Callable, shape: tuple[int, ...]) -> None:
    tensors = {**example(SIMPLE).tensors, "conv0.convs.0.0.weight": torch.empty(shape)}
    save_file(tensors, tmp_path / "net.safetensors", {"format": "ms"})
    with pytest.raises(ModelFileError, match=r"which is not a convolution's"):
        read_legacy(tmp_path / "net.safetensors")


def test_other_safetensors_are_left_to_others(tmp_path: Path, example: Callable) -> None:
    save_file(example(SIMPLE).tensors, tmp_path / "net.safetensors", {"format": "pt"})
    assert read_legacy(tmp_path / "net.safetensors") is None


def test_an_encrypted_file_says_so(shared: Path) -> None:
    with pytest.raises(ModelFileError, match=r"_enc\.ckpt: an encrypted MindSpore checkpoint; load it with its key"):
        read_legacy(shared / "fixtures" / "seeds" / "ms_small_simple_fs16_enc.ckpt")


def test_a_graph_says_where_the_weights_are(shared: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no weights; give the \.ckpt next to it"):
        read_legacy(shared / "fixtures" / "seeds" / "ms_train_nowrap_O0" / "ckpt_unet_simple_adam-graph.meta")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda tensors: tensors.pop("down2.maxpool_conv.1.double_conv.2.bias"), "double_conv.2.bias is missing"),
        (
            lambda tensors: tensors.update({"up1.up.weight": torch.ones(8, 4, 3, 3)}),
            r"up1.up.weight has the shape \(8, 4, 3, 3\)",
        ),
        (
            lambda tensors: tensors.update({"outc.conv.bias": torch.ones(2, dtype=torch.int32)}),
            "outc.conv.bias holds torch.int32",
        ),
        (lambda tensors: tensors.update({"outc.conv.weight": torch.ones(2)}), "not a convolution's"),
    ],
)
def test_a_network_that_is_not_whole(
    tmp_path: Path, example: Callable, change: Callable[[dict[str, Tensor]], object], complaint: str
) -> None:
    tensors = dict(example(MEDICAL).tensors)
    change(tensors)
    write_checkpoint(tmp_path / "part.ckpt", tensors)
    with pytest.raises(
        ModelFileError, match=rf"part\.ckpt: a MindSpore checkpoint like unet_medical, but .*{complaint}"
    ):
        read_legacy(tmp_path / "part.ckpt")


@pytest.mark.parametrize("lost", ["global_step", "moment1.outc.conv.bias", "moment2.up1.up.weight"])
def test_moments_that_are_not_whole_are_left_out(tmp_path: Path, example: Callable, lost: str) -> None:
    tensors = example(MEDICAL).tensors
    values = tensors | {f"moment{k}.{name}": tensor for k in (1, 2) for name, tensor in tensors.items()}
    values["global_step"] = torch.tensor(1)
    del values[lost]
    write_checkpoint(tmp_path / "net.ckpt", values)
    legacy = read_legacy(tmp_path / "net.ckpt")
    assert legacy is not None
    assert legacy.moments is None
    assert any(note.startswith("Adam's moments were left out") for note in legacy.notes)


def test_a_network_that_cannot_be_built(tmp_path: Path) -> None:
    tensors = {f"conv{level}.convs.0.0.weight": torch.ones(1, 1, 3, 3) for level in range(12)}
    ends = {"up_concat1.up_conv.weight": torch.ones(1, 1, 2, 2), "final.weight": torch.ones(1, 1, 1, 1)}
    write_checkpoint(tmp_path / "deep.ckpt", tensors | ends)
    with pytest.raises(ModelFileError, match=r"deep\.ckpt: a MindSpore unet_simple that cannot be built: .* 9 items"):
        read_legacy(tmp_path / "deep.ckpt")


def test_another_network(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "resnet.ckpt", {"layer1.0.conv1.weight": torch.ones(1)})
    with pytest.raises(
        ModelFileError, match=r"resnet\.ckpt: .* not known here.*\(its tensors: layer1\.0\.conv1\.weight\)"
    ):
        read_legacy(tmp_path / "resnet.ckpt")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (value("a", "Float32", [2], bytes(4)), "a has 4 bytes, which do not fill Float32 of shape"),
        (value("a", "Float32", [2**62], bytes(4)), "do not fill Float32"),
        (value("a", "Float32", [1] * 1000, bytes(4)), "do not fill Float32"),
        (
            value("a", "Float32", [1], bytes(4))
            + value("b", "Float32", [1], bytes(4))
            + value("a", "Float32", [1], bytes(4)),
            "twice",
        ),
        (value("a", "Float32", [2], bytes(4)) + value("a", "Int32", [2], bytes(4)), "changes its shape or type"),
        (value("a", "Float32", [1], bytes(4))[:-2], "4 bytes|bytes are announced"),
        (value("a", "Float32", [1], bytes(4)) + b"\x0a\xff\xff\xff\xff\xff\x7f", "are announced"),
        (value("a", "Float32", [1], bytes(4)) + b"\x08\x01", "wire type 0"),
    ],
)
def test_values_that_contradict_themselves(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"bad\.ckpt: .*cut short or damaged \(.*({complaint})"):
        read_legacy(tmp_path / "bad.ckpt")


def test_names_cannot_break_a_message(tmp_path: Path, example: Callable) -> None:
    (tmp_path / "x.ckpt").write_bytes(value("a", "Float32", [1], bytes(4)) + value("b\n\n" * 500, "Float32", [2], b""))
    with pytest.raises(ModelFileError) as caught:
        read_legacy(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    write_checkpoint(tmp_path / "y.ckpt", {**example(MEDICAL).tensors, "c\nd": torch.ones(1)})
    legacy = read_legacy(tmp_path / "y.ckpt")
    assert legacy is not None
    assert "left out: c?d" in legacy.notes


@pytest.mark.parametrize("content", [b"", b"\x0a", b"no checkpoint at all"])
def test_a_ckpt_of_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"x\.ckpt: named as a checkpoint"):
        read_legacy(tmp_path / "x.ckpt")


def test_heads_that_are_not_there_are_written_as_zeros(example: Callable) -> None:
    made = example(NESTED)
    network = made.network.model_copy(update={"deep_supervision": False})
    state = {name: tensor for name, tensor in made.state.items() if name != "heads.1.weight"}
    tensors = to_mindspore(network, state)
    assert list(tensors) == list(made.tensors)
    assert not tensors["final1.weight"].any()
    assert torch.equal(tensors["final2.weight"], made.tensors["final2.weight"])


def test_null_options_mean_what_the_network_does(example: Callable) -> None:
    made = example(MEDICAL)
    assert list(to_mindspore(made.network.model_copy(update={"conv_bias": None, "decoder_norm": "none"}), made.state))


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (ModelConfig(in_channels=1, num_classes=2), "unet_simple, .*decoder_norm should be none and is batch"),
        (
            ModelConfig(in_channels=1, num_classes=2, name="unetpp", norm="group"),
            "norm should be batch or none and is group",
        ),
        (ModelConfig(in_channels=1, num_classes=1, **MEDICAL.fixed), "num_classes should be 2 or more, for a softmax"),
    ],
)
def test_a_network_that_mindspore_does_not_have(network: ModelConfig, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        to_mindspore(network, build_model(network).state_dict())
