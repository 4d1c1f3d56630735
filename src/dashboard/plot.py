"""Data for the plots of the page: an SVG that stretches with the page, and a table with the same values.

The usual SVG libraries scale the whole picture, including the text, so nobody can read it on a phone. They
also need inline styles and scripts, which the security policy of the page refuses. Here, only the plot area
is stretched. Its coordinates run from 0 to 1000 (x) and from 0 to 100 (y, downwards).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

WIDTH, HEIGHT = 1000, 100
_TICKS = 4
_LONG = 120  # from this number of days on, ticks are months rather than weeks


@dataclass(frozen=True)
class Tick:
    """A label of an axis, at a position in percent."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A point. `kind` is its CSS class, and `title` its tooltip."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A vertical line, such as where another release came. `title` is its tooltip."""

    x: float
    title: str


@dataclass(frozen=True)
class Plot:
    """A plot. Screen readers read `description`. `head` and `rows` are the table."""

    name: str
    title: str
    description: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    across: tuple[Tick, ...] = ()
    up: tuple[Tick, ...] = ()
    bars: tuple[tuple[float, float, float, float], ...] = ()
    """x, y, width and height of each bar."""
    line: str = ""
    """Path data."""
    whiskers: str = ""
    dots: tuple[Dot, ...] = ()
    rules: tuple[tuple[float, str], ...] = ()
    """Horizontal lines: y and meaning."""
    legend: tuple[tuple[str, str], ...] = field(default=())
    """Kinds of dots and their meaning."""


@dataclass(frozen=True)
class Span:
    """The days that are shown, both ends included."""

    since: date
    until: date

    @property
    def days(self) -> int:
        return (self.until - self.since).days + 1

    def x(self, day: date, *, middle: bool = True) -> float:
        """Return the x coordinate of a day."""
        return round(((day - self.since).days + (0.5 if middle else 0)) / self.days * WIDTH, 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return ticks at the first of each month or, for a short span, at every other Monday."""
        days = (self.since + timedelta(days=number) for number in range(self.days))
        if self.days > _LONG:
            step = 1 if self.days < 400 else 3
            chosen = [day for day in days if day.day == 1 and (day.month - 1) % step == 0]
            names = [f"{day:%b}" if day.month > 1 else f"{day:%Y}" for day in chosen]
        else:
            chosen = [day for day in days if day.weekday() == 0][::2]
            names = [f"{day.day} {day:%b}" for day in chosen]
        places = (self.x(day, middle=False) / WIDTH * 100 for day in chosen)
        # A label at the edge would be cut off.
        return tuple(Tick(round(at, 2), name) for at, name in zip(places, names, strict=True) if at < 95)


@dataclass(frozen=True)
class Exact:
    """A vertical axis without labels, from `low` to `high`."""

    low: float
    high: float

    def y(self, value: float) -> float:
        """Return the y coordinate of a value."""
        return round((self.high - value) / (self.high - self.low) * HEIGHT, 1)


class Scale:
    """The vertical axis, from `low` to `high`, widened to round numbers."""

    def __init__(self, low: float, high: float, label: Callable[[float], str]) -> None:
        step = _step((high - low or abs(high) or 1) / _TICKS)
        self.low, self.high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        if self.low == self.high:
            self.high += step
        self._step, self._label = step, label

    def y(self, value: float) -> float:
        """Return the y coordinate of a value. Values off the axis are moved to its end."""
        inside = min(max(value, self.low), self.high)
        return round((self.high - inside) / (self.high - self.low) * HEIGHT, 2)

    def ticks(self) -> tuple[Tick, ...]:
        count = round((self.high - self.low) / self._step)
        values = [self.low + number * self._step for number in range(count + 1)]
        return tuple(Tick(self.y(value), self._label(value)) for value in values)


def _step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))


def bars(span: Span, scale: Scale, values: Iterable[tuple[date, float]], days: int) -> tuple:
    """Return a bar for each positive value. Bars are `days` wide, less a gap."""
    full = days / span.days * WIDTH
    rectangles = []
    for day, value in values:
        left = max(span.x(day, middle=False), 0)
        right = min(span.x(day, middle=False) + full * 0.86, WIDTH)
        top = scale.y(value)
        if right > left and value > 0:
            rectangles.append((left, top, round(right - left, 2), round(HEIGHT - top, 2)))
    return tuple(rectangles)


def line(points: Sequence[tuple[float, float]]) -> str:
    """Return the SVG path through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if len(points) > 1 else ""


def whiskers(ranges: Iterable[tuple[float, float, float]]) -> str:
    """Return the SVG path of vertical lines, each given by x, top and bottom."""
    return "".join(f"M{x:g} {top:g}V{bottom:g}" for x, top, bottom in ranges)


def marks(span: Span, events: Iterable[tuple[date, str]], days: int) -> tuple[Mark, ...]:
    """Return a mark for each bar of a plot in which something happened, at the first time in it.

    Args:
        span: The shown days.
        events: The day and the name of each event, oldest first. Those outside of the span are left out.
        days: The width of a bar.

    """
    bars: dict[int, list[tuple[date, str]]] = {}
    for day, name in events:
        if span.since <= day <= span.until:
            bars.setdefault((day - span.since).days // days, []).append((day, name))
    return tuple(
        Mark(span.x(here[0][0]), f"{here[0][0]}: {_named([name for _, name in here])}")
        for here in bars.values()
    )


def _named(names: Sequence[str]) -> str:
    return f"release {names[0]}" if len(names) == 1 else f"{len(names)} releases, the last is {names[-1]}"
