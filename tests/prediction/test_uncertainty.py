"""Maps of what a network does not know."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from sklearn.metrics import roc_auc_score

import unetkit
from unetkit.data import write_sample
from unetkit.data.layouts.synthetic import generate, with_ambiguity
from unetkit.errors import UsageError
from unetkit.prediction import answers_to, uncertainty

SURE, EVEN = np.array([1.0, 0.0]), np.array([0.5, 0.5])


def answer(*pixels: np.ndarray) -> np.ndarray:
    return np.stack(pixels, -1)[:, None]


def test_entropy_and_information_by_hand() -> None:
    found = uncertainty([answer(SURE, EVEN, SURE), answer(SURE, EVEN, SURE[::-1])])
    np.testing.assert_allclose(found[:, 0], [[0, 1, 1], [0, 0, 1]], atol=1e-6)
    assert found.dtype == np.float32


def test_one_answer_has_entropy_and_no_information() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), (5, 6)).transpose(2, 0, 1)
    found = uncertainty([p])
    assert not found[1].any()
    assert ((found[0] > 0) & (found[0] <= 1)).all()
    with pytest.raises(UsageError, match="no answers"):
        uncertainty([])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small = ["model.widths=[4,8]", "train.steps=4", "train.batch=2", "train.patch=32", "train.validate_every=2"]
    data = write_sample(folder / "data", slices=5, size=64)
    return unetkit.train("isbi", data=data, out=folder / "run", overrides=small).path


def test_answers_come_back_as_the_image_lies(run: Path) -> None:
    predictor = unetkit.load(run)
    pixels = generate(slices=1, size=64).images[:, :48]
    answers = list(answers_to(pixels, [predictor]))
    assert len(answers) == 8
    mean = unetkit.load(run, options={"tta": True}).probabilities(pixels)
    np.testing.assert_allclose(np.mean(answers, 0), mean, atol=1e-5)


def test_a_stack_of_maps_is_written(run: Path, tmp_path: Path) -> None:
    source = run.parent / "data" / "test-volume.tif"
    unetkit.predict_file(run, source, tmp_path / "u.tif", uncertainty=True)
    maps = tifffile.imread(tmp_path / "u.tif")
    assert maps.shape == (5, 2, 64, 64)
    assert maps.dtype == np.float32
    assert maps[:, 0].max() > 0
    assert (maps[:, 0] >= maps[:, 1] - 1e-6).all()
    with pytest.raises(UsageError, match="one of them"):
        unetkit.predict_file(run, source, tmp_path / "x.tif", uncertainty=True, probabilities=True)
    with pytest.raises(UsageError, match="too much for a PNG"):
        unetkit.predict_file(run, source, tmp_path / "x.png", uncertainty=True)


def test_the_temperature_is_kept_with_the_weights_and_used_on_request(run: Path) -> None:
    plain, calibrated = unetkit.load(run), unetkit.load(run, options={"calibrate": True})
    assert plain.card.temperature is not None
    pixels = generate(slices=1, size=64).images
    p, q = plain.probabilities(pixels), calibrated.probabilities(pixels)
    np.testing.assert_array_equal(p.argmax(0), q.argmax(0))
    odds = np.log(p[1] / p[0]) / plain.card.temperature
    np.testing.assert_allclose(np.log(q[1] / q[0]), odds, atol=1e-3)
    scores = unetkit.evaluate(run).scores, unetkit.evaluate(run, options={"calibrate": True}).scores
    assert scores[0]["mean_iou"] == scores[1]["mean_iou"]
    assert scores[0]["expected_calibration_error"] != scores[1]["expected_calibration_error"]


def test_a_network_without_a_temperature_says_so(run: Path) -> None:
    predictor = unetkit.load(run / "checkpoints" / "step-00000004.safetensors", options={"calibrate": True})
    with pytest.raises(UsageError, match="no temperature"):
        predictor.probabilities(generate(slices=1, size=64).images)


@pytest.mark.slow
def test_the_map_is_highest_where_nothing_can_be_known(tmp_path: Path) -> None:
    stack, _ = with_ambiguity(generate(seed=3, slices=12, size=128))
    tifffile.imwrite(tmp_path / "train-volume.tif", stack.images, photometric="minisblack")
    tifffile.imwrite(tmp_path / "train-labels.tif", stack.labels, photometric="minisblack")
    course = ["train.steps=200", "train.patch=96", "model.widths=[16,32,64]", "train.validate_every=100"]
    run = unetkit.train("isbi", data=tmp_path, out=tmp_path / "run", overrides=course)
    fresh, regions = with_ambiguity(generate(seed=4, slices=3, size=128), seed=1)
    predictor = unetkit.load(run)
    maps = np.stack([uncertainty(answers_to(image[None], [predictor])) for image in fresh.images])
    assert roc_auc_score(regions.ravel(), maps[:, 0].ravel()) >= 0.8
