"""The page of a run: one HTML file with everything in it, from what its folder and an evaluation say.

No script, nothing fetched: pictures lie in the page. Reads the run folder, writes `report.html` and `pictures/`.
Does not predict or score: `look` brings the images that are to be shown.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from unetkit.errors import StorageError
from unetkit.evaluate import Evaluation
from unetkit.report.history import History, best_validation, read_history
from unetkit.report.markup import Content, Html, breakable, facts, joined, picture, section, tag
from unetkit.report.panels import panel, png
from unetkit.report.pictures import Exhibit, error_names, error_shares, legend, scale_note, stretch_note, tiles
from unetkit.report.plots import curves
from unetkit.report.ranking import Chosen, extremes, ranking_metric
from unetkit.report.run_tables import commands, config_table, data_facts, environment_facts, time_table
from unetkit.report.score_tables import definition_cards, image_table, milestone_table, score_table
from unetkit.report.text import shown
from unetkit.runs import Run
from unetkit.storage import write_whole
from unetkit.version import __version__

Look = Callable[[str], Exhibit]
