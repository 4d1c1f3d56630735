"""Which attributes a drawn face has: a small Bayesian network with CelebA's published marginals.

Sex, age and a hat come first, everything else depends on them. Each attribute is a logistic function of those
before it, and can only be true where it can be seen (no fringe on a bald head, no goatee on a shaven chin).
Its intercept is set on a reference population so that the attribute is as frequent as in CelebA.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from face_attributes.attributes import CELEBA_ATTRIBUTES, CELEBA_MARGINALS
from face_attributes.synthetic.dice import Dice

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Node:
    """An attribute, the weight of each cause in its log odds, and where it can be true at all."""

    name: str
    weights: dict[str, float] = field(default_factory=dict)
    possible: Callable[[Columns], np.ndarray] | None = None
    otherwise: bool = False  # its value where it is not possible to choose


def _long_hair(c: Columns) -> np.ndarray:
    return c["Wavy_Hair"] | c["Straight_Hair"]


def _hair_shows(c: Columns) -> np.ndarray:
    return ~c["Bald"] & (~c["Wearing_Hat"] | _long_hair(c))


# In causal order: a node may only look at those above it.
NODES: tuple[Node, ...] = (
    Node("Male"),
    Node("Young", {"Male": -1.2}),
    Node("Wearing_Hat", {"Male": 1.0}),
    Node("Chubby", {"Male": 0.9, "Young": -1.2}),
    Node("Oval_Face", {"Male": -0.5, "Young": 0.3}, lambda c: ~c["Chubby"]),
    Node("Pale_Skin", {"Male": -0.6, "Young": 0.4}),
    # hair
    Node("Bald", {"Young": -2.0, "Chubby": 0.8}, lambda c: c["Male"] & ~c["Wearing_Hat"]),
    Node("Receding_Hairline", {"Male": 0.9, "Young": -1.6}, lambda c: ~c["Bald"] & ~c["Wearing_Hat"]),
    Node("Wavy_Hair", {"Male": -2.2, "Young": 0.3}, lambda c: ~c["Bald"]),
    Node("Straight_Hair", {"Male": -1.0, "Young": 0.3}, lambda c: ~c["Bald"] & ~c["Wavy_Hair"]),
    Node(
        "Bangs",
        {"Male": -1.1, "Young": 0.3, "Straight_Hair": 0.3},
        lambda c: ~c["Bald"] & ~c["Wearing_Hat"] & ~c["Receding_Hairline"],
    ),
    Node("Gray_Hair", {"Male": 1.0, "Young": -4.0}, _hair_shows),
    Node(
        "Black_Hair",
        {"Male": 0.3, "Young": 0.5, "Pale_Skin": -0.8},
        lambda c: _hair_shows(c) & ~c["Gray_Hair"],
    ),
    Node(
        "Blond_Hair",
        {"Male": -1.9, "Young": 0.2, "Wavy_Hair": 0.3, "Pale_Skin": 0.3},
        lambda c: _hair_shows(c) & ~c["Gray_Hair"] & ~c["Black_Hair"],
    ),
    Node(
        "Brown_Hair",
        {"Male": -0.2},
        lambda c: _hair_shows(c) & ~c["Gray_Hair"] & ~c["Black_Hair"] & ~c["Blond_Hair"],
    ),
    # beard
    Node("No_Beard", {"Young": 0.2, "Bald": -0.6}, lambda c: c["Male"], otherwise=True),
    Node("Goatee", {"Young": -0.2, "Bald": 0.4}, lambda c: ~c["No_Beard"]),
    Node("Mustache", {"No_Beard": -1.8, "Young": -0.6, "Bald": 0.6}, lambda c: c["Male"]),
    Node(
        "5_o_Clock_Shadow", {"Goatee": 0.5, "Young": 0.4}, lambda c: c["Male"] & (c["No_Beard"] | c["Goatee"])
    ),
    Node(
        "Sideburns",
        {"No_Beard": -2.2, "5_o_Clock_Shadow": 0.5},
        lambda c: c["Male"] & ~c["Bald"] & ~_long_hair(c),
    ),
    # make-up
    Node("Heavy_Makeup", {"Young": 1.2}, lambda c: ~c["Male"]),
    Node("Wearing_Lipstick", {"Heavy_Makeup": 3.0}, lambda c: ~c["Male"]),
    Node("Rosy_Cheeks", {"Male": -2.0, "Heavy_Makeup": 1.6}),
    # features
    Node("Arched_Eyebrows", {"Male": -1.6, "Heavy_Makeup": 0.8}),
    Node("Bushy_Eyebrows", {"Male": 1.3, "Young": 0.3, "Arched_Eyebrows": -0.3}),
    Node("Eyeglasses", {"Male": 0.9, "Young": -1.5}),
    Node("Big_Nose", {"Male": 1.5, "Young": -1.0, "Chubby": 1.2}),
    Node("Pointy_Nose", {"Male": -0.7, "Heavy_Makeup": 0.5}, lambda c: ~c["Big_Nose"]),
    Node("Big_Lips", {"Male": -0.6, "Wearing_Lipstick": 0.3}),
    Node("Bags_Under_Eyes", {"Male": 1.2, "Young": -0.9}),
    Node(
        "Double_Chin",
        {"Chubby": 3.0, "Young": -1.2, "Male": 0.3},
        lambda c: c["No_Beard"] | c["Goatee"],
    ),
    # expression
    Node("Smiling", {"Male": -0.5}),
    Node("Mouth_Slightly_Open", {"Smiling": 1.9, "Male": -0.2}),
    Node("High_Cheekbones", {"Smiling": 3.0, "Male": -0.8, "Heavy_Makeup": 0.5}),
    Node("Narrow_Eyes", {"Smiling": 0.4, "Heavy_Makeup": -0.4}),
    # what is worn
    Node("Wearing_Earrings", {"Male": -2.6, "Heavy_Makeup": 0.7}),
    Node("Wearing_Necktie", {"Young": -0.8, "Gray_Hair": 0.8}, lambda c: c["Male"]),
    Node("Wearing_Necklace", {"Male": -2.0, "Wearing_Earrings": 0.8}, lambda c: ~c["Wearing_Necktie"]),
)

DRAWN_ATTRIBUTES: tuple[str, ...] = tuple(
    name for name in CELEBA_ATTRIBUTES if name in {n.name for n in NODES}
)

_REFERENCE_SIZE = 32_768


def sample(seed: int, indices: Sequence[int], marginals: Mapping[str, float] | None = None) -> Columns:
    """Attributes of the faces `indices` under `seed`: one bool array of shape (len(indices),) per name.

    A face's attributes depend on `seed`, its index and `marginals` only, not on its neighbours.
    """
    uniform = np.stack([Dice(seed, index).of("population").random(len(NODES)) for index in indices])
    return _values(uniform, calibrated(marginals or {}))


def calibrated(marginals: Mapping[str, float]) -> dict[str, float]:
    """Intercepts of all nodes: CelebA's marginals, with `marginals` in the place of some of them.

    Attributes that depend on an overridden one keep their intercepts, so their frequencies follow it.

    Raises:
        ValueError: a name that is not drawn, or a share that the rules of the population cannot reach.

    """
    for name in marginals:
        if name not in DRAWN_ATTRIBUTES:
            near = difflib.get_close_matches(name, DRAWN_ATTRIBUTES, n=1)
            raise ValueError(
                f"{name}: not a drawn attribute" + (f", did you mean {near[0]}?" if near else "")
            )
    return dict(_calibrated(tuple(sorted(marginals.items()))))


def population_table(count: int = 100_000, seed: int = 0) -> list[tuple[str, float, float]]:
    """Rows (attribute, share in CelebA, share among `count` faces of `seed`); draws no picture."""
    columns = sample(seed, range(count))
    return [(name, CELEBA_MARGINALS[name], float(columns[name].mean())) for name in DRAWN_ATTRIBUTES]


@lru_cache(maxsize=16)
def _calibrated(overrides: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    intercepts = dict(_calibrated(())) if overrides else {}
    targets = dict(overrides) if overrides else CELEBA_MARGINALS
    uniform = np.random.default_rng(0).random((_REFERENCE_SIZE, len(NODES)))
    columns: Columns = {}
    for position, node in enumerate(NODES):
        threshold, possible = _threshold(node, uniform[:, position], columns)
        if node.name in targets:
            intercepts[node.name] = _intercept(node, targets[node.name], threshold, possible)
        columns[node.name] = np.where(possible, threshold < intercepts[node.name], node.otherwise)
    return tuple(intercepts.items())


def _values(uniform: np.ndarray, intercepts: Mapping[str, float]) -> Columns:
    columns: Columns = {}
    for position, node in enumerate(NODES):
        threshold, possible = _threshold(node, uniform[:, position], columns)
        columns[node.name] = np.where(possible, threshold < intercepts[node.name], node.otherwise)
    return columns


def _threshold(node: Node, uniform: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """The intercept above which each face has the attribute, and where the attribute is possible."""
    threshold = np.log(uniform) - np.log1p(-uniform)
    for cause, weight in node.weights.items():
        threshold = threshold - weight * columns[cause]
    possible = node.possible(columns) if node.possible else np.ones(len(uniform), dtype=bool)
    return threshold, possible


def _intercept(node: Node, target: float, threshold: np.ndarray, possible: np.ndarray) -> float:
    size = len(possible)
    given = int((~possible).sum()) if node.otherwise else 0
    wanted = round(target * size) - given
    ordered = np.sort(threshold[possible])
    if not 0 <= wanted <= len(ordered):
        low, high = given / size, (given + len(ordered)) / size
        raise ValueError(
            f"{node.name}: a share of {target:g} cannot be drawn, from {low:.2f} to {high:.2f} can"
        )
    if wanted == 0:
        return -np.inf
    if wanted == len(ordered):
        return np.inf
    return float((ordered[wanted - 1] + ordered[wanted]) / 2)
