"""Contradictions: attributes that no face has together, and the images for which a model answers so."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
# The same pairs as in `gitops.gates.contradictions`, which reads recorded decisions
PAIRS: tuple[tuple[str, str], ...] = (
    ("No_Beard", "Goatee"),
    ("Bald", "Bangs"),
    ("Bald", "Straight_Hair"),
    ("Bald", "Wavy_Hair"),
    ("Straight_Hair", "Wavy_Hair"),
    *(("Bald", colour) for colour in HAIR_COLOURS),
    *combinations(HAIR_COLOURS, 2),
)


def images(attributes: Sequence[str], answers: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return which of N images have a contradiction, and how many images have each of the PAIRS.

    Args:
        attributes: Names of the A attributes.
        answers: bool array (N, A).

    Returns:
        A bool array (N,), and the counts by `<attribute> and <attribute>`, without the pairs of which the
        attributes lack one.

    """
    some = np.zeros(len(answers), bool)
    counts: dict[str, int] = {}
    for pair in PAIRS:
        if not set(pair) <= set(attributes):
            continue
        one, other = (answers[:, attributes.index(name)] for name in pair)
        counts[" and ".join(pair)] = int((one & other).sum())
        some |= one & other
    return some, counts
