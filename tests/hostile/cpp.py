"""The C++ program under the sanitisers, with damaged images, label files, networks and cards; a table.

    python tests/hostile/cpp.py PROGRAM [--count 1000] [--seed 0]

PROGRAM is built with -DUNETKIT_SANITIZE=ON (docs/cpp.md). Each run ends with 0, or with 2 and one line; anything else,
a finding of AddressSanitizer or UndefinedBehaviorSanitizer, or more than 60 seconds, is printed and ends with 1.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import quoteattr, unescape

import numpy as np
import seeds
import tifffile
import torch
from files import mutated
from PIL import Image

from unetkit.config import ModelConfig
from unetkit.exporting import FileOptions, export_network, make_job
from unetkit.modelfile.card import ModelCard
from unetkit.models import build_model
from unetkit.prediction import Predictor

OUTCOMES = ("tried", "done", "refused", "sanitizer", "crash", "hang")


def network_in(folder: Path) -> Path:
    """Export a small network to OpenVINO."""
    model = ModelConfig(in_channels=1, num_classes=2, width=2, depth=1)
    network = build_model(model).eval()
    card = ModelCard(model=model, classes=("membrane", "interior"), mean=(120.0,), std=(40.0,))
    predictor = Predictor(network, network.geometry, card, torch.device("cpu"))
    return export_network(make_job(predictor, FileOptions()), "openvino", folder / "net.xml").path


def with_damaged_card(network: Path, draw: random.Random) -> None:
    """Change the card inside a network's file, which stays well-formed XML."""
    text = network.read_text(encoding="utf-8")
    found = re.search(r"<unetkit value=(\"[^\"]*\"|'[^']*')", text)
    assert found is not None
    card = unescape(found[1][1:-1], {"&quot;": '"', "&apos;": "'"})
    changed = mutated(card.encode(), draw).decode(errors="replace")
    changed = re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd]", "?", changed)
    # The file has the card twice, and the last one counts.
    network.write_text(text.replace(found[1], quoteattr(changed)), encoding="utf-8")


def run(program: Path, count: int, seed: int) -> tuple[dict[str, Counter[str]], list[str]]:
    """Run the program on damaged files, one at a time, and return how many ended how, by what was damaged."""
    root, draw, found = Path(tempfile.mkdtemp(prefix="unetkit-cpp-")), random.Random(seed), list[str]()
    table = dict[str, Counter[str]]()
    for name in ("seeds", "network"):
        (root / name).mkdir()
    network, images = network_in(root / "network"), list(seeds.images(root / "seeds").values())
    images = [path for path in images if path.suffix in (".tif", ".png")]
    tifffile.imwrite(root / "labels.tif", seeds.PIXELS.labels)
    Image.fromarray(np.uint8(seeds.PIXELS.labels[0])).save(root / "labels.png")
    parts = ("image", "image", "labels", "card", "card", "network", "weights")
    for number in range(count):
        folder, part = root / "case", parts[number % len(parts)]
        shutil.copytree(network.parent, folder)
        image = folder / "image.tif"
        good = draw.choice(images) if part == "image" else root / "seeds" / "images" / "plain.tif"
        image = Path(shutil.copy(good, folder / good.name))
        labels = Path(shutil.copy(root / "labels.tif", folder / "labels.tif"))
        damaged = {"image": image, "labels": labels, "network": folder / "net.xml", "weights": folder / "net.bin"}
        if part == "card":
            with_damaged_card(folder / "net.xml", draw)
        else:
            damaged[part].write_bytes(mutated(damaged[part].read_bytes(), draw))
        command = [str(program), str(folder / "net.xml"), str(image), "--out", str(folder / "out.tif")]
        command += ["--labels", str(labels)] if part == "labels" else []
        outcome, said = "done", ""
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
            said = done.stderr
            if re.search("Sanitizer|runtime error", said):
                outcome = "sanitizer"
            elif done.returncode == 2 and re.fullmatch(r"unetkit-predict: [^\n]+\n", said):
                outcome = "refused"
            elif done.returncode != 0:
                outcome, said = "crash", f"ended with {done.returncode}: {said}"
        except subprocess.TimeoutExpired:
            outcome = "hang"
        table.setdefault(part, Counter()).update(("tried", outcome))
        if outcome not in ("done", "refused"):
            found.append(f"{part}, case {number}: {outcome}\n{said[:3000]}")
            print(found[-1], file=sys.stderr, flush=True)
        if (number + 1) % 20 == 0:
            print(f"{number + 1} of {count} runs; {len(found)} bad", file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(root)
    return table, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table, found = run(given.program, given.count, given.seed)
    print(f"{'damaged':<12}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for name, counts in {**table, "all": sum(table.values(), Counter[str]())}.items():
        print(f"{name:<12}" + "".join(f"{counts[outcome]:>10}" for outcome in OUTCOMES))
    print(*found, sep="\n\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
