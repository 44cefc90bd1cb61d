"""The course's `cfg_unet`, from a Python file that is never executed, or from a mapping."""

from pathlib import Path
from typing import Any

import pytest

from unetkit.config import load_config
from unetkit.configuring import translate_config
from unetkit.errors import ConfigError

VALUES: dict[str, Any] = {
    **{"name": "Unet", "lr": 0.0001, "epochs": 400, "distribute_epochs": 1600, "batchsize": 16, "cross_valid_ind": 1},
    **{"num_classes": 2, "num_channels": 1, "keep_checkpoint_max": 10, "weight_decay": 0.0005, "loss_scale": 1024.0},
    **{"FixedLossScaleManager": 1024.0, "resume": False, "resume_ckpt": "./"},
}
README: dict[str, Any] = VALUES | {"repeat": 400, "is_save_on_master": 1, "rank": 0, "transfer_training": False}
README |= {"filter_weight": ["final.weight"], "show_eval": False, "eval_activate": "Softmax", "train_augment": False}


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
    assert translation.config == load_config("mindspore-unet-medical", ["train.log_format=mindspore-course"])
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
        ("cfg_unet = {'lr': 1 / 0, 'batchsize': 3}", "not a dict of plain values"),
        ("cfg_unet = open('x')", "not a dict of plain values"),
        ("cfg_unet = [1]", "not a dict of plain values"),
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


def test_the_list_of_the_zoos_readme_is_the_zoos() -> None:
    translation, course = translate_config(README), translate_config(VALUES | {"rank": 0, "is_save_on_master": 1})
    assert translation is not None
    assert course is not None
    assert (translation.system, course.system) == ("the MindSpore model zoo", "the MindSpore course")
    assert not translation.config.augment.flip
    assert translation.config.augment.crop == 0.0
    assert (translation.config.train.steps, translation.config.train.repeat) == (600, 400)
    assert {"rank", "is_save_on_master", "show_eval", "filter_weight"} <= set(translation.unused)
    said = [*translation.origins.values(), *translation.unused, *(issue.key for issue in translation.known_issues)]
    assert all(any(key in text for text in said) for key in README)


def test_a_list_with_a_comma_after_every_line_is_read(tmp_path: Path) -> None:
    file, expected = tmp_path / "list.txt", translate_config(README)
    assert expected is not None
    for name, values in {"quoted": README, "numbers first": {"lr": README["lr"]} | README}.items():
        lines = [f"  {key!r}: {value!r},    # of {key}" for key, value in values.items()]
        file.write_text("\n".join(["# the parameters", "", *lines]))
        translation = translate_config(file)
        assert translation is not None, name
        assert translation.config == expected.config
    file.write_text("\n".join(lines).replace("'resume': False,", "'resume': False "))
    with pytest.raises(ConfigError, match="its lines end with commas as in a Python dict") as caught:
        translate_config(file)
    assert "\n" not in str(caught.value)
