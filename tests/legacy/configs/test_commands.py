"""The legacy files and flags on the command line, as real processes: what a user of those systems types."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from unetkit.config import load_config
from unetkit.data import write_sample

FILES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("zoo.yaml").read_text())["files"]
SMALL = FILES["unet_simple"] | {"image_size": [32, 32], "device_target": "CPU"}
HELP = {"lr": "the learning rate"}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def unetkit(*words: object) -> Ended:
    command = [sys.executable, "-m", "unetkit", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("legacy")
    write_sample(folder / "data", slices=5, size=64)
    for name, values in {**FILES, "small": SMALL}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all([values, HELP], sort_keys=False))
    return folder


@pytest.mark.slow
def test_a_legacy_file_trains_and_its_translation_is_what_was_trained(folder: Path, tmp_path: Path) -> None:
    file, data, out = folder / "small.yaml", folder / "data", tmp_path / "run"
    flags = ["--", "--repeat", 1, "--epochs=2", "--batch", 2, "--output", out]
    trained = unetkit("train", file, "model.width=2", "--data", data, *flags)
    assert trained.code == 0, trained.err
    assert "note: known issue: filter_weight ['final1.weight']" in trained.out
    assert "note: not used: " in trained.out
    assert "soft_dice_two_class" in trained.out
    shown = unetkit("config", file, "model.width=2", "--data", data, *flags)
    assert shown.code == 0, shown.err
    (tmp_path / "ours.yaml").write_text(shown.out)
    ours, run = load_config(tmp_path / "ours.yaml"), load_config(out / "config.yaml")
    assert (run.train, run.model, run.optimizer, run.augment) == (ours.train, ours.model, ours.optimizer, ours.augment)
    assert ours.train.steps == 2 * (4 // 2)
    assert "(4 training images of the 5 in" in shown.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["config", "unet_medical.yaml", "--", "--data", "x"], "--data could match --data_path, --data_url"),
        (["config", "unet_medical.yaml", "--", "--lr", "fast"], "lr: found fast; expected a number"),
        (["train", "misspelt.yaml", "--out", "NEW", "--data", "data"], "unknown key batch_sise; did you mean"),
        (["train", "truncated.yaml", "--out", "NEW", "--data", "data"], "not valid YAML"),
        (["train", "unet_medical.yaml", "--data", "data"], "--out is missing"),
        (["train", "unet_medical.yaml", "--out", "NEW", "--data", "nowhere"], "nowhere"),
        (
            ["train", "isbi", "--out", "NEW", "--data", "sample", "--bug-compatible"],
            "isbi is not a legacy configuration",
        ),
        (["train", "tensorflow-unet-medical", "--", "--exec_mode", "predict"], "write: unetkit predict"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(words: list[str], message: str, folder: Path, tmp_path: Path) -> None:
    text = (folder / "unet_medical.yaml").read_text()
    (folder / "misspelt.yaml").write_text(text.replace("batch_size", "batch_sise"))
    (folder / "truncated.yaml").write_text(text[: text.index("lr:")] + "filter_weight: ['outc")
    places = {path.name: str(path) for path in folder.iterdir()} | {"NEW": str(tmp_path / "NEW")}
    ended = unetkit(*(places.get(word, word) for word in words))
    assert ended.code == 2, ended
    assert message in ended.err
    assert ended.err.startswith("unetkit: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "NEW").exists()
