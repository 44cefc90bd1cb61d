"""The page of a run: one HTML file with everything in it; no script, nothing fetched, fit to be printed.

Puts together what the other files of this room draw. Does not write anything.

The worst and the best images of an evaluation: in the page as figures, in a folder of pictures as PNG files.

How far probabilities can be trusted, as a figure and in words: the diagram of confidence against truth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from unetkit.evaluation.score import Evaluation
from unetkit.metrics.calibration import Confidence, Reliability
from unetkit.reporting.history import Chosen, History, best_validation, extremes, ranking_metric
from unetkit.reporting.markup import Content, Html, breakable, facts, joined, picture, section, tag
from unetkit.reporting.pictures import (
    Example,
    error_names,
    error_shares,
    legend,
    panel,
    png,
    scale_note,
    stretch_note,
    tiles,
)
from unetkit.reporting.plots import STYLE
from unetkit.reporting.tables import (
    commands,
    config_table,
    data_facts,
    definition_cards,
    environment_facts,
    image_table,
    milestone_table,
    object_table,
    score_table,
    scores_told,
    time_table,
)
from unetkit.reporting.text import shown
from unetkit.run import Record, Run
from unetkit.storage.atomic import atomic_write
from unetkit.version import __version__

LoadExample = Callable[[str], Example]
"""Gives the image of a name with its truth and what the network says of it."""

_MOST_COLOURS = 24


def gallery(pictures: Path, evaluation: Evaluation, look: LoadExample, *, metric: str, each: int) -> Iterator[Html]:
    """Yield a figure for each of the worst and best images by a score, and write `worst-1.png` and so on.

    One image is held in memory at a time. Pictures of an earlier report are removed.

    Raises:
        StorageError: a picture cannot be written.
    """
    for old in (path for end in ("worst", "best") for path in pictures.glob(f"{end}-*.png")):
        old.unlink()
    metric = ranking_metric(evaluation, metric)
    for chosen in extremes(evaluation, metric, each):
        exhibit = look(chosen.image.name)
        heading = f"{chosen.title}: {exhibit.name}   {metric} {shown(chosen.value)}   {scale_note(exhibit)}"
        sheet = panel(exhibit, evaluation.classes, heading=heading)
        atomic_write(pictures / f"{chosen.end}-{chosen.place}.png", png(sheet))
        yield _figure(chosen, exhibit, evaluation.classes, metric)


def key(classes: Sequence[str], *, borders: bool = False, objects: bool = False) -> Html:
    """Return what the pictures show and what their colours mean."""
    colours = legend(classes, borders=borders, objects=objects)
    swatches = [tag("li", _swatch(colour), name) for colour, name in colours[:_MOST_COLOURS]]
    rest = [tag("li", f"and {len(colours) - _MOST_COLOURS} more")] if len(colours) > _MOST_COLOURS else []
    errors = (
        "Errors lie on the faded image, coloured by their kind."
        if len(classes) == 2
        else "Errors lie on the faded image, in the colour of the class that was predicted."
    )
    certain = f"the class {classes[1]}" if len(classes) == 2 else "the class that was predicted"
    words = f"{errors} The probability is that of {certain}: black is 0, white is 1."
    if objects:
        words += " Objects are partners where their IoU is above one half."
    return joined(tag("ul", *swatches, *rest, class_="key"), tag("p", words))


def _figure(chosen: Chosen, exhibit: Example, classes: Sequence[str], metric: str) -> Html:
    pictures = [
        tag("div", picture(png(tile.pixels), "image/png", f"{exhibit.name}: {tile.title}"), tag("span", tile.title))
        for tile in tiles(exhibit, classes)
    ]
    told = facts(list(_told(chosen, exhibit, classes, metric)))
    beside = tag("div", tag("h3", chosen.title.capitalize()), told, class_="told")
    caption = joined(tag("b", exhibit.name), f", {chosen.title} of the held-out images by ", breakable(metric), ".")
    return tag("figure", tag("div", *pictures, beside, class_="tiles"), tag("figcaption", caption), class_="exhibit")


def _told(chosen: Chosen, exhibit: Example, classes: Sequence[str], metric: str) -> Iterator[tuple[str, Content]]:
    yield "Image", exhibit.name
    yield metric, shown(chosen.value)
    for name in ("mean_precision", "pixel_accuracy", "mean_dice", "mean_iou"):
        if name in chosen.image.scores and name != metric:
            yield name, shown(chosen.image.scores[name])
    if len(classes) == 2:
        for name, share in zip(error_names(classes), error_shares(exhibit, classes), strict=True):
            yield name.capitalize(), f"{100 * share:.2f} % of pixels"
    else:
        yield "Wrong", f"{100 * float((exhibit.prediction != exhibit.labels).mean()):.2f} % of pixels"
    if (counts := chosen.image.objects) is not None:
        yield "Objects", f"{counts.true} true, {counts.predicted} found, {counts.matched[0]} pairs"
    yield "Size", scale_note(exhibit)
    yield "Grey values", stretch_note(exhibit)


def _swatch(colour: tuple[int, int, int]) -> Html:
    return tag("i", style=f"background:rgb{colour}")


_BLACK, _BLUE, _ORANGE = "#000000", "#0072B2", "#D55E00"


def confidence_part(confidence: Confidence, fate: str) -> list[Content]:
    """Return what the page says of a network's confidence; `fate` says what becomes of the temperature."""
    as_it_is, calibrated = confidence.reliability, confidence.calibrated
    rows: list[tuple[str, Content]] = [
        ("Expected calibration error", f"{as_it_is.error:.4f} as it is, {calibrated.error:.4f} calibrated"),
        ("That of each class", f"{as_it_is.class_error:.4f} as it is, {calibrated.class_error:.4f} calibrated"),
        (
            "Temperature",
            f"{confidence.temperature:.3f} (above 1: surer than right, below 1: less sure)",
        ),
    ]
    caption = (
        "a: of the pixels that are given a confidence, how many are right; on the dotted line confidence can be taken "
        "at its word. b: how many pixels are given it. Calibrated: logits divided by the temperature, which was fitted "
        f"on these same images; {fate}"
    )
    drawn = picture(_diagram(confidence), "image/svg+xml", "confidence against the share of right pixels")
    return [facts(rows), tag("figure", drawn, tag("figcaption", caption))]


def _diagram(confidence: Confidence) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with cast(Any, matplotlib).rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        axes: Any = figure.subplots(1, 2)
        axes[0].plot([0, 1], [0, 1], ":", color=_BLACK, linewidth=1, label="as certain as right")
        drawn = (
            (confidence.reliability, _BLUE, "o-", "as it is"),
            (confidence.calibrated, _ORANGE, "s--", "calibrated"),
        )
        for counts, colour, line, name in drawn:
            places, right, shares = _points(counts)
            axes[0].plot(places, right, line, color=colour, markersize=4, label=name)
            axes[1].plot(places, shares, line, color=colour, markersize=4, label=name)
        lowest = min(float(_points(counts)[0].min()) for counts, *_ in drawn)
        axes[0].set(title="a  reliability", xlabel="confidence", ylabel="share of right pixels", ylim=(0, 1.02))
        axes[1].set(title="b  pixels", xlabel="confidence", ylabel="share of all pixels", yscale="log")
        for one in axes:
            one.set_xlim(max(0.0, lowest - 0.05), 1.01)
            one.legend()
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _points(counts: Reliability) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, share of right pixels and share of all pixels, of every bin that has any."""
    pixels, confidence, right = counts.top[:, counts.top[0] > 0]
    return confidence / pixels, right / pixels, pixels / pixels.sum()


_KEPT = "it is kept with the weights and used where predict.calibrate asks for it."


def page(
    run: Run,
    history: History,
    evaluation: Evaluation | None,
    *,
    curves_svg: bytes | None,
    figures: Sequence[Html],
    extra: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        run: its folder is read for what was configured, seen and spent.
        history: the run's log.
        evaluation: of the run's weights on what was held out; None where there is none.
        curves_svg: the drawn curves; None where the log holds no steps.
        figures: the worst and best images.
        extra: further lines for the list at the top.
    """
    title = f"Training run {run.path.resolve().name}"
    parts: dict[str, Sequence[Content]] = {
        "Summary": [_summary(run, history, evaluation, extra)],
        "Course of the training": _course(run, history, curves_svg),
        "Scores on held-out images": _scores(run, evaluation),
        "Worst and best images": _figures(run, evaluation, figures),
        **_confidence(evaluation),
        "Time": [time_table(run, history)],
        "Data": [data_facts(run)],
        "Configuration": [config_table(run.config)],
        "How to do it again": [commands(run), environment_facts(run)],
        "What the scores mean": _definitions(run, evaluation),
    }
    return assembled(title, parts)


def assembled(title: str, parts: Mapping[str, Sequence[Content]]) -> str:
    """Return a whole page of parts under their headings, with a list of contents."""
    sections = [
        section(name, *content, anchor=f"part-{place}") for place, (name, content) in enumerate(parts.items(), 1)
    ]
    contents = tag("nav", *(tag("a", name, href=f"#part-{place}") for place, name in enumerate(parts, 1)))
    written = f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by unetkit {__version__}."
    body = tag("main", tag("h1", title), tag("p", written, class_="written"), contents, *sections)
    head = tag("head", tag("meta", charset="utf-8"), tag("title", title), Html(f"<style>{_style()}</style>"))
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en').markup}\n"


def status(run: Run, history: History) -> str:
    """Say in one sentence how far the run has come; an older summary counts for nothing once the run was extended."""
    steps, patience = run.config.train.steps, run.config.train.patience
    summary: Record | None = run.read_json("summary.json")
    done = -1 if summary is None else int(summary["step"])
    if done >= steps:
        return f"finished, all {steps} steps"
    if done >= history.step and patience is not None:
        return f"finished at step {done} of {steps}: the last {patience} validations were no better"
    return f"not finished: the log ends at step {history.step} of {steps}; go on with unetkit train --resume {run.path}"


def _summary(run: Run, history: History, evaluation: Evaluation | None, extra: Mapping[str, str]) -> Html:
    config, metric = run.config, run.config.train.best_metric
    network, train = config.model, config.train
    lines: list[tuple[str, Content]] = [("Status", status(run, history))]
    if evaluation is not None and metric in evaluation.scores:
        value = tag("b", shown(evaluation.scores[metric]))
        lines.append(("Result", joined(breakable(metric), " = ", value, f" {_over(evaluation)}")))
    best = best_validation(history, metric)
    if best is not None:
        place = f"{shown(best[metric])} at step {best['step']}, after {best['train_seconds']:.1f} s of training"
        lines.append(("Best validation", place))
    chosen = f"widths {', '.join(map(str, network.widths))}" if network.widths else ""
    channels = chosen or f"width {network.width}, depth {network.depth}"
    lines.append(("Network", f"{network.name}, {channels}, {network.padding} padding, {network.norm} normalisation"))
    patches = f"{train.batch} patches of {' × '.join(map(str, train.sides))} px"
    lines.append(("Training", f"{train.steps} steps of {patches}, seed {train.seed}"))
    return facts([*lines, *extra.items()])


def _course(run: Run, history: History, curves_svg: bytes | None) -> list[Content]:
    if curves_svg is None:
        return [tag("p", "The log holds no steps yet.")]
    metric = run.config.train.best_metric
    caption = [f"a: the loss, the mean over {run.config.train.log_every} steps. b: the learning rate. "]
    if history.validations:
        scored = "c, d: scores of the held-out images at their own size; the circle marks the best "
        caption += [scored, breakable(metric), "."]
    else:
        caption += ["No validation was made."]
    drawn = picture(curves_svg, "image/svg+xml", "loss, learning rate and validation scores")
    return [tag("figure", drawn, tag("figcaption", *caption)), milestone_table(history, metric)]


def _scores(run: Run, evaluation: Evaluation | None) -> list[Content]:
    if evaluation is None:
        nothing = run.config.data.split.method == "none"
        why = "nothing was held out (data.split.method: none)" if nothing else "no weights have been scored yet"
        return [tag("p", f"There are no scores: {why}.")]
    metric = run.config.train.best_metric
    notes = [tag("p", f"Note: {note}.") for note in evaluation.notes]
    tables = [score_table(evaluation, metric), object_table(evaluation), image_table(evaluation, metric)]
    return [_weights_words(run, metric), *notes, *tables]


def _weights_words(run: Run, metric: str) -> Html:
    if not run.best.is_file():
        return tag("p", "Scored are the newest weights; no validation has chosen among them.")
    return tag(
        "p",
        "Scored are the weights of the best validation (best.safetensors). They were chosen by ",
        breakable(metric),
        " on these same images, so expect a little less on images that took no part in the choice.",
    )


def _confidence(evaluation: Evaluation | None) -> dict[str, Sequence[Content]]:
    known = None if evaluation is None else evaluation.confidence
    return {} if known is None else {"Confidence": confidence_part(known, _KEPT)}


def _figures(run: Run, evaluation: Evaluation | None, figures: Sequence[Html]) -> list[Content]:
    if evaluation is None or not figures:
        return [tag("p", "No images are shown: none were scored.")]
    borders, objects = run.config.data.border_class > 0, evaluation.object_counts is not None
    return [key(evaluation.classes, borders=borders, objects=objects), *figures]


def _definitions(run: Run, evaluation: Evaluation | None) -> list[Content]:
    if evaluation is None:
        return [tag("p", "No scores are shown.")]
    return [definition_cards(scores_told(evaluation, run.config.train.best_metric), evaluation.classes)]


def _over(evaluation: Evaluation) -> str:
    count = len(evaluation.images)
    return f"over {count} held-out image{'s' if count > 1 else ''}"


def _style() -> str:
    return (resources.files("unetkit.reporting") / "page.css").read_text(encoding="utf-8")
