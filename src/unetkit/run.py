"""The run folder: the whole truth about a training, readable without unetkit.

    RUN/
      config.yaml         every key, resolved: what was asked for
      data.json           the data as it was seen: sizes, ranges, class shares, checksums, who was held out
      environment.json    when it began, command, machine, device, versions of all packages
      functions.json      name and source of a loss and metrics of the user's own, where there are any
      log.jsonl           one object a line: training steps and validations
      checkpoints/        step-00000400.safetensors ...: the newest few, each enough to go on from
      best.safetensors    the weights of the best validation       last.safetensors    those of the last step
      tensorboard/ wandb/ the log again, for those programs (train.track)
      tracking.json       which runs they are there, so that a run that goes on is the same one
      pictures/           what the network sees and says           report.html         all of it on one page
      summary.json        how it ended: scores, and where the time went

A folder is a run when it holds config.yaml. Assumes a file system that renames atomically.
"""

import json
import platform
import re
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from unetkit.config import Config, load_config, plain_yaml
from unetkit.config.io import first_complaint
from unetkit.devices import choose_device, choose_precision, device_name
from unetkit.display import Display, Records, picture
from unetkit.errors import DamagedFileError, RemoteError, RunFolderError
from unetkit.machine import available_cores
from unetkit.metrics import deciding_table
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.storage import Mirror, is_remote
from unetkit.storage.atomic import atomic_write, is_taken, make_folder, not_written, write_json, written_to
from unetkit.storage.lock import is_locked, locked

Record = dict[str, Any]

Follow = Callable[[Record], None]
"""Takes every line of a run's log when it is written."""

OWN_FUNCTIONS = "functions.json"
"""The file that keeps name and source of a loss and metrics of the user's own."""


class _Data(BaseModel):
    dtype: str
    sha256_pixels: str
    sha256_labels: str = ""
    samples: int = 0
    sizes: dict[str, int] = {}
    classes: list[str] = []
    class_shares: list[float] = []
    class_weights: dict[str, float] = {}
    normalization: dict[str, list[float]] = {}
    train: list[str] = []
    validation: list[str] = []
    test: list[str] = []


class _Environment(BaseModel):
    command: list[str] = []
    packages: dict[str, str | None] = {}


class _Summary(BaseModel):
    step: int
    seconds: dict[str, float]
    ended: str = ""


class _Scored(BaseModel):
    scores: dict[str, float | None]


class _Evaluated(_Scored):
    images: list[_Scored] = []


class _Evaluation(_Evaluated):
    test: _Evaluated | None = None


class _Function(BaseModel):
    name: str
    sha256: str
    source: str


_OBJECT = TypeAdapter(dict[str, Any])
_FORMS: dict[str, TypeAdapter[Any]] = {
    "data.json": TypeAdapter(_Data),
    "environment.json": TypeAdapter(_Environment),
    "evaluation.json": TypeAdapter(_Evaluation),
    "summary.json": TypeAdapter(_Summary),
    "tracking.json": TypeAdapter(dict[str, dict[str, Any]]),
    OWN_FUNCTIONS: TypeAdapter(dict[str, _Function]),
}
"""What is read of the files of a run that somebody may have edited."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder that exists.

    Attributes:
        path: the folder.
        config: what config.yaml says.
        mirror: its image in object storage, where it has one.
    """

    path: Path
    config: Config
    mirror: Mirror | None = None

    @property
    def place(self) -> str:
        """Where its user finds it: the folder, or its URL in object storage."""
        return self.mirror.place.url if self.mirror else str(self.path)

    @property
    def best(self) -> Path:
        """The weights of the best validation."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The weights of the last step."""
        return self.path / "last.safetensors"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    @property
    def pictures(self) -> Path:
        """The folder of the pictures."""
        return self.path / "pictures"

    @property
    def history(self) -> Records:
        """The log as a table, a row a step: losses, and the scores of validations where one was made."""
        rows: dict[int, Record] = {}
        for line in self.read_log():
            rows.setdefault(line["step"], {}).update(line)
        return Records(tuple(rows.values()))

    def show(self) -> Display:
        """Return what there is to look at: the scores that decide, the curves, the worst and the best image."""
        metric, evaluation = self.config.train.best_metric, self.read_json("evaluation.json")
        scores: dict[str, float] = {} if evaluation is None else evaluation["scores"]
        pictures = [self.pictures / name for name in ("curves.png", "worst-1.png", "best-1.png")]
        parts = [f"<p>Run {escape(self.place)}; everything about it: {escape(str(self.report))}</p>"]
        parts += [deciding_table(scores, metric)] if scores else []
        parts += [picture(path.read_bytes(), path.stem) for path in pictures if path.is_file()]
        value = f"{metric} {scores[metric]:.4f}, " if metric in scores else ""
        return Display("\n".join(parts), f"run {self.place}: {value}report {self.report}")

    def _repr_html_(self) -> str:
        return self.show().html

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files, where they are asked for."""
        return self.path / "tensorboard"

    def with_config(self, config: Config) -> "Run":
        """Write another config.yaml, and return the run with it.

        Raises:
            StorageError: the disk did not take it.
        """
        atomic_write(self.path / "config.yaml", plain_yaml(config))
        return replace(self, config=config)

    def weights(self) -> Path:
        """Return the file to predict with: the best, else the last, else the newest checkpoint.

        Raises:
            RunFolderError: the run has not reached its first checkpoint.
        """
        for path in (self.best, self.last, *reversed(self.checkpoint_paths())):
            if path.is_file():
                return path
        raise RunFolderError(
            f"{self.path}: holds no weights yet; let it reach a checkpoint: unetkit train --resume {self.path}"
        )

    def checkpoint_paths(self) -> list[Path]:
        """List the checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*.safetensors"))

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and config.yaml where it is gone; delete the oldest beyond `train.keep_checkpoints`.

        Raises:
            StorageError: the disk did not take it, or the folder is gone.
        """
        if not (self.path / "config.yaml").exists():
            self.with_config(self.config)
        with written_to(self.path):
            (self.path / "checkpoints").mkdir(exist_ok=True)
        checkpoint.save(self.path / "checkpoints" / f"step-{checkpoint.card.step:08d}.safetensors")
        with written_to(self.path):
            for old in self.checkpoint_paths()[: -self.config.train.keep_checkpoints]:
                old.unlink(missing_ok=True)

    def newest_checkpoint(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """Read the newest checkpoint that is whole; `warn` takes a line about each damaged one on the way.

        Raises:
            RunFolderError: there are checkpoints, and all are damaged.
        """
        paths = self.checkpoint_paths()
        for path in reversed(paths):
            try:
                return Checkpoint.load(path)
            except DamagedFileError as error:
                warn(f"{error}; trying the one before")
        if paths:
            raise RunFolderError(
                f"{self.path}: all {len(paths)} checkpoints are damaged; start the run anew in another folder"
            )
        return None

    def send(self, warn: Callable[[str], None] | None = None) -> None:
        """Bring the image in object storage up to date, where the run has one.

        `warn` takes a line about a failure, which the next sending makes good; None: it is raised.

        Raises:
            RemoteError: the storage does not take it; all is in the folder here.
        """
        if self.mirror is None:
            return
        try:
            self.mirror.push()
        except RemoteError as error:
            if warn is None:
                raise RemoteError(f"{error}; the whole run lies in {self.path}") from error
            warn(f"{error}; it will be tried again after the next checkpoint")

    def append_log(self, record: Record) -> None:
        """Append one object to log.jsonl.

        Raises:
            StorageError: the disk is full.
        """
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        except OSError as error:
            raise not_written(self.path / "log.jsonl", error) from error

    def read_log(self) -> list[Record]:
        """Return the objects of log.jsonl; a last line that was cut off is passed over.

        Raises:
            RunFolderError: another line is damaged.
        """
        path = self.path / "log.jsonl"
        content = path.read_bytes() if path.is_file() else b""
        lines, records = content.splitlines(), list[Record]()
        for number, line in enumerate(lines, 1):
            record = _parsed(line)
            if record is not None and isinstance(record.get("step"), int):
                records.append(record)
            elif number < len(lines) or content.endswith(b"\n"):
                raise RunFolderError(
                    f"{path}: damaged: line {number} is not a JSON object with a step; delete that line"
                )
        return records

    def cut_log(self, *, after_step: int) -> None:
        """Drop the lines of steps that will be done again."""
        kept = [json.dumps(record) + "\n" for record in self.read_log() if record["step"] <= after_step]
        atomic_write(self.path / "log.jsonl", "".join(kept))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder whole."""
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any | None:
        """Read a JSON file of the folder; None where it is not there.

        Raises:
            RunFolderError: it does not hold a JSON object, or not what is read of it.
        """
        path = self.path / name
        if not path.is_file():
            return None
        record, what = _parsed(path.read_bytes()), "not a JSON object"
        try:
            if record is not None:
                _FORMS.get(name, _OBJECT).validate_python(record)
                return record
        except ValidationError as error:
            what = first_complaint(error)
        raise RunFolderError(
            f"{path}: damaged: {what}; bring it back from a copy, or delete it: "
            f"unetkit train --resume {self.place} writes it anew"
        )

    @property
    def is_held(self) -> bool:
        """Whether a process is training here."""
        return is_locked(self.path / ".lock")

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep every other training out of this folder until the end of the block.

        Raises:
            RunFolderError: another process is training here.
        """
        with alone_in(self.path):
            yield


def create_run(path: Path, config: Config) -> Run:
    """Make a new run folder as `new_run` does, and leave it to whoever holds it next."""
    with new_run(path, config) as run:
        return run


@contextmanager
def new_run(path: Path, config: Config) -> Generator[Run]:
    """Make a new run folder with its config.yaml and environment.json, held until the end of the block.

    A path in object storage gives a folder of this user, whose image there grows with it.

    Raises:
        RunFolderError: something lies there already.
        StorageError: the folder cannot be made.
        RemoteError: object storage cannot be reached.
    """
    if is_remote(path):
        mirror = Mirror.of(path)
        url = mirror.place.url
        if not mirror.is_new():
            raise RunFolderError(
                f"{url}: something is there; continue a run with --resume {url}, or choose another --out"
            )
        if is_taken(mirror.folder):
            raise RunFolderError(
                f"{url}: is empty, but {mirror.folder} holds a run for it, which was not sent or was deleted there; go "
                f"on with --resume {mirror.folder}, or delete that folder"
            )
        with new_run(mirror.folder, config) as run:
            yield replace(run, mirror=mirror)
        return
    require_new(path)
    make_folder(path)
    with alone_in(path):
        require_new(path)  # another process may have been faster
        run = Run(path, config).with_config(config)
        run.write_json("environment.json", environment(config))
        yield run


def require_new(path: Path) -> None:
    """Make sure that a folder is not there, or holds nothing but what a start that was killed has left of itself.

    Raises:
        RunFolderError: something else lies there.
    """
    if (path / "config.yaml").exists():
        raise RunFolderError(f"{path}: holds another run; continue it with --resume {path}, or choose another --out")
    if is_taken(path, but=(".lock", ".config.yaml.")):
        raise RunFolderError(
            f"{path}: is not an empty folder; choose another --out, so that nothing of yours is overwritten"
        )


@contextmanager
def alone_in(path: Path, doing: str = "training") -> Generator[None]:
    """Keep every other process that writes a run, or runs, out of a folder; `doing` says what it does.

    Raises:
        RunFolderError: another one is at work there.
        StorageError: the folder cannot be written to.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(path / ".lock"))
        except BlockingIOError:
            owner = path / ".lock.owner"  # where the file system has no locks
            hint = f"; if none is, on any machine, delete {owner}" if owner.exists() else ""
            raise RunFolderError(
                f"{path}: another process is {doing} in this folder; wait for it or stop it{hint}"
            ) from None
        except OSError as error:
            raise not_written(path, error) from error
        yield


def open_run(run: Run | str | Path) -> Run:
    """Open a run folder that exists; one in object storage is brought here first, and a run is one already.

    Raises:
        RunFolderError: not a run folder.
        ConfigError: its config.yaml was edited into something that is not a configuration.
    """
    if isinstance(run, Run):
        return run
    path = Path(run)
    if is_remote(path):
        mirror = Mirror.of(path)
        mirror.pull()
        return replace(open_run(mirror.folder), mirror=mirror)
    file = path / "config.yaml"
    if not file.is_file():
        raise RunFolderError(f"{path}: not a run folder (no config.yaml in it); expected one that `unetkit train` made")
    return Run(path, load_config(file, stored=True))


def environment(config: Config) -> Record:
    """Describe when and where a training of this configuration begins: machine, device, versions."""
    packages: dict[str, str | None] = {}
    for name in ("unetkit", "torch", "numpy", "scipy", "tifffile", "pillow", "safetensors", "pydantic"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    device = choose_device(config.train.device)
    return {
        "started": now(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor,
        "cores": available_cores(),
        "device": device_name(device),
        "precision": str(choose_precision(config.train.precision, device)).removeprefix("torch."),
        "packages": packages,
        "lock": _installed("unetkit"),
    }


def now() -> str:
    """Return the time in UTC, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache  # it reads a file a package
def _installed(package: str) -> dict[str, str]:
    """Return the versions of a package and of all that it needs, sorted by name; extras are left out."""
    found, todo = dict[str, str](), [package]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # of another system, as its marker says
            continue
        needed = [text for text in metadata.requires(name) or [] if "extra ==" not in text]
        todo += [match[0] for text in needed if (match := re.match(r"[\w.-]+", text))]
    return dict(sorted(found.items()))


def _parsed(content: bytes) -> Record | None:
    """Return the JSON object that bytes hold; None where they hold something else."""
    try:
        record: Any = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return cast(Record, record) if isinstance(record, dict) else None
