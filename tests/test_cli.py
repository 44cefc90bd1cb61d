"""The command as a user meets it: the main road from data to masks, and one clear line for every mistake."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import unetkit
from unetkit.data import write_sample
from unetkit.metrics import FAMILIES

SMALL = ["model.widths=[4,8]", "train.steps=6", "train.batch=2", "train.patch=32", "train.validate_every=3"]


Command = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unetkit.train("isbi", data=data, out=tmp_path_factory.mktemp("runs") / "run", overrides=SMALL).path


@pytest.mark.usefixtures("drawn")
def test_the_main_road(command: Command, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained = command("train", "isbi", "--data", data, "--out", out, *SMALL)
    assert trained.code == 0, trained.err
    assert "soft_dice_two_class" in trained.out
    assert str(out / "report.html") in trained.out
    for name in ("config.yaml", "data.json", "environment.json", "log.jsonl", "best.safetensors", "last.safetensors"):
        assert (out / name).is_file(), name
    assert list((out / "pictures").glob("*.png"))

    evaluated = command("evaluate", out, "--data", data, "--json", tmp_path / "scores.json")
    assert evaluated.code == 0, evaluated.err
    scores = json.loads((tmp_path / "scores.json").read_text())
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    validation = next(line for line in reversed(logged) if "soft_dice_two_class" in line)
    assert set(validation) - {"step", "train_seconds", "validation_seconds"} <= set(scores["scores"])
    assert f"{scores['scores']['mean_iou']:.4f}" in evaluated.out
    assert len(scores["images"]) == 1

    predicted = command("predict", out, data / "test-volume.tif", "--out", tmp_path / "masks.tif")
    assert predicted.code == 0, predicted.err
    masks = tifffile.imread(tmp_path / "masks.tif")
    assert masks.shape == (5, 64, 64)
    assert set(np.unique(masks)) <= {0, 255}
    soft = command("predict", out, data / "test-volume.tif", "--out", tmp_path / "p.tif", "--probabilities", "--tta")
    assert soft.code == 0, soft.err
    assert tifffile.imread(tmp_path / "p.tif").dtype == np.float32
    words = ("objects.threshold=0.6", "--out", tmp_path / "o.tif", "--objects", "--outlines")
    found = command("predict", out, data / "test-volume.tif", *words)
    assert found.code == 0, found.err
    assert tifffile.imread(tmp_path / "o.tif").dtype == np.uint16
    assert len(list((tmp_path / "o-outlines").iterdir())) == 5


def test_scores_go_to_standard_output_as_pure_json(command: Command, run: Path, data: Path) -> None:
    ended = command("evaluate", run, "--data", data, "--json", "-")
    assert json.loads(ended.out)["scores"]["pixel_accuracy"] > 0


def test_the_table_is_short_and_json_alone_is_printed_where_it_is_asked_for(
    command: Command, run: Path, data: Path, tmp_path: Path
) -> None:
    shown = command("evaluate", run, "--data", data)
    assert shown.code == 0, shown.err
    rows = shown.out[shown.out.index("score  ") : shown.out.index("\n\n")].splitlines()
    assert rows[0].split() == ["score", "value", "meaning"]
    assert 4 <= len(rows) - 1 <= 10
    assert rows[1].startswith("soft_dice_two_class")
    assert rows[1].endswith("chooses the weights")
    assert "confidence  " in shown.out
    assert f"--json FILE, {run}/report.html" in " ".join(shown.out.split())
    further = command("evaluate", run, "--data", data, "--metrics", "isbi", "legacy")
    assert further.code == 0, further.err
    assert "v_rand_thinned" in further.out
    assert "soft_dice_two_class_388" in further.out
    assert "evaluate --metrics objects binary surface\n" in further.out
    assert command("evaluate", run, "--data", data, "--metrics", "isbi", "pq").code == 2
    other = write_sample(tmp_path, slices=2, size=64, seed=9)
    for words in (
        ("evaluate", run, "--data", data),
        ("compare", run, run, "--data", other, "--metric", "mean_iou"),
        ("metrics",),
        ("data", "check", data),
        ("bench", run, "--rounds", 1, "--batches", 1, "--size", 32),
    ):
        alone = command(*words, "--json", "-")
        assert json.loads(alone.out), words


def test_the_families_of_metrics_are_listed(command: Command) -> None:
    listed = command("metrics")
    assert listed.code == 0, listed.err
    for name, family in FAMILIES.items():
        assert f"{name}: {family.about}\n" in listed.out
    assert "  dice_{class}  " in listed.out
    content = json.loads(command("metrics", "--json", "-").out)
    assert [card["name"] for card in content["isbi"]["scores"]] == list(FAMILIES["isbi"].definitions)


def test_a_run_is_scored_on_what_it_held_out_unless_all_is_asked(command: Command, run: Path, data: Path) -> None:
    held = json.loads(command("evaluate", run, "--data", data, "--json", "-").out)
    every = json.loads(command("evaluate", run, "--data", data, "--all", "--json", "-").out)
    file = json.loads(command("evaluate", run / "best.safetensors", "--data", data, "--json", "-").out)
    assert len(held["images"]) == 1
    assert len(every["images"]) == 5
    assert file == held


def test_a_network_computes_in_a_shorter_number_format_where_it_is_asked_to(
    command: Command, run: Path, data: Path, tmp_path: Path
) -> None:
    def scores(*words: object) -> dict[str, float]:
        return json.loads(command("evaluate", run, "--data", data, "--json", "-", *words).out)["scores"]

    usual, short = scores(), scores("--precision", "bfloat16")
    assert scores("--precision", "float32") == usual
    assert short["soft_dice_two_class"] != usual["soft_dice_two_class"]
    assert short["soft_dice_two_class"] == pytest.approx(usual["soft_dice_two_class"], abs=0.01)
    written = tmp_path / "times.json"
    timed = command("bench", run, f"{run}@bfloat16", "--rounds", 1, "--batches", 1, "--size", 32, "--json", written)
    assert timed.code == 0, timed.err
    assert [line["numbers"] for line in json.loads(written.read_text())] == ["float32", "bfloat16"]


@pytest.mark.parametrize("in_hardware", [True, False])
def test_a_number_format_that_the_processor_imitates_is_said(
    command: Command, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch, in_hardware: bool
) -> None:
    monkeypatch.setattr("unetkit.devices.multiplies_bfloat16", lambda _: in_hardware)
    ended = command("evaluate", run, "--data", data, "--precision", "bfloat16")
    assert ("does not multiply bfloat16" in ended.err) is not in_hardware


def test_a_configuration_says_what_is_held_out(command: Command, run: Path, data: Path, tmp_path: Path) -> None:
    def images(config: str) -> list[str]:
        ended = command("evaluate", run / "best.safetensors", "--data", data, "--config", config, "--json", "-")
        assert ended.code == 0, ended.err
        return [image["name"] for image in json.loads(ended.out)["images"]]

    (tmp_path / "last.yaml").write_text("data: {split: {method: last, share: 0.4}, size: [32, 32]}")
    (tmp_path / "zoo.yaml").write_text("{model_name: unet_simple, cross_valid_ind: 2, image_size: [32, 32]}")
    assert images(str(tmp_path / "last.yaml")) == ["train-volume[03]", "train-volume[04]"]
    folds = [unetkit.load_config(str(tmp_path / "zoo.yaml")), unetkit.load_config("isbi")]
    assert [config.data.split.fold for config in folds] == [2, 1]
    assert images(str(tmp_path / "zoo.yaml")) != images("isbi")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train"], "a configuration is missing"),
        (["train", "isbi", "--data", "DATA"], "--out is missing"),
        (["train", "isbi", "--out", "NEW"], "no data is named"),
        (["train", "isbl", "--data", "DATA", "--out", "NEW"], "did you mean 'isbi'"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "train.stesp=3"], "did you mean 'train.steps'"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "train.steps=-3"], "train.steps: found -3"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "train.best_metric=dise"], "dise"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "train.best_metric=dice_cow"], "dice_cow"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "model.num_classes=3"], "the data has 2"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "optimizer.lr_factors={'x.*': 0}"], "matches no weight"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "init=nowhere.ckpt"], "nowhere.ckpt"),
        (["train", "isbi", "--data", "NOWHERE", "--out", "NEW"], "NOWHERE"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "--device", "cuda"], "device 'cuda' is not there"),
        (["train", "isbi", "--data", "DATA", "--out", "NEW", "train.precision=float16"], "float16"),
        (["train", "isbi", "--data", "DATA", "--out", "RUN"], "holds another run"),
        (["train", "--resume", "NEW"], "not a run folder"),
        (["train", "--resume", "RUN", "train.steps=9"], "--extend"),
        (["train", "--extend", "RUN", "train.steps=2"], "expected more than"),
        (["evaluate", "NEW", "--data", "DATA"], "no network is there"),
        (["evaluate", "RUN", "--data", "NOWHERE"], "NOWHERE"),
        (["evaluate", "RUN", "--config", "isbi"], "no data is named"),
        (["evaluate", "RUN", "--data", "DATA", "--config", "isbl"], "did you mean 'isbi'"),
        (["evaluate", "DATA/train-volume.tif", "--data", "DATA"], "train-volume.tif"),
        (["evaluate", "RUN", "--data", "DATA", "--precision", "bf16"], "there is no precision 'bf16'"),
        (["bench", "RUN@bf16"], "found bf16 after the @; expected torch"),
        (["bench", "RUN@openvino:bfloat16"], "not an exported file, so openvino does not run it"),
        (["predict", "RUN", "NOWHERE", "--out", "NEW"], "NOWHERE"),
        (["predict", "RUN", "DATA/test-volume.tif", "--out", "NEW.jpg"], "NEW.jpg"),
        (["predict", "RUN", "DATA/test-volume.tif", "--out", "NEW.tif", "--tile", "0"], "predict.tile"),
        (["predict", "RUN", "DATA/test-volume.tif", "--out", "NEW.tif", "--outlines"], "give --objects"),
        (["predict", "RUN", "DATA/test-volume.tif", "objects.treshold=0.6", "--out", "NEW.tif"], "objects.threshold"),
        (["export", "RUN", "--to", "onxx", "--out", "NEW.onnx"], "there is no format 'onxx'"),
        (["export", "RUN", "--to", "pt2", "--out", "NEW.pt2", "--half"], "cannot express the option half"),
        (["export", "RUN", "--to", "onnx", "--out", "NEW.onnx", "--layout", "nchv"], "layout: found 'nchv'"),
        (["export", "RUN", "--to", "onnx", "--out", "NEW.onnx", "--output", "soft"], "output: found 'soft'"),
        (["export", "RUN", "--to", "onnx", "--out", "NEW.onnx", "--size", "1", "1"], "too small"),
        (["check", "RUN", "--data", "DATA"], "not an exported file"),
        (["evaluate", "RUN", "--data", "DATA", "--runtime", "openvino"], "not an exported file"),
        (["config"], "a preset or a file is missing"),
        (["config", "isbl"], "did you mean 'isbi'"),
        (["data", "fetch", "isbi2013", "--out", "NEW"], "isbi2013"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(
    command: Command, words: list[str], complaint: str, data: Path, run: Path, tmp_path: Path
) -> None:
    names = {"DATA": data, "RUN": run, "NEW": tmp_path / "NEW", "NOWHERE": tmp_path / "NOWHERE"}
    for name, path in names.items():
        words = [word.replace(name, str(path), 1) if word.startswith(name) else word for word in words]
    before = sorted(tmp_path.iterdir())
    ended = command(*words)
    assert ended.code == 2
    assert complaint in ended.err
    assert ended.err.startswith("unetkit: ")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    assert sorted(tmp_path.iterdir()) == before, "something half-written was left behind"


def test_a_configuration_is_printed_annotated_and_reads_back(command: Command, tmp_path: Path) -> None:
    printed = command("config", "isbi", "train.steps=7")
    file = tmp_path / "mine.yaml"
    file.write_text(printed.out)
    assert unetkit.load_config(file) == unetkit.load_config("isbi", ["train.steps=7"])
    assert json.loads(command("config", "--schema").out)["title"] == "Config"


def test_help_needs_none_of_the_heavy_packages() -> None:
    script = (
        "import sys; sys.argv = ['unetkit', '-h']\nfrom unetkit import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    )
    heavy = "{'torch', 'numpy', 'scipy', 'matplotlib', 'tifffile', 'PIL'}"
    ended = subprocess.run(
        [sys.executable, "-c", f"{script}print(sorted({heavy} & set(sys.modules)))"], capture_output=True, text=True
    )
    assert ended.stdout.rstrip().endswith("[]"), ended.stdout[-300:] + ended.stderr


def test_data_is_converted_to_folders_that_open_again(command: Command, data: Path, tmp_path: Path) -> None:
    ended = command("data", "convert", data, "--out", tmp_path / "folders")
    assert ended.code == 0, ended.err
    ours, theirs = unetkit.open_dataset(data), unetkit.open_dataset(tmp_path / "folders")
    assert len(theirs) == len(ours)
    assert all(np.array_equal(theirs[i].labels, ours[i].labels) for i in range(len(ours)))
    again = command("data", "convert", data, "--out", tmp_path / "folders")
    assert again.code == 2
    assert "is not empty" in again.err


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "RUN", "", "--out", "out.tif"),
        ("predict", "RUN", "a.tif", "--out="),
        ("evaluate", ""),
        ("train", "isbi", "--data", "", "--out", "run"),
        ("data", "check", ""),
    ],
)
def test_an_empty_path_is_refused(
    command: Command, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(*words)
    assert ended.code == 2
    assert "found the empty argument" in ended.err
    assert not list(tmp_path.iterdir())


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version").out == f"unetkit {unetkit.__version__}\n"


def test_verbs_are_listed_in_the_order_of_the_work_each_in_few_words(command: Command) -> None:
    listed = [line.split()[0] for line in command("-h").out.partition("Commands:")[2].splitlines() if line[2:3].strip()]
    order = ["data", "plan", "train", "evaluate", "predict", "export", "pack", "metrics"]
    assert [verb for verb in listed if verb in order] == order
    assert "unetkit train" not in command("-h").out
