"""Prediction: images of any size through a network, whole or in tiles, to arrays or to files."""

from unetkit.prediction.files import predict_to_file, require_probabilities
from unetkit.prediction.object_files import objects_to_file
from unetkit.prediction.plan import Plan
from unetkit.prediction.predictor import Part, Predictor
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
