"""Export: a network into a file that another runtime runs, kept only if it computes the same there.

`FORMATS` is the table of formats, one file each. How a file is run again is the business of `runtimes`.
"""

from unetkit.exporting.course import Exported, export_network
from unetkit.exporting.formats import FORMATS, Format
from unetkit.exporting.job import ExportJob, ExportOptions, Image, Pipeline, Quantisation, make_job, pipeline_of
from unetkit.exporting.parity import BOUNDS, Case, Parity, compare, real_inputs

__all__ = [
    "BOUNDS",
    "FORMATS",
    "Case",
    "ExportJob",
    "ExportOptions",
    "Exported",
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
