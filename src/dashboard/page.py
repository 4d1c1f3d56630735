"""The page: what each part of it shows, put together for the templates."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Generic, TypeVar

import jinja2
from airflow.configuration import conf

from dashboard import card, charts, checks, days, glance, late_labels, running
from dashboard.card import Card
from dashboard.charts import Spark
from dashboard.checks import Check, Checks
from dashboard.days import Day
from dashboard.errors import DashboardError
from dashboard.glance import Alarm, Known, Tile
from dashboard.late_labels import LateLabels
from dashboard.place import Place
from dashboard.plot import Plot, Span
from dashboard.running import Running
from gitops.model.metrics import Interval

log = logging.getLogger(__name__)

T = TypeVar("T")

WEEKS = (13, 26, 52)
"""What a reader may choose to look at; the first where they do not."""
_DAILY = 13  # weeks, up to which the plots have a bar for each day
_MOST_REASONS = 12
_UNTOLD = Alarm(
    glance.WARN, "Whether something is wrong cannot be said", "The log of the api-server has the reason."
)


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of the page, or the one line that says why it is not there."""

    value: T | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Scored:
    """What was scored in the weeks that are shown."""

    volume: Plot | None
    quarantine: Plot | None
    sparks: list[Spark]
    reasons: list[tuple[str, int]]
    total: Day
    week: Day
    """The last seven days."""


@dataclass(frozen=True)
class Checked:
    """The checks of the weeks that are shown; `last` is the latest, however long ago."""

    record: Checks
    shown: list[Check]
    last: Check | None
    drift: Plot | None
    accuracy: Plot | None
    labels: LateLabels | None
    """What the labels say of each attribute and slice."""


@dataclass(frozen=True)
class View:
    """Everything on the page."""

    title: str
    weeks: int
    now: datetime
    span: Span
    place: Part[Place]
    running: Part[Running] = field(default_factory=Part)
    card: Part[Card] = field(default_factory=Part)
    scored: Part[Scored] = field(default_factory=Part)
    checked: Part[Checked] = field(default_factory=Part)
    alarms: tuple[Alarm, ...] = ()
    """What is wrong, most urgent first."""
    tiles: tuple[Tile, ...] = ()


def show(weeks: int, now: datetime | None = None) -> str:
    """Return the page's HTML, with what happened in the last `weeks`.

    A part that cannot be drawn says so, and the others are drawn.
    """
    view = look(weeks, now or datetime.now(UTC))
    try:
        return _draw(view)
    except Exception:
        log.exception("A part of the page cannot be drawn")
        return _draw(_drawable(view))


def _draw(view: View) -> str:
    return render("page.html", view=view, choices=WEEKS)


def _drawable(view: View) -> View:
    """Leave out each part with which the page cannot be drawn."""
    absent = Part(trouble="it cannot be drawn; the log of the api-server has the reason")
    parts = {
        "running": absent,
        "card": absent,
        "scored": absent,
        "checked": absent,
        "alarms": (),
        "tiles": (),
    }
    found = replace(view, **parts)
    for name in parts:
        more = replace(found, **{name: getattr(view, name)})
        try:
            _draw(more)
        except Exception:
            log.exception("The part %s of the page is left out", name)
            if name == "alarms":
                found = replace(found, alarms=(_UNTOLD,))
        else:
            found = more
    return found


def title() -> str:
    """Return what this Airflow calls itself."""
    return conf.get("api", "instance_name", fallback="") or "Visage"


def look(weeks: int, now: datetime) -> View:
    """Read all that the page shows; what cannot be read leaves its own part empty, and no other."""
    span = Span(now.date() - timedelta(days=7 * weeks - 1), now.date())
    place = _part(Place.here)
    if place.value is None:
        return View(title(), weeks, now, span, place)
    where = place.value
    runs = _part(lambda: running.read(where))
    model: Part[Card] = Part()
    if runs.value is not None and runs.value.commit is not None:
        commit = runs.value.commit
        model = _part(lambda: card.read(running.repository(where), commit))
    record = _part(lambda: checks.read(where.home))
    shown = [check for check in record.value.checks if check.at.date() >= span.since] if record.value else []
    claimed = model.value.figures.means.get("mean_accuracy") if model.value else None
    reference = next((check.reference for check in shown if check.reference), {})
    scored = _part(lambda: _scored(where, span, weeks, reference))
    known = Known(
        now,
        runs.value,
        model.value,
        scored.value.week if scored.value else None,
        record.value.checks if record.value else None,
    )
    alarms, tiles = _part(lambda: glance.alarms(known)), _part(lambda: glance.tiles(known))
    return View(
        title(),
        weeks,
        now,
        span,
        place,
        runs,
        model,
        scored,
        Part(trouble=record.trouble)
        if record.value is None
        else _part(lambda: _checked(where, span, record.value, shown, claimed)),
        (_UNTOLD,) if alarms.value is None else alarms.value,
        tiles.value or (),
    )


def _checked(
    place: Place, span: Span, record: Checks, shown: list[Check], claimed: Interval | None
) -> Checked:
    return Checked(
        record,
        shown,
        next(iter(record.checks), None),
        charts.drift(span, shown),
        charts.accuracy(span, shown, claimed),
        late_labels.read(place.home, shown),
    )


def _scored(place: Place, span: Span, weeks: int, reference: dict[str, float]) -> Scored:
    found = days.read(place.home, span.since, span.until)
    by_week = days.weekly(found)
    bars, width = (found, 1) if weeks <= _DAILY else (by_week, 7)
    total = days.merge(span.until, found)
    first = datetime.combine(span.until - timedelta(days=6), time()).date()
    return Scored(
        volume=charts.volume(span, [one for one in bars if one.batches], width),
        quarantine=charts.quarantine(span, bars, width),
        sparks=charts.sparks([week for week in by_week if week.rows], reference),
        reasons=Counter(total.quarantined).most_common(_MOST_REASONS),
        total=total,
        week=days.merge(span.until, [one for one in found if one.day >= first]),
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
        # Files that others wrote: whatever is in them, the rest of the page must stay.
        log.exception("A part of the page cannot be read")
        return Part(
            trouble=f"it cannot be read ({type(error).__name__}); the log of the api-server has the reason"
        )


def render(name: str, **values: object) -> str:
    """Return a template's HTML. All that is put into it is escaped."""
    return templates().get_template(name).render(**values)


@cache
def templates() -> jinja2.Environment:
    """Return the templates, compiled."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count": lambda value: f"{value:,}",
        "share": lambda value: f"{value:.2%}",
        "score": lambda value: f"{value:.3f}",
        "percent": charts.percent,
        "drifted": charts.drifted,
        "minute": lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "size": lambda count: f"{count / 1e6:.2f} MB",
        "name": lambda word: word.replace("_", " "),
    }
    # Once, before the first visit rather than in it
    for name in found.list_templates():
        found.get_template(name)
    return found
