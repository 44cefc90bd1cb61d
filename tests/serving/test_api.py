"""The interface of docs/serve.md: images, jobs, layers, limits."""

import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

import unetkit
from unetkit.serving import api, layers
from unetkit.serving.app import ServeLimits, create_app
from unetkit.serving.jobs import Job, Jobs
from unetkit.serving.served import Served, load_served


@pytest.fixture(scope="module")
def served(network: Path) -> list[Served]:
    return load_served([network, network])


@pytest.fixture
def make_client(served: list[Served], tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    opened: list[TestClient] = []

    def make(**limits: Any) -> TestClient:
        folder = tmp_path / f"server-{len(opened)}"
        folder.mkdir()
        app = create_app(served, folder, limits=ServeLimits(**limits))
        client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        opened.append(client.__enter__())
        client.get("/")
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def _add(client: TestClient, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        answer = client.post("/api/images", files={"image": (path.name, file)})
    assert answer.status_code == 201, answer.text
    return answer.json()


def _finished(client: TestClient, image: str, **asked: Any) -> dict[str, Any]:
    job = client.post(f"/api/images/{image}/jobs", json={"model": "cells", **asked}).json()["job"]
    for _ in range(1200):
        seen = client.get(f"/api/jobs/{job}").json()
        if seen["state"] not in ("queued", "running"):
            return seen
        time.sleep(0.05)
    raise AssertionError(seen)


def _tiles(client: TestClient, path: str, level: int, shape: tuple[int, int], **asked: Any) -> NDArray[Any]:
    rows = []
    for row in range(-(-shape[0] // 256)):
        line = []
        for column in range(-(-shape[1] // 256)):
            answer = client.get(f"{path}/{level}/{column}_{row}.png", params=asked)
            assert answer.status_code == 200, answer.text
            line.append(np.asarray(Image.open(BytesIO(answer.content))))
        rows.append(np.concatenate(line, 1))
    return np.concatenate(rows)


def test_models_say_what_they_can(make_client: Callable[..., TestClient]) -> None:
    first, second = make_client().get("/api/models").json()
    assert (first["name"], second["name"]) == ("cells", "cells-2")
    assert first["classes"] == ["background", "cell"]
    assert first["colours"] == ["#000000", "#e69f00"]
    assert first["can"] == ["masks", "probabilities", "uncertainty", "objects"]
    assert first["formats"]["objects"] == [".tif", ".json", ".geojson", ".zip", ".png"]
    assert first["channels"] == 1


def test_an_image_is_described_shown_and_removed(
    make_client: Callable[..., TestClient], pictures: Path, tmp_path: Path
) -> None:
    client = make_client()
    image = _add(client, pictures / "large.tif")
    expected = {"name": "large.tif", "width": 1300, "height": 300, "pages": 1, "channels": 1, "dtype": "uint8"}
    assert {key: image[key] for key in expected} == expected
    assert (image["levels"], image["tile"]) == (12, 256)
    pixels = tifffile.imread(pictures / "large.tif")
    shown = _tiles(client, f"/api/images/{image['id']}/tiles/0", 11, pixels.shape, low=0, high=255)
    assert np.array_equal(shown, pixels)
    for path in ("1/11/0_0", "0/12/0_0", "0/11/9_0", "0/11/0_99999999999999999999"):
        assert client.get(f"/api/images/{image['id']}/tiles/{path}.png").status_code == 404
    assert client.get(f"/api/images/{image['id']}/tiles/0/11/0_0.png?low=nan").status_code == 400
    assert client.delete(f"/api/images/{image['id']}").status_code == 204
    assert client.get(f"/api/images/{image['id']}").status_code == 404
    assert not list((tmp_path / "server-0").iterdir())


@pytest.mark.parametrize("name", ["stack.tif", "large.tif"])
def test_layers_are_what_the_network_says(
    make_client: Callable[..., TestClient], network: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    client = make_client()
    image = _add(client, pictures / name)
    job = _finished(client, image["id"])
    assert job["state"] == "done", job
    assert job["layers"] == ["labels", "probability:background", "probability:cell", "uncertainty", "objects"]
    unetkit.predict_file(network, pictures / name, tmp_path / "p.tif", probabilities=True)
    unetkit.predict_objects(network, pictures / name, tmp_path / "o.tif")
    page = image["pages"] - 1
    p = tifffile.imread(tmp_path / "p.tif").reshape(-1, image["height"], image["width"])[page]
    ids = tifffile.imread(tmp_path / "o.tif").reshape(-1, image["height"], image["width"])

    def layer(which: str, **asked: Any) -> NDArray[Any]:
        path = f"/api/jobs/{job['id']}/tiles/{which}/{page}"
        return _tiles(client, path, image["levels"] - 1, p.shape, **asked)

    assert np.array_equal(layer("labels")[..., 3] > 0, p > 0.5)
    assert np.array_equal(layer("labels", threshold=0.8)[..., 3] > 0, p > np.float32(0.8))
    assert np.array_equal(layer("probability:cell")[..., 3], (p * 255 + 0.5).astype(np.uint8))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)) / np.log(2)
    assert np.abs(layer("uncertainty")[..., 3] - entropy * 255).max() < 1
    drawn = layer("objects")[..., 3] > 0
    assert drawn.any()
    assert not drawn[ids[page] == 0].any()
    assert client.get(f"/api/jobs/{job['id']}/tiles/nothing/0/0/0_0.png").status_code == 404
    table = client.get(f"/api/jobs/{job['id']}/objects").json()
    rows = [row for row in table["rows"] if row[2] == page]
    assert len(table["rows"]) == table["count"] == job["objects"] == sum(int(one.max()) for one in ids)
    assert [row[7] for row in rows] == np.bincount(ids[page].ravel())[1:].tolist()
    half = _tiles(client, f"/api/jobs/{job['id']}/tiles/probability:cell/{page}", image["levels"] - 2, (1, 1))
    expected = (p * 255)[: 2 * half.shape[0], : 2 * half.shape[1]].reshape(half.shape[0], 2, half.shape[1], 2)
    assert np.abs(half[..., 3] - expected.mean((1, 3))).max() < 1.5


def test_what_is_not_computed_yet_is_transparent(served: list[Served], tmp_path: Path) -> None:
    made = layers.Layers(served[0], 1, layers.Levels(1030, 2000), tmp_path / "layers")
    made.put(0, slice(0, 1024), slice(0, 1024), np.full((2, 1024, 1024), 0.5, np.float32))
    made.show(0, slice(0, 1024), slice(0, 1024))
    for level in (10, 11):
        tile = made.tile("uncertainty", 0, level, 3 if level == 11 else 1, 0, threshold=None)
        assert (np.asarray(Image.open(BytesIO(tile)))[..., 3] == 255).all()
        tile = made.tile("uncertainty", 0, level, 4 if level == 11 else 2, 0, threshold=None)
        assert not np.asarray(Image.open(BytesIO(tile))).any()


def test_events_tell_every_change_until_the_end(make_client: Callable[..., TestClient], pictures: Path) -> None:
    client = make_client()
    image = _add(client, pictures / "large.tif")
    job = client.post(f"/api/images/{image['id']}/jobs", json={}).status_code
    assert job == 404  # two networks: one must be named
    job = client.post(f"/api/images/{image['id']}/jobs", json={"model": "cells-2"}).json()["job"]
    lines = client.get(f"/api/jobs/{job}/events").text.splitlines()
    states = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert states[-1]["state"] == "done"
    assert states[-1]["done"] == states[-1]["total"] == 2
    assert states[-1]["megapixels_per_second"] > 0
    assert states == sorted(states, key=lambda one: one["done"])


def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every prediction wait until it is cancelled."""

    def wait(*given: Any) -> None:
        job = next(one for one in given if isinstance(one, Job))
        for step in range(2000):
            job.update(step, 2000, {})
            time.sleep(0.01)

    monkeypatch.setattr(api, "compute", wait)
    monkeypatch.setattr(api, "write_result", wait)


def test_a_job_is_cancelled(
    make_client: Callable[..., TestClient], pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _slow(monkeypatch)
    client = make_client()
    image = _add(client, pictures / "grey.png")["id"]
    running, queued = (
        client.post(f"/api/images/{image}/jobs", json={"model": "cells"}).json()["job"] for _ in range(2)
    )
    assert client.get(f"/api/jobs/{queued}").json()["state"] == "queued"
    for job in (queued, running):
        assert client.get(f"/api/jobs/{job}/result").status_code == 202
        assert client.delete(f"/api/jobs/{job}").status_code == 204
    assert client.get(f"/api/jobs/{queued}").json()["state"] == "cancelled"
    lines = client.get(f"/api/jobs/{running}/events").text
    assert '"cancelled"' in lines
    assert client.get(f"/api/jobs/{running}/result").status_code == 409
    client.delete(f"/api/images/{image}")
    assert client.get(f"/api/jobs/{running}").status_code == 404
    assert not list((tmp_path / "server-0").iterdir())


def test_long_work_becomes_a_job(
    make_client: Callable[..., TestClient], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    with (pictures / "grey.png").open("rb") as file:
        answer = client.post(
            "/api/predict", data={"model": "cells", "format": ".png", "wait": "0"}, files={"image": ("a.png", file)}
        )
    assert answer.status_code == 202
    job = answer.json()["job"]
    while client.get(f"/api/jobs/{job}").json()["state"] in ("queued", "running"):
        time.sleep(0.05)
    found = client.get(f"/api/jobs/{job}/result")
    assert found.headers["content-type"] == "image/png"
    assert np.asarray(Image.open(BytesIO(found.content))).shape == (90, 130)


def test_too_many_jobs_are_told_when_to_come_again(
    make_client: Callable[..., TestClient], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(monkeypatch)
    client = make_client(max_jobs=2)
    image = _add(client, pictures / "grey.png")["id"]
    asked = [client.post(f"/api/images/{image}/jobs", json={"model": "cells"}) for _ in range(3)]
    assert [one.status_code for one in asked] == [202, 202, 429]
    assert int(asked[-1].headers["retry-after"]) >= 1
    client.cookies.clear()
    client.get("/")  # another client
    assert client.get(f"/api/images/{image}").status_code == 404
    assert client.get(f"/api/jobs/{asked[0].json()['job']}").status_code == 404
    other = _add(client, pictures / "grey.png")["id"]
    assert client.post(f"/api/images/{other}/jobs", json={"model": "cells"}).status_code == 202


def test_what_finds_no_place_in_the_line_leaves_nothing(tmp_path: Path) -> None:
    jobs, folders = Jobs(of_a_client=1), [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = (Job("me", lambda job: None, folder, 1.0, 60.0) for folder in folders)
    jobs.add(first, line="short")
    with pytest.raises(HTTPException):
        jobs.add(second, line="short")
    jobs.remove(second)
    assert [folder.exists() for folder in folders] == [True, False]
    jobs.remove(first)
    assert not list(tmp_path.iterdir())


def test_a_job_has_a_longest_time(
    make_client: Callable[..., TestClient], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(monkeypatch)
    client = make_client(max_seconds=0.05)
    job = _finished(client, _add(client, pictures / "grey.png")["id"])
    assert job["state"] == "failed"
    assert "more than 0 s" in job["error"]


def test_results_are_kept_for_an_hour(
    make_client: Callable[..., TestClient], pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = make_client()
    image = _add(client, pictures / "grey.png")["id"]
    assert _finished(client, image)["state"] == "done"
    service = client.app._app.state.service  # type: ignore[attr-defined] # the guard's
    service.sweep()
    assert client.get(f"/api/images/{image}").status_code == 200
    monkeypatch.setattr(api, "KEPT_SECONDS", -1.0)
    service.sweep()
    service.sweep()
    assert client.get(f"/api/images/{image}").status_code == 404
    assert not list((tmp_path / "server-0").iterdir())


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"model": "nothing"}, 404, "cells"),
        ({"output": "nothing"}, 400, "masks"),
        ({"format": ".zarr"}, 400, ".tif"),
        ({"output": "probabilities", "format": ".png"}, 400, ".tif"),
        ({"key": "threshold=2"}, 400, "threshold"),
        ({"key": "tile=100000"}, 400, "the server's to choose"),
        ({"key": "memory=1000"}, 400, "the server's to choose"),
        ({"key": "train.steps=1"}, 400, "the server's to choose"),
        ({"key": "threshold=&a [*a]"}, 400, "keys"),
        ({"key": "objects.method=borders"}, 400, "border"),
        ({"wait": "nan"}, 400, "wait"),
    ],
)
def test_requests_that_cannot_be_carried_out_are_one_line(
    make_client: Callable[..., TestClient],
    pictures: Path,
    tmp_path: Path,
    fields: dict[str, str],
    status: int,
    said: str,
) -> None:
    client = make_client()
    with (pictures / "grey.png").open("rb") as file:
        answer = client.post("/api/predict", data={"model": "cells"} | fields, files={"image": ("a.png", file)})
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert not list((tmp_path / "server-0").iterdir())


def test_images_that_cannot_be_used_are_one_line_without_a_path(
    make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = make_client(max_pixels=100_000)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(np.zeros((400, 400), np.uint8)).save(tmp_path / "many.png")
    (tmp_path / "cut.tif").write_bytes(b"II*\0\x08\0\0\0")
    (tmp_path / "empty.tif").write_bytes(b"")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((9, 9), np.nan, np.float32))
    refused = {"colour.png": "3 channels", "many.png": "100,000", "cut.tif": "truncated", "empty.tif": "empty"}
    for path, said in (refused | {"nan.tif": "NaN"}).items():
        for place in ("/api/predict", "/api/images"):
            if (path, place) == ("colour.png", "/api/images"):
                continue
            with (tmp_path / path).open("rb") as file:
                answer = client.post(place, data={"model": "cells"}, files={"image": (path, file)})
            assert answer.status_code == 422, (path, answer.text)
            assert said in answer.json()["error"]
            assert str(tmp_path) not in answer.text
    assert not list((tmp_path / "server-0").iterdir())


def test_figures_are_for_prometheus(make_client: Callable[..., TestClient], pictures: Path) -> None:
    client = make_client()
    assert _finished(client, _add(client, pictures / "grey.png")["id"])["state"] == "done"
    text = client.get("/metrics").text
    assert 'unetkit_requests_total{endpoint="add_image",status="201"} 1\n' in text
    assert 'unetkit_jobs_total{state="done"} 1\n' in text
    assert "unetkit_megapixels_total 0.0117\n" in text
    assert all(line.startswith(("# ", "unetkit_")) for line in text.splitlines())
