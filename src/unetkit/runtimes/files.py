"""Exported files, told by their content, and the card that each carries. No file is run for that, nothing is unpacked.

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

import json
import mmap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

from unetkit.errors import DamagedFileError
from unetkit.interop.graphs import kind_of_graph, notes_of
from unetkit.interop.protobuf import WireError, fields

CARD_KEY = "unetkit"
"""Under this name a file's metadata hold the card."""

TORCHSCRIPT_CARD = f"{CARD_KEY}.json"

ZOO_WEIGHTS = "weights.onnx"
"""The file in a bioimage.io package that is run."""

# Fields of onnx.ModelProto and of onnx.StringStringEntryProto.
_IR_VERSION, _METADATA, _KEY, _VALUE = 1, 14, 1, 2


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of exported file.

    Attributes:
        recognises: by the first bytes, or the members of an archive.
        card: gives the text of the card; None: the file has none.
        runtimes: names of those that run it, the best first.
        inner: the member of an archive that they run; None: the file itself.
    """

    recognises: Callable[[Path], bool]
    card: Callable[[Path], str | None]
    runtimes: tuple[str, ...]
    inner: str | None = None


def kind_of(path: Path) -> str | None:
    """Return the name of the kind in `FILES`; None for what is not an exported file."""
    if not path.is_file():
        return None
    return next((name for name, kind in FILES.items() if kind.recognises(path)), None)


def card_text(path: Path, kind: str) -> str | None:
    """Return the text of the card in a file of this kind; None where it has none.

    Raises:
        DamagedFileError: cut short or changed.
    """
    try:
        return FILES[kind].card(path)
    except (WireError, ElementTree.ParseError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise DamagedFileError(f"{path}: a damaged {kind} file ({error}); copy it again or export again") from None


def _is_onnx(path: Path) -> bool:
    head = _head(path, 9)
    # A safetensors file begins with the length of its header, which may look like a version, and the header's brace.
    is_safetensors = head[4:] == b"\0\0\0\0{"
    return len(head) > 1 and head[0] == _IR_VERSION << 3 and 0 < head[1] < 64 and not is_safetensors


def _onnx_card(path: Path) -> str | None:
    with path.open("rb") as file:
        return _card_in_onnx(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # closes itself with its last view


def _card_in_onnx(content: bytes | mmap.mmap) -> str | None:
    for number, value in fields(memoryview(content)):
        if number == _METADATA and isinstance(value, memoryview):
            entry = {key: bytes(text).decode() for key, text in fields(value) if isinstance(text, memoryview)}
            if entry.get(_KEY) == CARD_KEY:
                return entry.get(_VALUE)
    return None


def _is_openvino(path: Path) -> bool:
    head = _head(path, 512).lstrip(b"\xef\xbb\xbf \r\n")
    return head.startswith((b"<?xml", b"<net")) and b"<net" in head


def _openvino_card(path: Path) -> str | None:
    found = None
    for _, element in ElementTree.iterparse(path):
        if element.tag == CARD_KEY:
            found = element.get("value", found)
    return found


def _members(path: Path) -> list[str]:
    if _head(path, 2) != b"PK":
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return []


def _has(part: str) -> Callable[[Path], bool]:
    return lambda path: any(part in name for name in _members(path))


def _member(ending: str) -> Callable[[Path], str | None]:
    def read(path: Path) -> str | None:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith(ending)), None)
            return None if name is None else archive.read(name).decode()

    return read


def _bioimageio_card(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return _card_in_onnx(archive.read(ZOO_WEIGHTS)) if ZOO_WEIGHTS in archive.namelist() else None


def _aoti_card(path: Path) -> str | None:
    text = _member("_metadata.json")(path)
    values = json.loads(text) if text else None
    card = cast("dict[str, object]", values).get(CARD_KEY) if isinstance(values, dict) else None
    return card if isinstance(card, str) else None


def _graph(kind: str) -> Callable[[Path], bool]:
    return lambda path: kind_of_graph(path) == kind


def _graph_card(path: Path) -> str | None:
    return notes_of(path).get(CARD_KEY)


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


FILES: dict[str, FileKind] = {
    "onnx": FileKind(_is_onnx, _onnx_card, ("onnxruntime", "openvino")),
    "openvino": FileKind(_is_openvino, _openvino_card, ("openvino",)),
    "aoti": FileKind(_has("/data/aotinductor/"), _aoti_card, ("aoti",)),
    "pt2": FileKind(_has("/models/model.json"), _member(f"/extra/{CARD_KEY}"), ("pt2",)),
    "bioimageio": FileKind(_has("rdf.yaml"), _bioimageio_card, ("onnxruntime", "openvino"), ZOO_WEIGHTS),
    "mindir": FileKind(_graph("mindir"), _graph_card, ("interpreter", "mindspore")),
    "air": FileKind(_graph("air"), _graph_card, ("interpreter",)),
    "torchscript": FileKind(_has("/code/__torch__"), _member(f"/extra/{TORCHSCRIPT_CARD}"), ("torchscript",)),
}
