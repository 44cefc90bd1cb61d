"""Exported files that want more than to be read: other files, or more memory than a card takes."""

import zipfile
from pathlib import Path

import pytest

from unetkit.errors import ModelFileError
from unetkit.formats import onnx, package, pt2


def model(location: str | None, *, nested: bool = False) -> bytes:
    """Return an ONNX model with a card; `location`: of its weights, in a node's attribute if `nested`."""
    theirs = pytest.importorskip("onnx")
    tensor = theirs.helper.make_tensor("w", theirs.TensorProto.FLOAT, [1], [1.0])
    if location is not None:
        tensor.ClearField("float_data")
        tensor.data_location = theirs.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    node = theirs.helper.make_node("Constant", [], ["y"], value=tensor)
    graph = theirs.helper.make_graph([node] if nested else [], "g", [], [], [] if nested else [tensor])
    made = theirs.helper.make_model(graph)
    theirs.helper.set_model_props(made, {"unetkit": "the card"})
    return made.SerializeToString()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_an_onnx_file_that_names_other_files_is_refused(tmp_path: Path, location: str, nested: bool) -> None:
    (tmp_path / "good.onnx").write_bytes(model(None, nested=nested))
    assert onnx.card(tmp_path / "good.onnx") == "the card"
    (tmp_path / "net.onnx").write_bytes(model(location, nested=nested))
    with pytest.raises(ModelFileError, match="names other files that hold its weights"):
        onnx.card(tmp_path / "net.onnx")
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("rdf.yaml", "type: model")
        archive.write(tmp_path / "net.onnx", "weights.onnx")
    with pytest.raises(ModelFileError, match="names other files"):
        package.card(tmp_path / "net.zip")


def test_a_card_of_an_archive_has_a_bound(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/extra/unetkit", bytes(2**24 + 1))
    with pytest.raises(ModelFileError, match="promises 16,777,217 bytes; at most 16,777,216 are read"):
        pt2.card(tmp_path / "net.pt2")
