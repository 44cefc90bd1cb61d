"""Anybody's files by the challenge's metrics: the evaluator's numbers, exact inversion and scaling, clear refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import unetkit
from unetkit.data import write_sample
from unetkit.errors import DataError, UsageError
from unetkit.metrics import definition_of, isbi_scores


def maps(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    label = np.full((2, 40, 44), 255, np.uint8)
    label[:, ::9] = label[:, :, ::9] = 0
    noisy = 0.2 + 0.6 * (label > 0) + generator.normal(size=label.shape) * 0.2
    return label, np.round(np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def written(folder: Path, **arrays: NDArray[Any]) -> list[Path]:
    for name, values in arrays.items():
        tifffile.imwrite(folder / f"{name}.tif", values, photometric="minisblack")
    return [folder / f"{name}.tif" for name in arrays]


@pytest.mark.parametrize("case", ["b_sigma2_noise", "f_ties_tenths", "f_gt_empty"])
def test_files_give_the_evaluators_numbers(shared: Path, case: str) -> None:
    folder = shared / "fixtures" / "isbi_metrics" / case
    oracle = json.loads((folder / "oracle.json").read_text())
    scores = unetkit.score_isbi(folder / "label.tif", folder / "proposal.tif").scores
    names = {"v_rand_thinned": "V_Rand_thinned_max", "v_info_thinned": "V_Info_thinned_max"}
    for ours in ("v_rand_thinned", "v_info_thinned", "rand_error", "pixel_error", "warping_error"):
        assert scores[ours] == pytest.approx(oracle[names.get(ours, ours)], abs=1e-12)


def test_scaled_and_inverted_maps_are_the_same_map(tmp_path: Path) -> None:
    label, stored = maps()
    exact = stored.astype(np.float64) / 255
    expected = isbi_scores(label, exact, warping=False).scores()
    paths = written(
        tmp_path,
        label=label,
        bytes8=stored,
        inverted8=255 - stored,
        words=stored.astype(np.uint16) * 257,
        floats=exact.astype(np.float32),
        inverted=(1 - exact).astype(np.float32),
    )
    given: list[dict[str, Any]] = [
        {"scale": 255},
        {"scale": 255, "membrane": True},
        {"scale": 65535},
        {},
        {"membrane": True},
    ]
    for path, options in zip(paths[1:-1], given, strict=False):
        assert unetkit.score_isbi(paths[0], path, warping=False, **options).scores == expected, path.name
    inverted = unetkit.score_isbi(paths[0], paths[-1], warping=False, membrane=True).scores
    assert inverted == pytest.approx(expected, abs=1e-2), "a float map lost its last digit before it came here"


def test_binary_maps_need_no_scale(tmp_path: Path) -> None:
    label, stored = maps()
    paths = written(tmp_path, label=label // 255, binary=(stored > 127).astype(np.uint8))
    expected = isbi_scores(label, (stored > 127).astype(float), warping=False).scores()
    assert unetkit.score_isbi(*paths, warping=False).scores == expected


def test_a_map_of_membranes_is_suspected(tmp_path: Path) -> None:
    label, stored = maps()
    paths = written(tmp_path, label=label, inverted=255 - stored)
    (note,) = unetkit.score_isbi(*paths, scale=255, warping=False).notes
    assert "--membrane" in note
    assert unetkit.score_isbi(*paths, scale=255, membrane=True, warping=False).notes == ()


@pytest.mark.parametrize(
    ("probability", "options", "complaint"),
    [
        (np.full((2, 40, 44), 255, np.uint8), {}, "--scale 255"),
        (np.full((2, 40, 44), 300, np.uint16), {"scale": 255}, "above --scale 255"),
        (np.full((2, 40, 44), 1.5, np.float32), {}, "expected 0 to 1"),
        (np.full((2, 40, 44), np.nan, np.float32), {}, "expected 0 to 1"),
        (np.zeros((40, 44), np.float32), {}, "has 1 pages, but"),
        (np.zeros((2, 44, 40), np.float32), {}, "44 x 40"),
        (np.zeros((2, 40, 44), np.float32), {"scale": 0}, "--scale 0"),
    ],
    ids=["8 bits", "above scale", "above 1", "nan", "one page", "turned", "no scale"],
)
def test_what_is_no_probability_is_refused(
    tmp_path: Path, probability: NDArray[Any], options: dict[str, Any], complaint: str
) -> None:
    paths = written(tmp_path, label=maps()[0], probability=probability)
    with pytest.raises((DataError, UsageError), match=complaint):
        unetkit.score_isbi(*paths, warping=False, **options)


def test_a_networks_scores_are_those_of_its_written_probabilities(tmp_path: Path) -> None:
    data = write_sample(tmp_path / "data", slices=4, size=64)
    small = ["model.widths=[4,8]", "train.steps=4", "train.batch=2", "train.patch=32"]
    run = unetkit.train("isbi", data=data, out=tmp_path / "run", overrides=small)
    ours = unetkit.evaluate(run, everything=True, metrics=["isbi"])
    unetkit.predict_file(run, data / "train-volume.tif", tmp_path / "p.tif", probabilities=True)
    theirs = unetkit.score_isbi(data / "train-labels.tif", tmp_path / "p.tif")
    assert {name: ours.scores[name] for name in theirs.scores} == theirs.scores
    assert ours.isbi is not None
    assert theirs.isbi is not None
    assert ours.isbi.as_dict() == theirs.isbi.as_dict()
    assert [image.scores["v_rand_thinned"] for image in ours.images] == [
        image.scores["v_rand_thinned"] for image in theirs.images
    ]
    assert {definition_of(name).name for name in theirs.scores} <= ours.as_json()["definitions"].keys()
    assert "interior" in ours.notes[0]
    membrane = unetkit.evaluate(run, everything=True, metrics=["isbi:membrane"])
    assert membrane.scores["pixel_error"] != ours.scores["pixel_error"]
    for wrong in ("isbi:cell", "isbi:2", "pq"):
        with pytest.raises(UsageError):
            unetkit.evaluate(run, metrics=[wrong])
    held = json.loads((run.path / "evaluation.json").read_text())
    assert held["isbi"]["v_rand_thinned"]["value"] == held["scores"]["v_rand_thinned"]
