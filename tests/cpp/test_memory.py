"""unetkit-predict under the sanitisers: right on good files, and nothing but a line on damaged ones."""

import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def sanitised(tmp_path_factory: pytest.TempPathFactory, build_program: Callable[..., Path]) -> Path:
    return build_program(tmp_path_factory.mktemp("asan"), "-DUNETKIT_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")


def run(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    words = tuple(map(str, words))
    done = subprocess.run([str(program), *words], capture_output=True, text=True, timeout=300, check=False)
    assert not re.search("Sanitizer|runtime error", done.stderr), done.stderr[-3000:]
    assert done.returncode in (0, 2), (words, done)
    if done.returncode == 2:
        assert re.fullmatch(r"unetkit-predict: [^\n]+\n", done.stderr), done.stderr
    return done


def files(folder: Path) -> Iterator[Path]:
    """Write a small file of every form."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, 20, 24), np.uint8)
    forms = [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": 2, "rowsperstrip": 7},
        {"compression": "packbits"},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True},
    ]
    for number, form in enumerate(forms):
        path = folder / f"{number}.tif"
        tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **form})
        yield path
    for number, image in enumerate((pixels[0], pixels[0].astype(np.uint16) * 257, pixels[0] > 100)):
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        yield path


def repaired(content: bytes) -> bytes:
    """Return a PNG whose checksums fit again, so that damage reaches the decoder."""
    result, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        if size > len(content) - at - 12:
            return content
        part = content[at + 4 : at + 8 + size]
        result += struct.pack(">I", size) + part + struct.pack(">I", zlib.crc32(part))
        at += size + 12
    return bytes(result)


def damages(content: bytes, count: int) -> Iterator[bytes]:
    """Yield the content cut short, with flipped bits, and with bytes set to their largest value."""
    random = np.random.default_rng(len(content))
    for number in range(count):
        changed = bytearray(content)
        for _ in range(1 + number % 3):
            at = int(random.integers(len(changed))) if number % 2 else int(random.integers(min(200, len(changed))))
            changed[at] = 255 if number % 5 == 0 else changed[at] ^ 1 << int(random.integers(8))
        if number % 4 == 0:
            del changed[int(random.integers(len(changed))) :]
        yield repaired(bytes(changed)) if content.startswith(b"\x89PNG") else bytes(changed)


def test_good_and_damaged_images(sanitised: Path, exported: Callable, tmp_path: Path) -> None:
    network, out = exported().path, tmp_path / "out.tif"
    folder = tmp_path / "files"
    folder.mkdir()
    originals = list(files(folder))
    for path in originals:
        assert run(sanitised, network, path, "--out", out, "--tile", 16, "--overlap", 4, "--tta").returncode == 0
        assert run(sanitised, network, path, "--labels", path, "--out", out, "--probabilities").returncode in (0, 2)
        for content in damages(path.read_bytes(), 24):
            damaged = tmp_path / f"damaged{path.suffix}"
            damaged.write_bytes(content)
            run(sanitised, network, damaged, "--out", out)
    assert run(sanitised, network, folder, "--out", tmp_path / "all").returncode in (0, 2)


def test_damaged_cards(sanitised: Path, exported: Callable, tmp_path: Path) -> None:
    network = exported().path
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((20, 20), np.uint8))
    text, path = network.read_text(), tmp_path / "net.xml"
    path.with_suffix(".bin").write_bytes(network.with_suffix(".bin").read_bytes())
    found = re.search(r'<unetkit value="([^"]*)"', text)
    assert found is not None
    for content in damages(found[1].encode(), 60):
        card = content.decode(errors="ignore")
        card = re.sub(r'[<>"\x00-\x1f]|&(?!quot;)', "", card)
        path.write_text(text.replace(found[1], card))
        run(sanitised, path, tmp_path / "image.tif", "--out", tmp_path / "out.tif")


@pytest.mark.parametrize(
    "options", [{}, {"padding": "valid"}, {"in_channels": 3, "num_classes": 300, "downscale": 2}], ids=str
)
def test_networks(sanitised: Path, exported: Callable, tmp_path: Path, options: dict[str, object]) -> None:
    pixels = np.zeros((30, 41, 3) if "in_channels" in options else (30, 41), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    network = exported(**options).path
    for words in ([], ["--tta"], ["--tile", 24, "--overlap", 4], ["--probabilities"]):
        out = tmp_path / ("out.tif" if words == ["--probabilities"] else "out.png")
        assert run(sanitised, network, tmp_path / "image.png", "--out", out, *words).returncode == 0
