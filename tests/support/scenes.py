"""Photographs of faces at known places, for tests and benchmarks of alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.data.alignment import EYES

FACE = 115  # pixels, the height of the face in an aligned photograph of CelebA, by the detector's boxes


@dataclass(frozen=True)
class Place:
    """The place of an aligned photograph in a scene.

    Attributes:
        x: Of the center, in pixels.
        y: Of the center, in pixels.
        height: Of the face, in pixels.
        angle: By which it is turned, in degrees, clockwise.

    """

    x: float
    y: float
    height: float
    angle: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """The similarity transform (2, 3) from the aligned photograph to the scene."""
        matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), -self.angle, self.height / FACE)
        matrix[:, 2] += self.x - WIDTH / 2, self.y - HEIGHT / 2
        return matrix

    @property
    def eyes(self) -> np.ndarray:
        """Where the eyes of an aligned photograph are in the scene, (2, 2)."""
        return EYES @ self.matrix[:, :2].T + self.matrix[:, 2]


def scene(faces: Sequence[np.ndarray], places: Sequence[Place], size: tuple[int, int]) -> np.ndarray:
    """Return a photograph, uint8 RGB, of this width and height, with aligned faces at these places."""
    clouds = np.random.default_rng(len(faces)).integers(60, 190, (4, 6, 3), np.uint8)
    image = cv2.resize(clouds, size, interpolation=cv2.INTER_CUBIC)
    for face, place in zip(faces, places, strict=True):
        shrunk = place.height / FACE
        sharp = face if shrunk >= 1 else cv2.GaussianBlur(face, (0, 0), 0.45 / shrunk)
        cv2.warpAffine(
            sharp, place.matrix, size, image, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )
    return image
