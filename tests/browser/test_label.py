"""The page of `unetkit label` in a real browser: paint, train, see the overlay, kill the server, find the strokes."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120_000
SMALL = ("train.threads=1", "train.patch=32", "model.widths=[8,16]", "model.downscale=1", "train.batch=2")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """An image of a bright disc on the left and a dark ground."""
    rows, columns = np.mgrid[:128, :128]
    disc = (rows - 64) ** 2 + (columns - 40) ** 2 < 28**2
    pixels = 70 + 110 * disc + np.random.default_rng(0).normal(0, 10, disc.shape)
    folder = tmp_path / "cells"
    folder.mkdir()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "a.png")
    return folder


@pytest.fixture
def label(cells: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start the command at one port, again and again, for the cells or another path; give its address, too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started: list[subprocess.Popen[str]] = []

    def start(path: Path = cells) -> tuple[subprocess.Popen[str], str]:
        command = [
            sys.executable,
            "-m",
            "unetkit",
            "label",
            str(path),
            "--classes",
            "ground,cell",
            "--port",
            str(port),
        ]
        process = subprocess.Popen([*command, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, next(line.split()[1] for line in process.stdout if line.startswith("open: "))

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _opened(page: Any) -> Any:
    """Wait until the page can be painted on; give the line that says whether all is saved."""
    page.locator("main[aria-busy=false]").wait_for(timeout=PATIENCE)
    return page.locator(".saved")


def _at(page: Any, row: float, column: float) -> tuple[float, float]:
    """Return where a pixel of the image, which is shown whole, is on the screen."""
    box = page.locator(".viewer").bounding_box()
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    return left + column / 128 * side, top + row / 128 * side


def _stroke(page: Any, *pixels: tuple[float, float]) -> None:
    page.mouse.move(*_at(page, *pixels[0]))
    page.mouse.down()
    for pixel in pixels[1:]:
        page.mouse.move(*_at(page, *pixel), steps=8)
    page.mouse.up()


def _until(page: Any, true: Callable[[], object]) -> None:
    for _ in range(PATIENCE // 200):
        if true():
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"not reached: {page.inner_text('.side')}")


def _colours(page: Any, row: int, column: int) -> tuple[int, int, int, int]:
    """Return what the canvas above the tiles shows at a pixel."""
    x, y = _at(page, row, column)
    box = page.locator(".viewer").bounding_box()
    look = """([x, y]) => {
        const seen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
        seen.drawImage(document.querySelector("canvas.above"), -x, -y);
        return [...seen.getImageData(0, 0, 1, 1).data];
    }"""
    return tuple(page.evaluate(look, [round(x - box["x"]), round(y - box["y"])]))


def _labels(cells: Path) -> np.ndarray:
    return np.array(Image.open(cells / "unetkit-labels" / "labels" / "a.png"))


@pytest.mark.slow
def test_paint_train_see_the_overlay_kill_the_server_and_find_the_strokes(
    visit: Callable[..., Any], label: Callable[[], Any], cells: Path, findings: Callable[[Any], list[str]]
) -> None:
    server, address = label()
    page = visit(address, ignore="api/project|ERR_")  # the server is killed on the way
    saved = _opened(page)
    assert findings(page) == []
    page.keyboard.press("2")
    for row in (50, 64, 78):
        _stroke(page, (row, 25), (row, 55))
    page.keyboard.press("1")
    for row in (12, 64, 116):
        _stroke(page, (row, 85), (row, 118))
    assert _colours(page, 64, 40)[0] > 200  # the colour of the second class
    assert _colours(page, 100, 40)[3] == 0
    page.keyboard.press("t")
    _until(page, lambda: _colours(page, 92 - 5, 40)[3] > 0 and _colours(page, 110, 100)[3] > 0)
    orange, blue = _colours(page, 84, 40), _colours(page, 104, 100)
    _until(page, lambda: re.search(r"step \d\d\d", page.inner_text(".side")))
    orange, blue = _colours(page, 84, 40), _colours(page, 104, 100)
    assert orange[0] > orange[2]
    assert blue[2] > blue[0]
    page.keyboard.press("t")

    server.send_signal(signal.SIGKILL)
    server.wait()
    page.keyboard.press("2")
    _stroke(page, (40, 40), (46, 40))
    page.locator(".unsaved", has_text="Not saved").wait_for(timeout=PATIENCE)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    server, _ = label()
    saved.wait_for(timeout=PATIENCE)
    page.reload()
    _opened(page)
    _until(page, lambda: _colours(page, 43, 40)[0] > 200)
    assert _colours(page, 64, 40)[0] > 200
    server.send_signal(signal.SIGTERM)
    server.wait(PATIENCE / 1000)
    labels = _labels(cells)
    assert labels[64, 40] == labels[43, 40] == 2
    assert labels[64, 100] == 1
    assert labels[100, 40] == 0


@pytest.mark.slow
def test_it_trains_by_itself_when_painting_pauses(
    visit: Callable[..., Any], label: Callable[[], Any], findings: Callable[[Any], list[str]]
) -> None:
    server, address = label()
    page = visit(address, ignore="api/project|ERR_")  # the server ends before the page
    _opened(page)
    page.locator("#train").focus()
    page.keyboard.press("Tab")
    with page.expect_response("**/api/project/automatic") as answer:
        page.keyboard.press("Space")
    assert answer.value.json()["automatic"]
    assert page.get_by_label("Train by itself when painting pauses").is_checked()
    assert findings(page) == []
    page.locator(".viewer").focus()
    page.keyboard.press("2")
    _stroke(page, (64, 25), (64, 55))
    page.keyboard.press("1")
    _stroke(page, (64, 85), (64, 118))
    assert "Pause" not in page.inner_text("#train")
    _until(page, lambda: "Pause" in page.inner_text("#train"))
    _until(page, lambda: _colours(page, 87, 40)[3] > 0 and _colours(page, 110, 100)[3] > 0)
    page.locator("#train").click()
    _until(page, lambda: "Train" in page.inner_text("#train"))
    page.reload()
    _opened(page)
    _until(page, lambda: page.get_by_label("Train by itself when painting pauses").is_checked())
    page.locator("button[lang]").click()
    assert page.get_by_label("停笔后自动训练").is_checked()
    server.send_signal(signal.SIGTERM)
    server.wait(PATIENCE / 1000)


@pytest.mark.slow
def test_tools_undo_and_keys(visit: Callable[..., Any], label: Callable[[], Any], cells: Path) -> None:
    server, address = label()
    page = visit(address, ignore="api/project|ERR_")  # the server ends before the page
    saved = _opened(page)
    page.keyboard.press("p")
    page.keyboard.press("2")
    for pixel in ((20, 20), (20, 100), (100, 100), (100, 20)):
        page.mouse.click(*_at(page, *pixel))
    page.mouse.dblclick(*_at(page, 60, 18))
    _until(page, lambda: _colours(page, 60, 60)[3] > 0)
    page.keyboard.press("e")
    _stroke(page, (60, 40), (60, 80))
    _until(page, lambda: _colours(page, 60, 60)[3] == 0)
    page.keyboard.press("f")
    page.keyboard.press("1")
    page.mouse.click(*_at(page, 60, 60))
    _until(page, lambda: _colours(page, 60, 60)[2] > 150)
    page.keyboard.press("Control+z")
    _until(page, lambda: _colours(page, 60, 60)[3] == 0)
    page.keyboard.press("Control+z")
    _until(page, lambda: _colours(page, 60, 60)[0] > 200)
    page.keyboard.press("Control+y")
    _until(page, lambda: _colours(page, 60, 60)[3] == 0)
    before = page.inner_text(".classes ~ .field output")
    page.mouse.move(*_at(page, 5, 5))
    page.mouse.wheel(0, -120)
    assert page.inner_text(".classes ~ .field output") != before
    page.locator(".viewer").focus()
    page.keyboard.press("b")
    page.keyboard.press("2")
    page.keyboard.press("Enter")  # in the middle of the view, without a pointer
    _until(page, lambda: _colours(page, 64, 64)[0] > 200)
    saved.wait_for(timeout=PATIENCE)
    page.locator("button[lang]").click()
    assert "训练" in page.inner_text("#train")
    server.send_signal(signal.SIGTERM)
    server.wait(PATIENCE / 1000)
    labels = _labels(cells)
    assert labels[64, 64] == 2
    assert labels[60, 45] == 0
    assert labels[90, 90] == 2
    assert os.path.getsize(cells / "unetkit-labels" / "journal.jsonl") > 0


def test_a_large_image_is_painted_on_in_parts_that_a_map_leads_to(
    visit: Callable[..., Any], label: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 9, (4200, 4200), np.uint8), tile=(512, 512))
    server, address = label(path)
    page = visit(address, ignore="api/project|ERR_")  # the server ends before the page
    saved = _opened(page)
    chosen = page.get_by_label("Image", exact=True)
    with page.expect_request(re.compile("/images/4/tiles/0/11/")):  # as deep as it goes: it is flown to the window
        page.keyboard.press("n")
    assert chosen.evaluate("one => one.selectedOptions[0].text") == "large-2-2"
    page.locator(".map button[title=large-2-1]").click()
    page.locator(".map button.here[title=large-2-1]").wait_for()
    page.wait_for_function("document.querySelector('main').ariaBusy === 'false'")
    page.locator(".viewer").focus()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.locator(".map button.painted[title=large-2-1]").wait_for()
    saved.wait_for(timeout=PATIENCE)
    server.send_signal(signal.SIGTERM)
    server.wait(PATIENCE / 1000)
    labels = np.array(Image.open(tmp_path / "large-labels" / "labels" / "large-2-1.png"))
    assert labels.shape == (2048, 2048)
    assert labels[1024, 1024] == 2
