"""The server as a process: what it answered is there after a kill, tabs are told, and the training is seen."""

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unetkit.images.write import to_png
from unetkit.labelling.strokes import UNCHANGED

from .conftest import SMALL, bright_discs

pytestmark = [pytest.mark.slow, pytest.mark.long]
PATIENCE = 120.0


class Server:
    """`unetkit label`, on any port."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "unetkit", "label", str(folder), "--port", "0", *SMALL]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = ""
        for line in self.process.stdout:
            if line.startswith("open: "):
                self.address = line.split()[1].rstrip("/")
                break
        assert self.address, self.process.stderr and self.process.stderr.read()
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE)

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/project{path}").raise_for_status().json()

    def post(self, path: str, **body: object) -> httpx.Response:
        return self.client.post(f"/api/project{path}", json=body)

    def paint(self, session: str, number: int, top: int, labels: NDArray[np.uint8]) -> httpx.Response:
        box = [top, 0, *labels.shape]
        png = base64.b64encode(to_png(labels)).decode()
        return self.post("/images/0/strokes", page=0, session=session, number=number, box=box, png=png)

    def labels(self) -> NDArray[np.uint8]:
        content = self.client.get("/api/project/images/0/labels/0.png").raise_for_status().content
        from io import BytesIO

        return np.array(Image.open(BytesIO(content)))

    def listen(self, session: str) -> "queue.Queue[tuple[str, dict[str, Any]]]":
        heard: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

        def follow() -> None:
            kind = ""
            try:
                with httpx.stream(
                    "GET", f"{self.address}/api/project/events?session={session}", timeout=None
                ) as answer:
                    for line in answer.iter_lines():
                        if line.startswith("event: "):
                            kind = line.removeprefix("event: ")
                        elif line.startswith("data: "):
                            heard.put((kind, json.loads(line.removeprefix("data: "))))
            except httpx.HTTPError:
                heard.put(("gone", {}))

        threading.Thread(target=follow, daemon=True).start()
        return heard

    def end(self, number: int) -> None:
        self.client.close()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def serve(folder: Path) -> Iterator[Any]:
    servers: list[Server] = []

    def start() -> Server:
        servers.append(Server(folder))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def _until(heard: "queue.Queue[tuple[str, dict[str, Any]]]", kind: str, **wanted: object) -> dict[str, Any]:
    while True:
        found, event = heard.get(timeout=PATIENCE)
        if found == kind and all(event.get(name) == value for name, value in wanted.items()):
            return event


def test_what_was_answered_is_there_after_a_kill_and_the_other_tab_was_told(serve: Any) -> None:
    server = serve()
    mine, other = (server.get("")["session"] for _ in range(2))
    assert mine != other
    heard = server.listen(other)
    _until(heard, "tabs", tabs=1)
    expected = np.zeros((96, 96), np.uint8)
    for number in range(1, 6):
        labels = np.full((3, 20), number % 2 + 1, np.uint8)
        assert server.paint(mine, number, 10 * number, labels).json()["new"]
        expected[10 * number : 10 * number + 3, :20] = labels
        assert _until(heard, "labels", session=mine)["box"] == [10 * number, 0, 3, 20]
    assert server.paint(mine, 6, 0, np.full((3, 3), 9, np.uint8)).status_code == 400
    server.end(signal.SIGKILL)  # no file of labels was written yet: the journal has it all
    again = serve()
    np.testing.assert_array_equal(again.labels(), expected)
    assert not again.paint(mine, 5, 0, np.full((9, 9), 2, np.uint8)).json()["new"]
    np.testing.assert_array_equal(again.labels(), expected)
    again.end(signal.SIGTERM)
    labels = np.array(Image.open(next(iter(Path(again.process.args[4]).glob("unetkit-labels/labels/a.png")))))
    np.testing.assert_array_equal(labels, expected)


def test_it_trains_says_so_predicts_and_goes_on_after_a_kill(serve: Any) -> None:
    server, truth = serve(), bright_discs(0)[1]
    session = server.get("")["session"]
    heard = server.listen("other")
    assert server.get("/next")["uncertainty"] is None
    assert server.client.get("/api/project/images/0/prediction/0.png").status_code == 404
    assert server.post("/train", state="start").json()["started"]
    for number, row in enumerate(range(4, 96, 12), 1):
        labels = np.full((2, 96), UNCHANGED, np.uint8)
        labels[:, ::2] = truth[row : row + 2, ::2] + 1
        server.paint(session, number, row, labels).raise_for_status()
    first = _until(heard, "prediction", image="0", page=0)
    assert first["step"] >= 30
    assert server.client.get("/api/project/images/0/prediction/0.png").headers["x-version"]
    while (event := _until(heard, "training", state="training"))["dice"] is None:
        pass
    assert 0 <= event["dice"] <= 1
    assert event["loss"] > 0
    assert 0 < server.get("/next")["uncertainty"] <= 1
    taken = server.post("/images/0/accept", page=0, session=session, number=99, box=[0, 0, 96, 96]).json()
    assert taken["new"]
    assert (server.labels() > 0).all()
    server.post("/train", state="pause").raise_for_status()
    stopped = _until(heard, "training", state="paused")
    server.end(signal.SIGKILL)
    again = serve()
    heard = again.listen("another")
    again.post("/train", state="start")
    assert _until(heard, "training", state="training")["step"] >= stopped["step"]
    assert (again.labels() > 0).all()


def test_it_trains_by_itself_when_painting_pauses_and_every_tab_is_told(serve: Any) -> None:
    server, truth = serve(), bright_discs(0)[1]
    session = server.get("")["session"]
    heard = server.listen("other")
    _until(heard, "tabs", tabs=1)
    assert server.post("/automatic", on=True).json()["automatic"]
    assert not _until(heard, "training", automatic=True)["started"]
    for number, row in enumerate(range(4, 96, 12), 1):
        labels = np.full((2, 96), UNCHANGED, np.uint8)
        labels[:, ::2] = truth[row : row + 2, ::2] + 1
        server.paint(session, number, row, labels).raise_for_status()
    assert _until(heard, "training", state="training")["started"]
    assert _until(heard, "prediction", image="0", page=0)["step"] >= 30
    assert not server.post("/train", state="pause").json()["started"]
    _until(heard, "training", state="paused", started=False)
    server.end(signal.SIGTERM)
    again = serve().get("")["training"]
    assert again["step"] > 0
    assert again["loss"] > 0
    assert again["automatic"]
    assert not again["started"]


def test_bodies_that_are_wrong_are_one_line_and_change_nothing(serve: Any) -> None:
    server = serve()
    wrong = [
        ("/images/0/strokes", {"page": 0}),
        ("/images/0/strokes", {"page": 0, "number": 1, "session": "s", "box": [0, 0, 2, 2], "png": "no base64!"}),
        ("/images/0/strokes", {"page": 0, "number": 1, "session": "s", "box": [0, 0, 9, 9], "png": "aGVsbG8="}),
        ("/images/0/accept", {"page": 0, "number": 1, "session": "s"}),
        ("/train", {"state": "fly"}),
        ("/automatic", {"on": "perhaps"}),
        ("/classes", {"classes": [{"name": "one", "colour": "#000000"}]}),
        ("/classes", {"classes": [{"name": "one", "colour": "red"}, {"name": "two", "colour": "#000000"}]}),
    ]
    for path, body in wrong:
        answer = server.client.post(f"/api/project{path}", json=body)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"].count("\n") == 0
    assert server.post("/images/7/strokes", page=0).status_code in (400, 404)
    assert not server.labels().any()
    assert os.path.getsize(Path(server.process.args[4]) / "unetkit-labels" / "journal.jsonl") == 0
