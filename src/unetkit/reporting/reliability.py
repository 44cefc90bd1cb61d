"""How far probabilities can be trusted, as a figure and in words: the diagram of confidence against truth."""

from io import BytesIO
from typing import Any, cast

import numpy as np

from unetkit.metrics.calibration import Confidence, Reliability
from unetkit.reporting.markup import Content, facts, picture, tag
from unetkit.reporting.plots import STYLE

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
