"""What is written is read again, in both kinds of file; and what is damaged says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unetkit.errors import ModelFileError
from unetkit.legacy.graphs import CARD, kind_of_graph, read_graph
from unetkit.legacy.graphs.air import encode as encode_air
from unetkit.legacy.graphs.graph import Constant, Graph, GraphError, Node, execute, results
from unetkit.legacy.graphs.mindir import encode as encode_mindir

WRITERS: dict[str, Callable[[Graph], bytes]] = {
    "mindir": lambda graph: encode_mindir(graph, version="0"),
    "air": encode_air,
}


def small_graph() -> Graph:
    """Return a graph with every kind of value, input and result."""
    ones = (1, 1, 1, 1)
    window = {"stride": ones, "dilation": ones, "group": 1, "pad_list": ones, "pad_mode": "same"}
    nodes = (
        Node("cast", "Cast", ("x",), {"dst_type": torch.float32}),
        Node("conv", "Conv2D", ("cast", "net.weight"), window),
        Node("bias", "BiasAdd", ("conv", "net.bias")),
        Node("norm", "BatchNorm", ("bias", "s", "s", "s", "s"), {"epsilon": 1e-3, "is_training": False}),
        Node("first", "TupleGetItem", ("norm", Constant(0))),
        Node("turned", "Transpose", ("first", Constant((0, 2, 3, 1)))),
        Node("flat", "Reshape", ("turned", Constant((1, 20, 2)))),
        Node("tuple", "MakeTuple", ("flat", "flat")),
        Node("both", "Concat", ("tuple",), {"axis": 2, "N": 2}),
        Node("best", "ArgMaxWithValue", ("both",), {"axis": 2, "keep_dims": False}),
        Node("y", "TupleGetItem", ("best", Constant(0))),
    )
    generator = torch.Generator().manual_seed(1)
    weights = {
        "net.weight": torch.randn(2, 1, 3, 3, generator=generator),
        "net.bias": torch.randn(2, generator=generator),
        "s": torch.rand(2, generator=generator) + 0.5,
    }
    return Graph("x", (1, 1, 4, 5), torch.uint8, nodes, weights, "y", {CARD: "{}", "other": "ü"})


@pytest.fixture(scope="module", params=WRITERS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / f"net.{request.param}"
    path.write_bytes(WRITERS[request.param](small_graph()))
    return path


def test_there_and_back(file: Path) -> None:
    written, found = small_graph(), read_graph(file)
    assert found is not None
    assert kind_of_graph(file) == file.suffix[1:]
    assert (found.shape, found.dtype, found.notes) == (written.shape, written.dtype, written.notes)
    assert found.weights.keys() == written.weights.keys()
    assert all(torch.equal(found.weights[name], weight) for name, weight in written.weights.items())
    images = torch.randint(0, 255, written.shape, dtype=torch.uint8)
    answer = execute(found, images)
    assert answer.dtype == torch.int32
    assert torch.equal(answer, execute(written, images))


def test_told_by_content(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "renamed.bin"
    other.write_bytes(file.read_bytes())
    assert kind_of_graph(other) == file.suffix[1:]
    other.write_bytes(b"\x0a\x03unet is a text that is none")
    assert kind_of_graph(other) is None
    assert read_graph(other) is None
    assert read_graph(tmp_path) is None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), kind=st.sampled_from(["cut", "flip", "set"]))
def test_damaged_files(file: Path, place: float, bit: int, kind: str) -> None:
    content = bytearray(file.read_bytes())
    at = int(place * len(content))
    if kind == "cut":
        del content[at:]
    else:
        content[at] = content[at] ^ 1 << bit if kind == "flip" else 255
    damaged = file.with_name(f"damaged{file.suffix}")
    damaged.write_bytes(content)
    complaint = complaint_about(damaged)
    assert complaint is None or (str(damaged) in complaint and "\n" not in complaint)


def complaint_about(path: Path) -> str | None:
    try:
        graph = read_graph(path)
        if graph is not None:
            results(graph)
    except ModelFileError as error:
        return str(error)
    except GraphError:
        return None
    return None


def test_two_things_of_one_name(tmp_path: Path) -> None:
    graph = small_graph()
    twice = replace(graph, nodes=(*graph.nodes, Node("bias", "ReLU", ("bias",))))
    for kind, write in WRITERS.items():
        path = tmp_path / f"net.{kind}"
        path.write_bytes(write(twice))
        with pytest.raises(ModelFileError, match="two things have one name"):
            read_graph(path)


def test_what_air_has_no_name_for() -> None:
    graph = small_graph()
    with pytest.raises(GraphError, match="the operation Pad has no counterpart in AIR"):
        encode_air(replace(graph, nodes=(*graph.nodes, Node("y2", "Pad", ("flat",), {"paddings": ((0, 0),)}))))


def test_weights_in_files_of_their_own_are_refused(tmp_path: Path) -> None:
    content = encode_mindir(small_graph(), version="0")
    path = tmp_path / "large.mindir"
    path.write_bytes(content.replace(b"\x3a\x0funet:net.weight", b"\x62\x0funet:net.weight"))
    with pytest.raises(ModelFileError, match=r"large\.mindir: a file of the kind mindir that is cut short"):
        read_graph(path)
