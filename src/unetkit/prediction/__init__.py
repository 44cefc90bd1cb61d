"""Prediction: images of any size through a network, whole or in tiles, to arrays or to files."""

from unetkit.prediction.predict import objects_to_file, predict_to_file
from unetkit.prediction.predictor import Part, Predictor, require_probabilities
from unetkit.prediction.tiling import Plan
from unetkit.prediction.uncertainty import answers_to, uncertainty

__all__ = [
    "Part",
    "Plan",
    "Predictor",
    "answers_to",
    "objects_to_file",
    "predict_to_file",
    "require_probabilities",
    "uncertainty",
]
