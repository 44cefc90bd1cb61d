"""The legacy presets are their systems' own defaults, translated with every known issue: the training as it ran."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from unetkit.config import load_config
from unetkit.configuring import translate_config

FILES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("zoo.yaml").read_text())["files"]
SOURCES: dict[str, Any] = {
    "mindspore-unet-medical": FILES["unet_medical"],
    "mindspore-unet-simple": FILES["unet_simple"],
    "mindspore-unet-nested-cell": FILES["unet_nested_cell"],
    "mindspore-unet-nested-coco": FILES["unet_nested_coco"],
    "tensorflow-unet-medical": "tensorflow-unet-medical",
    "oneflow-unet": "oneflow-unet",
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_preset_is_its_systems_defaults(name: str) -> None:
    translation = translate_config(SOURCES[name], bug_compatible=True)
    assert translation is not None
    assert load_config(name) == translation.config
