"""What is known of a run, gathered once for whoever tells it, the research object too; and its model card.

Nothing is guessed: what a run's files and its user do not say is None or empty, and is left out wherever it would
stand. Where data came from is told by its checksum (`data.fetch.KNOWN`), by its user, or by its address in object
storage; a path of this machine is nobody else's business.

The model card is README.md in the form of the Hugging Face Hub, front matter and text from the same facts. The front
matter has the Hub's own keys (license, library_name, tags, model-index ...). Texts of users are escaped, so that they
stay in their cell.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unetkit.config.text import write_yaml
from unetkit.data import SAMPLE
from unetkit.data.fetch import KNOWN
from unetkit.errors import RunFolderError
from unetkit.metrics import deciding_scores, definition_of
from unetkit.metrics.definitions import Definition
from unetkit.modelfile.about import UNET, About, DataSource
from unetkit.modelfile.card import StoredNetwork
from unetkit.models import build_outline, count_parameters
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
        return count_parameters(build_outline(self.network.model))


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


def readme(facts: Facts, *, name: str = "FOLDER") -> str:
    """Return the text of a model card.

    Args:
        facts: of the run.
        name: by which its reader opens the model: of its repository, such as "ada/membranes", or of its folder.
    """
    remote = re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None
    extra = "'unetkit[hub]'" if remote else "unetkit"
    call = f'unetkit.from_pretrained("{name}")' if remote else f'unetkit.load("{name}")'
    card, about, source = facts.network.card, facts.about, _plain(facts.data_name)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (card.mean, card.std))
    together = f", {card.slices} slices of {card.image_channels}" if card.context else ""
    grey = " or [H, W]" if card.channels == 1 else ""
    network = {
        "architecture": facts.network.model.name,
        "trained values": f"{facts.parameters:,}",
        "input": f"{card.channels} channel{'s'[: card.channels - 1]}{together}, any height and width",
        "classes": ", ".join(facts.classes),
        "normalisation": f"(pixels - mean) / std, mean {mean}, std {std}",
    }
    counts = (f"{len(facts.data[part])} {words}" for part, words in _PARTS.items() if facts.data.get(part))
    versions = (f"{package} {facts.environment['packages'].get(package)}" for package in ("unetkit", "torch"))
    training = {
        "data": f"[{source}]({facts.source.url})" if facts.source.url else source,
        "licence of the data": facts.source.license or "",
        "images": ", ".join(counts),
        "SHA-256 of the pixels": facts.data["sha256_pixels"],
        "weights of step": f"{card.step:,} of {facts.run.config.train.steps:,}",
        "machine": f"{facts.environment['processor']}, {facts.environment.get('device', 'cpu')}",
        "versions": ", ".join(versions),
    }
    cite = [f"By {_plain(', '.join(one.name_with_place for one in about.authors))}."] if about.authors else []
    cite += [f"{_plain(one.text)}{f' <{one.link}>' if one.link else ''}" for one in (*about.citations, UNET)]
    parts = [
        f"---\n{write_yaml(front_matter(facts))}---",
        f"# {_plain(facts.title)}\n\n{_plain(facts.description)}",
        "## Use",
        f"    pip install {extra}",
        f"```python\nimport unetkit\n\npredictor = {call}\n"
        f"mask = unetkit.predict(predictor, image)  # [H, W] class indices of an array [C, H, W]{grey}\n```",
        f"## Network\n\n{_table(['', ''], network.items())}",
        f"## Training\n\n{_table(['', ''], ((key, value) for key, value in training.items() if value))}",
        *_validation(facts.scores),
        "## Cite",
        *cite,
    ]
    return "\n\n".join(parts) + "\n"


_PARTS = {"train": "trained on", "validation": "held out", "test": "in the test set"}


def front_matter(facts: Facts) -> dict[str, Any]:
    """Return what the Hub reads of a model card."""
    about, model = facts.about, facts.network.model
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {
                "name": facts.data_name,
                "type": re.sub(r"[^\w.-]+", "-", facts.data_name).strip("-").lower(),
                "split": images,
            },
            "metrics": [
                {"type": score.definition.name, "name": score.definition.meaning, "value": round(score.value, 6)}
                for score in facts.scores
                if score.images == images
            ],
        }
        for images in dict.fromkeys(score.images for score in facts.scores)
    ]
    matter = {
        "license": about.license.lower() if about.license else None,
        "library_name": "unetkit",
        "pipeline_tag": "image-segmentation",
        "tags": list(dict.fromkeys(["microscopy", "segmentation", model.name, *about.tags])),
        "metrics": list(dict.fromkeys(score.definition.name for score in facts.scores)),
        "model-index": [{"name": facts.title, "results": results}] if results else None,
    }
    return {key: value for key, value in matter.items() if value}


def _validation(scores: Sequence[Score]) -> list[str]:
    """Return the section of the scores; nothing where there are none."""
    if not scores:
        return []
    rows = [
        (score.images, str(score.count), f"`{score.definition.name}`", f"{score.value:.4f}", score.definition.meaning)
        for score in scores
    ]
    meanings = {score.definition.name: " ".join(score.definition.formula.split()) for score in scores}
    formulas = (f"- `{name}`: `{formula.replace('`', chr(39))}`" for name, formula in meanings.items())
    table = _table(["images", "how many", "score", "value", "meaning"], rows)
    return ["## Validation", table, "How they are computed:", "\n".join(formulas)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Return a user's text in one line that Markdown takes for nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
