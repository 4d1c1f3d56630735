from datetime import date, timedelta

import pytest

from dashboard import plot
from dashboard.plot import Scale, Span

DAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 11532, ["0", "5000", "10000", "15000"]),
        (0, 1, ["0", "0.5", "1"]),
        (0, 3, ["0", "1", "2", "3"]),
        (0.5, 0.5, ["0.4", "0.6"]),
        (0, 0, ["0", "0.5"]),
    ],
)
def test_ticks_are_round_and_hold_what_is_shown(low: float, high: float, labels: list[str]) -> None:
    scale = Scale(low, high, lambda value: f"{value:g}")
    assert scale.low <= low
    assert scale.high >= high
    assert [tick.label for tick in scale.ticks()] == labels
    assert (scale.ticks()[0].at, scale.ticks()[-1].at) == (100, 0)


def test_what_is_off_the_scale_is_at_its_end() -> None:
    scale = Scale(0, 10, str)
    assert (scale.y(-5), scale.y(0), scale.y(5), scale.y(10), scale.y(99)) == (100, 100, 50, 0, 0)


@pytest.mark.parametrize("days", [91, 182, 364])
def test_days_are_where_they_belong_and_few_are_named(days: int) -> None:
    span = Span(DAY - timedelta(days=days - 1), DAY)
    assert span.x(span.since, middle=False) == 0
    assert 0 < span.x(span.since) < span.x(DAY) < plot.WIDTH
    ticks = span.ticks()
    assert 3 <= len(ticks) <= 13
    assert all(0 <= tick.at < 95 for tick in ticks)
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_bars_stay_in_the_plot() -> None:
    span = Span(DAY - timedelta(days=13), DAY)
    values = [(DAY - timedelta(days=16), 3), (DAY - timedelta(days=5), 0), (DAY, 10)]
    bars = plot.bars(span, Scale(0, 10, str), values, 7)
    assert len(bars) == 2
    assert all(x >= 0 and x + width <= plot.WIDTH and y + height == 100 for x, y, width, height in bars)


def test_one_point_is_no_line() -> None:
    assert plot.line([(1, 2)]) == ""
    assert plot.line([(1, 2), (3, 4.5)]) == "M1 2L3 4.5"
    assert plot.whiskers([(1, 2, 3)]) == "M1 2V3"
