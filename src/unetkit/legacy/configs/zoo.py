"""The configurations of MindSpore's model zoo and of its course in our terms: data, network and augmentation.

The zoo has three networks, on ISBI and on folders of images. What its training does is that of its train.py,
src/data_loader.py and src/utils.py. Its random numbers are not reproduced: runs are alike, not equal.

The course's `cfg_unet` is the zoo's unet_medical on ISBI with fewer keys and other names. Its `epochs` is how often the
images are repeated in the one epoch that it trains.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unetkit.distributed import launched_world
from unetkit.errors import ConfigError
from unetkit.legacy.configs.translation import COCO, ISBI, NUCLEI, PROGRAM, Draft, LegacyDataset, System
from unetkit.legacy.configs.values import Values, near, parse_flags, shown
from unetkit.legacy.configs.zoo_keys import ALIASES, README_ALONE, ZooSettings, zoo_settings
from unetkit.legacy.configs.zoo_training import NETWORKS, translate_start, translate_training, translate_validation

CROPS = {"augment.crop": 0.3, "augment.brightness": 0.2, "augment.clip": [-1.0, 1.0]}


def translate(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate a file of the zoo and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    _translate_settings(zoo_settings(documents, words, draft), draft)


def translate_course(draft: Draft, documents: Sequence[Values], words: Sequence[str]) -> None:
    """Translate a `cfg_unet` and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    values: dict[str, Any] = {**_COURSE_FIXED, "repeat": 400}
    for key, value in documents[0].items():
        if key == "name":
            draft.unused[key] = f"{shown(value)}: its program always builds its one U-Net"
        elif key in _COURSE_KEYS:
            values[_COURSE_KEYS[key]] = value
        elif guess := near(key, _COURSE_KEYS, cutoff=0.8):
            raise ConfigError(f"{draft.place}: unknown key {shown(key)}{guess}")
        else:
            draft.unused[shown(key)] = "the course's program does not read it"
    flags = parse_flags(words, _COURSE_FLAGS, draft.place)
    values |= {_COURSE_FLAGS[flag]: value for flag, value in flags.items()}
    settings = ZooSettings.read(values, draft.place, _COURSE_LABELS)
    passes: dict[str, Any] = {"epochs": settings.repeat}  # one pass of the repeated images
    if launched_world().size > 1:
        keys = ("repeat", "epochs", "distribute_epochs")
        passes = {"run_distribute": True, **dict.fromkeys(keys, settings.distribute_epochs)}
    _translate_settings(settings.model_copy(update=passes), draft)
    draft.set(PROGRAM, {"train.log_format": "mindspore-course"})


_COURSE_SAME = (
    *("lr", "distribute_epochs", "cross_valid_ind", "num_classes", "num_channels", "keep_checkpoint_max"),
    *("weight_decay", "loss_scale", "FixedLossScaleManager", "resume", "resume_ckpt"),
)
_COURSE_KEYS = {"epochs": "repeat", "batchsize": "batch_size", **{key: key for key in _COURSE_SAME}}
_COURSE_FLAGS = {"data_url": "data_path", "train_url": "output_path"}
_COURSE_FIXED = {"model_name": "unet_medical", "crop": [388, 388], "image_size": [572, 572]}
_COURSE_LABELS = {
    "model_name": "its network",
    "crop": "its crop",
    "image_size": "its size",
    "repeat": "epochs",
    "batch_size": "batchsize",
    "data_path": "--data_url",
    "output_path": "--train_url",
}
NOT_OF_THE_COURSE = ZooSettings.model_fields.keys() - README_ALONE - {ALIASES.get(key, key) for key in _COURSE_KEYS}
ZOO = System("the MindSpore model zoo", translate)
COURSE = System("the MindSpore course", translate_course)


def _translate_settings(settings: ZooSettings, draft: Draft) -> None:
    draft.set(
        PROGRAM, {"data.normalization": "minus-one-to-one", "data.resize": "half-pixel", "augment.rotate90": False}
    )
    path, out = settings.data_path, settings.output_path
    annotated = _annotated(settings)
    if annotated and not (settings.given("data_path") and os.path.exists(path)):
        draft.set(settings.said("anno_json", "val_anno_json"), {"data.path": annotated})
        if settings.given("data_path"):
            draft.unused[settings.label("data_path")] = "COCO is read where its annotation files lie"
    elif path not in ("", "/cache/data"):
        draft.copy(settings, {"data_path": "data.path"})
    elif settings.given("data_path"):
        draft.unused[settings.label("data_path")] = "of the machines of ModelArts; --data names the data"
    if out not in ("", "/cache/train"):
        draft.out = out
        draft.notes.append(f"{settings.said('output_path')}: the run folder, unless --out names another")
    elif settings.given("output_path"):
        draft.unused[settings.label("output_path")] = "of the machines of ModelArts; --out names the run folder"
    classes = settings.coco_classes
    if classes is not None and settings.dataset == "COCO":
        if len(classes) != settings.num_classes:
            raise settings.wrong("coco_classes", f"{settings.num_classes} names, as num_classes says")
        settings.said("coco_classes")
        draft.set("coco_classes", {"data.classes": [str(name) for name in classes]})
    name, said = settings.model_name, settings.said("model_name")
    network = {f"model.{key}": value for key, value in {"name": "unet", **NETWORKS[name].fixed}.items()}
    width = 64 if name == "unet_medical" else 32
    draft.set(said, {**network, "model.width": width, "model.depth": 4, "model.up": "deconv"})
    draft.copy(settings, {"num_channels": "model.in_channels", "num_classes": "model.num_classes"})
    if name == "unet_nested":
        draft.copy(settings, {"use_ds": "model.deep_supervision"})
        draft.set(settings.said("use_bn"), {"model.norm": "batch" if settings.use_bn else "none"})
        draft.set(settings.said("use_deconv"), {"model.up": "deconv" if settings.use_deconv else "bilinear-legacy"})
    elif settings.given("use_ds") and settings.use_ds:  # one of the others
        draft.known_issue(
            settings.said("use_ds"), f"takes the losses of several heads, and {name} has one", here="one head, one loss"
        )
    if name == "unet_simple":
        draft.set(said, {"model.norm": "batch"})
        for key in ("use_bn", "use_deconv"):
            if not getattr(settings, key):
                draft.known_issue(
                    settings.said(key), "does not pass it to unet_simple", here="norm and deconvolution, as there"
                )
    dataset, translate_images = _DATASETS.get(settings.dataset, (NUCLEI, _translate_folders))
    translate_images(settings, draft)
    steps = translate_training(settings, draft, draft.training_images(dataset))
    translate_validation(settings, draft, steps)
    translate_start(settings, draft)
    draft.network = replace(
        draft.network,
        path=settings.checkpoint_file_path,
        export=settings.file_format.lower() if settings.given("file_format") else "",
        size=(settings.height, settings.width) if settings.height and settings.width else None,
        file_name=settings.file_name,
        own_size=settings.eval_resize,
    )
    draft.unused |= settings.unused(draft.unused)


def _annotated(settings: ZooSettings) -> str:
    """Return where the annotation files of COCO lie: their common folder, or the only one; empty where there is none.

    The split of such data is the one of its makers: what `val_anno_json` describes is held out.

    Raises:
        ConfigError: both exist, in folders that are not one data set's.
    """
    found = [path for path in (settings.anno_json, settings.val_anno_json) if path and os.path.isfile(path)]
    if settings.dataset != "COCO" or len(found) < 2:
        return found[0] if settings.dataset == "COCO" and found else ""
    folders = {os.path.dirname(os.path.abspath(path)) for path in found}
    folder = folders.pop()
    if folders or os.path.basename(folder) != "annotations":
        raise settings.wrong("val_anno_json", f"both files in one folder `annotations`; {shown(found[0])} is the other")
    return os.path.dirname(folder)


def _translate_isbi(settings: ZooSettings, draft: Draft) -> None:
    """Take whole slices, all of one size: for the unpadded network less than it reads, and zeros around that."""
    said, fold = settings.said("cross_valid_ind"), settings.cross_valid_ind % 5
    draft.set(said, {"data.split.folds": 5, "data.split.fold": fold, "data.split.seed": 0})
    draft.set(settings.said("dataset"), {"data.split.method": "mindspore"})
    if settings.given("split"):
        draft.unused[settings.said("split")] = "of folders of images; ISBI is divided into folds"
    rows, columns = _sides(settings, "image_size", (572, 572))
    crop, said = settings.crop, settings.said("crop", "image_size")
    if settings.model_name == "unet_medical":
        if crop is None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives 388 pixels for 572", here="crop [388, 388]"
            )
        down, across = _sides(settings, "crop", (388, 388))
        draft.set(said, {"data.size": [rows * down // 572, columns * across // 572], "data.padding_mode": "zeros"})
    else:
        if crop is not None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives as many pixels as it reads", here="no crop"
            )
        draft.set(said, {"data.size": [rows, columns]})
        _note_sixteens(settings, draft, rows, columns)
    said, augmented = settings.said("image_size"), True
    draft.set(said, {"train.patch": rows if rows == columns else [rows, columns]})
    if settings.given("train_augment") and not settings.train_augment:
        augmented = draft.known_issue(
            settings.said("train_augment"),
            "ignores it for ISBI, and augments all the same",
            here="no augmentation",
            bug_compatible="augmented all the same",
        )
    origin = settings.said("train_augment") if settings.given("train_augment") else PROGRAM
    draft.set(origin, {"augment.flip": augmented, **(CROPS if augmented else {})})
    if augmented and (rows, columns) != (572, 572):
        draft.known_issue(
            said,
            "draws its crops for 572 pixels, so that the last rows and columns of larger images are always cut off",
            here="drawn for the size of the image",
        )


def _translate_folders(settings: ZooSettings, draft: Draft) -> None:
    """Take whole images of folders, resized to one size, which the original gives as (columns, rows)."""
    if not 0 < settings.split <= 1:
        raise settings.wrong("split", "a share above 0, up to 1 for folders train and val")
    reason = f"not read where dataset is {shown(settings.dataset)}"
    draft.unused |= {settings.label(key): reason for key in ("cross_valid_ind", "crop") if settings.given(key)}
    if settings.split == 1 and _annotated(settings).endswith(".json"):
        draft.set(settings.said("dataset", "split", "anno_json"), {"data.split.method": "none"})
        draft.notes.append("val_anno_json is not there: nothing is held out, and nothing scored")
    elif settings.split == 1:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "given"})
    else:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "last"})
        draft.set(settings.said("split"), {"data.split.share": round(1 - settings.split, 9)})
    columns, rows = _sides(settings, "image_size", (96, 96))
    patch = rows if rows == columns else [rows, columns]
    draft.set(settings.said("image_size"), {"data.size": [rows, columns], "train.patch": patch})
    if settings.model_name == "unet_medical":
        draft.known_issue(
            settings.said("model_name", "dataset"),
            "fails: the network gives fewer pixels than the masks of folders have",
            here="the inner part of the masks is learnt",
        )
    else:
        _note_sixteens(settings, draft, rows, columns)
    if not settings.given("train_augment"):
        draft.known_issue("train_augment (not given)", "stops: folders need it", here="no augmentation")
    draft.copy(settings, {"train_augment": "augment.flip"})
    if settings.train_augment:
        draft.set(settings.said("train_augment"), {"augment.stretch": [1.0, 1.5]})
        draft.notes.append(
            "flips: its program leaves half the images, and mirrors the others in rows, columns or both; here each of "
            "the four is as likely"
        )
    said = settings.said("num_classes")
    if settings.num_classes > 2:
        issue = "interpolates class indices when it resizes masks, so that other classes appear on borders"
        draft.known_issue(said, issue, here="the nearest class")
    else:
        issue = "divides a mask by its largest value: 0 / 0 where no object is in it"
        draft.known_issue(said, issue, here="background")


# Whatever is not called ISBI is folders of images for its program; those of another name count as the nuclei do.
_DATASETS: Mapping[str, tuple[LegacyDataset, Callable[[ZooSettings, Draft], None]]] = {
    "ISBI": (ISBI, _translate_isbi),
    "COCO": (COCO, _translate_folders),
}


def _note_sixteens(settings: ZooSettings, draft: Draft, rows: int, columns: int) -> None:
    if rows % 16 or columns % 16:
        draft.known_issue(
            settings.said("image_size"), "fails in Concat: sides must be multiples of 16", here="any size goes through"
        )


def _sides(settings: ZooSettings, key: str, default: tuple[int, int]) -> tuple[int, int]:
    """Return the two sides that a list gives."""
    sides = getattr(settings, key)
    if sides is None:
        return default
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**20]
    if len(sides) != 2 or len(whole) != 2:
        raise settings.wrong(key, "two sides in pixels, such as [572, 572]")
    return whole[0], whole[1]
