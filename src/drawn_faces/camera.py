"""Camera effects: light, blur and noise. They do not depend on the face, and simulate drift."""

from functools import cache

import cv2
import numpy as np

from drawn_faces.celeba import HEIGHT, WIDTH
from drawn_faces.params import SyntheticParams
from drawn_faces.random_streams import RandomStreams

_TILE = 768


def photographed(image: np.ndarray, streams: RandomStreams, params: SyntheticParams) -> np.ndarray:
    """The picture (218, 178, 3) uint8 as a camera in these conditions shows it."""
    rng = streams.of("camera")
    gain, warmth, side = rng.normal(0, (0.10, 0.03, 0.11))
    blur, noise = rng.uniform(0.35, 1.2), rng.uniform(0.8, 6.0)
    left, top = (int(v) for v in rng.integers(0, _TILE - HEIGHT, 2))

    blur = float(np.hypot(blur, params.blur))
    image = cv2.GaussianBlur(image, (0, 0), blur)
    brightness = params.light * float(np.clip(1 + gain, 0.76, 1.22))
    tint = brightness * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    # Light from one side: a slope over the picture's width.
    slope = 1 + np.float32(np.clip(side, -0.28, 0.28)) * np.linspace(-1, 1, WIDTH, dtype=np.float32)
    noise = np.float32(np.hypot(noise, params.noise))
    grain = _grain()[top : top + HEIGHT, left : left + WIDTH]
    seen = image * (slope[:, None] * tint) + noise * grain
    return cv2.convertScaleAbs(np.maximum(seen, 0, out=seen))


@cache
def _grain() -> np.ndarray:
    return np.random.default_rng(31).standard_normal((_TILE, _TILE, 3), dtype=np.float32)
