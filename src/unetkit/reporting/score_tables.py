"""The tables of scores: of the set, of every image, when which level was reached, and what each number means.

A class that is not there has no score; its place holds a dash. Does not know where the scores come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from unetkit.evaluation import Evaluation
from unetkit.metrics import DEFINITIONS, Definition, ImageScores, ObjectCounts, definition_of
from unetkit.metrics.matching import TWENTIETHS
from unetkit.metrics.overlap import class_labels
from unetkit.reporting.history import History, milestones
from unetkit.reporting.markup import Content, Html, breakable, facts, joined, table, tag
from unetkit.reporting.ranking import image_score, ranked, ranking_metric
from unetkit.reporting.text import short_formula, shown

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
