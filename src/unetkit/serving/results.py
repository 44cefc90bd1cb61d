"""The files that clients get, byte for byte what `unetkit predict` writes for an image of the same name.

They are written by the same functions. What a job computed for its layers is taken where the command would compute the
very same: TIFFs of masks and probabilities, and objects of pages that one block holds; anything else is computed again.
"""

from pathlib import Path

from unetkit.devices import cpu_threads
from unetkit.errors import DataError
from unetkit.images.image import Image
from unetkit.prediction.predict import objects_to_file, predict_to_file
from unetkit.prediction.results import open_fitting
from unetkit.progress import Progress
from unetkit.serving.layers import Layers, in_blocks, require_whole
from unetkit.serving.served import Output, Served


def require_possible(served: Served, source: Path, output: Output, suffix: str) -> Image:
    """Open an image and refuse what the command would refuse, or this machine has no memory for.

    Raises:
        DataError: an image that the network does not take, or too large for what is asked.
    """
    image = open_fitting(served.predictor, source)
    if suffix == ".png" and image.count > 1:
        raise DataError(f"{source.name}: has {image.count} pages, which are too much for a PNG; choose .tif")
    served.predictor.require_usable(image.shape[-3:])
    if output in ("objects", "uncertainty"):
        require_whole(image.height, image.width, output)
    return image


def write_result(
    served: Served, source: Path, folder: Path, output: Output, suffix: str, layers: Layers | None, progress: Progress
) -> Path:
    """Write a file into a folder, and return its path.

    Args:
        served: the network, as the client asks for it.
        source: the image.
        folder: a new one.
        output: what the file holds.
        suffix: its ending.
        layers: that are whole, of the same network and image; None: there are none.
        progress: follows the work.

    Raises:
        DataError, UsageError, ConfigError, StorageError: as `unetkit predict`.
    """
    predictor, out = served.predictor, folder / f"{source.stem}{suffix}"
    image = require_possible(served, source, output, suffix)
    squares = in_blocks(predictor, image)
    known = layers is not None and (not squares or (suffix == ".tif" and not predictor.config.close_gaps))
    answers = layers.answers if known and layers is not None else None
    with cpu_threads(None):
        if output == "objects":
            if squares:
                answers = None
            objects_to_file(predictor, source, out, outlines=suffix == ".png", answers=answers, progress=progress)
            return out
        uncertain = served.uncertain if output == "uncertainty" else ()
        predict_to_file(
            predictor,
            source,
            out,
            probabilities=output == "probabilities",
            uncertain=uncertain,
            answers=answers,
            progress=progress,
        )
    return out
