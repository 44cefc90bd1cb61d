"""Packages for the BioImage Model Zoo (bioimage.io): one .zip that ilastik, deepImageJ and others open.

It holds the network as TorchScript and as ONNX, an image and what the network makes of it, and `rdf.yaml`, which says
what goes in and what comes out (version 0.5 of the zoo's model description). Normalisation is described there and done
by the reader, with the same numbers. bioimageio.core, the zoo's own validator, has to accept the package and to
reproduce its output. Packages are read by `package`.

Authors, licence, title and what to cite come from `FileOptions.about`: the zoo wants them, no program can know them.
Where they are not said the package is valid, but not ready to be uploaded.
"""

import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from unetkit.errors import ParityError, UsageError
from unetkit.formats import onnx, torchscript
from unetkit.formats.job import ExportJob, noise
from unetkit.formats.package import WEIGHTS, quiet_zoo
from unetkit.formats.runtime import required
from unetkit.modelfile.about import UNET
from unetkit.modelfile.card import ExportCard
from unetkit.objects.find import as_picture, tinted
from unetkit.storage.atomic import temporary_folder

# Of the output, for everybody who runs the package with other versions on another machine: how far probabilities or
# logits may differ, and how many of a million values may be further apart.
_TOLERANCE = {"relative_tolerance": 1e-3, "absolute_tolerance": 1e-4, "mismatched_elements_per_million": 10}
_LARGEST = 256


def write(job: ExportJob, path: Path) -> None:
    """Write a package, and let the zoo's validator test it.

    Raises:
        UsageError: bioimageio.core, onnx or onnxruntime is not installed, or class indices are asked for.
        ParityError: the validator refuses it.
    """
    if job.card.output == "argmax":
        raise UsageError("the zoo's packages hold an output with channels; choose --output softmax or logits")
    core, spec = required("bioimageio.core", "bioimageio"), required("bioimageio.spec.model.v0_5", "bioimageio")
    with temporary_folder() as folder:
        traced = folder / "weights.pt"
        torchscript.write(job, traced)
        members = {traced.name: traced.read_bytes(), WEIGHTS: onnx.model_proto(job).SerializeToString()}
    image_NCHW, output_NKHW = _example(job)
    for name, values in (("input.npy", image_NCHW), ("output.npy", output_NKHW)):
        buffer = io.BytesIO()
        np.save(buffer, values)
        members[name] = buffer.getvalue()
    members["README.md"] = _readme(job.card).encode()
    members["cover.png"] = _cover(job, image_NCHW[0], output_NKHW[0])
    description = _description(job, path.stem, members, channels=output_NKHW.shape[1])
    description["format_version"] = spec.ModelDescr.implemented_format_version
    maintainers = [{"name": one.name, "github_user": one.github} for one in job.options.about.authors if one.github]
    _zip(path, description, members)
    with quiet_zoo():
        summary = core.test_description(path)
    if maintainers:  # after the test, which would ask GitHub for them
        _zip(path, description | {"maintainers": maintainers}, members)
    if summary.status != "passed":
        reasons = [error.msg for detail in summary.details for error in detail.errors]
        raise ParityError(f"{path.name}: bioimageio.core refuses it: {'; '.join(reasons) or summary.status}")


def _zip(path: Path, description: dict[str, Any], members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"rdf.yaml": yaml.safe_dump(description, sort_keys=False), **members}.items():
            archive.writestr(name, content)


def _example(job: ExportJob) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return an image as it is stored, and the network's output for it, of a size that the description allows."""
    side, card = job.card.geometry.padded_size(_LARGEST), job.card
    images_NCHW = noise(card.model_copy(update={"preprocessing": True}), 1, side, side).numpy()
    for _, pixels_CHW in job.images[:1]:
        cut_CHW = pixels_CHW.take(range(side), 1, mode="wrap").take(range(side), 2, mode="wrap")
        images_NCHW = cut_CHW[None].astype(np.float32)
    with torch.inference_mode():
        x_NCHW = torch.from_numpy(card.normalization.apply(images_NCHW[0])[None])
        return images_NCHW, job.reference(x_NCHW).numpy()


def _cover(job: ExportJob, image_CHW: NDArray[Any], output_KHW: NDArray[Any]) -> bytes:
    """Return an image and the classes that the network finds in it, next to each other, as a PNG."""
    margin, single = job.card.geometry.margin, len(output_KHW) == 1
    labels = (output_KHW[0] > 0).astype(np.uint8) if single else output_KHW.argmax(0)
    inside_CHW = image_CHW[:, margin : margin + labels.shape[0], margin : margin + labels.shape[1]]
    picture = np.concatenate([as_picture(inside_CHW), tinted(inside_CHW, labels)], 1)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _description(job: ExportJob, name: str, members: dict[str, bytes], *, channels: int) -> dict[str, Any]:
    """Return `rdf.yaml`; `channels` are those of the output."""
    card, lost = job.card, -2 * job.card.geometry.margin

    def file(name: str) -> dict[str, Any]:
        return {"source": name, "sha256": hashlib.sha256(members[name]).hexdigest()}

    def tensor(name: str, of_channels: list[str], sides: list[dict[str, Any]], test: str) -> dict[str, Any]:
        axes = [{"type": "batch"}, {"type": "channel", "channel_names": of_channels}, *sides]
        return {"id": name, "axes": axes, "test_tensor": file(test), "data": {"type": "float32"}}

    fits = {"min": card.geometry.fitting_input_size(1), "step": card.geometry.multiple}
    sides = [{"type": "space", "id": axis, "size": dict(fits)} for axis in "yx"]
    image = tensor("image", _channel_names(card), sides, "input.npy")
    shift = {"axis": "channel", "mean": list(card.mean), "std": list(card.std)}
    image["preprocessing"] = [{"id": "fixed_zero_mean_unit_variance", "kwargs": shift}]
    sizes = [{"tensor_id": "image", "axis_id": axis, "offset": lost} for axis in "yx"]
    inside = [{"type": "space", "id": axis, "size": size} for axis, size in zip("yx", sizes, strict=True)]
    names = [re.sub(r"\W+", "_", name).strip("_") for name in card.classes[-channels:]]
    if len(set(names)) < channels or not all(name.isidentifier() for name in names):
        names = [f"class{index}" for index in range(channels)]
    about, output = job.options.about, onnx.OUTPUTS[card.output]
    authors = [one.model_dump(include={"name", "affiliation", "orcid"}, exclude_none=True) for one in about.authors]
    said = {"authors": authors, "license": about.license}
    return {
        "type": "model",
        "name": re.sub(r"[^\w\- ]+", " ", about.title or f"unetkit {name}").strip()[:64],
        "description": (about.description or card.purpose)[:512],
        "documentation": file("README.md"),
        "covers": [file("cover.png")],
        **{key: value for key, value in said.items() if value},
        "cite": [one.model_dump(exclude_none=True) for one in (*about.citations, UNET)],
        "tags": list(dict.fromkeys(("2d", "unet", "pytorch", "semantic-segmentation", "unetkit", *about.tags))),
        "config": {
            "unetkit": card.model_dump(mode="json"),
            "bioimageio": {"reproducibility_tolerance": [{**_TOLERANCE, "output_ids": [output]}]},
        },
        "inputs": [image],
        "outputs": [tensor(output, names, inside, "output.npy")],
        "weights": {
            "torchscript": file("weights.pt") | {"pytorch_version": torch.__version__.partition("+")[0]},
            "onnx": file(WEIGHTS) | {"opset_version": job.options.opset or onnx.OPSET, "parent": "torchscript"},
        },
    }


def _channel_names(card: ExportCard) -> list[str]:
    """Return a name for each channel; of several slices that are seen together, with the place of its slice."""
    own = [f"channel{index}" for index in range(card.image_channels)]
    places = ["this", *(f"{number}_after" for number in range(1, card.context + 1))]
    places = [*(f"{number}_before" for number in range(card.context, 0, -1)), *places]
    return [f"slice_{place}_{name}" for place in places for name in own] if card.context else own


def _readme(card: ExportCard) -> str:
    scores = "\n".join(f"- {name}: {value:.4f}" for name, value in sorted(card.scores.items()))
    return (
        f"# A network by unetkit {card.unetkit}\n\n{card.purpose}. "
        "Pixels are normalised by (pixels - mean) / std of every channel, mean "
        f"{', '.join(f'{value:g}' for value in card.mean)}, std {', '.join(f'{value:g}' for value in card.std)}.\n\n"
        f"## Validation\n\nScores on the images that were held out of its training:\n\n{scores or '- none are known'}\n"
    )
