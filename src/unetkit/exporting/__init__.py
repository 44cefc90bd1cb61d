"""Export: a network into a file that another runtime runs, kept only if it computes the same there."""

from unetkit.exporting.parity import BOUNDS, Case, Parity, compare, real_inputs
from unetkit.exporting.write import Exported, export_network, make_job, pipeline_of
from unetkit.formats import FORMATS, Format
from unetkit.formats.job import ExportJob, FileOptions, Image, Pipeline, Quantisation

__all__ = [
    "BOUNDS",
    "Case",
    "ExportJob",
    "Exported",
    "FORMATS",
    "FileOptions",
    "Format",
    "Image",
    "Parity",
    "Pipeline",
    "Quantisation",
    "compare",
    "export_network",
    "make_job",
    "pipeline_of",
    "real_inputs",
]
