"""A job of ModelArts as the model zoo's programs run it: data, weights and results by their URLs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import unetkit
from unetkit.data import write_sample
from unetkit.storage import local_copy, place_of, send_folder

ZOO = Path(__file__).parents[1] / "legacy" / "configs" / "zoo.yaml"
SMALL = ["model.width=2", "train.steps=2", "train.threads=1", "--", "--enable_modelarts", "True", "--batch_size", "2"]
SMALL += ["--data_url", "s3://lab/data"]


def names(url: str) -> set[str]:
    return {one.key.rpartition("/")[2] for one in place_of(url).list()}


@pytest.mark.slow
@pytest.mark.usefixtures("wire")
def test_a_job_trains_and_another_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    send_folder(write_sample(tmp_path / "sample", slices=5, size=64), "s3://lab/data")
    config = tmp_path / "unet_medical_config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(ZOO.read_text())["files"]["unet_medical"]))
    train = [sys.executable, "-m", "unetkit", "train", str(config), *SMALL]
    subprocess.run([*train, "--train_url", "s3://lab/first"], check=True)
    assert {"last.safetensors", "report.html"} <= names("s3://lab/first")
    unetkit.export("s3://lab/first", to="mindspore-ckpt", out="s3://lab/weights/a.ckpt")
    words = ["--checkpoint_url", "s3://lab/weights", "--resume", "True"]
    words += ["--resume_ckpt", "/cache/checkpoint_path/a.ckpt"]
    subprocess.run([*train, "--train_url", "s3://lab/second", *words], check=True)
    assert unetkit.load_config(local_copy("s3://lab/second") / "config.yaml").init.path == "s3://lab/weights/a.ckpt"


@pytest.mark.usefixtures("wire")
def test_its_configuration_lies_in_the_storage_and_its_checkpoints_are_followed(
    tmp_path: Path, shared: Path, command: Callable[..., Any]
) -> None:
    """The steps of the zoo's README: config_path in the code folder, checkpoints below /cache/checkpoint_path."""
    code, weights = tmp_path / "code", tmp_path / "weights"
    code.mkdir()
    weights.mkdir()
    small = yaml.safe_load(ZOO.read_text())["files"]["unet_simple"] | {"image_size": [32, 32]}
    (code / "unet_simple_config.yaml").write_text(yaml.safe_dump(small))
    (code / "mine.yaml").write_text("train: {stepps: 3}\n")
    (weights / "a.ckpt").write_bytes((shared / "fixtures/seeds/ms_small_simple_fs16.ckpt").read_bytes())
    send_folder(code, "s3://lab/code")
    send_folder(weights, "s3://lab/weights")
    send_folder(write_sample(tmp_path / "sample", slices=5, size=64), "s3://lab/data")
    config = "s3://lab/code/unet_simple_config.yaml"
    job = ["--enable_modelarts", "True", "--data_url", "s3://lab/data", "--checkpoint_url", "s3://lab/weights"]

    def run(*words: str, code: int = 0) -> str:
        ended = command(*words)
        assert ended.code == code, ended.err
        return ended.out + ended.err

    shown = run("config", config, "--", "--config_path", config, *job)
    assert f"{config}, translated from the MindSpore model zoo" in shown
    wrong = run("train", "s3://lab/code/mine.yaml", "--data", "s3://lab/data", "--out", "s3://lab/no", code=2)
    assert "s3://lab/code/mine.yaml: " in wrong
    named = ["--", *job, "--checkpoint_file_path", "/cache/checkpoint_path/a.ckpt"]
    scored = run("evaluate", "--config", config, *named, "--cross_valid_ind", "0")
    assert "============== Cross valid dice coeff is: 0." in scored
    assert scored.count("single dice coeff is: ") == 1  # of five slices, fold 0 holds out one
    again = run("evaluate", "/cache/checkpoint_path/a.ckpt", "--config", config, "--", *job, "--cross_valid_ind", "0")
    lines = [[line for line in text.splitlines() if " is: " in line] for text in (scored, again)]
    assert lines[0] == lines[1]
    out = tmp_path / "unet.mindir"
    size = ["--width", "32", "--height", "32", "--file_format", "MINDIR"]
    assert str(out) in run("export", "--config", config, "--out", str(out), *named, *size)
    assert out.is_file()
