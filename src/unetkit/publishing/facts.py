"""What is known of a run, gathered once for whoever tells it: the model card and the research object.

Nothing is guessed: what a run's files and its user do not say is None or empty, and is left out wherever it would
stand. Where data came from is told by its checksum (`data.fetch.KNOWN`), by its user, or by its address in object
storage; a path of this machine is nobody else's business.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from unetkit.data import SAMPLE
from unetkit.data.fetch import KNOWN
from unetkit.errors import RunFolderError
from unetkit.metrics import deciding_scores, definition_of
from unetkit.metrics.definitions import Definition
from unetkit.modelfile.about import About, DataSource
from unetkit.modelfile.card import StoredNetwork
from unetkit.models import build_model, count_parameters
from unetkit.prediction.load import read_network
from unetkit.run import Record, Run
from unetkit.storage import is_remote, url_of


@dataclass(frozen=True, slots=True)
class Score:
    """A score on some images, with its meaning.

    Attributes:
        value: of the score.
        definition: what it means.
        images: that it was computed on: "held-out" or "test".
        count: how many those are.
    """

    value: float
    definition: Definition
    images: str
    count: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run.

    Attributes:
        run: its folder.
        network: its best weights and their card.
        about: what only people know.
        data: data.json.
        environment: environment.json.
        ended: when it ended, in UTC.
        scores: those that decide, on the held-out images and then on the test set.
        source: where the data came from.
    """

    run: Run
    network: StoredNetwork
    about: About
    data: Record
    environment: Record
    ended: str
    scores: tuple[Score, ...]
    source: DataSource

    @property
    def title(self) -> str:
        """The title that people gave it, or what it does."""
        return self.about.title or f"{self.network.model.name} for {', '.join(self.classes)}"

    @property
    def description(self) -> str:
        """What people say of it, or what it does."""
        return self.about.description or f"{self.network.card.purpose}."

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the data has."""
        return self.network.card.data_classes

    @property
    def data_name(self) -> str:
        """A name for the data."""
        return self.source.name or "training data"

    @property
    def address(self) -> str | None:
        """Where the data lies in object storage; None where it lies on a disk."""
        path = str(self.run.config.data.path)
        return url_of(path) if is_remote(path) else None

    @property
    def parameters(self) -> int:
        """The number of the network's weights that are trained."""
        with torch.device("meta"):
            return count_parameters(build_model(self.network.model.model_copy(update={"init": "torch"})))


def gather(run: Run, about: About) -> Facts:
    """Gather what is known of a finished run.

    Raises:
        RunFolderError: it is not finished, or one of its files is damaged.
        ModelFileError: its weights are damaged.
    """
    summary, data, environment = (run.read_json(f"{name}.json") for name in ("summary", "data", "environment"))
    if summary is None or data is None or environment is None:
        raise RunFolderError(
            f"{run.place}: this training is not finished; finish it first: unetkit train --resume {run.place}"
        )
    evaluation: Record = run.read_json("evaluation.json") or {}
    scores = [*_scores(evaluation, run, "held-out"), *_scores(evaluation.get("test") or {}, run, "test")]
    changed = datetime.fromtimestamp((run.path / "summary.json").stat().st_mtime, UTC)
    ended: str = summary.get("ended") or changed.isoformat(timespec="seconds")  # it was not always recorded
    name = (
        "the sample that unetkit generates" if run.config.data.path == SAMPLE else Path(str(run.config.data.path)).name
    )
    public = (
        DataSource(name=key, url=one.page) for key, one in KNOWN.items() if data["sha256_pixels"] in one.pixels.values()
    )
    source = next(public, DataSource(name=name)).model_copy(update=about.data.model_dump(exclude_none=True))
    return Facts(run, read_network(run), about, data, environment, ended, tuple(scores), source)


def _scores(evaluation: Mapping[str, Any], run: Run, images: str) -> list[Score]:
    values: dict[str, float] = evaluation.get("scores") or {}
    finite = {name: value for name, value in values.items() if isinstance(value, float) and math.isfinite(value)}
    count = len(evaluation.get("images") or ())
    return [
        Score(finite[name], definition_of(name), images, count)
        for name in deciding_scores(finite, run.config.train.best_metric)
    ]
