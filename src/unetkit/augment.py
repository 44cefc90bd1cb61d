"""Augmentation: every geometric change composed into one set of places to sample, then changes of intensity.

The eight flips and turns alone keep places on the pixel grid, so nothing is interpolated. Everything drawn comes from
one numpy generator, given for the step; only pixel noise comes from a torch generator on the device.

Legend of shapes: B batch, C channels, S side of a patch, G side of a coarse grid. Places are (row, column).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.config import AugmentConfig


def keeps_grid(config: AugmentConfig) -> bool:
    """Tell whether every place falls on a pixel, so that nothing has to be interpolated."""
    return config.rotation == 0 and config.scale == (1.0, 1.0) and config.elastic == 0


def places(config: AugmentConfig, centre_B2: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Draw the places [B, 2, S, S] float32 in the image that the pixels of the augmented patches come from.

    What is drawn is small; what is made of it is made on the device of the centres.

    Args:
        config: which changes, and how large.
        centre_B2: centres of the patches in pixels.
        side: S, pixels of the patch on a side.
        rng: the step's generator.
    """
    batch, device = len(centre_B2), centre_B2.device
    bent_B = torch.from_numpy(rng.random(batch) < config.probability)
    smooth_B22 = torch.where(bent_B.view(-1, 1, 1), _rotations_and_scales(config, batch, rng), torch.eye(2))
    matrix_B22 = (smooth_B22 @ _flips_and_turns(config, batch, rng)).to(device, non_blocking=True)
    offset = torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2
    grid_2SS = torch.stack(torch.meshgrid(offset, offset, indexing="ij"))
    places_B2SS = torch.einsum("bij,jyx->biyx", matrix_B22, grid_2SS)
    if config.elastic > 0:
        coarse_B2GG = _displacements(config, batch, side, rng) * bent_B.view(-1, 1, 1, 1)
        places_B2SS += _smoothly_enlarged(coarse_B2GG.to(device, non_blocking=True), side)
    return places_B2SS + centre_B2.view(-1, 2, 1, 1)


def change_intensity(
    config: AugmentConfig, pixels_BCSS: Tensor, rng: np.random.Generator, *, batch: int, share: slice = slice(None)
) -> Tensor:
    """Change contrast, brightness, gamma and noise of normalised patches [B, C, S, S], each patch by its own draw.

    Args:
        config: which changes, and how large.
        pixels_BCSS: normalised patches: the `share` of a batch.
        rng: the step's generator.
        batch: patches in the whole batch; as many are drawn for, whatever the share.
        share: which patches of the batch these are.
    """

    def draw(low: float, high: float) -> Tensor:
        values = torch.from_numpy(rng.uniform(low, high, batch)[share]).float()
        return values.to(pixels_BCSS.device).view(-1, 1, 1, 1)

    if config.gamma > 0:
        pixels_BCSS = _gamma(pixels_BCSS, draw(math.log(1 - config.gamma), math.log(1 + config.gamma)).exp())
    if config.contrast > 0:
        mean = pixels_BCSS.mean((2, 3), keepdim=True)
        pixels_BCSS = torch.lerp(mean, pixels_BCSS, draw(1 - config.contrast, 1 + config.contrast))
    if config.brightness > 0:
        pixels_BCSS = pixels_BCSS + draw(-config.brightness, config.brightness)
    if config.noise > 0:
        generator = torch.Generator(pixels_BCSS.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn((batch, *pixels_BCSS.shape[1:]), generator=generator, device=pixels_BCSS.device)
        pixels_BCSS = pixels_BCSS + draw(0, config.noise) * noise[share]
    return pixels_BCSS


def _flips_and_turns(config: AugmentConfig, batch: int, rng: np.random.Generator) -> Tensor:
    quarter = rng.integers(4, size=batch) if config.turn else 2 * rng.integers(2, size=batch) * config.flip
    mirror = rng.integers(2, size=batch) * config.flip
    cos, sin = np.array([1, 0, -1, 0])[quarter], np.array([0, 1, 0, -1])[quarter]
    sign = 1 - 2 * mirror
    return torch.from_numpy(np.stack((cos, -sin * sign, sin, cos * sign), -1)).view(batch, 2, 2).float()


def _rotations_and_scales(config: AugmentConfig, batch: int, rng: np.random.Generator) -> Tensor:
    angle = torch.from_numpy(np.deg2rad(rng.uniform(-config.rotation, config.rotation, batch)))
    low, high = config.scale
    step = torch.from_numpy(np.exp(-rng.uniform(math.log(low), math.log(high), batch)))
    cos, sin = torch.cos(angle) * step, torch.sin(angle) * step
    return torch.stack((cos, -sin, sin, cos), -1).view(-1, 2, 2).float()


def _displacements(config: AugmentConfig, batch: int, side: int, rng: np.random.Generator) -> Tensor:
    coarse = max(2, math.ceil(side / config.elastic_spacing) + 1)
    return torch.from_numpy(rng.normal(0.0, config.elastic, (batch, 2, coarse, coarse))).float()


def _smoothly_enlarged(displacement_B2GG: Tensor, side: int) -> Tensor:
    """Interpolate displacements on a coarse grid bicubically to every pixel (Ronneberger et al. 2015)."""
    return F.interpolate(displacement_B2GG, size=(side, side), mode="bicubic", align_corners=True)


def _gamma(pixels_BCSS: Tensor, exponent: Tensor) -> Tensor:
    low = pixels_BCSS.amin((1, 2, 3), keepdim=True)
    reach = (pixels_BCSS.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-6)
    return ((pixels_BCSS - low) / reach).pow(exponent) * reach + low
