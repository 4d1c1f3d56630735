from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.release.holds import Hold, new, parse, render, standing

AT = datetime(2026, 11, 28, 20, 51, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (None, ()),
        ("rolled back from 0123456789ab", (Hold("rolled back from 0123456789ab"),)),
        ("change freeze; until 2 January (or so)", (Hold("change freeze; until 2 January (or so)"),)),
        ("freeze (until 2027-01-02)", (Hold("freeze", until=date(2027, 1, 2)),)),
        ("freeze (Ada, 2026-11-28 20:51 UTC)", (Hold("freeze", "Ada", AT),)),
        (
            "a; b (Ada B., 2026-11-28 20:51 UTC, until 2027-01-02); c (until 2027-01-03); d",
            (
                Hold("a; b", "Ada B.", AT, date(2027, 1, 2)),
                Hold("c", until=date(2027, 1, 3)),
                Hold("d"),
            ),
        ),
    ],
)
def test_a_line_is_read_and_written_back(text: str | None, holds: tuple[Hold, ...]) -> None:
    assert parse(text) == holds
    assert render(holds) == text


def test_a_hold_ends_when_its_day_begins() -> None:
    text = "freeze (until 2027-01-02)"
    assert standing(text, datetime(2027, 1, 1, 23, 59, tzinfo=UTC)) == parse(text)
    assert standing(text, datetime(2027, 1, 2, tzinfo=UTC)) == ()


_TEXTS = st.text(min_size=1) | st.sampled_from(
    [
        "x (until 2027-01-02)",
        "x (until 2027-01-02) y",
        "(Eve, 2026-01-01 00:00 UTC); y",
        "x (until 9999-99-99); y (until 2027-01-02)",
        "a" * 482 + " (until 2027-01-02) and more",
        "; ;",
    ]
)


@given(st.lists(st.tuples(_TEXTS, st.text(), st.none() | st.dates(min_value=date(1000, 1, 1))), max_size=4))
def test_nobody_can_write_a_hold_that_reads_as_another(given: list[tuple[str, str, date | None]]) -> None:
    holds = [new(reason, by, until=until, now=AT) for reason, by, until in given]
    holds = [hold for hold in holds if hold.reason]
    line = render(holds)
    assert line is None or line.isprintable()
    assert parse(line) == tuple(holds)
