"""Exported files are told by their content, and nothing else is taken for one."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from unetkit.formats import kind_of


@pytest.mark.parametrize("length", [264, 520, 1032, 2056, 15_880])
def test_a_checkpoint_is_no_exported_file_however_long_its_header_is(length: int, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).ljust(length).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    assert file.read_bytes()[0] == 8, "as an ONNX file begins"
    with safe_open(file, framework="np"):
        assert kind_of(file) is None


def test_an_onnx_file_is_one(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(b"\x08\x0a\x12\x07pytorch\x1a\x03")
    assert kind_of(file) == "onnx"


@pytest.mark.parametrize("text", ['<?xml version="1.0"?><net name="a"/>', '<net version="7">', ' x<net version="11">'])
def test_what_is_not_quite_openvinos_is_shown_to_none_of_its_readers(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    assert kind_of(tmp_path / "a.xml") is None
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?>\n<net name="a" version="11">')
    assert kind_of(tmp_path / "a.xml") == "openvino"
