"""A labelling project: a folder next to the images, with what is painted on them and what is trained on it.

    FOLDER/
      project.json        the images, the classes and their colours, whether a training starts by itself
      journal.jsonl       every stroke (see `strokes`): all else follows from it
      labels/             NAME.png, or NAME.tif of a stack: 0 not painted, 1 the first class, 2 the second, ...
      trained/ held-out/  likewise: 255 where painted pixels are trained on, or held out
      parts/              the pixels of parts of large pages that are painted on
      data.csv            an ordinary list of these files: `train`, `evaluate`, `report` and `data check` read it
      config.yaml         an ordinary configuration with this list: `unetkit train FOLDER/config.yaml --out RUN`
      run-1/ ...          ordinary runs: what the page trains; another one begins where the classes change

Masks that are there already are taken over as if they had been painted. Their files and the images are never written
to. An image stays where it is; its pages are held as labels, 8 bits a pixel, once they were painted on. An image whose
pages are large is painted on in parts, each an image of the project: so are memory and time those of a part, whatever
its size. Files of labels are written from the journal: whatever else writes to them is lost.
"""

import csv
import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from io import BytesIO, StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError

from unetkit.config import Config, DataConfig, load_config
from unetkit.config.io import annotated_yaml, first_complaint
from unetkit.data.channels import in_one_form
from unetkit.data.dataset import Dataset, ItemDataset, name_of
from unetkit.data.layouts import open_images, open_usable
from unetkit.data.layouts.mask_files import image_files, is_mask_name, sample_names
from unetkit.data.layouts.names import Name
from unetkit.data.targets import components
from unetkit.errors import DataError, UsageError
from unetkit.images import is_zarr, open_image
from unetkit.images.image import Image, as_pixels
from unetkit.images.write import Form, tiff_stack, to_png
from unetkit.labelling.strokes import UNCHANGED, Follower, Journal, Labels, Painting, Place, Stroke
from unetkit.storage.atomic import atomic_write, make_folder, not_written, write_json
from unetkit.storage.lock import locked

COLOURS = ("#2f6fde", "#f08a24", "#2aa876", "#d6336c", "#8e5bd9", "#c9a400", "#17a2b8", "#7d8597")
"""Of the classes, in turn."""

FIRST_CLASSES = ("background", "foreground")

_MOST_CLASSES = 250
_LARGEST_PAGE = 2**24
"""Pixels of a page that is painted on as a whole."""

PART = 2048
"""Rows and columns of the parts of a larger one."""

_FOLDER, _BESIDE = "unetkit-labels", "-labels"
_PROJECT, _JOURNAL = "project.json", "journal.jsonl"


@dataclass(frozen=True, slots=True)
class LabelClass:
    """A class that is painted.

    Attributes:
        name: as runs and masks have it.
        colour: as #rrggbb.
    """

    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image of a project.

    Attributes:
        name: unique in the project, and safe as a file name.
        path: of its file.
        whole: the file, opened.
        part: top, left, height and width of the part of its pages that this is; None: they are no parts.
    """

    name: str
    path: Path
    whole: Image
    part: tuple[int, int, int, int] | None = None

    @property
    def image(self) -> Image:
        """What is painted on."""
        if self.part is None:
            return self.whole
        top, left, height, width = self.part
        return self.whole.part(slice(top, top + height), slice(left, left + width))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its pages."""
        return self.image.height, self.image.width

    @property
    def file_name(self) -> str:
        """The name of the file of its labels."""
        return f"{self.name}.{'png' if self.image.count == 1 else 'tif'}"

    def pixels(self, page: int) -> NDArray[Any]:
        """Return the pixels [C, H, W] of a page, as samples have them.

        Raises:
            DataError: they cannot be read.
        """
        return as_pixels(self.image.read(page), self.image.source)


class _StoredClass(BaseModel):
    name: Annotated[str, Field(min_length=1)]
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class _StoredImage(BaseModel):
    name: Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")]  # files of labels are called so
    path: str
    size: tuple[int, int]
    part: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] | None = None


class _Stored(BaseModel):
    version: Literal[1]
    classes: Annotated[list[_StoredClass], Field(min_length=2, max_length=_MOST_CLASSES)]
    images: Annotated[list[_StoredImage], Field(min_length=1)]
    automatic: bool = False


class Row(NamedTuple):
    """A row of an ordinary list of images: paths, the part of the set, and the pixels that count."""

    image: str
    label: str
    split: str
    roi: str


def as_csv(rows: Sequence[Row]) -> str:
    """Return the list as a .csv."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([Row._fields, *rows])
    return text.getvalue()


@dataclass(frozen=True)
class Contents:
    """What project.json says.

    Attributes:
        folder: of the project.
        classes: that are painted.
        images: that are painted on.
        automatic: a training starts by itself when painting pauses.
    """

    folder: Path
    classes: tuple[LabelClass, ...]
    images: tuple[ProjectImage, ...]
    automatic: bool = False

    @property
    def name(self) -> str:
        """What the project is called: as the folder of its images, or as their one file."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == _FOLDER else folder.name.removesuffix(_BESIDE)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each image's pages."""
        return tuple(one.size for one in self.images)

    @property
    def journal(self) -> Path:
        """The file of the strokes."""
        return self.folder / _JOURNAL

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every page of every image."""
        return tuple((number, page) for number, one in enumerate(self.images) for page in range(one.image.count))

    def pixels_of(self, one: ProjectImage) -> Path:
        """Return the file that has an image's pixels alone."""
        return one.path if one.part is None else self.folder / "parts" / f"{one.name}.tif"

    def sample_name(self, place: Place) -> str:
        """Return the name of a page: that of its image, or `stack[07]`."""
        image, page = place
        one = self.images[image]
        digits = max(2, len(str(one.image.count - 1)))
        return one.name if one.image.count == 1 else f"{one.name}[{page:0{digits}}]"

    def rows(self, painting: Painting, start: Path) -> list["Row"]:
        """Return the rows of a list of the images that are painted on: trained on, and held out where anything is.

        Paths are relative to the folder `start`.
        """
        found: list[Row] = []
        for number in sorted({image for image, _ in painting.pages}):
            one = self.images[number]
            files = [
                self.pixels_of(one),
                *(self.folder / part / one.file_name for part in ("labels", "trained", "held-out")),
            ]
            path, label, trained, held = (os.path.relpath(file, start) for file in files)
            found.append(Row(path, label, "train", trained))
            if any((windows == 2).any() for (image, _), windows in painting.windows.items() if image == number):
                found.append(Row(path, label, "val", held))
        return found

    def config(self, data: Path, *, held_out: bool, overrides: Sequence[str] = ()) -> Config:
        """Return the ordinary configuration of a training on what is painted; `data` is the list of the images."""
        values = {"0": "ignore", **{str(index + 1): index for index in range(len(self.classes))}}
        found: dict[str, Any] = {
            "data.path": str(data.resolve()),
            "data.mask_values": values,
            "data.classes": [one.name for one in self.classes],
            "data.split.method": "given" if held_out else "none",
        }
        return load_config("label", [*(f"{key}={json.dumps(value)}" for key, value in found.items()), *overrides])

    def save(self) -> None:
        """Write project.json.

        Raises:
            StorageError: the disk did not take it.
        """
        images = [
            {
                "name": one.name,
                "path": os.path.relpath(one.path, self.folder),
                "size": [one.whole.height, one.whole.width],
                **({} if one.part is None else {"part": list(one.part)}),
            }
            for one in self.images
        ]
        classes = [asdict(one) for one in self.classes]
        content = {"version": 1, "classes": classes, "automatic": self.automatic, "images": images}
        write_json(self.folder / _PROJECT, content)

    @classmethod
    def read(cls, folder: Path) -> "Contents":
        """Read project.json and the headers of its images.

        Raises:
            DataError: it is damaged, or an image is missing or has another size than it had.
        """
        file = folder / _PROJECT
        try:
            stored = _Stored.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            what = first_complaint(error) if isinstance(error, ValidationError) else str(error)
            raise DataError(f"{file}: cannot be read ({what}); bring it back from a copy") from error
        names = [one.name for one in stored.images]
        if len({one.name for one in stored.classes}) < len(stored.classes) or len(set(names)) < len(names):
            raise DataError(f"{file}: names a class or an image twice; bring it back from a copy")
        paths = {one.path: Path(os.path.normpath(folder / one.path)) for one in stored.images}
        opened = dict(zip(paths, _opened(list(paths.values())), strict=True))
        for one in stored.images:
            height, width = opened[one.path].height, opened[one.path].width
            if one.size != (height, width):
                raise DataError(
                    f"{paths[one.path]}: has {height} x {width} px (rows x columns), but what is painted on it was "
                    f"painted on {one.size[0]} x {one.size[1]}; bring that file back, or begin another project"
                )
            if one.part and not (one.part[0] + one.part[2] <= height and one.part[1] + one.part[3] <= width):
                raise DataError(f"{file}: {one.name} is no part of its image; bring it back from a copy")
        images = tuple(ProjectImage(one.name, paths[one.path], opened[one.path], one.part) for one in stored.images)
        return cls(folder, tuple(LabelClass(one.name, one.colour) for one in stored.classes), images, stored.automatic)


def project_folder(path: Path) -> Path:
    """Return the folder of the project of a data set: in its folder, or next to its file."""
    if path.is_dir() and not is_zarr(path):
        return path / _FOLDER
    return path.with_name(f"{path.name.partition('.')[0]}{_BESIDE}")


class Project:
    """A project that is open to be painted in; one process at a time has it."""

    def __init__(self, contents: Contents) -> None:
        """Take the project's lock and read its journal.

        Raises:
            UsageError: another process has it open.
            StorageError: it cannot be written to.
            DataError: the journal is damaged.
        """
        self.contents = contents
        self.changing = threading.RLock()  # is held while the labels change
        self.painting = Painting(contents.sizes)
        with ExitStack() as held:
            try:
                held.enter_context(locked(contents.folder / ".lock"))
            except BlockingIOError:
                raise UsageError(
                    f"{contents.folder}: is open in another `unetkit label`; paint there, or stop it first"
                ) from None
            except OSError as error:
                raise not_written(contents.folder, error) from error
            self._journal = Journal(contents.journal)
            held.callback(self._journal.close)
            follower = Follower(contents.journal)
            for stroke in follower.new():
                try:
                    self._require_fitting(stroke)
                except UsageError as error:
                    place = f"{contents.journal}, line {follower.line}"
                    raise DataError(f"{place}: {error}; bring it back from a copy, or delete that line") from error
                self.painting.apply(stroke)
            self._held = held.pop_all()
        self._changed = {image for image, _ in self.painting.pages}

    def paint(self, stroke: Stroke) -> bool:
        """Add a stroke; it is on the disk when this returns. Return whether it is new: one that was sent again is not.

        Raises:
            UsageError: no such page, a box outside it, or a class that there is not.
            StorageError: the disk did not take it; nothing changed.
        """
        self._require_fitting(stroke)
        with self.changing:
            if stroke.number <= self.painting.numbers.get(stroke.session, 0):
                return False
            self._journal.append(stroke)
            self.painting.apply(stroke)
            self._changed.add(stroke.place[0])
        return True

    def _require_fitting(self, stroke: Stroke) -> None:
        """Refuse a stroke that is not of a page, a box and classes of this project."""
        image, page = stroke.place
        if not (0 <= image < len(self.contents.images) and 0 <= page < self.contents.images[image].image.count):
            raise UsageError(f"image {image}, page {page}: there is no such page in this project")
        labels = stroke.labels
        values = labels[labels != UNCHANGED]
        if values.size and values.max() > len(self.contents.classes):
            raise UsageError(f"a stroke of class {values.max()}; there are {len(self.contents.classes)} classes")
        self.painting.box(stroke, labels)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Name and colour the classes anew; none that was painted may go.

        Raises:
            UsageError: fewer than two, names that are empty or equal, or a class that was painted is missing.
            StorageError: the disk did not take it.
        """
        names = [one.name.strip() for one in classes]
        if len(names) < 2 or not all(names) or len(set(names)) < len(names) or len(names) > _MOST_CLASSES:
            raise UsageError(f"classes {', '.join(names)}: 2 to {_MOST_CLASSES} different names were expected")
        with self.changing:
            used = max((int(page.max()) for page in self.painting.pages.values()), default=0)
            if used > len(names):
                raise UsageError(f"{len(names)} classes, but class {used} is painted; erase it first, or keep it")
            self._save(replace(self.contents, classes=tuple(classes)))
            self._changed |= {image for image, _ in self.painting.pages}

    def set_automatic(self, automatic: bool) -> None:
        """Let a training start by itself when painting pauses, or not.

        Raises:
            StorageError: the disk did not take it; nothing changed.
        """
        with self.changing:
            self._save(replace(self.contents, automatic=automatic))

    def _save(self, contents: Contents) -> None:
        contents.save()
        self.contents = contents

    def write(self) -> None:
        """Bring the files of labels, the list and config.yaml up to date.

        Raises:
            StorageError: the disk did not take one; the journal has everything.
        """
        with self.changing:
            changed, contents = sorted(self._changed), self.contents
            for image in changed:
                self._write_image(image)
                self._changed.discard(image)
            if not changed:
                return
            rows = contents.rows(self.painting, contents.folder)
            atomic_write(contents.folder / "data.csv", as_csv(rows))
            held = any(row.split == "val" for row in rows)
            config = contents.config(contents.folder / "data.csv", held_out=held)
            atomic_write(contents.folder / "config.yaml", annotated_yaml(config))

    def close(self) -> None:
        """Write what is not written, and let others in."""
        with self.changing:
            try:
                self.write()
            finally:
                self._held.close()

    def _write_image(self, image: int) -> None:
        """Write the labels of an image, and which of them are trained on and held out."""
        one, painting = self.contents.images[image], self.painting
        places = [(image, page) for page in range(one.image.count)]
        helds = [painting.held_out(place) for place in places]
        pixels = self.contents.pixels_of(one)
        if not pixels.exists():
            make_folder(pixels.parent)
            channels = tuple(f"channel {number + 1}" for number in range(one.image.channels))
            with tiff_stack(pixels, Form.like(one.image, one.image.dtype, channels, None)) as file:
                for _, page in places:
                    file.put(page, 0, 0, one.image.read(page))
        for folder, pages in {
            "labels": [painting.at(place) for place in places],
            "trained": [np.where(held, np.uint8(0), np.uint8(255)) for held in helds],
            "held-out": [np.where(held, np.uint8(255), np.uint8(0)) for held in helds],
        }.items():
            make_folder(self.contents.folder / folder)
            if one.image.count == 1:
                content = to_png(pages[0])
            else:
                file = BytesIO()
                tifffile.imwrite(
                    file, np.stack(pages), compression="zlib", photometric="minisblack", metadata={"axes": "ZYX"}
                )
                content = file.getvalue()
            atomic_write(self.contents.folder / folder / one.file_name, content)


def open_project(
    path: Path, *, classes: Sequence[str] | None = None, folder: Path | None = None, masks: bool = True
) -> Project:
    """Open the project of a data set, or begin it.

    Args:
        path: a folder of images, with or without masks, an image file or stack, or an OME-Zarr.
        classes: names of the classes of a new project; None: those of its masks, else background and foreground.
        folder: of the project; None: `unetkit-labels` in the data set's folder, or `NAME-labels` next to its file.
        masks: take over masks that are there already.

    Raises:
        DataError: no images, or none that can be read.
        UsageError: another process has it open, or it has other classes.
        StorageError: it cannot be written to.
    """
    folder = folder or project_folder(path)
    if (folder / _PROJECT).is_file():
        contents = Contents.read(folder)
        if classes is not None and list(classes) != [one.name for one in contents.classes]:
            there = ", ".join(one.name for one in contents.classes)
            raise UsageError(f"{folder}: has the classes {there}; change them in the page, or leave --classes out")
        return Project(contents)
    paths, labelled = _found(path, classes, masks=masks)
    names = tuple(classes or (labelled.classes if labelled else ())) or FIRST_CLASSES
    if not 2 <= len(names) <= _MOST_CLASSES or len(set(names)) < len(names):
        raise UsageError(f"{', '.join(names)}: 2 to {_MOST_CLASSES} different classes were expected")
    names_of_images = sample_names([Name(str(one.relative_to(one.anchor))) for one in map(Path.absolute, paths)])
    images = tuple(
        one
        for name, path, image in zip(names_of_images, paths, _opened(paths), strict=True)
        for one in _parts(name, path, image)
    )
    made = tuple(LabelClass(name, COLOURS[index % len(COLOURS)]) for index, name in enumerate(names))
    make_folder(folder)
    contents = Contents(folder, made, images)
    project = Project(contents)
    if labelled is not None:
        _take_over(project, labelled)  # where a start was killed, what is missing
    contents.save()  # at last: a start that was killed begins again
    return project


def _take_over(project: Project, labelled: Dataset) -> None:
    """Paint the masks of a data set."""
    images = project.contents.images
    pages, number = Counter[str](), 0
    for index in range(len(labelled)):
        sample = labelled[index]
        if sample.labels is None:
            continue
        painted = (sample.labels + 1).astype(np.uint8)
        painted = painted if sample.valid is None else np.where(sample.valid, painted, np.uint8(0))
        for image in [place for place, one in enumerate(images) if str(one.path) == sample.source]:
            number += 1
            top, left, height, width = images[image].part or (0, 0, *painted.shape)
            content = to_png(np.ascontiguousarray(painted[top : top + height, left : left + width]))
            project.paint(Stroke((image, pages[sample.source]), 0, 0, content, "masks", number))
        pages[sample.source] += 1


def _found(path: Path, classes: Sequence[str] | None, *, masks: bool) -> tuple[list[Path], Dataset | None]:
    """Return the images at a path, and the data set of those with masks; None where there are none."""
    config = DataConfig(unlabelled="skip", classes=None if classes is None else tuple(classes))
    labelled: Dataset | None = None
    if masks:
        with suppress(DataError):
            labelled = open_usable(path, config=config)
    if is_zarr(path) or path.is_file():
        return [path], labelled
    if labelled is None:
        items = cast(ItemDataset, open_images(path)).items
        return list(dict.fromkeys(Path(one.source) for one in items)), None
    sources = dict.fromkeys(Path(name_of(labelled, index)[1]) for index in range(len(labelled)))
    taken: set[str] = set()
    if isinstance(labelled, ItemDataset):
        stored = [mask for one in labelled.items for mask in (*one.masks, *([one.region] if one.region else []))]
        taken = {mask.source for mask in stored}
    folders = dict.fromkeys(source.parent for source in sources)
    beside = [file for folder in folders for file in image_files(folder) if str(file) not in taken]
    if isinstance(labelled, ItemDataset):
        sources |= dict.fromkeys(file for file in beside if not is_mask_name(file))
    return sorted(sources), labelled


def _opened(paths: Sequence[Path]) -> list[Image]:
    """Open the files of a project in one form.

    Raises:
        DataError: one cannot be read, or has other channels than the others.
    """
    images, _ = in_one_form([open_image(path) for path in paths], None)
    for image in images:
        if image.channels != images[0].channels:
            raise DataError(
                f"{image.source}: has {image.channels} channels, but {images[0].source} has {images[0].channels}; one "
                "network cannot take both: label them in two projects"
            )
    return list(images)


def _parts(name: str, path: Path, image: Image) -> list[ProjectImage]:
    """Return a file as what is painted on: itself, or the parts of its pages, row by row."""
    if image.height * image.width <= _LARGEST_PAGE:
        return [ProjectImage(name, path, image)]
    tops, lefts = range(0, image.height, PART), range(0, image.width, PART)
    return [
        ProjectImage(
            f"{name}-{row + 1:0{len(str(len(tops)))}}-{column + 1:0{len(str(len(lefts)))}}",
            path,
            image,
            (top, left, min(PART, image.height - top), min(PART, image.width - left)),
        )
        for row, top in enumerate(tops)
        for column, left in enumerate(lefts)
    ]


def run_folders(folder: Path) -> list[Path]:
    """Return the runs of a project, the oldest first."""
    found = [path for path in folder.glob("run-*") if path.name.removeprefix("run-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("run-")))


def accepted(
    project: Project,
    place: Place,
    predicted_HW: Labels,
    whose: tuple[str, int],
    *,
    box: tuple[int, int, int, int] | None = None,
    point: tuple[int, int] | None = None,
) -> Stroke:
    """Return the stroke that takes a prediction as painted where nothing is painted yet.

    Args:
        project: the project.
        place: the image and the page.
        predicted_HW: classes, from 0.
        whose: session of the page that asks, and number of the stroke.
        box: top, left, height and width of a part; None: by the point.
        point: row and column: what is connected with it and of its class is taken.

    Raises:
        UsageError: neither or both are given, or they lie outside the page.
    """
    height, width = predicted_HW.shape
    if (box is None) == (point is None):
        raise UsageError("accept takes a box or a region, and not both")
    if box is not None:
        top, left, rows, columns = box
        if min(top, left, rows - 1, columns - 1) < 0 or top + rows > height or left + columns > width:
            raise UsageError(f"the box {list(box)} lies outside a page of {height} x {width} px")
        inside = np.ones((rows, columns), bool)
        where = slice(top, top + rows), slice(left, left + columns)
    else:
        assert point is not None
        if not (0 <= point[0] < height and 0 <= point[1] < width):
            raise UsageError(f"the point {list(point)} lies outside a page of {height} x {width} px")
        regions = components((predicted_HW == predicted_HW[point]).astype(np.uint8))
        inside_HW = regions == regions[point]
        down, across = (np.flatnonzero(inside_HW.any(axis)) for axis in (1, 0))
        where = slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)
        inside = inside_HW[where]
    with project.changing:
        free = inside & (project.painting.at(place)[where] == 0)
    labels = np.where(free, predicted_HW[where] + np.uint8(1), np.uint8(UNCHANGED)).astype(np.uint8)
    return Stroke(place, where[0].start, where[1].start, to_png(labels), *whose)
