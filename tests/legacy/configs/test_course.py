"""The course's `cfg_unet`, from a Python file that is never executed, or from a mapping."""

from pathlib import Path
from typing import Any

import pytest

from unetkit.config import load_config
from unetkit.errors import ConfigError
from unetkit.legacy.configs import translate_config

VALUES: dict[str, Any] = {
    **{"name": "Unet", "lr": 0.0001, "epochs": 400, "distribute_epochs": 1600, "batchsize": 16, "cross_valid_ind": 1},
    **{"num_classes": 2, "num_channels": 1, "keep_checkpoint_max": 10, "weight_decay": 0.0005, "loss_scale": 1024.0},
    **{"FixedLossScaleManager": 1024.0, "resume": False, "resume_ckpt": "./"},
}


@pytest.mark.parametrize(
    "text",
    [
        f"import os\nos.remove(__file__)\ncfg_unet = {VALUES!r}\n",
        f"cfg_unet: dict = {VALUES!r}\n",
        f"from easydict import EasyDict as ed\ncfg_unet = ed({VALUES!r})\n",
        f"base = {VALUES!r}\ncfg_unet = base\n",
        f"cfg_unet = dict({', '.join(f'{key}={value!r}' for key, value in VALUES.items())})\n",
        f"cfg_unet: {VALUES!r}\n".replace("'", '"'),
        f"{VALUES!r}\n".replace("'", '"'),
    ],
    ids=["a dict", "an annotated dict", "ed(...)", "another name", "dict(...)", "YAML", "a bare mapping"],
)
def test_the_course_is_the_zoos_medical_training(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(text)
    translation = translate_config(file)
    assert translation is not None
    assert translation.config == load_config("mindspore-unet-medical")
    assert "epochs 400" in translation.origins["train.steps"]
    assert "batchsize 16" in translation.origins["train.batch"]
    assert {"name", "distribute_epochs", "resume_ckpt"} <= set(translation.unused)
    assert any("saves once" in str(known_issue) for known_issue in translation.known_issues)


def test_its_epochs_are_repeats_of_one_pass() -> None:
    translation = translate_config(VALUES | {"epochs": 10, "batchsize": 7})
    assert translation is not None
    assert translation.config.train.steps == 24 * 10 // 7
    assert translation.config.train.repeat == 10


def test_its_flags_name_data_and_run_folder() -> None:
    translation = translate_config(VALUES, flags=["--data_url", "there", "--train", "out"])
    assert translation is not None
    assert translation.config.data.path == "there"
    assert translation.out == "out"


def test_on_several_devices_its_other_epochs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    translation = translate_config(VALUES)
    assert translation is not None
    assert translation.config.train.steps == 24 * 1600 // 8 // 16
    assert translation.config.train.batch == 128


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cfg_unet = {'lr': 1 / 0, 'batchsize': 3}", "no dict of plain values"),
        ("cfg_unet = open('x')", "no dict of plain values"),
        ("cfg_unet = [1]", "no dict of plain values"),
        (f"cfg_unet = {VALUES | {'epochs': 'many'}!r}", "epochs: found many; expected a whole number"),
        (f"cfg_unet = {VALUES | {'batch_size': 3}!r}", "unknown key batch_size; did you mean 'batchsize'?"),
        (f"cfg_unet = {VALUES | {'resume': True}!r}", "expected a checkpoint"),
    ],
)
def test_a_wrong_value_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        translate_config(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
