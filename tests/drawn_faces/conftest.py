from collections.abc import Callable

import numpy as np
import pytest

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams
from drawn_faces.face import render
from drawn_faces.person import CENTER

Draw = Callable[..., np.ndarray]
Changes = Callable[..., tuple[float, float]]

# A plain young woman; frontal, so that parts lie where head units say.
PLAIN = dict.fromkeys(DRAWN_ATTRIBUTES, False) | {"Young": True, "No_Beard": True, "Brown_Hair": True}
FRONTAL = SyntheticParams(count=1, seed=0, pose=0)


@pytest.fixture
def draw() -> Draw:
    """Draws face `index` as PLAIN but for the named attributes."""

    def drawn(index: int = 0, /, **attributes: bool) -> np.ndarray:
        return render(3, index, PLAIN | attributes, FRONTAL)

    return drawn


@pytest.fixture
def changes(draw: Draw) -> Changes:
    """Which shares of the pixels inside and outside a box (head units) change with one attribute."""

    def shares(
        name: str, box: tuple[int, int, int, int], index: int = 0, **others: bool
    ) -> tuple[float, float]:
        off = PLAIN[name] if name in ("Young", "No_Beard") else False
        before, after = draw(index, **others, **{name: off}), draw(index, **others, **{name: not off})
        changed = np.abs(before.astype(int) - after).max(axis=2) > 15
        left, top = CENTER + box[:2]
        right, bottom = CENTER + box[2:]
        inside = np.zeros(changed.shape, bool)
        inside[int(max(top, 0)) : int(bottom), int(max(left, 0)) : int(right)] = True
        return float(changed[inside].mean()), float(changed[~inside].mean())

    return shares
