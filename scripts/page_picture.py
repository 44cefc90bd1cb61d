"""Draw docs/pictures/page.png: the page of `unetkit serve` with an image, as the machine's Chromium shows it.

python scripts/page_picture.py MODEL IMAGE [--out docs/pictures/page.png]
"""

import argparse
import io
import re
import signal
import subprocess
import sys
from pathlib import Path
from shutil import which

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "page.png"
COLOURS = 96


def main() -> None:
    """Serve the model, show it the image, and keep what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("image")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "unetkit", "serve", arguments.model, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1240, "height": 760}, locale="en-US")
            page.set_default_timeout(600_000)
            page.goto(address)
            page.set_input_files("input[type=file]", arguments.image)
            page.get_by_role("grid").locator("tbody tr").first.wait_for()
            page.wait_for_timeout(2000)
            shown = Image.open(io.BytesIO(page.screenshot()))
            browser.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    shown.convert("RGB").quantize(COLOURS).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
