"""Cross-validation: each image predicted by networks that had not seen it, the spread over trainings, one folder.

Does not know how a training is done or where: the caller trains the members that `Folder.unfinished` names.
"""

from unetkit.crossvalidation.folder import Folder, is_begun, is_finished, open_folder, read_folder
from unetkit.crossvalidation.folds import Folds, Member, divide
from unetkit.crossvalidation.page import write_page
from unetkit.crossvalidation.predictions import written
from unetkit.crossvalidation.scoring import OutOfFold, score_folder
from unetkit.crossvalidation.summary import Spread, as_json, spread_table, spreads
from unetkit.crossvalidation.workers import carry_out

__all__ = [
    "Folder",
    "Folds",
    "Member",
    "OutOfFold",
    "Spread",
    "as_json",
    "carry_out",
    "divide",
    "is_begun",
    "is_finished",
    "open_folder",
    "read_folder",
    "score_folder",
    "spread_table",
    "spreads",
    "write_page",
    "written",
]
