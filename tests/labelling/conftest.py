"""Small projects to paint in."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unetkit.images.write import to_png
from unetkit.labelling.project import Project, open_project
from unetkit.labelling.strokes import UNCHANGED, Place, Stroke

SMALL = ("train.threads=1", "train.patch=32", "model.widths=[8,16]", "model.downscale=1", "train.batch=2")
"""A network for tests."""


def bright_discs(seed: int, side: int = 96) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return an image [side, side] of bright discs on a dark ground, and where they are."""
    rng, truth = np.random.default_rng(seed), np.zeros((side, side), bool)
    rows, columns = np.mgrid[:side, :side]
    for row, column, radius in zip(*rng.uniform(12, side - 12, (2, 6)), rng.uniform(6, 11, 6), strict=True):
        truth |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return np.clip(60 + 120 * truth + rng.normal(0, 12, truth.shape), 0, 255).astype(np.uint8), truth


class Painter:
    """Paints boxes of the truth, as a page would."""

    def __init__(self, project: Project) -> None:
        self.project, self.number = project, 0

    def box(self, place: Place, top: int, left: int, labels: NDArray[np.uint8], session: str = "tab") -> Stroke:
        self.number += 1
        stroke = Stroke(place, top, left, to_png(labels), session, self.number)
        assert self.project.paint(stroke)
        return stroke

    def lines(self, place: Place, truth: NDArray[np.bool_], every: int = 12) -> None:
        """Scribble along every so many rows."""
        for row in range(4, len(truth), every):
            labels = np.full((2, truth.shape[1]), UNCHANGED, np.uint8)
            labels[:, ::2] = truth[row : row + 2, ::2] + 1
            self.box(place, row, 0, labels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images without masks."""
    images = tmp_path / "cells"
    images.mkdir()
    for seed, name in enumerate(("a", "b")):
        Image.fromarray(bright_discs(seed)[0]).save(images / f"{name}.png")
    return images


@pytest.fixture
def opened() -> Iterator[Callable[..., Painter]]:
    """Open projects, and close them at the end."""
    projects: list[Project] = []

    def open_(path: Path, classes: Sequence[str] | None = None) -> Painter:
        projects.append(open_project(path, classes=classes))
        return Painter(projects[-1])

    yield open_
    for project in projects:
        project.close()
