from collections.abc import Callable

import pytest

MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
CASES = [
    ("Wearing_Necktie", MALE, (-90, 60, 90, 110), 0.05),
    ("Wearing_Necklace", {}, (-45, 60, 45, 110), 0.05),
    ("Wearing_Earrings", {}, (-62, 5, 62, 36), 0.04),
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
