"""Files that can run code are opened where this user exported them or trusts them; a name that lies is refused."""

import contextlib
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import unetkit
from unetkit.cli import app
from unetkit.config import ModelConfig
from unetkit.data import write_sample
from unetkit.errors import ModelFileError, UsageError
from unetkit.exporting import FORMATS, FileOptions, export_network, make_job
from unetkit.formats import SUFFIXES
from unetkit.formats.fingerprint import add_fingerprint, is_own_export, key_file
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an own export in every format that is written fast."""
    torch.manual_seed(3)
    model = ModelConfig(in_channels=1, num_classes=2, width=4, depth=1)
    network = build_model(model).eval()
    card = ModelCard(model=model, classes=("a", "b"), mean=(120.0,), std=(40.0,))
    predictor, folder = Predictor(network, network.geometry, card, torch.device("cpu")), tmp_path_factory.mktemp("own")
    for to in ("pt2", "torchscript", "mindir", "air", "safetensors"):
        options = FileOptions(size=(32, 32) if FORMATS[to].fixed else None)
        export_network(make_job(predictor, options), to, folder / f"{to}{FORMATS[to].suffix}")
    with zipfile.ZipFile(folder / "bioimageio.zip", "w") as archive:
        archive.writestr("rdf.yaml", "")
    with zipfile.ZipFile(folder / "savedmodel.zip", "w") as archive:
        archive.writestr("net/saved_model.pb", "")
    (folder / "onnx.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch\x1a\x03")
    (folder / "openvino.xml").write_text('<?xml version="1.0"?><net name="a" version="11"></net>')
    with zipfile.ZipFile(folder / "aoti.pt2", "w") as archive:
        archive.writestr("net/data/aotinductor/model/_metadata.json", "{}")
    torch.save({"x": torch.ones(1)}, folder / "PyTorch checkpoint.pth")
    return folder


@pytest.fixture
def another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    return tmp_path / "another"


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)  # pyright: ignore[reportDeprecated] as the recipe has it


def repacked(source: Path, out: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Write the same archive with changed members and the same comment."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        new.comment = old.comment
    return out


def evil_inputs(marker: Path) -> Callable[[str, bytes], bytes]:
    stored = io.BytesIO()
    torch.save(Evil(marker), stored)
    return lambda name, content: stored.getvalue() if name.endswith("sample_inputs/model.pt") else content


def evil_sizes(marker: Path) -> Callable[[str, bytes], bytes]:
    code = f"__import__('os').system('touch {marker}')"

    def change(name: str, content: bytes) -> bytes:
        text = content.decode(errors="surrogateescape")
        if name.endswith("models/model.json"):
            assert '"expr_str":"' in text.replace('"expr_str": "', '"expr_str":"')
            parts = text.replace('"expr_str": "', '"expr_str":"').split('"expr_str":"')
            text = '"expr_str":"'.join([parts[0], *(f'{code}"{part.partition(chr(34))[2]}' for part in parts[1:])])
        return text.encode(errors="surrogateescape")

    return change


@pytest.mark.parametrize("recipe", [evil_inputs, evil_sizes])
@pytest.mark.parametrize("name", ["x.safetensors", "x.onnx", "x.pt2", "x", "x.data"])
def test_a_file_made_to_run_code_is_refused(exported: Path, tmp_path: Path, recipe: Any, name: str) -> None:
    marker = tmp_path / "marker"
    file = repacked(exported / "pt2.pt2", tmp_path / name, recipe(marker))
    with pytest.raises(ModelFileError, match="can run code" if name == "x.pt2" else "contradicts its name"):
        unetkit.load(file)
    if name != "x.pt2":
        with pytest.raises(ModelFileError, match="contradicts its name"):
            unetkit.load(file, options={"trust": True})
    assert not marker.exists()


def test_the_recipe_runs_code_where_it_is_trusted(exported: Path, tmp_path: Path) -> None:
    """Or else the test above would prove nothing."""
    for recipe in (evil_inputs, evil_sizes):
        marker = tmp_path / recipe.__name__
        file = repacked(exported / "pt2.pt2", tmp_path / "x.pt2", recipe(marker))
        with contextlib.suppress(ModelFileError):
            unetkit.load(file, options={"trust": True})
        assert marker.exists(), recipe


def test_the_command_ends_with_2_and_one_line(exported: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    marker, image = tmp_path / "marker", tmp_path / "img.tif"
    file = repacked(exported / "pt2.pt2", tmp_path / "x.pt2", evil_inputs(marker))
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(image)
    done = command("predict", file, image, "--out", tmp_path / "o.tif")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "--trust" in done.err
    assert not marker.exists()
    assert command("predict", exported / "pt2.pt2", image, "--out", tmp_path / "o.tif").code == 0


@pytest.mark.parametrize("name", ["pt2.pt2", "torchscript.pt"])
def test_an_own_export_opens_and_an_altered_one_does_not(exported: Path, tmp_path: Path, name: str) -> None:
    unetkit.load(exported / name)
    content = (exported / name).read_bytes()
    for place in (100, len(content) // 2, len(content) - 1, len(content) - 90):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / name).write_bytes(changed)
        assert not is_own_export(tmp_path / name)
    same = repacked(exported / name, tmp_path / name, lambda _, member: member)
    with pytest.raises(ModelFileError, match="--trust"):
        unetkit.load(same)


@pytest.mark.parametrize("name", ["pt2.pt2", "torchscript.pt"])
def test_another_users_export_opens_where_it_is_trusted(exported: Path, name: str, another_user: Path) -> None:
    for _ in range(2):
        with pytest.raises(ModelFileError, match="not an unchanged export of yours"):
            unetkit.load(exported / name)
        mine = Path(shutil.copy(exported / name, another_user.parent / "mine.zip"))
        with zipfile.ZipFile(mine, "a") as archive:
            archive.comment = b""
        add_fingerprint(mine)  # makes the other user's key
        assert is_own_export(mine)
    unetkit.load(exported / name, options={"trust": True})


def test_the_key_is_this_users_alone(another_user: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "a")
    add_fingerprint(file)
    key = key_file()
    assert key == another_user / "unetkit" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    assert [one.name for one in key.parent.iterdir()] == ["key"]
    key.chmod(0o644)
    with pytest.raises(UsageError, match="0600"):
        is_own_export(file)
    key.chmod(0o600)
    key.write_bytes(b"")
    with pytest.raises(UsageError, match="damaged"):
        is_own_export(file)


KINDS = sorted(SUFFIXES.keys() - {"other checkpoint"})
SUFFIX = sorted({suffix for suffixes in SUFFIXES.values() for suffix in suffixes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_of_another_kind_is_refused(exported: Path, tmp_path: Path, kind: str) -> None:
    (source,) = exported.glob(f"{kind}.*")
    assert source.suffix in SUFFIXES[kind]
    for suffix in set(SUFFIX) - set(SUFFIXES[kind]):
        file = shutil.copy(source, tmp_path / f"x{suffix.upper()}")
        with pytest.raises(ModelFileError, match=f"of the kind {kind}, which contradicts"):
            unetkit.load(file)


@pytest.mark.parametrize("name", ["x.safetensors", "x.weights", "x"])
def test_an_unknown_suffix_is_enough_for_weights(exported: Path, tmp_path: Path, name: str) -> None:
    unetkit.load(shutil.copy(exported / "safetensors.safetensors", tmp_path / name))


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2", ".mindir", ".zip"])
def test_what_is_of_no_kind_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_text("nothing")
    with pytest.raises(ModelFileError, match=f"not that of a {suffix} file"):
        unetkit.load(tmp_path / f"x{suffix}")


VERBS = {
    "predict": ("FILE", "IMAGES", "--out", "OUT/o.tif"),
    "predict objects": ("FILE", "IMAGES", "--out", "OUT/o.tif", "--objects"),
    "evaluate": ("FILE", "--data", "DATA"),
    "evaluate tune": ("FILE", "--data", "DATA", "--tune"),
    "compare": ("FILE", "FILE", "--data", "DATA"),
    "check": ("FILE", "--data", "DATA"),
    "bench": ("FILE", "--rounds", "1", "--batches", "1", "--size", "32"),
}
"""Every verb that takes a MODEL and opens it in its runtime."""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_what_is_not_trusted_and_takes_what_is(
    exported: Path, tmp_path: Path, another_user: Path, verb: str
) -> None:
    data = write_sample(tmp_path / "data", slices=3, size=64)
    names = {
        "FILE": exported / "pt2.pt2",
        "DATA": data,
        "IMAGES": data / "train-volume.tif",
        "OUT/o.tif": tmp_path / "o.tif",
    }
    words = [verb.split()[0], *(str(names.get(word, word)) for word in VERBS[verb])]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, ModelFileError), refused.output
    assert "not an unchanged export of yours" in str(refused.exception)
    assert not (tmp_path / "o.tif").exists()
    trusted = CliRunner().invoke(app, [*words, "--trust"])
    assert trusted.exit_code == 0, trusted.exception


def test_no_other_verb_opens_a_file_that_can_run_code(exported: Path, tmp_path: Path) -> None:
    takes = {
        command.name for command in get_command(app).commands.values() if "model" in {p.name for p in command.params}
    }
    assert takes <= {*(verb.split()[0] for verb in VERBS), "export"}
    with pytest.raises(ModelFileError, match="a network for runtimes"):
        unetkit.export(exported / "pt2.pt2", to="safetensors", out=tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match="a network for runtimes"):
        unetkit.check(exported / "mindir.mindir", against=exported / "pt2.pt2")
