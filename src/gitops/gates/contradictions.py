"""Contradictions: attributes that no face has together."""

from collections.abc import Mapping
from itertools import combinations

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
# The same pairs as in `face_attributes.common.contradictions`; a test compares them
PAIRS: tuple[tuple[str, str], ...] = (
    ("No_Beard", "Goatee"),
    ("Bald", "Bangs"),
    ("Bald", "Straight_Hair"),
    ("Bald", "Wavy_Hair"),
    ("Straight_Hair", "Wavy_Hair"),
    *(("Bald", colour) for colour in HAIR_COLOURS),
    *combinations(HAIR_COLOURS, 2),
)


def count(answers: Mapping[str, int]) -> int:
    """Return the number of images with a contradiction; `answers` has a bit for each image."""
    some = 0
    for one, other in PAIRS:
        some |= answers.get(one, 0) & answers.get(other, 0)
    return some.bit_count()
