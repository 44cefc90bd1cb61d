"""OneFlow's U-Net in our terms: the flags of its TrainUnetDataSet.py.

It has no configuration file. Its images lie in a folder with "image" in its name, its masks in the folder that is
called the same with "label".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.legacy.configs.translation import ISBI, Count, Draft, Images
from unetkit.legacy.configs.values import Key, Settings, checked, parse_flags
from unetkit.legacy.networks import MILESIAL

SYSTEM = "OneFlow's U-Net"
_PROGRAM = "its program"

KEYS: dict[str, Key] = {
    "data_path": Key("text", "train_image"),
    "epochs": Key("whole", 40, least=1),
    "batch_size": Key("whole", 1, least=1),
}
_PREDICTION = ("checkpoint", "Test_Data_path", "save_res_path")


def translate(
    documents: Sequence[Mapping[str, Any]], words: Sequence[str], *, name: str, draft: Draft, count: Count
) -> None:
    """Translate the words of its command line; it has no documents.

    Raises:
        ConfigError: a flag or a value that cannot be.
        UsageError: flags of its program that predicts.
    """
    flags = parse_flags(words, [*KEYS, *_PREDICTION], name=name)
    if legacy := [flag for flag in flags if flag in _PREDICTION]:
        raise UsageError(
            f"{name}: --{legacy[0]} is of predict_unet_test.py; write: unetkit predict MODEL INPUT --out FOLDER"
        )
    values = {key: checked(name, f"--{key}", value, KEYS[key]) for key, value in flags.items()}
    settings = Settings(name, KEYS, values, {key: f"--{key}" for key in KEYS})
    _data(settings, draft)
    _model(draft)
    _augmentation(draft)
    _learning(draft)
    _course(settings, draft, count(ISBI))


def _data(settings: Settings, draft: Draft) -> None:
    draft.set(_PROGRAM, {"data.normalization": "none", "data.split.method": "none", "train.validate_every": None})
    path = Path(settings.text("data_path"))
    if "data_path" not in settings.values:
        return
    if "image" not in path.name:
        raise settings.wrong("data_path", "a folder with 'image' in its name, as train_image beside train_label")
    labels = path.name.replace("image", "label")
    draft.set(
        settings.said("data_path"), {"data.path": str(path.parent), "data.images": path.name, "data.labels": labels}
    )
    if "image" in str(path.parent):
        draft.known_issue(
            settings.said("data_path"),
            "replaces every 'image' of the path by 'label', of the folders above it too, and finds no masks",
            ours="of the last folder alone",
        )


def _model(draft: Draft) -> None:
    fixed = {f"model.{key}": value for key, value in {**MILESIAL.fixed, "conv_bias": True}.items()}
    sizes = {"model.width": 64, "model.depth": 4, "model.in_channels": 1, "model.num_classes": 1}
    draft.set(_PROGRAM, {"model.name": "unet", "model.up": "deconv", **fixed, **sizes})
    draft.known_issue(
        "prediction",
        "cuts the logit at 0.5, which is a probability of 0.62, and writes every image to one and the same file",
        ours="the probability is cut at 0.5, and unetkit predict writes a file an image",
    )


def _augmentation(draft: Draft) -> None:
    kept = draft.known_issue(
        "flips",
        "reverses rows in half the images and never columns, and fails on images wider than 512 pixels",
        ours="rows, columns, both or neither, each as likely",
        bug_compatible="rows alone, at any width",
    )
    draft.set(
        _PROGRAM, {"augment.rotate90": False, "augment.flip": True, "augment.flip_axes": "rows" if kept else "both"}
    )


def _learning(draft: Draft) -> None:
    kept = draft.known_issue(
        "lr 0.0001",
        "never uses it: its Adam learns at 0.001",
        ours="used; optimizer.lr=0.001 is what its results were reached with",
        bug_compatible="0.001",
    )
    draft.set("lr 0.0001, never used" if kept else "lr 0.0001", {"optimizer.lr": 1e-3 if kept else 1e-4})
    draft.set(
        _PROGRAM,
        {
            "loss.cross_entropy": 1.0,
            "loss.dice": 0.0,
            "optimizer.name": "adam",
            "optimizer.betas": [0.9, 0.999],
            "optimizer.eps": 1e-8,
            "optimizer.weight_decay": 0.0,
            "optimizer.schedule": "constant",
            "optimizer.warmup": 0.0,
            "train.precision": "float32",
        },
    )
    draft.known_issue(
        "the best weights",
        "are those of the epoch with the lowest training loss",
        ours="the last; where images are held out, those of the best score",
    )


def _course(settings: Settings, draft: Draft, images: Images) -> None:
    epochs, batch, ranks = settings.whole("epochs"), settings.whole("batch_size"), launched_world().size
    a_pass = -(-images.count // (batch * ranks))
    said = f"{settings.said('epochs', 'batch_size')}: {epochs} x {a_pass} steps ({images.said})"
    draft.set(said, {"train.steps": epochs * a_pass})
    draft.set(
        settings.said("batch_size") + (f" x {ranks} processes" if ranks > 1 else ""), {"train.batch": batch * ranks}
    )
    rows, columns = images.sides
    draft.set("the size of its images", {"train.patch": rows if rows == columns else [rows, columns]})
