"""What is meant to harm: bombs, broken multipart, traversal, floods. None gets through; the server answers after."""

import io
import random
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile

from unetkit.serving.uploads import harmless


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cells.png", "cells.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/etc/cron.d/x.tif", "x.tif"),
        ("..", "image"),
        ("", "image"),
        (".hidden.png", "hidden.png"),
        ("a\0b\nc.png", "a_b_c.png"),
        ("<script>.png", "_script_.png"),
        ("Zellen größer 细胞.ome.tif", "Zellen größer 细胞.ome.tif"),
        ("s3://bucket/key.tif", "key.tif"),
        ("x" * 500 + ".tif", "x" * 116 + ".tif"),
        ("file.h5:inside", "file.h5_inside"),
    ],
)
def test_names_of_clients_become_harmless(name: str, kept: str) -> None:
    assert harmless(name) == kept


def _png_bomb(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _tiff_bomb() -> bytes:
    output = io.BytesIO()
    pixels = np.zeros((40_000, 40_000), np.uint8)
    tifffile.imwrite(output, pixels, compression="zlib", rowsperstrip=40_000)
    return output.getvalue()


def _post(server: Any, content: bytes, name: str = "a.png", place: str = "/api/images") -> httpx.Response:
    with server.client() as client:
        return client.post(place, files={"image": (name, content)})


def test_files_that_unfold_are_refused(server: Any) -> None:
    for content in (_png_bomb(60_000), _png_bomb(2**31 - 1), b"P5 99999 99999 255\n", b"\x93NUMPY\x01\0\xff\xff{"):
        for place in ("/api/images", "/api/predict"):
            answer = _post(server, content, place=place)
            assert answer.status_code == 422, answer.text
            assert len(answer.json()["error"]) < 400
    assert not server.left()


@pytest.mark.slow
def test_a_strip_that_unfolds_is_refused(server: Any) -> None:
    answer = _post(server, _tiff_bomb(), "a.tif")
    assert answer.status_code == 422
    assert "pixels" in answer.json()["error"]


DISPOSITION = b'Content-Disposition: form-data; name="image"; filename="a.png"'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"hello"),
        ("multipart/form-data", b"--b\r\n\r\n"),
        ("multipart/form-data; boundary=" + "b" * 71, b""),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\nx\r\n--c--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + DISPOSITION + b"\r\n\r\nnever ended"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"x" * 100_000 + b": y\r\n\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"x: y\r\n" * 50 + b"\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 100),
        ("multipart/form-data; boundary=b", (b"--b\r\n" + DISPOSITION + b"\r\n\r\nx\r\n") * 2 + b"--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + b"x" * 100_000 + b"\r\n--b--\r\n",
        ),
    ],
)
def test_broken_multipart_is_refused(server: Any, kind: str, body: bytes) -> None:
    with server.client() as client:
        answer = client.post("/api/images", content=body, headers={"content-type": kind})
    assert answer.status_code == 400, answer.text
    assert not server.left()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/serve.js/../../../pyproject.toml",
        "//etc/passwd",
        "/static/x",
        "/api/images/..",
        "/api/images/%2e%2e%2f%2e%2e/tiles/0/0/0_0.png",
        "/api/jobs/x/tiles/..%2f..%2fetc/0/0/0_0.png",
        "/v2/models/..%2f..%2fetc/infer",
        "/bundles/serve.html",
        "/%00",
    ],
)
def test_paths_lead_nowhere(server: Any, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status = int(answer.split()[1])
    assert status in (404, 405), answer
    assert b"root:" not in answer


def _raw(server: Any, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        try:
            connection.sendall(content)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""


def test_floods_and_noise_are_refused(server: Any) -> None:
    noise = random.Random(0)
    long = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for content in (
        long + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        long + b"".join(b"x%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        *(noise.randbytes(200) + b"\r\n\r\n" for _ in range(6)),
    ):
        answer = _raw(server, content)
        assert not answer or 400 <= int(answer.split()[1]) < 500, answer[:200]
    with server.client() as client:
        assert client.get("/api/models").status_code == 200


def test_pages_of_other_sites_are_refused_by_a_server(server: Any, pictures: Path) -> None:
    with server.client() as client:
        content = (pictures / "grey.png").read_bytes()
        for headers in ({"origin": "http://elsewhere.example"}, {"host": "rebound.example"}):
            answer = client.post("/api/predict", files={"image": ("a.png", content)}, headers=headers)
            assert answer.status_code in (403, 421)


def test_bodies_that_promise_too_much_are_refused_before_they_come(server: Any) -> None:
    head = b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head + b"Content-Length: 99999999999999\r\n\r\n")
        assert b" 413 " in connection.recv(65536)
