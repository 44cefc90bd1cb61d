"""Packages for the BioImage Model Zoo (bioimage.io): one .zip that ilastik, deepImageJ and others open.

It holds the network as TorchScript and as ONNX, an image and what the network makes of it, and `rdf.yaml`, which says
what goes in and what comes out (version 0.5 of the zoo's model description). Normalisation is described there and done
by the reader, with the same numbers. bioimageio.core, the zoo's own validator, has to accept the package and to
reproduce its output.

Author, licence and a better text are the user's to add: the zoo wants them, no program can know them.

Exported files, told by their content, and the card that each carries. No file is run for that, nothing is unpacked.

    onnx          a protobuf message that begins with a version      metadata property `unetkit`
    openvino      an XML text with a <net>; its weights lie beside   <rt_info> <unetkit value="..."/>
    pt2           torch.export's archive                             archive member extra/unetkit
    aoti          an archive with compiled code                      a key in the metadata beside the code
    torchscript   an archive with TorchScript                        archive member extra/unetkit.json
    bioimageio    an archive with rdf.yaml                           that of the ONNX file in it
    mindir        a protobuf message that begins as MindSpore's do   entry `unetkit` of user_info
    air           a protobuf message with a name and a graph         attribute `unetkit` of the model

Does not know how any of them is computed.
"""

import hashlib
import io
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from unetkit.errors import ParityError, UsageError
from unetkit.formats import onnx, torchscript
from unetkit.formats.job import ExportJob, noise
from unetkit.formats.onnx import card_in_onnx
from unetkit.formats.runtime import required
from unetkit.modelfile.card import ExportCard

ZOO_WEIGHTS = "weights.onnx"
"""The file in a bioimage.io package that is run."""


def bioimageio_card(path: Path) -> str | None:
    """Return the text of the card in the ONNX file of a package; None where it has none."""
    with zipfile.ZipFile(path) as archive:
        return card_in_onnx(archive.read(ZOO_WEIGHTS)) if ZOO_WEIGHTS in archive.namelist() else None


_CITE = {
    "text": "Ronneberger, Fischer and Brox (2015): U-Net: Convolutional Networks for Biomedical Image Segmentation",
    "doi": "10.1007/978-3-319-24574-4_28",
}
_LARGEST = 256


def write(job: ExportJob, path: Path) -> None:
    """Write a package, and let the zoo's validator test it.

    Raises:
        UsageError: bioimageio.core, onnx or onnxruntime is not installed, or class indices are asked for.
        ParityError: the validator refuses it.
    """
    if job.card.output == "argmax":
        raise UsageError("the zoo's packages hold an output with channels; choose --head softmax or logits")
    core, spec = required("bioimageio.core", "bioimageio"), required("bioimageio.spec.model.v0_5", "bioimageio")
    members = {**_weights(job), **_example(job), "README.md": _readme(job).encode()}
    description = _description(job, path.stem, members)
    description["format_version"] = spec.ModelDescr.implemented_format_version
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"rdf.yaml": yaml.safe_dump(description, sort_keys=False), **members}.items():
            archive.writestr(name, content)
    _require_accepted(core, path)


def _weights(job: ExportJob) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "weights.pt"
        torchscript.write(job, traced)
        return {traced.name: traced.read_bytes(), ZOO_WEIGHTS: onnx.model_proto(job).SerializeToString()}


def _example(job: ExportJob) -> dict[str, bytes]:
    """Return an image as it is stored, and the network's output for it, of a size that the description allows."""
    geometry, card = job.card.geometry, job.card
    side = geometry.padded_size(_LARGEST)
    images = noise(card.model_copy(update={"preprocessing": True}), 1, side, side).numpy()
    for _, pixels_CHW in job.images[:1]:
        images = pixels_CHW.take(range(side), 1, mode="wrap").take(range(side), 2, mode="wrap")[None].astype(np.float32)
    with torch.inference_mode():
        outputs = job.reference(torch.from_numpy(card.normalization.apply(images[0])[None])).numpy()
    return {"input.npy": _npy(images), "output.npy": _npy(outputs)}


def _description(job: ExportJob, name: str, members: dict[str, bytes]) -> dict[str, Any]:
    card = job.card

    def file(name: str, **more: Any) -> dict[str, Any]:
        return {"source": name, "sha256": hashlib.sha256(members[name]).hexdigest(), **more}

    shift = {"axis": "channel", "mean": list(card.mean), "std": list(card.std)}
    given = _tensor("image", _identifiers("channel", card.channels), _sides(card), file("input.npy"))
    given["preprocessing"] = [{"id": "fixed_zero_mean_unit_variance", "kwargs": shift}]
    opset = job.options.opset or onnx.OPSET
    return {
        "type": "model",
        "name": re.sub(r"[^\w\- ]+", " ", f"unetkit {name}").strip(),
        "description": _purpose(card)[:1024],
        "documentation": file("README.md"),
        "cite": [_CITE],
        "tags": ["2d", "unet", "semantic-segmentation", "unetkit"],
        "config": {"unetkit": card.model_dump(mode="json")},
        "inputs": [given],
        "outputs": [_tensor(onnx.OUTPUTS[card.output], _channels(card, members), _answers(card), file("output.npy"))],
        "weights": {
            "torchscript": file("weights.pt", pytorch_version=torch.__version__.partition("+")[0]),
            "onnx": file(ZOO_WEIGHTS, opset_version=opset, parent="torchscript"),
        },
    }


def _tensor(name: str, channels: list[str], sides: list[dict[str, Any]], test: dict[str, Any]) -> dict[str, Any]:
    axes = [{"type": "batch"}, {"type": "channel", "channel_names": channels}, *sides]
    return {"id": name, "axes": axes, "test_tensor": test, "data": {"type": "float32"}}


def _sides(card: ExportCard) -> list[dict[str, Any]]:
    size = {"min": card.geometry.fitting_input_size(1), "step": card.geometry.multiple}
    return [{"type": "space", "id": axis, "size": dict(size)} for axis in "yx"]


def _answers(card: ExportCard) -> list[dict[str, Any]]:
    lost = -2 * card.geometry.margin
    return [
        {"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis, "offset": lost}} for axis in "yx"
    ]


def _channels(card: ExportCard, members: dict[str, bytes]) -> list[str]:
    count = np.load(io.BytesIO(members["output.npy"])).shape[1]
    names = [re.sub(r"\W+", "_", name).strip("_") for name in card.classes[-count:]]
    distinct = len(set(names)) == count and all(name.isidentifier() for name in names)
    return names if distinct else _identifiers("class", count)


def _identifiers(stem: str, count: int) -> list[str]:
    return [f"{stem}{index}" for index in range(count)]


def _readme(job: ExportJob) -> str:
    card = job.card
    scores = "\n".join(f"- {name}: {value:.4f}" for name, value in sorted(card.scores.items()))
    return (
        f"# A network by unetkit {card.unetkit}\n\n{_purpose(card)}. "
        "Pixels are normalised by (pixels - mean) / std of every channel, mean "
        f"{', '.join(f'{value:g}' for value in card.mean)}, std {', '.join(f'{value:g}' for value in card.std)}.\n\n"
        f"## Validation\n\nScores on the images that were held out of its training:\n\n{scores or '- none are known'}\n"
    )


def _purpose(card: ExportCard) -> str:
    return f"Segments images with {card.channels} channel{'s'[: card.channels - 1]} into {', '.join(card.classes)}"


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _require_accepted(core: Any, path: Path) -> None:
    logger = required("loguru", "bioimageio").logger
    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the validator and of what it imports: its verdict is what counts
            summary = core.test_description(path)
    finally:
        logger.enable("bioimageio")
    if summary.status != "passed":
        reasons = [error.msg for detail in summary.details for error in detail.errors]
        raise ParityError(f"{path.name}: bioimageio.core refuses it: {'; '.join(reasons) or summary.status}")
