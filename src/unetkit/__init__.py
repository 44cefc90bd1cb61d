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
    from unetkit.api import (
        bench,
        check,
        check_data,
        compare,
        crossval,
        evaluate,
        export,
        extend,
        load,
        load_config,
        plan,
        predict,
        predict_file,
        predict_objects,
        report,
        resume,
        score_isbi,
        train,
        translate_config,
        tune_objects,
    )
    from unetkit.config import Config
    from unetkit.data import open_dataset
    from unetkit.errors import UnetkitError
    from unetkit.models import build_model

_HOMES = {
    "bench": "api",
    "check": "api",
    "check_data": "api",
    "compare": "api",
    "crossval": "api",
    "evaluate": "api",
    "export": "api",
    "extend": "api",
    "load": "api",
    "load_config": "api",
    "plan": "api",
    "predict": "api",
    "predict_file": "api",
    "predict_objects": "api",
    "report": "api",
    "resume": "api",
    "score_isbi": "api",
    "train": "api",
    "translate_config": "api",
    "tune_objects": "api",
    "Config": "config",
    "open_dataset": "data",
    "UnetkitError": "errors",
    "build_model": "models",
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
    "load",
    "load_config",
    "open_dataset",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unetkit' has no attribute {name!r}")
    value = getattr(import_module(f"unetkit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
