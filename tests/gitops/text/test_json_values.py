from datetime import UTC, date, datetime

import pytest

from gitops.text import json_values


@pytest.mark.parametrize("odd", [None, True, "1", [], {}, float("nan"), float("inf"), 10**400])
def test_what_is_no_number(odd: object) -> None:
    assert json_values.number(odd) is None
    assert json_values.whole(odd) is None


def test_kinds() -> None:
    assert (json_values.number(2), json_values.whole(2.7)) == (2.0, 2)
    assert (json_values.text("a"), json_values.text(1)) == ("a", None)
    assert (json_values.flag(False), json_values.flag(0)) == (False, None)
    assert json_values.texts(["a", 1, None, "b"]) == ("a", "b")
    assert json_values.texts("ab") == ()
    assert json_values.at({"a": {"b": 3}}, ("a", "b")) == 3
    assert json_values.at({"a": 1}, ("a", "b")) is None


def test_times_are_in_utc() -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert json_values.moment("2026-11-25T12:00:00") == noon
    assert json_values.moment("2026-11-25T14:00:00+02:00") == noon
    assert json_values.moment("2026-11-25T14:00:00+02:00").tzinfo is UTC
    assert json_values.moment("noon") is json_values.moment(12) is None
    assert (json_values.day("2026-11-25"), json_values.day("never")) == (date(2026, 11, 25), None)
