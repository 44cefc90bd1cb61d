"""Cross-validation: each image predicted by networks that had not seen it, the spread over trainings, one folder.

Does not know how a training is done or where: the caller trains the members that `Folder.unfinished` names.
"""

from unetkit.evaluation.crossval import OutOfFold, Spread, as_json, score_folder, spreads, written
from unetkit.evaluation.folds import Folder, Folds, Member, divide, is_begun, is_finished, open_folder, read_folder

__all__ = [
    "Folder",
    "Folds",
    "Member",
    "OutOfFold",
    "Spread",
    "as_json",
    "divide",
    "is_begun",
    "is_finished",
    "open_folder",
    "read_folder",
    "score_folder",
    "spreads",
    "written",
]
