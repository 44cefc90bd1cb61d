"""What a notebook shows: tables, pictures, runs, evaluations, and a bar that is drawn anew."""

import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from unetkit.data import open_dataset, write_sample
from unetkit.display import Records, table, thumbnail
from unetkit.images import open_image
from unetkit.progress import ProgressCell, show_progress


def test_records_are_rows_and_columns() -> None:
    records = Records(({"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "mean_iou": 0.123456}))
    assert (len(records), records.columns) == (2, ("step", "loss", "mean_iou"))
    assert records["loss"] == [0.5, 0.25]
    assert records["mean_iou"] == [0.123456]
    assert records[1]["step"] == 2
    assert [row["step"] for row in records] == [1, 2]
    assert "<td>0.1235</td>" in records._repr_html_()  # pyright: ignore[reportPrivateUsage] as a notebook asks
    assert repr(records) == "2 rows of step, loss, mean_iou"
    with pytest.raises(KeyError, match="there are step, loss"):
        records["iou"]


def test_a_long_table_shows_its_ends() -> None:
    shown = Records(tuple({"step": step} for step in range(100)))._repr_html_()  # pyright: ignore[reportPrivateUsage] as a notebook asks
    assert all(f"<td>{step}</td>" in shown for step in (0, 9, 90, 99))
    assert "<td>50</td>" not in shown
    assert "of 100 rows" in shown


def test_text_in_a_table_is_text() -> None:
    assert "&lt;script&gt;" in table(["<script>"], [["<script>"]])


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (2, 1200, 40)])
def test_a_thumbnail_is_a_picture_of_the_range(shape: tuple[int, ...]) -> None:
    pixels = np.linspace(-3, 1000, int(np.prod(shape))).reshape(shape).astype(np.float32)
    picture = np.asarray(PillowImage.open(BytesIO(thumbnail(pixels))))
    assert max(picture.shape[:2]) <= 512
    assert (int(picture.min()), picture.dtype) == (0, np.uint8)
    assert picture.ndim == (3 if shape[0] == 3 else 2)
    assert thumbnail(np.zeros((1, 4, 4), np.uint8))  # all alike


def test_images_and_samples_are_shown(tmp_path: Path) -> None:
    write_sample(tmp_path / "data", slices=2, size=64)
    image: Any = open_image(tmp_path / "data" / "train-volume.tif")
    assert PillowImage.open(BytesIO(image._repr_png_())).size == (64, 64)
    assert "decode" not in repr(image)
    sample: Any = open_dataset(tmp_path / "data")[0]
    assert sample._repr_html_().count("<img") == 2


def test_a_notebook_has_one_bar_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(HTML=str, display=lambda *_, **__: handle)
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True), display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with show_progress("training") as progress:
        assert isinstance(progress, ProgressCell)
        progress.log("note: <one>")
        progress.update(10, 10, {"loss": "0.5"})
    assert "&lt;one&gt;" in shown[-1]
    assert 'value="10" max="10"' in shown[-1]
    assert "loss 0.5" in shown[-1]
