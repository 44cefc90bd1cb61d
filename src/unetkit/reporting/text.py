"""Scores for a terminal: the few numbers that decide, the ISBI challenge's tables, what every score means.

Takes evaluations in the form of evaluation.json, so that a file can be shown as well as what was computed just now. All
lines fit into 100 columns. Does not know how scores are computed.
"""

import json
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unetkit.evaluation.compare import Head
from unetkit.evaluation.crossval import OutOfFold, spreads
from unetkit.evaluation.score import Evaluation
from unetkit.evaluation.tune import Tuning
from unetkit.metrics import FAMILIES, PUBLISHED, deciding_scores, definition_of, family_of

WIDTH, _KEY = 100, 12

PUBLISHED_NOTE = (
    "published values are of the challenge's hidden test labels: on other labels, such as the training stack's, "
    "the same numbers say less, and thresholds here were chosen on the scored slices"
)


def shown(value: float | None) -> str:
    """Return a score with four decimals, or a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def counted(words: Sequence[str]) -> str:
    """Return how often each word is there: `3 finished, 1 failed`."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())


def short_formula(name: str) -> tuple[str, str]:
    """Return a score's formula without and with its symbols: the rule, and what its letters stand for."""
    rule, _, symbols = definition_of(name).formula.partition(", ")
    return rule, symbols


def labelled_line(key: str, text: str) -> str:
    """Return a line of a result: what it is about, and what there is to say."""
    indent = " " * _KEY
    return "\n".join(textwrap.wrap(f"{key:<{_KEY}}{text}", WIDTH, subsequent_indent=indent, break_on_hyphens=False))


def evaluation_table(content: Mapping[str, Any], *, metric: str | None = None, page: str | None = None) -> str:
    """Return the numbers that decide, each with its meaning, and below them `evaluation_lines`.

    `content` is as `Evaluation.as_json` gives it, `metric` what chose the weights, `page` a report of these scores.
    """
    scores: Mapping[str, float] = content["scores"]
    names = deciding_scores(scores, metric)
    width = max(len(name) for name in ("score", *names))
    lines = [f"{'score':<{width}}  {'value':>8}  meaning"]
    for name in names:
        card, value = definition_of(name), shown(scores[name])
        chooses = "; chooses the weights" if name == metric else ""
        text = f"{card.meaning}{' (lower is better)' if card.better == 'lower' else ''}{chooses}"
        text = textwrap.shorten(text, max(WIDTH - width - 12, 20), placeholder=" ...")
        lines.append(f"{name:<{width}}  {f'{scores[name]:.6f}' if name == 'warping_error' else value:>8}  {text}")
    return "\n".join([*lines, "", *evaluation_lines(content, metric=metric, page=page)])


def evaluation_lines(content: Mapping[str, Any], *, metric: str | None = None, page: str | None = None) -> list[str]:
    """Return the worst image, confidence, objects, notes, and where the rest of an evaluation is, a line each."""
    scores, images, lines = content["scores"], content["images"], list[str]()
    (ranking, *_) = deciding_scores(scores, metric)
    frame = ranking.removesuffix("_per_image")
    own = [(image["scores"].get(ranking, image["scores"].get(frame)), image["name"]) for image in images]
    if len(images) == 1:
        lines.append(labelled_line("image", images[0]["name"]))
    elif ranked := sorted(pair for pair in own if pair[0] is not None):
        value, name = ranked[-1 if definition_of(ranking).better == "lower" else 0]
        lines.append(labelled_line("worst", f"{name}: {ranking} {shown(value)}, of {len(images)} images"))
    if (confidence := content.get("confidence")) is not None:
        temperature, before = confidence["temperature"], confidence["expected_calibration_error"]
        after = confidence["calibrated"]["expected_calibration_error"]
        sure = "as sure as right" if abs(temperature - 1) < 0.02 else "too sure" if temperature > 1 else "too unsure"
        better = f"{100 * after:.2g} % at temperature {temperature:.2f}"
        lines.append(labelled_line("confidence", f"{sure}, off by {100 * before:.2g} % on average; {better}"))
    if (objects := content.get("objects")) is not None:
        counts = objects["counts"]
        found = f"{counts['true']} true, {counts['predicted']} predicted, {counts['matched_50']} pairs at IoU .5"
        rest = f"{counts['split']} true split, {counts['merged']} predicted that merge several"
        lines.append(labelled_line("objects", f"{found}; {rest}"))
    lines += [labelled_line("note", note) for note in content["notes"]]
    asked = {family_of(name) for name in scores}
    left = " ".join(name for name in ("objects", "binary", "surface", "isbi", "legacy") if name not in asked)
    where = "--json FILE" if page is None else f"--json FILE, {page}"
    lines.append(labelled_line("more", f"all {len(scores)} scores, and those of every image: {where}"))
    further = f"; further ones: evaluate --metrics {left}" if left else ""
    return [*lines, labelled_line("", f"what they mean: unetkit metrics{further}")]


def chosen_lines(tuning: Tuning) -> list[str]:
    """Return the keys that were chosen with their values, and by what, a line each."""
    threshold, by = tuning.predict.threshold, tuning.predict.threshold_chosen
    lines = [f"chosen: predict.threshold={json.dumps(threshold)}"]
    lines.append(f"by {by}" if by else "by the highest foreground_dice, which the most probable class gives")
    if (objects := tuning.objects) is not None:
        numbers = objects.model_dump(exclude_defaults=True, exclude={"chosen", "chosen_on"})
        lines.append(
            f"chosen: {' '.join(f'objects.{key}={value}' for key, value in numbers.items()) or 'the defaults'}"
        )
        lines.append(f"by {objects.chosen}")
    return lines


def spread_table(scores: OutOfFold, *, metric: str) -> str:
    """Return the scores that decide over all images out of fold, and their spread over the trainings."""
    found, whole = spreads(scores), scores.whole.scores
    names = deciding_scores(whole, metric)
    width = max(len(name) for name in ("score", *names))
    lines = [f"{'score':<{width}}  {'out of fold':>11}  {'mean':>7}  {'std':>6}  {'min':>7}  {'max':>7}"]
    for name in names:
        one = found.get(name)
        spread = f"  {one.mean:7.4f}  {one.std:6.4f}  {one.low:7.4f}  {one.high:7.4f}" if one else ""
        lines.append(f"{name:<{width}}  {whole[name]:>11.4f}{spread}")
    lines.append("")
    lines.append(f"out of fold: over all {len(scores.whole.images)} images, each predicted by what had not seen it")
    lines.append(f"mean to max: over {len(scores.members)} trainings, each on what it held out")
    return "\n".join(lines)


def heads_table(heads: Sequence[Head], metric: str) -> str:
    """Return the heads of a UNet++ as aligned lines."""
    lines = [f"head  parameters  s/Mpx  {metric}"]
    for head in heads:
        value = shown(head.scores.get(metric))
        lines.append(f"{head.head:>4}  {head.parameters:>10,}  {head.seconds_per_megapixel:>5.2f}  {value}")
    return "\n".join(lines)


def families_text() -> Iterator[str]:
    """Yield the families of metrics with the definition of every score, line by line."""
    for name, family in FAMILIES.items():
        yield f"{name}: {family.about}"
        yield from textwrap.wrap(family.when, WIDTH, initial_indent="  ", subsequent_indent="  ")
        formulas = set(map(short_formula, family.definitions))
        often = Counter(symbols for _, symbols in formulas if symbols)
        for score, card in family.definitions.items():
            if score.endswith("_per_image"):
                continue  # the same of each image by itself: said at the end
            said = f"{score}  {card.meaning} ({card.better} is better)"
            yield from textwrap.wrap(said, WIDTH, initial_indent="  ", subsequent_indent=" " * 4)
            rule, symbols = short_formula(score)
            formula = rule if often[symbols] > 1 else card.formula
            yield from textwrap.wrap(formula, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        for symbols, rules in often.items():
            if rules > 1:
                yield from textwrap.wrap(f"with {symbols}", WIDTH, initial_indent="  ", subsequent_indent=" " * 4)
        yield ""
    yield "..._per_image: each image by itself, then the mean over images; --json has whole definitions"


def isbi_tables(evaluation: Evaluation, *, slices: bool = False) -> str:
    """Return the challenge's numbers with their thresholds next to the published ones; and every slice's, if asked."""
    assert evaluation.isbi is not None
    chosen = evaluation.isbi.chosen()
    names = list(chosen)

    def digits(name: str, value: float | None) -> str:
        # The warping error is of the order of 0.0001.
        return f"{value:.6f}" if name == "warping_error" and value is not None else shown(value)

    rows = [
        ["", *names],
        ["this evaluation", *(digits(name, score.value) for name, score in chosen.items())],
        ["  at threshold", *(f"{score.threshold:.1f}" for score in chosen.values())],
        *([title, *(digits(name, values.get(name)) for name in names)] for title, values in PUBLISHED.items()),
    ]
    parts = [aligned(rows), labelled_line("note", PUBLISHED_NOTE)]
    if slices:
        each = ([one.name, *(digits(name, one.scores[name]) for name in names)] for one in evaluation.images)
        parts.append(aligned([["slice", *names], *each]))
    return "\n\n".join(parts)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [[f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join([f"{row[0]:<{widths[0]}}", *cells[1:]]) for row, cells in zip(rows, lines, strict=True))
