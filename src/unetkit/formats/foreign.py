"""Other people's graphs as networks: what their files do not say, and their output as probabilities of classes.

A graph is run as it is. Around it, images are brought to the axes, the type and a size that it takes, one of its
outputs is chosen, and what comes out becomes the probabilities of classes that exclude each other, or classes. A bare
ONNX or TorchScript file says neither what its classes are called nor what is to be done to pixels: the user does, in a
`Description`. Packages of bioimage.io say it themselves: see `package`.

Axes are written as letters: b images, c channels, y rows, x columns; any other has a length of 1.

Legend of shapes: N images, C channels, K values of a pixel of output, H height, W width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetkit.errors import ModelFileError, UsageError
from unetkit.formats import onnx
from unetkit.formats.fingerprint import is_own_export
from unetkit.formats.pt2 import TorchModule
from unetkit.formats.runtime import (
    ACTIVATIONS,
    Activation,
    Description,
    ExportedNetwork,
    GraphRuntime,
    Runtime,
    RuntimeOptions,
    reason,
)
from unetkit.modelfile.card import ExportCard
from unetkit.models.geometry import Geometry

BYTES_PER_PIXEL = 1500.0
"""Of memory that other people's network takes: about what a U-Net takes that begins with 64 channels."""

Prepare = Callable[[NDArray[Any]], NDArray[np.float32]]
Process = Callable[[NDArray[Any]], NDArray[Any]]


def rearranged(array: NDArray[Any], axes: str, wanted: str) -> NDArray[Any]:
    """Return an array with other axes: those that are not wanted have a length of 1, and so have those that are added.

    Raises:
        ValueError: it has other axes than are said, or a longer one that is not wanted.
    """
    if array.ndim != len(axes):
        raise ValueError(f"found {array.ndim} axes, expected {len(axes)}: {', '.join(axes)}")
    kept = [axis for axis in axes if axis in wanted]
    array = array.squeeze(tuple(place for place, axis in enumerate(axes) if axis not in wanted))
    array = array.transpose([kept.index(axis) for axis in wanted if axis in kept])
    return np.expand_dims(array, tuple(place for place, axis in enumerate(wanted) if axis not in kept))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which heights and widths go in, in pixels.

    Attributes:
        multiple: sides are `least` and so many more, for height and width.
        least: the smallest.
        fixed: the only ones; None: there are others.
        margin: what the output lacks on each side.
        halo: pixels of the output on each side that depend on what lies beyond the image; None: not known.
    """

    multiple: tuple[int, int] = (1, 1)
    least: tuple[int, int] = (1, 1)
    fixed: tuple[int, int] | None = None
    margin: int = 0
    halo: int | None = None

    def fitting(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest height and width that go in and are not below these."""
        if self.fixed is not None:
            return self.fixed
        down, across = (
            least + max(0, -(-(side - least) // step) * step)
            for side, least, step in zip((height, width), self.least, self.multiple, strict=True)
        )
        return down, across

    @property
    def geometry(self) -> Geometry:
        """The same as prediction takes it; where height and width have other steps, what fits both."""
        multiple = 1 if self.fixed else math.lcm(*self.multiple)
        offset = 0 if self.fixed or len(set(self.least)) > 1 else self.least[0] % multiple
        sees = None if self.halo is None else self.halo + self.margin
        return Geometry(multiple, offset, sees, self.margin, self.halo, self.fixed)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the values of an output are.

    Attributes:
        activation: what makes probabilities of them.
        exclusive: the K values of a pixel are probabilities of K classes, one of which it has; else each is one of its
            own, and what they leave to 1 is the background.
        labels: they say which class it is, not how probable.
    """

    activation: Activation
    exclusive: bool
    labels: bool = False

    def probabilities(self, values_NKHW: Tensor) -> Tensor:
        """Return the probabilities of all classes, [N, K, H, W] or, with a background in front, [N, K + 1, H, W].

        Raises:
            UsageError: they are none.
        """
        p_NKHW = values_NKHW.float()
        if self.activation == "softmax":
            p_NKHW = p_NKHW.softmax(1)
        elif self.activation == "sigmoid":
            p_NKHW = p_NKHW.sigmoid()
        elif not (float(p_NKHW.min()) >= -_ROUNDING and float(p_NKHW.max()) <= 1 + _ROUNDING):
            raise UsageError(
                f"its output was taken for probabilities, and holds values from {float(p_NKHW.min()):g} to "
                f"{float(p_NKHW.max()):g}; give --activation sigmoid or softmax if they are logits"
            )
        p_NKHW = p_NKHW.clamp(0, 1)
        if self.exclusive:
            return p_NKHW
        total_N1HW = p_NKHW.sum(1, keepdim=True)
        background_N1HW = (1 - total_N1HW).clamp_min(0)
        return torch.cat([background_N1HW, p_NKHW], 1) / total_N1HW.clamp_min(1)


_ROUNDING = 1e-3


def meaning_of(values_NKHW: Tensor, activation: Activation | None) -> Meaning:
    """Return what values of an output are, by the values of one image.

    Between 0 and 1 they are probabilities, of classes that exclude each other where those of every pixel add up to 1;
    any other single value is a logit of the second of two classes, several are logits of as many classes.
    """
    values_NKHW, several = values_NKHW.float(), values_NKHW.shape[1] > 1
    inside = float(values_NKHW.min()) >= -_ROUNDING and float(values_NKHW.max()) <= 1 + _ROUNDING
    chosen = activation or ("none" if inside else "softmax" if several else "sigmoid")
    if chosen == "softmax":
        return Meaning(chosen, exclusive=True)
    sums = values_NKHW.sum(1)
    return Meaning(chosen, exclusive=several and chosen == "none" and bool((sums - 1).abs().max() < _ROUNDING))


@dataclass(frozen=True, slots=True, eq=False)
class ForeignGraph:
    """Other people's graph as a runtime that takes [N, C, H, W] and gives probabilities or, of labels, classes.

    Attributes:
        runtime: the loaded graph.
        axes: of its input.
        dtype: of its input.
        output: which of its outputs has the classes.
        output_axes: of that.
        sizes: that go in.
        process: what is done to that output, in its own axes, before it is understood; None: nothing.
        meaning: of what comes out then; None: values are given as they are.
    """

    runtime: GraphRuntime
    axes: str
    dtype: np.dtype[Any]
    output: int
    output_axes: str
    sizes: Sizes
    process: Process | None = None
    meaning: Meaning | None = None

    def run(self, images: Tensor) -> Tensor:
        """Return probabilities [N, K, h, w] or classes [N, h, w], with h = H - 2 margin, of float32 [N, C, H, W].

        Raises:
            ValueError: the graph gives other sizes than it should.
        """
        x_NCHW, lost = images.cpu().numpy(), 2 * self.sizes.margin
        height, width = x_NCHW.shape[2:]
        goal = self.sizes.fitting(height, width)
        x_NCHW = np.pad(x_NCHW, ((0, 0), (0, 0), (0, goal[0] - height), (0, goal[1] - width)), mode="edge")
        shown = np.ascontiguousarray(rearranged(x_NCHW, "bcyx", self.axes).astype(self.dtype))
        answer = self.runtime.run_all(torch.from_numpy(shown))[self.output].cpu().numpy()
        if self.process is not None:
            answer = self.process(answer)
        values_NKHW = torch.from_numpy(rearranged(answer, self.output_axes, "bcyx"))
        expected = tuple(side - lost for side in goal)
        if values_NKHW.shape[2:] != expected:
            raise ValueError(f"it gives {tuple(values_NKHW.shape[2:])} for {goal}, expected {expected}")
        values_NKHW = values_NKHW[:, :, : height - lost, : width - lost]
        if self.meaning is None:
            return values_NKHW
        if self.meaning.labels and values_NKHW.shape[1] == 1 and self.meaning.exclusive:
            return values_NKHW[:, 0].int()
        p_NKHW = self.meaning.probabilities(values_NKHW)
        return p_NKHW.max(1).indices.int() if self.meaning.labels else p_NKHW


def network(
    graph: ForeignGraph,
    meaning: Meaning,
    *,
    channels: int,
    classes: tuple[str, ...],
    border: bool = False,
    batch: int | None = None,
    prepare: Prepare,
    notes: tuple[str, ...],
    precision: str,
) -> ExportedNetwork:
    """Return other people's graph as a network, with a card of what is known of it.

    Colour images go into a network of one channel as their luminance, grey ones into one of three channels thrice.
    """
    card = ExportCard(
        classes=classes,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        border=border,
        output="argmax" if meaning.labels else "softmax",
        size=graph.sizes.fixed,
        batch=batch if "b" in graph.axes else 1,
        geometry=graph.sizes.geometry,
        bytes_per_pixel=BYTES_PER_PIXEL,
    )

    def prepared(pixels_CHW: NDArray[Any]) -> NDArray[np.float32]:
        if (len(pixels_CHW), channels) == (3, 1):
            grey_1HW = np.tensordot(_LUMINANCE, pixels_CHW, 1)[None]
            pixels_CHW = (np.rint(grey_1HW) if pixels_CHW.dtype.kind in "iu" else grey_1HW).astype(pixels_CHW.dtype)
        elif (len(pixels_CHW), channels) == (1, 3):
            pixels_CHW = pixels_CHW.repeat(3, 0)
        return prepare(pixels_CHW)

    return ExportedNetwork(replace(graph, meaning=meaning), card, precision, prepared, notes, foreign=True)


_LUMINANCE = np.array((0.299, 0.587, 0.114))
"""Of R, G and B, by ITU-R BT.601."""


def named(path: Path, given: tuple[str, ...], count: int, meaning: Meaning) -> tuple[str, ...]:
    """Return the names of all classes: those that were given, with "background" in front where that was left out.

    Raises:
        UsageError: not as many as `count` values of a pixel mean.
    """
    wanted = count if meaning.exclusive else count + 1
    names = given if len(given) == wanted or meaning.exclusive else ("background", *given)
    if len(names) != wanted or len(set(names)) < wanted:
        hint = "" if meaning.exclusive else f", or {wanted - 1} without the background"
        raise UsageError(
            f"{path}: found --classes {','.join(given)}; its output of {count} channel{'s'[: count - 1]} needs "
            f"{wanted} different names{hint}"
        )
    return names


def _per_image(low: Callable[..., Any], span: Callable[..., Any]) -> Prepare:
    def prepare(pixels_CHW: NDArray[Any]) -> NDArray[np.float32]:
        x_CHW = pixels_CHW.astype(np.float32)
        spans = span(x_CHW, axis=(1, 2), keepdims=True)
        shifted_CHW = x_CHW - low(x_CHW, axis=(1, 2), keepdims=True)
        return (shifted_CHW / np.where(spans > 0, spans, 1)).astype(np.float32)

    return prepare


def _of_type(scale: float, shift: float = 0.0) -> Prepare:
    """Return what maps 0 to the highest whole number of a type to a range; fractions are taken to be in [0, 1]."""

    def prepare(pixels_CHW: NDArray[Any]) -> NDArray[np.float32]:
        highest = np.iinfo(pixels_CHW.dtype).max if pixels_CHW.dtype.kind in "iu" else 1
        return (pixels_CHW.astype(np.float32) / highest * scale + shift).astype(np.float32)

    return prepare


def _imagenet(pixels_CHW: NDArray[Any]) -> NDArray[np.float32]:
    mean, std = (np.array(values, np.float32)[:, None, None] for values in _IMAGENET)
    return (_of_type(1.0)(pixels_CHW) - mean) / std


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of R, G and B in [0, 1], as torchvision's and most pretrained encoders take them."""

NORMALIZATIONS: dict[str, Prepare] = {
    "none": lambda pixels_CHW: pixels_CHW.astype(np.float32),
    "zero-to-one": _of_type(1.0),
    "minus-one-to-one": _of_type(2.0, -1.0),
    "standardize": _per_image(np.mean, np.std),
    "min-max": _per_image(np.min, np.ptp),
    "imagenet": _imagenet,
}
"""What `--normalization` may name, besides numbers: of each image its own mean and deviation, or its own range."""


def normalization(text: str, channels: int) -> Prepare:
    """Return what is done to pixels [C, H, W] as stored: a name of `NORMALIZATIONS`, or MEAN/STD in stored units.

    Raises:
        UsageError: neither, or not for so many channels.
    """
    if text == "imagenet" and channels != len(_IMAGENET[0]):
        raise UsageError(f"--normalization imagenet is for images with 3 channels; the file takes {channels}")
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    try:
        mean, std = (np.array([float(word) for word in part.split(",")], np.float32) for part in text.split("/"))
    except ValueError:
        raise UsageError(
            f"--normalization {text}: expected {', '.join(NORMALIZATIONS)}, or a mean and a standard deviation in the "
            "units of the pixels, such as 127.5/50 or, a value a channel, 120,115,110/60,58,57"
        ) from None
    sizes_fit = {len(mean), len(std)} <= {1, channels}
    if not (sizes_fit and np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise UsageError(
            f"--normalization {text}: expected 1 or {channels} finite means, and as many deviations above 0"
        )
    return lambda pixels_CHW: (pixels_CHW.astype(np.float32) - mean[:, None, None]) / std[:, None, None]


def open_onnx(path: Path, options: RuntimeOptions, load: Callable[[Path, str], Runtime]) -> ExportedNetwork:
    """Open an ONNX file that unetkit did not write.

    Raises:
        ModelFileError: not a network from images to maps of classes.
        UsageError: the description lacks what the file does not say, or contradicts it.
    """
    signature = onnx.signature(path)
    inputs = signature.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = "; ".join(f"{one.name} {list(one.shape)}" for one in inputs)
        raise ModelFileError(
            f"{path}: takes {len(inputs)} inputs ({shapes}); expected one with the axes batch, channel, height, width: "
            "only networks on 2D images are run"
        )
    shape = inputs[0].shape
    last = shape[3] is not None and shape[3] <= _MOST_CHANNELS and (shape[1] is None or shape[1] > _MOST_CHANNELS)
    axes = "byxc" if last else "bcyx"
    batch, channels, height, width = (shape[axes.index(axis)] for axis in "bcyx")
    fixed = (height, width) if height is not None and width is not None else None
    if channels is None:
        raise ModelFileError(f"{path}: does not say how many channels it takes (its input: {list(shape)})")
    graph = _Bare(path, "ONNX", axes, batch, channels, fixed, tuple(one.name for one in signature.outputs))
    return _open(graph, options, lambda: load(path, "onnx"), inputs[0].dtype)


def open_torchscript(path: Path, options: RuntimeOptions, load: Callable[[Path, str], Runtime]) -> ExportedNetwork:
    """Open a TorchScript file that unetkit did not write; as `open_onnx`."""
    trusted = options.trust or is_own_export(path)
    _require_described(path, "TorchScript", options.description, sized=False, trusted=trusted)
    runtime = load(path, "torchscript")
    assert isinstance(runtime, TorchModule)
    graph = _Bare(path, "TorchScript", "bcyx", None, runtime.input_channels or 1, None, ())
    return _open(graph, options, lambda: runtime, np.dtype(np.float32))


_MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class _Bare:
    """What a file without a card says of itself."""

    path: Path
    kind: str
    axes: str
    batch: int | None
    channels: int
    fixed: tuple[int, int] | None
    outputs: tuple[str, ...]


def _require_described(path: Path, kind: str, said: Description, *, sized: bool, trusted: bool = True) -> None:
    """Make sure that the user has said all that a file does not say."""
    lacking = {
        "the names of its classes: --classes background,nucleus": not said.classes,
        f"what is done to pixels: --normalization {'|'.join(NORMALIZATIONS)}|MEAN/STD": said.normalization is None,
        "which sizes go in: --multiple 32 (sides that are multiples of it) or --size H W (one size)": not (
            sized or said.multiple or said.size
        ),
        "that you trust whoever made it, because it can run code when it is opened: --trust": not trusted,
    }
    if any(lacking.values()):
        texts = "; ".join(what for what, lacks in lacking.items() if lacks)
        raise UsageError(f"{path}: {kind} that unetkit did not write, which does not say everything; say {texts}")


def _open(bare: _Bare, options: RuntimeOptions, load: Callable[[], Runtime], dtype: np.dtype[Any]) -> ExportedNetwork:
    """Open a file without a card, and run it once on noise to see what comes out."""
    path, said = bare.path, options.description
    _require_described(path, bare.kind, said, sized=bare.fixed is not None)
    assert said.normalization is not None
    if said.activation not in (None, *ACTIVATIONS):
        raise UsageError(f"--activation {said.activation}: expected {', '.join(ACTIVATIONS)}")
    if bare.fixed is not None and said.size not in (None, bare.fixed):
        raise UsageError(f"{path}: takes images of {bare.fixed[0]} x {bare.fixed[1]} px only; leave out --size")
    if said.output is not None and said.output not in bare.outputs:
        raise UsageError(f"{path}: has no output {said.output!r}; its outputs: {', '.join(bare.outputs) or 'no names'}")
    prepare, step, fixed = normalization(said.normalization, bare.channels), said.multiple or 1, bare.fixed or said.size
    sizes = Sizes((step, step), (step, step), fixed)
    runtime: Any = load()  # of kinds that give all outputs
    index = bare.outputs.index(said.output) if said.output else 0
    x_NCHW, answer = _probe(bare, sizes, prepare, dtype, runtime, index)
    output_axes, margin = _axes_and_margin(path, answer.shape, x_NCHW.shape, bare.axes)
    if margin and fixed is None:
        raise UsageError(
            f"{path}: gives {tuple(answer.shape)} for images of {tuple(x_NCHW.shape)}: it has unpadded convolutions; "
            "give the one size that it was trained on: --size H W"
        )
    graph = ForeignGraph(runtime, bare.axes, dtype, index, output_axes, replace(sizes, margin=margin))
    values_NKHW = torch.from_numpy(rearranged(answer, output_axes, "bcyx"))
    if answer.dtype.kind in "iub":  # class indices, of as many classes as were named
        meaning, classes = Meaning("none", exclusive=True, labels=True), said.classes
        taken = f"class indices, since it gives {answer.dtype}"
    else:
        meaning = meaning_of(values_NKHW, said.activation)
        classes = named(path, said.classes, values_NKHW.shape[1], meaning)
        taken = _SAID[meaning.activation, meaning.exclusive]
    several = f"output {bare.outputs[index]} of {', '.join(bare.outputs)}" if len(bare.outputs) > 1 else "output"
    note = f"its {several} was taken for {taken}" + ("" if said.activation else "; --activation says otherwise")
    return network(
        graph,
        meaning,
        channels=bare.channels,
        classes=classes,
        batch=bare.batch,
        prepare=prepare,
        notes=(note,),
        precision=options.precision,
    )


_SAID = {
    ("none", True): "probabilities of classes that exclude each other",
    ("none", False): "probabilities of classes besides the background",
    ("sigmoid", False): "logits of classes besides the background (sigmoid)",
    ("softmax", True): "logits of classes that exclude each other (softmax)",
}


def _probe(
    bare: _Bare, sizes: Sizes, prepare: Prepare, dtype: np.dtype[Any], runtime: GraphRuntime, index: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return noise [N, C, H, W] as it goes in, of another height than width where it may, and what comes out."""
    height, width = sizes.fitting(_PROBED, _PROBED + sizes.multiple[1])
    noise = np.random.default_rng(0).integers(0, 256, (bare.channels, height, width), np.uint8)
    x_NCHW = np.repeat(prepare(noise)[None], bare.batch or 1, 0)
    shown = np.ascontiguousarray(rearranged(x_NCHW, "bcyx", bare.axes).astype(dtype))
    try:
        answer = runtime.run_all(torch.from_numpy(shown))[index]
        return x_NCHW, answer.cpu().numpy()
    except Exception as error:  # every runtime fails in its own way
        raise ModelFileError(
            f"{bare.path}: does not compute an image of {bare.channels} x {height} x {width} ({reason(error)}); give "
            "another --multiple, or --size H W"
        ) from None


_PROBED = 64


def _axes_and_margin(path: Path, found: tuple[int, ...], given_NCHW: tuple[int, ...], axes: str) -> tuple[str, int]:
    """Return the axes of an output, and what it lacks on each side."""
    _, _, height, width = given_NCHW
    for candidate in (axes, *(other for other in ("bcyx", "byxc") if other != axes), "byx"):
        if len(candidate) != len(found):
            continue
        lost = {side - found[candidate.index(axis)] for axis, side in (("y", height), ("x", width))}
        if len(lost) == 1 and (difference := lost.pop()) >= 0 and difference % 2 == 0:
            return candidate, difference // 2
    raise ModelFileError(
        f"{path}: gives {tuple(found)} for images of {tuple(given_NCHW)}, which is not a map of the image; expected a "
        "network for segmentation, whose output has the image's height and width"
    )
