"""The page: the contents of each part, collected for the templates."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Generic, TypeVar

import jinja2
from airflow.configuration import conf

from dashboard import (
    charts,
    checks,
    daily_stats,
    glance,
    late_labels,
    model_card,
    plot,
    processes,
    retention,
    running,
    shadow,
)
from dashboard.charts import Spark
from dashboard.checks import Check, Checks
from dashboard.daily_stats import DailyStats
from dashboard.environment_paths import EnvironmentPaths
from dashboard.errors import DashboardError
from dashboard.glance import Alarm, PageData, Tile
from dashboard.late_labels import LateLabels
from dashboard.model_card import ModelCard
from dashboard.plot import Mark, Plot, Span
from dashboard.retention import Retention
from dashboard.running import Running
from dashboard.shadow import Shadow
from gitops.model.metrics import Interval
from gitops.text import numbers, times

log = logging.getLogger(__name__)

T = TypeVar("T")

WEEKS = (13, 26, 52)
"""The periods that a reader may choose; the first is the default."""
_DAILY = 13  # up to this number of weeks, the plots have a bar for each day
_MOST_REASONS = 12
_MOST_CHECKS = 60
_ALARMS_UNKNOWN = Alarm(
    glance.WARN, "The alarms cannot be read.", "The log of the api-server has the reason."
)


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of the page, or the reason (`trouble`) why it cannot be shown."""

    value: T | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Scored:
    """The scored images of the shown weeks."""

    volume: Plot | None
    quarantine: Plot | None
    sparks: list[Spark]
    reasons: list[tuple[str, int]]
    total: DailyStats
    week: DailyStats
    """The last seven days."""


@dataclass(frozen=True)
class Checked:
    """The checks of the shown weeks. `last` is the latest of all checks."""

    record: Checks
    shown: list[Check]
    last: Check | None
    drift: Plot | None
    accuracy: Plot | None
    labels: LateLabels | None
    """The accuracy on late labels for each attribute and slice."""


@dataclass(frozen=True)
class View:
    """The contents of the page."""

    title: str
    weeks: int
    now: datetime
    span: Span
    paths: Part[EnvironmentPaths]
    running: Part[Running] = field(default_factory=Part[Running])
    card: Part[ModelCard] = field(default_factory=Part[ModelCard])
    shadow: Part[Shadow] = field(default_factory=Part[Shadow])
    scored: Part[Scored] = field(default_factory=Part[Scored])
    checked: Part[Checked] = field(default_factory=Part[Checked])
    retention: Part[Retention] = field(default_factory=Part[Retention])
    alarms: tuple[Alarm, ...] = ()
    """The alarms, most urgent first."""
    tiles: tuple[Tile, ...] = ()
    marks: tuple[Mark, ...] = ()
    """The days on which another release came, for every plot."""


def show(weeks: int, now: datetime | None = None) -> str:
    """Return the page's HTML for the last `weeks`.

    A part that cannot be rendered shows an error, and the others are rendered.
    """
    view = look(weeks, now or datetime.now(UTC))
    try:
        return _render_page(view)
    except Exception:
        log.exception("A part of the page cannot be rendered")
        return _render_page(_renderable(view))


def _render_page(view: View) -> str:
    return render("page.html", view=view, choices=WEEKS, most_checks=_MOST_CHECKS)


def _renderable(view: View) -> View:
    """Replace each part that cannot be rendered with an error."""
    absent = Part(trouble="it cannot be rendered; the log of the api-server has the reason")
    parts = {
        "running": absent,
        "card": absent,
        "shadow": absent,
        "scored": absent,
        "checked": absent,
        "retention": absent,
        "alarms": (),
        "tiles": (),
    }
    safe = replace(view, **parts)
    for name in parts:
        more = replace(safe, **{name: getattr(view, name)})
        try:
            _render_page(more)
        except Exception:
            log.exception("The part %s of the page is left out", name)
            if name == "alarms":
                safe = replace(safe, alarms=(_ALARMS_UNKNOWN,))
        else:
            safe = more
    return safe


def title() -> str:
    """Return the name of this Airflow."""
    return conf.get("api", "instance_name", fallback="") or "Visage"


def look(weeks: int, now: datetime) -> View:
    """Read the contents of the page. If something cannot be read, only its own part is empty."""
    span = Span(now.date() - timedelta(days=7 * weeks - 1), now.date())
    paths = _part(EnvironmentPaths.here)
    if paths.value is None:
        return View(title(), weeks, now, span, paths)
    where = paths.value
    runs = _part(lambda: running.read(where))
    model: Part[ModelCard] = Part()
    if runs.value is not None and runs.value.commit is not None:
        commit = runs.value.commit
        model = _part(lambda: model_card.read(running.repository(where), commit))
    tried: Part[Shadow] = Part()
    if runs.value is not None and runs.value.trial is not None:
        commit_of_trial = runs.value.trial
        tried = _part(lambda: shadow.read(where.home, commit_of_trial))
    record = _part(lambda: checks.read(where.home))
    found = record.value
    shown = [check for check in found.checks if check.at.date() >= span.since] if found else []
    claimed = model.value.figures.means.get("mean_accuracy") if model.value else None
    reference = next((check.reference for check in shown if check.reference), {})
    scored = _part(lambda: _scored(where, span, weeks, reference))
    restarts = _part(lambda: processes.read(where.environment))
    known = PageData(
        now,
        runs.value,
        model.value,
        scored.value.week if scored.value else None,
        record.value.checks if record.value else None,
        restarts.value or (),
        restarts.trouble or "",
    )
    alarms, tiles = _part(lambda: glance.alarms(known)), _part(lambda: glance.tiles(known))
    return View(
        title(),
        weeks,
        now,
        span,
        paths,
        runs,
        model,
        tried,
        scored,
        Part(trouble=record.trouble)
        if found is None
        else _part(lambda: _checked(where, span, found, shown, claimed)),
        _part(lambda: retention.read(where.home)),
        (_ALARMS_UNKNOWN,) if alarms.value is None else alarms.value,
        tiles.value or (),
        _marks(span, weeks, runs.value),
    )


def _marks(span: Span, weeks: int, runs: Running | None) -> tuple[Mark, ...]:
    starts = [(start.at.astimezone(UTC).date(), start.commit[:12]) for start in runs.starts] if runs else []
    return plot.marks(span, starts, _bar(weeks))


def _bar(weeks: int) -> int:
    """Return the days of a bar in the plots."""
    return 1 if weeks <= _DAILY else 7


def _checked(
    paths: EnvironmentPaths, span: Span, record: Checks, shown: list[Check], claimed: Interval | None
) -> Checked:
    return Checked(
        record,
        shown,
        next(iter(record.checks), None),
        charts.drift(span, shown),
        charts.accuracy(span, shown, claimed),
        late_labels.read(paths.home, shown),
    )


def _scored(paths: EnvironmentPaths, span: Span, weeks: int, reference: Mapping[str, float]) -> Scored:
    days = daily_stats.read(paths.home, span.since, span.until)
    by_week = daily_stats.weekly(days)
    width = _bar(weeks)
    bars = days if width == 1 else by_week
    total = daily_stats.merge(span.until, days)
    first = datetime.combine(span.until - timedelta(days=6), time()).date()
    return Scored(
        volume=charts.volume(span, [day for day in bars if day.batches], width),
        quarantine=charts.quarantine(span, bars, width),
        sparks=charts.sparks(span, [week for week in by_week if week.rows], reference),
        reasons=Counter(total.quarantined).most_common(_MOST_REASONS),
        total=total,
        week=daily_stats.merge(span.until, [day for day in days if day.day >= first]),
    )


def _part(read: Callable[[], T]) -> Part[T]:
    try:
        return Part(read())
    except DashboardError as error:
        log.warning("%s", error)
        return Part(trouble=str(error))
    except OSError as error:
        log.warning("%s", error)
        return Part(trouble=f"{error.filename}: {error.strerror}")
    except Exception as error:
        # Other programs wrote the files. The rest of the page must stay, whatever is in them.
        log.exception("A part of the page cannot be read")
        return Part(
            trouble=f"it cannot be read ({type(error).__name__}); the log of the api-server has the reason"
        )


def render(name: str, **values: object) -> str:
    """Return a template's HTML. All values are escaped."""
    return templates().get_template(name).render(**values)


@cache
def templates() -> jinja2.Environment:
    """Return the compiled templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": numbers.count,
        "share": numbers.percent,
        "score": numbers.score,
        "percent": numbers.interval,
        "points": numbers.points,
        "distance": numbers.distance,
        "multiple": numbers.multiple,
        "milliseconds": numbers.milliseconds,
        "size": numbers.size,
        "drifted": charts.drifted,
        "minute": times.element,
        "name": lambda word: word.replace("_", " "),
    }
    # Compile them now, so that the first visit does not wait
    for name in environment.list_templates():
        environment.get_template(name)
    return environment
