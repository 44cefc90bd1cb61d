"""The one record of a network goes whole from the training into every file, and from every file into predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

import unetkit
from unetkit.config import ModelConfig, ObjectsConfig, PredictConfig
from unetkit.data import write_sample
from unetkit.errors import ModelFileError
from unetkit.modelfile.card import ExportCard, ModelCard
from unetkit.modelfile.checkpoint import Checkpoint, digest
from unetkit.models.geometry import Geometry

SMALL = ["model.widths=[4,8]", "train.steps=30", "train.batch=2", "train.patch=32", "train.validate_every=30"]
CARD = ModelCard(
    model=ModelConfig(in_channels=2, num_classes=3),
    classes=("a", "b", "border"),
    mean=(100.0, 90.0),
    std=(40.0, 30.0),
    predict=PredictConfig(tta=True, calibrate=True, tile=64),
    objects=ObjectsConfig(threshold=0.4),
    border=True,
    step=30,
    train_seconds=1.5,
    scores={"mean_iou": 0.8},
    temperature=1.25,
    data_sha256="f00d",
    unetkit="0.1",
)

OLDER_CHECKPOINT = """{"model": {"in_channels": 1, "num_classes": 2, "width": 8}, "classes": ["membrane", "interior"],
"mean": [120.0], "std": [40.0], "predict": {"tile": 64, "outside": "mirror"},
"objects": {"threshold": 0.4, "neck": 0.7},
"border": false, "step": 7,
"train_seconds": 1.5, "scores": {"mean_iou": 0.9}, "temperature": null, "data_sha256": "f00d", "unetkit": "0.1.0"}"""
OLDER_EXPORT = """{"version": 1, "unetkit": "0.1.0", "model": null, "classes": ["membrane", "interior"],
"border": false, "mean": [120.0], "std": [40.0], "preprocessing": true, "input": "uint8", "output": "softmax",
"layout": "nchw", "size": [64, 72], "batch": 2, "geometry": {"multiple": 4, "offset": 0, "halo": 20, "margin": 0,
"disturbed": 18, "fixed": [64, 72]}, "numbers": "float16", "predict": {"tile": null}, "objects": {}, "scores": {},
"bytes_per_pixel": 230.5, "data_sha256": "", "from a later version": 1}"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = [*SMALL, "predict.calibrate=true"]
    return unetkit.train("isbi", data=data, out=tmp_path_factory.mktemp("runs") / "run", overrides=overrides).path


@pytest.mark.parametrize(("to", "name"), [("safetensors", "a.safetensors"), ("torchscript", "a.pt")])
def test_an_export_of_a_calibrated_run_is_calibrated(run: Path, tmp_path: Path, to: str, name: str) -> None:
    file = unetkit.export(run, to=to, out=tmp_path / name).path
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 50), np.uint8)
    expected = unetkit.predict(run, image, probabilities=True)
    np.testing.assert_allclose(unetkit.predict(file, image, probabilities=True), expected, rtol=0, atol=1e-5)
    assert not np.allclose(unetkit.predict(run, image, probabilities=True, calibrate=False), expected, atol=1e-5)
    of_run, of_file = unetkit.load(run).card, unetkit.load(file).card
    assert of_run == Checkpoint.load(run / "best.safetensors").card
    assert of_run.temperature is not None
    assert of_run.scores
    assert (of_file.of_network if isinstance(of_file, ExportCard) else of_file) == of_run


def test_labels_alone_are_as_sure_as_without_calibration(run: Path, tmp_path: Path) -> None:
    file = unetkit.export(run, to="torchscript", out=tmp_path / "a.pt", options={"output": "argmax"}).path
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 50), np.uint8)
    assert set(np.unique(unetkit.load(file).probabilities(image))) == {0.0, 1.0}


def test_a_card_of_an_exported_file_holds_its_networks_card() -> None:
    geometry = Geometry(multiple=16, offset=0, halo=30, margin=0)
    card = ExportCard.model_validate({**dict(CARD), "geometry": geometry, "preprocessing": True, "dtype": "float16"})
    assert card.of_network == CARD
    again = ExportCard.from_json(card.model_dump_json(), "a file")
    assert again == card
    assert (again.normalization.mean, again.of_network.normalization.mean) == ((0.0, 0.0), (100.0, 90.0))
    assert json.loads(card.model_dump_json())["numbers"] == "float16", "as version 1 of the card calls it"


def test_cards_of_earlier_files_are_read() -> None:
    card = ModelCard.model_validate_json(OLDER_CHECKPOINT)
    assert (card.step, card.objects.threshold, card.scores) == (7, 0.4, {"mean_iou": 0.9})
    exported = ExportCard.from_json(OLDER_EXPORT, "a file")
    assert (exported.dtype, exported.size, exported.temperature) == ("float16", (64, 72), None)


def test_a_checkpoint_still_has_all_keys_of_earlier_versions() -> None:
    assert CARD.model_dump().keys() >= json.loads(OLDER_CHECKPOINT).keys()


def hostile(file: Path, out: Path, **changes: Any) -> Path:
    """Write a checkpoint whose card or weights were changed by somebody who computed its checksum anew."""
    checkpoint = Checkpoint.load(file)
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if name != changes.get("without")}
    card = json.loads(checkpoint.card.model_dump_json()) | changes.get("card", {})
    metadata = {"card": json.dumps(card), "state": changes.get("state", "{}")}
    metadata["sha256"] = digest(tensors, metadata)
    save_file(tensors, out, metadata)
    return out


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"without": "head.weight"}, r"found none for head\.weight, expected \(8, 4, 1, 1\)"),
        ({"card": {"std": [1.0, 2.0]}}, "std has 2 values, mean 1"),
        ({"card": {"std": [0.0]}}, "std.0: Input should be greater than 0"),
        ({"card": {"mean": [1.0, 2.0], "std": [1.0, 2.0]}}, "takes 1 channels, mean has 2"),
        ({"card": {"classes": ["a", "b", "c"]}}, "gives 2 classes, 3 are named"),
        ({"card": {"temperature": 0}}, "temperature: Input should be greater than 0"),
        ({"card": {"model": None}}, "describes no network"),
        ({"card": {"model": {"widths": [8, 16], "in_channels": 1, "num_classes": 2}}}, "its weights are not those"),
        ({"state": "{"}, "its training state is not JSON's"),
        ({"state": "[1]"}, "its training state is not JSON's"),
        ({"state": '{"a":' + "[" * 100_000}, "its training state is not JSON's"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_one_clear_line(
    run: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    file = hostile(run / "best.safetensors", tmp_path / "a.safetensors", **changes)
    with pytest.raises(ModelFileError, match=complaint) as caught:
        unetkit.load(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"geometry": {"multiple": 0, "offset": 0, "halo": 0, "margin": 0}}, "a multiple of 0 px"),
        ({"geometry": {"multiple": 2, "offset": 0, "halo": 0, "margin": -3}}, "a margin of -3 px"),
        ({"size": [0, 8]}, "size"),
        ({"size": [2**40, 2**40]}, "size.0"),
        ({"size": [60_000, 60_000]}, "more than a call computes"),
        ({"batch": 2**40}, "batch"),
        ({"batch": 0}, "batch"),
        ({"layout": "chwn"}, "layout"),
        ({"std": [1.0, 2.0]}, "std has 2 values"),
        ({"input": "uint8"}, "without their normalisation"),
        ({"batch": 3}, "does not compute images of"),
        ({"size": [48, 48]}, "does not compute images of"),
        ({"layout": "nhwc"}, "does not compute images of"),
        ({"layout": "nchw-nhwc"}, "not those of 2 classes"),
        ({"output": "argmax"}, "not those of 2 classes"),
        ({"classes": ["a", "b", "c"], "model": None}, "not those of 3 classes"),
        ({"geometry": {"multiple": 4, "offset": 0, "halo": 20, "margin": 2}}, r"of shape \(1, 2, 40, 40\)"),
    ],
)
def test_an_export_whose_card_is_not_its_own_is_one_clear_line(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    onnx, (file, card) = pytest.importorskip("onnx"), exported
    proto = onnx.load(file)
    onnx.helper.set_model_props(proto, {"unetkit": json.dumps(card | changes)})
    onnx.save(proto, tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=complaint):
        unetkit.predict(tmp_path / "a.onnx", np.zeros((1, 30, 30), np.uint8))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small ONNX file of one size and batch, and its card."""
    pytest.importorskip("onnxscript")
    out, options = tmp_path_factory.mktemp("exported") / "a.onnx", {"size": (40, 40), "batch": 1}
    made = unetkit.export(run, to="onnx", out=out, options=options)
    return made.path, json.loads(made.card.model_dump_json())
