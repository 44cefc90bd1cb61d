"""The Open Inference Protocol: Triton's own client against a server in a process."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

import unetkit

triton = pytest.importorskip("tritonclient.http")


@pytest.fixture
def client(server: Any) -> Any:
    made = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield made
    made.close()


def _images(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def test_the_server_is_described(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cells")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    described = client.get_model_metadata("cells")
    assert described["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, -1, -1]}]
    assert [one["name"] for one in described["outputs"]] == ["probabilities", "labels"]


@pytest.mark.parametrize(("dtype", "name"), [(np.uint8, "UINT8"), (np.uint16, "UINT16"), (np.float32, "FP32")])
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_are_what_the_library_computes(client: Any, network: Path, dtype: Any, name: str, binary: bool) -> None:
    images = _images(2, 1, 60, 75, dtype=dtype)
    given = triton.InferInput("image", list(images.shape), name)
    given.set_data_from_numpy(images, binary_data=binary)
    asked = [triton.InferRequestedOutput(one, binary_data=binary) for one in ("labels", "probabilities")]
    found = client.infer("cells", [given], outputs=asked, request_id="seven")
    predictor = unetkit.load(network).folded()
    for number, image in enumerate(images):
        assert np.array_equal(found.as_numpy("labels")[number], predictor.labels(image))
        assert np.allclose(found.as_numpy("probabilities")[number], predictor.probabilities(image), atol=1e-6)
    assert found.get_response()["id"] == "seven"


def test_one_image_and_all_outputs(client: Any) -> None:
    image = _images(1, 33, 40)
    given = triton.InferInput("image", list(image.shape), "UINT8")
    given.set_data_from_numpy(image)
    found = client.infer("cells", [given])
    assert found.as_numpy("probabilities").shape == (1, 2, 33, 40)
    assert found.as_numpy("labels").dtype == np.uint8


def _ask(server: Any, content: Any, **headers: str) -> httpx.Response:
    address = f"http://127.0.0.1:{server.port}/v2/models/cells/infer"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(address, content=content if isinstance(content, bytes) else json.dumps(content), headers=named)


IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": [7] * 64}


def test_json_is_answered_with_json(server: Any) -> None:
    answer = _ask(server, {"inputs": [IMAGE], "outputs": [{"name": "labels"}]}).json()
    (labels,) = answer["outputs"]
    assert labels["shape"] == [1, 8, 8]
    assert len(labels["data"]) == 64
    nested = IMAGE | {"data": [[[[7] * 8] * 8]]}
    assert _ask(server, {"inputs": [nested], "outputs": [{"name": "labels"}]}).json() == answer


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"data": [7] * 63}, 400),
        ({"data": [7] * 63 + ["x"]}, 400),
        ({"data": [7] * 63 + [[7]]}, 400),
        ({"data": [7] * 63 + [256]}, 400),
        ({"data": [7] * 63 + [-1]}, 400),
        ({"data": [7] * 63 + [1.5]}, 400),
        ({"data": None}, 400),
        ({"datatype": "BYTES"}, 400),
        ({"datatype": "FP32", "data": [1e400] * 64}, 422),
        ({"shape": [64]}, 400),
        ({"shape": [1, 1, 2**31, 2**31]}, 400),
        ({"shape": [1, -1, 8, -8]}, 400),
        ({"shape": [1, 2, 4, 8]}, 422),
        ({"name": "other"}, 400),
        ({"parameters": {"shared_memory_region": "a"}}, 400),
        ({"parameters": {"binary_data_size": 10**30}, "data": None}, 400),
    ],
)
def test_tensors_that_are_none_are_refused(server: Any, change: dict[str, Any], status: int) -> None:
    answer = _ask(server, {"inputs": [IMAGE | change]})
    assert answer.status_code == status
    assert len(answer.json()["error"]) < 500


def test_bodies_that_are_no_request_are_refused(server: Any) -> None:
    for content in (b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"inputs": []}', b'{"inputs": [{}, {}]}'):
        assert _ask(server, content).status_code == 400
    body = json.dumps({"inputs": [IMAGE]}).encode()
    assert _ask(server, body, inference_header_content_length="9" * 30).status_code == 400
    assert _ask(server, body, inference_header_content_length="-1").status_code == 400
    assert _ask(server, body, content_encoding="gzip").status_code == 415
    unknown = {"inputs": [IMAGE], "outputs": [{"name": "other"}]}
    assert _ask(server, unknown).status_code == 400
