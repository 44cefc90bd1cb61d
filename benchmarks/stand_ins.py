"""Generated pictures of the kinds that data sets have and that are not at hand: retinas, glands, blood cells, nuclei.

What matters is what such a set has in common and what tells its images apart: all retinas share disc, nerve and light;
all blood cells lie in the middle on one ground; glands have dark rims inside their outlines and bright middles; masks
are drawn by hand, a little off and a little smooth. They measure nothing about real tissue.

Legend of shapes: H height, W width.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from unetkit.data import InMemory, Sample

Floats = NDArray[np.float32]


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Floats:
    """Return smooth noise [H, W] of mean 0 and deviation 1, with structure of `scale` pixels."""
    small = [max(2, int(np.ceil(side / max(scale, 1))) + 3) for side in shape]
    values = rng.standard_normal(small).astype(np.float32)
    if scale > 1:
        grown: Floats = ndimage.zoom(
            values, [side / (few - 2) for side, few in zip(shape, small, strict=True)], order=3
        )
        values = grown[: shape[0], : shape[1]]
    values = values[: shape[0], : shape[1]]
    return (values - values.mean()) / values.std()


def hand_drawn(rng: np.random.Generator, mask: NDArray[np.bool_], wobble: float) -> NDArray[np.bool_]:
    """Return a mask whose outline strays by about `wobble` pixels, as a hand does."""
    inside = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return ndimage.gaussian_filter(inside, 1.5) + wobble * noise(rng, mask.shape, 15) > 0


def coloured(grounds: list[tuple[Any, tuple[float, float, float]]], shape: tuple[int, int]) -> Floats:
    """Paint (opacity [H, W], colour) one over the other; return [3, H, W]."""
    picture = np.zeros((3, *shape), np.float32)
    for opacity, colour in grounds:
        picture += np.asarray(opacity, np.float32) * (np.array(colour, np.float32)[:, None, None] - picture)
    return picture


def stored(picture: Floats, rng: np.random.Generator, grain: float) -> NDArray[np.uint8]:
    """Return a picture [C, H, W] with grain, as eight bits."""
    return (picture + rng.normal(0, grain, picture.shape)).round().clip(0, 255).astype(np.uint8)


def retina(rng: np.random.Generator, number: int, shape: tuple[int, int] = (584, 565)) -> Sample:
    """Draw the fundus of an eye: field of view, disc, nerve, and vessels that branch from the disc."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    side = 1 if rng.random() < 0.5 else -1
    middle = np.array(shape) / 2
    field = np.hypot(y - middle[0], x - middle[1]) < 0.46 * min(shape)
    disc = middle + np.array([rng.normal(0, 12), side * 0.3 * shape[1] + rng.normal(0, 10)])
    vessels = np.zeros(shape, np.float32)
    tips = [(disc, angle + rng.normal(0, 0.2), rng.uniform(4, 6)) for angle in (0.6, 1.2, -0.6, -1.2, 2.2, -2.2)]
    while tips:
        place, angle, width = tips.pop()
        if side > 0 and place is disc:
            angle = np.pi - angle
        for _ in range(int(rng.uniform(60, 220))):
            place = place + np.array([np.sin(angle), np.cos(angle)]) * 1.5
            angle += rng.normal(0, 0.05)
            width *= 0.9985
            row, column = place.round().astype(int)
            if not (5 < row < shape[0] - 6 and 5 < column < shape[1] - 6) or width < 0.7:
                break
            window = (slice(row - 5, row + 6), slice(column - 5, column + 6))
            distance = np.hypot(y[window] - place[0], x[window] - place[1])
            vessels[window] = np.maximum(vessels[window], (width / 2 + 0.5 - distance).clip(0, 1))
            if rng.random() < 0.012 and width > 1.4:
                tips.append((place, angle + rng.choice((-1, 1)) * rng.uniform(0.5, 1.0), width * 0.8))
        else:
            if width > 1.0:
                tips += [(place, angle + 0.5, width * 0.8), (place, angle - 0.4, width * 0.75)]
    light = 1 - 0.35 * np.hypot(y - middle[0], x - middle[1]) / min(shape) + 0.05 * noise(rng, shape, 120)
    glow = np.exp(-((np.hypot(y - disc[0], x - disc[1]) / 38) ** 4))
    spot = np.exp(-((np.hypot(y - middle[0], x - middle[1] + side * 20) / 50) ** 2))
    picture = coloured([(1, (190, 95, 45)), (0.3 * spot, (110, 40, 25)), (0.8 * glow, (250, 210, 130))], shape)
    picture *= (light * (1 - 0.35 * ndimage.gaussian_filter(vessels, 1)))[None] * rng.uniform(0.8, 1.1)
    picture += 3 * noise(rng, shape, 6)
    labels = ((vessels > 0.5) & field).astype(np.uint8)
    picture = np.where(field, picture, 2)
    return Sample(f"retina {number:03}", stored(picture, rng, 4), labels, valid=field)


def blobs(rng: np.random.Generator, shape: tuple[int, int], count: int, radius: float) -> NDArray[np.int32]:
    """Return `count` rough round objects [H, W], that may touch but not overlap."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    ids, best = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for index in range(1, count + 1):
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        across, long = radius * rng.uniform(0.7, 1.3), rng.uniform(1, 1.7)
        angle = rng.uniform(0, np.pi)
        along = (y - row) * np.sin(angle) + (x - column) * np.cos(angle)
        aside = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        bend = np.arctan2(aside, along)
        rough = 1 + sum(rng.normal(0, 0.1 / k) * np.cos(k * bend + rng.uniform(0, 6)) for k in range(2, 6))
        depth = rough - np.hypot(along / long, aside) / across
        ids = np.where(depth > best, index, ids).astype(np.int32)
        best = np.maximum(best, depth)
    return ids


def glands(rng: np.random.Generator, number: int) -> Sample:
    """Draw stained tissue: glands with a rim of dark nuclei around a pale middle, in stroma full of nuclei."""
    shape = ((522, 775), (433, 574))[number % 5 == 0]
    ids = blobs(rng, shape, int(rng.integers(3, 14)), rng.uniform(35, 80))
    inside = ndimage.distance_transform_edt(ids > 0).astype(np.float32)
    for index in range(1, int(ids.max()) + 1):
        ids[(ids == index) & (inside < 2) & ndimage.binary_dilation((ids > 0) & (ids != index), iterations=2)] = 0
    depth = ndimage.distance_transform_edt(ids > 0).astype(np.float32)
    rim = np.exp(-(((depth - rng.uniform(6, 12)) / 5) ** 2)) * (ids > 0)
    lumen = 1 / (1 + np.exp((rng.uniform(22, 40) - depth) / 2))
    grains = noise(rng, shape, 5) > 1.3
    picture = coloured(
        [
            (1, (215 + rng.normal(0, 8), 150 + rng.normal(0, 10), 190)),
            (0.5 * (noise(rng, shape, 25) > 0.4), (235, 200, 225)),
            (0.7 * ndimage.gaussian_filter((grains & (ids == 0)).astype(np.float32), 1), (120, 80, 150)),
            (0.55 * (ids > 0), (225, 185, 215)),
            (0.8 * rim * (0.6 + 0.4 * (noise(rng, shape, 6) > -0.3)), (110, 60, 140)),
            (0.9 * lumen, (240, 232, 240)),
        ],
        shape,
    )
    picture = ndimage.gaussian_filter(picture, (0, 1, 1)) + 6 * noise(rng, shape, 8)
    drawn = np.zeros(shape, np.int32)
    for index in range(1, int(ids.max()) + 1):
        drawn[hand_drawn(rng, ids == index, 2.5)] = index
    return Sample(f"gland {number:03}", stored(picture, rng, 5), (drawn > 0).astype(np.uint8), drawn)


def blood_cell(rng: np.random.Generator, number: int) -> Sample:
    """Draw one white cell in the middle among red ones; the classes are background, its cytoplasm, its nucleus."""
    shape = (120, 120)
    y, x = np.mgrid[:120, :120].astype(np.float32)
    row, column = 60 + rng.normal(0, 3, 2)
    radius = rng.uniform(26, 38)
    bend = np.arctan2(y - row, x - column)
    rough = 1 + sum(rng.normal(0, 0.05 / k) * np.cos(k * bend + rng.uniform(0, 6)) for k in range(2, 6))
    cell = np.hypot(y - row, x - column) < radius * rough
    lobes = int(rng.integers(1, 5))
    share = rng.uniform(0.55, 0.93) if lobes == 1 else rng.uniform(0.35, 0.5)
    nucleus = np.zeros(shape, bool)
    for _ in range(lobes):
        apart = radius * (0.05 if lobes == 1 else 0.42)
        turn = rng.uniform(0, 2 * np.pi)
        centre = (row + apart * np.sin(turn), column + apart * np.cos(turn))
        nucleus |= np.hypot(y - centre[0], x - centre[1]) < radius * share * rough * rng.uniform(0.9, 1)
    nucleus &= cell
    red = blobs(rng, shape, int(rng.integers(3, 12)), rng.uniform(14, 18)) > 0
    picture = coloured(
        [
            (1, (236 + rng.normal(0, 4), 214 + rng.normal(0, 4), 170)),
            (0.7 * ndimage.gaussian_filter((red & ~cell).astype(np.float32), 1), (200, 150, 120)),
            (0.8 * ndimage.gaussian_filter(cell.astype(np.float32), 1), (190, 170, 200 + rng.normal(0, 6))),
            (0.9 * ndimage.gaussian_filter(nucleus.astype(np.float32), 1), (95 + rng.normal(0, 10), 50, 130)),
        ],
        shape,
    )
    picture += 5 * noise(rng, shape, 4) * (1 + nucleus)
    labels = hand_drawn(rng, cell, 0.7).astype(np.uint8)
    labels[hand_drawn(rng, nucleus, 0.7) & (labels > 0)] = 2
    return Sample(f"blood {number:03}", stored(picture, rng, 3), labels)


def fluorescent(rng: np.random.Generator, number: int) -> Sample:
    """Draw glowing nuclei on black, dim or bright, some of them touching, 16 bits."""
    shape = (256, 256)
    ids = blobs(rng, shape, int(rng.integers(4, 40)), rng.uniform(8, 16))
    glow = ndimage.gaussian_filter((ids > 0) * rng.uniform(0.4, 1, int(ids.max()) + 1)[ids], rng.uniform(0.8, 2))
    level = rng.uniform(800, 6000)
    picture = 200 + level * glow * (1 + 0.15 * noise(rng, shape, 4)) + rng.normal(0, 30, shape)
    return Sample(
        f"fluorescent {number:03}", picture.clip(0, 65535).astype(np.uint16)[None], (ids > 0).astype(np.uint8), ids
    )


def phase(rng: np.random.Generator, number: int) -> Sample:
    """Draw cells with bright halos whose insides are as grey as the ground, 16 bits."""
    shape = (400, 400)
    ids = blobs(rng, shape, int(rng.integers(8, 30)), rng.uniform(16, 24))
    depth = ndimage.distance_transform_edt(ids > 0) - ndimage.distance_transform_edt(ids == 0)
    halo = np.exp(-(((depth + 2) / 2.5) ** 2)) - 0.6 * np.exp(-(((depth - 4) / 3) ** 2))
    picture = 20000 + 9000 * halo + 2500 * noise(rng, shape, 3) * (depth > 0) + 900 * noise(rng, shape, 60)
    picture += rng.normal(0, 500, shape)
    drawn = watershed(-depth, ids, mask=hand_drawn(rng, ids > 0, 1.2)).astype(np.int32)
    return Sample(
        f"phase {number:03}", picture.clip(0, 65535).astype(np.uint16)[None], (drawn > 0).astype(np.uint8), drawn
    )


def lesion(rng: np.random.Generator, number: int) -> Sample:
    """Draw one dark patch on skin with a soft outline that is labelled generously, and hairs."""
    shape = (256, 320)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    row, column = 128 + rng.normal(0, 12), 160 + rng.normal(0, 15)
    bend = np.arctan2(y - row, x - column)
    rough = 1 + sum(rng.normal(0, 0.15 / k) * np.cos(k * bend + rng.uniform(0, 6)) for k in range(2, 7))
    depth = rng.uniform(40, 85) * rough - np.hypot((y - row) * rng.uniform(0.8, 1.2), x - column)
    dark = 1 / (1 + np.exp(-depth / rng.uniform(2, 8)))
    hairs = sum(
        np.exp(-(((x - rng.uniform(0, 320)) * np.cos(a) + (y - rng.uniform(0, 256)) * np.sin(a)) ** 2))
        for a in rng.uniform(0, np.pi, int(rng.integers(0, 8)))
    )
    picture = coloured(
        [(1, (205, 160, 140)), (0.65 * dark, (110, 70, 60)), (0.6 * np.asarray(hairs), (50, 35, 30))], shape
    )
    picture *= 1 - 0.1 * np.hypot(y - 128, x - 160) / 160 + 0.03 * noise(rng, shape, 10)
    labels = hand_drawn(rng, depth > -rng.uniform(0, 4), 2).astype(np.uint8)
    return Sample(f"lesion {number:03}", stored(picture, rng, 4), labels)


KINDS: dict[str, tuple[Callable[[np.random.Generator, int], Sample], int, tuple[str, ...]]] = {
    "retinas": (retina, 20, ("background", "vessel")),
    "glands": (glands, 40, ("background", "gland")),
    "blood cells": (blood_cell, 150, ("background", "cytoplasm", "nucleus")),
    "fluorescence": (fluorescent, 60, ("background", "nucleus")),
    "phase contrast": (phase, 24, ("background", "cell")),
    "lesions": (lesion, 60, ("background", "lesion")),
}
"""How one image of each kind is drawn, how many a set has, and its classes."""


def stand_in(kind: str, seed: int = 0) -> InMemory:
    """Return a generated set of one of `KINDS`."""
    draw, count, classes = KINDS[kind]
    samples = [draw(np.random.default_rng([seed, number]), number) for number in range(count)]
    return InMemory(tuple(samples), classes)
