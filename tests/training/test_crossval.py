"""A cross-validation as a user makes it, with tiny networks: folds, resuming, the ensemble, scores, comparison."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import unetkit
from unetkit.data import write_sample
from unetkit.errors import RunFolderError, UsageError
from unetkit.metrics import isbi_scores
from unetkit.objects import with_closed_gaps
from unetkit.run import open_run
from unetkit.training import crossval as crossvalidating

SMALL = [
    "model.widths=[4,8]",
    "train.steps=3",
    "train.batch=2",
    "train.patch=32",
    "train.threads=1",
    "train.precision=float32",
    "train.validate_every=3",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crossval") / "folds"
    return unetkit.crossval("isbi", data=data, out=out, folds=2, seeds=2, overrides=SMALL).path


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_every_image_is_predicted_by_what_had_not_seen_it(folder: Path, data: Path) -> None:
    dataset, stored = unetkit.open_dataset(data), tifffile.imread(folder / "out-of-fold.tif")
    assert stored.shape == (5, 64, 64)
    members = summary(folder)["members"]
    assert [member["name"] for member in members] == [f"fold-{f}-seed-{s}" for s in (0, 1) for f in (0, 1)]
    for index in range(len(dataset)):
        name = dataset[index].name
        unseen = [member["name"] for member in members if name in member["images"]]
        assert len(unseen) == 2
        for member in unseen:
            assert name not in open_run(folder / member).read_json("data.json")["train"]
        each = [
            unetkit.load(folder / member / "last.safetensors").probabilities(dataset[index].pixels)[1]
            for member in unseen
        ]
        np.testing.assert_allclose(stored[index], np.mean(each, 0), atol=1e-6)


def test_scores_are_those_of_the_written_predictions_and_their_spread_that_of_the_trainings(
    folder: Path, data: Path
) -> None:
    found = summary(folder)
    scored = unetkit.score_isbi(data / "train-labels.tif", folder / "out-of-fold.tif", warping=False).scores
    whole = found["out_of_fold"]["scores"]
    assert {name: whole[name] for name in scored} == pytest.approx(scored, abs=1e-9)
    assert "v_rand_thinned_other_folds" in found["out_of_fold"]["definitions"]
    dice = [member["scores"]["soft_dice_two_class"] for member in found["members"]]
    spread = found["spread"]["soft_dice_two_class"]
    assert spread["mean"] == pytest.approx(np.mean(dice))
    assert spread["std"] == pytest.approx(np.std(dice, ddof=1))
    assert (spread["low"], spread["high"], spread["count"]) == (min(dice), max(dice), 4)
    assert [image["name"] for image in found["out_of_fold"]["images"]] == [f"train-volume[{i:02d}]" for i in range(5)]
    assert json.loads((folder / "evaluation.json").read_text()) == found["out_of_fold"]
    page = (folder / "report.html").read_text()
    assert "fold-1-seed-1/report.html" in page
    assert (folder / "pictures" / "scores.png").is_file()


def test_the_folder_is_a_model_the_mean_of_its_members(folder: Path, data: Path, tmp_path: Path) -> None:
    pixels = unetkit.open_dataset(data)[0].pixels[:, :50, :45]
    members = [unetkit.load(path) for path in sorted(folder.glob("*/last.safetensors"))]
    assert len({member.normalization for member in members}) == 2, "each fold has its own statistics"
    expected = np.mean([member.probabilities(pixels) for member in members], 0)
    np.testing.assert_allclose(unetkit.load(folder).probabilities(pixels), expected, atol=1e-6)
    np.testing.assert_allclose(
        unetkit.load(folder, options={"tile": 32}).probabilities(pixels),
        np.mean([member.with_options({"tile": 32}).probabilities(pixels) for member in members], 0),
        atol=1e-6,
    )
    unetkit.predict_file(folder, data / "test-volume.tif", tmp_path / "masks.tif")
    assert tifffile.imread(tmp_path / "masks.tif").shape == (5, 64, 64)


def test_a_calibrated_configuration_is_scored_out_of_fold_without_a_temperature(data: Path, tmp_path: Path) -> None:
    calibrated = [*SMALL, "predict.calibrate=true"]
    folder = unetkit.crossval("isbi", data=data, out=tmp_path / "folds", folds=2, overrides=calibrated).path
    assert unetkit.load(folder / "fold-0-seed-0").card.temperature is not None
    own = unetkit.evaluate(folder)
    assert own.scores["soft_dice_two_class"] == summary(folder)["out_of_fold"]["scores"]["soft_dice_two_class"]
    pixels = unetkit.open_dataset(data)[0].pixels
    assert unetkit.predict(folder, pixels).shape == (64, 64)
    unetkit.predict_file(folder, data / "test-volume.tif", tmp_path / "uncertain.tif", uncertainty=True)
    with pytest.raises(UsageError, match="no temperature"):
        unetkit.predict(folder, pixels, calibrate=True)


def test_its_own_data_is_scored_out_of_fold_unless_all_is_asked(folder: Path) -> None:
    own = unetkit.evaluate(folder)
    assert own.scores["soft_dice_two_class"] == summary(folder)["out_of_fold"]["scores"]["soft_dice_two_class"]
    ensemble = unetkit.evaluate(folder, everything=True)
    assert len(ensemble.images) == 5
    assert ensemble.scores["soft_dice_two_class"] != own.scores["soft_dice_two_class"]


def test_gaps_are_closed_in_the_mean_of_what_had_not_seen_an_image(folder: Path, data: Path) -> None:
    labels, stored = tifffile.imread(data / "train-labels.tif"), tifffile.imread(folder / "out-of-fold.tif")
    closed = np.stack([with_closed_gaps(np.stack([1 - page, page]))[1] for page in stored])
    assert (closed < stored - 0.01).any()
    found = unetkit.evaluate(folder, metrics=["isbi"], options={"close_gaps": True})
    scores = found.scores
    expected = isbi_scores(labels, closed, warping=False).scores()
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert any("close_gaps" in note for note in found.notes)


def test_other_data_is_scored_by_the_ensemble(folder: Path, tmp_path: Path) -> None:
    other = write_sample(tmp_path / "other", slices=2, size=64, seed=9)
    assert len(unetkit.evaluate(folder, data=other).images) == 2


def test_what_is_finished_is_not_trained_again(folder: Path, data: Path) -> None:
    weights = {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")}
    again = unetkit.crossval("isbi", data=data, out=folder, folds=2, overrides=SMALL)
    assert again.scores is not None
    assert len(again.scores.members) == 4, "seeds that are there stay"
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/last.safetensors")} == weights


def test_an_ended_one_goes_on_where_it_stands(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def broken(config: Any, *, out: Path, progress: Any) -> None:
        trained.append(out.name)
        if len(trained) == 2:
            (out / "config.yaml.part").parent.mkdir()
            raise KeyboardInterrupt
        unetkit.train(config, out=out)

    monkeypatch.setattr(crossvalidating, "train", broken)
    with pytest.raises(KeyboardInterrupt):
        unetkit.crossval("isbi", data=data, out=tmp_path / "cv", folds=2, overrides=SMALL)
    with pytest.raises(RunFolderError, match="1 of 2 trainings are not finished"):
        unetkit.load(tmp_path / "cv")
    unetkit.crossval("isbi", data=data, out=tmp_path / "cv", folds=2, overrides=SMALL)
    assert trained == ["fold-0-seed-0", "fold-1-seed-0", "fold-1-seed-0"]


def test_another_cross_validation_in_the_folder_is_refused(folder: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"train.steps=3, not 4"):
        unetkit.crossval("isbi", data=data, out=folder, folds=2, overrides=[*SMALL, "train.steps=4"])
    with pytest.raises(RunFolderError, match=r"data.split"):
        unetkit.crossval("isbi", data=data, out=folder, folds=3, overrides=SMALL)
    with pytest.raises(RunFolderError, match="neither an empty folder"):
        unetkit.crossval("isbi", data=data, out=data, folds=2, overrides=SMALL)
    with pytest.raises(UsageError, match="--seeds 0"):
        unetkit.crossval("isbi", data=data, out=tmp_path / "new", seeds=0, overrides=SMALL)
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match="s3://lab/folds: a cross-validation is made on this machine"):
        unetkit.crossval("isbi", data=data, out=Path("s3://lab/folds"), overrides=SMALL)


def test_images_of_several_sizes_are_predicted_into_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(4):
        mask = rng.random((40 + 4 * number, 48)) > 0.5
        Image.fromarray((mask * 100 + 50).astype(np.uint8)).save(tmp_path / "data" / "images" / f"cell{number}.png")
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "data" / "masks" / f"cell{number}.png")
    made = unetkit.crossval("isbi", data=tmp_path / "data", out=tmp_path / "cv", folds=2, overrides=SMALL)
    assert made.scores is not None
    assert made.scores.whole.isbi is None, "cells are no neurites: the challenge's numbers were not asked for"
    shapes = {path.name: tifffile.imread(path).shape for path in (made.path / "out-of-fold").iterdir()}
    assert shapes == {f"cell{number}.tif": (40 + 4 * number, 48) for number in range(4)}


def test_folders_and_evaluations_are_compared(folder: Path, data: Path, tmp_path: Path) -> None:
    same = unetkit.compare(folder, folder / "evaluation.json")
    assert same.difference.value == 0
    assert "do not tell" in same.sentence
    assert any("--block" in note for note in same.notes)
    rand = unetkit.compare(folder, folder, metric="v_rand_thinned", block=2)
    assert rand.first == summary(folder)["out_of_fold"]["scores"]["v_rand_thinned"]
    assert rand.notes == ()
    pooled = unetkit.compare(folder, folder, metric="mean_iou")
    assert pooled.metric == "mean_iou_per_image"
    with pytest.raises(UsageError, match="not the same ones"):
        unetkit.compare(folder, folder / "fold-0-seed-0")
    with pytest.raises(UsageError, match="that neither was trained on"):
        unetkit.compare(folder / "fold-0-seed-0", folder / "fold-1-seed-0", data=data)
    other = write_sample(tmp_path / "other", slices=2, size=64, seed=9)
    assert unetkit.compare(folder / "fold-0-seed-0", folder, data=other).difference.images == 2
    with pytest.raises(UsageError, match="v_rand_thinned_other_folds has no values of single images"):
        unetkit.compare(folder, folder, metric="v_rand_thinned_other_folds")
    for odd in (
        "[1]",
        "{",
        '{"images": [{"name": 1.5, "scores": {}}]}',
        '{"images": [{"name": "a", "scores": {"x": "y"}}]}',
    ):
        (tmp_path / "odd.json").write_text(odd)
        with pytest.raises(UsageError, match="not an evaluation"):
            unetkit.compare(folder, tmp_path / "odd.json")


@pytest.mark.parametrize("metric", ["rand_error", "pixel_error"])
def test_scores_of_counts_are_pooled_anew_in_every_resample(folder: Path, tmp_path: Path, metric: str) -> None:
    other = json.loads((folder / "evaluation.json").read_text())
    name = {"rand_error": "rand_counts", "pixel_error": "pixel_counts"}[metric]
    counts = np.array(other["isbi"][name])
    counts[..., 1] += 0.2 * counts[..., 0]  # more false ones everywhere
    other["isbi"][name] = counts.tolist()
    (tmp_path / "worse.json").write_text(json.dumps(other))
    found = unetkit.compare(folder, tmp_path / "worse.json", metric=metric, block=2)
    assert found.first == pytest.approx(summary(folder)["out_of_fold"]["scores"][metric], rel=1e-12)
    hits, false, missed = np.moveaxis(counts.sum(1), -1, 0)
    assert found.second == pytest.approx((1 - 2 * hits / (2 * hits + false + missed)).min())
    assert found.difference.value == pytest.approx(found.first - found.second)
    assert found.difference.low <= found.difference.value <= found.difference.high < 0
    assert found.sentence.startswith("A is better")
    assert list(found.images) == [image["name"] for image in other["images"]]
    assert all(ours < theirs for ours, theirs in found.images.values())
    del other["isbi"][name]
    (tmp_path / "old.json").write_text(json.dumps(other))
    with pytest.raises(UsageError, match=rf"old\.json: holds no {metric} of every image; write it with unetkit eval"):
        unetkit.compare(folder, tmp_path / "old.json", metric=metric)


@pytest.mark.usefixtures("drawn")
def test_a_comparison_is_drawn(folder: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    words = ("compare", folder, folder / "evaluation.json", "--picture")
    ended = command(*words, tmp_path / "a.png")
    assert ended.code == 0, ended.err
    assert f"written: {tmp_path / 'a.png'}" in ended.out
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 1000
    ended = command(*words, tmp_path / "a.pdf")
    assert ended.code == 2
    assert "expected a name with .png" in ended.err


def _command(data: Path, out: Path, *words: str) -> list[str]:
    return [*words, "-m", "unetkit", "crossval", "isbi", "--data", str(data), "--out", str(out), "--folds", "2", *SMALL]


@pytest.mark.slow
def test_two_processes_train_every_fold_together(folder: Path, data: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *_command(data, tmp_path / "two", *launcher)]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=250)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ours, theirs = (summary(path)["members"][0]["scores"] for path in (folder, tmp_path / "two"))
    assert theirs == pytest.approx(ours, abs=0.05), "batch norms see half of the batch each, so that it is not equal"
    assert len(summary(tmp_path / "two")["members"]) == 2
    assert ended.stdout.count("folder  ") == 1


@pytest.mark.slow
def test_folds_are_trained_on_the_workers_of_a_dask_cluster(folder: Path, data: Path, tmp_path: Path) -> None:
    script = f"""
from distributed import LocalCluster
import unetkit
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        unetkit.crossval("isbi", data={str(data)!r}, out={str(tmp_path / "dask")!r}, folds=2,
                         overrides={SMALL!r}, dask=cluster.scheduler_address)
"""
    (tmp_path / "run.py").write_text(script)
    ended = subprocess.run([sys.executable, tmp_path / "run.py"], capture_output=True, text=True, timeout=250)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folders = (folder, tmp_path / "dask")
    ours, theirs = ({one["name"]: one["scores"] for one in summary(path)["members"]} for path in folders)
    assert theirs == {name: ours[name] for name in theirs}, "where a fold is trained does not matter"
    assert len(theirs) == 2


def test_a_scheduler_that_is_not_there_is_one_clear_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ftp://x"):
        unetkit.crossval("isbi", data=data, out=tmp_path / "cv", folds=2, overrides=SMALL, dask="ftp://x")
