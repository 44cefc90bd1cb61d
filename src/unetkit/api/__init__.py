"""The functions behind the verbs: each takes what a user has in hand, a path or an array, and does the whole job."""

from unetkit.api.challenge import score_isbi
from unetkit.api.checking import check_data
from unetkit.api.comparing import Comparison, compare
from unetkit.api.configuring import load_config
from unetkit.api.crossvalidating import CrossValidation, crossval
from unetkit.api.exporting import check, export
from unetkit.api.learning import extend, report, resume, train
from unetkit.api.loading import Model, load
from unetkit.api.planning import TrainingPlan, plan
from unetkit.api.predicting import predict, predict_file, predict_objects
from unetkit.api.scoring import evaluate
from unetkit.api.timing import bench
from unetkit.api.tuning import tune_objects
from unetkit.interop.configurations import Translation, translate_config

__all__ = [
    "Comparison",
    "CrossValidation",
    "Model",
    "TrainingPlan",
    "Translation",
    "bench",
    "check",
    "check_data",
    "compare",
    "crossval",
    "evaluate",
    "export",
    "extend",
    "load",
    "load_config",
    "plan",
    "predict",
    "predict_file",
    "predict_objects",
    "report",
    "resume",
    "score_isbi",
    "train",
    "translate_config",
    "tune_objects",
]
