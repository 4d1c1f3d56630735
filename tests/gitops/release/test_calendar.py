from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import CalendarError
from gitops.release.calendar import Calendar

OFFICE = b"""time_zone: Europe/Zurich
windows:
  - rule: allow
    reason: office hours
    environments: [prod]
    cron: 0 8 * * mon-thu
    hours: 8
  - rule: deny
    reason: Christmas freeze
    start: 2026-12-20 00:00
    end: 2027-01-04 00:00
"""


def closed(content: bytes, environment: str, at: str) -> str | None:
    found = Calendar.read(content).closed(environment, datetime.fromisoformat(at))
    return str(found) if found else None


@pytest.mark.parametrize(
    ("environment", "at", "expected"),
    [
        ("prod", "2026-11-26T08:00+01:00", None),
        ("prod", "2026-11-26T15:59+01:00", None),
        (
            "prod",
            "2026-11-26T16:00+01:00",
            "outside of its windows (office hours); opens 2026-11-30 08:00 CET",
        ),
        ("prod", "2026-11-27T09:00Z", "outside of its windows (office hours); opens 2026-11-30 08:00 CET"),
        ("staging", "2026-11-27T09:00Z", None),
        ("staging", "2026-12-20T00:00+01:00", "Christmas freeze; opens 2027-01-04 00:00 CET"),
        ("staging", "2026-12-19T22:59Z", None),
        # The freeze ends at midnight, and the office opens in the morning.
        ("prod", "2026-12-22T09:00Z", "Christmas freeze; opens 2027-01-04 08:00 CET"),
        # In summer the same hour is another one of UTC.
        ("prod", "2026-07-06T06:00Z", None),
        ("prod", "2026-07-06T05:59Z", "outside of its windows (office hours); opens 2026-07-06 08:00 CEST"),
    ],
)
def test_a_promotion_waits_for_a_window(environment: str, at: str, expected: str | None) -> None:
    assert closed(OFFICE, environment, at) == expected


def test_without_windows_promotions_are_always_allowed() -> None:
    now = datetime.now(UTC)
    assert (
        Calendar.read(None).closed("prod", now) is Calendar.read(b"windows: []").closed("prod", now) is None
    )


def window(**fields: object) -> bytes:
    lines = {"rule": "deny", "reason": "why", **fields}
    return b"windows:\n  - " + "\n    ".join(f"{key}: {value}" for key, value in lines.items()).encode()


def test_a_window_that_never_opens_says_so() -> None:
    never = window(rule="allow", cron="0 0 29 2 *", hours=1)
    assert (
        closed(never, "prod", "2026-01-01T00:00Z")
        == "outside of its windows (why); no window opens within a year"
    )
    always = window(cron="'* * * * *'", hours=1)
    assert closed(always, "prod", "2026-01-01T00:00Z") == "why; no window opens within a year"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[]", "not a mapping"),
        (b"windows: x", "windows: "),
        (b"zone: UTC", "zone: extra inputs are not permitted"),
        (b"time_zone: ../../etc/passwd", "time_zone: not the name of a time zone"),
        (b"time_zone: Europe/Atlantis", "time_zone: not the name of a time zone"),
        (b"time_zone: Europe", "time_zone: not the name of a time zone"),
        (window(cron="0 8 * * *"), "windows.1: give cron and hours, or start and end"),
        (window(cron="0 8 * * *", hours=1, start="2026-01-01", end="2026-01-02"), "give cron and hours, or"),
        (window(start="2026-01-02", end="2026-01-02"), "its end is not after its start"),
        (window(start="2026-01-01T00:00+01:00", end="2026-01-02"), "without an offset"),
        (window(start="0001-01-01", end="2026-01-02"), "1970 to 2100"),
        (window(cron="R R * * *", hours=1), "not five fields of cron"),
        (window(cron="'@daily'", hours=1), "not five fields of cron"),
        (window(cron="0 0 8 * * *", hours=1), "not five fields of cron"),
        (window(cron="61 8 * * *", hours=1), "not five fields of cron"),
        (window(cron="0 8 * * *", hours="inf"), "windows.1.hours"),
        (window(cron="0 8 * * *", hours=0), "windows.1.hours"),
        (window(cron="0 8 * * *", hours=1, environments="[Prod]"), "windows.1.environments.1"),
        (
            b"windows: [" + b"{rule: deny, reason: x, start: 2026-01-01, end: 2026-01-02}," * 101 + b"]",
            "windows: ",
        ),
    ],
)
def test_a_calendar_that_is_not_valid_names_the_place(content: bytes, problem: str) -> None:
    with pytest.raises(CalendarError) as caught:
        Calendar.read(content)
    assert caught.value.finding.subject.startswith("environments/calendar.yaml")
    assert problem in caught.value.finding.problem
    assert caught.value.finding.remedy


moments = st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))


@given(at=moments, day=st.integers(0, 6), hour=st.integers(0, 23), hours=st.floats(0.1, 200))
def test_it_opens_when_it_says(at: datetime, day: int, hour: int, hours: float) -> None:
    for rule in ("allow", "deny"):
        calendar = Calendar.read(window(rule=rule, cron=f"0 {hour} * * {day}", hours=hours))
        found = calendar.closed("prod", at)
        if found is None or found.opens is None:
            # Windows of more than a week leave no gap.
            assert found is None or (rule == "deny" and hours >= 167)
            continue
        assert calendar.closed("prod", found.opens) is None
        assert found.opens > at
        assert calendar.closed("prod", found.opens - timedelta(minutes=1)) or found.opens - at < timedelta(
            minutes=1
        )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # At 03:00 the clock is put back: it shows each time from 02:00 to 03:00 twice.
        ("cron: 0 2 * * *, hours: 1", ["02:00+0200", "03:00+0100"]),
        ("cron: 30 2 * * *, hours: 1", ["02:30+0200", "03:30+0100"]),
        ("cron: 30 1 * * *, hours: 1", ["01:30+0200", "02:30+0200"]),
        ("cron: 30 1 * * *, hours: 2", ["01:30+0200", "02:30+0100"]),
        ("cron: 0 2-3 * * *, hours: 0.5", ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
        ("start: 2027-10-31 01:30, end: 2027-10-31 02:30", ["01:30+0200", "02:30+0100"]),
        ("start: 2027-10-31 02:30, end: 2027-10-31 03:30", ["02:30+0200", "03:30+0100"]),
    ],
)
def test_a_window_is_there_in_the_night_when_the_clock_is_put_back(times: str, expected: list[str]) -> None:
    for rule in ("allow", "deny"):
        calendar = Calendar.read(
            f"time_zone: Europe/Zurich\nwindows: [{{rule: {rule}, reason: night, {times}}}]".encode()
        )
        moments = [datetime(2027, 10, 30, 22, tzinfo=UTC) + timedelta(minutes=step) for step in range(300)]
        is_closed = [calendar.closed("prod", at) is not None for at in moments]
        assert is_closed[0] == (rule == "allow")
        states = zip(moments, is_closed, strict=True)
        changes = [after for (_, before), (after, now) in pairwise(states) if now != before]
        shown = [f"{at.astimezone(ZoneInfo('Europe/Zurich')):%H:%M%z}" for at in changes]
        assert shown[: len(expected)] == expected
        for at in moments:
            found = calendar.closed("prod", at)
            if found is not None and found.opens is not None:
                assert found.opens.astimezone(UTC) > at
                assert calendar.closed("prod", found.opens) is None
