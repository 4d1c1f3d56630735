from collections.abc import Callable

import numpy as np
import pytest


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("length", ["Straight_Hair", "Wavy_Hair"])
def test_each_hair_color_is_its_own(index: int, length: str, draw: Callable[..., np.ndarray]) -> None:
    means = {}
    for name in ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair"):
        colors = {"Brown_Hair": False, name: True, length: True}
        image = draw(index, **colors)
        means[name] = image[130:160, 40:48].mean(axis=(0, 1))  # beside the cheek, to the viewer's left
    assert means["Black_Hair"].max() < means["Brown_Hair"].max() < means["Blond_Hair"].max()
    warmth = {name: red - blue for name, (red, _, blue) in means.items()}
    assert abs(warmth["Gray_Hair"]) < 30
    assert warmth["Blond_Hair"] > warmth["Gray_Hair"] + 30


def test_waves_and_straight_hair_differ(draw: Callable[..., np.ndarray]) -> None:
    wavy, straight = draw(Wavy_Hair=True), draw(Straight_Hair=True)
    assert (np.abs(wavy.astype(int) - straight).max(axis=2) > 15).mean() > 0.1


def test_long_hair_shows_beneath_a_hat(draw: Callable[..., np.ndarray]) -> None:
    def beside(name: str) -> np.ndarray:
        colors = {"Brown_Hair": False, name: True}
        return draw(Wearing_Hat=True, Straight_Hair=True, **colors)[130:160, 40:48].mean(axis=(0, 1))

    assert beside("Black_Hair").max() + 40 < beside("Blond_Hair").max()
