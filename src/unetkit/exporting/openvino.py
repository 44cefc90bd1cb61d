"""OpenVINO's own files, made from ONNX: FILE.xml with the graph and the card in its rt_info, FILE.bin with weights."""

from pathlib import Path

from unetkit.exporting.int8 import quantised_openvino
from unetkit.exporting.job import ExportJob
from unetkit.exporting.onnx import model_proto
from unetkit.runtimes import CARD_KEY, required


def write(job: ExportJob, path: Path) -> None:
    """Write the two files.

    Raises:
        UsageError: a package is not installed.
    """
    package = required("openvino", "openvino")
    model = package.Core().read_model(model_proto(job).SerializeToString())
    if job.quantisation is not None:
        model = quantised_openvino(model, job.quantisation.inputs, floating=job.quantisation.floating)
    model.set_rt_info(job.card.model_dump_json(), [CARD_KEY])
    package.save_model(model, path, compress_to_fp16=job.options.half)
