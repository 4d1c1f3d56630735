"""Plots as figures of a template: an SVG that stretches with the page, and the same as a table.

The well-kept libraries that draw SVG scale a picture as a whole, letters too, so that nobody can read it on a
phone; and they bring styles and scripts of their own, which the page's security policy refuses. Here only
what is plotted is stretched: in a box of 1000 by 100, y downwards.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

WIDTH, HEIGHT = 1000, 100
_TICKS = 4
_LONG = 120  # days, from which on months are named rather than weeks


@dataclass(frozen=True)
class Tick:
    """A label of an axis, at a percentage of it."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A point: `kind` is how it looks, `title` what it says under a pointer."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Plot:
    """One plot. `says` is what somebody hears who does not see it; `head` and `rows` are the table."""

    name: str
    title: str
    says: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    across: tuple[Tick, ...] = ()
    up: tuple[Tick, ...] = ()
    bars: tuple[tuple[float, float, float, float], ...] = ()
    """x, y, width and height of each."""
    line: str = ""
    """Path data."""
    whiskers: str = ""
    dots: tuple[Dot, ...] = ()
    rules: tuple[tuple[float, str], ...] = ()
    """Lines across: y, and what they stand for."""
    legend: tuple[tuple[str, str], ...] = field(default=())
    """Kinds of dots, and what they mean."""


@dataclass(frozen=True)
class Span:
    """The days that are shown, both ends included."""

    since: date
    until: date

    @property
    def days(self) -> int:
        return (self.until - self.since).days + 1

    def x(self, day: date, *, middle: bool = True) -> float:
        """Return where a day is."""
        return round(((day - self.since).days + (0.5 if middle else 0)) / self.days * WIDTH, 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return the first of each month, or every other Monday of a few months."""
        days = (self.since + timedelta(days=number) for number in range(self.days))
        if self.days > _LONG:
            step = 1 if self.days < 400 else 3
            chosen = [day for day in days if day.day == 1 and (day.month - 1) % step == 0]
            names = [f"{day:%b}" if day.month > 1 else f"{day:%Y}" for day in chosen]
        else:
            chosen = [day for day in days if day.weekday() == 0][::2]
            names = [f"{day.day} {day:%b}" for day in chosen]
        places = (self.x(day, middle=False) / WIDTH * 100 for day in chosen)
        # The last would be cut off at the edge.
        return tuple(Tick(round(at, 2), name) for at, name in zip(places, names, strict=True) if at < 95)


class Scale:
    """The upward axis: from `low` to `high`, widened to round numbers."""

    def __init__(self, low: float, high: float, label: Callable[[float], str]) -> None:
        step = _step((high - low or abs(high) or 1) / _TICKS)
        self.low, self.high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        if self.low == self.high:
            self.high += step
        self._step, self._label = step, label

    def y(self, value: float) -> float:
        """Return where a value is; one that is off the axis is at its end."""
        inside = min(max(value, self.low), self.high)
        return round((self.high - inside) / (self.high - self.low) * HEIGHT, 2)

    def ticks(self) -> tuple[Tick, ...]:
        count = round((self.high - self.low) / self._step)
        found = [self.low + number * self._step for number in range(count + 1)]
        return tuple(Tick(self.y(value), self._label(value)) for value in found)


def _step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))


def bars(span: Span, scale: Scale, values: Iterable[tuple[date, float]], days: int) -> tuple:
    """Return a bar for each value, as wide as so many days less a gap."""
    full = days / span.days * WIDTH
    found = []
    for day, value in values:
        left = max(span.x(day, middle=False), 0)
        right = min(span.x(day, middle=False) + full * 0.86, WIDTH)
        top = scale.y(value)
        if right > left and value > 0:
            found.append((left, top, round(right - left, 2), round(HEIGHT - top, 2)))
    return tuple(found)


def line(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if len(points) > 1 else ""


def whiskers(ranges: Iterable[tuple[float, float, float]]) -> str:
    """Return the path of upright lines: x, y and y of each."""
    return "".join(f"M{x:g} {top:g}V{bottom:g}" for x, top, bottom in ranges)
