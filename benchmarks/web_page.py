"""Compare the page of `unetkit export --to web` with PyTorch, in a real browser, on the images that a run held out.

    python benchmarks/web_page.py RUN --data DIR [--images 5] [--rounds 5] [--append-record]

The run is exported, the folder served as `python -m http.server` does, and opened in the machine's Chromium. The page's
worker decodes each image (TIFF, deflate), normalises, cuts tiles, runs the network and gives probabilities, which are
compared with those of the same network in PyTorch: the largest difference, the share of pixels of the same class, and
soft Dice against the labels. Seconds are those of the prediction alone, in the worker, on one thread of WebAssembly.
"""

import argparse
import base64
import io
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import tifffile
import torch

from measure import append_record, circumstances, spread
from unetkit import export, load
from unetkit.evaluation.evaluate import labelled
from unetkit.metrics.overlap import soft_dice
from unetkit.prediction.load import run_of

PREDICT = """
async ([card, bytes, rounds]) => {
  const worker = new Worker("worker.js", { type: "module" });
  ASK
  const { backend } = await ask({ op: "load", card });
  await ask({ op: "open", file: new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], "image.tif") });
  const image = await ask({ op: "page", page: 0 });
  const seconds = [];
  for (let round = 0; round < rounds; round += 1) {
    parts.length = 0;
    const start = performance.now();
    await ask({ op: "predict", image });
    seconds.push((performance.now() - start) / 1000);
  }
  worker.terminate();
  return { backend, seconds, parts: parts.map((part) => ({ ...part, probabilities: packed(part.probabilities) })) };
}
"""


class Silent(SimpleHTTPRequestHandler):
    """Serves without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--append-record", action="store_true")
    arguments = parser.parse_args()
    around = circumstances(("onnx", "onnxruntime", "playwright"), torch.device("cpu"))
    predictor = load(arguments.run, device="cpu")
    dataset, chosen = labelled(arguments.data, predictor.card, run_of(arguments.run))
    indices = (range(len(dataset)) if chosen is None else chosen)[: arguments.images]
    lines = list[str]()

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "site"
        card = export(arguments.run, to="web", out=site, data=arguments.data).card.model_dump(mode="json")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"{'image':<24} {'size':<12} {'largest':>9} {'equal':>10} {'page':>8} {'PyTorch':>8}  seconds")
        for name, image, labels, answer in answers(server, card, dataset, indices, arguments.rounds):
            expected = predictor.probabilities(image)
            found = np.full_like(expected, np.nan)
            for part in answer["parts"]:
                rows = slice(part["top"], part["top"] + part["height"])
                columns = slice(part["left"], part["left"] + part["width"])
                values = np.frombuffer(base64.b64decode(part["probabilities"]), np.float32)
                found[:, rows, columns] = values.reshape(len(expected), part["height"], part["width"])
            equal = (found.argmax(0) == expected.argmax(0)).mean()
            scores = [soft_dice(one, labels) for one in (found, expected)]
            say(
                f"{name:<24} {' x '.join(map(str, labels.shape)):<12} {np.abs(found - expected).max():>9.1e} "
                f"{equal:>9.4%} {scores[0]:>8.5f} {scores[1]:>8.5f}  {spread(answer['seconds'], 2)} {answer['backend']}"
            )
    if arguments.append_record:
        append_record("The page without a server against PyTorch", around, lines)


def answers(server: Any, card: Any, dataset: Any, indices: Any, rounds: int) -> Any:
    """Yield each image's name, pixels, labels, and what the page's worker gives."""
    from playwright.sync_api import sync_playwright

    ask = Path(__file__).resolve().parents[1] / "web" / "test" / "ask.js"
    script = PREDICT.replace("ASK", ask.read_text(encoding="utf-8"))
    chromium = which("chromium") or which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        for index in indices:
            sample = dataset[index]
            stored = io.BytesIO()
            pixels = sample.pixels[0] if len(sample.pixels) == 1 else np.moveaxis(sample.pixels, 0, -1)
            tifffile.imwrite(
                stored, pixels, photometric="minisblack" if pixels.ndim == 2 else "rgb", compression="zlib"
            )
            packed = base64.b64encode(stored.getvalue()).decode()
            yield sample.name, sample.pixels, sample.labels, page.evaluate(script, [card, packed, rounds])
        browser.close()


if __name__ == "__main__":
    main()
