"""Weeks that are drawn from scored images, and checked as monitoring does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyarrow as pa
from scipy import stats

from face_attributes.data.image_statistics import STATISTICS
from face_attributes.monitoring import column_tests, drift, joint_test, limits
from face_attributes.monitoring.column_tests import NUMBERS

DAYS = 7
# Evidently's limits for numbers and for two values, for a reference of up to 1,000 rows and a larger one
EVIDENTLY_ROWS = 1000
EVIDENTLY_P, EVIDENTLY_DISTANCE = 0.05, 0.1
EVIDENTLY_SHARE = 0.5  # of the columns: then the data set has drifted

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Known:
    """A reference: its columns, and the number of the person on each image, None where it is not known."""

    columns: Columns
    people: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class WeekResult:
    """The results of a week: the columns with an alarm, the columns that Evidently reports, and the total."""

    ours: tuple[str, ...]
    evidently: tuple[str, ...]
    columns: int


class Checker:
    """Check weeks like `drift`, but compute only the values that decide."""

    def __init__(self, known: Known) -> None:
        self._columns = {}
        rule = limits.Rule(drift.ALPHA / len(known.columns), drift.ALARM_AFTER, drift.LATEST)
        for name, values in known.columns.items():
            column = drift.Column.of(values, known.people, rule)
            self._columns[name] = replace(column, values=np.sort(values))
        self._reference = joint_test.Reference.of(known.columns, known.people)

    def ours(self, days: Sequence[Columns]) -> tuple[str, ...]:
        """Return the columns that raise an alarm: each by itself, or else all of them together."""
        return self.alone(days) or self.together(days)

    def together(self, days: Sequence[Columns]) -> tuple[str, ...]:
        """Return the columns that the joint test names."""
        return tuple(joint_test.compare(days, self._reference).columns) if self._reference else ()

    def alone(self, days: Sequence[Columns]) -> tuple[str, ...]:
        """Return the columns that differ on at least two of the days."""
        return tuple(
            name
            for name, column in self._columns.items()
            if sum(_differs(column, day[name]) for day in days) >= drift.ALARM_AFTER
        )

    def evidently(self, week: Columns) -> tuple[str, ...]:
        """Return the columns that Evidently's own choice of tests finds in all rows of a week together."""
        return tuple(name for name, column in self._columns.items() if _default(week[name], column.values))


def _differs(column: drift.Column, found: np.ndarray) -> bool:
    if column.test is NUMBERS:
        return significant(found, column.values, column.rule.level) and (
            column.test.distance(found, column.values) >= column.limit(len(found))
        )
    return column.differs(found)


def _default(found: np.ndarray, expected: np.ndarray) -> bool:
    test = column_tests.of(expected)
    if len(expected) > EVIDENTLY_ROWS:
        return test.distance(found, expected) >= EVIDENTLY_DISTANCE
    if test is NUMBERS:
        return significant(found, expected, EVIDENTLY_P)
    return _z_test(found, expected) < EVIDENTLY_P


def _z_test(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the p-value of Evidently's test of two shares."""
    counts = np.array([found.sum(), expected.sum()]), np.array([len(found), len(expected)])
    pooled = counts[0].sum() / counts[1].sum()
    if pooled in (0, 1):
        return 1.0
    error = np.sqrt(pooled * (1 - pooled) * (1 / counts[1]).sum())
    one, other = counts[0] / counts[1]
    return float(2 * (1 - stats.norm.cdf(abs(one - other) / error)))


def significant(found: np.ndarray, expected: np.ndarray, alpha: float) -> bool:
    """Return whether the Kolmogorov-Smirnov test's p-value is at most alpha, mostly without computing it."""
    low, high = _critical(len(found), len(expected), alpha)
    statistic = _statistic(found, expected)
    if low < statistic < high:
        result = stats.ks_2samp(expected, found)
        return bool(result.pvalue <= alpha)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types
    return statistic >= high


def _statistic(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest distance of two distribution functions; `expected` is in order.

    Between two values of `found` its function is constant, so the distance is largest at one of them or just
    before it.
    """
    found = np.sort(found)
    at, before = (
        np.searchsorted(found, found, side) / len(found)
        - np.searchsorted(expected, found, side) / len(expected)
        for side in ("right", "left")
    )
    return float(max(np.abs(at).max(), np.abs(before).max()))


@cache
def _critical(found: int, expected: int, alpha: float) -> tuple[float, float]:
    """Return a statistic that is surely not significant, and one that surely is, next to each other."""
    ones = np.ones(expected)

    def p_value(steps: int) -> float:
        result = stats.ks_2samp(ones, np.repeat((0.0, 1.0), (steps, found - steps)))
        return float(result.pvalue)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types

    low, high = 0, found
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(middle) <= alpha else (middle, high)
    # A statistic is a sum of fractions, which are not exact
    return low / found + 1e-9, high / found - 1e-9


def week(
    random: np.random.Generator, pool: Columns, a_day: int, anew: int = 0
) -> tuple[list[Columns], Columns]:
    """Return seven days from a pool, no image twice, and `anew` other images of it for a reference.

    If the pool has too few images for that, each day is drawn from the whole pool. An image may then appear
    on several days, and counts as another image each time.
    """
    size = len(next(iter(pool.values())))
    if size >= DAYS * a_day + anew:
        chosen = random.permutation(size)
        parts = [chosen[day * a_day : (day + 1) * a_day] for day in range(DAYS)]
        rest = chosen[DAYS * a_day : DAYS * a_day + anew]
    else:
        parts = [random.choice(size, min(a_day, size), replace=False) for _ in range(DAYS)]
        rest = random.choice(size, anew, replace=False)
    return [_rows(pool, part) for part in parts], _rows(pool, rest)


def _rows(pool: Columns, rows: np.ndarray) -> Columns:
    return {name: values[rows] for name, values in pool.items()}


def say(
    pool: Columns, a_day: int, expected: Known | int, seeds: Sequence[int], *, evidently: bool = True
) -> list[WeekResult]:
    """Check a week for each seed.

    Args:
        pool: images that the days are drawn from.
        a_day: how many images a day.
        expected: the reference, or the number of other images of the pool to use as one, as if each showed
            another person.
        seeds: of the weeks.
        evidently: whether to ask Evidently too.

    """
    anew = expected if isinstance(expected, int) else 0
    checker = Checker(expected) if isinstance(expected, Known) else None
    found = []
    for seed in seeds:
        days, rest = week(np.random.default_rng([seed, a_day]), pool, a_day, anew)
        one = checker or Checker(Known(rest, np.arange(anew)))
        theirs: tuple[str, ...] = ()
        if evidently:
            theirs = one.evidently({name: np.concatenate([day[name] for day in days]) for name in pool})
        found.append(WeekResult(one.ours(days), theirs, len(pool)))
    return found


@dataclass(frozen=True)
class Rates:
    """The share of weeks with an alarm."""

    weeks: int
    ours: int
    evidently: int
    evidently_half: int

    @classmethod
    def of(cls, results: Sequence[WeekResult]) -> "Rates":
        return cls(
            len(results),
            sum(bool(one.ours) for one in results),
            sum(bool(one.evidently) for one in results),
            sum(len(one.evidently) >= EVIDENTLY_SHARE * one.columns for one in results),
        )


def columns(table: pa.Table, names: Sequence[str]) -> Columns:
    """Return the columns of a table as arrays."""
    return {name: table.column(name).to_numpy() for name in names}


def groups(results: Sequence[WeekResult]) -> str:
    """Return the kinds of columns that have an alarm in most of the weeks that have one."""
    alarmed = [one for one in results if one.ours]
    counts: dict[str, int] = {}
    for one in alarmed:
        for group in {_group(name) for name in one.ours}:
            counts[group] = counts.get(group, 0) + 1
    return ", ".join(sorted(group for group, count in counts.items() if 2 * count >= len(alarmed)))


def _group(name: str) -> str:
    if name in STATISTICS:
        return name
    if name.endswith("_score"):
        return "scores"
    return "embedding" if name.startswith("embedding_") else "decisions"


def at_most(alarms: int, weeks: int) -> float:
    """Return the upper end of the one-sided 95 % confidence interval of a rate (Clopper-Pearson)."""
    return 1.0 if alarms == weeks else float(stats.beta.ppf(0.95, alarms + 1, weeks - alarms))
