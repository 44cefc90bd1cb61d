"""The curves of a run, drawn by matplotlib without a display and without touching its global settings.

Assumes the lines of a log as `history` gives them. Lines differ in dash as well as in colour.
"""

import math
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from unetkit.metrics import Difference, definition_of
from unetkit.metrics.binary import Curve
from unetkit.metrics.calibration import Confidence
from unetkit.reporting.history import History, best_validation, loss_terms, number_in, series

if TYPE_CHECKING:  # imported where it is needed: it takes half a second
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLACK, _BLUE, _ORANGE = "#000000", "#0072B2", "#D55E00"
_COLOURS = (_BLACK, _BLUE, _ORANGE, "#009E73", "#CC79A7", "#E69F00")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_PLOTTED = ("foreground_dice", "pixel_accuracy", "mean_dice", "mean_iou")
_ROOM_FOR_LEGEND = 0.4  # of the height of the curves, below them
_VALIDATION_AXES = {
    "step": ("c  validation over steps", "step"),
    "train_seconds": ("d  validation over time", "seconds of training"),
}
_MOST_NAMED = 40
_ASIDE: dict[str, Any] = {
    "textcoords": "offset points",
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
}
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "unetkit",
}


@contextmanager
def drawing(height: float, width: float = 9.6) -> Generator["Figure"]:
    """Give a figure of so many inches to draw and save in the block; letters that the font lacks may pass."""
    import matplotlib
    from matplotlib.figure import Figure

    with cast(Any, matplotlib).rc_context(_STYLE), warnings.catch_warnings():  # its stub is not whole
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield Figure(figsize=(width, height), layout="constrained")


def curves(history: History, metric: str) -> dict[str, bytes]:
    """Draw loss, learning rate and validation scores, over steps and over seconds of training.

    The log has at least one line of steps. The score that chose the best weights is drawn first, its best value marked.

    Returns:
        The figure as files: "svg" and "png".
    """
    rows = 2 if history.validations else 1
    with drawing(2.9 * rows) as figure:
        places: Any = figure.subplots(rows, 2, squeeze=False)
        _draw_losses(places[0][0], history)
        rate: Axes = places[0][1]
        rate.plot(*series(history.training, "step", "lr"), **_line(0))
        rate.set(title="b  learning rate", xlabel="step", ylabel="learning rate")
        rate.set_xlim(left=0)
        rate.set_ylim(bottom=0)
        if history.validations:
            _draw_scores(places[1][0], history, metric, "step")
            _draw_scores(places[1][1], history, metric, "train_seconds")
        return _files(figure)


def dots(groups: Mapping[str, Sequence[float]], metric: str) -> dict[str, bytes]:
    """Draw a score of every image in its group, such as the fold that held it out, with the groups' means.

    Returns:
        The figure as files: "svg" and "png".
    """
    with drawing(2.9, max(9.6, 1.1 * len(groups) + 1.5)) as figure:
        axes: Any = figure.subplots()
        for place, values in enumerate(groups.values()):
            offsets = [place + 0.3 * (number + 0.5) / len(values) - 0.15 for number in range(len(values))]
            axes.plot(offsets, values, "o", color=_COLOURS[1], markersize=4)
            axes.plot([place - 0.3, place + 0.3], [sum(values) / len(values)] * 2, color=_COLOURS[2])
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set(title=f"{metric} of every image out of fold; line: mean", ylabel=metric)
        axes.grid(axis="x", visible=False)
        return _files(figure)


def overlaid(runs: Mapping[str, History], metric: str) -> bytes:
    """Draw loss and validation score of several runs on top of each other, over steps and over seconds, as SVG.

    The logs, by the names of the runs, have at least one line of steps each.
    """
    validated = any(series(history.validations, "step", metric)[0] for history in runs.values())
    rows, entries = 2 if validated else 1, -(-len(runs) // 3)
    with drawing(2.9 * rows + 0.25 * entries) as figure:
        places: Any = figure.subplots(rows, 2, squeeze=False)
        for index, (name, history) in enumerate(runs.items()):
            line = {
                "color": _COLOURS[index % len(_COLOURS)],
                "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
            }
            for column, x in enumerate(_VALIDATION_AXES):
                places[0][column].plot(*series(history.training, x, "loss"), label=name, **line)
                if validated:
                    places[1][column].plot(*series(history.validations, x, metric), marker=".", **line)
        for column, (title, unit) in enumerate(_VALIDATION_AXES.values()):
            over = title.partition(" over ")[2]
            places[0][column].set(title=f"{'ab'[column]}  training loss over {over}", xlabel=unit, ylabel="loss")
            if validated:
                places[1][column].set(title=title, xlabel=unit, ylabel=metric)
        for axes in places.ravel():
            axes.set_xlim(left=0)
        figure.legend(*places[0][0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
        return _file(figure, "svg")


def with_intervals(scores: Mapping[str, tuple[float, float | None, float | None]], metric: str) -> bytes:
    """Draw scores with their intervals, lower and upper end where they are known, the first at the top, as SVG."""
    with drawing(0.9 + 0.26 * len(scores)) as figure:
        axes: Any = figure.subplots()
        for place, (value, low, high) in enumerate(scores.values()):
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=_BLUE, linewidth=2.5, alpha=0.5)
            axes.plot([value], [place], "o", color=_BLUE, markersize=5)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set(ylim=(len(scores) - 0.5, -0.5), xlabel=metric)
        axes.grid(axis="y", visible=False)
        return _file(figure, "svg")


def differences(images: Mapping[str, tuple[float, float]], difference: Difference, metric: str) -> bytes:
    """Draw by how much two networks differ on every image, A - B, and on all with its interval, as PNG."""
    highest = definition_of(metric).better == "higher"
    with drawing(3.6) as figure:
        axes: Any = figure.subplots()
        axes.axhspan(difference.low, difference.high, color=_COLOURS[1], alpha=0.15, label="95 % interval of the whole")
        axes.axhline(difference.value, color=_COLOURS[1], label=f"whole: {difference.value:+.4f}")
        axes.axhline(0, color=_COLOURS[0], linewidth=0.8)
        signed = [(x, a - b) for x, (a, b) in enumerate(images.values())]
        for name, sign, colour, marker in (("A", 1, _COLOURS[1], "o"), ("B", -1, _COLOURS[2], "s")):
            points = [(x, y) for x, y in signed if (y if highest else -y) * sign > 0]
            label = f"{name} is better: {len(points)} of {len(images)} images"
            axes.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, markersize=4, label=label)
        if len(images) <= _MOST_NAMED:
            axes.set_xticks(range(len(images)), list(images), rotation=90, fontsize=7)
        else:
            axes.set_xlabel("image, in the order of the data")
        axes.set(title=f"{metric}, A - B", ylabel="A - B")
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return _file(figure, "png")


def ranking_curves(classes: Mapping[str, Curve]) -> bytes:
    """Draw ROC and precision against recall of every class against the rest, with the mask's own place, as SVG."""
    with drawing(4.2) as figure:
        axes: Any = figure.subplots(1, 2)
        axes[0].plot([0, 1], [0, 1], ":", color=_BLACK, linewidth=0.8)
        for index, (name, curve) in enumerate(classes.items()):
            line = _line(index) | {"color": _line(index + 1)["color"]}
            circle = {"ms": 8, "mfc": "none", "mec": line["color"]}
            false, recall, precision = curve.decided
            auc, ap = (curve.areas.get(area, float("nan")) for area in ("roc_auc", "average_precision"))
            axes[0].plot([0, *curve.false_positive_rate], [0, *curve.recall], label=f"{name}: AUC {auc:.4f}", **line)
            axes[0].plot([false], [recall], "o", **circle)
            axes[1].plot(curve.recall, curve.precision, label=f"{name}: AP {ap:.4f}", **line)
            axes[1].plot([recall], [precision], "o", **circle)
            axes[1].axhline(float(curve.precision[-1]), linestyle=":", color=line["color"], linewidth=0.8)
        axes[0].set(title="a  ROC", xlabel="false positive rate", ylabel="true positive rate (recall)")
        axes[1].set(title="b  precision and recall", xlabel="recall", ylabel="precision")
        for one, place in zip(axes, ("lower right", "center left"), strict=True):
            one.set(xlim=(-0.01, 1.01), ylim=(0, 1.02))
            one.legend(loc=place)
        return _file(figure, "svg")


def reliability_diagram(confidence: Confidence) -> bytes:
    """Draw which share of the pixels of each confidence is right, and how many pixels are given it, as SVG."""
    with drawing(3.4) as figure:
        axes: Any = figure.subplots(1, 2)
        axes[0].plot([0, 1], [0, 1], ":", color=_BLACK, linewidth=1, label="as certain as right")
        lowest = 1.0
        for counts, colour, line, name in (
            (confidence.reliability, _BLUE, "o-", "as it is"),
            (confidence.calibrated, _ORANGE, "s--", "calibrated"),
        ):
            pixels, summed, right = counts.top[:, counts.top[0] > 0]  # bins that have any
            mean = summed / pixels
            lowest = min(lowest, float(mean.min()))
            axes[0].plot(mean, right / pixels, line, color=colour, markersize=4, label=name)
            axes[1].plot(mean, pixels / pixels.sum(), line, color=colour, markersize=4, label=name)
        axes[0].set(title="a  reliability", xlabel="confidence", ylabel="share of right pixels", ylim=(0, 1.02))
        axes[1].set(title="b  pixels", xlabel="confidence", ylabel="share of all pixels", yscale="log")
        for one in axes:
            one.set_xlim(max(0.0, lowest - 0.05), 1.01)
            one.legend()
        return _file(figure, "svg")


def _draw_losses(axes: "Axes", history: History) -> None:
    terms = loss_terms(history)
    for index, name in enumerate(terms):
        axes.plot(*series(history.training, "step", name), label=name, **_line(index))
    title = "a  training loss and its terms" if len(terms) > 1 else "a  training loss"
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.set_xlim(left=0)
    if len(terms) > 1:
        axes.legend()


def _draw_scores(axes: "Axes", history: History, metric: str, x: str) -> None:
    for index, name in enumerate(plotted_scores(history, metric)):
        axes.plot(*series(history.validations, x, name), label=name, marker=".", **_line(index))
    best = best_validation(history, metric)
    if best is not None and (place := number_in(best, x)) is not None:
        label = f"best: {best[metric]:.4f} at {place:.0f}" + (" s" if x == "train_seconds" else "")
        axes.plot([place], [best[metric]], "o", ms=9, mfc="none", mec="black", label=label)
    title, unit = _VALIDATION_AXES[x]
    axes.set(title=title, xlabel=unit, ylabel="score")
    axes.set_xlim(left=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low - _ROOM_FOR_LEGEND * (high - low), high)
    axes.legend(loc="lower right", ncols=2)


def plotted_scores(history: History, metric: str) -> Sequence[str]:
    """Return the scores that are drawn: the one that chose the best weights, and the usual ones."""
    there = {name for line in history.validations for name in line}
    return [name for name in dict.fromkeys((metric, *_PLOTTED)) if name in there]


def _line(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def _files(figure: "Figure") -> dict[str, bytes]:
    """Return a figure as SVG and as PNG; it is laid out once."""
    svg = _file(figure, "svg")
    figure.set_layout_engine("none")
    return {"svg": svg, "png": _file(figure, "png")}


def _file(figure: "Figure", kind: str) -> bytes:
    buffer = BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


TrialPoint = tuple[float, bool, Mapping[str, str]]
"""Of a trial: its score, whether it came to its end, and its values by key."""


def trial_scores(trials: Sequence[TrialPoint], metric: str, logarithmic: Sequence[str], *, higher: bool) -> bytes:
    """Draw the scores of at least one trial in their order and over the values of every key, as SVG.

    All have the same keys; numbers of the `logarithmic` ones are drawn by magnitude.
    """
    keys = list(trials[0][2])
    rows = -(-(len(keys) + 1) // 3)
    with drawing(2.7 * rows) as figure:
        places: list[Any] = list(figure.subplots(rows, 3, squeeze=False).ravel())
        so_far, best = list[float](), list[float]()
        for value, finished, _ in trials:
            so_far += [value] if finished else []
            best.append((max if higher else min)(so_far, default=float("nan")))
        _draw_trials(places[0], range(len(trials)), trials)
        places[0].plot(range(len(trials)), best, color=_ORANGE, drawstyle="steps-post")
        places[0].set(xlabel="trial", ylabel=metric)
        places[0].locator_params(axis="x", integer=True)
        for axes, key in zip(places[1:], keys, strict=False):
            at, names = _axis_of([values[key] for _, _, values in trials])
            _draw_trials(axes, at, trials)
            if names:
                axes.set_xticks(range(len(names)), names)
                axes.set_xlim(-0.5, len(names) - 0.5)
            elif key in logarithmic:
                axes.set_xscale("log")
                low, high = min(at), max(at)
                ticks = sorted({low, math.sqrt(low * high), high})  # those of decades are too few or too close
                axes.set_xticks(ticks, [f"{value:.3g}" for value in ticks])
                axes.xaxis.set_minor_formatter("")
            axes.set(xlabel=key, ylabel=metric)
        for axes in places[len(keys) + 1 :]:
            axes.set_visible(False)
        return _file(figure, "svg")


def parallel(trials: Sequence[TrialPoint], metric: str, logarithmic: Sequence[str], *, higher: bool) -> bytes:
    """Draw a line a trial through its values and its score, each on an axis of its own, as SVG; as `trial_scores`."""
    keys = list(trials[0][2])
    columns = list[list[float]]()
    with drawing(3.2) as figure:
        axes: Any = figure.subplots()
        for place, key in enumerate((*keys, metric)):
            texts = [values[key] if key in values else repr(score) for score, _, values in trials]
            at, names = _axis_of(texts)
            at = [math.log10(one) for one in at] if key in logarithmic and not names else at
            low, high = min(at), max(at)
            columns.append([(one - low) / (high - low) if high > low else 0.5 for one in at])
            told = dict(zip(columns[-1], texts, strict=True))
            for height in told if names else (min(columns[-1]), max(columns[-1])):
                short = told[height] if names else f"{float(told[height]):.3g}"
                axes.annotate(short, (place, height), (4, 0), fontsize=8, va="center", zorder=5, **_ASIDE)
            axes.axvline(place, color=_BLACK, linewidth=0.8)
        order = sorted(range(len(trials)), key=lambda index: trials[index][0] if higher else -trials[index][0])
        for rank, index in enumerate(order):
            strength = 0.15 + 0.85 * (rank / max(1, len(order) - 1)) ** 2
            width = 2.2 if rank == len(order) - 1 else 1.1
            axes.plot(
                range(len(columns)), [one[index] for one in columns], color=_BLUE, alpha=strength, linewidth=width
            )
        axes.set_xticks(range(len(columns)), [*keys, metric])
        axes.set_yticks([])
        axes.set_xlim(-0.2, len(columns) - 0.6)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        return _file(figure, "svg")


def _draw_trials(axes: "Axes", at: Sequence[float], trials: Sequence[TrialPoint]) -> None:
    for finished, fill in ((True, _BLUE), (False, "none")):
        points = [(x, one[0]) for x, one in zip(at, trials, strict=True) if one[1] == finished]
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=_BLUE, mfc=fill, markersize=4)


def _axis_of(texts: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return where values, written as texts, lie on an axis, and the names of its places where they are no numbers."""
    try:
        return [float(text) for text in texts], []
    except ValueError:
        names = sorted(set(texts))
        return [float(names.index(text)) for text in texts], names
