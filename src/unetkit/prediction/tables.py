"""Tables of objects as CSV or Parquet: a row for each, with its class, size, certainty and place.

`page`, `row` and `column` are means over an object's pixels, the other places its first and last ones; all count from
0. `probability` is the mean that its pixels are not background. Where the image tells the size of its pixels, the
means follow in that unit, and the area, or for objects through slices the volume: `x_micrometer`, `area_micrometer2`.
"""

import csv
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.formats.runtime import required
from unetkit.images.blocks import Block
from unetkit.images.write import Form
from unetkit.prediction.labels import Parts, summed_up
from unetkit.prediction.results import Found, Sink
from unetkit.storage.atomic import atomic_path

Table = dict[str, list[Any]]

_WORDS = ("image", "class")
_WHOLE = ("label", "pixels", "first_page", "last_page", "top", "bottom", "left", "right")
"""The columns of whole numbers; what is in neither holds floats."""


def table(objects: Parts, classes: Sequence[str], form: Form, *, through_depth: bool = False) -> Table:
    """Return the columns of a table of objects, which are numbered in their order.

    Args:
        objects: of an image.
        classes: their names.
        form: of the image: its axes and its pixel size.
        through_depth: whether objects go through slices.
    """
    sizes, means = objects.sizes, (objects.pages, objects.rows, objects.columns)
    places: dict[str, NDArray[np.float64]] = {
        name: sums / objects.sizes for name, sums in zip(("page", "row", "column"), means, strict=True)
    }
    found: Table = {
        "label": list(range(1, len(objects) + 1)),
        "class": [classes[kind] for kind in objects.kinds],
        "pixels": sizes.astype(np.int64).tolist(),
        "probability": (objects.certain / sizes).round(4).tolist(),
    } | {name: place.round(4).tolist() for name, place in places.items()}
    for number, (first, last) in enumerate((("first_page", "last_page"), ("top", "bottom"), ("left", "right"))):
        found |= {first: objects.low[:, number].tolist(), last: objects.high[:, number].tolist()}
    step = {axis: size for axis, size in form.pixel_size.items() if size.unit}
    known = [axis for axis in ("yx" if [axis for axis, _ in form.page_axes] != ["z"] else "zyx") if axis in step]
    for axis in known:
        place = places[{"z": "page", "y": "row", "x": "column"}[axis]]
        found[f"{axis}_{step[axis].unit}"] = (place * step[axis].size).tolist()
    spread = "zyx" if through_depth else "yx"
    if set(spread) <= set(known) and len({step[axis].unit for axis in spread}) == 1:
        name = f"{'volume' if through_depth else 'area'}_{step['x'].unit}{len(spread)}"
        found[name] = (sizes * np.prod([step[axis].size for axis in spread])).tolist()
    return found


def write_table(path: Path, columns: Table) -> None:
    """Write a table, as Parquet where the ending says so, else as CSV.

    Raises:
        UsageError: pyarrow is not installed.
        StorageError: the disk did not take it.
    """
    if path.suffix.lower() == ".parquet":
        arrow, parquet = required("pyarrow", "parquet"), required("pyarrow.parquet", "parquet")
        # The types are named, because those of a table without objects cannot be found from its values.
        types = dict.fromkeys(columns, arrow.float64()) | dict.fromkeys(_WORDS, arrow.string())
        types |= dict.fromkeys(_WHOLE, arrow.int64())
        schema = arrow.schema([(name, types[name]) for name in columns])
        with atomic_path(path) as temporary:
            parquet.write_table(arrow.table(columns, schema=schema), temporary)
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@contextmanager
def table_file(path: Path, classes: Sequence[str]) -> Generator[Sink]:
    """Give what collects the objects of images in a table, whose first column is the image's file.

    Raises:
        UsageError: pyarrow is not installed, and a Parquet file is asked for.
        StorageError: the disk did not take it.
    """
    if path.suffix.lower() == ".parquet":
        required("pyarrow.parquet", "parquet")
    sink = _Table(classes)
    yield sink
    names = dict.fromkeys(name for page in sink.pages for name in page)
    rows = [len(page["label"]) for page in sink.pages]
    columns = {
        name: [value for page, count in zip(sink.pages, rows, strict=True) for value in page.get(name, [None] * count)]
        for name in names
    }
    write_table(path, columns | {"label": [number for count in rows for number in range(1, count + 1)]})


@dataclass(frozen=True, slots=True)
class _Table:
    classes: Sequence[str]
    pages: list[Table] = field(default_factory=list[Table])

    def put(self, found: Found) -> None:
        objects, (height, width) = found.objects, found.objects.ids.shape
        block = Block(found.page, slice(0, height), slice(0, width))
        parts = summed_up(objects.ids, objects.classes, block, None)
        parts = replace(parts, certain=parts.sizes * objects.confidences)
        columns = table(parts, self.classes, found.form)
        self.pages.append({"image": [found.image.name] * len(parts)} | columns)
