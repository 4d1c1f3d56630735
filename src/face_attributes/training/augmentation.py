"""Augmentation: small random rotations, scalings, shifts, mirrorings and light changes of training images."""

import math

import cv2
import numpy as np

# Standard deviations at strength 1
_TURN = math.radians(6)
_SCALE = 0.06
_SHIFT = 0.025  # of the width or the height
_CONTRAST = 0.15
_BRIGHTNESS = 0.06  # of the range of a pixel
_TINT = 0.02


def moves(count: int, shape: tuple[int, int], strength: float, random: np.random.Generator) -> np.ndarray:
    """Return a random turn, scaling, shift and mirroring for each of `count` images of `shape`.

    Returns:
        A map from a place in the result to one in the image for each, float64 (count, 2, 3).

    """
    height, width = shape
    turn, zoom, right, down = random.standard_normal((4, count)) * strength
    # CelebA's attributes mean the same on a mirrored face
    mirror = np.where(random.random(count) < 0.5, 1, -1)
    factor = np.exp(zoom * _SCALE)
    cosine, sine = np.cos(turn * _TURN) * factor, np.sin(turn * _TURN) * factor
    # Each row maps a place in the result to one in the image, relative to its middle
    matrices = np.stack([cosine * mirror, -sine, sine * mirror, cosine], axis=1).reshape(count, 2, 2)
    middle = np.array([width - 1, height - 1]) / 2
    shifts = middle - matrices @ middle + np.stack([right * width, down * height], axis=1) * _SHIFT
    return np.concatenate([matrices, shifts[:, :, None]], axis=2)


def move(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return uint8 images (N, height, width, 3), each moved by its map."""
    height, width = images.shape[1:3]
    moved = np.empty_like(images)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for image, place, out in zip(images, maps, moved, strict=True):
        cv2.warpAffine(image, place, (width, height), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return moved


def relight(count: int, strength: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return for each image a factor and an offset for its pixels, in units of their range.

    Returns:
        float32 arrays (N, 1, 1, 1) and (N, 1, 1, 3).

    """
    contrast = np.exp(random.standard_normal((count, 1, 1, 1)) * strength * _CONTRAST)
    offset = random.standard_normal((count, 1, 1, 1)) * strength * _BRIGHTNESS
    offset = offset + random.standard_normal((count, 1, 1, 3)) * strength * _TINT
    return contrast.astype(np.float32), offset.astype(np.float32)
