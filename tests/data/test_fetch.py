"""Fetching from a local server that answers, cuts the connection, lies, or is not there."""

import hashlib
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from unetkit.data import fetch
from unetkit.data.fetch import ISBI2012, PublicData, pixel_checksum
from unetkit.errors import DataError, StorageError, UsageError
from unetkit.progress import NoProgress

RNG = np.random.default_rng(0)
STACKS = {name: RNG.integers(0, 256, (3, 40, 40), np.uint8) for name in ("one.tif", "two.tif")}
Answers = dict[str, bytes | int]


def tiff(pixels: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", compression="zlib")
    return buffer.getvalue()


def packed(files: dict[str, bytes], prefix: str = "deep/er/") -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return buffer.getvalue()


FILES = {name: tiff(pixels) for name, pixels in STACKS.items()}
CHECKSUMS = {name: hashlib.sha256(pixels.tobytes()).hexdigest() for name, pixels in STACKS.items()}


@pytest.fixture
def server() -> Iterator[tuple[str, Answers, list[str]]]:
    """A server on this machine: its address, what it answers by path (a number is a status), and what it was asked."""
    answers: Answers = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers.get(self.path, 404)
            if isinstance(answer, int):
                self.send_error(answer)
                return
            cut = self.path.startswith("/cut/")
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer) * (2 if cut else 1)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}", answers, asked
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def known(*urls: str) -> dict[str, PublicData]:
    return {"tiny": PublicData("http://example.invalid/page", urls, CHECKSUMS)}


def require_whole(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(STACKS)
    for name, pixels in STACKS.items():
        np.testing.assert_array_equal(tifffile.imread(folder / name), pixels)


def require_nothing(folder: Path) -> None:
    assert not folder.exists() or not list(folder.iterdir())


def test_an_archive_is_fetched_and_unpacked(server: tuple[str, Answers, list[str]], tmp_path: Path) -> None:
    address, answers, asked = server
    answers["/data.zip"] = packed(FILES)
    assert fetch("tiny", tmp_path / "out", known=known(f"{address}/data.zip")) == tmp_path / "out"
    require_whole(tmp_path / "out")
    fetch("tiny", tmp_path / "out", known=known(f"{address}/data.zip"))
    assert asked == ["/data.zip"], "what is there and whole is not fetched again"


def test_the_next_place_is_tried(server: tuple[str, Answers, list[str]], tmp_path: Path) -> None:
    address, answers, asked = server
    answers |= {f"/files/{name}": content for name, content in FILES.items()}
    fetch("tiny", tmp_path, known=known(f"{address}/gone.zip", f"{address}/files/"))
    require_whole(tmp_path)
    assert asked == ["/gone.zip", "/files/one.tif", "/files/two.tif"]


def test_only_what_is_missing_is_fetched(server: tuple[str, Answers, list[str]], tmp_path: Path) -> None:
    address, answers, asked = server
    answers |= {f"/files/{name}": content for name, content in FILES.items()}
    (tmp_path / "one.tif").write_bytes(FILES["one.tif"])
    fetch("tiny", tmp_path, known=known(f"{address}/files/"))
    require_whole(tmp_path)
    assert asked == ["/files/two.tif"]


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/cut/data.zip", packed(FILES)[:900], "no whole answer (ChunkedEncodingError)"),
        ("/cut/one.tif", FILES["one.tif"][:500], "no whole answer (ChunkedEncodingError)"),
        ("/data.zip", 503, "no whole answer (status 503)"),
        ("/data.zip", b"<html>moved</html>", "not a whole .zip archive"),
        ("/data.zip", packed(FILES)[:-30], "not a whole .zip archive"),
        ("/data.zip", packed({"one.tif": FILES["one.tif"]}), "the archive holds no two.tif"),
        (
            "/data.zip",
            packed(FILES | {"two.tif": tiff(STACKS["one.tif"])}),
            "two.tif: other pixels than the data set's",
        ),
        ("/data.zip", packed(FILES | {"two.tif": FILES["two.tif"][:-400]}), "two.tif"),
        ("/data.zip", packed(FILES | {"two.tif": tiff(STACKS["two.tif"].astype(np.uint16))}), "8 bits were expected"),
        (
            "/data.zip",
            packed(FILES).replace(FILES["two.tif"], bytes(len(FILES["two.tif"]))),
            "not a whole .zip archive",
        ),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(
    server: tuple[str, Answers, list[str]], tmp_path: Path, path: str, answer: bytes | int, words: str
) -> None:
    address, answers, _ = server
    answers[path] = answer
    place = f"{address}{path}" if path.endswith(".zip") else f"{address}/cut/"
    with pytest.raises(DataError) as caught:
        fetch("tiny", tmp_path / "out", known=known(place))
    message = str(caught.value)
    assert words in message
    assert "by hand: get the data from http://example.invalid/page" in message
    assert "\n" not in message
    require_nothing(tmp_path / "out")


def test_an_answer_without_end_is_stopped(
    server: tuple[str, Answers, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    address, answers, _ = server
    answers["/data.zip"] = bytes(500_000)
    monkeypatch.setattr(sys.modules["unetkit.data.fetch"], "_LARGEST_DOWNLOAD", 100_000)
    with pytest.raises(DataError, match=r"more than 100,000 bytes"):
        fetch("tiny", tmp_path / "out", known=known(f"{address}/data.zip"))
    require_nothing(tmp_path / "out")


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"no whole answer \(ConnectionError\).*--from"):
        fetch("tiny", tmp_path / "out", known=known(f"http://127.0.0.1:{port}/data.zip"))
    require_nothing(tmp_path / "out")


def test_the_reporter_hears_of_the_bytes(server: tuple[str, Answers, list[str]], tmp_path: Path) -> None:
    class Listener(NoProgress):
        def update(self, done: int, total: int, figures: object) -> None:
            heard.append((done, total))

    address, answers, _ = server
    answers["/data.zip"] = packed(FILES)
    heard: list[tuple[int, int]] = []
    fetch("tiny", tmp_path, known=known(f"{address}/data.zip"), progress=Listener())
    assert heard[-1] == (len(packed(FILES)),) * 2


def test_what_somebody_has_is_taken(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in FILES.items():
        (mine / name).write_bytes(content)
    (tmp_path / "mine.zip").write_bytes(packed(FILES, prefix=""))
    for number, source in enumerate((mine, tmp_path / "mine.zip")):
        require_whole(fetch("tiny", tmp_path / str(number), source=source, known=known()))
    (mine / "two.tif").unlink()
    with pytest.raises(DataError, match=r"mine: holds no two\.tif"):
        fetch("tiny", tmp_path / "out", source=mine, known=known())
    with pytest.raises(DataError, match="there is no such file or folder"):
        fetch("tiny", tmp_path / "out", source=tmp_path / "absent", known=known())
    require_nothing(tmp_path / "out")


def test_a_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    other = tiff(STACKS["two.tif"])
    (tmp_path / "one.tif").write_bytes(other)
    with pytest.raises(DataError, match=r"one\.tif: other pixels .* move it away"):
        fetch("tiny", tmp_path, known=known())
    assert (tmp_path / "one.tif").read_bytes() == other


def test_wrong_names_and_places(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'isbi2012'"):
        fetch("isbi2021", tmp_path)
    with pytest.raises(UsageError, match="known are: isbi2012"):
        fetch("zzz", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written \(Not a directory\); a part of this path is a file"):
        fetch("tiny", tmp_path / "file" / "below", known=known())


def test_the_real_stack_is_taken_from_a_folder(shared: Path, tmp_path: Path) -> None:
    folder = fetch("isbi2012", tmp_path, source=shared / "data" / "isbi2012")
    assert {path.name: pixel_checksum(path) for path in folder.iterdir()} == ISBI2012.pixels
