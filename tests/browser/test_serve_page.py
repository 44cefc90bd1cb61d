"""The page of `unetkit serve` in a real browser, against a real server: files, keys, states."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from unetkit import predict_file
from unetkit.config import ModelConfig, ObjectsConfig
from unetkit.modelfile.card import ModelCard
from unetkit.modelfile.checkpoint import Checkpoint
from unetkit.models import build_model

Visit = Callable[..., Any]
Drop = Callable[[Any, Path], None]

NAMES = (
    "one.ariaLabel || one.labels?.[0]?.textContent || one.textContent.trim() || one.closest('[aria-label]')?.ariaLabel"
)
"""The name of the control `one`, in the page's language."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights whose two classes are about as frequent."""
    model = ModelConfig(in_channels=1, num_classes=2, width=4, depth=2)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        module = build_model(model).eval()
        logits = module(torch.randn(1, 1, 96, 96))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    state["head.bias"] -= logits.mean((0, 2, 3))
    objects = ObjectsConfig(method="components", min_size=4)
    card = ModelCard(model=model, classes=("background", "cell"), mean=(128.0,), std=(60.0,), objects=objects)
    path = tmp_path_factory.mktemp("network") / "cells.safetensors"
    Checkpoint(card=card, tensors=state).save(path)
    return path


def discs(height: int, width: int) -> NDArray[np.uint8]:
    """Return bright discs on a dark ground."""
    rows, columns = np.mgrid[:height, :width]
    image = np.full((height, width), 60.0)
    for number, (y, x) in enumerate([(30, 40), (80, 120), (120, 60)]):
        image[(rows - y) ** 2 + (columns - x) ** 2 < (10 + 4 * number) ** 2] = 210
    return (image + np.random.default_rng(2).normal(size=image.shape) * 3).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def server(network: Path, bundles: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "unetkit", "serve", str(network), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A file of two slices."""
    path = tmp_path / "discs.tif"
    tifffile.imwrite(path, np.stack([discs(150, 180), discs(150, 180)[::-1]]), photometric="minisblack")
    return path


def finished(page: Any) -> Any:
    """Wait until the image is segmented."""
    page.get_by_role("status").get_by_text(re.compile("^(Done|完成)$")).wait_for()
    return page


def test_what_is_downloaded_is_byte_for_byte_the_command_s(
    server: str, network: Path, visit: Visit, stack: Path, tmp_path: Path, drop: Drop
) -> None:
    page = visit(server)
    drop(page, stack)
    finished(page)
    for output, suffix, given in (("Masks", ".tif", {}), ("Probabilities", ".tif", {"probabilities": True})):
        page.get_by_label("File", exact=True).select_option(label=f"{output} {suffix}")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        expected = tmp_path / f"{output}{suffix}"
        predict_file(network, stack, expected, **given)
        assert Path(download.value.path()).read_bytes() == expected.read_bytes(), output


def test_an_object_is_found_by_its_row(server: str, visit: Visit, stack: Path, drop: Drop) -> None:
    page = visit(server)
    drop(page, stack)
    finished(page)
    rows = page.get_by_role("grid").locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() > 2
    page.get_by_role("button", name="Area").press("Enter")
    page.get_by_role("button", name="Area").press("Enter")
    areas = [int(text.replace(",", "")) for text in page.locator("tbody tr td:nth-child(4)").all_inner_texts()]
    assert areas == sorted(areas, reverse=True)
    viewer = page.get_by_role("application")
    page.wait_for_timeout(500)
    before = viewer.screenshot()
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert rows.nth(1).get_attribute("aria-selected") == "true"
    page.wait_for_timeout(800)
    assert viewer.screenshot() != before
    of_row = rows.nth(1).locator("td").nth(2).inner_text()
    page.get_by_text(f"{of_row}/2", exact=True).wait_for()


def test_a_threshold_is_seen_at_once_and_applied_on_request(
    server: str, network: Path, visit: Visit, stack: Path, tmp_path: Path, drop: Drop
) -> None:
    page = visit(server)
    drop(page, stack)
    finished(page)
    page.get_by_label("Threshold").press("End")
    page.get_by_text("So far in the view alone").wait_for()
    page.get_by_role("button", name="Apply to files and objects").click()
    page.get_by_text("So far in the view alone").wait_for(state="hidden")
    finished(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    predict_file(network, stack, tmp_path / "masks.tif", options={"threshold": 0.98, "objects.threshold": 0.98})
    assert Path(download.value.path()).read_bytes() == (tmp_path / "masks.tif").read_bytes()


def test_every_control_is_reached_and_used_by_keyboard_alone(server: str, visit: Visit, stack: Path) -> None:
    page, choosers = visit(server), list[Any]()
    page.on("filechooser", lambda one: choosers.append(one))
    page.get_by_role("combobox", name="Model").wait_for()
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Choose an image":
            break
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files(stack)
    finished(page)
    page.get_by_role("grid").locator("tbody tr").first.wait_for()
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(f"(() => {{ const one = document.activeElement; return {NAMES}; }})()"))
    controls = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a, [tabindex=\"0\"]')].filter((one) =>"
        f" one.checkVisibility() && !one.disabled && one.type !== 'file').map((one) => {NAMES})"
    )
    assert set(controls) <= seen
    assert len(controls) > 20
    page.get_by_role("application").focus()
    page.keyboard.press("PageDown")
    page.get_by_text("2/2", exact=True).wait_for()
    page.keyboard.press("m")
    assert not page.get_by_label("Mask", exact=True).is_checked()
    page.get_by_role("button", name="Remove the image").press("Enter")
    page.get_by_text("Drop an image here").wait_for()


def test_nobody_is_shut_out(
    server: str, visit: Visit, stack: Path, findings: Callable[[Any], list[str]], drop: Drop
) -> None:
    for options in ({"color_scheme": "light"}, {"color_scheme": "dark", "locale": "zh-CN"}):
        page = visit(server, **options)
        page.get_by_role("combobox").first.wait_for()
        assert findings(page) == []
        drop(page, stack)
        finished(page)
        page.get_by_role("grid").locator("tbody tr").first.wait_for()
        assert findings(page) == []


def test_what_is_no_image_is_the_server_s_one_line(server: str, visit: Visit, tmp_path: Path, drop: Drop) -> None:
    (tmp_path / "notes.txt").write_text("no image at all")
    page = visit(server, ignore="422")
    page.get_by_role("combobox", name="Model").wait_for()
    drop(page, tmp_path / "notes.txt")
    page.get_by_role("alert").get_by_text("notes.txt: ").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("alert").get_by_text("notes.txt: ").wait_for(state="hidden")
    page.get_by_text("Drop an image here").wait_for()


def test_an_image_is_deleted_with_its_page(server: str, visit: Visit, stack: Path, drop: Drop) -> None:
    page = visit(server)
    drop(page, stack)
    finished(page)
    address = page.get_by_role("link", name="Download").get_attribute("href")
    cookies = page.context.cookies()
    with page.expect_response(lambda one: one.request.method == "DELETE") as answer:
        page.get_by_role("button", name="Remove the image").click()
    assert answer.value.status == 204
    assert page.context.request.get(server.rstrip("/") + address).status == 404, cookies


@pytest.fixture
def own(network: Path, bundles: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that a test may harm: its address and its process."""
    command = [sys.executable, "-m", "unetkit", "serve", str(network), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line))), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="servers are started again on Linux alone")
def test_a_crash_of_the_server_is_told_and_the_image_can_be_sent_again(
    own: tuple[str, subprocess.Popen[str]], visit: Visit, stack: Path, tmp_path: Path, drop: Drop
) -> None:
    address, process = own
    page = visit(address, ignore="ERR_|404")
    large = tmp_path / "large.tif"
    tifffile.imwrite(large, np.random.default_rng(0).integers(0, 255, (4000, 4000), np.uint8), tile=(256, 256))
    page.locator("input[type=file]").set_input_files(large)
    page.get_by_role("status").get_by_text("Segmenting").wait_for()
    server = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(server, signal.SIGSEGV)
    told = page.get_by_role("alert").get_by_text(re.compile("The server ended .* Send the image again"))
    told.wait_for(timeout=300_000)  # it loads PyTorch anew
    page.get_by_role("status").get_by_text("Failed").wait_for()
    drop(page, stack)
    finished(page)
    assert page.get_by_role("alert").count() == 0


def test_a_tile_that_does_not_come_is_told_as_the_server_tells_it(
    server: str, visit: Visit, stack: Path, drop: Drop
) -> None:
    page = visit(server, ignore="404")
    with page.expect_response(lambda answer: answer.url.endswith("/api/images")) as sent:
        drop(page, stack)
    finished(page)
    assert page.request.delete(f"{server}api/images/{sent.value.json()['id']}").status == 204
    page.get_by_label("Black").press("ArrowRight")
    page.get_by_role("alert").get_by_text("there is no such image (any more); send it again").wait_for()


def test_the_channel_is_chosen_where_the_network_takes_fewer(
    server: str, network: Path, visit: Visit, tmp_path: Path, drop: Drop
) -> None:
    page, path, expected = visit(server), tmp_path / "colour.png", tmp_path / "mask.png"
    Image.fromarray(np.stack([discs(150, 180), discs(150, 180)[::-1], discs(150, 180)[:, ::-1]], -1)).save(path)
    drop(page, path)
    page.get_by_text("The network takes 1 of the 3 channels").wait_for()
    page.get_by_label("Channel 1").select_option("2")
    page.get_by_role("button", name="Segment").click()
    finished(page)
    page.get_by_label("File", exact=True).select_option(label="Masks .png")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    predict_file(network, path, expected, options={"overrides": ["predict.channels=[1]"]})
    assert Path(download.value.path()).read_bytes() == expected.read_bytes()
