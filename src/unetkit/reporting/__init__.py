"""The report of a run: one page that shows all of it, its pictures as files, and its scores as a plain table."""

from collections.abc import Mapping
from pathlib import Path

from unetkit.evaluation import Evaluation
from unetkit.reporting.challenge import PUBLISHED_NOTE, isbi_tables
from unetkit.reporting.diagnosis import write_diagnosis
from unetkit.reporting.gallery import Look, gallery
from unetkit.reporting.history import read_history
from unetkit.reporting.markup import Html
from unetkit.reporting.page import page
from unetkit.reporting.panels import panel, png
from unetkit.reporting.pictures import Exhibit
from unetkit.reporting.plots import curves, differences
from unetkit.reporting.text import objects_line, scores_table
from unetkit.runs import Run
from unetkit.storage import make_folder, write_whole

__all__ = [
    "PUBLISHED_NOTE",
    "Exhibit",
    "Look",
    "differences",
    "isbi_tables",
    "objects_line",
    "panel",
    "png",
    "scores_table",
    "write_report",
    "write_diagnosis",
]


def write_report(
    run: Run,
    evaluation: Evaluation | None = None,
    look: Look | None = None,
    *,
    each: int = 3,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.html` and `pictures/` of a run, finished or not.

    Args:
        run: its folder is read and written to.
        evaluation: the scores of its weights on the held-out images; None where there are none.
        look: gives an image of the evaluation by its name; None: no images are shown.
        each: how many of the worst and of the best images are shown.
        extra: further lines for the summary, such as {"Parameters": "481,250"}.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk did not take a file; an older report stands.
    """
    make_folder(run.pictures)
    history = read_history(run)
    drawn = curves(history, run.config.train.best_metric) if history.training else None
    if drawn is not None:
        write_whole(run.pictures / "curves.png", drawn["png"])
    figures: list[Html] = []
    if evaluation is not None and look is not None:
        metric = run.config.train.best_metric
        figures = list(gallery(run.pictures, evaluation, look, metric=metric, each=each))
    svg = None if drawn is None else drawn["svg"]
    write_whole(run.report, page(run, history, evaluation, curves_svg=svg, figures=figures, extra=extra or {}))
    return run.report
