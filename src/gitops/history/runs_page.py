"""The page of runs and of the trends over the releases of main, as one HTML file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from gitops.history import page
from gitops.history.runs import Run
from gitops.history.trends import Point, Trend
from gitops.model import cost

_WIDTH, _HEIGHT, _MARGIN = 320, 90, 6
_CURVES = (("training loss", "{:.4f}"), ("validation loss", "{:.4f}"), ("validation accuracy", "{:.2%}"))
_MOST_EPOCHS = 60


@dataclass(frozen=True)
class Mark:
    """A release in a drawing."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Drawing:
    """A trend as the coordinates of a drawing."""

    title: str
    last: str
    low: str
    high: str
    points: tuple[Mark, ...]
    line: str
    band: str
    width: int = _WIDTH
    height: int = _HEIGHT


def render(runs: Sequence[Run], trends: Sequence[Trend], key: str, at: datetime) -> str:
    """Return the page.

    Args:
        runs: The runs, in the order in which they are shown.
        trends: The trends over the releases.
        key: The value by which they are ordered.
        at: The time at which they were read.

    """
    drawings = [draw(trend) for trend in trends if len(trend.points) > 1]
    curves = {run.commit: [draw(curve) for curve in _curves(run)] for run in runs}
    spent = cost.total(run.cost for run in runs if run.cost)
    values = {"runs": runs, "trends": drawings, "curves": curves, "cost": spent, "key": key, "at": at}
    return page.render("runs.html.j2", values)


def _curves(run: Run) -> Iterator[Trend]:
    """Yield the learning curve of a run: each of its columns that has two epochs or more."""
    rows = run.metrics.curve
    every = max(len(rows) // _MOST_EPOCHS, 1)
    for column, (title, form) in enumerate(_CURVES, 1):
        points = [
            Point(f"epoch {row[0]:g}", run.at, value)
            for number, row in enumerate(rows)
            if (value := row[column]) is not None and (number % every == 0 or number == len(rows) - 1)
        ]
        if len(points) > 1:
            yield Trend(title, form, tuple(points))


def draw(trend: Trend) -> Drawing:
    """Return the coordinates of a trend: a step for each point, and its range from top to bottom."""
    ends = [
        value for point in trend.points for value in (point.low, point.value, point.high) if value is not None
    ]
    low, high = min(ends), max(ends)
    step = (_WIDTH - 2 * _MARGIN) / max(len(trend.points) - 1, 1)

    def x(number: int) -> float:
        return round(_MARGIN + number * step, 1)

    def y(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(_HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN), 1)

    def path(points: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{x(number)},{y(value)}" for number, value in points)

    lower = [(number, point.low) for number, point in enumerate(trend.points) if point.low is not None]
    upper = [(number, point.high) for number, point in enumerate(trend.points) if point.high is not None]
    marks = tuple(
        Mark(x(number), y(point.value), f"{point.commit[:12]} {point.at:%Y-%m-%d}: {_shown(trend, point)}")
        for number, point in enumerate(trend.points)
    )
    return Drawing(
        trend.title,
        _shown(trend, trend.points[-1]),
        trend.format.format(low),
        trend.format.format(high),
        marks,
        path([(number, point.value) for number, point in enumerate(trend.points)]),
        path([*lower, *reversed(upper)]) if len(lower) == len(trend.points) == len(upper) else "",
    )


def _shown(trend: Trend, point: Point) -> str:
    return trend.format.format(point.value)
