"""The MindSpore model zoo's configurations in our terms: its three networks, on ISBI and on folders of images.

What its training does is that of its train.py, src/data_loader.py and src/utils.py. Its random numbers are not
reproduced: runs are alike, not equal.

The MindSpore course's `cfg_unet` in our terms: the zoo's unet_medical on ISBI, with fewer keys and other names.

Its `epochs` is how often the images are repeated in the one epoch that it trains.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from unetkit.distributed import launched_world
from unetkit.errors import ConfigError
from unetkit.legacy.configs.translation import COCO, ISBI, NUCLEI, Count, Draft, LegacyDataset
from unetkit.legacy.configs.values import Settings, checked, near, parse_flags, shown
from unetkit.legacy.configs.zoo_keys import KEYS, zoo_settings
from unetkit.legacy.configs.zoo_training import translate_training
from unetkit.legacy.networks import MEDICAL, NESTED, SIMPLE

SYSTEM = "the MindSpore model zoo"
_PROGRAM = "its program"
_NETWORKS = {"unet_medical": MEDICAL, "unet_simple": SIMPLE, "unet_nested": NESTED}
CROPS = {"augment.crop": 0.3, "augment.brightness": 0.2, "augment.clip": [-1.0, 1.0]}
_SETS: Mapping[str, LegacyDataset] = {"ISBI": ISBI, "COCO": COCO}  # any other name: as large as the nuclei


def translate(
    documents: Sequence[Mapping[str, Any]], words: Sequence[str], *, name: str, draft: Draft, count: Count
) -> None:
    """Translate a file of the zoo and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    settings = zoo_settings(documents, words, name, draft)
    translate_settings(settings, draft, count)
    draft.unused |= dict(settings.leftovers())


def translate_settings(settings: Settings, draft: Draft, count: Count) -> None:
    """Translate checked settings."""
    if not settings.text("model_name"):
        raise settings.wrong("model_name", f"one of {', '.join(KEYS['model_name'].choices)}")
    _data(settings, draft)
    _model(settings, draft)
    if _of_isbi(settings):
        _isbi_images(settings, draft)
    else:
        _folder_images(settings, draft)
    translate_training(settings, draft, count(_SETS.get(settings.text("dataset"), NUCLEI)))


def _of_isbi(settings: Settings) -> bool:
    return settings.text("dataset") == "ISBI"  # all that theirs asks: anything else is multi-class folders


def _data(settings: Settings, draft: Draft) -> None:
    path, annotations = settings.text("data_path"), settings.values.get("anno_json", "")
    if path and path != KEYS["data_path"].default:
        draft.set(settings.said("data_path"), {"data.path": path})
    elif annotations and os.path.isfile(annotations):
        settings.text("anno_json")
        draft.set(settings.said("anno_json"), {"data.path": annotations})
    else:
        draft.unused[settings.label("data_path")] = "names no data; --data does"
    out = settings.text("output_path")
    draft.out = out if out != KEYS["output_path"].default else None
    draft.unused[settings.label("output_path")] = "the run folder, if --out names none" if draft.out else "--out is"
    draft.set(_PROGRAM, {"data.normalization": "minus-one-to-one", "data.resize": "half-pixel"})
    classes = settings.elements("coco_classes")
    if classes is not None and settings.text("dataset") != "COCO":
        draft.unused["coco_classes"] = "of COCO alone"
    elif classes is not None:
        if len(classes) != settings.whole("num_classes"):
            raise settings.wrong("coco_classes", f"{settings.whole('num_classes')} names, as num_classes says")
        draft.set("coco_classes", {"data.classes": [str(name) for name in classes]})


def _model(settings: Settings, draft: Draft) -> None:
    name = settings.text("model_name")
    network = _NETWORKS[name]
    draft.set(
        settings.said("model_name"),
        {
            **{f"model.{key}": value for key, value in {"name": "unet", **network.fixed}.items()},
            "model.width": 64 if name == "unet_medical" else 32,
            "model.depth": 4,
            "model.up": "deconv",
        },
    )
    draft.set(settings.said("num_channels"), {"model.in_channels": settings.whole("num_channels")})
    draft.set(settings.said("num_classes"), {"model.num_classes": settings.whole("num_classes")})
    if name == "unet_nested":
        norm, up = settings.truth("use_bn"), settings.truth("use_deconv")
        draft.set(settings.said("use_ds"), {"model.deep_supervision": settings.truth("use_ds")})
        draft.set(settings.said("use_bn"), {"model.norm": "batch" if norm else "none"})
        draft.set(settings.said("use_deconv"), {"model.up": "deconv" if up else "bilinear-legacy"})
        return
    if name == "unet_simple":
        draft.set(settings.said("model_name"), {"model.norm": "batch"})
    _unread_options(settings, draft)


def _unread_options(settings: Settings, draft: Draft) -> None:
    """Name the options of unet_nested that are given for another network."""
    name = settings.text("model_name")
    for key in ("use_bn", "use_deconv", "use_ds"):
        if key not in settings.values:
            continue
        told = settings.truth(key)
        if key == "use_ds" and told:
            draft.known_issue(
                settings.said(key), f"takes the losses of several heads, and {name} has one", ours="one head, one loss"
            )
        elif key != "use_ds" and not told and name == "unet_simple":
            draft.known_issue(
                settings.said(key), "does not pass it to unet_simple", ours="norm and deconvolution, as theirs"
            )


def _isbi_images(settings: Settings, draft: Draft) -> None:
    """Whole slices, one size for all: resized, for the unpadded network to less than it reads, and zeros round that."""
    fold = settings.whole("cross_valid_ind")
    draft.set(
        settings.said("cross_valid_ind"), {"data.split.folds": 5, "data.split.fold": fold % 5, "data.split.seed": 0}
    )
    draft.set(settings.said("dataset"), {"data.split.method": "mindspore"})
    if "split" in settings.values:
        draft.unused[settings.said("split")] = "of folders of images; ISBI is divided into folds"
    rows, columns = _size(settings, "image_size", (572, 572))
    crop = settings.elements("crop")
    if settings.text("model_name") == "unet_medical":
        if crop is None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives 388 pixels for 572", ours="crop [388, 388]"
            )
        down, across = _size(settings, "crop", (388, 388))
        size = [rows * down // 572, columns * across // 572]
        draft.set(settings.said("crop", "image_size"), {"data.size": size, "data.padding_mode": "zeros"})
    else:
        if crop is not None:
            draft.known_issue(
                settings.said("crop"), "fails: the network gives as many pixels as it reads", ours="no crop"
            )
        draft.set(settings.said("crop", "image_size"), {"data.size": [rows, columns]})
        _require_sixteens(settings, draft, (rows, columns))
    draft.set(settings.said("image_size"), {"train.patch": rows if rows == columns else [rows, columns]})
    _isbi_augmentation(settings, draft, (rows, columns))


def _isbi_augmentation(settings: Settings, draft: Draft, size: tuple[int, int]) -> None:
    on = True
    if settings.values.get("train_augment") is False:
        on = draft.known_issue(
            settings.said("train_augment"),
            "ignores it for ISBI, and augments all the same",
            ours="no augmentation",
            bug_compatible="augmented all the same",
        )
    said = settings.said("train_augment") if "train_augment" in settings.values else _PROGRAM
    draft.set(_PROGRAM, {"augment.rotate90": False})
    draft.set(said, {"augment.flip": on, **(CROPS if on else {})})
    if on and size != (572, 572):
        draft.known_issue(
            settings.said("image_size"),
            "draws its crops for 572 pixels, so that the last rows and columns of larger images are always cut off",
            ours="drawn for the size of the image",
        )


def _folder_images(settings: Settings, draft: Draft) -> None:
    """Whole images of folders, resized to one size; theirs gives it as (columns, rows)."""
    split = settings.number("split")
    if not 0 < split <= 1:
        raise settings.wrong("split", "a share above 0, up to 1 for folders train and val")
    for key in ("cross_valid_ind", "crop"):
        if key in settings.values:
            settings.elements(key)
            draft.unused[settings.label(key)] = f"not read where dataset is {shown(settings.text('dataset'))}"
    if split == 1:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "given"})
    else:
        draft.set(settings.said("dataset", "split"), {"data.split.method": "last"})
        draft.set(settings.said("split"), {"data.split.share": round(1 - split, 9)})
    columns, rows = _size(settings, "image_size", (96, 96))
    patch = rows if rows == columns else [rows, columns]
    draft.set(settings.said("image_size"), {"data.size": [rows, columns], "train.patch": patch})
    if settings.text("model_name") == "unet_medical":
        draft.known_issue(
            settings.said("model_name", "dataset"),
            "fails: the network gives fewer pixels than the masks of folders have",
            ours="the inner part of the masks is learnt",
        )
    else:
        _require_sixteens(settings, draft, (rows, columns))
    _folder_augmentation(settings, draft)
    _folder_masks(settings, draft)


def _folder_augmentation(settings: Settings, draft: Draft) -> None:
    on = settings.truth("train_augment")
    if "train_augment" not in settings.values:
        draft.known_issue("train_augment (not given)", "stops: folders need it", ours="no augmentation")
    said = settings.said("train_augment")
    draft.set(_PROGRAM, {"augment.rotate90": False})
    draft.set(said, {"augment.flip": on})
    if on:
        draft.set(said, {"augment.stretch": [1.0, 1.5]})
        draft.notes.append(
            "flips: theirs leaves half the images, and mirrors the others in rows, columns or both; here each of the "
            "four is as likely"
        )


def _folder_masks(settings: Settings, draft: Draft) -> None:
    if settings.whole("num_classes") > 2:
        draft.known_issue(
            settings.said("num_classes"),
            "interpolates class indices when it resizes masks, so that other classes appear on borders",
            ours="the nearest class",
        )
    else:
        draft.known_issue(
            settings.said("num_classes"),
            "divides a mask by its largest value: 0 / 0 where no object is in it",
            ours="background",
        )


def _require_sixteens(settings: Settings, draft: Draft, size: tuple[int, int]) -> None:
    if any(side % 16 for side in size):
        draft.known_issue(
            settings.said("image_size"), "fails in Concat: sides must be multiples of 16", ours="any size goes through"
        )


def _size(settings: Settings, key: str, default: tuple[int, int]) -> tuple[int, int]:
    """Return two sides of a list."""
    sides = settings.elements(key)
    if sides is None:
        return default
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**20]
    if len(sides) != 2 or len(whole) != 2:
        raise settings.wrong(key, "two sides in pixels, such as [572, 572]")
    return whole[0], whole[1]


SYSTEM_course = "the MindSpore course"
_FLAGS = {"data_url": "data_path", "train_url": "output_path"}
_ZOO_NAMES = {"epochs": "repeat", "batchsize": "batch_size"}
_SAME = (
    "lr",
    "distribute_epochs",
    "cross_valid_ind",
    "num_classes",
    "num_channels",
    "keep_checkpoint_max",
    "weight_decay",
    "loss_scale",
    "FixedLossScaleManager",
    "resume",
    "resume_ckpt",
)
_FIXED = {"model_name": "unet_medical", "crop": (388, 388), "image_size": (572, 572)}
_LABELS = {
    "model_name": "its network",
    "crop": "its crop",
    "image_size": "its size",
    "repeat": "epochs",
    "batch_size": "batchsize",
    "data_path": "--data_url",
    "output_path": "--train_url",
}


def translate_course(
    documents: Sequence[Mapping[str, Any]], words: Sequence[str], *, name: str, draft: Draft, count: Count
) -> None:
    """Translate a `cfg_unet` and the words of its command line.

    Raises:
        ConfigError: a key, flag or value that cannot be.
    """
    theirs = {**_ZOO_NAMES, **{key: key for key in _SAME}}
    given = dict(documents[0])
    if "name" in given:
        draft.unused["name"] = f"{shown(given.pop('name'))}: its program always builds its one U-Net"
    values: dict[str, Any] = {"repeat": 400}
    for key, value in given.items():
        if key in theirs:
            values[theirs[key]] = checked(name, key, value, KEYS[theirs[key]])
        elif guess := near(key, theirs, cutoff=0.8):
            raise ConfigError(f"{name}: unknown key {shown(key)}{guess}")
        else:
            draft.unused[shown(key)] = "the course's program does not read it"
    flags = parse_flags(words, _FLAGS, name=name)
    values |= {_FLAGS[flag]: value for flag, value in flags.items()}
    settings = Settings(name, KEYS, {**values, **_FIXED, **_passes(values)}, _LABELS)
    translate_settings(settings, draft, count)
    draft.unused |= dict(settings.leftovers())


def _passes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes one pass of the repeated images, on however many processes."""
    if launched_world().size == 1:
        return {"epochs": values["repeat"]}
    repeat = values.get("distribute_epochs", KEYS["distribute_epochs"].default)
    return {"run_distribute": True, "repeat": repeat, "distribute_epochs": repeat, "epochs": repeat}
