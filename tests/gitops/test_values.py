from datetime import UTC, date, datetime

import pytest

from gitops import values


@pytest.mark.parametrize("odd", [None, True, "1", [], {}, float("nan"), float("inf"), 10**400])
def test_what_is_no_number(odd: object) -> None:
    assert values.number(odd) is None
    assert values.whole(odd) is None


def test_kinds() -> None:
    assert (values.number(2), values.whole(2.7)) == (2.0, 2)
    assert (values.text("a"), values.text(1)) == ("a", None)
    assert (values.flag(False), values.flag(0)) == (False, None)
    assert values.texts(["a", 1, None, "b"]) == ("a", "b")
    assert values.texts("ab") == ()
    assert values.at({"a": {"b": 3}}, ("a", "b")) == 3
    assert values.at({"a": 1}, ("a", "b")) is None


def test_times_are_in_utc() -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert values.moment("2026-11-25T12:00:00") == noon
    assert values.moment("2026-11-25T14:00:00+02:00") == noon
    assert values.moment("2026-11-25T14:00:00+02:00").tzinfo is UTC
    assert values.moment("noon") is values.moment(12) is None
    assert (values.day("2026-11-25"), values.day("never")) == (date(2026, 11, 25), None)
