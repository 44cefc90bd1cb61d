"""A server that speaks S3, a wire to it that can be cut, and a service before it that is out of order now and then."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer


@dataclass
class Wire:
    """A connection between client and server that dies after so many bytes of the server's, as often as told.

    Attributes:
        target: the server's port.
        cuts: how many connections will still die.
        after: bytes that pass before.
    """

    target: int
    cuts: int = 0
    after: int = 0
    progress: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return self.progress.getsockname()[1]

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.progress.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            up = threading.Thread(target=self._pass, args=(client, server), daemon=True)
            up.start()
            self._pass(server, client, down=True)
            up.join(1)

    def _pass(self, source: socket.socket, sink: socket.socket, *, down: bool = False) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(4096):
                passed += len(data)
                if down and self.cuts and passed > self.after:
                    self.cuts -= 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def server() -> Generator[int]:
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def wire(server: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Wire]:
    """A bucket `lab`, this process's way to it, and an empty cache."""
    import boto3

    wire = Wire(server)
    threading.Thread(target=wire.serve, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="lab")
    yield wire
    for entry in client.list_objects_v2(Bucket="lab").get("Contents", []):
        client.delete_object(Bucket="lab", Key=entry["Key"])
    client.close()
    wire.progress.close()


@dataclass
class Faults:
    """What a service does to requests for objects.

    Attributes:
        every: each of so many is answered by 503, and the one after it by nothing at all; 0: none.
        delay: seconds that every answer takes longer.
        failed: how many were not answered.
    """

    every: int = 0
    delay: float = 0.0
    failed: int = 0


@pytest.fixture
def faults(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Generator[Faults]:
    """Give what a service between this process and the wire's server does; at first it only passes on."""
    faults, numbers = Faults(), count(1)

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            time.sleep(faults.delay)
            turn = next(numbers) % faults.every if faults.every else None
            if turn in (0, 1):
                faults.failed += 1
                if turn == 0:
                    self.send_response(503, "Slow Down")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                self.close_connection = True
                return
            server = HTTPConnection("127.0.0.1", wire.target)
            server.request(self.command, self.path, content, dict(self.headers))
            answer = server.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            server.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the names of http.server

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    service = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{service.server_port}")
    yield faults
    service.shutdown()
    service.server_close()
