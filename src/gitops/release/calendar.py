"""The calendar of promotions: `environments/calendar.yaml`, the times at which a release may be promoted.

A promotion is allowed unless a `deny` window covers its time. An environment with `allow` windows takes
promotions during these alone. A rollback is always allowed. Argo CD has the same rules for its sync windows
(https://argo-cd.readthedocs.io/en/stable/user-guide/sync_windows/).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gitops.errors import CalendarError, ParseError
from gitops.release.environments import FOLDER, LONGEST_NAME, NAME
from gitops.text import parse

PATH = f"{FOLDER}/calendar.yaml"

_RIGHT = "see docs/promotion-rules.md, or take the file out"
_MOST = 100
_AHEAD = timedelta(days=366)
"""How far ahead a window is looked for."""
_STEPS = 1000
"""How many windows are looked at for that."""
# Of croniter's further fields, some are random.
_CRON = re.compile(r"[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}", re.ASCII)
_NAMES = re.compile(r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat")


def _zone(name: object) -> object:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name):
        raise ValueError("not the name of a time zone, such as Europe/Zurich")
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("not the name of a time zone, such as Europe/Zurich") from error
    return name


def _cron(text: object) -> object:
    plain = (
        isinstance(text, str)
        and _CRON.fullmatch(text)
        and not re.search("[a-z]", _NAMES.sub("", text.lower()))
    )
    if not plain or not croniter.is_valid(str(text)):
        raise ValueError("not five fields of cron, such as 0 8 * * mon-thu")
    return text


class Window(BaseModel):
    """A span of time in which promotions are allowed or denied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["allow", "deny"] = Field(
        description="Whether promotions are allowed in this window, or denied."
    )
    reason: str = Field(
        pattern=r"^\S(.*\S)?$", max_length=200, description="The reason, which a refused promotion shows."
    )
    environments: tuple[Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)], ...] = Field(
        default=(), max_length=50, description="The environments that it is for. Default: all."
    )
    cron: Annotated[str, BeforeValidator(_cron)] | None = Field(
        default=None,
        description="Each time at which the window opens: minute, hour, day of month, month, day of week.",
    )
    hours: float | None = Field(
        default=None, gt=0, le=24 * 366, allow_inf_nan=False, description="With cron: how long it stays open."
    )
    start: datetime | None = Field(
        default=None, description="Without cron: its start, such as 2027-12-20 18:00."
    )
    end: datetime | None = Field(default=None, description="Without cron: its end.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        match (self.cron, self.hours, self.start, self.end):
            case (str(), float(), None, None):
                return self
            case (None, None, datetime() as start, datetime() as end):
                if any(moment.tzinfo or not 1970 <= moment.year <= 2100 for moment in (start, end)):
                    raise ValueError("start and end are times of 1970 to 2100 without an offset")
                if end <= start:
                    raise ValueError("its end is not after its start")
                return self
            case _:
                raise ValueError("give cron and hours, or start and end")


class CalendarFile(BaseModel):
    """The times at which releases may be promoted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: Annotated[str, BeforeValidator(_zone)] = Field(
        default="UTC", description="The time zone of every time in this file, such as Europe/Zurich."
    )
    windows: tuple[Window, ...] = Field(default=(), max_length=_MOST, description="All windows.")


@dataclass(frozen=True)
class Closed:
    """Why no promotion is allowed at a time.

    Attributes:
        reason: The reason of the window, or that no window is open.
        opens: When promotions are allowed again, in the time zone of the calendar; None if that is not within
            a year.

    """

    reason: str
    opens: datetime | None

    def __str__(self) -> str:
        if self.opens is None:
            return f"{self.reason}; no window opens within a year"
        return f"{self.reason}; opens {self.opens:%Y-%m-%d %H:%M} {self.opens.tzname()}"


@dataclass(frozen=True)
class Calendar:
    """All windows of a commit; without any, promotions are allowed at any time."""

    file: CalendarFile = field(default_factory=CalendarFile)

    @classmethod
    def read(cls, content: bytes | None) -> Self:
        """Read `environments/calendar.yaml`.

        Args:
            content: The file; None where there is none.

        Raises:
            CalendarError: with the place, the problem and the remedy.

        """
        if content is None:
            return cls()
        try:
            data = parse.yaml_value(content, parse.CALENDAR)
        except ParseError as error:
            raise CalendarError(error.place(PATH), str(error), _RIGHT) from error
        if not isinstance(data, dict):
            raise CalendarError(PATH, "not a mapping of keys to values", _RIGHT)
        try:
            return cls(CalendarFile.model_validate(data))
        except ValidationError as error:
            raise CalendarError(PATH, _problem(error.errors()[0]), _RIGHT) from error

    def unknown(self, environments: Iterable[str]) -> list[str]:
        """Return the names that windows are for and that are no environments, sorted."""
        named = {name for window in self.file.windows for name in window.environments}
        return sorted(named - {*environments})

    def allows(self, environment: str) -> bool:
        """Return whether a window of the rule `allow` is for an environment."""
        return any(
            window.rule == "allow" and environment in (window.environments or (environment,))
            for window in self.file.windows
        )

    def closed(self, environment: str, at: datetime) -> Closed | None:
        """Return why no promotion into an environment is allowed, or None if it is.

        Args:
            environment: The environment.
            at: The time, with its zone.

        """
        zone = ZoneInfo(self.file.time_zone)
        windows = [
            window
            for window in self.file.windows
            if not window.environments or environment in window.environments
        ]
        at = at.astimezone(UTC)
        first = fault = _fault(windows, at, zone)
        if first is None:
            return None
        for _ in range(_STEPS):
            if fault is None or fault.until is None or fault.until - at > _AHEAD:
                break
            opens = fault.until
            fault = _fault(windows, opens, zone)
            if fault is None:
                return Closed(first.reason, opens.astimezone(zone))
        return Closed(first.reason, None)


class _Fault(NamedTuple):
    reason: str
    until: datetime | None
    """The next time at which it may be another, or none."""


def _fault(windows: Sequence[Window], at: datetime, zone: ZoneInfo) -> _Fault | None:
    """Return the reason why a time is closed, or None if it is open."""
    denied = [window for window in windows if window.rule == "deny"]
    ends = [(end, window.reason) for window in denied if (end := _covers(window, at, zone))]
    if ends:
        end, reason = max(ends)
        return _Fault(reason, end)
    allowed = [window for window in windows if window.rule == "allow"]
    if not allowed or any(_covers(window, at, zone) for window in allowed):
        return None
    starts = [start for window in allowed if (start := _next(window, at, zone))]
    reasons = " or ".join(dict.fromkeys(window.reason for window in allowed))
    return _Fault(f"outside of its windows ({reasons})", min(starts, default=None))


def _covers(window: Window, at: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the end of a window that covers a time, or None. Both are in UTC, as clocks are put back."""
    if window.cron is None or window.hours is None:
        start, end = _once(window, zone)
        return end if start <= at < end else None
    wall, repeated = _clock(at, zone)
    # A window that opens at this very minute covers it. Before the clock was put back, it showed more.
    latest = wall + (repeated if at == _moments(wall, zone)[-1] else timedelta())
    times = croniter(window.cron, latest + timedelta(microseconds=1), max_years_between_matches=5)
    starts: list[datetime] = []
    for _ in range(_STEPS):
        try:
            shown = times.get_prev(datetime)
        except ValueError:
            break  # a day that no month has
        starts += [start for start in _moments(shown, zone) if start <= at]
        if starts and shown <= wall:
            break
    end = max(starts) + timedelta(hours=window.hours) if starts else at
    return end if at < end else None


def _next(window: Window, at: datetime, zone: ZoneInfo) -> datetime | None:
    if window.cron is None:
        start, _ = _once(window, zone)
        return start if start > at else None
    wall, repeated = _clock(at, zone)
    times = croniter(window.cron, wall - repeated, max_years_between_matches=5)
    starts: list[datetime] = []
    for _ in range(_STEPS):
        try:
            shown = times.get_next(datetime)
        except ValueError:
            break
        enough = bool(starts) and shown > wall
        starts += [start for start in _moments(shown, zone) if start > at]
        if enough:
            break  # One more, as a time that the clock skips comes later than the next
    return min(starts, default=None)


def _clock(at: datetime, zone: ZoneInfo) -> tuple[datetime, timedelta]:
    """Return the time on the clock of a zone, and how much later the clock shows it a second time."""
    wall = at.astimezone(zone).replace(tzinfo=None)
    moments = _moments(wall, zone)
    return wall, moments[-1] - moments[0]


def _moments(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the times, in UTC, at which the clock of a zone shows `wall`.

    When the clock is put back, it shows a time twice. A time that it skips counts as later by the same span.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return sorted({first, second}) if first.astimezone(zone).replace(tzinfo=None) == wall else [first]


def _once(window: Window, zone: ZoneInfo) -> tuple[datetime, datetime]:
    if window.start is None or window.end is None:
        raise ValueError("the window repeats")
    # In a night when the clock changes, it covers each moment at which the clock shows a time within it.
    starts, ends = (
        [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        for wall in (window.start, window.end)
    )
    return min(starts), max(ends)


def _problem(error: Any) -> str:
    place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in error["loc"])
    place = place if place.isprintable() and len(place) <= 60 else f"{place[:57]!r}..."
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"
