from collections.abc import Callable

import numpy as np
import pytest

MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
CASES = [
    ("Bangs", {}, (-50, -80, 50, -8), 0.1),
    ("Receding_Hairline", MALE, (-60, -95, 60, -10), 0.05),
    ("Bald", MALE, (-60, -95, 60, -8), 0.2),
    ("Wavy_Hair", {}, (-85, -118, 85, 118), 0.1),
    ("Straight_Hair", {}, (-85, -118, 85, 118), 0.1),
    ("Wearing_Hat", {}, (-75, -118, 75, 6), 0.2),
]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(("name", "others", "box", "least"), CASES, ids=[case[0] for case in CASES])
def test_attribute_shows_where_it_belongs_and_nowhere_else(
    name: str,
    others: dict[str, bool],
    box: tuple[int, int, int, int],
    least: float,
    index: int,
    changes: Callable[..., tuple[float, float]],
) -> None:
    inside, outside = changes(name, box, index, **others)
    assert inside > least
    assert outside < 0.002


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
