"""The one way from a predictor and labelled images to scores: behind validations, final scores and reports alike.

Images are scored at their own size, and on the classes that the data has: a network's border class counts as the object
that it belongs to, so that a score means the same with it and without. The founding systems' protocol (image and mask
resized to 388 x 388 before the network) is scored beside it where it is asked for. Does not know how the network was
trained.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from unetkit.data import Dataset, Sample
from unetkit.distributed import World
from unetkit.errors import DataError
from unetkit.metrics import ImageScores, definition_of, pool, score_image, soft_scores
from unetkit.prediction import Predictor
from unetkit.progress import Reporter, Silence

FOUNDING_SIDE = 388


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a network on a set of images.

    Attributes:
        scores: over the set, by name; `metrics.definition_of(name)` says what each means.
        images: of every image, in order.
        classes: names of the classes.
        notes: what the reader of the numbers should know.
    """

    scores: dict[str, float]
    images: tuple[ImageScores, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values: scores, the same for every image, and the definition of each number."""
        names = sorted({definition_of(name).name for name in self.scores})
        return {
            "scores": self.scores,
            "images": [{"name": image.name, "scores": image.scores} for image in self.images],
            "classes": list(self.classes),
            "notes": list(self.notes),
            "definitions": {name: asdict(definition_of(name)) for name in names},
        }


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    indices: Sequence[int] | None = None,
    founding_protocol: bool = False,
    world: World = World(),  # noqa: B008 - frozen
    reporter: Reporter | None = None,
) -> Evaluation:
    """Predict labelled images and score them against their labels.

    Args:
        predictor: the network with its preprocessing.
        dataset: images with labels.
        indices: which of them; None: all.
        founding_protocol: score each image at 388 x 388 too, as the founding systems did.
        world: the processes that share the images; each gets the whole result.
        reporter: hears about the course.

    Raises:
        DataError: an image without labels, or with labels that the network has no class for.
    """
    chosen = range(len(dataset)) if indices is None else indices
    share = world.share(len(chosen))
    mine: dict[int, ImageScores] = {}
    for done, place in enumerate(share):
        (reporter or Silence()).advance(done, len(share), {})
        mine[place] = _scored(predictor, dataset[chosen[place]], founding_protocol=founding_protocol)
    shares = world.gather(mine)
    images = tuple(shares[place % world.size][place] for place in range(len(chosen)))
    sizes = {dataset[index].pixels.shape[1:] for index in chosen}
    notes = {note for height, width in sizes if (note := predictor.plan(height, width).note) is not None}
    classes = predictor.data_classes
    return Evaluation(pool(images, classes), images, classes, tuple(sorted(notes)))


def _scored(predictor: Predictor, sample: Sample, *, founding_protocol: bool) -> ImageScores:
    if sample.labels is None:
        raise DataError(f"{sample.source or sample.name}: has no labels; scores need a mask for every image")
    probabilities = _probabilities(predictor, sample.pixels)
    scored = score_image(probabilities, sample.labels, classes=predictor.data_classes, name=sample.name)
    if not founding_protocol or len(predictor.data_classes) != 2:
        return scored
    pixels, labels = _resized(
        torch.from_numpy(sample.pixels.astype("float32")), torch.from_numpy(sample.labels).float()[None]
    )
    small = soft_scores(
        _probabilities(predictor, pixels.numpy()), (labels[0] > 0.5).to(torch.uint8).numpy(), suffix="_388"
    )
    return scored.with_scores(small)


def _probabilities(predictor: Predictor, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities of the data's classes, [K, H, W]."""
    return predictor.of_data(torch.from_numpy(predictor.probabilities(pixels))).numpy()


def _resized(*images_CHW: Tensor) -> tuple[Tensor, ...]:
    """Resize as the founding systems did: bilinear between pixel centres, without smoothing first."""
    side = (FOUNDING_SIDE, FOUNDING_SIDE)
    return tuple(F.interpolate(image[None], size=side, mode="bilinear", align_corners=False)[0] for image in images_CHW)
