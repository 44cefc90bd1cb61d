"""What a job can do to its server: it is cancelled in the middle of a network, and asks for memory in vain."""

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from unetkit.errors import DataError
from unetkit.serving import layers
from unetkit.serving.app import create_app
from unetkit.serving.jobs import Job, Jobs
from unetkit.serving.served import load_served


def test_a_cancelled_job_computes_nothing_after_the_tile_it_is_at(
    network: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, parts = layers.Layers.put, list[int]()
    at_a_tile, cancelled = threading.Event(), threading.Event()

    def wait(*given: Any) -> None:
        put(*given)
        parts.append(1)
        at_a_tile.set()
        assert cancelled.wait(60)

    served = load_served([network], options={"overrides": ["predict.memory=0.01"]})
    with TestClient(create_app(served, tmp_path), base_url="http://127.0.0.1:8000") as client:
        client.get("/")
        with (pictures / "large.tif").open("rb") as file:
            image = client.post("/api/images", files={"image": ("large.tif", file)}).json()["id"]
        cancelled.set()
        monkeypatch.setattr(layers.Layers, "put", wait)
        whole = client.post(f"/api/images/{image}/jobs", json={}).json()["job"]
        assert '"done"' in client.get(f"/api/jobs/{whole}/events").text
        assert len(parts) > 2  # a block has several tiles
        parts.clear()
        at_a_tile.clear()
        cancelled.clear()
        job = client.post(f"/api/images/{image}/jobs", json={}).json()["job"]
        assert at_a_tile.wait(60)
        assert client.delete(f"/api/jobs/{job}").status_code == 204
        cancelled.set()
        assert '"cancelled"' in client.get(f"/api/jobs/{job}/events").text
        assert len(parts) == 1


def _ended(job: Job, jobs: Jobs) -> Job:
    jobs.add(job, line="short")
    job.finished.result(60)
    return job


def test_an_error_names_no_folder_of_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Job) -> None:
        job.log(f"{tmp_path}/0123/cells.png: a note")
        raise DataError(f"{tmp_path}/0123/cells.png: truncated")

    caplog.set_level(logging.INFO, "unetkit.server")
    jobs = Jobs(of_a_client=4)
    jobs.start()
    try:
        job = _ended(Job("me", work, tmp_path / "4567", 1.0, 60.0), jobs)
    finally:
        jobs.stop()
    assert job.seen()["error"] == "cells.png: truncated"
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert said == ["cells.png: a note", "cells.png: truncated"]


def test_a_job_without_memory_fails_alone(tmp_path: Path) -> None:
    jobs = Jobs(of_a_client=4)
    jobs.start()
    try:
        for number, work in enumerate((lambda job: np.ones(2**45), lambda job: torch.ones(2**45))):
            job = _ended(Job("me", work, tmp_path / str(number), 1.0, 60.0), jobs)
            assert job.state == "failed"
            assert job.error == "this takes more memory than there is; give a smaller image"
        assert _ended(Job("me", lambda job: None, tmp_path / "last", 1.0, 60.0), jobs).state == "done"
    finally:
        jobs.stop()


HOG = """
import numpy, unetkit.devices
unetkit.devices.free_memory = lambda device: 3e8
unetkit.serving.api.write_result = lambda *given: numpy.ones(10**9, numpy.uint8)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
def test_a_job_that_asks_for_more_than_is_free_does_not_end_the_server(
    start: Callable[..., Any], network: Path, pictures: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network, changes=HOG) as server, server.client() as client:
        for _ in range(2):
            with (pictures / "grey.png").open("rb") as file:
                answer: httpx.Response = client.post("/api/predict", files={"image": ("grey.png", file)})
            assert answer.status_code == 422, answer.text
            assert "more memory than there is" in answer.json()["error"]
        assert client.get("/v2/health/ready").status_code == 200
        assert server.process.poll() is None
        assert not server.left()
