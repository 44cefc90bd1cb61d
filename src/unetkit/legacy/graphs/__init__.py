"""Networks as graphs of operations: MindSpore's MindIR and Ascend's AIR, read, written and computed by PyTorch.

Files are recognised by their content.
"""

from pathlib import Path

from unetkit.errors import ModelFileError
from unetkit.legacy.archive import LONGEST_NAME, one_line
from unetkit.legacy.graphs import air, mindir
from unetkit.legacy.graphs.graph import Graph
from unetkit.storage.protobuf import Message, WireError, as_bytes, as_text, fields, grouped, only

CARD = "unetkit"
"""The note under which a graph carries unetkit's card."""

_FORMATS = {"mindir": mindir, "air": air}
_AIR_FIELDS = frozenset[int](air.ModelDef)
_MOST_FIELDS = 100_000


def kind_of_graph(path: Path) -> str | None:
    """Return "mindir" or "air"; None for a file that is neither.

    An AIR file has no mark of its own: it is recognised by being a whole message with a name and a graph, and nothing
    that has no place next to them, or by its name.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(LONGEST_NAME)
    if mindir.is_mindir(head):
        return "mindir"
    if path.suffix.lower() == ".air":
        return "air"
    if head[:1] != b"\x0a" or len(head) < 2 or not head[2 : 2 + head[1]].isascii():
        return None
    found: Message = {}
    try:
        for number, value in fields(path.read_bytes()):
            found.setdefault(number, []).append(value)
            if number not in _AIR_FIELDS or len(found[number]) > _MOST_FIELDS:
                return None
        as_text(only(found, air.ModelDef.NAME))
        first, _ = next(fields(as_bytes(only(found, air.ModelDef.GRAPH))), (0, 0))
        return "air" if first == air.GraphDef.NAME else None
    except WireError:
        return None


def read_graph(path: Path) -> Graph | None:
    """Read a file of a graph; None for any other.

    Raises:
        ModelFileError: cut short, contradicting itself, or of a form that is not read.
    """
    kind = kind_of_graph(path)
    if kind is None:
        return None
    try:
        graph = _FORMATS[kind].decode(path.read_bytes())
        names = [graph.input, *graph.weights, *(node.name for node in graph.nodes)]
        if len(set(names)) != len(names):
            raise WireError("two things have one name")
    except WireError as error:
        raise ModelFileError(
            f"{path}: a file of the kind {kind} that is cut short, damaged or of another form ({one_line(error)}); "
            "copy it again, or export it again"
        ) from None
    return graph


def notes_of(path: Path) -> dict[str, str]:
    """Return the texts that a file carries next to its graph, without reading the graph.

    Raises:
        WireError: cut short or damaged.
    """
    kind = kind_of_graph(path)
    return {} if kind is None else _FORMATS[kind].notes_of(grouped(path.read_bytes()))
