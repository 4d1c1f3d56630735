"""Anti-aliased shapes on an RGB image, at sub-pixel positions.

Points are float arrays of shape (n, 2), x to the right and y down, in pixels.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from drawn_faces.celeba import HEIGHT, WIDTH

Color = tuple[float, float, float]

_SHIFT = 4  # cv2 takes coordinates as integers in 1/16 pixel


class Canvas:
    """An RGB uint8 image (218, 178, 3) that is drawn on in place."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def fill(self, points: np.ndarray, color: Color) -> None:
        """A polygon."""
        cv2.fillPoly(self.image, [_fixed(points)], _bytes(color), cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, color: Color, thickness: int = 1, closed: bool = False) -> None:
        """A polyline of constant, whole thickness."""
        cv2.polylines(self.image, [_fixed(points)], closed, _bytes(color), thickness, cv2.LINE_AA, _SHIFT)

    def ribbon(self, points: np.ndarray, widths: float | Sequence[float], color: Color) -> None:
        """A line whose width, given along its length, may vary and be less than a pixel."""
        self.fill(outline(points, widths), color)

    def disc(self, center: np.ndarray, radius: float, color: Color) -> None:
        """A filled circle."""
        cv2.circle(
            self.image,
            tuple(int(v) for v in _fixed(center)),
            round(radius * (1 << _SHIFT)),
            _bytes(color),
            cv2.FILLED,
            cv2.LINE_AA,
            _SHIFT,
        )

    def ring(self, center: np.ndarray, radius: float, color: Color, thickness: int = 1) -> None:
        """The outline of a circle."""
        cv2.circle(
            self.image,
            tuple(int(v) for v in _fixed(center)),
            round(radius * (1 << _SHIFT)),
            _bytes(color),
            thickness,
            cv2.LINE_AA,
            _SHIFT,
        )

    def soft(self, shapes: Sequence[np.ndarray], color: Color, opacity: float, blur: float) -> None:
        """Polygons with soft edges (`blur`: standard deviation in pixels), painted over with some opacity."""
        box, mask = coverage(shapes, blur)
        self.blend(box, mask, np.asarray(color, np.float32), opacity)

    def blend(
        self, box: tuple[slice, slice], mask: np.ndarray, color: np.ndarray, opacity: float = 1.0
    ) -> None:
        """Paint `color` (3,) or (h, w, 3) over `box` where `mask` (h, w) uint8 is set."""
        if not mask.size:
            return
        part = self.image[box]
        scale: Any = opacity / 255  # OpenCV takes a number, which its types lack
        alpha = cv2.multiply(mask, scale, dtype=cv2.CV_32F)[..., None]
        # Rounded by adding a half and cutting off: several times faster than rint and clip on such arrays.
        part[:] = part + alpha * (color.astype(np.float32, copy=False) - part) + np.float32(0.5)


def coverage(shapes: Sequence[np.ndarray], blur: float = 0.0) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where polygons lie together: the box of the image around them, and the cover in it, (h, w) uint8."""
    points = np.concatenate(shapes)
    reach = 3 * blur + 2
    left, top = (max(0, int(v - reach)) for v in points.min(axis=0))
    right, bottom = (
        min(end, int(v + reach) + 1) for v, end in zip(points.max(axis=0), (WIDTH, HEIGHT), strict=True)
    )
    box = slice(top, max(top, bottom)), slice(left, max(left, right))
    mask = np.zeros((box[0].stop - top, box[1].stop - left), np.uint8)
    if mask.size:
        for shape in shapes:
            cv2.fillPoly(mask, [_fixed(moved(shape, -left, -top))], 255, cv2.LINE_AA, _SHIFT)
        if blur:
            mask = cv2.GaussianBlur(mask, (0, 0), blur)
    return box, mask


def outline(points: np.ndarray, widths: float | Sequence[float]) -> np.ndarray:
    """The polygon around a line of the given width; several widths are spread evenly along it."""
    half = normals(points)
    if isinstance(widths, Sequence):
        half *= 0.5 * np.interp(_evenly(len(points)), _evenly(len(widths)), widths)[:, None]
    else:
        half *= 0.5 * widths
    return np.concatenate([points + half, (points - half)[::-1]])


def normals(points: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 2) across a line at each of its points, to the right of its course in the image."""
    across = np.empty((len(points), 2))
    across[1:-1, 0] = points[:-2, 1] - points[2:, 1]
    across[1:-1, 1] = points[2:, 0] - points[:-2, 0]
    for end, first, last in ((0, 0, 1), (-1, -2, -1)):
        across[end] = points[first, 1] - points[last, 1], points[last, 0] - points[first, 0]
    across /= np.hypot(across[:, 0], across[:, 1])[:, None] + 1e-6
    return across


def spline(
    points: np.ndarray | Sequence[Sequence[float]], closed: bool = False, steps: int = 6
) -> np.ndarray:
    """A smooth curve through all points (Catmull-Rom), `steps` points for each stretch between two."""
    return _spline_matrix(len(points), closed, steps) @ np.asarray(points, float)


def ellipse(center: Sequence[float], radii: Sequence[float], points: int = 24) -> np.ndarray:
    """Points around an ellipse whose axes are upright."""
    return np.asarray(center, float) + _circle(points) * np.asarray(radii, float)


def mirrored(points: np.ndarray | Sequence[Sequence[float]], side: int) -> np.ndarray:
    """The points as they are (side 1) or with x turned round (side -1)."""
    return np.asarray(points, float) * (side, 1)


def moved(points: np.ndarray, across: float, down: float) -> np.ndarray:
    """The points shifted by so many pixels."""
    return points + np.array((across, down))


def tone(color: Sequence[float], factor: float) -> Color:
    """The colour, darker (factor below 1) or lighter."""
    red, green, blue = (min(255.0, max(0.0, float(v) * factor)) for v in color)
    return red, green, blue


def mix(first: Sequence[float], second: Sequence[float], share: float) -> Color:
    """The colour between two: `share` 0 is the first, 1 the second."""
    red, green, blue = (float(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _bytes(color: Color) -> tuple[int, ...]:
    return tuple(min(255, max(0, round(v))) for v in color)


@cache
def _evenly(count: int) -> np.ndarray:
    return np.linspace(0, 1, count)


@cache
def _spline_matrix(count: int, closed: bool, steps: int) -> np.ndarray:
    """Return the matrix that maps `count` knots to the points of their curve."""
    t = np.arange(steps) / steps
    basis = np.stack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        ],
        axis=1,
    )
    stretches = count if closed else count - 1
    matrix = np.zeros((stretches * steps, count))
    for stretch in range(stretches):
        rows = slice(stretch * steps, (stretch + 1) * steps)
        for column, weight in enumerate(basis.T, start=stretch - 1):
            matrix[rows, column % count if closed else min(max(column, 0), count - 1)] += weight
    if closed:
        return matrix
    return np.concatenate([matrix, np.eye(count)[-1:]])


@cache
def _circle(points: int) -> np.ndarray:
    angle = np.arange(points) * (2 * np.pi / points)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
