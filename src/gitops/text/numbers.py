"""Numbers for people: the one place that decides how a page writes them."""

from typing import Protocol


class Ranged(Protocol):
    """A share, and the ends of its 95% interval where they are known."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def percent(share: float) -> str:
    """Return a share, such as an accuracy."""
    return f"{share:.2%}"


def interval(metric: Ranged) -> str:
    """Return a share with its 95% interval where that is known."""
    if metric.low is None or metric.high is None:
        return percent(metric.value)
    return f"{percent(metric.value)} ({percent(metric.low)} to {percent(metric.high)})"


def points(share: float) -> str:
    """Return a difference of two shares in percentage points, without the unit."""
    return f"{share * 100:.2f}"


def count(number: int) -> str:
    """Return a number of things."""
    return f"{number:,}"


def score(value: float) -> str:
    """Return a mean score."""
    return f"{value:.3f}"


def distance(value: float) -> str:
    """Return the distance of a column from its reference."""
    return f"{value:.3f}"


def multiple(value: float) -> str:
    """Return how many times as large something is as its limit."""
    return f"{value:.2f}"


def size(number: int) -> str:
    """Return a number of bytes, with three digits or more."""
    megabytes = number / 1e6
    return f"{megabytes:,.0f} MB" if megabytes >= 100 else f"{megabytes:.2f} MB"


def milliseconds(value: float) -> str:
    """Return a latency."""
    return f"{value:.2f} ms"


def duration(seconds: float) -> str:
    """Return a time span in the largest unit that leaves at least two of it."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def tick(value: float) -> str:
    """Return a short label of an axis that counts."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def percent_tick(share: float) -> str:
    """Return a short label of an axis of shares."""
    return f"{share * 100:.4g}%"
