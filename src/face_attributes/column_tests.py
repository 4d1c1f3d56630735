"""Tests of a column: whether values that were met are spread like those that are expected.

Each gives a p-value, how often chance alone makes them differ this much, and a distance, how much that is.
They are the ones that Evidently's report is told to show, and equal its figures: what it takes seconds to
draw is here computed in milliseconds, as often as there are windows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.spatial import distance as distances

# A tenth of a standard deviation matters: Evidently's own threshold for numbers. Shares that are so far apart
# have about this Jensen-Shannon distance: their difference, in standard deviations, over the root of 8.
_NUMBERS, _SHARES = 0.1, 0.1 / math.sqrt(8)
_LEAST_DEVIATION = 0.001  # Evidently's, lest a column that hardly moves is divided by nothing


@dataclass(frozen=True)
class Test:
    """How a kind of column is tested.

    Attributes:
        p_method: Evidently's name of the test.
        distance_method: Evidently's name of the distance.
        distance_threshold: at or above it the distance matters.
        measure: gives p-value and distance of values that were met and values that are expected.

    """

    p_method: str
    distance_method: str
    distance_threshold: float
    measure: Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def numbers(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Compare numbers (N,) with numbers (M,).

    Two-sided Kolmogorov-Smirnov test, and the Wasserstein distance in standard deviations of the expected.
    """
    deviation = max(float(np.std(expected)), _LEAST_DEVIATION)
    p_value = stats.ks_2samp(expected, found).pvalue
    return float(p_value), float(stats.wasserstein_distance(expected, found)) / deviation


def shares(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Compare how many of bool values (N,) are true with how many of others (M,).

    Two-sided z-test of two proportions, pooled, and the Jensen-Shannon distance (natural logarithm).
    """
    one, other = float(np.mean(found)), float(np.mean(expected))
    pooled = (found.sum() + expected.sum()) / (len(found) + len(expected))
    if pooled in (0, 1):
        return 1.0, 0.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / len(found) + 1 / len(expected)))
    p_value = 2 * (1 - stats.norm.cdf(abs(one - other) / error))
    return float(p_value), float(distances.jensenshannon((1 - other, other), (1 - one, one)))


NUMBERS = Test("ks", "wasserstein", _NUMBERS, numbers)
SHARES = Test("z", "jensenshannon", _SHARES, shares)


def of(values: np.ndarray) -> Test:
    """Return the test for a column of such values."""
    return SHARES if values.dtype == np.bool_ else NUMBERS
