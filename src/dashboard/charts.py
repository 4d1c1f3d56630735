"""The plots of the page: volume, quarantine, drift, accuracy, and a small one of the scores per attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from dashboard import plot
from dashboard.checks import Check
from dashboard.days import Day
from dashboard.plot import Dot, Plot, Scale, Span
from gitops.model.metrics import Interval

# A change of less is not worth a look, and must not look like one.
_LEAST_SPAN = 0.2


@dataclass(frozen=True)
class Spark:
    """The mean score of one attribute over the weeks; `reference` is the y of what it was trained on."""

    name: str
    line: str
    dot: tuple[float, float]
    reference: float | None
    first: float
    last: float
    expected: float | None
    positive: float | None


def volume(span: Span, days: Sequence[Day], width: int) -> Plot | None:
    """Plot the images that were scored; `days` are days, or weeks where `width` is 7."""
    if not days:
        return None
    unit = _unit(width)
    total, most = sum(one.rows for one in days), max(days, key=lambda one: one.rows)
    scale = Scale(0, most.rows or 1, _count)
    return Plot(
        name="volume",
        title=f"Images scored per {unit}",
        says=f"{total:,} images in all; most, {most.rows:,}, in the {unit} of {most.day}.",
        head=(unit.capitalize(), "Batches", "Images"),
        rows=tuple((f"{one.day}", f"{one.batches:,}", f"{one.rows:,}") for one in reversed(days)),
        across=span.ticks(),
        up=scale.ticks(),
        bars=plot.bars(span, scale, [(one.day, one.rows) for one in days], width),
    )


def quarantine(span: Span, days: Sequence[Day], width: int) -> Plot | None:
    """Plot the images that could not be used; None where there was none."""
    if not any(one.bad for one in days):
        return None
    unit = _unit(width)
    total, most = sum(one.bad for one in days), max(days, key=lambda one: one.bad)
    scale = Scale(0, most.bad, _count)
    return Plot(
        name="quarantine",
        title=f"Images in quarantine per {unit}",
        says=f"{total:,} images in all; most, {most.bad:,}, in the {unit} of {most.day}.",
        head=(unit.capitalize(), "In quarantine", "Scored"),
        rows=tuple((f"{one.day}", f"{one.bad:,}", f"{one.rows:,}") for one in reversed(days) if one.bad),
        across=span.ticks(),
        up=scale.ticks(),
        bars=plot.bars(span, scale, [(one.day, one.bad) for one in days], width),
    )


def drift(span: Span, checks: Sequence[Check]) -> Plot | None:
    """Plot the largest shift of each check, in the unit of its limit; None where there is none to plot."""
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
            f"{check.at:%Y-%m-%d}: {shift.column}, {shift.share:.2f} of its limit",
        )
        for check, shift in found
    )
    moved = sum(bool(check.drifted) for check, _ in found)
    return Plot(
        name="drift",
        title="Drift: the largest shift of any column, where 1 is its limit",
        says=f"{len(found)} checks, {moved} of them with drift; the largest shift is {max(shares):.2f}.",
        head=("Check", "Drift", "Largest shift", "Of its limit"),
        rows=tuple(
            (f"{check.at:%Y-%m-%d %H:%M}", drifted(check), shift.column, f"{shift.share:.2f}")
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
    """Plot the accuracy on late labels with its interval; None where no check had enough labels."""
    found = [
        (check, check.accuracy)
        for check in sorted(checks, key=lambda check: check.at)
        if check.accuracy is not None
    ]
    if not found:
        return None
    threshold = next((check.threshold for check, _ in reversed(found) if check.threshold is not None), None)
    ends = [end for _, one in found for end in (one.value, one.low, one.high) if end is not None]
    ends += [value for value in (threshold, claimed.value if claimed else None) if value is not None]
    scale = Scale(min(ends), max(ends), lambda value: f"{value * 100:.4g} %")
    dots = tuple(
        Dot(
            span.x(check.at.date()),
            scale.y(one.value),
            _kind(check.below, alarm=False),
            f"{check.at:%Y-%m-%d}: {percent(one)}",
        )
        for check, one in found
    )
    rules = [] if threshold is None else [(scale.y(threshold), "the threshold")]
    if claimed:
        rules.append((scale.y(claimed.value), "what it has on its hold-out set"))
    last = found[-1][1]
    return Plot(
        name="accuracy",
        title="Mean accuracy on late labels, with 95 % intervals",
        says=f"{len(found)} checks with enough labels; the last says {percent(last)}"
        + (f", where {threshold:.2%} is asked for." if threshold is not None else "."),
        head=("Check", "Mean accuracy (95 % interval)", "Labels", "Threshold"),
        rows=tuple(
            (
                f"{check.at:%Y-%m-%d %H:%M}",
                percent(one),
                "" if check.labels is None else f"{check.labels:,}",
                "" if check.threshold is None else f"{check.threshold:.2%}",
            )
            for check, one in reversed(found)
        ),
        across=span.ticks(),
        up=scale.ticks(),
        line=plot.line([(dot.x, dot.y) for dot in dots]),
        whiskers=plot.whiskers(
            (span.x(check.at.date()), scale.y(one.high), scale.y(one.low))
            for check, one in found
            if one.low is not None and one.high is not None
        ),
        dots=dots,
        rules=tuple(rules),
        legend=_legend(dots, {"calm": "not below the threshold", "bad": "below it, beyond chance"}),
    )


def sparks(weeks: Sequence[Day], reference: Mapping[str, float]) -> list[Spark]:
    """Return a small plot for each attribute that was scored, by name."""
    found = []
    for name in sorted({name for week in weeks for name in week.mean_scores}):
        points = [(week.day, week.mean_scores[name]) for week in weeks if name in week.mean_scores]
        expected = reference.get(name)
        ends = [value for _, value in points] + ([expected] if expected is not None else [])
        margin = max(0.0, _LEAST_SPAN - (max(ends) - min(ends))) / 2 + 0.01
        low, high = min(ends) - margin, max(ends) + margin
        first, days = points[0][0], max((points[-1][0] - points[0][0]).days, 1)

        def place(day: date, value: float, first=first, days=days, low=low, high=high) -> tuple[float, float]:
            x = (day - first).days / days * plot.WIDTH
            return round(x, 1), round((high - value) / (high - low) * plot.HEIGHT, 1)

        path = [place(day, value) for day, value in points]
        found.append(
            Spark(
                name=name,
                line=plot.line(path),
                dot=path[-1],
                reference=None if expected is None else place(first, expected)[1],
                first=points[0][1],
                last=points[-1][1],
                expected=expected,
                positive=weeks[-1].positive.get(name),
            )
        )
    return found


def drifted(check: Check) -> str:
    """Say what a check found about drift."""
    if check.drifted is None:
        return "not enough data"
    if not check.drifted:
        return "no drift"
    return f"drift ({len(check.moved)} column{'' if len(check.moved) == 1 else 's'})"


def percent(interval: Interval) -> str:
    """Return an accuracy with its interval."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2%}"
    return f"{interval.value:.2%} ({interval.low:.2%} to {interval.high:.2%})"


def _kind(bad: bool | None, *, alarm: bool) -> str:
    return "alarm" if alarm else "bad" if bad else "calm"


def _legend(dots: Sequence[Dot], names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    used = {dot.kind for dot in dots}
    return tuple((kind, name) for kind, name in names.items() if kind in used)


def _unit(width: int) -> str:
    return "week" if width == 7 else "day"


def _count(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
