"""What a family of metrics is given, and what it gives back. Does not know networks, files, or who predicted.

Legend of shapes: K classes, L classes of a network, H height, W width, P pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetkit.objects import ObjectMap

if TYPE_CHECKING:
    from unetkit.metrics.own import MetricFunction

Size = tuple[int, int]


def not_there(*_: Any) -> Any:
    """Stand for what a family must not ask of this prediction."""
    raise AssertionError("this prediction was made without what the family needs")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction next to its truth: all that a family may look at.

    Attributes:
        name: the image's name.
        classes: the names of the data's K classes.
        labels: [H, W] the truth, class indices.
        probabilities: [K, H, W] of the data's classes.
        network_probabilities: [L, H, W] of the network's classes: the same, or one more, the border of objects.
        decided: [H, W] the classes of the predicted mask; None: the most probable ones.
        valid: [H, W] bool, the pixels that count; None: all do.
        pixel_size: height and width of a pixel in `unit`; None: not known.
        unit: of the pixel size, such as "µm".
        labels_only: the network gives classes alone: its probabilities are 0 and 1.
        true_objects: gives the true objects.
        found_objects: gives the objects that the probabilities make.
        resized: gives probabilities and labels at another size, the image being resized before the network.
    """

    name: str
    classes: tuple[str, ...]
    labels: NDArray[Any]
    probabilities: NDArray[Any]
    network_probabilities: NDArray[Any]
    decided: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str = ""
    labels_only: bool = False
    true_objects: Callable[[], ObjectMap] = not_there
    found_objects: Callable[[], ObjectMap] = not_there
    resized: Callable[[Size], tuple[NDArray[Any], NDArray[Any]]] = not_there

    @property
    def mask(self) -> NDArray[Any]:
        """[H, W] the class that each pixel is given."""
        return highest(self.probabilities) if self.decided is None else self.decided

    def counted(self) -> "Prediction":
        """Return the pixels that count as an image of one row [1, P], for scores that look at each pixel by itself."""
        if self.valid is None:
            return self
        return replace(
            self,
            labels=self.labels[self.valid][None],
            probabilities=self.probabilities[:, self.valid][:, None],
            network_probabilities=self.network_probabilities[:, self.valid][:, None],
            decided=self.mask[self.valid][None],
            valid=None,
        )


def highest(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Return the index of the most probable class [H, W] of probabilities [K, H, W], the first of equals."""
    # With two classes a comparison gives what argmax gives, many times faster.
    return probabilities[1] > probabilities[0] if len(probabilities) == 2 else probabilities.argmax(0)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Which families are computed, and the choices that they need.

    Attributes:
        families: names of `FAMILIES`, in its order.
        interior: isbi: index of the class that is the interior of objects; all others are their border.
        warping: isbi: whether to compute the warping error; it takes longer than all else.
        legacy_size: legacy: rows and columns at which images are scored, too; None: at their own size alone.
        own: the user's own functions by the names of their scores.
    """

    families: tuple[str, ...] = ("overlap",)
    interior: int = 1
    warping: bool = True
    legacy_size: Size | None = None
    own: "Mapping[str, MetricFunction]" = field(default_factory=dict["str", "MetricFunction"], hash=False)

    def with_own(self, functions: "Mapping[str, MetricFunction]") -> "Metrics":
        """Compute functions of the user's own, too."""
        others = tuple(name for name in self.families if name != "own")
        return replace(self, own=functions, families=(*others, "own")) if functions else self


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a family says of a set of images.

    Attributes:
        scores: of the set, by name.
        images: of every image, by name, in order.
        details: what else there is to show; the family's own type.
    """

    scores: dict[str, float]
    images: Sequence[Mapping[str, float]]
    details: Any = None
