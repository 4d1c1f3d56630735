"""Limits: how far a column may be from the reference's while nothing has changed but the people.

Two things move a column: chance, because images are few, and people, because production shows other people
than the reference. More images make the first smaller, not the second: a thousand photographs of fifty
people show fifty beards. So the limit of a column is learnt from the people of the reference. An analysis
of variance gives the share of the column's variance that lies between people (the intraclass correlation);
with the number of people it gives the variance between the means of two groups. The check assumes that a
week shows about as many people as the reference. Where the reference does not know its people, the limit is
that of UNKNOWN.

Days differ too: a weekend shows other people in other light. A reference that consists of windows, such as a
model's first weeks, shows how far its windows are from each other. The same analysis gives the variance of a
window's mean, and a window may be so much further away.

Source of the estimate: Donner, A Review of Inference Procedures for the Intraclass Correlation Coefficient
in the One-Way Random Effects Model, International Statistical Review 54 (1986), 67-82.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

LEAST = 0.1  # standard deviations: a smaller shift does not matter, however many images prove it
# Two groups of people differ by more than two random draws from one group, so the people's part of a
# variance counts so often. Between CelebA's validation and test part, the whole variance of the columns'
# means is 2.4 to 2.5 times that of random groups, in the order of its identities 2.1 to 7.4:
# benchmarks/results/drift.md
TOGETHER = 2.5
# The variance between the means of two groups of 800 people, in a column that lies between people alone
UNKNOWN = 2 / 800
# An unlucky reference is one of 1,000 (0.02 times 5 %): chance has put some column of it so far off. Against
# it a column has an alarm in 5 % of weeks
UNLUCKY, WEEKLY = 0.02, 0.05
# Fewer windows do not show how far they are from each other
LEAST_WINDOWS = 5
_COMMON = np.linspace(0, 1, 33)


@dataclass(frozen=True)
class Rule:
    """When a column has drifted, and how often chance and other people may make it.

    Attributes:
        alpha: The share of checks in which a column may drift although only the people changed.
        after: the number of windows in which it must differ.
        of: the number of windows that a check looks at.

    """

    alpha: float
    after: int
    of: int

    @property
    def level(self) -> float:
        """Return how often chance may make the column differ in one window."""
        return _level(self)

    def shift(self, found: int, expected: int, people: float, window: float = 0.0, windows: int = 1) -> float:
        """Return the limit of a window, in standard deviations.

        The random variation is independent in each window. That of the reference, and the people, are the
        same in all of them, so asking for several windows does not help against these. A release keeps its
        reference: so that an unlucky one (see UNLUCKY) does not alarm week after week, the limit also leaves
        each column a rate of at most WEEKLY against it.

        Args:
            found: number of images of the window.
            expected: number of images of the reference.
            people: variance that other people make, see `between`.
            window: variance between the means of windows, see `among`.
            windows: number of windows of the reference.

        """
        own, reference = 1 / found + window, 1 / expected + window / windows
        common = reference + people
        deviations = np.interp(common / (own + common), _COMMON, _deviations(self))
        unlucky, week = _unlucky(self)
        return max(
            LEAST,
            float(deviations) * math.sqrt(own + common),
            unlucky * math.sqrt(reference) + week * math.sqrt(own + people),
        )


@lru_cache(maxsize=64)
def _level(rule: Rule) -> float:
    def excess(p: float) -> float:
        return float(stats.binom.sf(rule.after - 1, rule.of, p)) - rule.alpha

    return optimize.root_scalar(excess, bracket=(0, 1), method="brentq").root


@lru_cache(maxsize=64)
def _unlucky(rule: Rule) -> tuple[float, float]:
    """Return the standard deviations that an unlucky reference is off, and those of a week against it."""
    one_sided = _level(Rule(WEEKLY, rule.after, rule.of))
    return float(stats.norm.isf(UNLUCKY * rule.alpha / 2)), float(stats.norm.isf(one_sided))


@lru_cache(maxsize=64)
def _deviations(rule: Rule) -> np.ndarray:
    """Return the limit for each share of common variance in _COMMON, where the whole variance is 1."""
    at = np.linspace(-8, 8, 401)
    weights = stats.norm.pdf(at) / stats.norm.pdf(at).sum()

    def rate(limit: float, share: float) -> float:
        own, common = math.sqrt(1 - share), at * math.sqrt(share)
        over = stats.norm.sf((limit - common) / own) + stats.norm.cdf((-limit - common) / own)
        return float(weights @ stats.binom.sf(rule.after - 1, rule.of, over))

    limits = [
        optimize.brentq(lambda limit, one=share: rate(limit, one) - rule.alpha, 0, 20)
        for share in _COMMON[:-1]
    ]
    return np.array([*limits, stats.norm.isf(rule.alpha / 2)])


def between(values: np.ndarray, people: np.ndarray | None) -> float:
    """Return the variance between the means of two groups of people, beyond that of as many single images.

    Args:
        values: a column of the reference, (M,).
        people: the number of the person on each image, (M,); None where that is not known.

    Returns:
        The variance, in variances of the column. 0 where nobody is on two images.

    """
    if people is None:
        return UNKNOWN
    _, person, counts = np.unique(people, return_inverse=True, return_counts=True)
    # 1 / rows where all are different people, 1 / people where all have equally many images
    concentration = float((counts**2).sum()) / len(values) ** 2
    return 2 * TOGETHER * _intraclass(values, person, counts) * (concentration - 1 / len(values))


def among(values: np.ndarray, window: np.ndarray | None) -> float:
    """Return the variance between the means of windows, in variances of the column.

    Args:
        values: a column of the reference, (M,).
        window: the number of the window of each image, (M,); None where the reference has none.

    """
    if window is None or len(set(window.tolist())) < LEAST_WINDOWS:
        return 0.0
    _, number, counts = np.unique(window, return_inverse=True, return_counts=True)
    return _intraclass(values, number, counts)


def effective(people: np.ndarray) -> float:
    """Return how many people there would be if each had equally many images."""
    _, counts = np.unique(people, return_counts=True)
    return float(counts.sum() ** 2 / (counts**2).sum())


def _intraclass(values: np.ndarray, person: np.ndarray, counts: np.ndarray) -> float:
    """Return the share of the variance that lies between people, from an analysis of variance."""
    rows, people = len(values), len(counts)
    if people in (1, rows):
        return float(people == 1)
    numbers = values.astype(np.float64)
    means = np.bincount(person, numbers) / counts
    within = float(((numbers - means[person]) ** 2).sum()) / (rows - people)
    among = float((counts * (means - numbers.mean()) ** 2).sum()) / (people - 1)
    size = (rows - float((counts**2).sum()) / rows) / (people - 1)
    variance = max(0.0, (among - within) / size)
    return variance / (variance + within) if variance + within > 0 else 0.0
