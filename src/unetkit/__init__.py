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

_ROOMS = {
    "bench": "timing",
    "build_model": "models",
    "check": "exporting.export",
    "check_data": "checks.check",
    "compare": "evaluation.compare",
    "Config": "config",
    "crossval": "training.crossval",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export",
    "extend": "training.train",
    "from_pretrained": "publishing.hub",
    "load": "prediction.load",
    "load_config": "configuring",
    "open_dataset": "data",
    "pack": "publishing.pack",
    "plan": "training.planning",
    "predict": "prediction.predict",
    "predict_file": "prediction.predict",
    "predict_objects": "prediction.predict",
    "push_to_hub": "publishing.hub",
    "report": "reporting.report",
    "reproduce": "publishing.reproduce",
    "resume": "training.train",
    "resume_search": "training.search",
    "runs": "reporting.runs",
    "score_isbi": "evaluation.evaluate",
    "search": "training.search",
    "show_progress": "progress",
    "train": "training.train",
    "train_auto": "training.planning",
    "translate_config": "configuring",
    "tune": "evaluation.tune",
    "UnetkitError": "errors",
}

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
