"""Augmentation: every geometric change composed into one set of places to sample, then changes of intensity.

The eight flips and turns alone keep places on the pixel grid, so nothing is interpolated. Everything drawn comes from
one numpy generator, given for the step; only pixel noise comes from a torch generator on the device.

Legend of shapes: B batch, C channels, H height and W width of a patch, G side of a coarse grid.
Places are (row, column).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unetkit.config import AugmentConfig


def keeps_grid(config: AugmentConfig) -> bool:
    """Tell whether every place falls on a pixel, so that nothing has to be interpolated."""
    sizes_kept = config.scale == config.stretch == (1.0, 1.0) and config.crop == 0
    return sizes_kept and config.rotation == 0 and config.elastic == 0


def places(config: AugmentConfig, centre_B2: Tensor, sides: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Draw the places [B, 2, H, W] float32 in the image that the pixels of the augmented patches come from.

    What is drawn is small; what is made of it is made on the device of the centres.

    Args:
        config: which changes, and how large.
        centre_B2: centres of the patches in pixels.
        sides: H and W of the patches.
        rng: the step's generator.
    """
    batch, device = len(centre_B2), centre_B2.device
    bent_B = torch.from_numpy(rng.random(batch) < config.probability)
    smooth_B22 = torch.where(bent_B.view(-1, 1, 1), _rotations_and_scales(config, batch, rng), torch.eye(2))
    matrix_B22 = smooth_B22 @ _flips_and_turns(config, batch, rng)
    share_B2, shift_B2 = _parts_seen(config, bent_B, rng)
    shift_B2 = torch.einsum("bij,bj->bi", matrix_B22, shift_B2 * torch.tensor(sides))
    matrix_B22 = (matrix_B22 * share_B2[:, None]).to(device, non_blocking=True)
    offsets = [torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2 for side in sides]
    places_B2HW = torch.einsum("bij,jyx->biyx", matrix_B22, torch.stack(torch.meshgrid(offsets, indexing="ij")))
    if config.elastic > 0:
        coarse_B2GG = _displacements(config, batch, sides, rng) * bent_B.view(-1, 1, 1, 1)
        places_B2HW += _smoothly_enlarged(coarse_B2GG.to(device, non_blocking=True), sides)
    return places_B2HW + (centre_B2 + shift_B2.to(device, non_blocking=True)).view(-1, 2, 1, 1)


def change_intensity(
    config: AugmentConfig, pixels_BCHW: Tensor, rng: np.random.Generator, *, batch: int, share: slice = slice(None)
) -> Tensor:
    """Change gamma, contrast, brightness and noise of normalised patches [B, C, H, W], each by its own draw, and clip.

    Args:
        config: which changes, and how large.
        pixels_BCHW: normalised patches: the `share` of a batch.
        rng: the step's generator.
        batch: patches in the whole batch; as many are drawn for, whatever the share.
        share: which patches of the batch these are.
    """

    def draw(low: float, high: float) -> Tensor:
        values = torch.from_numpy(rng.uniform(low, high, batch)[share]).float()
        return values.to(pixels_BCHW.device).view(-1, 1, 1, 1)

    if config.gamma > 0:
        pixels_BCHW = _gamma(pixels_BCHW, draw(math.log(1 - config.gamma), math.log(1 + config.gamma)).exp())
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


def _flips_and_turns(config: AugmentConfig, batch: int, rng: np.random.Generator) -> Tensor:
    quarter = rng.integers(4, size=batch) if config.rotate90 else 2 * rng.integers(2, size=batch) * config.flip
    mirror = rng.integers(2, size=batch) * config.flip
    if not config.rotate90 and config.flip_axes != "both":
        quarter = 2 * mirror if config.flip_axes == "rows" else 0 * mirror  # mirrored columns and half a turn: rows
    cos, sin = np.array([1, 0, -1, 0])[quarter], np.array([0, 1, 0, -1])[quarter]
    sign = 1 - 2 * mirror
    return torch.from_numpy(np.stack((cos, -sin * sign, sin, cos * sign), -1)).view(batch, 2, 2).float()


def _rotations_and_scales(config: AugmentConfig, batch: int, rng: np.random.Generator) -> Tensor:
    angle = torch.from_numpy(np.deg2rad(rng.uniform(-config.rotation, config.rotation, batch)))
    low, high = config.scale
    step = torch.from_numpy(np.exp(-rng.uniform(math.log(low), math.log(high), batch)))
    cos, sin = torch.cos(angle) * step, torch.sin(angle) * step
    return torch.stack((cos, -sin, sin, cos), -1).view(-1, 2, 2).float()


def _parts_seen(config: AugmentConfig, bent_B: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw the share of its patch that each image is seen of along both axes, and how far off the middle, in sides."""
    both = (len(bent_B), 2)
    share_B2, shift_B2 = np.ones(both), np.zeros(both)
    if config.stretch != (1.0, 1.0):
        share_B2 = 1 / rng.uniform(*config.stretch, both)
        shift_B2 = rng.uniform(-0.5, 0.5, both) * np.maximum(0, 1 - share_B2)
    if config.crop > 0:
        before_B2, behind_B2 = rng.uniform(0, config.crop, (2, *both))
        shift_B2 = shift_B2 + share_B2 * (before_B2 - behind_B2) / 2
        share_B2 = share_B2 * (1 - before_B2 - behind_B2)
    bent_B1 = bent_B[:, None]
    share_B2 = torch.where(bent_B1, torch.from_numpy(share_B2).float(), 1.0)
    return share_B2, torch.where(bent_B1, torch.from_numpy(shift_B2).float(), 0.0)


def _displacements(config: AugmentConfig, batch: int, sides: tuple[int, int], rng: np.random.Generator) -> Tensor:
    coarse = [max(2, math.ceil(side / config.elastic_spacing) + 1) for side in sides]
    return torch.from_numpy(rng.normal(0.0, config.elastic, (batch, 2, *coarse))).float()


def _smoothly_enlarged(displacement_B2GG: Tensor, sides: tuple[int, int]) -> Tensor:
    """Interpolate displacements on a coarse grid bicubically to every pixel (Ronneberger et al. 2015)."""
    return F.interpolate(displacement_B2GG, size=sides, mode="bicubic", align_corners=True)


def _gamma(pixels_BCHW: Tensor, exponent: Tensor) -> Tensor:
    low = pixels_BCHW.amin((1, 2, 3), keepdim=True)
    reach = (pixels_BCHW.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-6)
    return ((pixels_BCHW - low) / reach).pow(exponent) * reach + low
