"""Whatever a file, a mapping or a command line holds: a translation that reads back, nothing, or an error of ours."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import unetkit
from unetkit.configuring import translate_config
from unetkit.errors import ConfigError, UnetkitError
from unetkit.legacy.configs import Translation
from unetkit.legacy.configs.tensorflow import TensorFlowSettings
from unetkit.legacy.configs.zoo import ALIASES, ZooSettings

FILES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("zoo.yaml").read_text())["files"]
ZOO = yaml.safe_dump_all([FILES["unet_nested_cell"], {"lr": "the rate"}, {"device_target": ["Ascend", "GPU", "CPU"]}])
COURSE = "cfg_unet = {'lr': 0.0001, 'epochs': 400, 'batchsize': 16, 'FixedLossScaleManager': 1024.0, 'resume': False}"
ODD = [10**400, 1 << 20_000, "None", "1e-4", "Softmax", "COCO", "ISBI", "unet_nested", "./", "\x85\u2028", b"x"]
NAMES = [*ZooSettings.model_fields, *ALIASES]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(ODD),
    st.text(max_size=8),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


def translate(source: Any, flags: Sequence[str] = (), *, bug_compatible: bool = False) -> None:
    """Translate what may be anything, and read the result back."""
    try:
        translation = translate_config(source, flags=flags, bug_compatible=bug_compatible)
    except UnetkitError as error:
        message = str(error)
    else:
        message = ""
        if translation is not None:
            _reads_back(translation)
    assert "\n" not in message


def _reads_back(translation: Translation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ours.yaml"
        file.write_text(translation.annotated_yaml(), encoding="utf-8")
        assert unetkit.load_config(file) == translation.config


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(FILES)), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4), st.booleans())
def test_any_values(name: str, changed: dict[str, Any], bug_compatible: bool) -> None:
    translate(FILES[name] | changed, bug_compatible=bug_compatible)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from([*NAMES, "cfg_unet", "data", "x"]), VALUES), st.sets(st.sampled_from(NAMES)))
def test_any_mapping(values: dict[str, Any], missing: set[str]) -> None:
    translate(values)
    translate({key: value for key, value in FILES["unet_nested"].items() if key not in missing})


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([ZOO, COURSE]), st.integers(0, 2000), st.integers(0, 2000), st.text(max_size=12))
def test_any_file(text: str, cut: int, place: int, inserted: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        for damaged in (text[:cut], text[:place] + inserted + text[place:], text[:place] + text[place + cut % 40 :]):
            file.write_text(damaged, encoding="utf-8", errors="surrogatepass")
            translate(file)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["tensorflow-unet-medical", "oneflow-unet"]),
    st.lists(
        st.sampled_from([f"--{key}" for key in TensorFlowSettings.model_fields])
        | st.sampled_from(["--", "-1", "--=", "--x=1", "--epochs=9", "--data_path=a/image", "1", "0", "True"])
        | st.text(max_size=5),
        max_size=6,
    ),
)
def test_any_flags(preset: str, words: list[str]) -> None:
    translate(preset, words)


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "cfg_unet = " + "[" * 50_000, "cfg_unet = " + "-" * 50_000 + "1", "lr: *x\n", "a: &a [*a]\n", ""],
    ids=["deep YAML", "deep Python", "deep signs", "alias", "recursion", "nothing"],
)
def test_bombs_are_no_configurations(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(text)
    translate(file)
    if text:
        with pytest.raises(ConfigError):
            unetkit.load_config(file)
