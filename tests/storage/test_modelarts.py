"""A job of ModelArts as the model zoo's programs run it: data, weights and results by their URLs."""

import subprocess
import sys
from pathlib import Path

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
