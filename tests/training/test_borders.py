"""A border class in a whole training: three classes are learned, two are scored, drawn and written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import unetkit
from unetkit.config import load_config
from unetkit.data import write_sample
from unetkit.errors import ConfigError
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.run import Run

CONFIG = {
    "model": {"width": 4, "depth": 1},
    "data": {"border_width": 2, "split": {"folds": 2}},
    "loss": {"class_weights": "balanced", "border_weight": 10},
    "train": {"steps": 8, "batch": 2, "patch": 32, "threads": 1, "checkpoint_every": 4, "validate_every": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=4, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unetkit.train(CONFIG, data=data, out=tmp_path_factory.mktemp("runs") / "one")


def test_the_network_has_a_class_that_its_scores_do_not_have(run: Run, data: Path) -> None:
    predictor = unetkit.load(run)
    assert predictor.classes == ("membrane", "interior", "border")
    assert predictor.data_classes == ("membrane", "interior")
    for model in (run, run.best):
        scores = unetkit.evaluate(model, data=data).scores
        assert {"iou_membrane", "iou_interior", "soft_dice_two_class"} <= scores.keys()
        assert "iou_border" not in scores
    described = run.read_json("data.json")
    assert described["class_weights"].keys() == {"membrane", "interior", "border"}
    shares = described["class_shares"]
    assert len(shares) == 2


def test_a_network_file_on_its_own_knows_that_the_last_class_is_a_border(run: Run, data: Path, tmp_path: Path) -> None:
    alone = shutil.copy(run.best, tmp_path / "network.safetensors")
    everything = unetkit.evaluate(alone, data=data, everything=True)
    assert len(everything.images) == 4
    assert everything.classes == ("membrane", "interior")


def test_the_border_counts_as_object(run: Run) -> None:
    predictor = unetkit.load(run)
    p_KHW = torch.tensor([[[0.4, 0.6]], [[0.35, 0.1]], [[0.25, 0.3]]])
    torch.testing.assert_close(predictor.of_data(p_KHW), torch.tensor([[[0.4, 0.6]], [[0.6, 0.4]]]))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 40, 50), dtype=np.uint8)
    probabilities, labels = predictor.probabilities(pixels), predictor.labels(pixels)
    assert probabilities.shape == (3, 40, 50)
    np.testing.assert_array_equal(labels, probabilities[1] + probabilities[2] > probabilities[0])


def test_masks_are_those_of_the_data_and_probabilities_those_of_the_network(
    run: Run, data: Path, tmp_path: Path
) -> None:
    import tifffile

    volume = data / "test-volume.tif"
    unetkit.predict_file(run, volume, tmp_path / "masks.tif")
    unetkit.predict_file(run, volume, tmp_path / "probabilities.tif", probabilities=True)
    assert set(np.unique(tifffile.imread(tmp_path / "masks.tif"))) <= {0, 255}
    assert tifffile.imread(tmp_path / "probabilities.tif").shape == (4, 3, 64, 64)


def test_a_resumed_run_ends_the_same(run: Run, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run.path, tmp_path / "again"))
    (again / "checkpoints" / "step-00000008.safetensors").unlink()
    (again / "last.safetensors").unlink()
    unetkit.resume(again)
    one, other = (Checkpoint.load(path / "last.safetensors").tensors for path in (run.path, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    lines = [json.loads(line) for line in (again / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.border_touching=true", "border_touching needs a border class"),
        ("data.border_width=-1", "data.border_width: found -1"),
        ("loss={cross_entropy: 0, border_weight: 10}", "weigh the cross entropy, which is 0"),
        ("loss.class_weights=even", "loss.class_weights"),
    ],
)
def test_what_contradicts_itself_is_refused(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_config("isbi", [override])


def test_a_wrong_number_of_class_weights_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 2 weights; the network has 3 classes"):
        unetkit.train(CONFIG, data=data, out=tmp_path / "run", overrides=["loss.class_weights=[1, 2]"])
    assert not (tmp_path / "run").exists()
