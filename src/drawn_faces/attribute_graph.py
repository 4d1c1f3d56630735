"""The Bayesian network of the population: the causes of each attribute, and where it is possible."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Columns = dict[str, np.ndarray]  # for each attribute, which faces have it: bool (faces,)


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


def _chin_shows(c: Columns) -> np.ndarray:
    return c["No_Beard"] | c["Goatee"] | c["5_o_Clock_Shadow"]


# In causal order: a node may only look at those above it. The weights are those of a logistic regression on
# the rows, of the first 20,000 of list_attr_celeba.txt (Liu et al., ICCV 2015), in which the attribute is
# possible; they are rounded, and causes without which the correlations hardly change are left out.
NODES: tuple[Node, ...] = (
    Node("Male"),
    Node("Young", {"Male": -1.4}),
    Node("Wearing_Hat", {"Male": 1.3}),
    # expression
    Node("Smiling", {"Male": -0.5}),
    Node("Mouth_Slightly_Open", {"Smiling": 2.4}),
    # the face as a whole, and make-up
    Node("Chubby", {"Male": 1.9, "Young": -2.0}),
    Node("Heavy_Makeup", {"Young": 0.9, "Smiling": 0.6}, lambda c: ~c["Male"]),
    Node("Wearing_Lipstick", {"Heavy_Makeup": 4.0}, lambda c: ~c["Male"]),
    Node("Oval_Face", {"Male": 0.4, "Smiling": 0.8, "Heavy_Makeup": 1.1}, lambda c: ~c["Chubby"]),
    Node("High_Cheekbones", {"Male": -0.6, "Smiling": 3.4, "Wearing_Lipstick": 0.8}),
    Node("Rosy_Cheeks", {"Smiling": 1.9, "Heavy_Makeup": 1.9, "Wearing_Lipstick": 1.9}),
    Node("Pale_Skin", {"Male": -1.0, "High_Cheekbones": -1.2}),
    # hair
    Node("Bald", {"Young": -1.5, "Chubby": 1.3}, lambda c: c["Male"] & ~c["Wearing_Hat"]),
    Node(
        "Receding_Hairline",
        {"Young": -0.9, "Chubby": 1.1, "Wearing_Lipstick": -0.7},
        lambda c: ~c["Bald"] & ~c["Wearing_Hat"],
    ),
    Node("Wavy_Hair", {"Male": -0.6, "Wearing_Lipstick": 1.2}, lambda c: ~c["Bald"]),
    Node("Straight_Hair", {"Wearing_Hat": -2.9}, lambda c: ~c["Bald"] & ~c["Wavy_Hair"]),
    Node("Bangs", {"Male": -0.8}, lambda c: ~c["Bald"] & ~c["Wearing_Hat"] & ~c["Receding_Hairline"]),
    Node(
        "Gray_Hair",
        {
            "Male": 0.6,
            "Young": -4.2,
            "Heavy_Makeup": -0.5,
            "Wearing_Lipstick": -0.5,
            "Receding_Hairline": 1.2,
        },
        _hair_shows,
    ),
    Node("Black_Hair", {"Male": 0.7, "Wavy_Hair": -0.5}, lambda c: _hair_shows(c) & ~c["Gray_Hair"]),
    Node("Blond_Hair", {"Male": -2.4}, lambda c: _hair_shows(c) & ~c["Gray_Hair"] & ~c["Black_Hair"]),
    Node(
        "Brown_Hair",
        {"Wavy_Hair": 0.6},
        lambda c: _hair_shows(c) & ~c["Gray_Hair"] & ~c["Black_Hair"] & ~c["Blond_Hair"],
    ),
    # beard
    Node("No_Beard", {"Gray_Hair": 1.0}, lambda c: c["Male"], otherwise=True),
    Node("5_o_Clock_Shadow", {"Young": 0.9, "Chubby": -1.3, "No_Beard": -2.0}, lambda c: c["Male"]),
    Node("Goatee", {"5_o_Clock_Shadow": -1.4}, lambda c: ~c["No_Beard"]),
    Node("Mustache", {"No_Beard": -4.2, "5_o_Clock_Shadow": -1.1, "Goatee": 1.0}, lambda c: c["Male"]),
    Node("Sideburns", {"No_Beard": -4.6, "Goatee": 1.6}, lambda c: c["Male"] & ~c["Bald"] & ~_long_hair(c)),
    # features
    Node("Arched_Eyebrows", {"Male": -1.1, "Heavy_Makeup": 0.9, "Wearing_Lipstick": 1.1, "Oval_Face": -0.7}),
    Node("Bushy_Eyebrows", {"Male": 1.6, "Young": 1.1, "Black_Hair": 1.2}),
    Node(
        "Big_Nose",
        {
            "Male": 1.6,
            "Young": -0.6,
            "Smiling": 0.6,
            "Chubby": 1.4,
            "Heavy_Makeup": -0.9,
            "High_Cheekbones": 0.6,
            "Receding_Hairline": 0.7,
            "Brown_Hair": -0.6,
            "Mustache": 1.1,
            "Arched_Eyebrows": 0.8,
        },
    ),
    Node("Pointy_Nose", {"Heavy_Makeup": 1.1}, lambda c: ~c["Big_Nose"]),
    Node(
        "Big_Lips",
        {
            "Male": -0.7,
            "Wearing_Lipstick": 0.6,
            "Oval_Face": -0.8,
            "Goatee": 1.0,
            "Arched_Eyebrows": 0.8,
            "Big_Nose": 0.8,
        },
    ),
    Node("Bags_Under_Eyes", {"Young": -0.6, "Heavy_Makeup": -1.8, "High_Cheekbones": 0.7, "Big_Nose": 1.3}),
    Node(
        "Double_Chin",
        {"Male": 0.9, "Young": -1.8, "Smiling": 1.0, "Chubby": 2.8, "Big_Nose": 1.4},
        _chin_shows,
    ),
    Node("Narrow_Eyes", {"Mouth_Slightly_Open": 0.7, "Big_Lips": 0.6, "Bags_Under_Eyes": 0.7}),
    # clothes and accessories
    Node(
        "Eyeglasses",
        {
            "Young": -1.3,
            "Heavy_Makeup": -2.0,
            "Wearing_Lipstick": -1.2,
            "Bags_Under_Eyes": -1.8,
            "Double_Chin": 1.1,
        },
    ),
    Node(
        "Wearing_Earrings",
        {"Male": -2.7, "Heavy_Makeup": 0.5, "High_Cheekbones": 0.8, "Arched_Eyebrows": 0.6},
    ),
    Node("Wearing_Necktie", {"Young": -0.8, "Gray_Hair": 0.9}, lambda c: c["Male"]),
    Node("Wearing_Necklace", {"Male": -2.2, "Arched_Eyebrows": 0.6}, lambda c: ~c["Wearing_Necktie"]),
)
