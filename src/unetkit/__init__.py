"""unetkit: from a stack of microscope images and a handful of masks to a trained U-Net that can be trusted.

    import unetkit

    run = unetkit.train("isbi", data="path/to/data", out="runs/a")
    unetkit.evaluate(run).scores["mean_iou"]
    mask = unetkit.predict(run, image)
    network = unetkit.load("runs/a").network

Each name is imported when it is first used, so that `import unetkit` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unetkit.version import __version__

if TYPE_CHECKING:
    from unetkit.checks.check import check_data
    from unetkit.config import Config
    from unetkit.configuring import load_config, translate_config
    from unetkit.data import open_dataset
    from unetkit.errors import UnetkitError
    from unetkit.evaluation.compare import compare
    from unetkit.evaluation.evaluate import evaluate, score_isbi
    from unetkit.evaluation.tune import tune
    from unetkit.exporting.export import check, export
    from unetkit.models import build_model
    from unetkit.prediction.load import load
    from unetkit.prediction.predict import predict, predict_file, predict_objects
    from unetkit.progress import show_progress
    from unetkit.publishing.hub import from_pretrained, push_to_hub
    from unetkit.publishing.pack import pack
    from unetkit.publishing.reproduce import reproduce
    from unetkit.reporting.report import report
    from unetkit.reporting.runs import runs
    from unetkit.timing import bench
    from unetkit.training.crossval import crossval
    from unetkit.training.planning import plan, train_auto
    from unetkit.training.search import resume_search, search
    from unetkit.training.train import extend, resume, train

_NAMES = {
    "checks.check": "check_data",
    "config": "Config",
    "configuring": "load_config translate_config",
    "data": "open_dataset",
    "errors": "UnetkitError",
    "evaluation.compare": "compare",
    "evaluation.evaluate": "evaluate score_isbi",
    "evaluation.tune": "tune",
    "exporting.export": "check export",
    "models": "build_model",
    "prediction.load": "load",
    "prediction.predict": "predict predict_file predict_objects",
    "progress": "show_progress",
    "publishing.hub": "from_pretrained push_to_hub",
    "publishing.pack": "pack",
    "publishing.reproduce": "reproduce",
    "reporting.report": "report",
    "reporting.runs": "runs",
    "timing": "bench",
    "training.crossval": "crossval",
    "training.planning": "plan train_auto",
    "training.search": "resume_search search",
    "training.train": "extend resume train",
}
"""The public names of each module."""

_ROOMS = {name: room for room, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Config",
    "UnetkitError",
    "__version__",
    "bench",
    "build_model",
    "check",
    "check_data",
    "compare",
    "crossval",
    "evaluate",
    "export",
    "extend",
    "from_pretrained",
    "load",
    "load_config",
    "open_dataset",
    "pack",
    "plan",
    "predict",
    "predict_file",
    "predict_objects",
    "push_to_hub",
    "report",
    "reproduce",
    "resume",
    "resume_search",
    "runs",
    "score_isbi",
    "search",
    "show_progress",
    "train",
    "train_auto",
    "translate_config",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'unetkit' has no attribute {name!r}")
    value = getattr(import_module(f"unetkit.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value
