"""The page of a run: one HTML file with everything in it; no script, nothing fetched, fit to be printed.

Puts together what the other files of this room draw. Does not write anything.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources

from unetkit.evaluation import Evaluation
from unetkit.reporting.gallery import key
from unetkit.reporting.history import History, best_validation
from unetkit.reporting.markup import Content, Html, breakable, facts, joined, picture, section, tag
from unetkit.reporting.reliability import confidence_part
from unetkit.reporting.run_tables import commands, config_table, data_facts, environment_facts, time_table
from unetkit.reporting.score_tables import (
    definition_cards,
    image_table,
    milestone_table,
    object_table,
    score_table,
    scores_told,
)
from unetkit.reporting.text import shown
from unetkit.runs import Record, Run
from unetkit.version import __version__

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
