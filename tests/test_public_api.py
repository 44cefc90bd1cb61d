"""The face that others build on: names and signatures are changed on purpose or not at all."""

import inspect
import tomllib
from pathlib import Path

import unetkit

FACE = {
    "bench": "(models, *, size, batches, rounds, threads, trust, progress)",
    "check": "(model, *, data, against, options, progress)",
    "compare": "(first, second, *, metric, data, block, seed, trust, progress)",
    "crossval": "(source, *, data, out, folds, seeds, overrides, dask, progress)",
    "tune": "(model, *, data, objects, keep, options, device, progress)",
    "evaluate": "(model, *, data, config, everything, metrics, own, options, device, progress)",
    "export": "(model, *, to, out, data, options, progress)",
    "check_data": "(data, *, overrides, html, progress)",
    "extend": "(path, *, overrides, loss, metrics, progress)",
    "load": "(model, *, device, options)",
    "load_config": "(source, overrides, *, flags, bug_compatible)",
    "open_dataset": "(path, *, config)",
    "plan": "(data, *, overrides, minutes, memory, device, progress)",
    "predict": "(model, image, *, probabilities, **options)",
    "predict_objects": (
        "(model, source, out, *, outlines, through_depth, roi, options, device, workers, dask, memory, resume, "
        "overwrite, progress)"
    ),
    "predict_file": (
        "(model, source, out, *, probabilities, uncertainty, roi, options, device, workers, dask, memory, resume, "
        "overwrite, progress)"
    ),
    "from_pretrained": "(repository, *, revision, token, endpoint, device, options)",
    "pack": "(run, *, out, to, about)",
    "push_to_hub": "(run, repository, *, about, private, token, endpoint)",
    "reproduce": "(crate, *, data, out, loss, metrics, progress)",
    "report": "(run, *, own, test, progress)",
    "resume": "(path, *, loss, metrics, follow, test, progress)",
    "resume_search": "(path, *, trials, progress)",
    "runs": "(folder, *, metric, sort, html)",
    "score_isbi": "(label, probability, *, membrane, scale, warping, progress)",
    "search": "(source, *, over, out, data, trials, overrides, seed, progress)",
    "train": "(source, *, data, out, overrides, flags, bug_compatible, loss, metrics, follow, test, progress)",
    "train_auto": "(data, *, out, overrides, minutes, memory, device, progress)",
    "translate_config": "(source, overrides, *, flags, bug_compatible)",
    "build_model": "(config)",
    "show_progress": "(title)",
}


def _bare(function: object) -> str:
    parameters = inspect.signature(function).parameters.values()
    bare = [parameter.replace(annotation=parameter.empty, default=parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def test_the_face_is_frozen() -> None:
    assert {name: _bare(getattr(unetkit, name)) for name in FACE} == FACE
    assert set(unetkit.__all__) == {*FACE, "Config", "UnetkitError", "__version__"}


def test_every_public_function_tells_how_it_is_used() -> None:
    for name in FACE.keys() - {"open_dataset", "build_model"}:
        assert "Example:" in (inspect.getdoc(getattr(unetkit, name)) or ""), name


def test_functions_stay_functions_whatever_is_imported() -> None:
    import importlib
    import pkgutil

    for module in pkgutil.walk_packages(unetkit.__path__, "unetkit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert all(callable(getattr(unetkit, name)) for name in FACE)


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == unetkit.__version__
