"""SavedModel, for TensorFlow: a .zip of the folder that TensorFlow loads, with the card next to it.

The graph is the one that MindIR holds, for one size and number of images, and each of its operations is TensorFlow's
here. Images and results keep their channels first or last as asked; inside, convolutions see channels last, as
TensorFlow computes them on a CPU. A SavedModel is a program: `open_exported` gives only the user's own, or trusted
ones, to `load`.

Legend of shapes: N batch, C channels, H height, W width.
"""

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetkit.errors import UsageError
from unetkit.formats.job import ExportJob
from unetkit.formats.mindspore import graph_of, padding_of, pair_of, steps
from unetkit.formats.runtime import CARD_KEY, Runtime, RuntimeOptions, has_member, read_member, refused, required

recognises = has_member("saved_model.pb")
card = read_member(f"assets.extra/{CARD_KEY}.json")


def write(job: ExportJob, path: Path) -> None:
    """Write the archive.

    Raises:
        UsageError: TensorFlow is not installed, or the network computes what is not translated.
    """
    tf: Any = required("tensorflow", "tensorflow")
    graph, operations = graph_of(job), _Operations(tf).table()
    module = tf.Module()
    module.kept = {name: tf.Variable(value.detach().numpy(), trainable=False) for name, value in graph.weights.items()}
    signature = tf.TensorSpec(graph.shape, tf.uint8 if graph.dtype == torch.uint8 else tf.float32, name=graph.input)

    def serve(x: Any) -> dict[str, Any]:
        weights = {name: tf.convert_to_tensor(value) for name, value in module.kept.items()}
        made = {name: value for name, value in steps(graph, x, operations, weights) if name == graph.output}
        return {"output": made[graph.output]}

    module.serve = tf.function(serve, input_signature=[signature])
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(module, scratch, signatures=module.serve)
        extra = Path(scratch) / "assets.extra"
        extra.mkdir()
        (extra / f"{CARD_KEY}.json").write_text(graph.notes[CARD_KEY], encoding="utf-8")
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(Path(scratch).rglob("*")):
                archive.write(file, file.relative_to(scratch))


def load(path: Path, options: RuntimeOptions) -> Runtime:
    """Load an archive into TensorFlow, on the CPU or on the device that it finds itself.

    Raises:
        UsageError: TensorFlow is not installed.
        ModelFileError: not a SavedModel that it takes.
    """
    tf: Any = required("tensorflow", "tensorflow")
    try:
        with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(path) as archive:
            archive.extractall(scratch)
            return _SavedModel(tf, tf.saved_model.load(scratch))
    except Exception as error:  # its errors have no class in common
        raise refused(path, "TensorFlow", error) from None


class _SavedModel:
    def __init__(self, tf: Any, module: Any) -> None:
        self._tf, self._module = tf, module  # the module is kept alive: its function holds its weights weakly
        self._serve = module.signatures["serving_default"]
        (self._name,) = self._serve.structured_input_signature[1]

    def run(self, images: Tensor) -> Tensor:
        answer = self._serve(**{self._name: self._tf.constant(images.cpu().contiguous().numpy())})["output"]
        return torch.from_numpy(answer.numpy().copy())


_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # channels


class _Operations:
    """MindSpore's operations as TensorFlow computes them, with the arguments of `legacy.graphs`."""

    def __init__(self, tf: Any) -> None:
        self.tf = tf

    def table(self) -> Mapping[str, Callable[..., Any]]:
        """Return every operation by MindSpore's name."""
        tf = self.tf
        two = {"Add": tf.add, "Sub": tf.subtract, "Mul": tf.multiply, "RealDiv": tf.divide, "Greater": tf.greater}
        one = {"ReLU": tf.nn.relu, "Rsqrt": tf.math.rsqrt, "Sigmoid": tf.sigmoid, "Slice": tf.slice}
        return {
            **{name: _plain(function) for name, function in {**two, **one}.items()},
            "ArgMaxWithValue": self.argmax,
            "BatchNorm": self.batch_norm,
            "BiasAdd": self.bias_add,
            "Cast": self.cast,
            "Concat": self.concat,
            "Conv2D": self.conv2d,
            "Conv2DTranspose": self.conv2d_transpose,
            "MakeTuple": lambda *values: values,
            "MaxPool": self.max_pool,
            "Pad": self.pad,
            "ReduceMean": self.reduce_mean,
            "Reshape": self.reshape,
            "ResizeBilinear": self.resize,
            "ResizeBilinearV2": self.resize,
            "Softmax": self.softmax,
            "Transpose": self.transpose,
            "TupleGetItem": self.tuple_get_item,
        }

    def padded(self, x_NCHW: Any, sides: list[int], value: float = 0.0) -> Any:
        """Return the map with borders added, or cut where they are negative."""
        left, right, top, bottom = sides
        cut = x_NCHW[:, :, max(-top, 0) :, max(-left, 0) :]
        cut = cut[:, :, : cut.shape[2] + min(bottom, 0), : cut.shape[3] + min(right, 0)]
        added = [[0, 0], [0, 0], [max(top, 0), max(bottom, 0)], [max(left, 0), max(right, 0)]]
        return self.tf.pad(cut, added, constant_values=value) if any(side > 0 for side in sides) else cut

    def conv2d(
        self,
        x_NCHW: Any,
        weight: Any,
        *,
        stride: Any = 1,
        pad_mode: str = "valid",
        pad_list: Any = (0, 0, 0, 0),
        dilation: Any = 1,
        group: int = 1,
    ) -> Any:
        """Return the convolution."""
        if group != 1 or pair_of(dilation) != (1, 1):
            raise UsageError("a network with groups or dilations is not written as SavedModel; export it to onnx")
        sides = padding_of(pad_mode, x_NCHW.shape[2:], weight.shape[2:], pair_of(stride), pad_list)
        x_NHWC = self.tf.transpose(self.padded(x_NCHW, sides), _LAST)
        y_NHWC = self.tf.nn.conv2d(x_NHWC, self.tf.transpose(weight, (2, 3, 1, 0)), pair_of(stride), "VALID")
        return self.tf.transpose(y_NHWC, _FIRST)

    def conv2d_transpose(
        self,
        x_NCHW: Any,
        weight: Any,
        size: Any,
        *,
        stride: Any = 1,
        pad_mode: str = "valid",
        pad_list: Any = (0, 0, 0, 0),
    ) -> Any:
        """Return the transposed convolution, cut to the size."""
        strides, (height, width) = pair_of(stride), size[2:]
        left, _, top, _ = padding_of(pad_mode, (height, width), weight.shape[2:], strides, pad_list)
        (count, _, rows, columns), (_, channels, *kernel) = x_NCHW.shape, weight.shape
        full = [(side - 1) * step + reach for side, step, reach in zip((rows, columns), strides, kernel, strict=True)]
        filters, x_NHWC = self.tf.transpose(weight, (2, 3, 1, 0)), self.tf.transpose(x_NCHW, _LAST)
        y_NHWC = self.tf.nn.conv2d_transpose(x_NHWC, filters, (count, *full, channels), strides, "VALID")
        below, right = top + height - full[0], left + width - full[1]
        return self.padded(self.tf.transpose(y_NHWC, _FIRST), [-left, right, -top, below])

    def max_pool(self, x_NCHW: Any, kernel_size: Any, strides: Any, pad_mode: str = "valid") -> Any:
        """Return the largest value of every window."""
        kernel, steps_of = pair_of(kernel_size), pair_of(strides)
        sides = padding_of(pad_mode, x_NCHW.shape[2:], kernel, steps_of, (0, 0, 0, 0))
        x_NHWC = self.tf.transpose(self.padded(x_NCHW, sides, float("-inf")), _LAST)
        return self.tf.transpose(self.tf.nn.max_pool2d(x_NHWC, kernel, steps_of, "VALID"), _FIRST)

    def batch_norm(self, x_NCHW: Any, *given: Any, is_training: bool = False, epsilon: float = 1e-5) -> tuple[Any, ...]:
        """Return the normalised map, and the statistics as MindSpore returns them."""
        scale, offset, mean, variance = (self.tf.reshape(one, (-1, 1, 1)) for one in given[:4])
        epsilon = given[5] if len(given) > 5 else epsilon
        return self.tf.nn.batch_normalization(x_NCHW, mean, variance, offset, scale, epsilon), *given[2:4], *given[2:4]

    def resize(self, x_NCHW: Any, size: Any, align_corners: bool = False, half_pixel_centers: bool = False) -> Any:
        """Return the map at another size."""
        resized_NHWC = self.tf.compat.v1.image.resize_bilinear(
            self.tf.transpose(x_NCHW, _LAST), size, align_corners=align_corners, half_pixel_centers=half_pixel_centers
        )
        return self.tf.transpose(resized_NHWC, _FIRST)

    def argmax(self, x: Any, axis: int = 0, keep_dims: bool = False) -> tuple[Any, Any]:
        """Return where the largest value along an axis is, and that value."""
        places = self.tf.argmax(x, axis, output_type=self.tf.int32)
        return (self.tf.expand_dims(places, axis) if keep_dims else places), self.tf.reduce_max(
            x, axis, keepdims=keep_dims
        )

    def softmax(self, x: Any, axis: Any = -1) -> Any:
        """Return the softmax along one axis."""
        return self.tf.nn.softmax(x, axis if isinstance(axis, int) else axis[0])

    def reduce_mean(self, x: Any, axis: Any = (), keep_dims: bool = False) -> Any:
        """Return the mean over axes."""
        return self.tf.reduce_mean(x, axis or None, keepdims=keep_dims)

    def cast(self, x: Any, dst_type: Any) -> Any:
        """Return the values in another type."""
        return self.tf.cast(x, str(dst_type).removeprefix("torch."))

    def concat(self, tensors: tuple[Any, ...], axis: int = 0) -> Any:
        """Return the tensors joined along an axis."""
        return self.tf.concat(tensors, axis)

    def transpose(self, x: Any, perm: tuple[int, ...]) -> Any:
        """Return the axes in another order."""
        return self.tf.transpose(x, perm)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        """Return the values in another shape."""
        return self.tf.reshape(x, shape)

    def bias_add(self, x_NCHW: Any, bias: Any) -> Any:
        """Return the map with one number added to each channel."""
        return x_NCHW + self.tf.reshape(bias, (-1, 1, 1))

    def pad(self, x: Any, paddings: Any) -> Any:
        """Return the map with zeros before and after each axis."""
        return self.tf.pad(x, [list(pair) for pair in paddings])

    def tuple_get_item(self, values: tuple[Any, ...], index: int) -> Any:
        """Return one of several values."""
        return values[index]


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation that has no attributes."""
    return lambda *inputs: function(*inputs)
