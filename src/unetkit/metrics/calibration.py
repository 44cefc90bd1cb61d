"""Whether probabilities mean what they say: of the pixels that are given 0.8, are eight in ten right?

Pixels are counted by the confidence that they are given, in bins of equal width; the counts of images add up.
Temperature scaling divides the logits of all classes by one number, which is found where the probabilities of the truth
are highest (Guo et al. 2017): the most probable class stays what it is. Logits need not be known: the logarithms of
probabilities differ from them by a number that softmax takes out again.

Assumes one probability a class and pixel that sum to one. Does not know networks or files.

Legend of shapes: K classes, H height, W width, B bins, N pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetkit.metrics.definitions import Definition, Metrics, Pooled, Prediction

BINS = 15
TEMPERATURES = (0.2, 10.0)
"""Between these a temperature is sought."""

_SAMPLED = 20_000  # pixels of an image that a temperature is fitted on
_LEAST = 1e-7  # below it a float32 softmax says nothing more
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Reliability:
    """Counts of pixels by confidence.

    Attributes:
        top: [3, B]: of the most probable class of every pixel: pixels, their summed confidence, how many are right.
        classes: [K, 3, B]: of each class at every pixel: pixels, their summed probability, how many are of the class.
    """

    top: NDArray[np.float64]
    classes: NDArray[np.float64]

    def __add__(self, other: "Reliability") -> "Reliability":
        """Return the counts of both."""
        return Reliability(self.top + other.top, self.classes + other.classes)

    @cached_property
    def error(self) -> float:
        """The expected calibration error of the most probable class."""
        return _error(self.top)

    @cached_property
    def class_error(self) -> float:
        """The calibration error of each class's probability, the mean over the classes that occur."""
        return float(np.mean([_error(one) for one in self.classes if one[2].sum()]))

    def scores(self) -> dict[str, float]:
        """Return the two errors by their names in `DEFINITIONS`."""
        return {"expected_calibration_error": self.error, "class_calibration_error": self.class_error}


@dataclass(frozen=True, slots=True)
class Pixels:
    """Some pixels of an image, drawn at random.

    Attributes:
        logs_KN: the logarithms of their probabilities.
        labels_N: their classes.
        border: the last class is the border of objects, which labels do not have: its probability goes to the most
            probable other class but the first.
    """

    logs_KN: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    border: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfidence:
    """What one image says of a network's confidence: all its pixels counted, and some of them."""

    reliability: Reliability
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a network's probabilities can be trusted.

    Attributes:
        reliability: as they are, over all pixels.
        temperature: what logits are divided by to make them trustworthy.
        calibrated: counts at that temperature, over the pixels that it was fitted on.
    """

    reliability: Reliability
    temperature: float
    calibrated: Reliability

    def __str__(self) -> str:
        """The errors and the temperature in one line."""
        off = self.temperature - 1
        sure = "well as it is" if abs(off) < 0.02 else "too sure" if off > 0 else "not sure enough"
        return (
            f"confidence: expected calibration error {self.reliability.error:.4f}; the best temperature is "
            f"{self.temperature:.2f} ({sure}), which makes it {self.calibrated.error:.4f} where it is fitted"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values; bins are [pixels, summed confidence, right ones]."""
        return {
            "temperature": self.temperature,
            **self.reliability.scores(),
            "calibrated": self.calibrated.scores(),
            "bins": self.reliability.top.T.tolist(),
        }


def reliability(probabilities: NDArray[Any], labels: NDArray[Any], *, bins: int = BINS) -> Reliability:
    """Count the pixels of an image by the confidence that they are given.

    Args:
        probabilities: [K, H, W] float, summing to one over K.
        labels: [H, W] class indices below K.
        bins: of equal width between 0 and 1.
    """
    top, right = probabilities.max(0), probabilities.argmax(0) == labels
    classes = [_counts(one, labels == index, bins) for index, one in enumerate(probabilities)]
    return Reliability(_counts(top, right, bins), np.stack(classes))


def some_pixels(probabilities: NDArray[Any], labels: NDArray[Any], *, border: bool = False) -> Pixels:
    """Draw pixels of an image, the same ones each time; probabilities [K, H, W] hold the border's, if there is one."""
    flat_KP = probabilities.reshape(len(probabilities), -1)
    count = flat_KP.shape[1]
    chosen = np.random.default_rng(0).permutation(count)[:_SAMPLED]
    logs_KN = np.log(flat_KP[:, chosen].clip(_LEAST)).astype(np.float32)
    return Pixels(logs_KN, labels.ravel()[chosen].astype(np.int64), border)


def pool_confidence(images: Sequence[ImageConfidence]) -> Confidence:
    """Put images together, at least one, and fit the temperature to them."""
    counted = images[0].reliability
    for image in images[1:]:
        counted += image.reliability
    pixels = Pixels(
        np.concatenate([image.pixels.logs_KN for image in images], 1),
        np.concatenate([image.pixels.labels_N for image in images]),
        images[0].pixels.border,
    )
    temperature = fit_temperature(pixels)
    calibrated = reliability(heated(pixels, temperature)[..., None], pixels.labels_N[:, None])
    return Confidence(counted, temperature, calibrated)


def fit_temperature(pixels: Pixels) -> float:
    """Return the number that logits have to be divided by so that the probabilities of the truth are highest.

    The pixels are of images that the network was not trained on.
    """

    def surprise(log_temperature: float) -> float:
        p_KN = heated(pixels, float(np.exp(log_temperature)))
        return float(-np.log(np.take_along_axis(p_KN, pixels.labels_N[None], 0).clip(_LEAST)).mean())

    from scipy.optimize import minimize_scalar  # slow to import, and needed once a training

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": _TOLERANCE})
    return float(np.exp(found.x))


def heated(pixels: Pixels, temperature: float) -> NDArray[Any]:
    """Return the probabilities [K, N] of the data's classes at a temperature."""
    scaled_KN = pixels.logs_KN / temperature
    p_KN = np.exp(scaled_KN - scaled_KN.max(0))
    p_KN /= p_KN.sum(0)
    if not pixels.border:
        return p_KN
    data_KN, places = p_KN[:-1], p_KN[1:-1].argmax(0) + 1
    data_KN[places, np.arange(data_KN.shape[1])] += p_KN[-1]
    return data_KN


def of_image(one: Prediction, metrics: Metrics) -> ImageConfidence:
    """Count the pixels of one image by confidence, and draw some of them to fit a temperature on."""
    one, border = one.counted(), len(one.network_probabilities) > len(one.classes)
    pixels = some_pixels(one.network_probabilities, one.labels, border=border)
    return ImageConfidence(reliability(one.probabilities, one.labels), pixels)


def of_set(images: Sequence[ImageConfidence], classes: Sequence[str]) -> Pooled:
    """Pool images; single images have no scores of confidence."""
    pooled = pool_confidence(images)
    return Pooled(pooled.reliability.scores(), [dict[str, float]() for _ in images], pooled)


def _counts(confidence: NDArray[Any], right: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    place = np.minimum((confidence.ravel() * bins).astype(np.int64), bins - 1)
    weights = (None, confidence.ravel(), right.ravel())
    return np.stack([np.bincount(place, weight, bins).astype(np.float64) for weight in weights])


def _error(counts: NDArray[np.float64]) -> float:
    pixels, confidence, right = counts
    return float(np.abs(confidence - right).sum() / pixels.sum())


_SOURCE = "Guo et al. 2017, On calibration of modern neural networks"

DEFINITIONS: dict[str, Definition] = {
    card.name: card
    for card in (
        Definition(
            name="expected_calibration_error",
            meaning="how far confidence is from the share of right pixels",
            formula=f"sum_b |conf_b - hits_b| / N, the pixels' highest probabilities in {BINS} bins b of equal width, "
            "conf_b their sum, hits_b how many name the true class, N all pixels",
            better="lower",
            classes="all, background (class 0) included: at each pixel the most probable one",
            averaging="counts summed over all pixels of the set",
            absent="has no pixels that could be right",
            threshold="none: probabilities as they are",
            source=_SOURCE,
        ),
        Definition(
            name="class_calibration_error",
            meaning="the same of each class's probability, mean of classes",
            formula=f"mean over k of sum_b |conf_kb - hits_kb| / N, the pixels' probabilities of class k in {BINS} "
            "bins b of equal width, conf_kb their sum, hits_kb how many are of class k, N all pixels",
            better="lower",
            classes="all, background (class 0) included",
            averaging="counts summed over all pixels of the set, then the mean over classes",
            absent="not in the truth: left out of the mean",
            threshold="none: probabilities as they are",
            source="Kull et al. 2019, Beyond temperature scaling (classwise ECE)",
        ),
    )
}
