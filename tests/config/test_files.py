"""Configurations: what is read is what was meant, and what is wrong is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.config import Config, annotated_yaml, json_schema, load_config, load_tree, plain_yaml, preset_names
from unetkit.config.schema import RENAMED
from unetkit.config.text import parse
from unetkit.errors import ConfigError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_both_ways_of_writing_it(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    for index, text in enumerate((annotated_yaml(config), plain_yaml(config))):
        file = tmp_path / f"{index}.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_config(file) == config


def test_every_key_is_explained() -> None:
    def below(schema: dict[str, object], definitions: dict[str, dict[str, object]]) -> None:
        for key, entry in schema["properties"].items():
            if "$ref" in entry:
                below(definitions[entry["$ref"].rsplit("/", 1)[1]], definitions)
            else:
                assert entry.get("description"), f"{key} has no description"

    schema = json_schema()
    below(schema, schema["$defs"])


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.stesp=3", "did you mean 'train.steps'?"),
        ("steps=3", "did you mean 'train.steps'?"),
        ("train.steps=-1", "train.steps: found -1"),
        ("train.steps=many", "train.steps: found 'many'; expected a valid integer"),
        ("train.steps=1e2", "train.steps: found 100.0; expected a valid integer"),
        ("augment.flip=yes", "augment.flip: found 'yes'; expected a valid boolean"),
        ("augment.flip=1", "augment.flip: found 1"),
        ("optimizer.lr=.nan", "optimizer.lr: found nan"),
        ("optimizer.lr=.inf", "optimizer.lr: found inf"),
        ("data.split.fold=9", "with 5 folds the last one is 4"),
        ("model=3", "model: found 3"),
        ("train.steps.more=3", "steps is a value, not a section"),
        ("train.steps", "write key=value"),
        ("train.steps=[", "not valid YAML"),
        ("train.steps=!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("train.steps=!!binary aGk=", "not valid YAML"),
        ("train.steps=!!set {a}", "not valid YAML"),
        ("train.steps=0x" + 5000 * "f", "more than 64 bits"),
        ('train.steps=!!int ""', "not valid YAML: line 1: '' is no int"),
        ('augment.flip=!!bool "x"', "not valid YAML"),
        ('optimizer.lr=!!float "x"', "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("isbi", [override])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_and_words_are_read_as_people_mean_them() -> None:
    config = load_config("isbi", ["optimizer.lr=1e-4", "data.path=no", "train.best_metric=on"])
    assert load_config("isbi", ["data.path=2020-01-01"]).data.path == "2020-01-01"
    assert config.optimizer.lr == 1e-4
    assert config.data.path == "no"
    assert config.train.best_metric == "on"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- 1\n- 2\n", "holds a list"),
        ("train: {steps: 1, steps: 2}\n", "stands there twice"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("train: [\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_broken_file_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "broken.yaml" in str(caught.value)
    assert complaint in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "binary.yaml"
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_config(file)


def test_an_unknown_preset_suggests_the_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'isbi'"):
        load_config("isbl")


@pytest.mark.parametrize(
    "word", ["1e-4", "no", "2020-01-01", "true", "0x1", "1:30", "null", "~", "", " a", "a: b", "a\n b", "\x85"]
)
def test_every_text_survives_both_ways_of_writing_it(word: str, tmp_path: Path) -> None:
    config = load_config({"data": {"path": word}})
    for index, text in enumerate((annotated_yaml(config), plain_yaml(config))):
        file = tmp_path / f"{index}.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_config(file).data.path == word


@given(st.text(max_size=60))
def test_no_override_ends_in_another_error(text: str) -> None:
    try:
        config = load_config("isbi", [text])
    except ConfigError:
        return
    assert load_tree(parse(plain_yaml(config), "a test"), (), "a test") == config


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema()))["title"] == Config.__name__


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_refused_with_a_line_that_names_the_new_one(old: str, new: str) -> None:
    section, name = old.split(".")
    with pytest.raises(ConfigError, match=f"^configuration: {old} is now {new}; write {new}=2$"):
        load_config({section: {name: 2}})
    with pytest.raises(ConfigError, match=f"^{old}=2: {old} is now {new}; write {new}=2$"):
        load_config("isbi", [f"{old}=2"])


def test_an_old_value_is_named_as_it_is_called_now() -> None:
    with pytest.raises(ConfigError, match=r"predict.outside is now .* write predict.padding_mode=reflect$"):
        load_config({}, ["predict.outside=mirror"])
    with pytest.raises(ConfigError, match=r"train.tensorboard is now train.track; write train.track=\[tensorboard\]$"):
        load_config({}, ["train.tensorboard=true"])


def test_what_was_written_with_old_keys_is_read() -> None:
    written = {
        "augment": {"turn": False},
        "data": {"border_class": 2, "outside": "mirror"},
        "model": {"stem": 4},
        "objects": {"neck": 0.5},
        "optimizer": {"name": "muon", "decay": "all-but-norms", "final_lr": 0.1, "rest_lr": 0.01},
        "predict": {"outside": "zeros"},
        "train": {"tensorboard": True},
    }
    config = load_config(written, ["model.downscale=2"], stored=True)
    assert {key for section in written for key in RENAMED if key.startswith(section)} == set(RENAMED)
    assert (config.augment.rotate90, config.data.border_width, config.data.padding_mode) == (False, 2, "reflect")
    assert (config.model.downscale, config.objects.min_width, config.predict.padding_mode) == (2, 0.5, "zeros")
    assert config.optimizer.decay_params == "all-but-norms"
    assert (config.optimizer.final_lr_factor, config.optimizer.adamw_lr) == (0.1, 0.01)
    assert config.train.track == ("tensorboard",)
    assert load_config({"train": {"tensorboard": False}}, stored=True).train.track == ()
