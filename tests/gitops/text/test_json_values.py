from datetime import date

import pytest

from gitops.text import json_values


@pytest.mark.parametrize("odd", [None, True, "1", [], {}, float("nan"), float("inf"), 10**400])
def test_what_is_no_number(odd: object) -> None:
    assert json_values.number(odd) is None


def test_kinds() -> None:
    assert json_values.number(2) == 2.0
    assert (json_values.text("a"), json_values.text(1)) == ("a", None)
    assert json_values.at({"a": {"b": 3}}, ("a", "b")) == 3
    assert json_values.at({"a": 1}, ("a", "b")) is None
    assert (json_values.day("2026-11-25"), json_values.day("never")) == (date(2026, 11, 25), None)
