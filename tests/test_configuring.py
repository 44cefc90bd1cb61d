"""The one door to configurations: ours, an older system's, and what is known of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import unetkit
from unetkit.configuring import configure
from unetkit.errors import ConfigError

ZOO: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("legacy").joinpath("configs/zoo.yaml").read_text())
SIMPLE: dict[str, Any] = ZOO["files"]["unet_simple"]


def test_a_configuration_of_ours_has_no_remarks() -> None:
    configured = configure("isbi", ["train.steps=7"])
    assert configured.config == unetkit.load_config("isbi", ["train.steps=7"])
    assert (configured.out, configured.remarks) == (None, ())
    assert "steps: 7" in configured.annotated_yaml()


def test_an_older_configuration_brings_its_run_folder_and_remarks(tmp_path: Path) -> None:
    configured = configure(SIMPLE, flags=["--output", "results"])
    assert configured.config == unetkit.load_config(SIMPLE, flags=["--output", "results"])
    assert configured.out == "results"
    assert "translated from the MindSpore model zoo" in configured.remarks[0]
    assert any(line.startswith("known issue: ") for line in configured.remarks)
    (tmp_path / "ours.yaml").write_text(configured.annotated_yaml())
    assert unetkit.load_config(tmp_path / "ours.yaml") == configured.config


def test_every_unused_key_is_in_the_remarks_before_a_training() -> None:
    translation = unetkit.translate_config(SIMPLE)
    assert translation is not None
    remarks = "\n".join(line for line in configure(SIMPLE).remarks if line.startswith("not used: "))
    assert {"show_eval", "rst_path", "color"} <= set(translation.unused)
    assert all(key in remarks for key in translation.unused)


def test_flags_are_of_older_systems_alone() -> None:
    with pytest.raises(ConfigError, match="isbi is not a legacy configuration"):
        configure("isbi", flags=["--epochs", "3"])


def test_a_preset_costs_no_import_of_the_older_systems() -> None:
    code = "import sys, unetkit; unetkit.load_config('oneflow-unet'); assert 'unetkit.legacy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
