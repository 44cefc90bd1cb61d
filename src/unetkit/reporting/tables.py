"""The tables of a run: where the time went, what the data was, what was configured, its scores and what each means.

Assumes the JSON files of a run folder; an entry that is missing is left out, one that is unknown is shown as it is. A
class that is absent has no score; its place holds a dash. Does not know where scores come from.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from markupsafe import Markup
from pydantic import BaseModel

from unetkit.config import Config
from unetkit.evaluation.score import Evaluation
from unetkit.metrics import DEFINITIONS, Definition, definition_of
from unetkit.metrics.definitions import said_range
from unetkit.metrics.objects import TWENTIETHS
from unetkit.metrics.overlap import class_labels
from unetkit.reporting.history import History, image_score, milestones, number_in, ranked, ranking_metric
from unetkit.reporting.html import Content, Facts, Table, breakable, code, prose
from unetkit.reporting.text import short_formula, shown
from unetkit.run import Record, Run

_WORK = {
    "reading": "opening, checking and describing the data, and laying it out for the training",
    "training": "updates of the weights alone: the train_seconds of the log",
    "validation": "scoring the held-out images on the way",
    "checkpoints": "writing checkpoints",
    "report": "scoring the best weights at the end and writing this page, the time before",
}
_FEWEST_NAMES, _MOST_NAMES, _MOST_LETTERS = 4, 60, 600
MOST_COLUMNS = 8
MOST_ROWS = 60
_OBJECTS = ("mean_precision", "f1_50", "aji")  # columns of the table of images, where objects were looked for
_FIELDS = {
    "formula": "Formula",
    "classes": "Classes",
    "averaging": "Averaging",
    "absent": "Absent class",
    "threshold": "Threshold",
    "resolution": "Pixels",
    "source": "Source",
}


def time_table(run: Run, history: History) -> Table:
    """Return the seconds that every kind of work took, as summary.json says or, unfinished, as far as the log knows."""
    summary: Record = run.read_json("summary.json") or {}
    so_far = sum(number_in(line, "validation_seconds") or 0.0 for line in history.validations)
    known: Record = summary.get("seconds") or {"training": history.train_seconds, "validation": so_far}
    seconds = {name: value for name in (*_WORK, *known) if (value := number_in(known, name)) is not None}
    total = sum(seconds.values())
    rows: list[list[Content]] = [
        [name.capitalize(), f"{value:.1f}", f"{100 * value / total:.1f}" if total else "–", _WORK.get(name, "")]
        for name, value in seconds.items()
    ]
    caption = "Where the time went, in seconds, and the share of all of it in percent."
    if not summary:
        caption += " The run is not finished: its log holds the work so far."
    rows.append([Markup("<b>Together</b>"), f"{total:.1f}", "100.0" if total else "–", ""])
    return Table(caption, ["Work", "Seconds", "Share, %", "What it is"], rows, numbers=(1, 2))


def data_facts(run: Run) -> Facts | None:
    """Return what data.json says of the data; None where it is missing."""
    data: Record | None = run.read_json("data.json")
    if data is None:
        return None
    split, figures = run.config.data.split, dict[str, str]()
    for name in ("minimum", "maximum", "mean"):
        value = number_in(data, name)
        figures[name] = "–" if value is None else f"{value:.5g}"
    if split.method in ("none", "given"):
        divided = split.method
    elif split.method == "last":
        divided = f"the last {100 * split.share:g} % of the samples in their order"
    else:
        divided = f"{split.method}, fold {split.fold} (from 0) of {split.folds}, seed {split.seed}"
    statistics: dict[str, list[float]] = data.get("normalization") or {}
    written = "; ".join(f"{name} {', '.join(f'{value:.5g}' for value in entry)}" for name, entry in statistics.items())
    normalization = f"{run.config.data.normalization}: {written}, in stored units, of the training images"
    shares = list(zip(data.get("classes", []), data.get("class_shares", []), strict=False))
    sizes: dict[str, int] = data.get("sizes", {})
    weights: dict[str, float] = data.get("class_weights", {})
    weighed = "; ".join(f"{name} {value:.3g}" for name, value in weights.items())
    return [
        ("Path", code(run.config.data.path or "–")),
        ("Samples", str(data.get("samples", "–"))),
        ("Sizes", "; ".join(f"{count} of {size}" for size, count in sizes.items()) + " (channels, height, width)"),
        (
            "Stored values",
            f"{data.get('dtype', '–')}, {figures['minimum']} to {figures['maximum']}, mean {figures['mean']}",
        ),
        ("Shares of classes", "; ".join(f"{name} {100 * share:.2f} %" for name, share in shares) or "–"),
        *([("Weights of classes", weighed)] if weights else []),
        ("Normalisation", normalization if written else "–"),
        ("Trained on", _names(data.get("train", []))),
        ("Held out", _names(data.get("validation", [])) if data.get("validation") else "nothing"),
        ("Split", divided),
        *((one["severity"].capitalize(), one["found"]) for one in data.get("findings", [])),
        ("SHA-256 of pixels", code(str(data.get("sha256_pixels", "–")))),
        ("SHA-256 of labels", code(str(data.get("sha256_labels", "–")))),
    ]


def _names(names: list[str]) -> str:
    longest = max((len(name) for name in names), default=1)
    most = max(_FEWEST_NAMES, min(_MOST_NAMES, _MOST_LETTERS // longest))
    more = f" and {len(names) - most} more (data.json has all)" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def config_table(config: Config) -> Table:
    """Return every key with its value and meaning; what differs from the defaults is marked and shows its default."""
    keys = list(settings(config, Config()))
    differing = [number for number, (_, value, default, _) in enumerate(keys) if value != default]
    rows = [
        [code(key), code(value), code(default if value != default else ""), prose(meaning)]
        for key, value, default, meaning in keys
    ]
    caption = "The configuration, every key. Marked ▸ and bold: differs from the default, which is in the next column."
    return Table(caption, ["Key", "Value", "Default", "Meaning"], rows, marked=differing, kind="settings")


def settings(section: BaseModel, default: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield dotted key, value, default value and meaning of every key below a section."""
    for name, field in type(section).model_fields.items():
        value, usual = getattr(section, name), getattr(default, name)
        if isinstance(value, BaseModel):
            yield from settings(value, usual, f"{prefix}{name}.")
        else:
            plain = [json.loads(one.model_dump_json(include={name}))[name] for one in (section, default)]
            value, usual = (json.dumps(one, ensure_ascii=False) for one in plain)
            yield prefix + name, value, usual, field.description or ""


def environment_facts(run: Run) -> Facts | None:
    """Return what environment.json says of the machine and the versions; None where it is missing."""
    environment: Record | None = run.read_json("environment.json")
    if environment is None:
        return None
    lines: list[tuple[str, Content]] = [
        (key.capitalize(), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in environment.items()
        if key not in ("command", "packages", "lock")
    ]
    packages: Record = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return [*lines, ("Packages", versions or "–")]


@dataclass(frozen=True, slots=True)
class Commands:
    """The command that started a run, and one that does the same from its folder."""

    started: str
    again: str


def commands(run: Run) -> Commands:
    """Return the command that started the run, and one that does the same from its folder."""
    environment: Record = run.read_json("environment.json") or {}
    words: list[str] = environment.get("command") or []
    started = "not recorded"
    if words:
        program = Path(words[0])
        name = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
        started = shlex.join([*name, *words[1:]])
    return Commands(started, shlex.join(["unetkit", "train", str(run.path / "config.yaml"), "--out", "NEW_FOLDER"]))


def score_table(evaluation: Evaluation, metric: str, *, marks: str) -> Table:
    """Return every score of the set with its range over the images and its rule; `marks` says what `metric` is."""
    names, rows = list(evaluation.scores), list[list[Content]]()
    for name in names:
        values = [value for image in evaluation.images if (value := image_score(image, name)) is not None]
        lowest, highest = shown(min(values, default=None)), shown(max(values, default=None))
        kind = " (mean over images)" if "mean over images" in definition_of(name).averaging else ""
        link = Markup('<a href="#def-{}">{}</a>').format(frame_of(name, evaluation.classes), breakable(name))
        rule = Markup('<code class="rule">{}</code>').format(short_formula(name)[0] + kind)
        rows.append([link, shown(evaluation.scores[name]), lowest, highest, rule])
    marked = [number for number, name in enumerate(names) if name == metric]
    caption = (
        f"Scores over the {len(evaluation.images)} held-out images, with the lowest and the highest value of a single "
        f"image. Whole definitions are at the end of this page. Marked ▸: {marks}."
    )
    return Table(caption, ["Score", "Value", "Lowest", "Highest", "Rule"], rows, numbers=(1, 2, 3), marked=marked)


def object_table(evaluation: Evaluation) -> Table | None:
    """Return what became of the objects at every threshold of IoU; None where none were looked for."""
    counts = evaluation.object_counts
    if counts is None:
        return None
    pairs = counts.matched
    either = np.maximum(counts.true + counts.predicted - pairs, 1)
    rows: list[list[Content]] = [
        ["Pairs", *map(str, pairs)],
        ["Missed", *map(str, counts.true - pairs)],
        ["False", *map(str, counts.predicted - pairs)],
        ["Precision (DSB)", *(shown(part / whole) for part, whole in zip(pairs, either, strict=True))],
    ]
    caption = (
        f"What became of {counts.true} true and {counts.predicted} found objects of all images, by the IoU above which "
        f"two are a pair. Precision is pairs / (pairs + missed + false), here of summed counts. {counts.split} true "
        f"objects are split into several, {counts.merged} found ones merge several."
    )
    head = ["IoU above", *(f"{twentieths / 20:.2f}" for twentieths in TWENTIETHS)]
    return Table(caption, head, rows, numbers=range(1, len(head)))


def image_table(evaluation: Evaluation, metric: str) -> Table:
    """Return the scores of every image, the worst first; of very many images both ends."""
    metric = ranking_metric(evaluation, metric)
    order = [image for _, image in ranked(evaluation, metric)]
    order += [image for image in evaluation.images if image_score(image, metric) is None]
    names = dict.fromkeys(name for image in evaluation.images for name in image.scores)
    base = metric if metric in names else metric.removesuffix("_per_image")
    columns = list(dict.fromkeys((base, *(name for name in _OBJECTS if name in names), *names)))[:MOST_COLUMNS]
    few = len(order) <= MOST_ROWS
    ends = order if few else [*order[: MOST_ROWS // 2], *order[-MOST_ROWS // 2 :]]
    rows = [[image.name, *(shown(image.scores.get(name)) for name in columns)] for image in ends]
    left_out = len(names) - len(columns)
    notes = [
        f"Scores of each image, by {base}, the worst first. A dash: the class is in neither truth nor prediction.",
        *([] if few else [f" The {MOST_ROWS} at the ends of {len(order)} images."]),
        *([f" Left out for want of width: {left_out} scores; unetkit evaluate --json gives all."] if left_out else []),
    ]
    head = ["Image", *(breakable(name) for name in columns)]
    return Table("".join(notes), head, rows, numbers=range(1, len(head)), kind="images")


def milestone_table(history: History, metric: str) -> Table | None:
    """Return when the run first reached which level of a score; None where it reached none."""
    reached = milestones(history, metric)
    if not reached:
        return None
    sign = "≥" if definition_of(metric).better == "higher" else "≤"
    head = ["Level", *(f"{sign} {one.level:.2f}" for one in reached)]
    steps = ["Step", *(str(one.step) for one in reached)]
    seconds = ["Seconds of training", *(f"{one.train_seconds:.1f}" for one in reached)]
    words = "When {} was first at a level, as validations show: it was reached there or since the one before."
    caption = Markup(words).format(breakable(metric))
    return Table(caption, head, [steps, seconds], numbers=range(1, len(head)))


@dataclass(frozen=True, slots=True)
class DefinitionCard:
    """What scores of one formula mean."""

    names: Sequence[str]
    facts: Facts


def definition_cards(names: Sequence[str], classes: Sequence[str]) -> list[DefinitionCard]:
    """Return what the scores of these names mean; scores of one formula share a card."""
    by_formula: dict[str, list[Definition]] = {}
    for name in dict.fromkeys(frame_of(name, classes) for name in names):
        by_formula.setdefault(definition_of(name).formula, []).append(definition_of(name))
    cards: list[DefinitionCard] = []
    for same in by_formula.values():
        first, facts = same[0], list[tuple[str, Content]]()
        for field, title in _FIELDS.items():
            said = {one.name: str(asdict(one)[field]) for one in same}
            if len(set(said.values())) == 1:
                facts.append((title, said[first.name]))
            else:
                lines = (Markup("<p>{}: {}</p>").format(breakable(name), text) for name, text in said.items())
                facts.append((title, Markup("").join(lines)))
        facts.append(("Range", said_range(first)))
        cards.append(DefinitionCard([one.name for one in same], facts))
    return cards


def frame_of(name: str, classes: Sequence[str]) -> str:
    """Return the name of the definition that a score follows: `dice_{class}` for `dice_nucleus`.

    Raises:
        ConfigError: there is no such score.
    """
    return _frames(tuple(classes)).get(name) or definition_of(name).name


@cache
def _frames(classes: tuple[str, ...]) -> dict[str, str]:
    """Return the frame of every score that could be there by the score's name."""
    labels = class_labels(classes)
    return {frame.replace("{class}", label): frame for frame in DEFINITIONS for label in labels}
