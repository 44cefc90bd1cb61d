"""Export: a network into a file that another runtime runs, kept only if it computes the same there.

`FORMATS` is the table of formats, one file each. How a file is run again is the business of `runtimes`.
"""

from unetkit.exporting.parity import BOUNDS, Case, Parity, compare, real_inputs
from unetkit.exporting.write import Exported, export_network, make_job, pipeline_of
from unetkit.formats import FORMATS, Format
from unetkit.formats.job import ExportJob, ExportOptions, Image, Pipeline, Quantisation

__all__ = [
    "BOUNDS",
    "Case",
    "ExportJob",
    "ExportOptions",
    "Exported",
    "FORMATS",
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
