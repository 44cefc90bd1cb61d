"""Eight-bit files by each runtime's own tool, on a network that was trained for a moment."""

from pathlib import Path

import pytest

import unetkit
from unetkit.data import write_sample
from unetkit.errors import ParityError, UsageError

SMALL = ["model.widths=[4,8]", "train.steps=30", "train.batch=2", "train.patch=32", "train.validate_every=30"]
METRIC = "soft_dice_two_class"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unetkit.train("isbi", data=data, out=tmp_path_factory.mktemp("runs") / "run", overrides=SMALL).path


@pytest.mark.slow
@pytest.mark.parametrize(("to", "name"), [("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_a_file_of_integers_keeps_the_score(run: Path, data: Path, tmp_path: Path, to: str, name: str) -> None:
    written = unetkit.export(run, to=to, out=tmp_path / name, data=data, options={"int8": True, "max_drop": 0.02})
    assert written.gain is not None
    assert written.card.dtype == "int8"
    assert written.gain.calibrated_on == 4, "on what the run was trained on"
    through_file = unetkit.evaluate(tmp_path / name, data=data).scores[METRIC]
    in_torch = unetkit.evaluate(run, data=data, everything=True).scores[METRIC]
    assert through_file == pytest.approx(in_torch, abs=0.02)


def test_a_file_that_loses_too_much_is_not_kept(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"int8 costs .* of the score with 4 convolutions"):
        unetkit.export(run, to="onnx", out=tmp_path / "a.onnx", data=data, options={"int8": True, "max_drop": -1.0})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_said_in_integers_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8; onnx, openvino can"):
        unetkit.export(run, to="pt2", out=tmp_path / "a.pt2", options={"int8": True})
    with pytest.raises(UsageError, match="choose one"):
        unetkit.export(run, to="onnx", out=tmp_path / "a.onnx", options={"int8": True, "half": True})
