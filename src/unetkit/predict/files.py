"""From image files to files of predictions: an image, a stack, or a folder of them.

Masks of two classes are 0 and 255, as labels are; those of more classes hold class indices. Probabilities are float32:
of class 1 for two classes, of every class otherwise, one channel a class. Everything that can be refused is refused
before the first pixel is predicted, and an output is there whole or not at all, a folder too.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from unetkit.data.images import SUFFIXES, is_tiff, open_pages
from unetkit.data.pages import Pages, as_pixels
from unetkit.errors import DataError, StorageError, UsageError
from unetkit.predict.outputs import Form, Output, png_image, tiff_stack
from unetkit.predict.predictor import Part, Predictor, most_probable
from unetkit.progress import Reporter, Silence

_TIFF = frozenset({".tif", ".tiff"})
_PNG = frozenset({".png"})
