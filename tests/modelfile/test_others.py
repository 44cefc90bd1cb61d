"""Other people's files are called what they are, in one line, and never damaged when they are not."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] untyped
from torch import Tensor, nn

import unetkit
from unetkit.errors import ModelFileError
from unetkit.modelfile.others import network_of

SMP = ("encoder.conv1.weight", "encoder.bn1.weight", "decoder.blocks.0.conv1.0.weight", "segmentation_head.0.weight")


@pytest.mark.parametrize(
    ("names", "network"),
    [
        (SMP, "segmentation_models.pytorch"),
        (tuple(f"model.{name}" for name in SMP), "segmentation_models.pytorch"),
        (("conv_0.conv_0.conv.weight", "upcat_4.upsample.deconv.weight", "final_conv.weight"), "MONAI's BasicUNet"),
        (("model.0.conv.unit0.conv.weight", "model.1.submodule.0.conv.unit0.conv.weight"), "MONAI's UNet"),
        (
            ("encoder1.enc1conv1.weight", "bottleneck.bottleneckconv1.weight", "conv.weight"),
            "the brain-segmentation U-Net of mateuszbuda",
        ),
        (("encoder.0.weight", "decoder.0.weight"), None),
        ((), None),
    ],
)
def test_well_known_networks_are_told_by_their_tensors(names: tuple[str, ...], network: str | None) -> None:
    assert network_of(names) == network


def state(names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: torch.zeros(2, 2) for name in names}


def old_pytorch(path: Path) -> None:
    torch.save(state(SMP), path, _use_new_zipfile_serialization=False)


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump({"a": 1}, file)


def keras_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")


FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("new.pth", lambda path: torch.save(state(SMP), path), r"named as those of segmentation_models.*and 1 more"),
    ("old.pth", old_pytorch, r"named as those of segmentation_models"),
    (
        "light.ckpt",
        lambda path: torch.save({"state_dict": state(("m.a", "m.b"))}, path),
        r"not known here.*m.a, m.b",
    ),
    ("whole.pth", lambda path: torch.save(nn.Conv2d(1, 1, 1), path), r"an object of torch.nn.*Conv2d.*ONNX"),
    ("n.safetensors", lambda path: save_file(state(("a", "b")), path), r"without unetkit's card.*tensors: a, b\)"),
    ("page.pth", lambda path: path.write_text("<!DOCTYPE html>"), r"it is a web page"),
    ("page.onnx", lambda path: path.write_text("<html>"), r"it is a web page"),
    ("lfs.onnx", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), r"Git LFS"),
    ("empty.pt", lambda path: path.write_bytes(b""), r"it is empty"),
    ("plain.pth", pickled, r"it is a pickle"),
    ("keras.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), r"it is HDF5"),
    ("net.keras", keras_archive, r"it is a \.zip archive of no kind that is read, as Keras writes it"),
    ("net.engine", lambda path: path.write_bytes(b"ftrt" + bytes(60)), r"nor of another kind that is read"),
]


@pytest.mark.parametrize(("name", "write", "message"), FILES)
def test_what_a_file_is_is_said_and_it_is_not_called_damaged(
    name: str, write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(ModelFileError, match=message) as raised:
        unetkit.load(path)
    assert "damaged" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_a_file_that_is_cut_short_is_called_damaged(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({name: torch.randn(40, 40) for name in SMP}, path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ModelFileError, match="damaged PyTorch"):
        unetkit.load(path)
