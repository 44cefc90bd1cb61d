"""The course of a run in other programs: TensorBoard, MLflow, Weights & Biases, one context manager each.

log.jsonl is the truth: whenever trackers are opened, with a training, a resumed one or a report, they get what they
lack of it. TensorBoard's and W&B's files are written anew; MLflow's run, which only grows, gets the steps after its
last one. tracking.json keeps which runs they are, so that a run that goes on is the same one there. A tracker that
fails is left out with a warning: a training does not end for it. W&B is written offline; MLflow goes where its own
settings say, else to a file next to the run folder. Does not know what a score means.
"""

import json
import logging
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from unetkit.config import Config, Tracking
from unetkit.errors import InterruptedRun, UsageError
from unetkit.progress import Progress
from unetkit.reporting.tables import settings
from unetkit.run import Record, Run

if TYPE_CHECKING:
    import wandb
    from mlflow import MlflowClient
    from torch.utils.tensorboard.writer import SummaryWriter

_TRACKING = "tracking.json"
_PROJECT = "unetkit"
"""The experiment of MLflow, unless MLFLOW_EXPERIMENT_NAME says another, and the project of W&B."""


class Tracker(Protocol):
    """What keeps the numbers and pictures of a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step by their names, such as `training/loss`."""
        ...

    def file(self, step: int, path: Path) -> None:
        """Take a picture (.png) or a page (.html) of the run; what it cannot show is left out."""
        ...


@dataclass(frozen=True, slots=True)
class _TensorBoard:
    writer: "SummaryWriter"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def file(self, step: int, path: Path) -> None:
        if path.suffix == ".png":
            self.writer.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")


@contextmanager
def _tensorboard(run: Run) -> Generator[Tracker]:
    from torch.utils.tensorboard.writer import SummaryWriter

    shutil.rmtree(run.tensorboard, ignore_errors=True)
    with SummaryWriter(run.tensorboard) as writer:
        yield _TensorBoard(writer)


@dataclass(frozen=True, slots=True)
class _MLflow:
    client: "MlflowClient"
    run: str
    known: bool  # it has been written to before
    last: dict[str, int] = field(default_factory=dict[str, int])  # the steps that it has, by name

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        metrics = list[Metric]()
        for name, value in values.items():
            name = re.sub(r"[^/\w.\- :]", "_", name)  # what MLflow allows
            if name not in self.last:
                history = self.client.get_metric_history(self.run, name) if self.known else []
                self.last[name] = max((one.step for one in history), default=-1)
            if step > self.last[name]:
                self.last[name] = step
                metrics.append(Metric(name, value, int(1000 * time.time()), step))
        self.client.log_batch(self.run, metrics=metrics)

    def file(self, step: int, path: Path) -> None:
        self.client.log_artifact(self.run, str(path), "pictures" if path.suffix == ".png" else None)


def _mlflow_store(run: Run | None) -> str:
    """Return the store of MLflow's own settings, else a file next to a run folder; nothing is opened."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else it sends to its makers how it is used
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a training does not wait minutes for a server
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    store = mlflow.get_tracking_uri()
    if run is not None and not mlflow.is_tracking_uri_set():
        store = f"sqlite:///{run.path.resolve().parent / 'mlflow.db'}"
    return store


def _mlflow_client(store: str) -> "MlflowClient":
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it stands on
        return mlflow.MlflowClient(tracking_uri=store)


@contextmanager
def _mlflow(run: Run) -> Generator[Tracker]:
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    store = _mlflow_store(run)
    client = _mlflow_client(store)
    kept = _kept(run, "mlflow")
    if kept is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _PROJECT
        experiment = client.get_experiment_by_name(name)
        place = (run.path.resolve().parent / "mlartifacts").as_uri() if store.startswith("sqlite") else None
        number = experiment.experiment_id if experiment else client.create_experiment(name, artifact_location=place)
        made: str = client.create_run(number, run_name=run.path.resolve().name).info.run_id
        parameters = [Param(key, value) for key, value, _, _ in settings(run.config, Config())]
        for first in range(0, len(parameters), 100):  # as many as it takes at once
            client.log_batch(made, params=parameters[first : first + 100])
        kept = {"run": made, "store": _without_password(store)}
        _keep(run, "mlflow", kept)
        known = False
    else:
        try:
            client.update_run(kept["run"], status="RUNNING")
        except MlflowException as error:
            raise UsageError(
                f"run {kept['run']} is not in {_without_password(store)} ({error}); it began in {kept['store']}: set "
                "MLFLOW_TRACKING_URI to that"
            ) from None
        known = True
    status = "FAILED"
    try:
        yield _MLflow(client, kept["run"], known)
        status = "FINISHED"
    except InterruptedRun:
        status = "KILLED"
        raise
    finally:
        with suppress(Exception):  # a server that is gone by now has been warned of
            client.set_terminated(kept["run"], status)


def _without_password(store: str) -> str:
    parts = urlsplit(store)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else store


@dataclass(frozen=True, slots=True)
class _Wandb:
    run: "wandb.Run"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def file(self, step: int, path: Path) -> None:
        import wandb

        shown = wandb.Image(str(path)) if path.suffix == ".png" else wandb.Html(path.read_text(encoding="utf-8"))
        self.run.log({"step": step, f"report/{path.stem}": shown})


@contextmanager
def _wandb(run: Run) -> Generator[Tracker]:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else it sends its errors to its makers
    import wandb

    kept = _kept(run, "wandb") or {"run": secrets.token_hex(4)}
    _keep(run, "wandb", kept)
    shutil.rmtree(run.path / "wandb", ignore_errors=True)
    options = wandb.Settings(
        mode="offline", silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
    )
    made = wandb.init(
        project=_PROJECT,
        id=kept["run"],
        name=run.path.resolve().name,
        dir=run.path,
        config={key: json.loads(value) for key, value, _, _ in settings(run.config, Config())},
        resume="allow",
        reinit="create_new",
        settings=options,
    )
    with made:
        made.define_metric("step")
        made.define_metric("*", step_metric="step")
        yield _Wandb(made)


_OPEN: dict[Tracking, Callable[[Run], AbstractContextManager[Tracker]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


def require_trackers(wanted: Sequence[Tracking]) -> None:
    """Make sure that the packages of trackers are there, and that a server of MLflow answers.

    Raises:
        UsageError: they are not.
    """
    for name in wanted:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name is no package
            raise UsageError(f"train.track: {name} is not installed; write: pip install 'unetkit[{name}]'")
    if "mlflow" in wanted:
        store = _mlflow_store(None)
        if store.startswith("http"):
            try:
                _mlflow_client(store).search_experiments(max_results=1)
            except Exception as error:
                raise UsageError(
                    f"train.track: MLflow's server {_without_password(store)} does not answer ({_first_line(error)}); "
                    "start it, correct MLFLOW_TRACKING_URI, or leave mlflow out"
                ) from None


@dataclass(frozen=True, slots=True)
class Trackers:
    """The trackers of a run that are open; one that fails is left out with a warning."""

    open: dict[str, Tracker]
    progress: Progress

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Give all of them the values of a step."""
        self._each(lambda tracker: tracker.log(step, values))

    def follow(self, record: Record) -> None:
        """Give all of them a line of the log."""
        part = "training" if "loss" in record else "validation"
        self.log(record["step"], {f"{part}/{name}": value for name, value in record.items() if name != "step"})

    def file(self, step: int, path: Path) -> None:
        """Give all of them a picture or a page."""
        self._each(lambda tracker: tracker.file(step, path))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.open.items()):
            try:
                act(tracker)
            except Exception as error:  # whatever its package raises: the training goes on
                del self.open[name]
                self.failed(name, error)

    def failed(self, name: str, error: Exception) -> None:
        """Say that a tracker is left out from here on."""
        self.progress.log(
            f"warning: {name}: {_first_line(error)}; the run goes on without it, and the report sends what it lacks"
        )


@contextmanager
def _closing(tracker: AbstractContextManager[Tracker], name: str, trackers: Trackers) -> Generator[Tracker]:
    """Give a tracker whose failure to close is a warning; what the training itself raises passes."""
    opened = tracker.__enter__()
    raised: BaseException | None = None
    try:
        yield opened
    except BaseException as error:
        raised = error
        raise
    finally:
        try:
            tracker.__exit__(type(raised) if raised else None, raised, raised.__traceback__ if raised else None)
        except Exception as error:
            if error is not raised:
                trackers.failed(name, error)


@contextmanager
def tracked(run: Run, progress: Progress, *, wanted: bool = True) -> Generator[Trackers]:
    """Open the trackers of a run, each with all that the log holds: no steps that will be done again.

    Where they are not `wanted` nothing is written and nothing imported.
    """
    trackers = Trackers({}, progress)
    with ExitStack() as stack:
        for name in dict.fromkeys(run.config.train.track if wanted else ()):
            try:
                trackers.open[name] = stack.enter_context(_closing(_OPEN[name](run), name, trackers))
            except Exception as error:
                trackers.failed(name, error)
        for record in run.read_log() if trackers.open else ():
            trackers.follow(record)
        yield trackers


def track_report(run: Run, scores: Mapping[str, Mapping[str, float]], progress: Progress) -> None:
    """Add what the report of a run has found: scores of sets of images by their names, pictures, and the page."""
    if not run.config.train.track:
        return
    step = max((record["step"] for record in run.read_log()), default=0)
    with tracked(run, progress) as trackers:
        for name, found in scores.items():
            trackers.log(step, {f"{name}/{score}": value for score, value in found.items()})
        for path in (*sorted(run.pictures.glob("*.png")), run.report):
            trackers.file(step, path)


def _kept(run: Run, name: str) -> dict[str, str] | None:
    """Return what tracking.json says of the tracker."""
    known: dict[str, dict[str, str]] = run.read_json(_TRACKING) or {}
    return known.get(name)


def _keep(run: Run, name: str, kept: dict[str, str]) -> None:
    known: dict[str, Any] = run.read_json(_TRACKING) or {}
    run.write_json(_TRACKING, known | {name: kept})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
