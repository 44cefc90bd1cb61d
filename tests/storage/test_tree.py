import itertools
import stat
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetkit.errors import DataError
from unetkit.storage.tree import is_archive, open_tree, require_safe


def packed(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), f"content of {name}" * 50)
    return path


def test_a_folder_and_its_archive_are_the_same_tree(tmp_path: Path) -> None:
    names = ("a/b/one.png", "a/two.png", "three.png")
    for name in names:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(f"content of {name}" * 50)
    (tmp_path / "folder" / ".hidden").touch()
    packed(tmp_path / "x.zip", *names, "__MACOSX/a/._two.png", ".DS_Store")
    folder, archive = open_tree(tmp_path / "folder"), open_tree(tmp_path / "x.zip")
    assert folder.files == archive.files == tuple(sorted(names))
    assert [folder.read(name) for name in names] == [archive.read(name) for name in names]
    assert is_archive(tmp_path / "x.zip")
    assert not is_archive(tmp_path / "folder")


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "c:x.png", "a\\b.png", "a\nb.png", "", ".", "a/.."]
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="unsafe file name"):
        require_safe(name, "x.zip")


@given(st.lists(st.text("abc._- é", min_size=1), min_size=1, max_size=4))
def test_names_below_are_taken(parts: list[str]) -> None:
    name = "/".join(parts)
    if ".." in parts or not name.replace("/", "").strip("."):
        return
    path = require_safe(name, "x.zip")
    assert not path.startswith("/")
    assert path == str(PurePosixPath(name))


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png"])
def test_an_archive_with_an_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    packed(tmp_path / "x.zip", "good.png", name)
    with pytest.raises(DataError, match=r"x\.zip: holds the unsafe file name"):
        open_tree(tmp_path / "x.zip")


def test_links_and_doubles_in_an_archive_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"holds the link link\.png"):
        open_tree(tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", "2")
    with pytest.raises(DataError, match=r"holds a\.png twice"):
        open_tree(tmp_path / "twice.zip")


def test_a_damaged_archive_raises_nothing_but_our_error(tmp_path: Path) -> None:
    content = packed(tmp_path / "x.zip", "a.png", "b/c.png").read_bytes()
    refused = 0
    places = range(0, len(content), 3)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / "y.zip").write_bytes(damaged)
        try:
            tree = open_tree(tmp_path / "y.zip")
            for name in tree.files:
                tree.read(name)
        except DataError:
            refused += 1
    assert refused > len(places) / 2


def test_an_archive_that_was_cut_or_is_none(tmp_path: Path) -> None:
    content = packed(tmp_path / "x.zip", "a.png").read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[:-10])
    assert not is_archive(tmp_path / "cut.zip")
    with pytest.raises(DataError, match=r"cut\.zip: not a whole \.zip archive"):
        open_tree(tmp_path / "cut.zip")


def test_an_entry_that_promises_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "x.zip", "a.png")
    monkeypatch.setenv("UNETKIT_MOST_BYTES", "100")
    tree = open_tree(tmp_path / "x.zip")
    with pytest.raises(DataError, match=r"x\.zip/a\.png: promises 800 bytes; at most 100 are read"):
        tree.read("a.png")


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    tree = open_tree(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: cannot be read: No such file"):
        tree.read("a.png")


def test_a_member_never_becomes_more_than_its_archive_promises(tmp_path: Path) -> None:
    actual = 300_000_001
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(actual))
    content = (tmp_path / "x.zip").read_bytes()
    assert content.count(actual.to_bytes(4, "little")) == 2  # in the header and in the directory
    (tmp_path / "x.zip").write_bytes(content.replace(actual.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    tree = open_tree(tmp_path / "x.zip")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"x\.zip/a\.png: damaged in the archive"):
            tree.read("a.png")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_expand_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a.png", bytes(1000))
    with pytest.raises(DataError, match=f"packed by method {method}"):
        open_tree(tmp_path / "x.zip").read("a.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_byte_of_an_archive_may_be_damaged(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("ä.png", b"content" * 9)
    whole = (tmp_path / "x.zip").read_bytes()
    for place, value in itertools.product(range(len(whole)), (0x00, 0x80, 0xFF)):
        (tmp_path / "x.zip").write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        with suppress(DataError):
            tree = open_tree(tmp_path / "x.zip")
            for name in tree.files:
                tree.read(name)
