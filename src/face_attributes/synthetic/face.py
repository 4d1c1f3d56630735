"""One drawn face."""

import numpy as np

from face_attributes.synthetic import population
from face_attributes.synthetic.params import SyntheticParams


def draw_face(seed: int, index: int, params: SyntheticParams) -> tuple[np.ndarray, dict[str, bool]]:
    """Draw face `index` under `seed`: an RGB image (218, 178, 3) uint8 and the attributes that it shows."""
    columns = population.sample(seed, [index], params.marginals)
    attributes = {name: bool(columns[name][0]) for name in population.DRAWN_ATTRIBUTES}
    return render(seed, index, attributes, params), attributes


def render(seed: int, index: int, attributes: dict[str, bool], params: SyntheticParams) -> np.ndarray:
    rng = np.random.default_rng((seed, index))
    image = np.full((218, 178, 3), rng.integers(0, 255, 3), np.uint8)
    for i, (_, on) in enumerate(attributes.items()):
        if on:
            y, x = divmod(i, 6)
            image[y * 30 + 4 : y * 30 + 24, x * 28 + 4 : x * 28 + 24] = (255, 255 - i * 5, i * 5)
    return image
