"""The plots of the page: volume, quarantine, drift, accuracy, and the scores of each attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from dashboard import plot
from dashboard.checks import Check
from dashboard.daily_stats import DailyStats
from dashboard.plot import Dot, Exact, Plot, Scale, Span
from gitops.model.metrics import Interval
from gitops.text import numbers, times

# Smaller changes do not matter, so the axis must not magnify them.
_LEAST_SPAN = 0.2


@dataclass(frozen=True)
class Spark:
    """The weekly mean score of an attribute. `reference` is the y coordinate of the mean in the reference."""

    name: str
    line: str
    dot: tuple[float, float]
    reference: float | None
    first: float
    last: float
    expected: float | None
    positive: float | None


def volume(span: Span, days: Sequence[DailyStats], width: int) -> Plot | None:
    """Plot the number of scored images, per day or, if `width` is 7, per week."""
    if not days:
        return None
    unit = _unit(width)
    total, most = sum(day.rows for day in days), max(days, key=lambda day: day.rows)
    scale = Scale(0, most.rows or 1, numbers.tick)
    return Plot(
        name="volume",
        title=f"Images scored per {unit}",
        description=_total(total, most.rows, width, most.day),
        head=(unit.capitalize(), "Batches", "Images"),
        rows=tuple(
            (f"{day.day}", numbers.count(day.batches), numbers.count(day.rows)) for day in reversed(days)
        ),
        across=span.ticks(),
        up=scale.ticks(),
        bars=plot.bars(span, scale, [(day.day, day.rows) for day in days], width),
    )


def quarantine(span: Span, days: Sequence[DailyStats], width: int) -> Plot | None:
    """Plot the number of images in quarantine. Return None if there are none."""
    if not any(day.bad for day in days):
        return None
    unit = _unit(width)
    total, most = sum(day.bad for day in days), max(days, key=lambda day: day.bad)
    scale = Scale(0, most.bad, numbers.tick)
    return Plot(
        name="quarantine",
        title=f"Images in quarantine per {unit}",
        description=_total(total, most.bad, width, most.day),
        head=(unit.capitalize(), "In quarantine", "Scored"),
        rows=tuple(
            (f"{day.day}", numbers.count(day.bad), numbers.count(day.rows))
            for day in reversed(days)
            if day.bad
        ),
        across=span.ticks(),
        up=scale.ticks(),
        bars=plot.bars(span, scale, [(day.day, day.bad) for day in days], width),
    )


def drift(span: Span, checks: Sequence[Check]) -> Plot | None:
    """Plot the largest shift of each check as a multiple of its limit. Return None if there is no shift."""
    found = [
        (check, check.largest)
        for check in sorted(checks, key=lambda check: check.at)
        if check.largest and check.largest.share is not None
    ]
    if not found:
        return None
    shares = [shift.share or 0 for _, shift in found]
    scale = Scale(0, max(1.2, *shares), lambda value: f"{value:g}")
    dots = tuple(
        Dot(
            span.x(check.at.date()),
            scale.y(shift.share or 0),
            _kind(check.drifted, alarm=check.alarm is not None),
            f"{check.at:%Y-%m-%d}: {shift.column}, {numbers.multiple(shift.share or 0)} of its limit",
        )
        for check, shift in found
    )
    moved, most = sum(bool(check.drifted) for check, _ in found), numbers.multiple(max(shares))
    return Plot(
        name="drift",
        title="Largest drift of each check; 1 is the limit",
        description=f"{len(found)} checks, {moved} with drift. The largest shift is {most}.",
        head=("Check", "Drift", "Largest shift", "Of its limit"),
        rows=tuple(
            (times.element(check.at), drifted(check), shift.column, numbers.multiple(shift.share or 0))
            for check, shift in reversed(found)
        ),
        across=span.ticks(),
        up=scale.ticks(),
        line=plot.line([(dot.x, dot.y) for dot in dots]),
        dots=dots,
        rules=((scale.y(1), "the limit"),),
        legend=_legend(dots, {"calm": "no drift", "bad": "drift", "alarm": "alarm"}),
    )


def accuracy(span: Span, checks: Sequence[Check], claimed: Interval | None) -> Plot | None:
    """Plot the accuracy on late labels with its interval. Return None if no check had enough labels."""
    found = [
        (check, check.accuracy)
        for check in sorted(checks, key=lambda check: check.at)
        if check.accuracy is not None
    ]
    if not found:
        return None
    threshold = next((check.threshold for check, _ in reversed(found) if check.threshold is not None), None)
    ends = [
        end
        for _, interval in found
        for end in (interval.value, interval.low, interval.high)
        if end is not None
    ]
    ends += [value for value in (threshold, claimed.value if claimed else None) if value is not None]
    scale = Scale(min(ends), max(ends), numbers.percent_tick)
    dots = tuple(
        Dot(
            span.x(check.at.date()),
            scale.y(interval.value),
            _kind(check.below, alarm=False),
            f"{check.at:%Y-%m-%d}: {numbers.interval(interval)}",
        )
        for check, interval in found
    )
    rules = [] if threshold is None else [(scale.y(threshold), "the threshold")]
    if claimed:
        rules.append((scale.y(claimed.value), "accuracy on the hold-out set"))
    last = found[-1][1]
    return Plot(
        name="accuracy",
        title="Mean accuracy, with 95% intervals",
        description=f"{len(found)} checks with enough labels. The last accuracy is {numbers.interval(last)}"
        + (f"; the threshold is {numbers.percent(threshold)}." if threshold is not None else "."),
        head=("Check", "Mean accuracy (95% interval)", "Labels", "Threshold"),
        rows=tuple(
            (
                times.element(check.at),
                numbers.interval(interval),
                "" if check.labels is None else numbers.count(check.labels),
                "" if check.threshold is None else numbers.percent(check.threshold),
            )
            for check, interval in reversed(found)
        ),
        across=span.ticks(),
        up=scale.ticks(),
        line=plot.line([(dot.x, dot.y) for dot in dots]),
        whiskers=plot.whiskers(
            (span.x(check.at.date()), scale.y(interval.high), scale.y(interval.low))
            for check, interval in found
            if interval.low is not None and interval.high is not None
        ),
        dots=dots,
        rules=tuple(rules),
        legend=_legend(dots, {"calm": "no alarm", "bad": "significantly too low"}),
    )


def sparks(span: Span, weeks: Sequence[DailyStats], reference: Mapping[str, float]) -> list[Spark]:
    """Return a small plot for each scored attribute, sorted by name."""
    found = []
    for name in sorted({name for week in weeks for name in week.mean_scores}):
        points = [(week.day, week.mean_scores[name]) for week in weeks if name in week.mean_scores]
        expected = reference.get(name)
        ends = [value for _, value in points] + ([expected] if expected is not None else [])
        margin = max(0.0, _LEAST_SPAN - (max(ends) - min(ends))) / 2 + 0.01
        scale = Exact(min(ends) - margin, max(ends) + margin)
        path = [(max(span.x(day), 0.0), scale.y(value)) for day, value in points]
        found.append(
            Spark(
                name=name,
                line=plot.line(path),
                dot=path[-1],
                reference=None if expected is None else scale.y(expected),
                first=points[0][1],
                last=points[-1][1],
                expected=expected,
                positive=weeks[-1].positive.get(name),
            )
        )
    return found


def drifted(check: Check) -> str:
    """Return the drift result of a check in words."""
    if check.drifted is None:
        return "not enough data"
    if not check.drifted:
        return "no drift"
    return f"drift ({len(check.moved)} column{'' if len(check.moved) == 1 else 's'})"


def _kind(bad: bool | None, *, alarm: bool) -> str:
    return "alarm" if alarm else "bad" if bad else "calm"


def _legend(dots: Sequence[Dot], names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    used = {dot.kind for dot in dots}
    return tuple((kind, name) for kind, name in names.items() if kind in used)


def _total(total: int, most: int, width: int, day: date) -> str:
    return (
        f"{numbers.count(total)} images in total. The maximum is {numbers.count(most)}, {_on(width)} {day}."
    )


def _unit(width: int) -> str:
    return "week" if width == 7 else "day"


def _on(width: int) -> str:
    return "in the week of" if width == 7 else "on"
