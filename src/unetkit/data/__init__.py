"""Where data comes in: `open_dataset` recognises the form of a data set, and each form has its reader.

What a reader promises stands in `sample`; which form a path has is decided in `forms`.
"""

from unetkit.data.convert import convert
from unetkit.data.fetch import fetch
from unetkit.data.fingerprint import Fingerprint, fingerprint
from unetkit.data.forms import SAMPLE, open_dataset, open_images
from unetkit.data.memory import InMemory, in_memory
from unetkit.data.normalize import Normalization
from unetkit.data.sample import Dataset, Sample, samples_of
from unetkit.data.split import Split, split_dataset, split_indices
from unetkit.data.synthetic import write_sample

__all__ = [
    "SAMPLE",
    "Dataset",
    "Fingerprint",
    "InMemory",
    "Normalization",
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
