"""Packages of bioimage.io, read: a folder or a .zip with a description of a network, and its weights.

The description says which axes and sizes go in, what is done to an image before and to the output after, and how much
of the output near a tile's edge is to be left out. It is read by bioimageio.spec (versions 0.4 and 0.5), the steps are
computed by bioimageio.core. Of the weights ONNX is run, or TorchScript, which can run code and so has to be trusted.
Pickled weights and the source files that go with them are never opened, nothing is fetched, and no file outside the
package is read.

A package that `unetkit export` wrote has unetkit's own card in its ONNX file, and is opened by that.

Legend of shapes: N images, C channels, K values of a pixel of output, H height, W width.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from unetkit.config import BORDER
from unetkit.config.text import Yaml12, parse
from unetkit.errors import ConfigError, DamagedFileError, DataError, ModelFileError, UsageError
from unetkit.formats import onnx
from unetkit.formats.foreign import ForeignGraph, Meaning, Sizes, meaning_of, named, network, normalization, rearranged
from unetkit.formats.runtime import (
    ExportedNetwork,
    GraphRuntime,
    Runtime,
    RuntimeOptions,
    first_bytes,
    reason,
    required,
)
from unetkit.limits import MOST_BYTES
from unetkit.storage.atomic import temporary_folder
from unetkit.storage.tree import ZIP_DAMAGE, open_tree

WEIGHTS = "weights.onnx"
"""The member with unetkit's card, of a package that unetkit wrote."""

_DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")
_LARGEST_DESCRIPTION = 1_000_000

Load = Callable[[Path, str], Runtime]
"""Loads a file of a format, if the options allow it."""


@dataclass(frozen=True, slots=True)
class Package:
    """The files of a package.

    Attributes:
        path: of its folder or archive.
        description: the name of the file that describes it, from the root of the archive.
        holds: whether a file of a name, as `read` takes it, is there.
        read: gives a file's content by its name next to the description.
    """

    path: Path
    description: str
    holds: Callable[[str], bool]
    read: Callable[[str], bytes]

    def checked(self, name: str, sha256: str | None) -> bytes:
        """Read a file and compare its checksum.

        Raises:
            ModelFileError: it is not in the package.
            DamagedFileError: it is not what the description says.
        """
        content = self.read(name)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedFileError(
                f"{self.path}: {name} is not the file that its description means (another sha256); get it again"
            )
        return content


def recognises(path: Path) -> bool:
    """Return whether a path is a package: a folder or a .zip with a description, or the description in a folder."""
    if path.is_dir():
        return any((path / name).is_file() for name in _DESCRIPTIONS)
    if path.name in _DESCRIPTIONS:
        return True
    if first_bytes(path, 2) != b"PK":
        return False
    try:
        return _description_in(open_tree(path).files) is not None
    except DataError:
        return False


def _description_in(names: tuple[str, ...]) -> str | None:
    """Return the description among the names of an archive, the one that lies highest."""
    found = [name for name in names if name.rpartition("/")[2] in _DESCRIPTIONS]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def open_package(path: Path) -> Package:
    """Open what `recognises` takes; no file is read yet.

    Raises:
        ModelFileError: its archive is damaged.
    """
    if path.is_dir() or path.name in _DESCRIPTIONS:
        folder = path if path.is_dir() else path.parent
        described = path.name if not path.is_dir() else next(name for name in _DESCRIPTIONS if (path / name).is_file())
        return Package(
            folder, described, lambda name: (folder / name).is_file(), lambda name: _read_below(folder, name)
        )
    try:
        tree = open_tree(path)
    except DataError as error:
        raise ModelFileError(str(error)) from None
    described = _description_in(tree.files)
    assert described is not None
    root = described.rpartition(PurePosixPath(described).name)[0]

    def holds(name: str) -> bool:
        return f"{root}{name}" in tree.files

    def read(name: str) -> bytes:
        if not holds(name):
            raise ModelFileError(f"{path}: has no file {name}, which its description names; get the whole package")
        try:
            return tree.read(f"{root}{name}")
        except DataError as error:
            raise ModelFileError(str(error)) from None

    return Package(path, described.removeprefix(root), holds, read)


def _read_below(folder: Path, name: str) -> bytes:
    """Read a file of a package's folder."""
    file = folder / PurePosixPath(name)
    try:
        whole = file.resolve(strict=True)
        if not whole.is_relative_to(folder.resolve()):
            raise ModelFileError(f"{file}: lies outside the package; put a copy of the file into it")
        if whole.stat().st_size > MOST_BYTES.value:
            raise ModelFileError(
                f"{file}: has {whole.stat().st_size:,} bytes; at most {MOST_BYTES.value:,} are read: {MOST_BYTES.more}"
            )
        return whole.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{file}: cannot be read ({error.strerror}); get the whole package") from None


def card(path: Path) -> str | None:
    """Return the text of unetkit's card in the ONNX file of a package; None where it has none."""
    package = open_package(path)
    return onnx.card_in(package.read(WEIGHTS), path) if package.holds(WEIGHTS) else None


@contextmanager
def unpacked(path: Path, name: str, files: dict[str, bytes]) -> Generator[Path]:
    """Give files of a package a place on the disk, without any others, for a runtime; its errors name the package."""
    with temporary_folder() as folder:
        for other, content in files.items():
            (folder / PurePosixPath(other).name).write_bytes(content)
        file = folder / PurePosixPath(name).name
        try:
            yield file
        except (ModelFileError, UsageError) as error:
            raise type(error)(str(error).replace(str(file), f"{path}/{name}")) from None


def own_weights(path: Path, load: Load) -> Runtime:
    """Load the ONNX file of a package that unetkit wrote."""
    with unpacked(path, WEIGHTS, {WEIGHTS: open_package(path).read(WEIGHTS)}) as file:
        return load(file, "onnx")


_BEFORE = frozenset(
    (
        *("binarize", "clip", "ensure_dtype", "fixed_zero_mean_unit_variance"),
        *("scale_linear", "scale_range", "sigmoid", "softmax", "zero_mean_unit_variance"),
    )
)
_AFTER = frozenset(("binarize", "clip", "ensure_dtype", "scale_linear", "sigmoid", "softmax"))
"""The steps that are computed before and after the network: those after it, of each tile by itself. Others run code of
the package (custom), need the whole output (scale_range), or make no probabilities (stardist_postprocessing)."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a description says, of the one input and of the output that has the classes.

    Attributes:
        model: the description, of bioimageio.spec, with no other input and output.
        weights: the format of the weights that are run: onnx or torchscript.
        files: the names of their files, the one that is loaded first, and the checksum of each; None: not said.
        axes: of the input, as letters.
        output_axes: of the output.
        output: its place among all outputs.
        names: of its channels.
        outputs: names of all outputs.
        sizes: that go in.
        channels: that go in.
        batch: the only number of images that goes in; None: any.
        notes: sentences on how it was understood.
    """

    model: Any
    weights: str
    files: dict[str, str | None]
    axes: str
    output_axes: str
    output: int
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: Sizes
    channels: int
    batch: int | None
    notes: tuple[str, ...] = ()


def open_network(path: Path, options: RuntimeOptions, load: Load) -> ExportedNetwork:
    """Open a package that unetkit did not write.

    Raises:
        UsageError: bioimageio.core is not installed, or an option that contradicts the package.
        ModelFileError: its description is not valid, or of a network that cannot be run.
    """
    package = open_package(path)
    with quiet_zoo():
        described = describe(package, options)
        graph = _graph(package, described, load)
        values_NKHW, counted = _values_of_test(package, described, graph)
    said = options.description
    meaning = _meaning(described, values_NKHW, options)
    if meaning.labels and meaning.exclusive:
        counted = max(2, int(values_NKHW.max()) + 1)
    border = False
    if said.classes:
        classes = said.classes if meaning.labels and meaning.exclusive else named(path, said.classes, counted, meaning)
    else:
        classes, border = _classes(described.names, counted, meaning)
    prepare = _prepare(described)
    if said.normalization is not None:
        prepare = normalization(said.normalization, described.channels)
    return network(
        graph,
        meaning,
        channels=described.channels,
        classes=classes,
        border=border,
        batch=described.batch,
        prepare=prepare,
        notes=(*described.notes, f"its classes: {', '.join(classes)}; --classes names them otherwise"),
        precision=options.precision,
    )


@contextmanager
def quiet_zoo() -> Generator[None]:
    """Keep the packages of bioimage.io from printing, and from warning of what is not the user's to change."""
    logger = required("loguru", "bioimageio").logger
    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")


def describe(package: Package, options: RuntimeOptions) -> Described:
    """Read a description.

    Raises:
        UsageError, ModelFileError: as `open_network`.
    """
    path = package.path
    content, model = _model(package)
    if len(model.inputs) != 1:
        raise ModelFileError(f"{path}: takes {len(model.inputs)} inputs; only networks with one image as input are run")
    given, said = model.inputs[0], options.description
    if given.output_of is not None:
        raise ModelFileError(f"{path}: takes the output of another network ({given.output_of}), which is not fetched")
    wanted = [one for one in model.outputs if said.output in (None, str(one.id))]
    maps = [one for one in wanted if {"x", "y"} <= {str(axis.id) for axis in one.axes}]
    outputs = tuple(str(one.id) for one in model.outputs)
    if not maps:
        found = f"no output {said.output!r}" if said.output else "no output with the axes y and x"
        raise UsageError(f"{path}: has {found}; its outputs: {', '.join(outputs)}")
    for what, steps, able in (("image", given.preprocessing, _BEFORE), ("output", maps[0].postprocessing, _AFTER)):
        for step in steps:
            statistics = step.id == "clip" and (step.kwargs.min_percentile or step.kwargs.max_percentile) is not None
            if step.id not in able or (statistics and what == "output"):
                raise ModelFileError(
                    f"{path}: does {step.id} to the {what}; only {', '.join(sorted(able))} are done to it: run this "
                    "package with bioimageio.core"
                )
    axes, output_axes = (_letters(path, one) for one in (given, maps[0]))
    weights, files = _weights(path, content, model, options)
    channel = next((axis for axis in maps[0].axes if axis.id == "channel"), None)
    notes = list[str]()
    if len(outputs) > 1 and said.output is None:
        notes.append(f"of its outputs {', '.join(outputs)}, {maps[0].id} was taken; --output names another")
    return Described(
        model=model.model_copy(update={"outputs": [maps[0]]}),
        weights=weights,
        files=files,
        axes=axes,
        output_axes=output_axes,
        output=outputs.index(str(maps[0].id)),
        names=(str(maps[0].id),) if channel is None else tuple(map(str, channel.channel_names)),
        outputs=outputs,
        sizes=_sizes(path, given, maps[0]),
        channels=next((axis.size for axis in given.axes if axis.id == "channel"), 1),
        batch=next((axis.size for axis in given.axes if axis.id == "batch"), None),
        notes=tuple(notes),
    )


class _Yaml(Yaml12):
    """YAML with aliases, which programs write where a value occurs twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, or find the one that an alias means."""
        return yaml.SafeLoader.compose_node(self, parent, index)


_MOST_VALUES = 100_000


def _grows(content: Any) -> bool:
    """Return whether a description has more values than any has, where those that are repeated count every time."""
    left, count = [content], 0
    while left and count <= _MOST_VALUES:
        value, count = left.pop(), count + 1
        if isinstance(value, dict | list):
            left += list(
                cast("dict[Any, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
            )
    return count > _MOST_VALUES


def _model(package: Package) -> tuple[dict[str, Any], Any]:
    """Return a description as it is written, and as bioimageio.spec understands it, in the form of version 0.5."""
    spec, origin = required("bioimageio.spec", "bioimageio"), f"{package.path}/{package.description}"
    text = package.read(package.description)
    try:
        content = parse(text.decode(), origin, _Yaml) if len(text) <= _LARGEST_DESCRIPTION else None
    except (ConfigError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{origin}: is not YAML ({reason(error)}); get the package again") from None
    if _grows(content):
        raise ModelFileError(f"{origin}: repeats parts of itself without end; get the package again")
    if not isinstance(content, dict) or cast("dict[str, Any]", content).get("type", "model") != "model":
        raise ModelFileError(f"{origin}: describes no network of bioimage.io; expected the entry `type: model`")
    content = cast("dict[str, Any]", content)
    context = spec.ValidationContext(perform_io_checks=False, log_warnings=False, file_name=package.description)
    try:
        model = spec.build_description(content, context=context, format_version="latest")
    except Exception as error:  # it may fail in any way on what nobody thought of
        raise ModelFileError(f"{origin}: bioimageio.spec cannot read it ({reason(error)})") from None
    if type(model).__name__ != "ModelDescr":
        why = re.sub(r"^[\s:-]+", "", model.get_reason()) if hasattr(model, "get_reason") else type(model).__name__
        raise ModelFileError(f"{origin}: is not a valid description of a network ({reason(ValueError(why))})")
    return content, model


def _weights(
    path: Path, content: dict[str, Any], model: Any, options: RuntimeOptions
) -> tuple[str, dict[str, str | None]]:
    """Return the format of the weights that are to be run, and their files with the checksums."""
    able = [name for name in ("onnx", "torchscript") if getattr(model.weights, name) is not None]
    if options.runtime is not None:
        able = [name for name in able if (name == "torchscript") == (options.runtime == "torchscript")]
    if not able:
        there = ", ".join(name for name, entry in model.weights if entry is not None)
        by = "" if options.runtime is None else f" that {options.runtime} runs"
        raise ModelFileError(
            f"{path}: holds no weights{by} (it has: {there}); only ONNX and TorchScript are run, pickled weights need "
            "the package's own code"
        )
    entry = getattr(model.weights, able[0])
    files = dict[str, str | None]()
    for one in (entry, getattr(entry, "external_data", None)):
        if one is None:
            continue
        source = str(one.source)
        if _REMOTE.match(source) or source.startswith("/") or ".." in PurePosixPath(source).parts:
            raise ModelFileError(
                f"{path}: its weights are at {source}, outside the package, and are not fetched; get the whole "
                "package, as the .zip that bioimage.io offers"
            )
        files[source] = None if one.sha256 is None else str(one.sha256)
    # A translation from version 0.4 loses the checksum.
    written = content.get("weights", {}).get(able[0], {}).get("sha256")
    files[str(entry.source)] = files[str(entry.source)] or (None if written is None else str(written))
    return able[0], files


_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""The beginning of a name that is not of a file."""

_LETTERS = {"batch": "b", "channel": "c", "y": "y", "x": "x", "z": "z", "time": "t", "index": "i"}


def _letters(path: Path, tensor: Any) -> str:
    """Return the axes of an input or output, as letters."""
    ids = [str(axis.id) for axis in tensor.axes]
    found = f"{path}: {tensor.id} has the axes {', '.join(ids)}"
    for axis in tensor.axes:
        size = axis.size if isinstance(axis.size, int) or axis.size is None else getattr(axis.size, "min", 1)
        if str(axis.id) not in ("batch", "channel", "y", "x") and size != 1:
            raise ModelFileError(f"{found}; only networks on 2D images are run")
    if not {"x", "y"} <= set(ids) or len({_LETTERS.get(one, one[0]) for one in ids}) < len(ids):
        raise ModelFileError(f"{found}; expected y and x among them")
    return "".join(_LETTERS.get(one, one[0]) for one in ids)


def _sizes(path: Path, given: Any, output: Any) -> Sizes:
    """Return which sizes go in, and what comes out of them."""
    taken, made = ({str(axis.id): axis for axis in tensor.axes} for tensor in (given, output))
    steps, least, fixed, lost, halos = list[int](), list[int](), list[int](), list[int](), list[int]()
    for axis in "yx":
        size: Any = taken[axis].size
        if hasattr(size, "axis_id") and str(size.axis_id) in taken and not size.offset:
            size = taken[str(size.axis_id)].size  # as long as another axis of the input
        if isinstance(size, int):
            fixed.append(size)
        elif hasattr(size, "step"):
            steps.append(size.step)
            least.append(size.min)
        else:
            raise ModelFileError(f"{path}: the size of its axis {axis} depends on something else than the image")
        result: Any = made[axis].size
        same = hasattr(result, "axis_id") and str(result.axis_id) == axis and made[axis].scale == taken[axis].scale
        if same:
            lost.append(-int(result.offset))
        elif isinstance(result, int) and isinstance(size, int):
            lost.append(size - result)
        else:
            raise ModelFileError(f"{path}: its output {output.id} has another scale than the image along {axis}")
        halos.append(getattr(made[axis], "halo", 0))
    if len(fixed) == 1 or len(set(lost)) > 1 or lost[0] < 0 or lost[0] % 2:
        raise ModelFileError(f"{path}: its output {output.id} lacks other parts of the image above than to the left")
    if fixed:
        return Sizes(fixed=(fixed[0], fixed[1]), margin=lost[0] // 2, halo=max(halos))
    return Sizes((steps[0], steps[1]), (least[0], least[1]), None, lost[0] // 2, max(halos))


def _graph(package: Package, described: Described, load: Load) -> ForeignGraph:
    """Load the weights, and say what is done to their output."""
    dtype, source = np.dtype(np.float32), next(iter(described.files))
    contents = {name: package.checked(name, sha256) for name, sha256 in described.files.items()}
    with unpacked(package.path, source, contents) as file:
        if described.weights == "onnx":
            dtype = onnx.signature(file).inputs[0].dtype
        runtime = cast("GraphRuntime", load(file, described.weights))

    def process(answer: NDArray[Any]) -> NDArray[Any]:
        return _applied(described, answer, after=True)

    output_axes = described.output_axes
    return ForeignGraph(runtime, described.axes, dtype, described.output, output_axes, described.sizes, process)


def _applied(described: Described, array: NDArray[Any], *, after: bool = False) -> NDArray[Any]:
    """Return what the steps before or after the network make of an array in the axes of its input or output."""
    sample, tensor = required("bioimageio.core.sample", "bioimageio"), required("bioimageio.core.tensor", "bioimageio")
    setup = required("bioimageio.core.proc_setup", "bioimageio").setup_pre_and_postprocessing
    what = described.model.outputs[0] if after else described.model.inputs[0]
    shown = sample.Sample({what.id: tensor.Tensor.from_numpy(array, dims=[axis.id for axis in what.axes])}, {}, None)
    with quiet_zoo():
        # Anew each time: statistics of a data set are those of this image, not of all images before it.
        before, behind = setup(described.model, ())
        for step in behind if after else before:
            step(shown)
    return np.asarray(shown.members[what.id].data.transpose(*(str(axis.id) for axis in what.axes)).values)


def _prepare(described: Described) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    def prepare(pixels_CHW: NDArray[Any]) -> NDArray[np.float32]:
        done = _applied(described, rearranged(pixels_CHW, "cyx", described.axes))
        return rearranged(done, described.axes, "cyx").astype(np.float32)

    return prepare


def _values_of_test(package: Package, described: Described, graph: ForeignGraph) -> tuple[torch.Tensor, int]:
    """Return what the network makes of the package's own test image, or of noise, and how many values a pixel has."""
    test = described.model.inputs[0].test_tensor
    try:
        image = read_tensor(package, test)
        x_NCHW = rearranged(_applied(described, image), described.axes, "bcyx")[:1]
    except (ModelFileError, ValueError, AttributeError):  # the package may be used without it
        sides = described.sizes.fitting(1, 1)
        noise = np.random.default_rng(0).integers(0, 256, (described.channels, *sides), np.uint8)
        x_NCHW = _prepare(described)(noise)[None]
    try:
        values_NKHW = graph.run(torch.from_numpy(np.ascontiguousarray(x_NCHW, np.float32)))
    except Exception as error:  # every runtime fails in its own way
        raise ModelFileError(
            f"{package.path}: its weights do not compute what its description says ({reason(error)})"
        ) from None
    return values_NKHW, values_NKHW.shape[1]


def read_tensor(package: Package, file: Any) -> NDArray[Any]:
    """Read a test tensor of a package.

    Raises:
        ModelFileError: it is not there, or no array.
    """
    if file is None or _REMOTE.match(str(file.source)):
        raise ModelFileError(f"{package.path}: has no test tensors; there is nothing to check it with")
    try:
        return np.load(io.BytesIO(package.checked(str(file.source), file.sha256 and str(file.sha256))))
    except (ValueError, EOFError, *ZIP_DAMAGE) as error:
        raise ModelFileError(f"{package.path}: {file.source} is no array ({reason(error)})") from None


@dataclass(frozen=True, slots=True)
class Reproduced:
    """How an output of a package compares with the test tensor that lies next to it.

    Attributes:
        output: its name.
        shape: of the input.
        absolute: the largest absolute difference.
        mismatched: values in a million that differ by more than is allowed.
        allowed: the absolute and the relative difference, and the mismatched values in a million, that the package
            allows.
    """

    output: str
    shape: tuple[int, ...]
    absolute: float
    mismatched: float
    allowed: tuple[float, float, float]


def reproduce(path: Path, options: RuntimeOptions, load: Load) -> tuple[Reproduced, ...]:
    """Run a package on its own test tensors, as they are, and compare each of its outputs.

    Raises:
        UsageError, ModelFileError: as `open_network`, or it has no test tensors.
    """
    package, said = open_package(path), options.description
    found = list[Reproduced]()
    with quiet_zoo():
        described = describe(package, options)
        graph, given = _graph(package, described, load), described.model.inputs[0]
        image = read_tensor(package, given.test_tensor)
        shown = np.ascontiguousarray(_applied(described, image).astype(graph.dtype))
        try:
            answers = graph.runtime.run_all(torch.from_numpy(shown))
        except Exception as error:  # every runtime fails in its own way
            raise ModelFileError(f"{path}: does not compute its own test tensor ({reason(error)})") from None
        for name in (described.model.outputs[0].id,) if said.output else described.outputs:
            one = replace(options, description=replace(said, output=str(name)))
            described = describe(package, one)
            output = described.model.outputs[0]
            expected = read_tensor(package, output.test_tensor).astype(np.float64)
            result = _applied(described, answers[described.output].cpu().numpy(), after=True).astype(np.float64)
            if result.shape != expected.shape:
                raise ModelFileError(
                    f"{path}: {name} has the shape {result.shape}, and its test tensor {expected.shape}; get the "
                    "package again"
                )
            allowed = _tolerance(described)
            differences = np.abs(result - expected)
            wrong = ~(differences <= allowed[0] + allowed[1] * np.abs(expected))  # NaN is wrong, too
            ppm = 1e6 * float(wrong.mean())
            found.append(Reproduced(str(name), image.shape, float(differences.max()), ppm, allowed))
    return tuple(found)


def _tolerance(described: Described) -> tuple[float, float, float]:
    """Return the absolute and the relative difference, and the mismatched values in a million, that are allowed."""
    section = getattr(described.model.config, "bioimageio", None)
    for one in getattr(section, "reproducibility_tolerance", ()):
        of_output = not one.output_ids or described.model.outputs[0].id in one.output_ids
        if of_output and (not one.weights_formats or described.weights in one.weights_formats):
            return one.absolute_tolerance, one.relative_tolerance, one.mismatched_elements_per_million
    default = required("bioimageio.spec.model.v0_5", "bioimageio").ReproducibilityTolerance()
    return default.absolute_tolerance, default.relative_tolerance, default.mismatched_elements_per_million


def _meaning(described: Described, values_NKHW: torch.Tensor, options: RuntimeOptions) -> Meaning:
    """Return what the output is: by its last step where that says it, else by the values of the test image."""
    steps = [step.id for step in described.model.outputs[0].postprocessing if step.id not in ("ensure_dtype", "clip")]
    integer = not values_NKHW.dtype.is_floating_point and values_NKHW.dtype != torch.bool
    if options.description.activation is None and integer and not steps:
        return Meaning("none", exclusive=True, labels=True)
    meaning = meaning_of(values_NKHW, options.description.activation)
    if steps and steps[-1] == "binarize":
        return Meaning("none", exclusive=False, labels=True)
    if steps and steps[-1] == "softmax":
        return Meaning("none", exclusive=values_NKHW.shape[1] > 1)
    return meaning


_NAMELESS = re.compile(r"(?:channel|output|prob\w*|pred\w*|mask|logits?|segmentation)?_?\d*", re.IGNORECASE)
_BORDERS = re.compile(r"(?:border|boundar|contour|edge)\w*", re.IGNORECASE)


def _classes(names: tuple[str, ...], count: int, meaning: Meaning) -> tuple[tuple[str, ...], bool]:
    """Return the names of the classes, and whether the last one is the border of objects."""
    if meaning.labels and meaning.exclusive:
        return ("background", "foreground") if count == 2 else _numbered("background", count - 1), False
    channels = tuple(names) if len(set(names)) == count else ("",) * count
    if meaning.exclusive:
        plain = any(_NAMELESS.fullmatch(name) for name in channels)
        classes = _numbered("background", count - 1) if plain and count > 2 else channels
        classes = ("background", "foreground") if plain and count == 2 else classes
    elif count == 1:
        classes = ("background", "foreground" if _NAMELESS.fullmatch(channels[0]) else channels[0])
    else:
        plain = any(_NAMELESS.fullmatch(name) for name in channels)
        classes = _numbered("background", count) if plain else ("background", *channels)
    if len(classes) > 2 and _BORDERS.fullmatch(classes[-1]):
        return (*classes[:-1], BORDER), True
    return classes, False


def _numbered(first: str, others: int) -> tuple[str, ...]:
    return (first, *(f"class {number}" for number in range(1, others + 1)))
