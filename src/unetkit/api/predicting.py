"""predict, predict_file, predict_objects: a network on pixels without labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from unetkit.api.loading import Model, load, members
from unetkit.devices import cpu_threads
from unetkit.prediction import objects_to_file, predict_to_file, require_probabilities
from unetkit.progress import Reporter


def predict(model: Model, image: NDArray[Any], *, probabilities: bool = False, **options: Any) -> NDArray[Any]:
    """Segment one image of any size.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        image: [H, W], or [C, H, W] with the channels of the training images, in the units that it was trained in.
        probabilities: return the probabilities of the classes instead.
        options: keys of the `predict` section, such as tta=True, and those of `load`.

    Returns:
        Class indices [H, W], or probabilities [K, H, W] float32.

    Raises:
        DataError: another number of channels or dimensions.
        UsageError: an exported file that has no probabilities to give.

    Example:
        >>> mask = unetkit.predict("runs/first", image, tta=True)
    """
    predictor = load(model, options=options).folded()
    if probabilities:
        require_probabilities(predictor)
    pixels = image[None] if image.ndim == 2 else image
    with cpu_threads(options.get("threads")):
        return predictor.probabilities(pixels) if probabilities else predictor.labels(pixels)


def predict_file(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> tuple[str, ...]:
    """Segment an image file, a stack, or a folder of images into files of the same sizes and page counts.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        source: what to segment.
        out: the file or folder to write.
        probabilities: write probabilities instead of masks.
        uncertainty: write how uncertain they are instead: entropy and mutual information of the answers to all flips
            and turns, of all members where the model is the folder of a cross-validation.
        options: keys of the `predict` section, such as {"tta": True}, and those of `load`.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Returns:
        Sentences about where the result may differ from an untiled prediction.

    Raises:
        DataError, UsageError, StorageError: nothing is left half-written.

    Example:
        >>> unetkit.predict_file("runs/first", "stack.tif", "masks.tif")
    """
    predictor = load(model, device=device, options=options).folded()
    uncertain = members(model, predictor, device=device, options=options) if uncertainty else ()
    with cpu_threads((options or {}).get("threads")):
        return predict_to_file(
            predictor, source, out, probabilities=probabilities, uncertain=uncertain, reporter=reporter
        )


def predict_objects(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    outlines: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> tuple[str, ...]:
    """Find the objects of an image file, a stack, or a folder of images, and write them.

    The objects of a page are made of all its probabilities at once: four bytes a class and pixel are held in memory.

    Args:
        model: a run, its folder, a network file, an exported file, or a Predictor.
        source: where to look for objects; each page by itself.
        out: a .tif of labels (a folder of them for a folder of images), a .json in COCO's form, or with `outlines` a
            .png that shows them.
        outlines: draw the objects on the images: beside `out`, or as `out` where that is a .png.
        options: keys of the `predict` section, those of `objects` such as {"objects.threshold": 0.6}, and those of
            `load`.
        device: auto, cpu, cuda or mps.
        reporter: hears about the course.

    Returns:
        Sentences about where the result may differ from an untiled prediction.

    Raises:
        DataError, ConfigError, UsageError, StorageError: nothing is left half-written.

    Example:
        >>> unetkit.predict_objects("runs/nuclei", "cells.png", "cells.json", outlines=True)
    """
    predictor = load(model, device=device, options=options).folded()
    with cpu_threads((options or {}).get("threads")):
        return objects_to_file(predictor, source, out, outlines=outlines, reporter=reporter)
