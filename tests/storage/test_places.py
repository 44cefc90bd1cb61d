from pathlib import Path

import pytest

from unetkit.errors import RemoteError
from unetkit.storage import is_remote, local_copy, place_of, send_file, send_folder, url_of


@pytest.mark.parametrize("path", ["s3://lab/a", "obs://lab/a", Path("s3://lab/a")])
def test_what_is_remote(path: str | Path) -> None:
    assert is_remote(path)


@pytest.mark.parametrize("path", ["a/s3://b", "s3", "/s3:/lab", "s3://", "C:/data", Path("runs")])
def test_what_is_not_remote(path: str | Path) -> None:
    assert not is_remote(path)


def test_a_path_keeps_its_meaning_when_its_slashes_were_folded() -> None:
    assert url_of(Path("s3://lab/a/b")) == "s3://lab/a/b"
    assert url_of("data/a") == "data/a"


def test_what_is_local_is_left_alone(tmp_path: Path) -> None:
    assert local_copy(tmp_path) == tmp_path


@pytest.mark.usefixtures("wire")
@pytest.mark.parametrize("scheme", ["s3", "obs"])
def test_a_file_comes_back(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"pixels" * 1000)
    send_file(tmp_path / "a.bin", f"{scheme}://lab/deep/a.bin")
    copy = local_copy(f"{scheme}://lab/deep/a.bin")
    assert copy.name == "a.bin"
    assert copy.read_bytes() == b"pixels" * 1000


@pytest.mark.usefixtures("wire")
def test_a_folder_comes_back_and_follows_what_changes(tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    (folder / "in").mkdir(parents=True)
    (folder / "x.txt").write_text("1")
    (folder / "in" / "y.txt").write_text("2")
    send_folder(folder, "s3://lab/set")
    copy = local_copy("s3://lab/set/")
    found = {path.relative_to(copy).as_posix(): path.read_text() for path in copy.rglob("*.txt")}
    assert found == {"x.txt": "1", "in/y.txt": "2"}
    place_of("s3://lab/set").remove(["lab/set/x.txt"])
    (folder / "x.txt").write_text("3")
    send_file(folder / "x.txt", "s3://lab/set/in/y.txt")
    assert local_copy("s3://lab/set") == copy
    assert {path.name: path.read_text() for path in copy.rglob("*.txt")} == {"y.txt": "3"}


@pytest.mark.usefixtures("wire")
def test_what_is_here_is_not_brought_again_unless_it_was_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"0" * 9000)
    send_file(tmp_path / "a.bin", "s3://lab/a.bin")
    copy = local_copy("s3://lab/a.bin")
    first = copy.stat().st_ino
    assert local_copy("s3://lab/a.bin").stat().st_ino == first
    copy.write_bytes(b"1" * 9000)
    assert local_copy("s3://lab/a.bin").read_bytes() == b"0" * 9000


@pytest.mark.usefixtures("wire")
def test_files_of_one_name_come_together(tmp_path: Path) -> None:
    for end in ("index", "data-00000-of-00001"):
        (tmp_path / end).write_text(end)
        send_file(tmp_path / end, f"s3://lab/model.ckpt-3.{end}")
    copy = local_copy("s3://lab/model.ckpt-3")
    found = sorted(path.name for path in copy.parent.glob("model*"))
    assert found == ["model.ckpt-3.data-00000-of-00001", "model.ckpt-3.index"]


def test_a_connection_that_dies_on_the_way_is_made_again(wire, tmp_path: Path) -> None:  # noqa: ANN001 - of conftest
    content = bytes(range(256)) * 4000
    (tmp_path / "a.bin").write_bytes(content)
    send_file(tmp_path / "a.bin", "s3://lab/a.bin")
    wire.after, wire.cuts = 300_000, 2
    assert local_copy("s3://lab/a.bin").read_bytes() == content
    assert wire.cuts == 0, "it did die"


@pytest.mark.usefixtures("wire")
@pytest.mark.parametrize("path", ["s3://lab/none", "s3://no-such-bucket/a"])
def test_what_is_not_there_is_said(path: str) -> None:
    with pytest.raises(RemoteError, match="nothing is there"):
        local_copy(path)


@pytest.mark.usefixtures("wire")
def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RemoteError, match="cannot be reached"):
        local_copy("s3://lab/a.bin")
