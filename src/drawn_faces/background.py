"""Backgrounds, out of focus."""

from functools import cache

import cv2
import numpy as np

from drawn_faces.celeba import HEIGHT, WIDTH
from drawn_faces.random_streams import RandomStreams

# Places: colours that go together, from which the patches of one background are mixed.
_PLACES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((52, 66, 48), (92, 108, 74), (128, 140, 104), (70, 78, 60)),  # leaves
    ((176, 196, 210), (204, 214, 220), (150, 172, 186), (136, 146, 132)),  # sky
    ((92, 72, 58), (128, 104, 84), (160, 138, 114), (70, 56, 48)),  # a warm room
    ((188, 184, 178), (206, 204, 200), (170, 166, 160), (220, 218, 214)),  # a pale wall
    ((34, 36, 46), (48, 50, 64), (66, 60, 70), (26, 26, 32)),  # the evening
    ((98, 106, 116), (120, 126, 134), (142, 146, 152), (82, 88, 98)),  # a grey street
    ((110, 44, 46), (88, 38, 42), (134, 68, 62), (70, 34, 38)),  # a red curtain
    ((70, 88, 108), (92, 112, 134), (118, 136, 154), (56, 70, 90)),  # a blue backdrop
)


def background(streams: RandomStreams) -> np.ndarray:
    """An RGB image (218, 178, 3) uint8."""
    rng = streams.of("background")
    place = np.asarray(_PLACES[int(rng.integers(len(_PLACES)))], np.float32)
    rows, columns = (int(n) for n in rng.integers(3, 8, 2))
    patches = place[rng.integers(0, len(place), (rows, columns))]
    even = rng.uniform(0.15, 0.8)
    patches = (
        place.mean(axis=0) * even
        + patches * (1 - even)
        + rng.normal(0, 3, (rows, columns, 1)).astype(np.float32)
    )
    image = cv2.resize(patches.clip(0, 255).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    kind = rng.random()
    if kind < 0.25:
        image = _with_lights(image, place, rng)
    elif kind < 0.45:
        image = _with_edges(image, place, rng)
    return cv2.multiply(image, _vignette(), scale=rng.uniform(0.92, 1.04), dtype=cv2.CV_8U)


def _with_lights(image: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round spots of lamps or gaps between leaves, out of focus."""
    spots = image.copy()
    for _ in range(int(rng.integers(5, 14))):
        center = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
        color = np.minimum(place[int(rng.integers(len(place)))] * 1.35 + 24, 245)
        cv2.circle(
            spots, center, int(rng.integers(5, 16)), tuple(float(v) for v in color), cv2.FILLED, cv2.LINE_AA
        )
    return cv2.GaussianBlur(cv2.addWeighted(image, 0.5, spots, 0.5, 0), (0, 0), 1.6)


def _with_edges(image: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Upright bands: door frames, columns, trunks."""
    for _ in range(int(rng.integers(1, 4))):
        left, width = int(rng.integers(-10, WIDTH)), int(rng.integers(6, 40))
        color = place[int(rng.integers(len(place)))] * rng.uniform(0.75, 1.1)
        cv2.rectangle(image, (left, 0), (left + width, HEIGHT), tuple(float(v) for v in color), cv2.FILLED)
    small = cv2.resize(image, (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.8, 2.0))
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@cache
def _vignette() -> np.ndarray:
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    return np.repeat((1 - 0.10 * (rows**2 + columns**2))[..., None], 3, axis=2).astype(np.float32)
