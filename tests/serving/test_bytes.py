"""What clients get is byte for byte what `unetkit predict` writes."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

import unetkit
from unetkit.prediction.load import LoadOptions

FILES = [
    ("masks", ".tif"),
    ("masks", ".png"),
    ("probabilities", ".tif"),
    ("uncertainty", ".tif"),
    ("objects", ".tif"),
    ("objects", ".json"),
    ("objects", ".geojson"),
    ("objects", ".zip"),
    ("objects", ".png"),
]


Written = Callable[[str, str, str], bytes]


def _command(
    network: Path, source: Path, folder: Path, output: str, suffix: str, options: LoadOptions | None = None
) -> bytes:
    out = folder / f"by-command{suffix}"
    if output == "objects":
        unetkit.predict_objects(network, source, out, outlines=suffix == ".png", options=options)
    else:
        flags: Any = {output: True} if output != "masks" else {}
        unetkit.predict_file(network, source, out, options=options, **flags)
    return out.read_bytes()


def _server(client: httpx.Client, source: Path, output: str, suffix: str, **fields: Any) -> httpx.Response:
    with source.open("rb") as file:
        asked = {"model": "cells", "output": output, "format": suffix, "wait": "60", **fields}
        return client.post("/api/predict", data=asked, files={"image": (source.name, file)})


IMAGES = ("grey.png", "stack.tif", "large.tif")
WITHOUT = (("stack.tif", ".png"),)
HEAVY = (("large.tif", ".zip"), ("large.tif", ".geojson"))  # thousands of objects, found and outlined twice

CASES = [
    pytest.param(name, output, suffix, marks=[pytest.mark.slow] if (name, suffix) in HEAVY else [])
    for name in IMAGES
    for output, suffix in FILES
    if (name, suffix) not in WITHOUT
]


@pytest.fixture(scope="module")
def written(network: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Give what the command writes of an image, once for all tests."""

    @cache
    def write(name: str, output: str, suffix: str) -> bytes:
        return _command(network, pictures / name, tmp_path_factory.mktemp("command"), output, suffix)

    return write


@pytest.mark.parametrize(("name", "output", "suffix"), CASES)
def test_a_file_is_what_the_command_writes(
    server: Any, pictures: Path, written: Written, name: str, output: str, suffix: str
) -> None:
    with server.client() as client:
        answer = _server(client, pictures / name, output, suffix)
    assert answer.status_code == 200, answer.text
    assert answer.content == written(name, output, suffix)
    assert name.partition(".")[0] + suffix in answer.headers["content-disposition"]
    if suffix == ".json":
        assert answer.json()["images"][0]["file_name"] == name


@pytest.mark.parametrize(
    ("name", "files"),
    [
        *((name, [one for one in FILES if (name, one[1]) not in (*WITHOUT, *HEAVY)]) for name in IMAGES),
        pytest.param("large.tif", [("objects", suffix) for _, suffix in HEAVY], marks=pytest.mark.slow),
    ],
)
def test_every_file_of_a_job_is_what_the_command_writes(
    server: Any, pictures: Path, written: Written, name: str, files: list[tuple[str, str]]
) -> None:
    with server.client() as client:
        with (pictures / name).open("rb") as file:
            image = client.post("/api/images", files={"image": (name, file)}).json()["id"]
        job = client.post(f"/api/images/{image}/jobs", json={"model": "cells"}).json()["job"]
        with client.stream("GET", f"/api/jobs/{job}/events") as events:
            states = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
        assert states[-1]["state"] == "done", states[-1]
        for output, suffix in files:
            answer = client.get(f"/api/jobs/{job}/result", params={"output": output, "format": suffix, "wait": 60})
            assert answer.content == written(name, output, suffix), (output, suffix)
        assert client.delete(f"/api/images/{image}").status_code == 204


def test_keys_are_those_of_the_command(server: Any, network: Path, pictures: Path, tmp_path: Path) -> None:
    keys = ["threshold=0.7", "objects.threshold=0.4", "tta=true", "calibrate=true"]
    options: LoadOptions = {"overrides": keys}
    with server.client() as client:
        for output, suffix in (("masks", ".png"), ("objects", ".json"), ("uncertainty", ".tif")):
            answer = _server(client, pictures / "grey.png", output, suffix, key=keys)
            assert answer.content == _command(network, pictures / "grey.png", tmp_path, output, suffix, options)
        plain = _server(client, pictures / "grey.png", "masks", ".png").content
        assert plain != _server(client, pictures / "grey.png", "masks", ".png", key=keys).content
