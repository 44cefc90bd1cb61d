"""Every row of the older systems' table of commands: what their users type has an answer here, and most of it runs.

The rows are those of docs/older-systems.md and docs/older-systems-table.md: a row that is not named here fails, so that
neither the page nor this table can forget one. `NOT_RUN` says why a row is not run.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from unetkit.config import load_config
from unetkit.data import write_sample

ROOT = Path(__file__).parents[2]
FILES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "configs/zoo.yaml").read_text())["files"]

Command = Callable[..., str]


def rows(page: str, title: str) -> list[list[str]]:
    """Return the cells of the table below a title, without its head."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:] if not line.startswith("| **")
    ]


@pytest.fixture
def unetkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process and return what it printed."""
    from unetkit.cli import main

    def run(text: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["unetkit", *text.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.out + printed.err
        return printed.out + printed.err

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what their users have: configurations, a course's dict, slices, folders of images and masks."""
    from unetkit.data import convert, open_dataset

    folder = tmp_path_factory.mktemp("user")
    data = write_sample(folder / "D", slices=5, size=32)
    small = FILES["unet_simple"] | {"image_size": [32, 32], "device_target": "CPU", "repeat": 1, "epochs": 1}
    (folder / "C.yaml").write_text(yaml.safe_dump(small | {"width": 32, "height": 32, "batch_size": 2}))
    course = {"name": "Unet", "epochs": 1, "batchsize": 2, "FixedLossScaleManager": 1024.0, "cross_valid_ind": 1}
    (folder / "config.py").write_text(f"cfg_unet = {course}\n")
    convert(open_dataset(data), folder / "folders")
    for kind, stem in (("train_image", "image"), ("train_label", "mask")):
        (folder / kind).mkdir()
        for one in (folder / "folders").iterdir():
            (folder / kind / f"{one.name}.png").write_bytes((one / f"{stem}.png").read_bytes())
    return folder


TINY = "model.width=2 train.threads=1"
TENSORFLOW = f"train tensorflow-unet-medical {TINY} data.size=[20,20] train.patch=204 --device cpu"
RUNS: dict[str, tuple[str, ...]] = {
    "python train.py": (f"train C.yaml {TINY} --data D --out R -- --lr 0.001",),
    "run_standalone_train.sh": (f"train C.yaml {TINY} --data D --out R1",),
    "python eval.py": ("evaluate F.ckpt --data D --config C.yaml -- --cross_valid_ind 0",),
    "python export.py --config_path": (
        "export --config C.yaml --out unet.mindir -- --checkpoint_file_path F.ckpt --file_format MINDIR",
        "export F.ckpt --to MINDIR --out again.mindir --size 32 32",
    ),
    "python infer_unet_onnx.py": ("evaluate unet.mindir --data D --config C.yaml",),
    "preprocess.py": ("predict F.ckpt D/test-volume.tif --out MASKS.tif", "evaluate F.ckpt --data D"),
    "python preprocess_dataset.py": ("data convert D --config C.yaml --out OUT",),
    "python main.py --data_url": (f"train config.py {TINY} data.size=[20,20] train.patch=204 --data D --out R2",),
    "python main.py --data_dir": (
        f"{TENSORFLOW} -- --data_dir D --model_dir R3 --max_steps 2 --crossvalidation_idx 0 --log_every 1",
    ),
    "... --exec_mode evaluate": ("evaluate R3 --data D", "predict R3 D/test-volume.tif --out masks.tif"),
    "script/run_1p_accuracy.sh K": (
        f"{TENSORFLOW} --data D --out R4 -- --max_steps 1 --batch_size 2 --augment --crossvalidation_idx 0 "
        "--npu_loss_scale 1",
    ),
    "script/run_*_perfmance.sh": ("bench F.ckpt --size 32 --batches 1 --rounds 1",),
    "python export.py --to savedmodel": ("export R --to onnx --out FILE.onnx",),
    "python TrainUnetDataSet.py": (f"train oneflow-unet {TINY} --out R5 -- --data_path train_image --epochs 2",),
    "python predict_unet_test.py": ("predict F.ckpt train_image --out FOLDER",),
}
NOT_RUN = {
    "run_distribute_train.sh": "several processes: tests/training",
    "mindspore_hub_conf.py": "tests/test_hubconf.py",
    "docker_start.sh": "needs a container engine: tests/scripts",
    "a job of ModelArts": "tests/storage/test_modelarts.py",
    "horovodrun": "several processes: tests/training",
    "script/run_1p_accuracy.sh all": "every fold: tests/training",
    "python download_dataset.py": "needs the network: tests/data",
    "python -m oneflow.distributed.launch": "several processes: tests/training",
    "plot.py": "curves of a report: tests/reporting",
}


def test_every_row_is_named_here() -> None:
    known = {**RUNS, **NOT_RUN}
    for row in rows("older-systems.md", "Commands"):
        theirs = row[0].replace("`", "")
        assert any(theirs.startswith(name) for name in known), theirs
    named = [row[0].replace("`", "") for row in rows("older-systems.md", "Commands")]
    for name in known:
        assert any(theirs.startswith(name) for theirs in named), f"{name} is no row of the page"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_their_commands(place: Path, unetkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the rows in their order, as a user moves in: what one makes, the next one uses."""
    monkeypatch.chdir(place)
    printed: list[str] = []
    for row, commands in RUNS.items():
        for command in commands:
            printed.append(unetkit(command))
        if row == "python train.py":
            unetkit("export R --to mindspore-ckpt --out F.ckpt")
    _check_the_lines("".join(printed))
    for path in ("R/best.safetensors", "R/report.html", "R5/Unet_train.txt", "unet.mindir", "MASKS.tif", "OUT"):
        assert (place / path).exists(), path
    assert load_config(place / "R" / "config.yaml").optimizer.lr == 0.001


def _check_the_lines(printed: str) -> None:
    """Require every line of the page: its numbers may be any, everything else is byte for byte."""
    for system, cell, when in rows("older-systems-table.md", "Printed lines"):
        line = cell.strip("`")
        if "validation" in when or "a better one" in when or line.startswith("End training"):
            continue  # where run_eval is True: tests/legacy/test_lines.py
        words = re.split(r"\d[\d.:-]*(?:e-\d+)?", line)
        wanted = r"[-\d.:e]+".join(re.escape(word) for word in words)
        assert re.search(f"^{wanted}", printed, re.MULTILINE), f"{system}: {line}"


def test_every_key_has_its_row() -> None:
    from unetkit.legacy.configs.oneflow import OneFlowSettings
    from unetkit.legacy.configs.tensorflow import TensorFlowSettings
    from unetkit.legacy.configs.zoo import ZooSettings

    found = {row[0].strip("`-"): row[1] for row in rows("older-systems-table.md", "Keys and flags") if len(row) == 2}
    for settings in (ZooSettings, TensorFlowSettings, OneFlowSettings):
        for key in settings.model_fields:
            assert found.get(key), key
