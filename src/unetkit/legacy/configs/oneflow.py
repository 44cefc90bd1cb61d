"""OneFlow's U-Net in our terms: the flags of its TrainUnetDataSet.py.

It has no configuration file. Its images lie in a folder with "image" in its name, its masks in the folder that is
called the same with "label".
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from unetkit.distributed import launched_world
from unetkit.errors import UsageError
from unetkit.legacy.configs.translation import ISBI, PROGRAM, Draft, Settings, System, Text, Values, Whole, parse_flags
from unetkit.legacy.networks import MILESIAL

_FIXED = {
    "data.normalization": "none",
    "data.split.method": "none",
    "model.name": "unet",
    **{f"model.{key}": value for key, value in MILESIAL.fixed.items()},
    "model.conv_bias": True,
    "model.up": "deconv",
    "model.width": 64,
    "model.depth": 4,
    "model.in_channels": 1,
    "model.num_classes": 1,
    "augment.rotate90": False,
    "augment.flip": True,
    "loss.cross_entropy": 1.0,
    "loss.dice": 0.0,
    "optimizer.name": "adam",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.0,
    "optimizer.schedule": "constant",
    "optimizer.warmup": 0.0,
    "train.precision": "float32",
    "train.best_metric": "soft_dice_two_class",
    "train.metrics": ["legacy"],
    "train.log_format": "oneflow",
    "train.validate_every": None,
}
_PREDICTION = ("checkpoint", "Test_Data_path", "save_res_path")


class OneFlowSettings(Settings):
    """The flags of its training."""

    data_path: Text = "train_image"
    epochs: Whole = Field(default=40, ge=1)
    batch_size: Whole = Field(default=1, ge=1)


def translate(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate the words of its command line; it has no documents.

    Raises:
        ConfigError: a flag or a value that cannot be.
        UsageError: flags of its program that predicts.
    """
    flags = parse_flags(words, [*OneFlowSettings.model_fields, *_PREDICTION], draft.place)
    if foreign := [flag for flag in flags if flag in _PREDICTION]:
        raise UsageError(
            f"{draft.place}: --{foreign[0]} is of predict_unet_test.py; write: unetkit predict MODEL INPUT --out FOLDER"
        )
    settings = OneFlowSettings.read(flags, draft.place, {key: f"--{key}" for key in OneFlowSettings.model_fields})
    draft.set(PROGRAM, _FIXED)
    if settings.given("data_path"):
        path, said = Path(settings.data_path), settings.said("data_path")
        if "image" not in path.name:
            raise settings.wrong("data_path", "a folder with 'image' in its name, as train_image next to train_label")
        labels = path.name.replace("image", "label")
        draft.set(said, {"data.path": str(path.parent), "data.images": path.name, "data.labels": labels})
        if "image" in str(path.parent):
            draft.known_issue(
                said,
                "replaces every 'image' of the path by 'label', of the folders above it too, and finds no masks",
                here="of the last folder alone",
            )
    draft.known_issue(
        "prediction",
        "cuts the logit at 0.5, which is a probability of 0.62, and writes every image to one and the same file",
        here="the probability is cut at 0.5, and unetkit predict writes a file an image",
    )
    rows_alone = draft.known_issue(
        "flips",
        "reverses rows in half the images and never columns, and fails on images wider than 512 pixels",
        here="rows, columns, both or neither, each as likely",
        bug_compatible="rows alone, at any width",
    )
    draft.set(PROGRAM, {"augment.flip_axes": "rows" if rows_alone else "both"})
    adams_own = draft.known_issue(
        "lr 0.0001",
        "never uses it: its Adam learns at 0.001",
        here="used; optimizer.lr=0.001 is what its results were reached with",
        bug_compatible="0.001",
    )
    draft.set("lr 0.0001, never used" if adams_own else "lr 0.0001", {"optimizer.lr": 1e-3 if adams_own else 1e-4})
    draft.known_issue(
        "the best weights",
        "keeps those of the epoch with the lowest training loss",
        here="the last; where images are held out, those of the best score",
    )
    images, ranks = draft.training_images(ISBI), launched_world().size
    epoch = -(-images.count // (settings.batch_size * ranks))
    said = f"{settings.said('epochs', 'batch_size')}: {settings.epochs} x {epoch} steps ({images.said})"
    draft.set(said, {"train.steps": settings.epochs * epoch})
    draft.set_batch(settings, "batch_size", ranks)
    draft.set_patch("the size of its images", *images.sides)


SYSTEM = System("OneFlow's U-Net", translate)
