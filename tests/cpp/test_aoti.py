"""unetkit-predict with libtorch: AOTInductor's packages give the numbers that PyTorch gives."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from unetkit.exporting import FileOptions, export_network, make_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_packages(build_program: Callable[..., Path], exported: Callable, tmp_path: Path) -> None:
    place = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    program = build_program(tmp_path / "build", "-DUNETKIT_AOTI=ON", "-DUNETKIT_OPENVINO=OFF", place)
    predictor = exported().predictor
    package = export_network(make_job(predictor, FileOptions()), "aoti", tmp_path / "net.pt2").path
    pages = np.random.default_rng(1).integers(0, 256, (2, 45, 61), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    out = tmp_path / "out.tif"
    words = [str(program), str(package), str(tmp_path / "stack.tif"), "--out", str(out), "--probabilities"]
    subprocess.run(words, check=True, capture_output=True)
    expected = np.stack([predictor.probabilities(page[None])[1] for page in pages])
    np.testing.assert_allclose(tifffile.imread(out), expected, rtol=0, atol=1e-5)
    package.write_bytes(package.read_bytes()[:5000])
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"unetkit-predict: .*AOTInductor does not load it[^\n]+\n", done.stderr)
