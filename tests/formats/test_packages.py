"""Packages of bioimage.io that others made: versions, axes, processing, sizes; and what is refused in them.

The oracle for processing and axes is bioimageio.core's own prediction of the same package.
"""

import hashlib
import importlib
import io
import socket
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

import unetkit
from unetkit.config import ModelConfig
from unetkit.errors import DamagedFileError, ModelFileError, ParityError, UnetkitError, UsageError
from unetkit.formats import ExportedNetwork, open_exported
from unetkit.modelfile.about import About, Author, Citation
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
core = pytest.importorskip("bioimageio.core")

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/bioimageio/unet2d_nuclei_broad"


def weights_onnx(
    *, channels: int = 1, values: tuple[int, ...] = (1,), last: bool = False, batched: bool = True, seed: int = 0
) -> bytes:
    """Return an ONNX graph of a 3 x 3 convolution for each output, channels last where that is asked for."""
    helper, random = onnx.helper, np.random.default_rng(seed)
    nodes, weights = [], []
    axes: list[Any] = ["n", channels, "h", "w"] if not last else ["n", "h", "w", channels]
    inner = "x"
    if last:
        nodes.append(helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
        inner = "first"
    outputs = []
    for number, count in enumerate(values):
        kernel = random.normal(size=(count, channels, 3, 3)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(kernel, f"w{number}"))
        made = f"y{number}" if not last else f"inner{number}"
        nodes.append(helper.make_node("Conv", [inner, f"w{number}"], [made], pads=[1, 1, 1, 1]))
        if last:
            nodes.append(helper.make_node("Transpose", [made], [f"y{number}"], perm=[0, 2, 3, 1]))
        shape = ["n", count, "h", "w"] if not last else ["n", "h", "w", count]
        outputs.append(helper.make_tensor_value_info(f"y{number}", onnx.TensorProto.FLOAT, shape))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, axes)
    graph = helper.make_graph(nodes, "net", [x], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


COMMON = {
    "type": "model",
    "name": "net of somebody",
    "description": "for tests",
    "authors": [{"name": "Some Body"}],
    "cite": [{"text": "a paper", "doi": "10.1007/978-3-319-24574-4_28"}],
    "license": "MIT",
    "documentation": "README.md",
    "tags": ["unet"],
}
FILES = {"README.md": b"# A network\n## Validation\nnone\n"}


def sides(size: Any) -> list[dict[str, Any]]:
    return [{"type": "space", "id": axis, "size": size} for axis in "yx"]


def same(*, halo: int = 0, lost: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "type": "space",
            "id": axis,
            "size": {"tensor_id": "raw", "axis_id": axis, "offset": -2 * lost},
            **({"halo": halo} if halo else {}),
        }
        for axis in "yx"
    ]


def package_05(
    *,
    before: list[dict[str, Any]] | None = None,
    after: list[dict[str, Any]] | None = None,
    size: Any = None,
    channels: int = 1,
    names: tuple[tuple[str, ...], ...] = (("nucleus",),),
    last: bool = False,
    halo: int = 1,
    image: tuple[int, int] = (32, 32),
    seed: int = 0,
) -> dict[str, bytes]:
    """Return the files of a package in version 0.5, whose test tensors are not yet right."""
    files = {**FILES, "net.onnx": weights_onnx(channels=channels, values=tuple(map(len, names)), last=last, seed=seed)}
    pixels = np.random.default_rng(seed).integers(0, 256, (1, channels, *image), np.uint8)
    files["in.npy"] = npy(pixels.transpose(0, 2, 3, 1) if last else pixels)
    batch = {"type": "batch"}

    def axes(of_channels: list[str], spatial: list[dict[str, Any]]) -> list[dict[str, Any]]:
        channel = {"type": "channel", "channel_names": of_channels}
        return [batch, *spatial, channel] if last else [batch, channel, *spatial]

    outputs = []
    for number, of_output in enumerate(names):
        files[f"out{number}.npy"] = npy(np.zeros((1, len(of_output), *image), np.float32))
        outputs.append(
            {
                "id": f"out{number}",
                "axes": axes(list(of_output), same(halo=halo)),
                "test_tensor": {"source": f"out{number}.npy"},
                "postprocessing": after if number == 0 else [],
            }
        )
        if not outputs[-1]["postprocessing"]:
            del outputs[-1]["postprocessing"]
    described = COMMON | {
        "format_version": "0.5.4",
        "inputs": [
            {
                "id": "raw",
                "axes": axes([f"c{number}" for number in range(channels)], sides(size or {"min": 16, "step": 16})),
                "test_tensor": {"source": "in.npy"},
                "data": {"type": "float32"},
                "preprocessing": before or [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
            }
        ],
        "outputs": outputs,
        "weights": {
            "onnx": {
                "source": "net.onnx",
                "sha256": hashlib.sha256(files["net.onnx"]).hexdigest(),
                "opset_version": 17,
            }
        },
    }
    return files | {"rdf.yaml": yaml.safe_dump(described, sort_keys=False).encode()}


def package_04(*, axes: str = "bcyx", before: list[dict[str, Any]] | None = None) -> dict[str, bytes]:
    """Return the files of a package in version 0.4."""
    last = axes == "byxc"
    files = {**FILES, "net.onnx": weights_onnx(last=last)}
    shape = [dict(zip("bcyx", (1, 1, 32, 48), strict=True))[axis] for axis in axes]
    files["in.npy"] = npy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    files["out.npy"] = npy(np.zeros(shape, np.float32))
    described = COMMON | {
        "format_version": "0.4.10",
        "timestamp": "2020-01-01T00:00:00",
        "inputs": [
            {
                "name": "raw",
                "axes": axes,
                "data_type": "uint8",
                "shape": {
                    "min": [dict(zip("bcyx", (1, 1, 32, 32), strict=True))[axis] for axis in axes],
                    "step": [dict(zip("bcyx", (0, 0, 16, 16), strict=True))[axis] for axis in axes],
                },
                "preprocessing": before
                or [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "yx"}}],
            }
        ],
        "outputs": [
            {
                "name": "out",
                "axes": axes,
                "data_type": "float32",
                "halo": [dict(zip("bcyx", (0, 0, 4, 4), strict=True))[axis] for axis in axes],
                "shape": {"reference_tensor": "raw", "scale": [1] * 4, "offset": [0] * 4},
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
        "weights": {
            "onnx": {
                "source": "net.onnx",
                "opset_version": 17,
                "sha256": hashlib.sha256(files["net.onnx"]).hexdigest(),
            }
        },
    }
    return files | {"rdf.yaml": yaml.safe_dump(described, sort_keys=False).encode()}


def folder(files: dict[str, bytes], path: Path) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def archive(files: dict[str, bytes], path: Path, root: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(f"{root}{name}", content)
    return path


def changed(files: dict[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    """Return the files with another description."""
    described = yaml.safe_load(files["rdf.yaml"])
    change(described)
    return files | {"rdf.yaml": yaml.safe_dump(described, sort_keys=False).encode()}


def by_core(path: Path, image: NDArray[Any], member: str = "out0") -> NDArray[Any]:
    """Return what bioimageio.core makes of an image in the axes of the input."""
    from bioimageio.core import Sample, Tensor, create_prediction_pipeline
    from bioimageio.core.common import MemberId
    from bioimageio.core.digest_spec import get_axes_infos
    from bioimageio.spec import load_model_description

    model: Any = load_model_description(path, perform_io_checks=False)
    pipeline = create_prediction_pipeline(model, weights_format="onnx")
    given = model.inputs[0]
    name = str(getattr(given, "id", None) or given.name)
    tensor = Tensor.from_numpy(image, dims=get_axes_infos(given))
    sample = pipeline.predict_sample_without_blocking(
        Sample(members={MemberId(name): tensor}, stat={}, id=None), skip_input_padding=True, skip_output_cropping=True
    )
    return np.asarray(sample.members[MemberId(member)].data)


STANDARD = [
    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
    {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["x", "y"]}},
]
PERCENTILES = [
    {"id": "scale_range", "kwargs": {"axes": ["x", "y"], "min_percentile": 1.0, "max_percentile": 99.8}},
    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
]
FIXED = [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 100.0, "std": 50.0}}]
SIGMOID = [{"id": "sigmoid"}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("before", [STANDARD, PERCENTILES, FIXED], ids=["standard", "percentiles", "fixed"])
@pytest.mark.parametrize("last", [False, True], ids=["channels-first", "channels-last"])
def test_processing_and_axes_are_those_of_the_zoos_own_library(
    before: list[dict[str, Any]], last: bool, tmp_path: Path
) -> None:
    files = package_05(before=before, after=SIGMOID, last=last, channels=2, names=(("nucleus",),))
    path = archive(files, tmp_path / "net.zip")
    image = np.load(io.BytesIO(files["in.npy"]))
    pixels_CHW = image[0].transpose(2, 0, 1) if last else image[0]
    found_KHW = unetkit.load(path).probabilities(pixels_CHW)
    expected = by_core(path, image)
    np.testing.assert_allclose(found_KHW[1], expected[0, ..., 0] if last else expected[0, 0], atol=1e-5)
    np.testing.assert_allclose(found_KHW.sum(0), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axes", ["bcyx", "byxc"])
def test_version_0_4(axes: str, tmp_path: Path) -> None:
    files = package_04(axes=axes)
    path = archive(files, tmp_path / "net.zip")
    image = np.load(io.BytesIO(files["in.npy"]))
    pixels_CHW = image[0].transpose(2, 0, 1) if axes == "byxc" else image[0]
    found_KHW = unetkit.load(path).probabilities(pixels_CHW)
    np.testing.assert_allclose(found_KHW[1], by_core(path, image, "out").reshape(32, 48), atol=1e-5)


def test_images_of_any_size_are_tiled_as_the_halo_says(tmp_path: Path) -> None:
    path = folder(package_05(before=STANDARD, after=SIGMOID), tmp_path / "net")
    pixels_CHW = np.random.default_rng(1).integers(0, 256, (1, 96, 128), np.uint8)
    predictor = unetkit.load(path)
    whole_KHW = predictor.probabilities(pixels_CHW)
    tiled_KHW = predictor.with_options({"tile": 48}).probabilities(pixels_CHW)
    np.testing.assert_allclose(tiled_KHW, whole_KHW, atol=1e-6)
    # Of other sizes than go in, what is there does not change but at the end that was added.
    odd_KHW = predictor.probabilities(pixels_CHW[:, :90, :100])
    assert odd_KHW.shape == (2, 90, 100)
    assert predictor.geometry.multiple == 16
    assert predictor.geometry.overlap == 16


def test_one_size_is_tiled_too(tmp_path: Path) -> None:
    path = folder(package_05(before=FIXED, after=SIGMOID, size=32), tmp_path / "net")
    free = folder(package_05(before=FIXED, after=SIGMOID), tmp_path / "free")
    pixels_CHW = np.random.default_rng(1).integers(0, 256, (1, 75, 41), np.uint8)
    np.testing.assert_allclose(
        unetkit.load(path).probabilities(pixels_CHW)[:, 1:-1, 1:-1],
        unetkit.load(free).probabilities(pixels_CHW)[:, 1:-1, 1:-1],
        atol=1e-5,
    )


def test_masks_are_classes_without_probabilities(tmp_path: Path) -> None:
    files = package_05(before=FIXED, after=[*SIGMOID, {"id": "binarize", "kwargs": {"threshold": 0.7}}])
    path = archive(files, tmp_path / "net.zip")
    predictor = unetkit.load(path)
    image = np.load(io.BytesIO(files["in.npy"]))
    soft = unetkit.load(archive(package_05(before=FIXED, after=SIGMOID), tmp_path / "soft.zip")).probabilities(image[0])
    np.testing.assert_array_equal(predictor.labels(image[0]), soft[1] > 0.7)
    with pytest.raises(UsageError, match="no probabilities"):
        unetkit.predict(path, image[0, 0], probabilities=True)


@pytest.mark.parametrize(
    ("names", "after", "given", "expected", "border"),
    [
        (("nucleus",), SIGMOID, None, ("background", "nucleus"), False),
        (("probability",), SIGMOID, None, ("background", "foreground"), False),
        (("foreground", "boundary"), SIGMOID, None, ("background", "foreground", "border"), True),
        (("sky", "sea", "land"), [{"id": "softmax"}], None, ("sky", "sea", "land"), False),
        (("channel0", "channel1"), [{"id": "softmax"}], None, ("background", "foreground"), False),
        (("nucleus",), SIGMOID, ["back", "cell"], ("back", "cell"), False),
        (("nucleus",), SIGMOID, ["cell"], ("background", "cell"), False),
    ],
)
def test_classes_are_called_as_the_channels_are_or_as_the_user_says(
    names: tuple[str, ...],
    after: list[dict[str, Any]],
    given: list[str] | None,
    expected: tuple[str, ...],
    border: bool,
    tmp_path: Path,
) -> None:
    path = archive(package_05(before=FIXED, after=after, names=(names,)), tmp_path / "net.zip")
    predictor = unetkit.load(path, options={"classes": given})
    assert (predictor.classes, predictor.border) == (expected, border)


def test_one_of_several_outputs_is_taken_and_the_note_says_so(tmp_path: Path) -> None:
    path = archive(package_05(names=(("cell",), ("a", "b", "c")), after=SIGMOID), tmp_path / "net.zip")
    first, second = unetkit.load(path), unetkit.load(path, options={"output": "out1"})
    assert first.classes == ("background", "cell")
    assert any("out0 was taken; --output" in note for note in first.notes)
    assert second.classes == ("a", "b", "c")  # logits, since they are not between 0 and 1
    with pytest.raises(UsageError, match=r"no output 'out2'; its outputs: out0, out1"):
        unetkit.load(path, options={"output": "out2"})


def test_grey_goes_into_a_colour_network_and_colour_into_a_grey_one(tmp_path: Path) -> None:
    grey_HW = np.random.default_rng(2).integers(0, 256, (32, 32), np.uint8)
    for channels in (1, 3):
        path = archive(package_05(before=FIXED, after=SIGMOID, channels=channels), tmp_path / f"{channels}.zip")
        predictor = unetkit.load(path)
        np.testing.assert_array_equal(
            predictor.probabilities(grey_HW[None]), predictor.probabilities(np.stack([grey_HW] * 3))
        )
        with pytest.raises(UnetkitError, match="2 channels"):
            predictor.probabilities(np.stack([grey_HW] * 2))


@pytest.mark.filterwarnings("ignore")
def test_check_compares_with_the_packages_own_tensors(tmp_path: Path) -> None:
    files = package_05(before=STANDARD, after=SIGMOID)
    path = archive(files, tmp_path / "net.zip")
    with pytest.raises(ParityError, match="out0 differs from its test tensor"):
        unetkit.check(path)
    files["out0.npy"] = npy(by_core(path, np.load(io.BytesIO(files["in.npy"]))))
    checked = unetkit.check(archive(files, tmp_path / "right.zip"))
    assert checked.reproduced[0].absolute < 1e-5
    assert checked.reproduced[0].allowed == (1e-3, 1e-3, 100)


@pytest.mark.skipif(not FIXTURE.is_dir(), reason="shared/fixtures/bioimageio is not there")
def test_a_package_of_the_zoo_gives_its_test_output() -> None:
    image, expected = (np.load(FIXTURE / f"test_{name}.npy") for name in ("input", "output"))
    found_KHW = unetkit.load(FIXTURE).probabilities(image[0])
    np.testing.assert_allclose(found_KHW[1], expected[0, 0], atol=1e-3, rtol=1e-3)
    assert unetkit.check(FIXTURE).reproduced[0].mismatched == 0


def spoiled(files: dict[str, bytes], kind: str, tmp_path: Path) -> dict[str, bytes]:
    def weights(described: dict[str, Any]) -> dict[str, Any]:
        return described["weights"]["onnx"]

    secret = tmp_path / "secret.onnx"
    secret.write_bytes(files["net.onnx"])
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "sha256": lambda d: weights(d).update(sha256="0" * 64),
        "url": lambda d: weights(d).update(source="https://example.com/net.onnx"),
        "upwards": lambda d: weights(d).update(source="../secret.onnx"),
        "absolute": lambda d: weights(d).update(source=str(secret)),
        "missing": lambda d: weights(d).update(source="other.onnx"),
        "custom": lambda d: d["outputs"][0].update(
            postprocessing=[{"id": "custom", "callable": "f", "source": "f.py", "sha256": "0" * 64, "kwargs": {}}]
        ),
        "statistics": lambda d: d["outputs"][0].update(postprocessing=[{"id": "scale_range", "kwargs": {}}]),
        "pickled": lambda d: d.update(
            weights={
                "pytorch_state_dict": {
                    "source": "net.onnx",
                    "architecture": {"callable": "UNet", "source": "f.py", "sha256": "0" * 64},
                    "pytorch_version": "2.0.0",
                }
            }
        ),
        "other network": lambda d: d["inputs"][0].update(output_of="some/model"),
        "nonsense": lambda d: d.update(inputs=7),
        "a data set": lambda d: d.update(type="dataset"),
    }
    (tmp_path / "f.py").write_text("")
    return changed(files | {"f.py": b"open('ran', 'w')\nraise SystemExit('ran')\n"}, changes[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sha256", "net.onnx is not the file that its description means"),
        ("url", "not fetched"),
        ("upwards", "not fetched|not a valid description"),
        ("absolute", "not fetched|not a valid description"),
        ("missing", "other.onnx"),
        ("custom", "does custom to the output|not a valid description"),
        ("statistics", "does scale_range to the output"),
        ("pickled", "only ONNX and TorchScript are run"),
        ("other network", "output of another network|not a valid description"),
        ("nonsense", "not a valid description"),
        ("a data set", "describes no network"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_what_is_wrong_with_a_package_is_said_and_nothing_runs(
    kind: str, message: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    files = spoiled(package_05(before=FIXED, after=SIGMOID), kind, tmp_path)
    path = folder(files, tmp_path / "net") if form == "folder" else archive(files, tmp_path / "net.zip")
    with pytest.raises(ModelFileError, match=message) as raised:
        unetkit.load(path, options={"trust": True})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()
    if kind == "sha256":
        assert isinstance(raised.value, DamagedFileError)


def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    path = folder(package_05(before=FIXED, after=SIGMOID), tmp_path / "net")
    (path / "net.onnx").rename(tmp_path / "elsewhere.onnx")
    (path / "net.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelFileError, match="lies outside the package"):
        unetkit.load(path)


def test_the_description_itself_and_an_archive_with_a_folder_in_it(tmp_path: Path) -> None:
    files = package_05(before=FIXED, after=SIGMOID)
    inside = folder(files, tmp_path / "net")
    assert isinstance(unetkit.load(inside / "rdf.yaml").network, ExportedNetwork)
    assert isinstance(unetkit.load(archive(files, tmp_path / "net.zip", "net/")).network, ExportedNetwork)


def test_large_members_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNETKIT_MOST_BYTES", "100000")
    files = package_05(before=FIXED, after=SIGMOID)
    for name in ("weights.onnx", "net.onnx"):
        path = archive(files | {name: bytes(200_000)}, tmp_path / f"{name}.zip")
        with pytest.raises(ModelFileError, match="promises 200,000 bytes"):
            open_exported(path)


def test_torchscript_in_a_package_has_to_be_trusted(tmp_path: Path) -> None:
    files = package_05(before=FIXED, after=SIGMOID)
    net = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 1, 16, 16)), tmp_path / "net.pt")  # pyright: ignore[reportUnknownMemberType] untyped
    files["net.pt"] = (tmp_path / "net.pt").read_bytes()
    entry = {"torchscript": {"source": "net.pt", "pytorch_version": "2.0.0"}}
    path = folder(changed(files, lambda d: d.update(weights=entry)), tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"net/net.pt: of the kind torchscript.*--trust"):
        unetkit.load(path)
    image = np.load(io.BytesIO(files["in.npy"]))
    with torch.inference_mode():
        expected = net(torch.from_numpy((image.astype(np.float32) - 100) / 50)).sigmoid()[0, 0]
    found_KHW = unetkit.load(path, options={"trust": True}).probabilities(image[0])
    np.testing.assert_allclose(found_KHW[1], expected.numpy(), atol=1e-5)


def test_the_zoos_library_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, unetkit, unetkit.formats, unetkit.cli; sys.exit('bioimageio.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_in_a_second_file_come_with_the_first(tmp_path: Path) -> None:
    files = package_05(before=FIXED, after=SIGMOID)
    image = np.load(io.BytesIO(files["in.npy"]))
    expected_KHW = unetkit.load(archive(files, tmp_path / "one.zip")).probabilities(image[0])
    graph = onnx.load_from_string(files["net.onnx"])
    onnx.save_model(graph, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    both = {name: (tmp_path / name).read_bytes() for name in ("net.onnx", "net.data")}
    entry: dict[str, Any] = {"source": "net.onnx", "opset_version": 17}
    entry["external_data"] = {"source": "net.data", "sha256": hashlib.sha256(both["net.data"]).hexdigest()}
    path = archive(changed(files | both, lambda d: d["weights"].update(onnx=entry)), tmp_path / "two.zip")
    np.testing.assert_allclose(unetkit.load(path).probabilities(image[0]), expected_KHW, atol=1e-6)


def test_own_packages_are_opened_by_their_card_as_archive_and_as_folder(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = ModelConfig(in_channels=1, num_classes=2, width=4, depth=1)
    network = build_model(model).eval()
    card = ModelCard(model=model, classes=("back", "cell"), mean=(120.0,), std=(40.0,), scores={"mean_dice": 0.5})
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    path = tmp_path / "own.zip"
    exported = unetkit.export(predictor, to="bioimageio", out=path)
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "own")
    pixels_CHW = np.random.default_rng(1).integers(0, 256, (1, 45, 51), np.uint8)
    for place in (path, tmp_path / "own", tmp_path / "own" / "rdf.yaml"):
        opened = unetkit.load(place)
        assert opened.card == exported.card
        np.testing.assert_allclose(opened.probabilities(pixels_CHW), predictor.probabilities(pixels_CHW), atol=1e-5)
        assert unetkit.check(place).reproduced[0].mismatched == 0
        with pytest.raises(UsageError, match="it says all of itself; leave out --classes"):
            unetkit.load(place, options={"classes": ["a", "b"]})


def test_own_packages_say_who_made_them_and_pass_the_zoos_own_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    model = ModelConfig(in_channels=1, num_classes=2, width=4, depth=1)
    network = build_model(model).eval()
    card = ModelCard(model=model, classes=("back", "cell"), mean=(120.0,), std=(40.0,))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    author = Author(name="Ada Example", affiliation="Somewhere", github="ada")
    cite = Citation(text="Example (2026)", doi="10.5281/zenodo.1")
    about = About(title="Cells", license="CC-BY-4.0", authors=(author,), citations=(cite,), tags=("cells",))
    path = tmp_path / "own.zip"
    unetkit.export(predictor, to="bioimageio", out=path, options={"about": about})
    with zipfile.ZipFile(path) as file:
        described = yaml.safe_load(file.read("rdf.yaml"))
        cover = Image.open(io.BytesIO(file.read("cover.png")))
        sums = {
            entry["source"]: entry["sha256"]
            for entry in (*described["covers"], described["documentation"], *described["weights"].values())
        }
        assert all(hashlib.sha256(file.read(name)).hexdigest() == sha256 for name, sha256 in sums.items())
    assert cover.width == 2 * cover.height
    assert (described["name"], described["license"]) == ("Cells", "CC-BY-4.0")
    assert described["authors"] == [{"name": "Ada Example", "affiliation": "Somewhere"}]
    assert described["maintainers"] == [{"name": "Ada Example", "github_user": "ada"}]
    assert [one["doi"] for one in described["cite"]] == ["10.5281/zenodo.1", "10.1007/978-3-319-24574-4_28"]
    assert described["config"]["bioimageio"]["reproducibility_tolerance"]
    # The zoo's test would ask GitHub whether there is such a user.
    monkeypatch.setattr("bioimageio.spec._internal.field_validation.KNOWN_GITHUB_USERS", {"ada"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert importlib.import_module("bioimageio.core").test_description(path).status == "passed"
