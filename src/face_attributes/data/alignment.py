"""Align faces as CelebA does: turn, scale and shift a photograph so that eyes lie where CelebA has them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH, Align
from face_attributes.common.errors import ImageError
from face_attributes.data import images, photographs
from face_attributes.data.detector import Face, aligned_eyes, detect

MAX_FACES = 64  # of a photograph

# x and y of both eyes, in pixels: the mean over 300 of CelebA's own aligned photographs, by this detector
EYES = np.array([[69.7, 111.7], [108.4, 111.7]])


@dataclass(frozen=True)
class AlignedFace:
    """A face of a photograph.

    Attributes:
        pixels: uint8 array (218, 178, 3), RGB.
        found: its place in the upright photograph; None if the image came aligned.

    """

    pixels: np.ndarray
    found: Face | None = None


def faces_of(content: bytes, align: Align) -> list[AlignedFace]:
    """Return the faces of a photograph, aligned, from left to right: one or more.

    Args:
        content: The content of an image file.
        align: When to look for faces.

    Raises:
        ImageError: The image cannot be used, or no face is found in it.

    """
    image = photographs.decode(content)
    height, width = image.shape[:2]
    if align != "always" and (height, width) == (HEIGHT, WIDTH):
        return [AlignedFace(image)]
    if align == "never":
        raise ImageError(f"{width}x{height} pixels, not {WIDTH}x{HEIGHT}; align it, or use align: auto")
    faces = find(image)
    if not faces:
        raise ImageError(
            f"no face found in {width}x{height} pixels; turn it upright, or send a sharper or larger view of "
            f"the face; an aligned one has {WIDTH}x{HEIGHT}"
        )
    if len(faces) > MAX_FACES:
        raise ImageError(f"{len(faces)} faces, more than {MAX_FACES}; cut the photograph into parts")
    return [AlignedFace(align_by(image, face.eyes), face) for face in faces]


def find(image: np.ndarray) -> list[Face]:
    """Return the faces in an uint8 RGB image (H, W, 3), from left to right, with their eyes looked for twice.

    The detector places the eyes of an upright face better than those of a turned one, so it also looks at
    each face once it is aligned.
    """
    return [replace(face, eyes=_refined(image, face.eyes)) for face in detect(image)]


def _refined(image: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    slope, offset = _similarity(eyes)
    again = (_complex(aligned_eyes(align_by(image, eyes))) - offset) / slope
    return np.stack([again.real, again.imag], axis=1).astype(np.float32)


def aligned_jpeg(content: bytes, align: Align) -> bytes:
    """Return the only face of a photograph as an aligned JPEG: the content itself if it is one.

    Raises:
        ImageError: The image cannot be used, or has no face, or several.

    """
    faces = faces_of(content, align)
    if len(faces) > 1:
        raise ImageError(f"{len(faces)} faces, and labels for one; cut it to the face with these labels")
    (face,) = faces
    try:
        unchanged = np.array_equal(images.decode(content), face.pixels)
    except ImageError:
        unchanged = False
    return content if unchanged else images.encode(face.pixels)


def align_by(image: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Return an aligned face (218, 178, 3) of an image (H, W, 3).

    Args:
        image: uint8 array, RGB.
        eyes: x and y of the eye on the left of the image, and of the other one, in pixels.

    """
    slope, offset = _similarity(eyes)
    # Interpolation looks at four pixels only, so an image that is twice as large or more is shrunk first
    factor = min(int(1 / abs(slope)), min(image.shape[:2]))
    if factor > 1:
        height, width = (side // factor for side in image.shape[:2])
        whole = image[: height * factor, : width * factor]
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        # The center of the first pixel was (factor - 1) / 2
        offset += slope * (factor - 1) / 2 * (1 + 1j)
        slope *= factor
    matrix = np.array([[slope.real, -slope.imag, offset.real], [slope.imag, slope.real, offset.imag]])
    # CelebA repeats the pixels of the edge too
    return cv2.warpAffine(
        image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _similarity(eyes: np.ndarray) -> tuple[complex, complex]:
    """Return slope and offset of the transform of complex numbers that puts the eyes into their places."""
    (left, right), (left_target, right_target) = _complex(eyes), _complex(EYES)
    slope = (right_target - left_target) / (right - left)
    return slope, left_target - slope * left


def _complex(points: np.ndarray) -> np.ndarray:
    return points.astype(float) @ np.array([1, 1j])
