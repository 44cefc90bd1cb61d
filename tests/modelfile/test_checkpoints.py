"""A network file comes back as it was, or is named as damaged: whatever byte was lost."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from unetkit.config import ModelConfig, PredictConfig
from unetkit.errors import DamagedFileError, ModelFileError, StorageError
from unetkit.modelfile.card import ExportCard, ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models.geometry import Geometry

CARD = ModelCard(
    model=ModelConfig(in_channels=1, num_classes=2),
    classes=("membrane", "interior"),
    mean=(120.0,),
    std=(40.0,),
    predict=PredictConfig(),
    step=7,
    train_seconds=1.5,
    scores={"pixel_accuracy": 0.9},
)


def _checkpoint() -> Checkpoint:
    tensors = {
        "a.weight": torch.arange(12, dtype=torch.float32).view(1, 3, 2, 2).to(memory_format=torch.channels_last),
        "a.steps": torch.tensor(5),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "training/weights/a.weight": torch.zeros(2, 2),
        "training/optimizer/0.step": torch.tensor(3.0),
    }
    return Checkpoint(card=CARD, tensors=tensors, state={"best": [0.5, 3], "nothing": None})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    written, file = _checkpoint(), tmp_path / "a.safetensors"
    written.save(file)
    read = Checkpoint.load(file)
    assert read.card == written.card
    assert read.state == written.state
    assert read.tensors.keys() == written.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in written.tensors.items())
    assert all(read.tensors[name].dtype == tensor.dtype for name, tensor in written.tensors.items())
    assert set(read.weights()) == {"a.weight", "a.steps", "half"}
    assert set(read.training("weights")) == {"a.weight"}
    assert set(read.for_prediction().tensors) == {"a.weight", "a.steps", "half"}


@pytest.fixture(scope="module")
def bytes_of_a_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("whole") / "a.safetensors"
    _checkpoint().save(file)
    return file.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_every_changed_or_lost_byte_is_noticed(
    bytes_of_a_checkpoint: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    whole, file = bytes_of_a_checkpoint, tmp_path / "broken.safetensors"
    place = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    if data.draw(st.booleans()):
        broken[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del broken[place:]
    file.write_bytes(bytes(broken))
    try:
        read = Checkpoint.load(file)
    except ModelFileError:
        return
    # The header may be padded with spaces, and a changed one of those says nothing.
    assert read.card == CARD
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in _checkpoint().tensors.items())


def test_a_safetensors_file_of_others_is_not_called_damaged(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="without unetkit's card") as caught:
        Checkpoint.load(tmp_path / "other.safetensors")
    assert not isinstance(caught.value, DamagedFileError)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    _checkpoint().save(file)
    before = file.read_bytes()
    with pytest.raises(StorageError):
        _checkpoint().save(tmp_path / "nowhere" / "a.safetensors")
    assert file.read_bytes() == before


def test_a_card_with_the_keys_of_earlier_versions_is_read() -> None:
    old = json.loads(CARD.model_dump_json())
    old["model"]["stem"] = 2 * old["model"].pop("downscale")
    old["objects"]["neck"] = old["objects"].pop("min_width") / 2
    old["predict"]["outside"] = "mirror"
    del old["predict"]["padding_mode"]
    card = ModelCard.model_validate_json(json.dumps(old))
    assert card.model is not None
    assert (card.model.downscale, card.objects.min_width, card.predict.padding_mode) == (2, 0.4, "reflect")


@pytest.mark.parametrize(("mode", "written"), [("zeros", "zeros"), ("reflect", "mirror"), (None, None)])
def test_the_card_of_an_export_names_the_padding_as_version_1_does(mode: str | None, written: str | None) -> None:
    card = ExportCard(
        unetkit="1",
        classes=("a", "b"),
        mean=(0.0,),
        std=(1.0,),
        geometry=Geometry(1, 0, 0, 0),
        predict=PredictConfig(padding_mode=mode),
    )
    text = card.model_dump_json()
    assert json.loads(text)["predict"]["outside"] == written
    assert "padding_mode" not in json.loads(text)["predict"]
    assert ExportCard.from_json(text, "a test") == card
