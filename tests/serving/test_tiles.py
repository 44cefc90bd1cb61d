"""Tiles of images: levels, windows, memory's bounds."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from starlette.exceptions import HTTPException

from unetkit.images import open_image
from unetkit.serving import tiles as module
from unetkit.serving.tiles import ImageTiles, Levels, halved


def _decoded(content: bytes) -> NDArray[Any]:
    return np.asarray(Pillow.open(BytesIO(content)))


def _joined(tiles: ImageTiles, page: int, level: int, **shown: Any) -> NDArray[Any]:
    height, width = tiles.levels.size(level)
    rows = [
        np.concatenate(
            [_decoded(tiles.tile(page, level, column, row, **shown)) for column in range(-(-width // 256))], 1
        )
        for row in range(-(-height // 256))
    ]
    return np.concatenate(rows)


def test_levels_count_as_in_deep_zoom() -> None:
    levels = Levels(300, 1000)
    assert levels.count == 11
    assert [levels.size(level) for level in (0, 1, 9, 10)] == [(1, 1), (1, 2), (150, 500), (300, 1000)]
    assert Levels(1, 1).count == 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_tiles_make_the_image(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 700, 3), np.uint8)
    path = tmp_path / f"image{suffix}"
    Pillow.fromarray(pixels).save(path)
    tiles = ImageTiles(open_image(path), tmp_path / "levels")
    assert np.array_equal(_joined(tiles, 0, tiles.levels.count - 1, low=0, high=255), pixels)
    half = _joined(tiles, 0, tiles.levels.count - 2, low=0, high=255)
    expected = pixels.reshape(150, 2, 350, 2, 3).mean((1, 3))
    assert np.abs(half - expected).max() <= 1
    assert _joined(tiles, 0, 0, low=0, high=255).shape == (1, 1, 3)


def test_large_pages_are_read_by_windows_to_the_same_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (1100, 1500), np.uint16)
    np.save(tmp_path / "image.npy", pixels)
    image = open_image(tmp_path / "image.npy")
    kept = ImageTiles(image, tmp_path / "kept")
    expected = [_joined(kept, 0, level, low=0, high=60000) for level in range(kept.levels.count)]
    monkeypatch.setattr(module, "_SMALL", 0)
    monkeypatch.setattr(module, "_COLUMNS", 1024)
    windows = ImageTiles(image, tmp_path / "windows")
    for level, whole in enumerate(expected):
        assert np.array_equal(_joined(windows, 0, level, low=0, high=60000), whole)
    assert windows.range() == pytest.approx(kept.range(), rel=0.05)
    assert not list((tmp_path / "windows").rglob(f"{windows.levels.count - 1}.npy"))


def test_black_and_white_are_those_of_the_pixels_not_of_their_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "image.npy", np.random.default_rng(0).integers(0, 256, (1500, 1300), np.uint8))
    monkeypatch.setattr(module, "_LOOKED_AT", 2**12)
    monkeypatch.setattr(module, "_COLUMNS", 1024)
    for small in (0, 2**22):
        monkeypatch.setattr(module, "_SMALL", small)
        low, high = ImageTiles(open_image(tmp_path / "image.npy"), tmp_path / f"levels-{small}").range()
        assert low < 5
        assert high > 250


def test_pages_make_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "stack.npy", np.zeros((5, 64, 64), np.uint8))
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * 64 * 64 * 4)
    tiles = ImageTiles(open_image(tmp_path / "stack.npy"), tmp_path / "levels")
    for page in range(5):
        tiles.tile(page, 6, 0, 0, low=0, high=1)
    assert len(list((tmp_path / "levels").iterdir())) == 2


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((300, 300), np.uint8))
    tiles = ImageTiles(open_image(tmp_path / "image.npy"), tmp_path / "levels")
    for place in ((1, 0, 0, 0), (0, 10, 0, 0), (0, 9, 2, 0), (0, 9, 0, 10**9), (0, 10**9, 0, 0)):
        with pytest.raises(HTTPException, match="no "):
            tiles.tile(*place, low=0, high=1)


def test_means_keep_type_and_edges() -> None:
    assert np.array_equal(halved(np.array([[[0, 255, 10]]], np.uint8)), [[[128, 10]]])
    assert halved(np.ones((2, 5, 7), np.float32)).shape == (2, 3, 4)
