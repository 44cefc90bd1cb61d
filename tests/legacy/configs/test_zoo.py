"""The model zoo's configurations: every value arrives, every known issue is said, its flags mean what they meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from unetkit.config import Config, load_config
from unetkit.configuring import translate_config
from unetkit.errors import ConfigError
from unetkit.legacy.configs import Translation

FILES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("zoo.yaml").read_text())["files"]
MEDICAL = FILES["unet_medical"]
ALL_HEADS = tuple(f"heads.{number}.weight" for number in (1, 2, 3, 4))
HEADS = FILES["unet_nested"]["filter_weight"]
SHARED = {
    "data.normalization": "minus-one-to-one",
    "data.resize": "half-pixel",
    "model.depth": 4,
    "model.concat": "up-skip",
    "model.up_bias": False,
    "augment.rotate90": False,
    "loss.cross_entropy": 1.0,
    "loss.dice": 0.0,
    "loss.head_weights": None,
    "optimizer.name": "adam",
    "optimizer.eps": 1e-8,
    "optimizer.eps_form": "tensorflow",
    "optimizer.decay_params": "all-but-norms",
    "optimizer.weight_decay": 5e-4,
    "optimizer.schedule": "constant",
    "optimizer.warmup": 0.0,
    "train.drop_last": True,
    "train.loss_scale": 1024.0,
    "train.keep_checkpoints": 10,
    "train.seed": 1,
    "train.ema": 0.0,
    "init.path": None,
}
ISBI = {
    "data.split.method": "mindspore",
    "data.split.folds": 5,
    "data.split.fold": 1,
    "data.split.seed": 0,
    "augment.flip": True,
    "augment.flip_axes": "both",
    "augment.crop": 0.3,
    "augment.brightness": 0.2,
    "augment.clip": (-1.0, 1.0),
    "optimizer.lr": 1e-4,
    "train.best_metric": "soft_dice_two_class",
}
UNPADDED = ISBI | {
    "data.size": (388, 388),
    "data.padding_mode": "zeros",
    "model.name": "unet",
    "model.width": 64,
    "model.padding": "valid",
    "model.norm": "none",
    "model.conv_bias": True,
    "model.up_relu": True,
    "model.init": "mindspore-medical",
    "model.in_channels": 1,
    "model.num_classes": 2,
    "train.patch": 572,
}
PADDED = {
    "model.width": 32,
    "model.padding": "same",
    "model.norm": "batch",
    "model.decoder_norm": "none",
    "model.conv_bias": False,
    "model.head_bias": False,
    "model.up": "deconv",
    "model.up_relu": False,
    "model.init": "mindspore-normal",
}
AT_576 = ISBI | PADDED | {"data.size": (576, 576), "train.patch": 576, "train.steps": 600, "train.batch": 16}
ON_COCO = PADDED | {
    "data.split.method": "given",
    "data.size": (192, 256),
    "data.classes": tuple(FILES["unet_nested_coco"]["coco_classes"]),
    "model.in_channels": 3,
    "model.num_classes": 81,
    "optimizer.lr": 2e-4,
    "train.patch": (192, 256),
    "train.repeat": 1,
    "train.steps": 400 * (118_287 // 16),
    "train.best_metric": "soft_dice_foreground",
}
EXPECTED: dict[str, dict[str, Any]] = {
    "unet_medical": UNPADDED
    | {"train.steps": 600, "train.batch": 16, "train.repeat": 400, "train.device": "auto"}
    | {"train.validate_every": None},
    "unet_medical_gpu": UNPADDED
    | {"train.steps": 800, "train.batch": 12, "train.repeat": 1, "train.device": "cuda", "train.precision": "float32"},
    "unet_simple": AT_576 | {"model.name": "unet"},
    "unet_nested": AT_576 | {"model.name": "unetpp", "model.deep_supervision": True},
    "unet_nested_cell": PADDED
    | {"data.split.method": "last", "data.split.share": 0.2, "data.size": (96, 96), "model.in_channels": 3}
    | {"model.name": "unetpp", "model.norm": "none", "model.deep_supervision": False, "augment.flip": False}
    | {"augment.crop": 0.0, "augment.stretch": (1.0, 1.0), "optimizer.lr": 3e-4, "train.patch": 96, "train.repeat": 10}
    | {"train.steps": 6700, "train.validate_every": 335, "train.validate_from": 0},
    "unet_nested_coco": ON_COCO
    | {"model.name": "unetpp", "model.deep_supervision": True, "augment.flip": True, "augment.stretch": (1.0, 1.5)},
    "unet_simple_coco": ON_COCO | {"model.name": "unet", "augment.flip": False, "augment.stretch": (1.0, 1.0)},
}


def as_file(values: dict[str, Any], *more: Any) -> str:
    """Write documents as the zoo's files have them: values, help, choices."""
    return yaml.safe_dump_all([values, *more], sort_keys=False)


def values_of(config: Config, keys: Any) -> dict[str, Any]:
    def value(key: str) -> Any:
        section: Any = config
        for part in key.split("."):
            section = getattr(section, part)
        return section

    return {key: value(key) for key in keys}


def translated(*words: str, bug_compatible: bool = False, **changed: Any) -> Translation:
    """Translate unet_medical with some values changed; None leaves a key out."""
    values = {key: value for key, value in (MEDICAL | changed).items() if value is not None}
    translation = translate_config(values, flags=words, bug_compatible=bug_compatible)
    assert translation is not None
    return translation


def complaint(*words: str, **changed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        translated(*words, **changed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_the_seven_files_arrives(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}_config.yaml"
    file.write_text(as_file(FILES[name], {"lr": "the learning rate"}))
    translation = translate_config(file)
    assert translation is not None
    expected = SHARED | EXPECTED[name]
    assert values_of(translation.config, expected) == expected


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_used_or_its_reason_is_given(name: str) -> None:
    translation = translate_config(FILES[name])
    assert translation is not None
    told = [
        *translation.origins.values(),
        *(known_issue.key for known_issue in translation.known_issues),
        *translation.unused,
        *translation.notes,
    ]
    for key in FILES[name]:
        assert any(key in text for text in told), key


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bug_compatible", [False, True])
def test_the_printed_translation_reads_back_to_the_same_configuration(
    name: str, bug_compatible: bool, tmp_path: Path
) -> None:
    translation = translate_config(FILES[name], bug_compatible=bug_compatible)
    assert translation is not None
    file = tmp_path / "ours.yaml"
    file.write_text(translation.annotated_yaml())
    assert load_config(file) == translation.config
    lines = file.read_text().splitlines()
    assert all(" | " in line for line in lines if line.startswith("  ") and not line.rstrip().endswith("."))
    assert all(str(known_issue) in file.read_text() for known_issue in translation.known_issues)


@pytest.mark.parametrize(
    ("changed", "key", "plain", "bug_compatible"),
    [
        ({"train_augment": False}, "augment.flip", False, True),
        ({"train_augment": False}, "augment.crop", 0.0, 0.3),
        ({"resume": True, "resume_ckpt": "a.ckpt"}, "init.moments", True, False),
        ({"resume": True, "resume_ckpt": "a.ckpt", "transfer_training": True}, "init.exclude", ("head*",), ()),
        ({"loss_scale": 512.0}, "optimizer.weight_decay", 5e-4, 2.5e-4),
        ({"epochs": 300}, "train.steps", 600, 600),
        ({"repeat": 1, "epochs": 3, "batch_size": 25}, "train.steps", 3, 3),
        ({"use_ds": True}, "model.deep_supervision", False, False),
        ({"crop": "None"}, "data.size", (388, 388), (388, 388)),
        ({"eval_metrics": "accuracy"}, "train.best_metric", "soft_iou_two_class", "soft_iou_two_class"),
    ],
)
def test_a_known_issue_is_corrected_or_kept(changed: dict[str, Any], key: str, plain: Any, bug_compatible: Any) -> None:
    corrected, kept = translated(**changed), translated(**changed, bug_compatible=True)
    assert values_of(corrected.config, [key]) == {key: plain}
    assert values_of(kept.config, [key]) == {key: bug_compatible}
    assert corrected.known_issues
    assert not any(known_issue.kept for known_issue in corrected.known_issues)
    assert any(known_issue.kept for known_issue in kept.known_issues) == any(
        known_issue.bug_compatible for known_issue in kept.known_issues
    )
    assert len(corrected.known_issues) > len(translated().known_issues) or "transfer_training" in changed


@pytest.mark.parametrize(
    ("name", "listed", "plain", "bug_compatible"),
    [
        ("unet_medical", ["outc.weight", "outc.bias"], ("head*",), ()),
        ("unet_medical", ["outc.conv"], ("head.bias", "head.weight"), ("head.bias", "head.weight")),
        ("unet_medical", ["inc."], None, None),
        ("unet_simple", ["final1.weight"], ("head*",), ()),
        ("unet_simple", ["final"], ("head.weight",), ("head.weight",)),
        ("unet_nested", HEADS, ALL_HEADS, ALL_HEADS),
        ("unet_nested", ["final1.weight"], ("heads.*", "heads.1.weight"), ("heads.1.weight",)),
        ("unet_nested_cell", ["final1.weight"], ("heads.*",), ()),
        ("unet_medical", ["final.weight"], ("head*",), ()),
        ("unet_medical", ["final1.weight"], ("head*",), ()),
        ("unet_simple", ["outc.weight"], ("head*",), ()),
        ("unet_nested", ["final.weight"], ("head*",), ()),
    ],
)
def test_filtered_weights_become_excluded_ones(name: str, listed: list[str], plain: Any, bug_compatible: Any) -> None:
    values = FILES[name] | {"resume": True, "resume_ckpt": "a.ckpt", "transfer_training": True, "filter_weight": listed}
    for keep, expected in ((False, plain), (True, bug_compatible)):
        translation = translate_config(values, bug_compatible=keep)
        assert translation is not None
        found = translation.config.init.exclude
        assert found == expected if expected is not None else all(name.startswith("encoder.0.") for name in found)


def test_a_filter_that_means_nothing_is_an_error_only_where_it_is_used() -> None:
    assert "'nowhere' is in none" in complaint(
        resume=True, resume_ckpt="a.ckpt", transfer_training=True, filter_weight=["nowhere"]
    ).replace("nowhere is", "'nowhere' is")
    assert any("nowhere" in str(known_issue) for known_issue in translated(filter_weight=["nowhere"]).known_issues)


@pytest.mark.parametrize(
    ("activation", "background", "metric", "expected"),
    [
        ("Softmax", True, "dice_coeff", "soft_dice_two_class"),
        ("softmax", False, "dice_coeff", "soft_dice_foreground"),
        ("SOFTMAX", False, "iou", "soft_iou_foreground"),
        ("Argmax", True, "dice_coeff", "argmax_dice_two_class"),
        ("argmax", True, "IOU", "argmax_iou_two_class"),
    ],
)
def test_the_score_that_chooses(activation: str, background: bool, metric: str, expected: str) -> None:
    found = translated(eval_activate=activation, include_background=background, eval_metrics=metric)
    assert found.config.train.best_metric == expected


def test_the_command_line_goes_before_the_file_and_ours_before_both() -> None:
    words = ["--epochs", "800", "--lr=1", "--output", "out", "--data_path", "here", "--device_target", "CPU"]
    translation = translated(*words)
    assert translation.config.train.steps == 1200
    assert translation.config.optimizer.lr == 1.0
    assert translation.config.data.path == "here"
    assert translation.config.train.device == "cpu"
    assert translation.out == "out"
    assert "epochs 800" in translation.origins["train.steps"]
    ours = translate_config(MEDICAL, ["train.steps=50"], flags=["--epochs", "800"])
    assert ours is not None
    assert ours.config.train.steps == 50
    assert ours.origins["train.steps"] == "given as key=value"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "1.5"], "epochs: found '1.5'; expected a whole number"),
        (["--epochs", "0"], "expected 1 or more"),
        (["--epochs"], "argument --epochs: expected one argument"),
        (["--epochs", "--lr", "1"], "argument --epochs: expected one argument"),
        (["--epohcs", "3"], "unknown flag --epohcs; did you mean 'epochs'"),
        (["--data", "x"], "--data could match --data_path, --data_url"),
        (["--e", "x"], "--e could match"),
        (["--image_size", "3"], "is a list, which its program takes from the file alone"),
        (["--resume", "maybe"], "resume: found maybe; expected True or False"),
        (["epochs", "3"], "belongs to no flag"),
        (["--epochs", "3", "train.steps=3"], "belongs to no flag"),
        (["-e", "3"], "belongs to no flag"),
        (["--config_path", "other.yaml"], "names another file"),
        (["--model_name", "unet"], "expected one of unet_medical"),
        (["--lr", "nan"], "expected a number"),
        (["--lr", "-1"], "expected 0 or more"),
    ],
)
def test_a_wrong_flag_is_one_line(words: list[str], message: str) -> None:
    assert message in complaint(*words)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epoch": 3, "epochs": None}, "unknown key epoch; did you mean 'epochs'?"),
        ({"batchsize": 3}, "batch_size and batchsize say the same"),
        ({"lr": "fast"}, "lr: found fast; expected a number"),
        ({"lr": [1]}, "expected a number"),
        ({"epochs": True}, "expected a whole number"),
        ({"epochs": 10**30}, "expected a whole number"),
        ({"image_size": [572]}, "two sides in pixels"),
        ({"image_size": ["a", {}]}, "two sides in pixels"),
        ({"resume": True}, "resume_ckpt: found './'; expected a checkpoint"),
        ({"eval_activate": "sigmoid"}, "expected Softmax or Argmax"),
        ({"model_name": None}, "model_name: found ''; expected one of"),
        ({"dataset": "mine", "split": 1.5}, "split: found 1.5"),
        ({"dataset": "COCO", "coco_classes": ["background"]}, "2 names, as num_classes says"),
        ({"num_classes": 1}, "expected 2 or more"),
    ],
)
def test_a_wrong_value_is_one_line(changed: dict[str, Any], message: str) -> None:
    assert message in complaint(**changed)


def test_spellings_of_the_readme_and_of_older_files_are_taken_and_noted() -> None:
    changes = {"batch_size": None, "image_size": None, "model_name": None, "epochs": None}
    names = {"batchsize": 8, "img_size": [572, 572], "model": "unet_medical", "epoch_size": 800, "rank": 0}
    found = translated(**changes, **names)
    assert found.config == translated(batch_size=8, epochs=800).config
    assert {note.split()[0] for note in found.notes} >= {"batchsize", "img_size", "model", "epoch_size"}
    assert "rank" in found.unused
    assert "batchsize 8" in found.origins["train.batch"]


def test_keys_of_nobody_are_named_and_left_out() -> None:
    assert "prune_rate" in translated(prune_rate=0.25).unused


def test_numbers_that_yaml_takes_for_texts_are_read_and_noted(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(as_file(MEDICAL).replace("lr: 0.0001", "lr: 3e-4").replace("run_eval: false", "run_eval: yes"))
    found = translate_config(file, flags=["--show_eval", "true", "--config_path", str(file)])
    assert found is not None
    assert found.config.optimizer.lr == 3e-4
    assert found.config.train.validate_every == 600
    assert any("3e-4" in note for note in found.notes)
    assert any("--show_eval" in note for note in found.notes)


def test_choices_of_the_third_document_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(as_file(MEDICAL, {}, {"device_target": ["Ascend", "GPU"], "width": 7}))
    assert translate_config(file) is not None
    with pytest.raises(ConfigError, match="third document allows"):
        translate_config(file, flags=["--device_target", "CPU"])
    file.write_text(as_file(MEDICAL, {}, {}, {}))
    with pytest.raises(ConfigError, match="more than 3 documents"):
        translate_config(file)
    file.write_text(as_file(MEDICAL, [1]))
    with pytest.raises(ConfigError, match="a document is a list"):
        translate_config(file)


def test_steps_are_counted_on_the_data_that_is_named(tmp_path: Path) -> None:
    from unetkit.data import write_sample

    data = write_sample(tmp_path, slices=10, size=64)
    found = translate_config(MEDICAL, [f"data.path={data}"])
    assert found is not None
    assert found.config.train.steps == 8 * 400 // 16
    assert "8 training images of the 10" in found.origins["train.steps"]
    absent = translate_config(MEDICAL, [f"data.path={tmp_path / 'nowhere'}"])
    assert absent is not None
    assert absent.config.train.steps == 600


def test_a_training_on_several_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = FILES["unet_nested_cell"] | {"run_distribute": True}
    for name, value in {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    found, kept = translate_config(cell), translate_config(cell, bug_compatible=True)
    assert found is not None
    assert kept is not None
    assert (found.config.train.steps, found.config.train.batch) == (6560, 128)  # the steps that its README gives
    assert found.config.optimizer.weight_decay == 5e-4
    assert kept.config.optimizer.weight_decay == 5e-4 / 8
    gpu = translate_config(FILES["unet_medical_gpu"] | {"run_distribute": True})
    assert gpu is not None
    assert (gpu.config.train.steps, gpu.config.train.batch) == (1600 * (3 // 3), 24)


def test_a_path_is_taken_from_annotations_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "annotations" / "instances_train2017.json"
    file.parent.mkdir()
    values = FILES["unet_nested_coco"] | {"anno_json": str(file)}
    assert translate_config(values).config.data.path is None
    file.write_text("{}")
    with pytest.raises(Exception, match="instances_train2017"):
        translate_config(values)
