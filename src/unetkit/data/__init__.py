"""Where data comes in: `open_dataset` recognises the layout of a data set, and each layout has its reader.

What a reader promises stands in `dataset`; which layout a path has is decided in `layouts`.
"""

from unetkit.data.convert import convert
from unetkit.data.dataset import Dataset, InMemory, Sample, in_memory, samples_of
from unetkit.data.fetch import fetch
from unetkit.data.fingerprint import Fingerprint, fingerprint
from unetkit.data.layouts import SAMPLE, open_dataset, open_images
from unetkit.data.layouts.synthetic import write_sample
from unetkit.data.normalize import Normalization
from unetkit.data.split import Split, split_dataset, split_indices

__all__ = [
    "Dataset",
    "Fingerprint",
    "InMemory",
    "Normalization",
    "SAMPLE",
    "Sample",
    "Split",
    "convert",
    "fetch",
    "fingerprint",
    "in_memory",
    "open_dataset",
    "open_images",
    "samples_of",
    "split_dataset",
    "split_indices",
    "write_sample",
]
