"""Augmentation: every geometric change composed into one sampling grid, then changes of intensity.

Flips and quarter turns alone keep the grid on whole pixels, so nothing is interpolated. Everything drawn comes from one
numpy generator, given for the step; only pixel noise comes from a torch generator on the device.

Legend of shapes: B batch, C channels, H height and W width of a patch, G side of a coarse grid. Coordinates are (row,
column).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.config import AugmentConfig


def keeps_grid(config: AugmentConfig) -> bool:
    """Tell whether every point of the grid falls on a pixel, so that nothing has to be interpolated."""
    sizes_kept = config.scale == config.stretch == (1.0, 1.0) and config.crop == 0
    return sizes_kept and config.rotation == 0 and config.elastic == 0


def sampling_grid(config: AugmentConfig, centre_B2: Tensor, sides: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Draw where in the image the pixels of the augmented patches come from: [B, 2, H, W] float32.

    What is drawn is small; what is made of it is made on the device of the patches' centres [B, 2], in pixels.
    """
    batch, device = len(centre_B2), centre_B2.device
    changed_B = torch.from_numpy(rng.random(batch) < config.probability)  # the others are flipped and turned alone
    angle = torch.from_numpy(np.deg2rad(rng.uniform(-config.rotation, config.rotation, batch)))
    low, high = config.scale
    pixel = torch.from_numpy(np.exp(-rng.uniform(math.log(low), math.log(high), batch)))
    cos, sin = torch.cos(angle) * pixel, torch.sin(angle) * pixel
    rotation_B22 = torch.stack((cos, -sin, sin, cos), -1).view(-1, 2, 2).float()
    matrix_B22 = torch.where(changed_B.view(-1, 1, 1), rotation_B22, torch.eye(2))
    matrix_B22 = matrix_B22 @ _flips_and_turns(config, batch, rng)

    # The share of its patch that each image is seen of along both axes, and how far off the middle, in sides.
    share_B2, shift_B2 = np.ones((batch, 2)), np.zeros((batch, 2))
    if config.stretch != (1.0, 1.0):
        share_B2 = 1 / rng.uniform(*config.stretch, (batch, 2))
        shift_B2 = rng.uniform(-0.5, 0.5, (batch, 2)) * np.maximum(0, 1 - share_B2)
    if config.crop > 0:
        before_B2, behind_B2 = rng.uniform(0, config.crop, (2, batch, 2))
        shift_B2 = shift_B2 + share_B2 * (before_B2 - behind_B2) / 2
        share_B2 = share_B2 * (1 - before_B2 - behind_B2)
    seen_B2 = torch.where(changed_B[:, None], torch.from_numpy(share_B2).float(), 1.0)
    off_B2 = torch.where(changed_B[:, None], torch.from_numpy(shift_B2).float(), 0.0)
    off_B2 = torch.einsum("bij,bj->bi", matrix_B22, off_B2 * torch.tensor(sides))

    matrix_B22 = (matrix_B22 * seen_B2[:, None]).to(device, non_blocking=True)
    offsets = [torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2 for side in sides]
    grid_B2HW = torch.einsum("bij,jyx->biyx", matrix_B22, torch.stack(torch.meshgrid(offsets, indexing="ij")))
    if config.elastic > 0:  # displacements on a coarse grid, smooth in between (Ronneberger et al. 2015)
        coarse = [max(2, math.ceil(side / config.elastic_spacing) + 1) for side in sides]
        moved_B2GG = torch.from_numpy(rng.normal(0.0, config.elastic, (batch, 2, *coarse))).float()
        moved_B2GG = (moved_B2GG * changed_B.view(-1, 1, 1, 1)).to(device, non_blocking=True)
        grid_B2HW += F.interpolate(moved_B2GG, size=sides, mode="bicubic", align_corners=True)
    return grid_B2HW + (centre_B2 + off_B2.to(device, non_blocking=True)).view(-1, 2, 1, 1)


def _flips_and_turns(config: AugmentConfig, batch: int, rng: np.random.Generator) -> Tensor:
    """Draw one of the eight symmetries of a square, or of those that are allowed, for each patch: [B, 2, 2]."""
    quarter = rng.integers(4, size=batch) if config.rotate90 else 2 * rng.integers(2, size=batch) * config.flip
    mirror = rng.integers(2, size=batch) * config.flip
    if not config.rotate90 and config.flip_axes != "both":
        quarter = 2 * mirror if config.flip_axes == "rows" else 0 * mirror  # mirrored columns and half a turn: rows
    cos, sin = np.array([1, 0, -1, 0])[quarter], np.array([0, 1, 0, -1])[quarter]
    sign = 1 - 2 * mirror
    return torch.from_numpy(np.stack((cos, -sin * sign, sin, cos * sign), -1)).view(batch, 2, 2).float()


def change_intensity(
    config: AugmentConfig, pixels_BCHW: Tensor, rng: np.random.Generator, *, batch: int, share: slice = slice(None)
) -> Tensor:
    """Change gamma, contrast, brightness and noise of normalised patches [B, C, H, W], each by its own draw, and clip.

    The patches are the `share` of a batch; numbers are drawn for all of it, whatever the share.
    """

    def draw(low: float, high: float) -> Tensor:
        values = torch.from_numpy(rng.uniform(low, high, batch)[share]).float()
        return values.to(pixels_BCHW.device).view(-1, 1, 1, 1)

    if config.gamma > 0:
        exponent = draw(math.log(1 - config.gamma), math.log(1 + config.gamma)).exp()
        low = pixels_BCHW.amin((1, 2, 3), keepdim=True)
        reach = (pixels_BCHW.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-6)
        pixels_BCHW = ((pixels_BCHW - low) / reach).pow(exponent) * reach + low
    if config.contrast > 0:
        mean = pixels_BCHW.mean((2, 3), keepdim=True)
        pixels_BCHW = torch.lerp(mean, pixels_BCHW, draw(1 - config.contrast, 1 + config.contrast))
    if config.brightness > 0:
        pixels_BCHW = pixels_BCHW + draw(-config.brightness, config.brightness)
    if config.noise > 0:
        generator = torch.Generator(pixels_BCHW.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn((batch, *pixels_BCHW.shape[1:]), generator=generator, device=pixels_BCHW.device)
        pixels_BCHW = pixels_BCHW + draw(0, config.noise) * noise[share]
    return pixels_BCHW if config.clip is None else pixels_BCHW.clamp(*config.clip)
