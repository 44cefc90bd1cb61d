"""Open an image of 20,000 x 20,000 pixels in the page of `unetkit serve`, in a real browser, and look around in it.

    python benchmarks/serving_large.py RUN [--side 20000] [--image FILE] [--pictures FOLDER] [--append-record]

The image is a TIFF in tiles of 256 x 256, deflated, made of one generated slice again and again at changing brightness;
a file that is named is made where it is not there.
Seconds are those of a person: until the first tile is on the screen, and after every step of zooming or moving until
the last tile of the image that it asked for is there. Tiles are timed by the browser, from the request to the last
byte. The same steps are taken while the network computes, and again after the job was cancelled, when the server has
nothing else to do. Frames are the pauses between two pictures of the browser while the image is dragged. Memory is that
of the server's process without mapped files.

The browser draws without a GPU, on the same cores. Does not know what the network says.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import tifffile
import torch

from measure import append_record, circumstances
from serving import Target, served
from unetkit.data.layouts.synthetic import generate
from unetkit.images import open_image

TILE = 256
PATIENCE = 900_000
QUIET = 1.2
"""Seconds without a tile of the image after which a view is taken to be whole."""

FRAMES = """() => {
  window.frames_ = [];
  let last = performance.now();
  const tick = (now) => {
    window.frames_.push(now - last);
    last = now;
    if (!window.still_) requestAnimationFrame(tick);
  };
  window.still_ = false;
  requestAnimationFrame(tick);
}"""


def large_tiff(path: Path, side: int) -> None:
    """Write the image."""
    base = generate(slices=1, size=1000).images[0]
    base = np.tile(base, (2, 2))
    across = -(-side // TILE)

    def tiles() -> Iterator[np.ndarray]:
        for number in range(across * across):
            row, column = (TILE * place % 1000 for place in divmod(number, across))
            shade = 0.6 + 0.4 * ((number * 7919) % 97) / 96
            yield (base[row : row + TILE, column : column + TILE] * shade).astype(np.uint8)

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side),
        dtype=np.uint8,
        tile=(TILE, TILE),
        compression="zlib",
        photometric="minisblack",
        metadata=None,
    )


@dataclass(slots=True)
class Tiles:
    """Tiles that a page asked for.

    Attributes:
        open: requests of the image's own tiles that are not answered.
        asked: when the image's tiles were last asked for or came.
        first: when the first of them came.
        image: milliseconds of the image's tiles in this phase.
        layer: milliseconds of the layers' tiles in this phase.
    """

    open: int = 0
    asked: float = 0.0
    first: float = 0.0
    image: list[float] = field(default_factory=list[float])
    layer: list[float] = field(default_factory=list[float])

    def watch(self, page: Any) -> None:
        """Follow a page."""
        page.on("request", lambda one: self._count(one, 1))
        page.on("requestfailed", lambda one: self._count(one, -1))
        page.on("requestfinished", lambda one: self._came(one))

    def _count(self, request: Any, change: int) -> None:
        if "/api/images/" in request.url and "/tiles/" in request.url:
            self.open, self.asked = self.open + change, time.monotonic()

    def _came(self, request: Any) -> None:
        self._count(request, -1)
        if "/tiles/" not in request.url:
            return
        of_image = "/api/images/" in request.url
        self.first = self.first or (time.monotonic() if of_image else 0.0)
        timing = request.timing
        took = timing["responseEnd"] - max(timing["requestStart"], 0)
        (self.image if of_image else self.layer).append(took)


@contextmanager
def memory_of(target: Target) -> Iterator[list[int]]:
    """Note the memory of the server every half second."""
    found, over = [target.anonymous()], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            found.append(target.anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def until(page: Any, true: Callable[[], object], seconds: float = PATIENCE / 1000) -> float:
    """Wait, while the page's events are taken, and return the seconds."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"not reached: {page.inner_text('.side')}")
        page.wait_for_timeout(20)
    return time.monotonic() - began


def whole_after(page: Any, tiles: Tiles, act: Callable[[], object]) -> float:
    """Do something, and return the seconds from then until the last tile of the image that it asked for is there."""
    act()
    began = tiles.asked = time.monotonic()
    until(page, lambda: tiles.open == 0 and time.monotonic() - tiles.asked > QUIET)
    return max(0.0, tiles.asked - began)


def look_around(page: Any, tiles: Tiles) -> tuple[list[tuple[float, str]], list[float]]:
    """Zoom and move by keys, wheel and drag.

    Returns:
        The seconds and the name of each step, and the milliseconds between the pictures of the browser while it drags.
    """
    tiles.image, tiles.layer = [], []
    viewer = page.get_by_role("application")
    box = viewer.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.focus()
    steps = list[tuple[float, str]]()

    def step(name: str, act: Callable[[], object], times: int = 1) -> None:
        steps.extend((whole_after(page, tiles, act), name) for _ in range(times))

    def drag() -> None:
        page.mouse.down()
        for place in range(40):
            page.mouse.move(middle[0] - 8 * place, middle[1] - 6 * place)
            page.wait_for_timeout(25)
        page.mouse.up()
        page.mouse.move(*middle)

    step("all", lambda: page.keyboard.press("0"))
    step("closer", lambda: page.keyboard.press("+"), 4)
    step("right", lambda: page.keyboard.press("ArrowRight"), 3)
    page.mouse.move(*middle)
    step("wheel", lambda: page.mouse.wheel(0, -600), 3)
    step("pixel for pixel", lambda: page.keyboard.press("1"))
    step("down", lambda: page.keyboard.press("ArrowDown"), 3)
    page.evaluate(FRAMES)
    step("drag", drag, 3)
    page.evaluate("window.still_ = true")
    return steps, page.evaluate("window.frames_")


def described(name: str, steps: list[tuple[float, str]], frames: list[float], tiles: Tiles) -> str:
    """Say what a tour was like."""

    def spread(values: list[float]) -> str:
        if not values:
            return "none"
        ordered = sorted(values)
        late = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return f"{statistics.median(ordered):.0f} ms (95 %: {late:.0f}, most {ordered[-1]:.0f})"

    slowest, which = max(steps)
    return (
        f"{name}: a view is whole after {statistics.median(seconds for seconds, _ in steps):.2f} s (most "
        f"{slowest:.2f}: {which}); {len(tiles.image)} tiles of the image {spread(tiles.image)}, {len(tiles.layer)} of "
        f"layers {spread(tiles.layer)}; pictures every {spread(frames)}"
    )


def visited(target: Target, image: Path, pictures: Path) -> Iterator[str]:
    """Open the image in a browser, look around, cancel, look around again; say what was seen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, memory_of(target) as memory:
        arguments = ["--no-sandbox", "--disable-gpu"]
        chromium = which("chromium") or which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        page, tiles = browser.new_page(viewport={"width": 1280, "height": 800}), Tiles()
        page.set_default_timeout(PATIENCE)
        problems = list[str]()
        page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        tiles.watch(page)
        page.goto(f"http://127.0.0.1:{target.port}/")
        page.get_by_role("combobox", name="Model").wait_for()
        sent = list[float]()
        page.on("requestfinished", lambda one: one.url.endswith("/api/images") and sent.append(time.monotonic()))
        began = time.monotonic()
        page.locator("input[type=file]").set_input_files(image)
        until(page, lambda: page.get_by_text("Reading").is_visible() or sent)
        reading = time.monotonic()
        page.screenshot(path=pictures / "reading.png")
        until(page, lambda: sent and tiles.first)
        until(page, lambda: tiles.open == 0 and time.monotonic() - tiles.asked > QUIET)
        yield (
            f"sent after {reading - began:.1f} s, read after {sent[0] - began:.1f} s, first tile after "
            f"{tiles.first - began:.1f} s, whole image seen after {tiles.asked - began:.1f} s; memory "
            f"{max(memory) / 1e6:.0f} MB"
        )
        until(page, lambda: "Segmenting" in page.inner_text(".side"))
        yield described("while the network computes", *look_around(page, tiles), tiles)
        page.screenshot(path=pictures / "pixels.png")
        page.get_by_role("application").focus()
        page.keyboard.press("0")
        page.wait_for_timeout(5000)
        page.screenshot(path=pictures / "computing.png")
        yield f"memory {memory[-1] / 1e6:.0f} MB, most {max(memory) / 1e6:.0f} MB; the page says: {status(page)}"
        page.get_by_role("button", name="Cancel").click()
        yield f"cancelled after {until(page, lambda: 'Cancelled' in page.inner_text('.side')):.1f} s"
        yield described("afterwards", *look_around(page, tiles), tiles)
        page.screenshot(path=pictures / "cancelled.png")
        page.get_by_role("button", name="Remove the image").click()
        page.wait_for_timeout(3000)
        yield f"removed: memory {memory[-1] / 1e6:.0f} MB, {target.left()} folders on the disk; complaints: {problems}"
        browser.close()


def status(page: Any) -> str:
    """Return how far the job is."""
    return " ".join(page.locator("section", has_text="Segmenting").first.inner_text().split())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path("build/serving-large"))
    parser.add_argument("--append-record", action="store_true")
    options = parser.parse_args()
    around, lines = circumstances(("playwright", "tifffile"), torch.device("cpu")), list[str]()

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        image, folder = options.image or Path(place) / "large.tif", Path(place) / "server"
        folder.mkdir()
        if not image.exists():
            large_tiff(image, options.side)
        say(f"{' x '.join(map(str, open_image(image).shape[-2:]))} px, {image.stat().st_size / 1e6:.0f} MB on the disk")
        with served(options.run, folder) as target:
            before = target.anonymous()
            say(f"memory before: {before / 1e6:.0f} MB")
            for line in visited(target, image, options.pictures):
                say(line)
    if options.append_record:
        append_record("A large image in the page of serve", around, lines)


if __name__ == "__main__":
    main()
