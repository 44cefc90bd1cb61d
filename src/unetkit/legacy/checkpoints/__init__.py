"""The older systems' checkpoints: read as networks of ours, and written for MindSpore.

`read_legacy` takes what a user of MindSpore's model zoo or course, of OneFlow's or TensorFlow's U-Net, or of
milesial's Pytorch-UNet has on the disk, and recognises it by its content. None of those systems need be installed, and
no code in any file is run. Of what MindSpore exports the weights are read. It does not predict or train.

What a reader finds is `translate`d into one of our networks: its configuration, its weights under our names, its
optimizer's state. The names that a network should have come from building ours without memory for its weights; a
checkpoint that lacks one of them, or has it in another shape, is refused. What is left over is named in the notes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from unetkit.config import ModelConfig
from unetkit.errors import ModelFileError
from unetkit.legacy.archive import Archive, one_line
from unetkit.legacy.checkpoints import mindspore, oneflow, pytorch, tensorflow
from unetkit.legacy.checkpoints.mindspore import write_checkpoint as write_mindspore_checkpoint
from unetkit.legacy.networks import (
    ARCHITECTURES,
    NESTED,
    Architecture,
    NormalizationKind,
    Unknown,
    depth_of,
    mindspore_names,
    to_mindspore,
)
from unetkit.modelfile.card import AdamMoments
from unetkit.modelfile.others import unknown_weights
from unetkit.models import build_outline

__all__ = ["LegacyNetwork", "mindspore_names", "read_legacy", "to_mindspore", "write_mindspore_checkpoint"]

_LONGEST = 600  # of what is said of weights that nobody knows
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FIRST = "encoder.0.conv1.weight"
_COUNTER = "num_batches_tracked"  # PyTorch counts the batches that a norm has seen; it does not use the number here
_BUFFERS = ("running_mean", "running_var", _COUNTER)
_TRANSLATIONS = {
    "mindspore": "gamma, beta, moving_mean and moving_variance became weight, bias, running_mean and running_var",
    "tensorflow": "kernels were permuted from [height, width, in, out] to the order of PyTorch",
}
_NORMALIZATIONS: dict[str, NormalizationKind] = {
    "MindSpore": "minus-one-to-one",
    "TensorFlow": "minus-one-to-one",
    "OneFlow": "none",
    "PyTorch": "zero-to-one",
}


@dataclass(frozen=True, slots=True, eq=False)
class LegacyNetwork:
    """A network that an older system trained.

    Attributes:
        system: who wrote it: "MindSpore", "TensorFlow", "OneFlow" or "PyTorch".
        network: its configuration, channels and classes included. One class is one sigmoid logit.
        state: float32 weights by their names in our state dict, complete.
        moments: Adam's state for all parameters, or None where the file has none.
        normalization: what the system did to the pixels: x / 127.5 - 1, x / 255, or nothing, for 8 bits.
        channels: the order of a colour image's channels that the network was fed.
        notes: what was translated and what was left out, a line each.
    """

    system: str
    network: ModelConfig
    state: dict[str, Tensor]
    moments: AdamMoments | None
    normalization: NormalizationKind
    channels: Literal["rgb", "bgr"]
    notes: tuple[str, ...]

    def for_rgb(self) -> "LegacyNetwork":
        """Return the network that gives for RGB images what this one gives for its own order of channels."""
        if self.channels == "rgb":
            return self
        flipped = {**self.state, _FIRST: self.state[_FIRST].flip(1)}
        moments = self.moments
        if moments is not None:
            first = {**moments.first, _FIRST: moments.first[_FIRST].flip(1)}
            second = {**moments.second, _FIRST: moments.second[_FIRST].flip(1)}
            moments = AdamMoments(moments.step, first, second)
        note = "the first convolution's input channels were flipped from BGR to RGB"
        return replace(self, state=flipped, moments=moments, channels="rgb", notes=(*self.notes, note))


_READERS = (mindspore.read, mindspore.read_exported, tensorflow.read, pytorch.read, oneflow.read)


def read_legacy(path: str | Path) -> LegacyNetwork | None:
    """Read an older system's checkpoint, recognised by its content; None for anything else.

    Args:
        path: a file, a folder (OneFlow, TensorFlow) or the prefix of a TensorFlow bundle, such as `model.ckpt-6400`.

    Raises:
        ModelFileError: encrypted, cut short, contradicting itself, or of another network.
        DamagedFileError: a checksum in it does not match its content.
    """
    path = Path(path)
    try:
        for read in _READERS:
            archive = read(path)
            if archive is not None:
                return translate(path, archive)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
    if path.name.endswith("-graph.meta") and path.is_file():
        raise ModelFileError(f"{path}: MindSpore's graph, which holds no weights; give the .ckpt next to it")
    if path.suffix == ".ckpt" and path.is_file():
        raise ModelFileError(
            f"{path}: named as a checkpoint, but neither MindSpore's nor PyTorch's: encrypted, empty or damaged; "
            "copy it again from where it was written"
        )
    return None


def translate(path: Path, archive: Archive) -> LegacyNetwork:
    """Return the network of what a reader found at a path.

    Raises:
        ModelFileError: not one of the legacy networks, or not a whole one.
    """
    found = [
        (legacy, name.removesuffix(legacy.marker))
        for legacy in ARCHITECTURES
        for name in sorted(archive.tensors, key=len)
        if name == legacy.marker or name.endswith((f".{legacy.marker}", f"/{legacy.marker}"))
    ]
    if not found:
        raise ModelFileError(
            f"{path}: a {archive.system} checkpoint: {one_line(unknown_weights(archive.tensors), _LONGEST)}"
        )
    legacy, prefix = found[0]
    tensors = {name.removeprefix(prefix): tensor for name, tensor in archive.tensors.items() if name.startswith(prefix)}
    try:
        network = legacy.configure({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        shapes = {name: tensor.shape for name, tensor in build_outline(network).state_dict().items()}
        names = {ours: legacy_name for ours, legacy_name in legacy.names(depth_of(network)).items() if ours in shapes}
        state = _state(tensors, legacy, names, shapes)
    except Unknown as error:
        raise ModelFileError(
            f"{path}: a {archive.system} checkpoint like {legacy.name}, but {one_line(error)}"
        ) from None
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise ModelFileError(
            f"{path}: a {archive.system} {legacy.name} that cannot be built: {one_line(reason)}"
        ) from None
    trained = {ours: legacy_name for ours, legacy_name in names.items() if not ours.endswith(_BUFFERS)}

    def collect(found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the moments that fit; their names may lack the prefix."""
        known = {ours: found.get(prefix + legacy_name, found.get(legacy_name)) for ours, legacy_name in trained.items()}
        permuted = {ours: _permuted(tensor, legacy) for ours, tensor in known.items() if tensor is not None}
        return {ours: _contiguous(tensor) for ours, tensor in permuted.items() if tensor.shape == shapes[ours]}

    moments, first, second = None, collect(archive.first), collect(archive.second)
    if archive.step is not None and archive.step >= 0 and len(first) == len(second) == len(trained):
        moments = AdamMoments(archive.step, first, second)
    return LegacyNetwork(
        system=archive.system,
        network=network,
        state=state,
        moments=moments,
        normalization=_NORMALIZATIONS[archive.system],
        channels="bgr" if legacy.style == "mindspore" and network.in_channels == 3 else "rgb",
        notes=tuple(_notes(archive, legacy, prefix, names, moments)),
    )


def _state(
    tensors: dict[str, Tensor], legacy: Architecture, names: dict[str, str], shapes: dict[str, torch.Size]
) -> dict[str, Tensor]:
    """Return our state dict; `names` are the legacy ones by ours, `shapes` what our tensors should have.

    Raises:
        Unknown: a tensor is missing, has another shape or holds no floating-point numbers.
    """
    state: dict[str, Tensor] = {}
    for ours, shape in shapes.items():
        if ours.endswith(_COUNTER):
            state[ours] = torch.zeros((), dtype=torch.int64)
            continue
        legacy_name = names[ours]
        if legacy_name not in tensors:
            raise Unknown(f"{legacy_name} is missing")
        tensor = _permuted(tensors[legacy_name], legacy)
        if tensor.shape != shape:
            raise Unknown(
                f"{legacy_name} has the shape {tuple(tensor.shape)} where {tuple(shape)} fits the other tensors"
            )
        if tensor.dtype not in _FLOATS:
            raise Unknown(f"{legacy_name} holds {tensor.dtype} and not floating-point numbers")
        state[ours] = _contiguous(tensor)
    return state


def _permuted(tensor: Tensor, legacy: Architecture) -> Tensor:
    """Return a kernel with its axes in our order; TensorFlow has height and width first."""
    return tensor.permute(3, 2, 0, 1) if legacy.style == "tensorflow" and tensor.ndim == 4 else tensor


def _notes(
    archive: Archive, legacy: Architecture, prefix: str, names: dict[str, str], moments: AdamMoments | None
) -> Iterator[str]:
    yield f"{archive.system} {legacy.name}: {len(names)} tensors"
    if prefix:
        yield f"the prefix {one_line(prefix)} was taken off the names"
    if legacy.style == "tensorflow" or (legacy.style == "mindspore" and "encoder.0.norm1.weight" in names):
        yield _TRANSLATIONS[legacy.style]
    others = {
        archive.tensors[prefix + legacy_name].dtype
        for legacy_name in names.values()
        if prefix + legacy_name in archive.tensors
    }
    if narrow := sorted(str(dtype).removeprefix("torch.") for dtype in others - {torch.float32, torch.int64}):
        yield f"{' and '.join(narrow)} weights became float32"
    if legacy is NESTED and "heads.1.weight" in names:
        yield "the file does not say whether heads 1 to 3 were trained (use_ds); all heads were taken over"
    if archive.system == "OneFlow":
        yield "OneFlow's own prediction cuts the logit at 0.5, which is a probability of 0.62"
    if moments is not None:
        yield f"Adam's moments after step {moments.step} were taken over"
    elif archive.first or archive.second:
        yield "Adam's moments were left out: they do not belong to all parameters, or the step is missing"
    known = {prefix + legacy_name for legacy_name in names.values()}
    if left_out := [*(name for name in archive.tensors if name not in known), *archive.left_out]:
        more = f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        yield f"left out: {one_line(', '.join(left_out[:8]))}{more}"


def _contiguous(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32).contiguous()
