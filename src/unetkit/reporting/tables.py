"""The tables of a run's record: where the time went, what the data was, what was configured, on which machine.

Assumes the JSON files of a run folder; an entry that is missing is left out, one that is unknown is shown as it is.

The tables of scores: of the set, of every image, when which level was reached, and what each number means.

A class that is not there has no score; its place holds a dash. Does not know where the scores come from.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from unetkit.config import Config
from unetkit.evaluation.score import Evaluation
from unetkit.metrics import DEFINITIONS, Definition, ImageScores, ObjectCounts, definition_of
from unetkit.metrics.objects import TWENTIETHS
from unetkit.metrics.overlap import class_labels
from unetkit.reporting.history import History, image_score, milestones, number_in, ranked, ranking_metric
from unetkit.reporting.markup import Content, Html, breakable, facts, joined, prose, table, tag
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


def time_table(run: Run, history: History) -> Html:
    """Return the seconds that every kind of work took, as summary.json says or, unfinished, as far as the log knows."""
    summary: Record = run.read_json("summary.json") or {}
    known: Record = summary.get("seconds") or _seconds_so_far(history)
    seconds = {name: value for name in (*_WORK, *known) if (value := number_in(known, name)) is not None}
    total = sum(seconds.values())
    rows: list[list[Content]] = [
        [name.capitalize(), f"{value:.1f}", f"{100 * value / total:.1f}" if total else "–", _WORK.get(name, "")]
        for name, value in seconds.items()
    ]
    caption = "Where the time went, in seconds, and the share of all of it in percent."
    if not summary:
        caption += " The run is not finished: its log tells of the work so far."
    rows.append([tag("b", "Together"), f"{total:.1f}", "100.0" if total else "–", ""])
    return table(caption, ["Work", "Seconds", "Share, %", "What it is"], rows, numbers=(1, 2))


def data_facts(run: Run) -> Html:
    """Return what data.json says of the data."""
    data: Record | None = run.read_json("data.json")
    if data is None:
        return tag("p", "The folder has no data.json: the data was not recorded.")
    shares = list(zip(data.get("classes", []), data.get("class_shares", []), strict=False))
    sizes: dict[str, int] = data.get("sizes", {})
    lowest, highest, mean = (_figure(data, name) for name in ("minimum", "maximum", "mean"))
    lines: list[tuple[str, Content]] = [
        ("Path", tag("code", run.config.data.path or "–")),
        ("Samples", str(data.get("samples", "–"))),
        ("Sizes", "; ".join(f"{count} of {size}" for size, count in sizes.items()) + " (channels, height, width)"),
        ("Stored values", f"{data.get('dtype', '–')}, {lowest} to {highest}, mean {mean}"),
        ("Shares of classes", "; ".join(f"{name} {100 * share:.2f} %" for name, share in shares) or "–"),
        *([("Weights of classes", _named(data["class_weights"]))] if "class_weights" in data else []),
        ("Normalisation", _normalisation(run, data)),
        ("Trained on", _names(data.get("train", []))),
        ("Held out", _names(data.get("validation", [])) if data.get("validation") else "nothing"),
        ("Split", _split_words(run.config)),
        *(("Doctor", f"{one['severity']}: {one['found']}") for one in data.get("findings", [])),
        ("SHA-256 of pixels", tag("code", str(data.get("sha256_pixels", "–")))),
        ("SHA-256 of labels", tag("code", str(data.get("sha256_labels", "–")))),
    ]
    return facts(lines)


def config_table(config: Config) -> Html:
    """Return every key with its value and meaning; what differs from the defaults is marked and shows its default."""
    keys = list(settings(config, Config()))
    differing = [number for number, (_, value, default, _) in enumerate(keys) if value != default]
    rows = [
        [tag("code", key), tag("code", value), tag("code", default if value != default else ""), prose(meaning)]
        for key, value, default, meaning in keys
    ]
    caption = "The configuration, every key. Marked ▸ and bold: differs from the default, which stands beside it."
    return table(caption, ["Key", "Value", "Default", "Meaning"], rows, marked=differing, kind="settings")


def settings(section: BaseModel, default: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield dotted key, value, default value and meaning of every key below a section."""
    for name, field in type(section).model_fields.items():
        value, usual = getattr(section, name), getattr(default, name)
        if isinstance(value, BaseModel):
            yield from settings(value, usual, f"{prefix}{name}.")
        else:
            yield prefix + name, _plain(section, name), _plain(default, name), field.description or ""


def environment_facts(run: Run) -> Html:
    """Return what environment.json says of the machine and the versions."""
    environment: Record | None = run.read_json("environment.json")
    if environment is None:
        return tag("p", "The folder has no environment.json: the machine was not recorded.")
    lines = [(key, _as_text(value)) for key, value in environment.items() if key not in ("command", "packages")]
    packages: Record = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return facts([*((key.capitalize(), text) for key, text in lines), ("Packages", versions or "–")])


def commands(run: Run) -> Html:
    """Return the command that started the run, and one that does the same from its folder."""
    environment: Record = run.read_json("environment.json") or {}
    command: list[str] = environment.get("command") or []
    started = shlex.join([*_program(command[0]), *command[1:]]) if command else "not recorded"
    again = shlex.join(["unetkit", "train", str(run.path / "config.yaml"), "--out", "NEW_FOLDER"])
    return joined(
        tag("p", "Started by:"),
        tag("pre", started),
        tag("p", "The same again, from the configuration that this folder keeps:"),
        tag("pre", again),
        tag("p", "On the same CPU, with the same versions, threads and data, every weight comes out the same."),
    )


def _program(path: str) -> list[str]:
    program = Path(path)
    return ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]


def _seconds_so_far(history: History) -> Record:
    validation = sum(number_in(line, "validation_seconds") or 0.0 for line in history.validations)
    return {"training": history.train_seconds, "validation": validation}


def _figure(data: Record, name: str) -> str:
    value = number_in(data, name)
    return "–" if value is None else f"{value:.5g}"


def _normalisation(run: Run, data: Record) -> str:
    numbers: dict[str, list[float]] = data.get("normalization") or {}
    values = "; ".join(f"{name} {', '.join(f'{value:.5g}' for value in entry)}" for name, entry in numbers.items())
    return f"{run.config.data.normalization}: {values}, in stored units, of the training images" if values else "–"


def _names(names: list[str]) -> str:
    longest = max((len(name) for name in names), default=1)
    most = max(_FEWEST_NAMES, min(_MOST_NAMES, _MOST_LETTERS // longest))
    more = f" and {len(names) - most} more (data.json has all)" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def _named(values: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:.3g}" for name, value in values.items())


def _split_words(config: Config) -> str:
    split = config.data.split
    if split.method in ("none", "given"):
        return split.method
    if split.method == "last":
        return f"the last {100 * split.share:g} % of the samples in their order"
    return f"{split.method}, fold {split.fold} (from 0) of {split.folds}, seed {split.seed}"


def _plain(section: BaseModel, name: str) -> str:
    return json.dumps(json.loads(section.model_dump_json(include={name}))[name], ensure_ascii=False)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


MOST_COLUMNS = 8
MOST_ROWS = 60
_OBJECTS = ("mean_precision", "f1_50", "aji")  # of objects, where they were looked for
_FIELDS = {
    "formula": "Formula",
    "classes": "Classes",
    "averaging": "Averaging",
    "absent": "Absent class",
    "threshold": "Threshold",
    "resolution": "Pixels",
    "source": "Source",
}


def score_table(evaluation: Evaluation, metric: str, *, marks: str = "the score that chooses the best weights") -> Html:
    """Return every score of the set with its range over the images and its rule; `marks` says what `metric` is."""
    names = scores_told(evaluation, metric)
    rows = [_score_row(evaluation, name, evaluation.scores[name]) for name in names]
    marked = [number for number, name in enumerate(names) if name == metric]
    caption = (
        f"Scores over the {len(evaluation.images)} held-out images, with the lowest and the highest value of a single "
        f"image. Definitions stand whole at the end of this page. Marked ▸: {marks}."
    )
    return table(caption, ["Score", "Value", "Lowest", "Highest", "Rule"], rows, numbers=(1, 2, 3), marked=marked)


def scores_told(evaluation: Evaluation, metric: str) -> list[str]:
    """Return the names of the scores that the page tells: all but forms for comparisons that choose no weights."""
    return [name for name in evaluation.scores if name == metric or not definition_of(name).aside]


def object_table(evaluation: Evaluation) -> Html:
    """Return what became of the objects at every threshold of IoU; nothing where none were looked for."""
    counts = evaluation.object_counts
    if counts is None:
        return joined()
    pairs = counts.matched
    rows: list[list[Content]] = [
        ["Pairs", *map(str, pairs)],
        ["Missed", *map(str, counts.true - pairs)],
        ["False", *map(str, counts.predicted - pairs)],
        ["Precision (DSB)", *(shown(part / whole) for part, whole in zip(pairs, _either(counts), strict=True))],
    ]
    caption = (
        f"What became of {counts.true} true and {counts.predicted} found objects of all images, by the IoU above which "
        f"two are a pair. Precision is pairs / (pairs + missed + false), here of summed counts. {counts.split} true "
        f"objects are split into several, {counts.merged} found ones merge several."
    )
    head = ["IoU above", *(f"{twentieths / 20:.2f}" for twentieths in TWENTIETHS)]
    return table(caption, head, rows, numbers=range(1, len(head)))


def _either(counts: ObjectCounts) -> NDArray[np.int64]:
    return np.maximum(counts.true + counts.predicted - counts.matched, 1)


def image_table(evaluation: Evaluation, metric: str) -> Html:
    """Return the scores of every image, the worst first; of very many images both ends."""
    metric = ranking_metric(evaluation, metric)
    order = [image for _, image in ranked(evaluation, metric)]
    order += [image for image in evaluation.images if image_score(image, metric) is None]
    names = dict.fromkeys(name for image in evaluation.images for name in image.scores)
    names = [name for name in names if not definition_of(name).aside]
    base = metric if metric in names else metric.removesuffix("_per_image")
    columns = list(dict.fromkeys((base, *(name for name in _OBJECTS if name in names), *names)))[:MOST_COLUMNS]
    rows = [[image.name, *(shown(image.scores.get(name)) for name in columns)] for image in _both_ends(order)]
    left_out = len(names) - len(columns)
    notes = [
        f"Scores of each image, by {base}, the worst first. A dash: the class is in neither truth nor prediction.",
        *([f" The {MOST_ROWS} at the ends of {len(order)} images."] if len(order) > MOST_ROWS else []),
        *([f" Left out for want of width: {left_out} scores; unetkit evaluate --json gives all."] if left_out else []),
    ]
    head = ["Image", *(breakable(name) for name in columns)]
    return table("".join(notes), head, rows, numbers=range(1, len(head)), kind="images")


def milestone_table(history: History, metric: str) -> Html:
    """Return when the run first reached which level of a score."""
    reached = milestones(history, metric)
    if not reached:
        return joined()
    sign = "≥" if definition_of(metric).better == "higher" else "≤"
    head = ["Level", *(f"{sign} {one.level:.2f}" for one in reached)]
    steps = ["Step", *(str(one.step) for one in reached)]
    seconds = ["Seconds of training", *(f"{one.train_seconds:.1f}" for one in reached)]
    caption = joined(
        "When ",
        breakable(metric),
        " first stood at a level. Only validations tell: it was reached there or since the one before.",
    )
    return table(caption, head, [steps, seconds], numbers=range(1, len(head)))


def definition_cards(names: Sequence[str], classes: Sequence[str]) -> Html:
    """Return what the scores of these names mean; scores of one formula share a card."""
    by_formula: dict[str, list[Definition]] = {}
    for name in dict.fromkeys(frame_of(name, classes) for name in names):
        card = definition_of(name)
        by_formula.setdefault(card.formula, []).append(card)
    return tag("div", *(_card(cards) for cards in by_formula.values()), class_="cards")


def frame_of(name: str, classes: Sequence[str]) -> str:
    """Return the name of the definition that a score follows: `dice_{class}` for `dice_nucleus`.

    Raises:
        ConfigError: there is no such score.
    """
    frames = {frame.replace("{class}", label): frame for frame in DEFINITIONS for label in class_labels(classes)}
    return frames.get(name) or definition_of(name).name


def _score_row(evaluation: Evaluation, name: str, value: float) -> list[Content]:
    values = [one for image in evaluation.images if (one := image_score(image, name)) is not None]
    rule = short_formula(name)[0]
    kind = " (mean over images)" if "mean over images" in definition_of(name).averaging else ""
    linked = tag("a", breakable(name), href=f"#def-{frame_of(name, evaluation.classes)}")
    return [
        linked,
        shown(value),
        shown(min(values, default=None)),
        shown(max(values, default=None)),
        tag("code", rule + kind, class_="rule"),
    ]


def _both_ends(order: Sequence[ImageScores]) -> Sequence[ImageScores]:
    half = MOST_ROWS // 2
    return order if len(order) <= MOST_ROWS else [*order[:half], *order[-half:]]


def _card(cards: Sequence[Definition]) -> Html:
    heading = [tag("h3", breakable(card.name), id=f"def-{card.name}") for card in cards]
    return tag("article", *heading, facts(list(_lines(cards))), class_="card")


def _lines(cards: Sequence[Definition]) -> Iterator[tuple[str, Content]]:
    """Yield what a card says; where its scores differ, once for each of them."""
    first = cards[0]
    for field, title in _FIELDS.items():
        said = {card.name: str(asdict(card)[field]) for card in cards}
        if len(set(said.values())) == 1:
            yield title, said[first.name]
        else:
            yield title, joined(*(tag("p", breakable(name), ": ", text) for name, text in said.items()))
    yield "Range", f"{first.low:g} to {first.high:g}, {first.better} is better"
