"""Augmentation: each training image turned, scaled, shifted, mirrored and relit a little, anew each epoch."""

import math

import torch
from torch import Tensor
from torch.nn import functional

# Standard deviations at strength 1
_TURN = math.radians(6)
_SCALE = 0.06
_SHIFT = 0.05  # of half the image
_CONTRAST = 0.15
_BRIGHTNESS = 0.25  # of a normalised pixel, about 16 grey levels
_TINT = 0.08


def augment(images: Tensor, strength: float) -> Tensor:
    """Return altered copies of normalised images (N, 3, size, size); strength 0 returns them as they are.

    Draws from torch's global random numbers.
    """
    if strength == 0:
        return images
    return _relit(_moved(images, strength), strength)


def _moved(images: Tensor, strength: float) -> Tensor:
    count, device = len(images), images.device
    turn, shift_x, shift_y, zoom = torch.randn(4, count, device=device) * strength
    turn, zoom = turn * _TURN, torch.exp(zoom * _SCALE)
    # CelebA's attributes mean the same on a mirrored face
    mirror = 1 - 2 * torch.randint(2, (count,), device=device)
    cosine, sine = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    affine = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, shift_x * _SHIFT], dim=1),
            torch.stack([sine * mirror, cosine, shift_y * _SHIFT], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _relit(images: Tensor, strength: float) -> Tensor:
    count, device = len(images), images.device
    contrast, brightness = torch.randn(2, count, 1, 1, 1, device=device) * strength
    tint = torch.randn(count, 3, 1, 1, device=device) * strength * _TINT
    return images * torch.exp(contrast * _CONTRAST) + (brightness * _BRIGHTNESS + tint)
