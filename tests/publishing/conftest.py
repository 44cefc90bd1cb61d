"""A finished run of a small network, what only people know of it, and the data that it was trained on."""

from pathlib import Path

import pytest

import unetkit
from unetkit.data import write_sample
from unetkit.run import Run

SMALL = ["model.widths=[4,8]", "train.steps=6", "train.batch=2", "train.patch=32", "train.validate_every=3"]
SMALL += ["train.log_every=2", "train.threads=1"]

ABOUT = """
title: "Membranes | of *a* sample"
license: CC-BY-4.0
authors:
  - {name: Ada Example, affiliation: University of Somewhere, orcid: 0000-0002-1825-0097, github: ada}
citations:
  - {text: "Example (2026): Membranes", doi: 10.5281/zenodo.1}
data: {url: "https://example.org/membranes", license: CC0-1.0}
tags: [electron-microscopy]
"""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"), slices=5, size=64)


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return unetkit.train("isbi", data=data, out=tmp_path_factory.mktemp("runs") / "run", overrides=SMALL)


@pytest.fixture(scope="session")
def about(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("about") / "about.yaml"
    path.write_text(ABOUT)
    return path
