"""The panel: train on two layers, predict the slices of one, with a live preview of the slice that is shown.

All work is done in a worker thread, one at a time; it reports by Qt's signals, and is asked to stop by a flag that it
looks at after every step and every slice.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    Label,
    ProgressBar,
    PushButton,
    create_widget,
)
from napari.layers import Image, Labels
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal

import unetkit
from napari_unetkit.layers import slice_of, slices_of, write_data

PREVIEW, SEGMENTATION = "preview", "segmentation"
CLASSES, OBJECTS = "classes", "objects, each with its number"


class Cancelled(Exception):
    """The user asked the work to stop."""


class Reporter(QObject):
    """Progress of unetkit as signals, which may come from any thread."""

    advanced = Signal(int, int, str)
    said = Signal(str)

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self.stopped = False

    def log(self, text: str) -> None:
        """Take a line."""
        self._stop_if_asked()
        self.said.emit(text)

    def update(self, done: int, total: int, figures: Mapping[str, str]) -> None:
        """Take the state of the work."""
        self._stop_if_asked()
        self.advanced.emit(done, total, "  ".join(f"{name} {value}" for name, value in figures.items()))

    def _stop_if_asked(self) -> None:
        if self.stopped:
            raise Cancelled


class Panel(Container):
    """Train on the layers that are open, and predict."""

    def __init__(self, viewer: Viewer) -> None:
        """Put the controls together."""
        image = create_widget(annotation=Image, label="image")
        labels = create_widget(annotation=Labels, label="labels")
        kind = ComboBox(choices=[CLASSES, OBJECTS], label="labels are")
        sparse = CheckBox(text="0 is unlabelled, 1 is background")
        minutes = FloatSpinBox(value=3, min=0.1, max=1440, step=1, label="minutes")
        out = FileEdit(mode="d", label="new run folder", nullable=True)
        train_button = PushButton(text="Train")
        model = FileEdit(mode="d", label="run", nullable=True)
        preview = CheckBox(text="live preview of the slice that is shown")
        predict_button = PushButton(text="Predict all slices")
        bar, status = ProgressBar(value=0, min=0, max=100, label=""), Label(value="")
        cancel_button = PushButton(text="Cancel", enabled=False)
        super().__init__(
            widgets=[
                *(image, labels, kind, sparse, minutes, out, train_button),
                *(model, preview, predict_button, bar, status, cancel_button),
            ]
        )
        self.viewer, self.reporter = viewer, Reporter()
        self.worker: GeneratorWorker | None = None
        self.open = True
        self.predictor, self.opened = None, None
        self.image, self.painted, self.kind, self.sparse, self.minutes, self.out = (
            image,
            labels,
            kind,
            sparse,
            minutes,
            out,
        )
        self.model, self.preview, self.bar, self.status = model, preview, bar, status
        self.train_button, self.predict_button, self.cancel_button = train_button, predict_button, cancel_button
        self.train_button.changed.connect(self.train)
        self.predict_button.changed.connect(self.predict)
        self.cancel_button.changed.connect(self.cancel)
        self.preview.changed.connect(self.show_preview)
        self.reporter.advanced.connect(self._advanced)
        self.reporter.said.connect(self._say)
        self.native.destroyed.connect(self._closed)
        viewer.dims.events.current_step.connect(self.show_preview)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self.reset_choices)
        self.reset_choices()

    def train(self) -> None:
        """Train on the two layers, in a worker."""
        image, labels = self.image.value, self.painted.value
        if image is None or labels is None:
            return show_error("open an image, and a labels layer in which something is painted")
        folder = Path(tempfile.mkdtemp(prefix="napari-unetkit-"))
        try:
            written = write_data(
                image.data,
                labels.data,
                folder / "data",
                rgb=image.rgb,
                sparse=self.sparse.value and self.kind.value == CLASSES,
                objects=self.kind.value == OBJECTS,
            )
        except ValueError as error:
            return show_error(str(error))
        chosen = self.out.value
        out = folder / "run" if chosen is None or str(chosen) in ("", ".") else Path(chosen)
        minutes = self.minutes.value

        def work() -> Iterator[Path]:
            run = unetkit.train_auto(
                written.folder, out=out, overrides=written.overrides, minutes=minutes, progress=self.reporter
            )
            yield run.path

        def trained(path: Path) -> None:
            self.model.value = path
            show_info(f"trained on {written.count} images: {path}")
            self.preview.value = True

        self._start(work, trained)
        return None

    def predict(self) -> None:
        """Predict every slice of the image layer, in a worker; the result grows while it works."""
        image = self.image.value
        if image is None or (predictor := self._predictor()) is None:
            return
        slices = slices_of(image.data, image.rgb)
        shape = image.data.shape[:-1] if image.rgb else image.data.shape
        result = np.zeros((len(slices), *shape[-2:]), np.uint8)
        layer = self._labels_layer(SEGMENTATION, result.reshape(shape), image)

        def work() -> Iterator[int]:
            for index, pixels in enumerate(slices):
                result[index] = unetkit.predict(predictor, pixels)
                self.reporter.update(index + 1, len(slices), {})
                yield index

        def done(index: int) -> None:
            layer.data = result.reshape(shape)

        self._start(work, done)

    def show_preview(self) -> None:
        """Predict the slice that is shown, in a worker, where the preview is asked for and nothing else works."""
        image = self.image.value
        if not self.preview.value or image is None or self.worker is not None:
            return
        if (predictor := self._predictor()) is None:
            self.preview.value = False
            return
        axes = len(image.data.shape) - (3 if image.rgb else 2)
        if self.viewer.dims.ndim < axes + 2:  # between one layer's removal and the next one's opening
            return
        place = tuple(self.viewer.dims.current_step[-(axes + 2) : -2]) if axes else ()
        pixels = slice_of(image.data, image.rgb, place)

        def work() -> Iterator[Any]:
            yield unetkit.predict(predictor, pixels)

        def done(found: Any) -> None:
            if PREVIEW in self.viewer.layers:
                self.viewer.layers[PREVIEW].data = found
            else:
                self.viewer.add_labels(found, name=PREVIEW, opacity=0.5, scale=image.scale[-2:])

        def again() -> None:
            moved = tuple(self.viewer.dims.current_step[-(axes + 2) : -2]) if axes else ()
            if moved != place:
                self.show_preview()

        self._start(work, done, finished=again)

    def cancel(self) -> None:
        """Ask the work to stop after its step."""
        self.reporter.stopped = True
        self._say("stopping ...")

    def _start(
        self,
        work: Callable[[], Iterator[Any]],
        yielded: Callable[[Any], None],
        finished: Callable[[], None] | None = None,
    ) -> None:
        """Start a worker, if none is at work."""
        if self.worker is not None:
            return show_error("something is at work: wait for it, or cancel it")
        self.reporter.stopped = False

        def guarded() -> Iterator[Any]:
            try:
                yield from work()
            except Cancelled:
                self.reporter.said.emit("cancelled")
            except unetkit.UnetkitError as error:
                self.reporter.said.emit(str(error))

        worker = create_worker(guarded)
        worker.yielded.connect(yielded)
        worker.finished.connect(lambda: self._finished(finished))
        self.worker = worker
        self._working(True)
        worker.start()
        return None

    def _closed(self) -> None:
        """Ask the work to stop, and hear nothing more of it: the controls are gone, and at the end the reporter is."""
        self.reporter.stopped, self.open = True, False

    def _finished(self, then: Callable[[], None] | None) -> None:
        self.worker = None
        if not self.open:
            return
        self._working(False)
        if then is not None:
            then()
        elif self.preview.value:
            self.show_preview()

    def _working(self, working: bool) -> None:
        for button in (self.train_button, self.predict_button):
            button.enabled = not working
        self.cancel_button.enabled = working

    def _advanced(self, done: int, total: int, figures: str) -> None:
        if self.open:
            self.bar.value = round(100 * done / max(total, 1))
        self._say(f"{done} of {total}  {figures}")

    def _say(self, text: str) -> None:
        if not self.open:
            return
        self.status.value = text if len(text) < 100 else f"{text[:97]}..."
        self.status.tooltip = text

    def _predictor(self) -> Any:
        """Return the network of the run that is chosen, read once."""
        path = self.model.value
        if path is None or str(path) in ("", "."):
            show_error("choose a run folder, or train one")
            return None
        if self.opened != path:
            try:
                self.predictor, self.opened = unetkit.load(path), path
            except unetkit.UnetkitError as error:
                show_error(str(error))
                return None
        return self.predictor

    def _labels_layer(self, name: str, data: Any, image: Image) -> Labels:
        if name in self.viewer.layers:
            self.viewer.layers.remove(name)
        scale = image.scale[-data.ndim :]
        return self.viewer.add_labels(data, name=name, opacity=0.5, scale=scale)
