from collections.abc import Callable

import pytest

MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
CASES = [
    ("Narrow_Eyes", {}, (-35, -16, 35, 4), 0.1),
    ("Heavy_Makeup", {}, (-42, -24, 42, 6), 0.1),
    ("Arched_Eyebrows", {}, (-40, -34, 40, -12), 0.1),
    ("Bushy_Eyebrows", {}, (-40, -30, 40, -10), 0.1),
    ("Eyeglasses", {}, (-52, -24, 52, 16), 0.1),
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
