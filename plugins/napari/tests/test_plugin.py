"""The plugin in a real viewer: read a run, train on layers, predict with a preview, cancel; skipped without napari."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
pytest.importorskip("qtpy.QtWidgets", reason="no binding of Qt is installed", exc_type=ImportError)

from napari_unetkit.layers import slices_of, write_data
from napari_unetkit.panel import CLASSES, OBJECTS, PREVIEW, SEGMENTATION, Panel
from napari_unetkit.reader import read_run, reader_of
from npe2 import PluginManifest

import unetkit
from unetkit.data.layouts.synthetic import generate

SMALL = ["model.widths=[4,8]", "train.steps=6", "train.batch=2", "train.patch=32", "train.threads=1"]


@pytest.fixture(scope="session")
def stack() -> tuple[np.ndarray, np.ndarray]:
    made = generate(slices=5, size=64)
    return np.asarray(made.images).reshape(5, 64, 64), np.asarray(made.labels).reshape(5, 64, 64) // 255


@pytest.fixture(scope="session")
def run(stack: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    written = write_data(*stack, folder)
    made = unetkit.train(
        "isbi", data=folder, out=folder.parent / "run", overrides=[*SMALL, *written.overrides, "data.split.fold=0"]
    )
    return made.path


def until(true: Callable[[], bool], seconds: float = 3600) -> None:
    """Let Qt work until something is true."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        QApplication.processEvents()
        time.sleep(0.01)


@pytest.fixture
def panel(make_napari_viewer: Callable[..., Any], stack: tuple[np.ndarray, np.ndarray]) -> Panel:
    viewer = make_napari_viewer()
    viewer.add_image(stack[0], name="cells")
    viewer.add_labels(stack[1], name="painted")
    panel = Panel(viewer)
    viewer.window.add_dock_widget(panel, name="U-Net")
    panel.image.value, panel.painted.value = viewer.layers["cells"], viewer.layers["painted"]
    return panel


def test_the_manifest_names_what_is_there() -> None:
    manifest = PluginManifest.from_distribution("napari-unetkit")
    assert [one.display_name for one in manifest.contributions.widgets or []] == ["Train and predict"]
    for command in manifest.contributions.commands or []:
        assert callable(command.exec) or command.python_name


def test_a_run_folder_opens_as_layers(run: Path, make_napari_viewer: Callable[..., Any]) -> None:
    assert reader_of(str(run.parent)) is None
    assert reader_of(str(run)) is read_run
    viewer = make_napari_viewer()
    viewer.open(str(run), plugin="napari-unetkit")
    names = {layer.name: layer for layer in viewer.layers}
    assert {"truth", "segmentation"} <= set(names)
    (probability,) = (layer for name, layer in names.items() if name.startswith("probability of "))
    assert probability.data.shape == names["segmentation"].data.shape == names["truth"].data.shape
    assert 0 <= float(probability.data.min()) <= float(probability.data.max()) <= 1
    assert len({name for name in names if name.startswith(run.name)}) == 1


def test_without_its_data_a_run_shows_its_pictures(run: Path, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(run, tmp_path / "moved")
    config = moved / "config.yaml"
    config.write_text(config.read_text().replace(str(run.parent / "data"), str(tmp_path / "nowhere")))
    layers = read_run(str(moved))
    assert layers
    assert all(options["rgb"] for _, options, _ in layers)


def test_predicting_fills_a_layer_and_the_preview_follows_the_slice(panel: Panel, run: Path) -> None:
    panel.model.value = run
    panel.predict()
    until(lambda: panel.worker is None)
    viewer = panel.viewer
    expected = np.stack([unetkit.predict(run, pixels[0]) for pixels in slices_of(viewer.layers["cells"].data, False)])
    np.testing.assert_array_equal(viewer.layers[SEGMENTATION].data, expected)
    assert panel.bar.value == 100
    viewer.dims.set_current_step(0, 2)
    panel.preview.value = True
    until(lambda: PREVIEW in viewer.layers and panel.worker is None)
    np.testing.assert_array_equal(viewer.layers[PREVIEW].data, expected[2])
    viewer.dims.set_current_step(0, 4)
    until(lambda: bool((viewer.layers[PREVIEW].data == expected[4]).all()) and panel.worker is None)


def test_training_can_be_cancelled_and_says_so(panel: Panel, tmp_path: Path) -> None:
    panel.out.value, panel.minutes.value = tmp_path / "run", 30
    panel.train()
    until(lambda: "plan" in str(panel.status.value) or "0 of" in str(panel.status.value) or panel.bar.value > 0)
    assert panel.cancel_button.enabled
    panel.cancel()
    until(lambda: panel.worker is None)
    assert panel.status.value == "cancelled"
    assert panel.train_button.enabled


def test_training_on_layers_gives_a_run_that_previews(panel: Panel, tmp_path: Path) -> None:
    panel.out.value, panel.minutes.value = tmp_path / "run", 0.1
    panel.train()
    until(lambda: panel.worker is None)  # the training and the preview that follows it
    assert PREVIEW in panel.viewer.layers, panel.status.value
    assert Path(panel.model.value) == tmp_path / "run"
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert panel.viewer.layers[PREVIEW].data.shape == (64, 64)


def test_a_session_that_ends_with_the_panel_open_ends_in_peace() -> None:
    session = (
        "import napari; from napari_unetkit.panel import Panel\n"
        "viewer = napari.Viewer(show=False); panel = Panel(viewer); viewer.window.add_dock_widget(panel)"
    )
    subprocess.run([sys.executable, "-c", session], check=True)


def test_sparse_labels_leave_the_rest_out(stack: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, labels = stack
    painted = np.zeros_like(labels)
    painted[:2, 10:30, 10:50] = labels[:2, 10:30, 10:50] + 1
    written = write_data(images, painted, tmp_path / "data", sparse=True)
    assert written.overrides == ("data.mask_values={'1': 0, '2': 1, '0': ignore}",)
    dataset = unetkit.open_dataset(
        written.folder, config=unetkit.load_config("isbi", overrides=list(written.overrides)).data
    )
    assert len(dataset) == written.count > 2
    valid = [np.asarray(dataset[index].valid) for index in range(len(dataset))]
    assert sum(int(one.sum()) for one in valid) == 2 * 20 * 40
    with pytest.raises(ValueError, match="at least two classes"):
        write_data(images, (painted == 1).astype(int), tmp_path / "other", sparse=True)
    with pytest.raises(ValueError, match="does not fit"):
        write_data(images, painted[:, :32], tmp_path / "other")


def test_colour_and_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 48, 56, 3), np.uint8)
    labels = np.zeros((5, 48, 56), np.int32)
    labels[:, 5:15, 5:15], labels[:, 20:40, 20:40] = 7, 300
    written = write_data(images, labels, tmp_path / "data", rgb=True, objects=True)
    dataset = unetkit.open_dataset(
        written.folder, config=unetkit.load_config("nuclei", overrides=list(written.overrides)).data
    )
    sample = dataset[0]
    np.testing.assert_array_equal(sample.pixels, np.moveaxis(images[0], -1, 0))
    assert len(np.unique(np.asarray(sample.instances))) == 3
    assert (CLASSES, OBJECTS) == ("classes", "objects, each with its number")
