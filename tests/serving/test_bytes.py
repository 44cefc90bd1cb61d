"""What clients get is byte for byte what `unetkit predict` writes."""

import json
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
        asked = {"model": "cells", "output": output, "format": suffix, **fields}
        return client.post("/api/predict", data=asked, files={"image": (source.name, file)})


_HEAVY = ((".zip", "large.tif"), (".geojson", "large.tif"))  # thousands of objects, found and outlined twice

CASES = [
    pytest.param(name, *one, marks=[pytest.mark.slow] if (one[1], name) in _HEAVY else [])
    for name in ("grey.png", "stack.tif", "large.tif")
    for one in FILES
    if one[1] != ".png" or name != "stack.tif"
]


@pytest.mark.parametrize(("name", "output", "suffix"), CASES)
def test_a_file_is_what_the_command_writes(
    server: Any, network: Path, pictures: Path, tmp_path: Path, name: str, output: str, suffix: str
) -> None:
    with server.client() as client:
        answer = _server(client, pictures / name, output, suffix)
    assert answer.status_code == 200, answer.text
    assert answer.content == _command(network, pictures / name, tmp_path, output, suffix)
    assert name.partition(".")[0] + suffix in answer.headers["content-disposition"]
    if suffix == ".json":
        assert answer.json()["images"][0]["file_name"] == name


@pytest.mark.parametrize(("name", "output", "suffix"), CASES)
def test_a_file_of_a_job_is_what_the_command_writes(
    server: Any, network: Path, pictures: Path, tmp_path: Path, name: str, output: str, suffix: str
) -> None:
    with server.client() as client:
        with (pictures / name).open("rb") as file:
            image = client.post("/api/images", files={"image": (name, file)}).json()["id"]
        job = client.post(f"/api/images/{image}/jobs", json={"model": "cells"}).json()["job"]
        with client.stream("GET", f"/api/jobs/{job}/events") as events:
            states = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
        assert states[-1]["state"] == "done", states[-1]
        answer = client.get(f"/api/jobs/{job}/result", params={"output": output, "format": suffix})
        assert client.delete(f"/api/images/{image}").status_code == 204
    assert answer.content == _command(network, pictures / name, tmp_path, output, suffix)


def test_keys_are_those_of_the_command(server: Any, network: Path, pictures: Path, tmp_path: Path) -> None:
    keys = ["threshold=0.7", "objects.threshold=0.4", "tta=true", "calibrate=true"]
    options: LoadOptions = {"overrides": keys}
    with server.client() as client:
        for output, suffix in (("masks", ".png"), ("objects", ".json"), ("uncertainty", ".tif")):
            answer = _server(client, pictures / "grey.png", output, suffix, key=keys)
            assert answer.content == _command(network, pictures / "grey.png", tmp_path, output, suffix, options)
        plain = _server(client, pictures / "grey.png", "masks", ".png").content
        assert plain != _server(client, pictures / "grey.png", "masks", ".png", key=keys).content
