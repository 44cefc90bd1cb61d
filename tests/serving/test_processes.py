"""Servers as processes: addresses, signals, what they leave, clients that go away."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

SLOW = """
import time
def wait(*given):
    job = given[-1]
    for step in range({steps}):
        job.update(step, 1000, {{}})
        time.sleep(0.05)
    return slow(*given)
slow = unetkit.serving.api.write_result
unetkit.serving.api.write_result = wait
"""


def _predict(client: httpx.Client, path: Path, **fields: str) -> httpx.Response:
    with path.open("rb") as file:
        return client.post("/api/predict", data={"format": ".png"} | fields, files={"image": (path.name, file)})


def _until(what: Callable[[], Any]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_what_is_answered_ends_after_sigterm_and_nothing_is_left(
    start: Callable[..., Any], network: Path, pictures: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network, changes=SLOW.format(steps=20)) as server, server.client() as client:
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(_predict(client, pictures / "grey.png")))
        thread.start()
        _until(server.left)
        code = server.end(signal.SIGTERM)
        thread.join()
        assert answers[0].status_code == 200
        assert answers[0].content.startswith(b"\x89PNG")
        assert code == 128 + signal.SIGTERM
        assert "stopped by SIGTERM" in "".join(server.lines)
        assert "Traceback" not in "".join(server.lines)
        assert not list(tmp_path.iterdir())


CRASH = """
import ctypes
def crash(*given):
    if "grey" in given[1].name:
        ctypes.string_at(0)
    return sound(*given)
sound = unetkit.serving.api.write_result
unetkit.serving.api.write_result = crash
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="servers are started again on Linux alone")


@linux
def test_a_crash_ends_what_runs_and_the_server_answers_again_at_its_address(
    start: Callable[..., Any], network: Path, pictures: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network, changes=CRASH) as server:
        with server.client() as client:
            expected = _predict(client, pictures / "stack.tif", format=".tif")
            assert expected.status_code == 200
            with (pictures / "grey.png").open("rb") as file:
                assert client.post("/api/images", files={"image": ("kept.png", file)}).status_code == 201
            before = next(tmp_path.iterdir())
            assert before.stat().st_mode & 0o077 == 0
            with pytest.raises(httpx.TransportError):
                _predict(client, pictures / "grey.png")
        with server.client() as client:  # waits in the socket's line
            assert _predict(client, pictures / "stack.tif", format=".tif").content == expected.content
        assert not before.exists()
        assert [line.partition("ERROR ")[2] for line in server.lines if "ERROR" in line] == [
            "the server was ended by SIGSEGV; it is started again, and what it was working on is lost\n"
        ]
        assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert not list(tmp_path.iterdir())


@linux
def test_a_crash_before_the_server_is_ready_is_told_once(
    network: Path, tmp_path: Path, start: Callable[..., Any]
) -> None:
    crash = "import ctypes, unetkit.serving.app as app; app.load_served = lambda *_, **given: ctypes.string_at(0)"
    told = "ended by SIGSEGV before it was ready"
    with pytest.raises(AssertionError, match=told), start(tmp_path, network, changes=crash):
        pass


def test_what_a_kill_left_the_next_server_removes(
    start: Callable[..., Any], network: Path, pictures: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network) as server, server.client() as client:
        with (pictures / "grey.png").open("rb") as file:
            assert client.post("/api/images", files={"image": ("a.png", file)}).status_code == 201
        assert server.left()
        before = next(tmp_path.iterdir())
        server.end(signal.SIGKILL)
        _until(lambda: not _answers(client))
    assert before.exists()
    with start(tmp_path, network) as server:
        assert not before.exists()
        server.end(signal.SIGINT)
    assert not list(tmp_path.iterdir())


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False


def test_a_client_that_goes_away_leaves_nothing(
    start: Callable[..., Any], network: Path, pictures: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network, changes=SLOW.format(steps=2000)) as server:
        content = (pictures / "grey.png").read_bytes()
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        body = head + content + b"\r\n--b--\r\n"
        lines = f"Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}"
        with socket.create_connection(("127.0.0.1", server.port)) as whole:
            whole.sendall(f"POST /api/predict HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body)
            _until(server.left)
        _until(lambda: not server.left())
        with socket.create_connection(("127.0.0.1", server.port)) as cut:
            cut.sendall(f"POST /api/images HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body[:-50])
            _until(server.left)
        _until(lambda: not server.left())
        with server.client() as client:
            assert client.get("/api/models").status_code == 200


def test_connections_that_say_nothing_or_trickle_are_closed(
    start: Callable[..., Any], network: Path, tmp_path: Path
) -> None:
    with start(tmp_path, network, changes="unetkit.serving.server.IDLE_SECONDS = 1.0") as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(50)]
        trickling = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        trickling.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")

        def trickle() -> None:
            try:
                while True:
                    trickling.sendall(b"a: b\r\n")
                    time.sleep(0.2)
            except OSError:
                return

        thread = threading.Thread(target=trickle)
        thread.start()
        with server.client() as client:
            assert client.get("/v2/health/live").status_code == 200
        for one in silent:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
            one.close()
        thread.join(60)
        trickling.close()
        assert not thread.is_alive()


def test_a_port_in_use_and_other_mistakes_are_one_line(
    network: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, said in (
            ((network, "--port", port), f"127.0.0.1:{port}: another program listens there"),
            ((network, "--host", "192.0.2.1"), "no address of this machine"),
            ((network, "--token", "short"), "--token: 5 characters"),
            ((tmp_path / "nothing", "--port", 0), "no network is there"),
        ):
            found = command("serve", *words)
            assert found.code == 2
            assert said in found.err
            assert found.err.count("\n") == 1
            assert found.out == ""


def test_elsewhere_a_token_is_printed_and_needed(start: Callable[..., Any], network: Path, tmp_path: Path) -> None:
    with start(tmp_path, network, "--host", "0.0.0.0") as server:
        address = f"http://127.0.0.1:{server.port}"
        token = server.address.partition("?token=")[2]
        assert len(token) == 32
        assert httpx.get(f"{address}/api/models").status_code == 401
        assert httpx.get(f"{address}/v2/health/live").status_code == 200
        shown = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{address}/api/models", headers=shown).status_code == 200
        assert not any(token in line for line in server.lines)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no fallocate here")
def test_a_full_disk_is_one_line(
    start: Callable[..., Any], network: Path, pictures: Path, mounted: Callable[[str], Path]
) -> None:
    changes = "import unetkit.serving.uploads; unetkit.serving.uploads._SPARE_BYTES = 0"
    with start(mounted("size=1m"), network, changes=changes) as server, server.client() as client:
        with (pictures / "large.tif").open("rb") as file:
            answer = client.post("/api/images", files={"image": ("large.tif", file)})
        assert answer.status_code == 507, answer.text
        assert str(server.temporary) not in answer.text
        assert client.get("/v2/health/ready").status_code == 200
        assert not server.left()
        server.end()
