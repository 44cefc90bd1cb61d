"""A run folder of unetkit as layers: held-out images, their truth, what the network says of them.

Where the data of the run is gone, its pictures are shown instead. At most `MOST` images are opened, those of the size
of the first one, because a stack has one size.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import unetkit
from napari_unetkit.layers import planes_first

LayerData = tuple[Any, dict[str, Any], str]
MOST = 8


def reader_of(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for a run folder; None for any other path."""
    one = path if isinstance(path, str) else path[0]
    return read_run if (Path(one) / "config.yaml").is_file() and (Path(one) / "data.json").is_file() else None


def read_run(path: str | list[str]) -> list[LayerData]:
    """Return the layers of a run."""
    run = Path(path if isinstance(path, str) else path[0])
    try:
        return _held_out(run) or _pictures(run)
    except unetkit.UnetkitError:
        return _pictures(run)


def _held_out(run: Path) -> list[LayerData]:
    """Return held-out images, their labels, and the classes and probabilities that the best weights give them."""
    config = unetkit.load_config(str(run / "config.yaml"))
    wanted = json.loads((run / "data.json").read_text())["validation"]
    dataset, predictor = unetkit.open_dataset(config.data.path, config=config.data), unetkit.load(run)
    samples = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.name in wanted and (not samples or sample.pixels.shape == samples[0].pixels.shape):
            samples.append(sample)
        if len(samples) == MOST:
            break
    if not samples:
        return []
    p_NKHW = np.stack([unetkit.predict(predictor, sample.pixels, probabilities=True) for sample in samples])
    labels_NHW = np.stack([unetkit.predict(predictor, sample.pixels) for sample in samples])
    scale = (1.0, *samples[0].pixel_size) if samples[0].pixel_size else (1.0, 1.0, 1.0)
    common = {"scale": scale, "metadata": {"images": [sample.name for sample in samples]}}
    images, rgb = planes_first(np.stack([sample.pixels for sample in samples]))
    layers: list[LayerData] = [(images, {"name": f"{run.name}: held out", "rgb": rgb, **common}, "image")]
    if all(sample.labels is not None for sample in samples):
        truth = np.stack([np.asarray(sample.labels) for sample in samples])
        layers.append((truth, {"name": "truth", "opacity": 0.4, "visible": False, **common}, "labels"))
    layers.append((labels_NHW, {"name": "segmentation", "opacity": 0.4, **common}, "labels"))
    for index, name in list(enumerate(dataset.classes))[1:]:
        said = {"name": f"probability of {name}", "colormap": "magma", "contrast_limits": (0.0, 1.0)}
        layers.append((p_NKHW[:, index], {**said, "visible": False, "blending": "additive", **common}, "image"))
    return layers


def _pictures(run: Path) -> list[LayerData]:
    """Return the pictures of a run, the report's."""
    files = sorted((run / "pictures").glob("*.png"))
    shown = [(np.asarray(Image.open(file).convert("RGB")), file.stem) for file in files]
    return [
        (pixels, {"name": name, "rgb": True, "visible": not index}, "image")
        for index, (pixels, name) in enumerate(shown)
    ]
