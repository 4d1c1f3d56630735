"""Tests of a column: whether values that were met are spread like those that are expected.

Each test returns a p-value (how often chance alone makes them differ this much) and a distance (how much
they differ). The distances and the test of numbers equal Evidently's figures. The test of shares is
Fisher's exact one: Evidently's z-test is wrong for rare answers, where it takes one `yes` for drift.
`register` makes the exact test known to Evidently's report.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.spatial import distance as distances

# Of the images. A rare answer moves by many of its own standard deviations when few images get it, and
# neither the people nor the model's accuracy have changed by then
LEAST_SHARE = 0.02
_LEAST_DEVIATION = 0.001  # Evidently's, lest a column that hardly moves is divided by nothing
_ROOT_8 = math.sqrt(8)
_FISHER = "visage_fisher"


@dataclass(frozen=True)
class Test:
    """How a kind of column is tested.

    Attributes:
        p_method: Evidently's name of the test.
        distance_method: Evidently's name of the distance.
        p_value: of values that were met and values that are expected.
        distance: of the same.
        limit: returns the distance from expected values that a shift of so many standard deviations makes.

    """

    p_method: str
    distance_method: str
    p_value: Callable[[np.ndarray, np.ndarray], float]
    distance: Callable[[np.ndarray, np.ndarray], float]
    limit: Callable[[np.ndarray, float], float]

    def measure(self, found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
        """Return p-value and distance."""
        return self.p_value(found, expected), self.distance(found, expected)


def _number_p_value(found: np.ndarray, expected: np.ndarray) -> float:
    """Return that of the two-sided Kolmogorov-Smirnov test."""
    result = stats.ks_2samp(expected, found)
    return float(result.pvalue)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types


def _number_distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the Wasserstein distance, in standard deviations of the expected."""
    deviation = max(float(np.std(expected)), _LEAST_DEVIATION)
    return float(stats.wasserstein_distance(expected, found)) / deviation


def _share_p_value(found: np.ndarray, expected: np.ndarray) -> float:
    """Return that of Fisher's exact test, two-sided, of bool values."""
    return exact(int(found.sum()), len(found), int(expected.sum()), len(expected))


def _share_distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the Jensen-Shannon distance (natural logarithm) of bool values."""
    return share_distance(int(found.sum()) / len(found), int(expected.sum()) / len(expected))


@lru_cache(maxsize=100_000)
def exact(yes: int, count: int, expected_yes: int, expected_count: int) -> float:
    """Return the p-value of Fisher's exact test, two-sided, of `yes` of `count` against the expected."""
    table = [[yes, count - yes], [expected_yes, expected_count - expected_yes]]
    result = stats.fisher_exact(table)
    return float(result.pvalue)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types


@lru_cache(maxsize=100_000)
def share_distance(share: float, expected: float) -> float:
    """Return the Jensen-Shannon distance of two shares of true values."""
    if share == expected:
        return 0.0  # rounding makes it a little more
    return float(distances.jensenshannon((1 - expected, expected), (1 - share, share)))


def _number_limit(_: np.ndarray, shift: float) -> float:
    return shift


def _share_limit(expected: np.ndarray, shift: float) -> float:
    """Return the distance of shares that are `shift` standard deviations apart, and LEAST_SHARE at least."""
    share = float(np.mean(expected))
    least = share + LEAST_SHARE if share < 0.5 else share - LEAST_SHARE
    return max(shift / _ROOT_8, share_distance(least, share))


NUMBERS = Test("ks", "wasserstein", _number_p_value, _number_distance, _number_limit)
SHARES = Test(_FISHER, "jensenshannon", _share_p_value, _share_distance, _share_limit)


def of(values: np.ndarray) -> Test:
    """Return the test for a column of such values."""
    return SHARES if values.dtype == np.bool_ else NUMBERS


def register() -> None:
    """Make the exact test of shares known to Evidently.

    Evidently's own `fisher_exact` refuses two samples of different sizes.
    """
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def test(expected, found, _, threshold):
        p_value = SHARES.p_value(found.to_numpy(bool), expected.to_numpy(bool))
        return p_value, p_value < threshold

    kinds = [ColumnType.Categorical]
    register_stattest(StatTest(_FISHER, "Fisher's exact test", kinds, default_threshold=0.05), test)
