"""Measure how long it takes from the first strokes to the first prediction, through the whole path of `unetkit label`.

    python benchmarks/labelling_first.py DIR/train-volume.tif DIR/train-labels.tif

The command is started on one section of a stack without masks. After a while, in which a person would look at the
image, training is started and six strokes of 40 x 4 px go to the server, one after the other, as the page sends them,
each pixel in the colour of its class. What is measured is the time from the first of them to the event that tells of
the first prediction of the section, and how long a stroke takes to be answered.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image as Pillow

from measure import circumstances, spread
from unetkit.images import open_image
from unetkit.images.write import to_png

STROKES = 6


def main() -> int:
    """Measure once and print the times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--look", type=float, default=20.0, help="seconds before the first stroke")
    options = parser.parse_args()
    around = circumstances((), torch.device("cpu"))
    truth = (open_image(options.labels).read(0)[0] > 0).astype(np.uint8) + 1
    with tempfile.TemporaryDirectory() as folder:
        Pillow.fromarray(open_image(options.images).read(0)[0]).save(Path(folder) / "section.png")
        command = [sys.executable, "-m", "unetkit", "label", folder, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdout is not None
        try:
            address = next(line.split()[1].rstrip("/") for line in server.stdout if line.startswith("open: "))
            answered, first = measure(address, truth, options.look)
        finally:
            server.terminate()
            server.wait()
    height, width = truth.shape
    print(f"{around.machine}; load before {around.load}; {around.versions}; {around.date}")
    print(f"{height} x {width} px: a stroke is answered after {spread(answered, 3)} s")
    print(f"first prediction {first:.1f} s after the first stroke was sent")
    return 0


def measure(address: str, truth: np.ndarray, look: float) -> tuple[list[float], float]:
    """Return the seconds of each stroke, and from the first one to the first prediction."""
    answered, rng = list[float](), np.random.default_rng(0)
    with httpx.Client(base_url=address, timeout=300) as client:
        session = client.get("/api/project").json()["session"]
        time.sleep(look)
        with client.stream("GET", f"/api/project/events?session={session}", timeout=300) as events:
            client.post("/api/project/train", json={"state": "start"}).raise_for_status()
            begun = time.perf_counter()
            for number in range(1, STROKES + 1):
                row, column = rng.integers(40, min(truth.shape) - 40, 2).tolist()
                png = to_png(np.ascontiguousarray(truth[row - 20 : row + 20, column - 2 : column + 2]))
                stroke = {"page": 0, "number": number, "session": session, "box": [row - 20, column - 2, 40, 4]}
                sent = time.perf_counter()
                body = json.dumps(stroke | {"png": base64.b64encode(png).decode()})
                client.post("/api/project/images/0/strokes", content=body).raise_for_status()
                answered.append(time.perf_counter() - sent)
            for line in events.iter_lines():
                if line == "event: prediction":
                    break
            return answered, time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
