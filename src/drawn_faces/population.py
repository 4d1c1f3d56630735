"""Which attributes a drawn face has: a small Bayesian network with CelebA's marginals and correlations.

Sex, age, a hat and the expression come first, everything else depends on them. Each attribute is a logistic
function of those before it, and can only be true where it can be seen (no fringe on a bald head, no goatee on
a shaven chin). Its intercept is set on a reference population so that the attribute is as frequent as in
CelebA.
"""

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from drawn_faces.attribute_graph import NODES, Columns, Node
from drawn_faces.celeba import CELEBA_MARGINALS
from drawn_faces.random_streams import RandomStreams

DRAWN_ATTRIBUTES: tuple[str, ...] = tuple(
    name for name in CELEBA_MARGINALS if name in {n.name for n in NODES}
)

_REFERENCE_SIZE = 65_536


def sample(seed: int, indices: Sequence[int], marginals: Mapping[str, float] | None = None) -> Columns:
    """Attributes of the faces `indices` under `seed`: one bool array of shape (len(indices),) per name.

    A face's attributes depend on `seed`, its index and `marginals` only, not on its neighbours.
    """
    uniform = np.stack([RandomStreams(seed, index).of("population").random(len(NODES)) for index in indices])
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
