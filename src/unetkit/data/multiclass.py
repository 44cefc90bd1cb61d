"""Folders of ID/image.png and ID/mask.png, the founding model zoo's multi-class form, also below train/ and val/.

Masks hold 0 and 255 for two classes and class indices for more. Where the data is divided into train/ and val/, the
latter is what the split method 'given' holds out; elsewhere the founding split of 0.8 over the sorted ids is the method
'blocks' with the last of five folds.
"""

from pathlib import Path

from unetkit.config import DataConfig
from unetkit.data.complaints import kept
from unetkit.data.folders import DEFAULT_CLASSES, image_files
from unetkit.data.items import ItemDataset, items_of_pairs
from unetkit.data.masks import MaskMap
from unetkit.data.sample import Dataset
from unetkit.errors import DataError

PARTS = ("train", "val")


def is_multiclass(folder: Path) -> bool:
    """Tell whether a folder, or its train/ or val/, holds folders with an image and a mask."""
    return folder.is_dir() and any(_has_both(inside) for part in _parts(folder) for inside in _folders(part))


def open_multiclass(folder: Path, config: DataConfig) -> Dataset:
    """Open ID/image.* and ID/mask.*, sorted by ID; an ID without an image or a mask becomes a complaint.

    Raises:
        DataError: files of several pages in data that is divided into train/ and val/.
    """
    mask_map = MaskMap.of(config.mask_values, config.classes or DEFAULT_CLASSES)
    parts = _parts(folder)
    pairs: list[tuple[str, Path, Path | None]] = []
    complaints: list[str] = []
    for part in parts:
        for inside in _folders(part):
            name = inside.name if part == folder else f"{part.name}-{inside.name}"
            with kept(complaints):
                pairs.append((name, _only(inside, "image"), _only(inside, "mask")))
    items = items_of_pairs(pairs, mask_map.role, complaints)
    if len(parts) == 1:
        return ItemDataset(items, mask_map, complaints=tuple(complaints))
    if {item.name for item in items} - {name for name, _, _ in pairs}:
        raise DataError(f"{folder}: holds files of several pages; one page an ID was expected")
    held_out = tuple(index for index, item in enumerate(items) if item.name.startswith("val-"))
    return ItemDataset(items, mask_map, held_out, tuple(complaints))


def _parts(folder: Path) -> list[Path]:
    found = [folder / part for part in PARTS if (folder / part).is_dir()]
    return found or [folder]


def _folders(folder: Path) -> list[Path]:
    return sorted(inside for inside in folder.iterdir() if inside.is_dir() and not inside.name.startswith("."))


def _has_both(folder: Path) -> bool:
    return {"image", "mask"} <= {path.stem for path in image_files(folder)}


def _only(folder: Path, stem: str) -> Path:
    found = [path for path in image_files(folder) if path.stem == stem]
    if len(found) != 1:
        what = "no" if not found else f"{len(found)} files named"
        raise DataError(f"{folder}: holds {what} {stem}; one {stem}.png was expected beside the other")
    return found[0]
