from collections.abc import Callable

import pytest

MALE = {"Male": True}
# Attribute, what else the face has, the box (head units) that it changes, and the least share that changes.
CASES = [
    ("5_o_Clock_Shadow", MALE, (-50, 10, 50, 70), 0.1),
    ("Goatee", {"Male": True, "No_Beard": False}, (-50, 8, 50, 80), 0.1),
    ("Mustache", MALE, (-27, 18, 27, 40), 0.2),
    ("No_Beard", MALE, (-52, 6, 52, 80), 0.2),
    ("Sideburns", MALE, (-50, -30, 50, 28), 0.04),
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
