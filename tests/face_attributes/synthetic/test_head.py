from collections.abc import Callable

import pytest

MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
CASES = [
    ("High_Cheekbones", {}, (-50, -10, 50, 44), 0.08),
    ("Rosy_Cheeks", {}, (-54, -8, 54, 44), 0.1),
    ("Bags_Under_Eyes", {}, (-40, -8, 40, 20), 0.1),
    ("Double_Chin", {}, (-45, 36, 45, 100), 0.08),
    ("Chubby", {}, (-80, -70, 80, 118), 0.05),
    ("Oval_Face", {}, (-60, -80, 60, 80), 0.02),
    ("Young", {}, (-60, -70, 60, 72), 0.03),
    ("Pale_Skin", {}, (-60, -60, 60, 118), 0.2),
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
