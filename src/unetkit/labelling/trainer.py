"""A training that follows what is painted: from where it stands, on the pixels that are painted so far.

It is an ordinary run: `training`'s own step, an ordinary configuration, a log and checkpoints that every verb reads.
What differs is that the labels grow on the way, and that there is no last step: the rate is level, and what is shown is
predicted with the running average of the weights. The log says after which step how many strokes of the journal were
known, a line `{"step", "strokes"}` each time. From that and config.yaml the training can be `repeated`: on the same
CPU, with the same versions and number of threads, to the same weights bit by bit, whenever predictions were made.

A pixel that is not painted counts neither in the loss nor in scores; the normalisation is found on the pixels of the
images, painted or not. The loss of the log is that of the painted pixels of the last batch.

Legend of shapes: K classes, H height, W width.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unetkit.config import InitConfig
from unetkit.data import InMemory, Normalization, fingerprint, open_dataset, split_dataset
from unetkit.data.dataset import Sample, name_of
from unetkit.devices import choose_device, choose_precision
from unetkit.distributed import World
from unetkit.errors import DivergedError, UsageError
from unetkit.evaluation.score import score_predictor
from unetkit.labelling.project import Contents, as_csv, run_folders
from unetkit.labelling.strokes import Follower, Labels, Painting, Place
from unetkit.machine import available_cores
from unetkit.modelfile.card import ModelCard
from unetkit.prediction import Predictor
from unetkit.prediction.uncertainty import uncertainty
from unetkit.progress import NoProgress
from unetkit.run import Run, create_run, open_run
from unetkit.storage.atomic import atomic_write
from unetkit.training.loop import Trainer
from unetkit.training.patches import PixelStore
from unetkit.training.prepare import start_from
from unetkit.training.step import TrainStep
from unetkit.version import __version__

_NORMALISED = 32
"""Pages by which the normalisation is found."""

_SCORED = 8
"""Pages with held-out pixels that a score is made of, spread over all."""


@dataclass(frozen=True, slots=True, eq=False)
class PagePrediction:
    """What the network says of a page.

    Attributes:
        classes: the most probable ones [H, W] uint8.
        confidence: their probability [H, W] float32.
        uncertainty: the entropy of the probabilities [H, W] float32, 1: nothing is known.
    """

    classes: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    uncertainty: NDArray[np.float32]

    def as_rgb(self) -> NDArray[np.uint8]:
        """Return [H, W, 3]: class, confidence and uncertainty, these from 0 to 255."""
        scaled = [np.rint(255 * part).astype(np.uint8) for part in (self.confidence, self.uncertainty)]
        return np.stack([self.classes, *scaled], axis=-1)


class Session:
    """A run of a project, from where it stands."""

    def __init__(self, contents: Contents, run: Run) -> None:
        """Read the run's newest checkpoint where it has one, and the strokes that it knew.

        Raises:
            DataError: an image cannot be read.
            RunFolderError: all its checkpoints are damaged.
        """
        self.contents = contents
        self.run: Run = run
        self.config = run.config
        self.painting, self.follower = Painting(contents.sizes), Follower(contents.journal)
        self.device = choose_device(self.config.train.device)
        self.precision = choose_precision(self.config.train.precision, self.device)
        self._places: tuple[Place, ...] = ()
        self._trainer: Trainer | None = None
        self._shown: Predictor | None = None
        self.last_loss: float | None = None  # of the painted pixels of the last batch that was measured
        self._described = ""

    @cached_property
    def normalization(self) -> Normalization:
        """Found on the pixels of pages that are spread over the project, painted or not."""
        places = self.contents.places
        pages = (self._sample(places[index]) for index in _spread(len(places), _NORMALISED))
        return Normalization.fit(self.config.data.normalization, pages)

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return 0 if self._trainer is None else self._trainer.state.step

    @property
    def scores(self) -> dict[str, float]:
        """Of the last validation."""
        return {} if self._trainer is None else self._trainer.state.scores

    @property
    def ready(self) -> bool:
        """Whether two classes are painted where they are trained on."""
        return self._trainer is not None

    def sync(self, *, strokes: int | None = None) -> bool:
        """Take over what was painted since the last time, or up to so many strokes; return whether there was anything.

        Raises:
            DataError: a damaged journal, or an image that cannot be read.
            StorageError: the disk did not take a line of the log.
        """
        changed: set[Place] = set()
        at_most = None if strokes is None else strokes - self.painting.strokes
        for stroke in self.follower.new(at_most=at_most):
            self.painting.apply(stroke)
            changed.add(stroke.place)
        if changed:
            self._refill(changed)
        return bool(changed)

    def train(self, steps: int) -> None:
        """Take steps.

        Raises:
            DivergedError: the loss is no longer a number.
            StorageError: the disk did not take a line of the log or a checkpoint.
        """
        trainer, train = self._trainer, self.config.train
        assert trainer is not None
        state, begun = trainer.state, time.perf_counter()
        last = [trainer.step(number) for number in range(state.step, state.step + steps)][-1]
        loss = float(last.loss)  # waits for the device
        state.step += steps
        state.train_seconds += time.perf_counter() - begun
        self.last_loss = loss / (1.0 if last.counting is None else max(float(last.counting), 1e-9))
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {state.step}: the training diverged; the last good checkpoint stands in "
                f"{self.run.path}: delete that folder to begin again from what is painted"
            )
        seconds = {"train_seconds": round(state.train_seconds, 4)}
        speed = {"images_per_second": round(steps * train.batch / (time.perf_counter() - begun), 2)}
        self.run.append_log({"step": state.step, **seconds, "loss": self.last_loss, "lr": last.lr, **speed})
        if state.step % train.checkpoint_every < steps:
            self.save()

    def predict(self, place: Place) -> PagePrediction:
        """Predict a page with the weights as they are."""
        predictor = self.predictor()
        p_KHW = predictor.probabilities(self.contents.images[place[0]].pixels(place[1]))
        classes = predictor.decided(torch.from_numpy(p_KHW)).astype(np.uint8)
        return PagePrediction(classes, p_KHW.max(0), uncertainty([p_KHW])[0].clip(0, 1))

    def validate(self) -> dict[str, float]:
        """Score the painted pixels that are held out, by the definitions of `evaluate`; empty where there are none."""
        trainer = self._trainer
        held = [place for place in sorted(self.painting.pages) if self.painting.part(place, held_out=True).any()]
        if trainer is None or not held:
            return {}
        begun = time.perf_counter()
        samples = tuple(self._sample(held[index], held_out=True) for index in _spread(len(held), _SCORED))
        scored = score_predictor(self.predictor(), InMemory(samples, self.classes)).scores
        state = trainer.state
        state.scores = {name: value for name, value in scored.items() if math.isfinite(value)}
        state.scored_step = state.step
        seconds = {"train_seconds": round(state.train_seconds, 4), "validation_seconds": time.perf_counter() - begun}
        self.run.append_log({"step": state.step, **seconds, **state.scores})
        return state.scores

    def save(self) -> None:
        """Write a checkpoint to go on from, and the weights to predict with.

        Raises:
            StorageError: the disk did not take them; the older ones stand.
        """
        if self._trainer is None:
            return
        self._describe()
        checkpoint = self._trainer.checkpoint()
        self.run.save_checkpoint(checkpoint)
        checkpoint.for_prediction().save(self.run.last)
        state = self._trainer.state
        summary = {"step": state.step, "best": None, "scores": state.scores}
        self.run.write_json("summary.json", summary | {"seconds": {"training": state.train_seconds} | state.spent})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(one.name for one in self.contents.classes)

    def _describe(self) -> None:
        """Write the run's own list of images and data.json, where other images are painted on than it says.

        The list names files of labels that are there; the project writes them at its own pace.
        """
        folder = self.run.path
        rows = [row for row in self.contents.rows(self.painting, folder) if (folder / row.label).is_file()]
        content = as_csv(rows)
        if not rows or content == self._described:
            return
        method = "given" if any(row.split == "val" for row in rows) else "none"
        if method != self.config.data.split.method:
            split = self.config.data.split.model_copy(update={"method": method})
            data = self.config.data.model_copy(update={"split": split})
            self.config = self.config.model_copy(update={"data": data})
            self.run = self.run.with_config(self.config)
            assert self._trainer is not None
            self._trainer.run = self.run
        atomic_write(folder / "data.csv", content)
        dataset = open_dataset(folder / "data.csv", config=self.config.data)
        division = split_dataset(dataset, self.config.data.split)
        normalization = {"mean": self.normalization.mean, "std": self.normalization.std}
        parts = {"train": division.train, "validation": division.validation}
        named = {part: [name_of(dataset, index)[0] for index in indices] for part, indices in parts.items()}
        self.run.write_json("data.json", fingerprint(dataset).to_json() | named | {"normalization": normalization})
        self._described = content

    def _sample(self, place: Place, *, held_out: bool | None = None) -> Sample:
        """Return a page, and where it is asked for what is painted there and held out or trained on."""
        image, page = place
        name, pixels = self.contents.sample_name(place), self.contents.images[image].pixels(page)
        if held_out is None:
            return Sample(name, pixels)
        labels, valid = self._targets(place, held_out=held_out)
        return Sample(name, pixels, labels, source=str(self.contents.images[image].path), valid=valid)

    def _targets(self, place: Place, *, held_out: bool) -> tuple[Labels, NDArray[np.bool_]]:
        """Return the classes [H, W] of what is painted on a page and held out or trained on, and where that is."""
        valid = self.painting.part(place, held_out=held_out)
        return np.where(valid, self.painting.at(place) - np.uint8(1), np.uint8(0)), valid

    def _refill(self, changed: set[Place]) -> None:
        """Bring the images that are drawn from up to date; begin the training where two classes are painted at last."""
        places = tuple(place for place in sorted(self.painting.pages) if self.painting.classes_in(place))
        trainer = self._trainer
        if trainer is not None and places == self._places:
            store = trainer.step.store
            assert store.valid_P is not None
            for place in changed.intersection(places):
                start, (labels, valid) = int(store.start[places.index(place)]), self._targets(place, held_out=False)
                store.labels_P[start : start + labels.size] = torch.from_numpy(labels.ravel())
                store.valid_P[start : start + labels.size] = torch.from_numpy(valid.ravel())
        elif places and (trainer is not None or self.painting.is_trainable):
            samples = InMemory(tuple(self._sample(place, held_out=False) for place in places), self.classes)
            mode = self.config.data.padding_mode
            store = PixelStore.of(samples, self.normalization, self.device, padding_mode=mode)
            if trainer is None:
                trainer = self._trainer = self._begin(store)
            else:
                trainer.step.set_store(store)
            self._places = places
        if trainer is not None:
            seconds = {"train_seconds": round(trainer.state.train_seconds, 4)}
            self.run.append_log({"step": trainer.state.step, **seconds, "strokes": self.painting.strokes})

    def _begin(self, store: PixelStore) -> Trainer:
        """Go on from the newest checkpoint, or from the weights that the configuration names, or at random."""
        step = TrainStep(self.config, store, self.precision, World())
        normalization = self.normalization
        card = ModelCard(
            model=self.config.model,
            classes=self.classes,
            mean=normalization.mean,
            std=normalization.std,
            predict=self.config.predict,
            objects=self.config.objects,
            unetkit=__version__,
        )
        trainer = Trainer(self.run, step, card=card, validate=None, progress=NoProgress())
        newest = self.run.newest_checkpoint(warn=lambda text: None)
        if newest is not None:
            trainer.resume(newest)
        else:
            start_from(step, self.config.init)
        self.run.cut_log(after_step=trainer.state.step)
        self._shown = Predictor(step.predicting, step.model.geometry, card, self.device)
        return trainer

    def predictor(self) -> Predictor:
        """Return the network with the weights as they are, of a session that is ready; it changes with the training."""
        assert self._shown is not None
        assert self._trainer is not None
        self._trainer.step.predicting.eval()
        return self._shown


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many numbers below `count`, from the first to the last."""
    last, steps = count - 1, max(min(count, most) - 1, 1)
    return sorted({round(step * last / steps) for step in range(steps + 1)})


def open_session(contents: Contents, *, overrides: Sequence[str] = ()) -> Session:
    """Open the newest run of a project, or begin one by `overrides`; another one begins where the classes have changed.

    Raises:
        RunFolderError, StorageError: the run cannot be opened or made.
        DataError: an image cannot be read.
    """
    runs, init = run_folders(contents.folder), InitConfig()
    number = int(runs[-1].name.removeprefix("run-")) + 1 if runs else 1
    folder = contents.folder / f"run-{number}"
    config = contents.config(folder / "data.csv", held_out=False, overrides=overrides)
    if runs:
        last = open_run(runs[-1])
        if last.config.data.classes == config.data.classes:
            return Session(contents, last)
        if last.last.is_file():
            alike = last.config.model.num_classes == len(contents.classes)
            init = InitConfig(path=str(last.path.resolve()), exclude=() if alike else ("head.*",), moments=False)
    found = {"in_channels": contents.images[0].image.channels, "num_classes": len(contents.classes)}
    update = {
        "model": config.model.model_copy(update=found),
        "init": init,
        # A core is left for the page and its server.
        "train": config.train.model_copy(update={"threads": config.train.threads or max(1, available_cores() - 1)}),
        "predict": config.predict.model_copy(update={"padding_mode": config.data.padding_mode}),
    }
    return Session(contents, create_run(folder, config.model_copy(update=update)))


def repeat(run: Run, out: Path) -> Run:
    """Train a run of a project again, up to the last line of its log: the same steps on the same strokes.

    Raises:
        UsageError: the log names no strokes.
        RunFolderError, StorageError, DataError: as `Session`.
    """
    lines = [line for line in run.read_log() if "strokes" in line]
    ends = [*(int(line["step"]) for line in lines[1:]), max((int(line["step"]) for line in run.read_log()), default=0)]
    if not lines:
        raise UsageError(f"{run.path}: its log names no strokes; expected a run that `unetkit label` made")
    session = Session(Contents.read(run.path.parent), create_run(out, run.config))
    for line, end in zip(lines, ends, strict=True):
        session.sync(strokes=int(line["strokes"]))
        while session.step < end:
            session.train(1)
    session.save()
    return session.run
