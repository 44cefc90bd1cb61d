import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unetkit.errors import DamagedFileError, ModelFileError
from unetkit.legacy.checkpoints import read_legacy
from unetkit.legacy.networks import MILESIAL
from unetkit.models import build_model

MARK = Path(__file__).with_name("ran")


class Twin(nn.Module):
    """Pytorch-UNet's layers under its names: two levels, concatenation (skip, up), zeros where sizes are odd."""

    def __init__(self, channels: int, classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.inc, self.outc = self.double(channels, 4, bias), self.named("conv", nn.Conv2d(4, classes, 1))
        for number, width in ((1, 8), (2, 16)):
            down = nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), self.double(width // 2, width, bias))
            self.add_module(f"down{number}", down)
        for number, width in ((1, 16), (2, 8)):
            up = self.named("up", nn.ConvTranspose2d(width, width // 2, 2, stride=2))
            up.conv = self.double(width, width // 2, bias)
            self.add_module(f"up{number}", up)

    @staticmethod
    def named(name: str, part: nn.Module) -> nn.Module:
        holder = nn.Module()
        holder.add_module(name, part)
        return holder

    def double(self, channels: int, width: int, bias: bool) -> nn.Module:
        layers = [nn.Conv2d(channels, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width), nn.ReLU()]
        holder = self.named("double_conv", nn.Sequential(*layers))
        holder.forward = holder.double_conv.forward
        return holder

    def forward(self, x_NCHW: Tensor) -> Tensor:
        skips = [self.inc(x_NCHW)]
        for down in (self.down1, self.down2):
            skips.append(down.maxpool_conv(skips[-1]))
        x_NCHW = skips.pop()
        for part in (self.up1, self.up2):
            up_NCHW, skip_NCHW = part.up(x_NCHW), skips.pop()
            missing = [skip_NCHW.shape[axis] - up_NCHW.shape[axis] for axis in (3, 2)]
            up_NCHW = F.pad(up_NCHW, [side for m in missing for side in (m // 2, m - m // 2)])
            x_NCHW = part.conv(torch.cat([skip_NCHW, up_NCHW], 1))
        return self.outc.conv(x_NCHW)


@pytest.fixture
def reference() -> Twin:
    torch.manual_seed(3)
    network = Twin(3, 2)
    network.train()(torch.rand(2, 3, 16, 16))  # so that the running statistics are not those of the start
    return network.eval()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_outputs_are_the_same(tmp_path: Path, reference: Twin, new: bool, prefix: str) -> None:
    state: dict[str, Any] = {prefix + name: tensor for name, tensor in reference.state_dict().items()}
    state["mask_values"] = [0, 255]
    torch.save(state, tmp_path / "epoch5.pth", _use_new_zipfile_serialization=new)
    legacy = read_legacy(tmp_path / "epoch5.pth")
    assert legacy is not None
    assert (legacy.system, legacy.normalization, legacy.channels, legacy.moments) == (
        "PyTorch",
        "zero-to-one",
        "rgb",
        None,
    )
    assert (legacy.network.in_channels, legacy.network.num_classes, legacy.network.depth) == (3, 2, 2)
    assert "left out: mask_values" in legacy.notes
    model = build_model(legacy.network)
    model.load_state_dict(legacy.state)
    x_NCHW = torch.rand(2, 3, 21, 30)
    torch.testing.assert_close(model.eval()(x_NCHW), reference(x_NCHW), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_a_small_file_of_an_unknown_network_is_not_called_damaged(tmp_path: Path, new: bool) -> None:
    torch.save({"x.weight": torch.zeros(3)}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ModelFileError, match=r"a network that is not known here.*\(its tensors: x.weight\)"):
        read_legacy(tmp_path / "x.pth")


def test_convolutions_without_bias(tmp_path: Path) -> None:
    torch.save(Twin(1, 1, bias=False).state_dict(), tmp_path / "net.pth")
    legacy = read_legacy(tmp_path / "net.pth")
    assert legacy is not None
    assert legacy.network.conv_bias is False
    assert legacy.network.num_classes == 1


def test_moments_of_adam(tmp_path: Path, reference: Twin) -> None:
    optimizer = torch.optim.Adam(reference.train().parameters())
    for _ in range(4):
        reference(torch.rand(1, 3, 8, 8)).mean().backward()
        optimizer.step()
    torch.save({"model": reference.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 4}, tmp_path / "all.pth")
    legacy = read_legacy(tmp_path / "all.pth")
    assert legacy is not None
    assert legacy.moments is not None
    assert legacy.moments.step == 4
    names = MILESIAL.names(2)
    theirs = dict(reference.named_parameters())
    assert len(legacy.moments.first) == len(theirs)
    for name, moment in legacy.moments.first.items():
        assert torch.equal(moment, optimizer.state[theirs[names[name]]]["exp_avg"])
        assert torch.equal(legacy.moments.second[name], optimizer.state[theirs[names[name]]]["exp_avg_sq"])


def test_interpolating_networks_are_refused(tmp_path: Path, reference: Twin) -> None:
    state = {name: tensor for name, tensor in reference.state_dict().items() if ".up." not in name}
    torch.save(state, tmp_path / "bilinear.pth")
    with pytest.raises(ModelFileError, match=r"bilinear\.pth: .*\(bilinear=True\)"):
        read_legacy(tmp_path / "bilinear.pth")


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (MARK,)


@pytest.mark.parametrize("new", [True, False])
def test_nothing_in_it_is_run(tmp_path: Path, reference: Twin, new: bool) -> None:
    torch.save({**reference.state_dict(), "x": Evil()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(
        ModelFileError,
        match=r"evil\.pth: a PyTorch file with more than weights in it \(an object",
    ):
        read_legacy(tmp_path / "evil.pth")
    assert not MARK.exists()


def test_a_network_pickled_whole_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pth")
    with pytest.raises(ModelFileError, match=r"whole\.pth: .*save model\.state_dict\(\)"):
        read_legacy(tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [5, {"epoch": 3}, [torch.ones(2)]], ids=str)
def test_a_file_without_a_network(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelFileError, match=r"x\.pth: a PyTorch file without a network"):
        read_legacy(tmp_path / "x.pth")


def test_views_of_a_small_storage_are_no_weights(tmp_path: Path, reference: Twin) -> None:
    state = reference.state_dict()
    state["inc.double_conv.3.weight"] = torch.ones(1).expand(1 << 12, 1 << 12, 3, 3)
    torch.save(state, tmp_path / "views.pth")
    with pytest.raises(ModelFileError, match=r"views\.pth"):
        read_legacy(tmp_path / "views.pth")


def test_a_changed_byte_is_noticed(tmp_path: Path, reference: Twin) -> None:
    path = tmp_path / "net.pth"
    torch.save(reference.state_dict(), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = next(member for member in archive.infolist() if member.filename.endswith("/data/0")).header_offset + 200
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"net\.pth: a damaged PyTorch archive"):
        read_legacy(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_keys_that_take_years_to_hash(tmp_path: Path, new: bool) -> None:
    value: Any = ("a",)
    for _ in range(60):
        value = (value, value)
    torch.save({"x": torch.ones(400), "y": [value]}, tmp_path / "key.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(ModelFileError, match=r"key\.pth: .*a tuple in it holds 1,000 values or more"):
        read_legacy(tmp_path / "key.pth")


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(1 << 20))
    with pytest.raises(ModelFileError, match=r"bomb\.pth: an archive with compressed members"):
        read_legacy(tmp_path / "bomb.pth")


def test_other_zip_files_are_left_to_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", b"")
    assert read_legacy(tmp_path / "images.zip") is None
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", b"")
        archive.writestr("script/code/__torch__.py", b"")
    assert read_legacy(tmp_path / "script.pt") is None


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_what_is_no_file_is_left_to_others(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "nothing")
    assert read_legacy(tmp_path / "nothing") is None


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "net.ckpt").write_bytes(b"\x0a")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFileError, match=r"net\.ckpt: cannot be read \(Permission denied\)"):
        read_legacy(tmp_path / "net.ckpt")
