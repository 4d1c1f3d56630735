"""Significance: the tests that the gates share, in plain Python and without a library of statistics."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from gitops.gates.comparison import Difference, Rare

POWER = 0.8
# An attribute whose answers are right this often by chance, or more often, is dead.
_ALIVE = 0.05
_NEGLIGIBLE = 1e-18  # share of a sum

_NORMAL = NormalDist()
_IN_INTERVAL = 2 * _NORMAL.inv_cdf(0.975)  # standard errors in a 95% interval


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm: those up to alpha are significant together."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = floor
    return adjusted


def lowest(part: Difference, alpha: float) -> float:
    """Return the lower end of the one-sided interval of a difference, at the confidence 1 - alpha."""
    return part.difference - _NORMAL.inv_cdf(1 - alpha) * _standard_error(part)


def visible(part: Difference, alpha: float, limit: float) -> float:
    """Return the smallest true loss that a gate refuses with the probability POWER.

    Args:
        part: The difference, for its standard error.
        alpha: The error rate of its test.
        limit: The loss that must be excluded where there are enough images.

    """
    error = _standard_error(part)
    width = _NORMAL.inv_cdf(1 - alpha) * error
    return max(width, limit - width) + _NORMAL.inv_cdf(POWER) * error


def beyond(alpha: float) -> float:
    """Return the standard errors that chance exceeds on one side with the probability `alpha`."""
    return _NORMAL.inv_cdf(1 - alpha)


def wilson(hits: int, count: int, z: float) -> tuple[float, float]:
    """Return the score interval of the share hits / count, count > 0, at z standard errors.

    Source: Wilson, Probable inference, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share, square = hits / count, z * z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def p_below_zero(difference: float, error: float) -> float:
    """Return how likely chance shows such a difference, or a lower one, where there is none (normal)."""
    return _NORMAL.cdf(difference / error) if error else float(difference >= 0)


def together(best: Difference, incumbent: Difference) -> Difference:
    """Return how far a candidate and the incumbent are from the best release, in the mean of both.

    An incumbent that looks better than the best release counts as equal to it. The error assumes that the
    best release and the candidate vary equally on the images.

    Args:
        best: The candidate compared with the best release.
        incumbent: The candidate compared with the incumbent, on the same images.

    """
    own = min(best.difference - incumbent.difference, 0.0)
    mean = (best.difference + own) / 2
    error = math.sqrt(2 * _standard_error(best) ** 2 + _standard_error(incumbent) ** 2) / 2
    width = error * _IN_INTERVAL / 2
    return Difference(
        accuracy=best.accuracy,
        incumbent=best.incumbent,
        difference=mean,
        low=max(mean - width, -1.0),
        high=min(mean + width, 1.0),
        p_worse=p_below_zero(mean, error),
    )


def _standard_error(part: Difference) -> float:
    return (part.high - part.low) / _IN_INTERVAL


def informative(rare: Rare, right: int, false: int) -> bool:
    """Return whether the rarer answer is more frequent where it is right, by Fisher's exact test."""
    answers, images = right + false, rare.count + rare.others
    ways = _log_ways(images, answers)

    def log_chance(hits: int) -> float:
        return _log_ways(rare.count, hits) + _log_ways(rare.others, answers - hits) - ways

    first, last = max(right, answers - rare.others), min(rare.count, answers)
    likeliest = (answers + 1) * (rare.count + 1) // (images + 2)
    return _sum(log_chance, first, last, likeliest) <= _ALIVE


def _log_ways(things: int, chosen: int) -> float:
    return math.lgamma(things + 1) - math.lgamma(chosen + 1) - math.lgamma(things - chosen + 1)


def p_sign(lost: int, gained: int) -> float:
    """Return how likely chance loses `lost` or more of `lost + gained` images, each as likely as not."""
    tosses = lost + gained
    return _sum(lambda heads: _log_ways(tosses, heads) - tosses * math.log(2), lost, tosses, tosses // 2)


def _sum(log_chance: Callable[[int], float], first: int, last: int, likeliest: int) -> float:
    """Return the sum of the chances from `first` to `last`, of which those far from `likeliest` are tiny.

    Chances that no longer change the sum are left out: of a million images some thousand count.
    """
    middle = min(max(likeliest, first), last)
    total = 0.0
    for numbers in (range(middle, last + 1), range(middle - 1, first - 1, -1)):
        for number in numbers:
            chance = math.exp(log_chance(number))
            total += chance
            if chance <= total * _NEGLIGIBLE:
                break
    return min(total, 1.0)
