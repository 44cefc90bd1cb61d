"""A server that speaks S3, and a wire to it that can be cut."""

import socket
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
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
